//! Digests of rows under the types that a pair shares.

use super::RowDigest;
use crate::backup::v1::value_text;
use crate::digest::{Digest, Hasher};
use crate::ports::HashSpec;
use crate::schema::{ColumnName, LogicalType, Table};
use crate::value::{Value, write_canonical};

/// Takes rows of one table, with values in the order of [`RowHasher::columns`].
#[derive(Debug)]
pub struct RowHasher {
    columns: Vec<HashedColumn>,
    key: Vec<usize>,
    mask: u32,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct HashedColumn {
    name: ColumnName,
    own: LogicalType,
    shared: LogicalType,
}

/// The digest of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// The row's bucket.
    pub bucket: u32,
    /// The row's digest.
    pub digest: Digest,
}

impl RowHasher {
    /// A hasher of `table`'s rows; nothing where the table lacks a column of the spec.
    #[must_use]
    pub fn new(spec: &HashSpec, table: &Table) -> Option<Self> {
        let column = |(name, shared): &(ColumnName, LogicalType)| {
            let own = table.columns[table.position(name)?].logical_type.clone();
            Some(HashedColumn { name: name.clone(), own, shared: shared.clone() })
        };
        let columns = spec.columns.iter().map(column).collect::<Option<Vec<_>>>()?;
        let place = |name: &ColumnName| columns.iter().position(|column| column.name == *name);
        let key = spec.key.iter().map(place).collect::<Option<Vec<_>>>()?;
        if key.is_empty() || !spec.buckets.is_power_of_two() {
            return None;
        }
        Some(Self { columns, key, mask: spec.buckets - 1, scratch: Vec::new() })
    }

    /// The columns to read, in the order in which [`RowHasher::row`] takes them.
    pub fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        self.columns.iter().map(|column| &column.name)
    }

    /// The bucket and digest of one row.
    pub fn row(&mut self, values: &[Value<'_>]) -> Hashed {
        self.scratch.clear();
        for index in 0..self.key.len() {
            let place = self.key[index];
            self.write(place, &values[place]);
        }
        let key = Digest::of(&self.scratch);
        let first = key.as_bytes();
        let bucket = u32::from_le_bytes([first[0], first[1], first[2], first[3]]) & self.mask;
        self.scratch.clear();
        for (place, value) in values.iter().enumerate() {
            self.write(place, value);
        }
        let mut hasher = Hasher::default();
        hasher.update(&self.scratch);
        Hashed { bucket, digest: hasher.finish() }
    }

    /// The row's key in words, with its digest.
    #[must_use]
    pub fn describe(&self, values: &[Value<'_>], digest: Digest) -> RowDigest {
        let text = |&place: &usize| value_text(&values[place], &self.columns[place].shared);
        RowDigest { key: self.key.iter().map(text).collect::<Vec<_>>().join(","), digest }
    }

    /// A value that does not fit the shared type is hashed as it is: it then counts as different, which it is.
    fn write(&mut self, place: usize, value: &Value<'_>) {
        let column = &self.columns[place];
        let start = self.scratch.len();
        if write_canonical(value.clone(), &column.own, &column.shared, &mut self.scratch).is_err() {
            self.scratch.truncate(start);
            self.scratch.push(0xff);
            self.scratch.extend(value_text(value, &column.own).into_bytes());
        }
    }
}
