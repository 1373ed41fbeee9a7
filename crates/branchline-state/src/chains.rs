//! The table `chains`: for each peer the last place that was used, so that no place is used twice.
//!
//! A chain outlives its peer: the ledger at the other end remembers it too.

use branchline_core::digest::Digest;
use branchline_core::id::{Sequence, ServerId};
use branchline_core::ports::StateError;
use rusqlite::{Connection, params};

use crate::table::{self, Fields, InTable, integer};

const TABLE: table::Table = "chains";

const PUT: &str = "
    INSERT INTO chains (peer, sequence, metadata) VALUES (?1, ?2, ?3)
    ON CONFLICT (peer) DO UPDATE SET sequence = excluded.sequence, metadata = excluded.metadata";
const ONE: &str = "SELECT * FROM chains WHERE peer = ?1";

/// Notes the last place used.
pub(crate) fn put(
    connection: &Connection,
    peer: &ServerId,
    sequence: Sequence,
    metadata: &Digest,
) -> Result<(), StateError> {
    let parameters = params![peer.as_str(), integer(TABLE, sequence.value())?, metadata.as_bytes()];
    connection.execute(PUT, parameters).in_table(TABLE).map(|_| ())
}

/// The last place used, and the digest of its metadata.
pub(crate) fn one(
    connection: &Connection,
    peer: &ServerId,
) -> Result<Option<(Sequence, Digest)>, StateError> {
    table::first(connection, TABLE, ONE, params![peer.as_str()], read)
}

fn read(fields: &Fields<'_>) -> Result<(Sequence, Digest), StateError> {
    Ok((Sequence::new(fields.number("sequence")?), fields.digest("metadata")?))
}
