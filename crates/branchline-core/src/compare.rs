//! Proof that two databases are equal within what a pair shares, by hashes that are the same in every engine.
//!
//! ```text
//! row digest   SHA-256 over the canonical forms of the shared columns, in the order of their names
//! bucket       the first four bytes of SHA-256 over the key's canonical forms, masked to the number of buckets
//! bucket hash  the sum of its row digests, modulo 2^256, with their number
//! ```
//! Equal buckets hold equal rows, unless somebody can find collisions in sums of SHA-256. Of buckets that differ
//! the rows' keys and digests are exchanged, a bounded number at a time, so that every row that differs is counted
//! and the first ones are named. Memory: 40 bytes a bucket, and one group of rows.

mod difference;
mod row_hasher;

pub use difference::{Difference, TableDifference, differing_buckets, groups_of, ours_that_differ};
pub use row_hasher::RowHasher;

use crate::digest::Digest;
use crate::ports::HashSpec;
use crate::schema::{Table, TableName};
use crate::scope::PeerScope;
use crate::value::common_type;

/// Buckets of a table at the least.
const BUCKETS_MIN: u32 = 16;
/// Buckets of a table at the most: 2.6 MB of hashes.
const BUCKETS_MAX: u32 = 65_536;
/// Rows that one bucket should have on average.
const ROWS_PER_BUCKET: u64 = 32;

/// Counts and hashes of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHashes {
    /// All its rows.
    pub rows: u64,
    /// Its buckets, by number.
    pub buckets: Vec<BucketHash>,
}

/// Count and hash of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BucketHash {
    /// Its rows.
    pub rows: u64,
    /// The sum of their digests modulo 2^256, little-endian.
    pub sum: [u8; 32],
}

impl BucketHash {
    /// Takes a row in.
    pub fn add(&mut self, digest: Digest) {
        self.rows += 1;
        let mut carry = 0;
        for (byte, added) in self.sum.iter_mut().zip(digest.as_bytes()) {
            let total = u16::from(*byte) + u16::from(*added) + carry;
            *byte = total.to_le_bytes()[0];
            carry = total >> 8;
        }
    }
}

/// A row's key, as people read it, and the digest of the row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowDigest {
    /// The key's values as JSON, joined by commas.
    pub key: String,
    /// The digest.
    pub digest: Digest,
}

/// What is asked of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareRequest {
    /// Counts and hashes of one table.
    Hashes(HashSpec),
    /// Keys and digests of the rows in some of its buckets.
    Rows {
        /// The table.
        spec: HashSpec,
        /// The buckets.
        buckets: Vec<u32>,
    },
}

/// What a peer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareAnswer {
    /// To [`CompareRequest::Hashes`].
    Hashes(TableHashes),
    /// To [`CompareRequest::Rows`].
    Rows(Vec<RowDigest>),
}

/// Why a table is not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotShared {
    /// One side has no such table, or cannot sync it.
    Table(TableName),
    /// The two keys differ.
    Key(TableName),
}

/// What of a table both sides can hash: the columns that both have and neither leaves out, where their types compare.
///
/// # Errors
/// Where the keys differ, or a key's columns have no type in common.
pub fn shared_spec(here: &Table, there: &Table) -> Result<HashSpec, NotShared> {
    if here.excluded.is_some() || there.excluded.is_some() {
        return Err(NotShared::Table(here.name.clone()));
    }
    let mut columns: Vec<_> = here
        .columns
        .iter()
        .filter_map(|column| {
            let other = &there.columns[there.position(&column.name)?];
            if column.omitted || other.omitted {
                return None;
            }
            let shared = common_type(&column.logical_type, &other.logical_type)?;
            Some((column.name.clone(), shared))
        })
        .collect();
    columns.sort_by(|a, b| a.0.cmp(&b.0));
    let key: Vec<_> = here.key_names().cloned().collect();
    let key_is_shared = key.iter().all(|name| columns.iter().any(|(column, _)| column == name));
    if key.is_empty() || !there.key_names().eq(key.iter()) || !key_is_shared {
        return Err(NotShared::Key(here.name.clone()));
    }
    let rows = here.rows_estimated.max(there.rows_estimated);
    Ok(HashSpec {
        table: here.name.clone(),
        columns,
        key,
        buckets: buckets_for(rows),
        scope: PeerScope::default(),
    })
}

fn buckets_for(rows: u64) -> u32 {
    let wanted = u32::try_from(rows / ROWS_PER_BUCKET).unwrap_or(BUCKETS_MAX);
    wanted.clamp(BUCKETS_MIN, BUCKETS_MAX).next_power_of_two()
}
