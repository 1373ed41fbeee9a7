//! The tables whose changes are captured: each has a number, which its triggers, versions and changes go by.
//!
//! A table is told by its name in backups. Its oid, the columns of its key and the text of its trigger function are
//! remembered to find out what became of it; the life of its base says whose rows the unversioned ones are.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;
use branchline_core::version::Life;

use super::{Lives, broken};
use crate::postgres::session::Session;

const READ: &str = "
    SELECT c.id, c.name, c.relation, c.key_columns, c.definition, c.partitions, c.base, c.compare_due, c.in_part, s.peers
      FROM branchline.captured AS c
      LEFT JOIN (SELECT table_id, array_agg(peer) AS peers FROM branchline.scope GROUP BY table_id) AS s
        ON s.table_id = c.id
     ORDER BY c.name";
const SET_BASE: &str = "UPDATE branchline.captured SET base = $2 WHERE id = ANY ($1)";
const SET_IN_PART: &str = "UPDATE branchline.captured SET in_part = true WHERE id = ANY ($1) AND NOT in_part";
const SET_DUE: &str =
    "UPDATE branchline.captured SET compare_due = $2 WHERE name = ANY ($1) AND compare_due <> $2";
const LEFT_OUT: &str = "SELECT name FROM branchline.left_out";
const LEAVE_OUT: &str = "
    WITH gone AS (DELETE FROM branchline.left_out WHERE name <> ALL ($1))
    INSERT INTO branchline.left_out SELECT unnest($1) ON CONFLICT (name) DO NOTHING";

/// A table whose changes are captured.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    pub(crate) id: i32,
    pub(crate) name: TableName,
    /// Its oid, when it was last looked at.
    pub(crate) relation: u32,
    /// The columns of its key.
    pub(crate) key: Vec<String>,
    /// The digest of its trigger function.
    pub(crate) definition: String,
    /// The oids of its partitions that hold rows.
    pub(crate) partitions: Vec<u32>,
    /// The life whose base its unversioned rows are.
    pub(crate) base: Life,
    /// Whether changes of it may have been missed.
    pub(crate) compare_due: bool,
    /// Whether a filter kept rows of it back where they came from, at any time.
    pub(crate) in_part: bool,
    /// The peers that filters kept rows of it from, at any time.
    pub(crate) kept_from: Vec<String>,
}

/// All of them, by name.
pub(crate) async fn read(session: &Session, lives: &Lives) -> Result<Vec<Captured>, DatabaseError> {
    let mut all = Vec::new();
    for row in session.rows_kept(READ, &[]).await? {
        all.push(Captured {
            id: row.get(0),
            name: TableName::new(row.get::<_, &str>(1)).map_err(|_| broken("the name of a table"))?,
            relation: row.get(2),
            key: row.get(3),
            definition: row.get(4),
            partitions: row.get(5),
            base: lives.life(row.get(6))?.clone(),
            compare_due: row.get(7),
            in_part: row.get(8),
            kept_from: row.get::<_, Option<Vec<String>>>(9).unwrap_or_default(),
        });
    }
    Ok(all)
}

/// Says that the unversioned rows of these tables are the base of another life.
pub(crate) async fn set_base(session: &Session, ids: &[i32], base: i32) -> Result<(), DatabaseError> {
    session.rows_kept(SET_BASE, &[&ids, &base]).await.map(drop)
}

/// Says that rows of these tables may be kept back where they come from.
pub(crate) async fn set_in_part(session: &Session, ids: &[i32]) -> Result<(), DatabaseError> {
    session.rows_kept(SET_IN_PART, &[&ids]).await.map(drop)
}

/// Marks tables for a compare, or takes the mark away; answers how many changed.
pub(crate) async fn set_due(
    session: &Session,
    tables: &[TableName],
    due: bool,
) -> Result<u64, DatabaseError> {
    let names: Vec<&str> = tables.iter().map(TableName::as_str).collect();
    session.execute_raw(SET_DUE, &[&names, &due]).await.map_err(|error| session.fault(&error))
}

/// The tables that the settings leave out.
pub(crate) async fn left_out(session: &Session) -> Result<Vec<TableName>, DatabaseError> {
    let name =
        |row: &tokio_postgres::Row| TableName::new(row.get::<_, &str>(0)).map_err(|_| broken("a name"));
    session.rows_kept(LEFT_OUT, &[]).await?.iter().map(name).collect()
}

/// Remembers the tables that the settings leave out.
pub(crate) async fn leave_out(session: &Session, tables: &[TableName]) -> Result<(), DatabaseError> {
    let names: Vec<&str> = tables.iter().map(TableName::as_str).collect();
    session.rows_kept(LEAVE_OUT, &[&names]).await.map(drop)
}
