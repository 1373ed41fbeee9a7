//! `branchline_in_scope` and `branchline_scope`: what a peer was sent of tables that it does not get whole.
//!
//! A row is taken out at a peer, and its deletion is told, only where the peer has it: because it was sent there, or came
//! from there. So the keys of these rows are kept, by peer.
//!
//! | `state` | the row |
//! |---|---|
//! | 0 | may be at the peer or not: what became of a backup that held it is not known |
//! | 1 | came from the peer, and no pack has looked at it yet |
//! | 2 | is in the backup that is under way |
//! | 3 | is taken out by the backup that is under way |
//! | 10 | is at the peer, and in its scope |
//! | 11 | is at the peer, which made it out of its scope: it stays there until somebody else changes it |
//!
//! One backup at a time is under way to a peer. So 2 and 3, found when the next one is packed, mean that the one before was
//! dropped, and count as 0. Each pack looks at what is below 10. `k0` … `k7` are the key's values, as in the table of
//! versions.
//!
//! `branchline_scope` says under which scope (its digest) the rows of a table were chosen for a peer: where it is another
//! one now, each row is looked at. `told` is 2 once the peer knows that rows of the table are kept back, and 1 where the
//! backup that is under way says so.

use std::collections::BTreeMap;

use branchline_core::id::ServerId;
use branchline_core::ports::DatabaseError;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Row, Statement, params};

use super::super::error::failed;
use super::super::key::{KEY_COLUMNS_MAX, columns_of_noted};

pub(in super::super) const NAME: &str = "branchline_scope";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_scope (
    peer TEXT NOT NULL,
    table_id INTEGER NOT NULL,
    digest TEXT NOT NULL,
    told INTEGER NOT NULL,
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
/// The rows that each pack looks at.
pub(super) const OPEN: &str =
    "CREATE INDEX main.branchline_in_scope_open ON branchline_in_scope (peer, table_id) WHERE state < 10";

/// It came from the peer.
pub(in super::super) const CAME: i64 = 1;
/// It is in the backup that is under way.
const COMES: i64 = 2;
/// It is taken out by the backup that is under way.
const LEAVES: i64 = 3;
/// It is at the peer, and in scope.
pub(in super::super) const THERE: i64 = 10;
/// It is at the peer, which made it out of its scope.
pub(in super::super) const STAYS: i64 = 11;

const ALL: &str = "SELECT table_id, digest, told FROM main.branchline_scope WHERE peer = ?1";
const SET: &str = "INSERT INTO main.branchline_scope (peer, table_id, digest, told) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (peer, table_id) DO UPDATE SET digest = excluded.digest, told = max(told, excluded.told)";
const TOLD: &str = "UPDATE main.branchline_scope SET told = 2 WHERE peer = ?1 AND told = 1";
const FORGET_DIGEST: &str = "DELETE FROM main.branchline_scope WHERE peer = ?1 AND table_id = ?2";
const FORGET_ROWS: &str = "DELETE FROM main.branchline_in_scope WHERE peer = ?1 AND table_id = ?2";
const REOPEN: &str = "UPDATE main.branchline_in_scope SET state = 0
    WHERE peer = ?1 AND table_id = ?2 AND state < 10 AND state IN (2, 3)";
const LEFT: &str = "DELETE FROM main.branchline_in_scope WHERE peer = ?1 AND state < 10 AND state = 3";
const ARRIVED: &str =
    "UPDATE main.branchline_in_scope SET state = 10 WHERE peer = ?1 AND state < 10 AND state = 2";
const HAS_SCOPE: &str =
    "SELECT EXISTS (SELECT 1 FROM main.branchline_scope WHERE peer = ?1 AND table_id = ?2)";
const OPEN_ALL: &str = "UPDATE main.branchline_in_scope SET state = 0 WHERE state NOT IN (1, 11)";
const FORGET_TABLE: [&str; 2] = [
    "DELETE FROM main.branchline_in_scope WHERE table_id = ?1",
    "DELETE FROM main.branchline_scope WHERE table_id = ?1",
];

/// Under which scope a table was packed for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct PackedScope {
    pub(in super::super) digest: String,
    /// Whether the peer knows that rows of it are kept back.
    pub(in super::super) is_told: bool,
}

/// Under which scopes the tables of a peer were packed, by table.
pub(in super::super) fn packed(
    connection: &Connection,
    peer: &ServerId,
) -> Result<BTreeMap<i64, PackedScope>, DatabaseError> {
    let mut statement = connection.prepare(ALL).map_err(failed)?;
    let rows = statement.query_map(params![peer.as_str()], |row| {
        Ok((row.get(0)?, PackedScope { digest: row.get(1)?, is_told: row.get::<_, i64>(2)? == 2 }))
    });
    rows.map_err(failed)?.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// Puts down under which scope a table was packed for a peer, and whether the backup says that it is one.
pub(in super::super) fn set_packed(
    connection: &Connection,
    peer: &ServerId,
    table: i64,
    digest: &str,
    tells: bool,
) -> Result<(), DatabaseError> {
    let values = params![peer.as_str(), table, digest, i64::from(tells)];
    connection.execute(SET, values).map(drop).map_err(failed)
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

/// Whether a peer was ever packed a table for that it does not get whole.
pub(in super::super) fn has_scope(
    connection: &Connection,
    peer: &ServerId,
    table: i64,
) -> Result<bool, DatabaseError> {
    connection.query_row(HAS_SCOPE, params![peer.as_str(), table], |row| row.get(0)).map_err(failed)
}

/// Begins to write down what a backup brings of one table, and what it takes out: what the one before left open is open
/// again.
pub(in super::super) fn reopen(
    connection: &Connection,
    peer: &ServerId,
    table: i64,
) -> Result<(), DatabaseError> {
    connection.execute(REOPEN, params![peer.as_str(), table]).map(drop).map_err(failed)
}

/// Writes down rows of one table.
pub(in super::super) struct Entries<'a>(Statement<'a>);

impl<'a> Entries<'a> {
    /// Of that peer and that table.
    pub(in super::super) fn new(
        connection: &'a Connection,
        peer: &ServerId,
        table: i64,
    ) -> Result<Self, DatabaseError> {
        // A row that is there stays there, whatever becomes of a backup that brings it once more. What came since the
        // snapshot of the pack is looked at by the next one: in the snapshot (`?13`) it had another state.
        let sql = format!(
            "INSERT INTO main.branchline_in_scope (peer, table_id, key, state, {}) VALUES
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (peer, table_id, key) DO UPDATE SET state =
                 CASE WHEN state = {CAME} AND ?13 IS NOT {CAME} THEN {CAME}
                 WHEN excluded.state = {COMES} AND state IN ({CAME}, {THERE}, {STAYS}) THEN {THERE}
                 ELSE excluded.state END",
            columns_of_noted(""),
        );
        let mut put = connection.prepare(&sql).map_err(failed)?;
        put.raw_bind_parameter(1, peer.as_str()).map_err(failed)?;
        put.raw_bind_parameter(2, table).map_err(failed)?;
        Ok(Self(put))
    }

    /// The row goes to the peer. The state that it had, its key's text, and then its values, stand in `row` from `first` on.
    pub(in super::super) fn comes(&mut self, row: &Row<'_>, first: usize) -> Result<(), DatabaseError> {
        self.put(COMES, row, first)
    }

    /// The row is taken out at the peer, or is told to be deleted.
    pub(in super::super) fn leaves(&mut self, row: &Row<'_>, first: usize) -> Result<(), DatabaseError> {
        self.put(LEAVES, row, first)
    }

    /// How it stands with the row is known.
    pub(in super::super) fn put(
        &mut self,
        state: i64,
        row: &Row<'_>,
        first: usize,
    ) -> Result<(), DatabaseError> {
        self.0.raw_bind_parameter(4, state).map_err(failed)?;
        for (parameter, place) in [13, 3].into_iter().chain(5..).zip(first..=first + 1 + KEY_COLUMNS_MAX) {
            let value = ToSqlOutput::Borrowed(row.get_ref(place).map_err(failed)?);
            self.0.raw_bind_parameter(parameter, value).map_err(failed)?;
        }
        self.0.raw_execute().map(drop).map_err(failed)
    }
}

/// The backup that was under way to a peer was applied there; answers how many rows that settles.
pub(in super::super) fn confirm(connection: &Connection, peer: &ServerId) -> Result<u64, DatabaseError> {
    let mut settled = 0;
    connection.execute(TOLD, params![peer.as_str()]).map_err(failed)?;
    for sql in [LEFT, ARRIVED] {
        settled += connection.execute(sql, params![peer.as_str()]).map_err(failed)?;
    }
    Ok(u64::try_from(settled).unwrap_or(u64::MAX))
}

/// The statement that enters rows which came from a peer: `keys` are the columns of their keys, `values` the text and the
/// values of the key of each row (alias `s`) of `rows` for which `which` holds. Its parameters are the peer and the table.
pub(in super::super) fn came(keys: &str, values: &str, rows: &str, which: &str) -> String {
    format!(
        "INSERT INTO main.branchline_in_scope (peer, table_id, state, key, {keys})
         SELECT ?1, ?2, {CAME}, {values} FROM {rows} AS s WHERE {which}
         ON CONFLICT (peer, table_id, key) DO UPDATE SET state = excluded.state"
    )
}

/// The statement that strikes out rows by the texts of their keys. Its parameters are the peer and the table.
pub(in super::super) fn struck(keys: &str) -> String {
    format!("DELETE FROM main.branchline_in_scope WHERE peer = ?1 AND table_id = ?2 AND key IN ({keys})")
}

/// From now on it is open of each row that was sent whether its peer has it: the record was put back from a copy.
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
