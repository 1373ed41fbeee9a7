//! `branchline_in_scope` and `branchline_scope`: what a peer was sent of tables that it does not get whole.
//!
//! A row is taken out at a peer, and its deletion is told, only where the row was sent there: so the keys of the rows that
//! were sent are kept, by peer.
//!
//! | `state` | the row |
//! |---|---|
//! | 0 | may be at the peer or not: what became of a backup that held it is not known |
//! | 1 | is at the peer |
//! | 2 | is in the backup that is under way |
//! | 3 | is taken out by the backup that is under way |
//!
//! One backup at a time is under way to a peer. So 2 and 3, found when the next one is packed, mean that the one before was
//! dropped, and count as 0. `k0` … `k7` are the key's values, as in the table of versions.
//!
//! `branchline_scope` says under which scope (its digest) the rows of a table were chosen for a peer: where it is another
//! one now, each row is looked at.

use std::collections::BTreeMap;

use branchline_core::id::ServerId;
use branchline_core::ports::DatabaseError;
use rusqlite::{Connection, Statement, params};

use super::super::error::failed;
use super::super::key::columns_of_noted;

pub(in super::super) const NAME: &str = "branchline_scope";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_scope (
    peer TEXT NOT NULL,
    table_id INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (peer, table_id)
)";
pub(in super::super) const ROWS_NAME: &str = "branchline_in_scope";
pub(super) const ROWS_TABLE: &str = "CREATE TABLE main.branchline_in_scope (
    id INTEGER PRIMARY KEY,
    peer TEXT NOT NULL,
    table_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    state INTEGER NOT NULL,
    k0, k1, k2, k3, k4, k5, k6, k7,
    UNIQUE (peer, table_id, key)
)";
/// The rows of which it is open whether the peer has them.
pub(super) const OPEN: &str =
    "CREATE INDEX main.branchline_in_scope_open ON branchline_in_scope (peer, table_id) WHERE state <> 1";

const DIGESTS: &str = "SELECT table_id, digest FROM main.branchline_scope WHERE peer = ?1";
const SET_DIGEST: &str =
    "INSERT OR REPLACE INTO main.branchline_scope (peer, table_id, digest) VALUES (?1, ?2, ?3)";
const FORGET_DIGEST: &str = "DELETE FROM main.branchline_scope WHERE peer = ?1 AND table_id = ?2";
const FORGET_ROWS: &str = "DELETE FROM main.branchline_in_scope WHERE peer = ?1 AND table_id = ?2";
const REOPEN: &str = "UPDATE main.branchline_in_scope SET state = 0
    WHERE peer = ?1 AND table_id = ?2 AND state <> 1";
const LEAVES: &str =
    "UPDATE main.branchline_in_scope SET state = 3 WHERE peer = ?1 AND table_id = ?2 AND key = ?3";
const LEFT: &str = "DELETE FROM main.branchline_in_scope WHERE peer = ?1 AND state <> 1 AND state = 3";
const ARRIVED: &str =
    "UPDATE main.branchline_in_scope SET state = 1 WHERE peer = ?1 AND state <> 1 AND state = 2";
const OPEN_ALL: &str = "UPDATE main.branchline_in_scope SET state = 0";
const FORGET_TABLE: [&str; 2] = [
    "DELETE FROM main.branchline_in_scope WHERE table_id = ?1",
    "DELETE FROM main.branchline_scope WHERE table_id = ?1",
];

/// The digests of the scopes under which the tables of a peer were packed, by table.
pub(in super::super) fn digests(
    connection: &Connection,
    peer: &ServerId,
) -> Result<BTreeMap<i64, String>, DatabaseError> {
    let mut statement = connection.prepare(DIGESTS).map_err(failed)?;
    let rows = statement.query_map(params![peer.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.map_err(failed)?.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// Puts down under which scope a table was packed for a peer.
pub(in super::super) fn set_digest(
    connection: &Connection,
    peer: &ServerId,
    table: i64,
    digest: &str,
) -> Result<(), DatabaseError> {
    connection.execute(SET_DIGEST, params![peer.as_str(), table, digest]).map(drop).map_err(failed)
}

/// Forgets what a peer was sent of a table, which it gets whole from now on.
pub(in super::super) fn forget(
    connection: &Connection,
    peer: &ServerId,
    table: i64,
) -> Result<(), DatabaseError> {
    for sql in [FORGET_ROWS, FORGET_DIGEST] {
        connection.execute(sql, params![peer.as_str(), table]).map_err(failed)?;
    }
    Ok(())
}

/// Writes down what a backup brings of one table, and what it takes out.
pub(in super::super) struct Entries<'a> {
    peer: &'a ServerId,
    table: i64,
    comes: Statement<'a>,
    leaves: Statement<'a>,
}

impl<'a> Entries<'a> {
    /// Begins: what the backup before left open is open again.
    pub(in super::super) fn begin(
        connection: &'a Connection,
        peer: &'a ServerId,
        table: i64,
    ) -> Result<Self, DatabaseError> {
        connection.execute(REOPEN, params![peer.as_str(), table]).map_err(failed)?;
        // A row that is there already stays there, whatever becomes of the backup.
        let comes = format!(
            "INSERT INTO main.branchline_in_scope (peer, table_id, key, state, {}) VALUES
                 (?1, ?2, ?3, 2, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (peer, table_id, key) DO UPDATE SET state = CASE state WHEN 1 THEN 1 ELSE 2 END",
            columns_of_noted(""),
        );
        let comes = connection.prepare(&comes).map_err(failed)?;
        let leaves = connection.prepare(LEAVES).map_err(failed)?;
        Ok(Self { peer, table, comes, leaves })
    }

    /// The row goes to the peer. Its key's values stand in `row` from `first` on.
    pub(in super::super) fn comes(
        &mut self,
        key: &str,
        row: &rusqlite::Row<'_>,
        first: usize,
    ) -> Result<(), DatabaseError> {
        let comes = &mut self.comes;
        comes.raw_bind_parameter(1, self.peer.as_str()).map_err(failed)?;
        comes.raw_bind_parameter(2, self.table).map_err(failed)?;
        comes.raw_bind_parameter(3, key).map_err(failed)?;
        for place in 0..super::super::key::KEY_COLUMNS_MAX {
            let value = row.get_ref(first + place).map_err(failed)?;
            let value = rusqlite::types::ToSqlOutput::Borrowed(value);
            comes.raw_bind_parameter(4 + place, value).map_err(failed)?;
        }
        comes.raw_execute().map(drop).map_err(failed)
    }

    /// The row is taken out at the peer, or is told to be deleted.
    pub(in super::super) fn leaves(&mut self, key: &str) -> Result<(), DatabaseError> {
        self.leaves.execute(params![self.peer.as_str(), self.table, key]).map(drop).map_err(failed)
    }
}

/// The backup that was under way to a peer was applied there; answers how many rows that settles.
pub(in super::super) fn confirm(connection: &Connection, peer: &ServerId) -> Result<u64, DatabaseError> {
    let mut settled = 0;
    for sql in [LEFT, ARRIVED] {
        settled += connection.execute(sql, params![peer.as_str()]).map_err(failed)?;
    }
    Ok(u64::try_from(settled).unwrap_or(u64::MAX))
}

/// From now on it is open of each row whether its peer has it: the record was put back from a copy.
pub(in super::super) fn open_all(connection: &Connection) -> Result<(), DatabaseError> {
    connection.execute(OPEN_ALL, []).map(drop).map_err(failed)
}

/// Forgets a table.
pub(in super::super) fn forget_table(connection: &Connection, table: i64) -> Result<(), DatabaseError> {
    for sql in FORGET_TABLE {
        connection.execute(sql, params![table]).map_err(failed)?;
    }
    Ok(())
}
