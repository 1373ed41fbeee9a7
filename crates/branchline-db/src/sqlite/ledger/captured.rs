//! `branchline_captured`: the tables whose changes are captured.
//!
//! | column | |
//! |---|---|
//! | `id` | what the change log and the versions call the table; a table that is dropped and made anew gets another |
//! | `base` | the life whose base its rows without a version belong to |
//! | `compare_due` | 1 where changes may have been missed |
//! | `key_form`, `key_columns` | how its keys are named (`super::super::key`), and by which columns, a line each |
//! | `in_part` | 1 where a peer keeps rows of it back: absence from what comes from here says nothing either |
//! | `unique_keys` | the unique keys whose victims its triggers look for, a line each |

use std::collections::BTreeSet;

use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;
use rusqlite::{Connection, params};

use super::super::error::failed;
use super::super::ident::Ident;
use super::super::key::KeyForm;

pub(in super::super) const NAME: &str = "branchline_captured";
pub(super) const TABLE: &str = "CREATE TABLE main.branchline_captured (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    base INTEGER NOT NULL,
    compare_due INTEGER NOT NULL,
    key_form TEXT NOT NULL,
    key_columns TEXT NOT NULL,
    unique_keys TEXT NOT NULL
)";
pub(super) const ADD_IN_PART: &str =
    "ALTER TABLE main.branchline_captured ADD COLUMN in_part INTEGER NOT NULL DEFAULT 0";
const ADD: &str = "INSERT INTO main.branchline_captured
    (name, base, compare_due, key_form, key_columns, unique_keys) VALUES (?1, ?2, 0, ?3, ?4, ?5)";
const ALL: &str = "SELECT id, name, base, compare_due, key_form, key_columns, unique_keys
    FROM main.branchline_captured ORDER BY name";
const SET_SHAPE: &str =
    "UPDATE main.branchline_captured SET key_form = ?2, key_columns = ?3, unique_keys = ?4,
    compare_due = max(compare_due, ?5) WHERE id = ?1";
const SET_BASE: &str = "UPDATE main.branchline_captured SET base = ?2 WHERE id = ?1";
const SET_DUE: &str =
    "UPDATE main.branchline_captured SET compare_due = ?2 WHERE name = ?1 AND compare_due <> ?2";
const IN_PART: &str = "SELECT id FROM main.branchline_captured WHERE in_part = 1";
const SET_IN_PART: &str = "UPDATE main.branchline_captured SET in_part = 1 WHERE id = ?1 AND in_part = 0";
const REMOVE: &str = "DELETE FROM main.branchline_captured WHERE id = ?1";

/// A table that is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct CapturedTable {
    pub(in super::super) id: i64,
    pub(in super::super) name: TableName,
    /// The number of the life whose base it holds.
    pub(in super::super) base: i64,
    pub(in super::super) compare_due: bool,
    pub(in super::super) shape: CapturedShape,
}

/// What of a table the triggers and the names of its rows depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct CapturedShape {
    pub(in super::super) key_form: String,
    pub(in super::super) key_columns: String,
    pub(in super::super) unique_keys: String,
}

impl CapturedTable {
    /// The columns of its key, in the key's order.
    pub(in super::super) fn key_columns(&self) -> Vec<&str> {
        self.shape.key_columns.lines().collect()
    }

    /// How its keys are told apart.
    pub(in super::super) fn key_form(&self) -> KeyForm {
        KeyForm::from_ledger(&self.shape.key_form)
    }

    /// That a row of the table (alias `row`) has the noted key of another (alias `noted`, columns `k0` …). A NULL in a
    /// key equals itself here: such a row cannot travel, and must be found to be named.
    pub(in super::super) fn has_noted_key(&self, row: &str, noted: &str) -> String {
        let form = self.key_form();
        let same =
            self.key_columns().into_iter().enumerate().map(|(place, name)| {
                format!("{row}.{} IS {noted}.k{place}{}", Ident(name), form.collate(place))
            });
        same.collect::<Vec<_>>().join(" AND ")
    }

    /// An expression for the key's text of a row of the table.
    pub(in super::super) fn key_text(&self, row: &str) -> String {
        let columns = self.key_columns().into_iter().map(|name| format!("{row}.{}", Ident(name)));
        self.key_form().text_of(columns)
    }
}

/// All of them, by name.
pub(in super::super) fn all(connection: &Connection) -> Result<Vec<CapturedTable>, DatabaseError> {
    let mut statement = connection.prepare(ALL).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut tables = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let name: String = row.get(1).map_err(failed)?;
        let name = TableName::new(name).map_err(|error| DatabaseError::Failed {
            sqlstate: "LEDGER".to_owned(),
            message: format!("a table of branchline_captured is not ours: {error}"),
        })?;
        let text = |place: usize| row.get::<_, String>(place).map_err(failed);
        let shape = CapturedShape { key_form: text(4)?, key_columns: text(5)?, unique_keys: text(6)? };
        tables.push(CapturedTable {
            id: row.get(0).map_err(failed)?,
            name,
            base: row.get(2).map_err(failed)?,
            compare_due: row.get(3).map_err(failed)?,
            shape,
        });
    }
    Ok(tables)
}

/// The names of all of them; none where nothing is captured.
pub(in super::super) fn names(connection: &Connection) -> Result<Vec<TableName>, DatabaseError> {
    if !super::has_table(connection, NAME)? {
        return Ok(Vec::new());
    }
    Ok(all(connection)?.into_iter().map(|table| table.name).collect())
}

/// Takes a table in; answers its number.
pub(in super::super) fn add(
    connection: &Connection,
    name: &TableName,
    base: i64,
    shape: &CapturedShape,
) -> Result<i64, DatabaseError> {
    let values = params![name.as_str(), base, shape.key_form, shape.key_columns, shape.unique_keys];
    connection.execute(ADD, values).map_err(failed)?;
    Ok(connection.last_insert_rowid())
}

/// Puts down a table's shape as it is now, and that a compare is due, where one is.
pub(in super::super) fn set_shape(
    connection: &Connection,
    id: i64,
    shape: &CapturedShape,
    compare_due: bool,
) -> Result<(), DatabaseError> {
    let values = params![id, shape.key_form, shape.key_columns, shape.unique_keys, compare_due];
    connection.execute(SET_SHAPE, values).map(drop).map_err(failed)
}

/// From now on its rows without a version belong to the base of that life.
pub(in super::super) fn set_base(connection: &Connection, id: i64, life: i64) -> Result<(), DatabaseError> {
    connection.execute(SET_BASE, params![id, life]).map(drop).map_err(failed)
}

/// Says whether a compare is due; answers how many tables that changes.
pub(in super::super) fn set_compare_due(
    connection: &Connection,
    tables: &[TableName],
    due: bool,
) -> Result<u64, DatabaseError> {
    let mut changed = 0;
    for name in tables {
        changed += connection.execute(SET_DUE, params![name.as_str(), due]).map_err(failed)?;
    }
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

/// The numbers of the tables that are shared in part.
pub(in super::super) fn in_part(connection: &Connection) -> Result<BTreeSet<i64>, DatabaseError> {
    let mut statement = connection.prepare(IN_PART).map_err(failed)?;
    let numbers = statement.query_map([], |row| row.get(0)).map_err(failed)?;
    numbers.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// From now on a table is shared in part.
pub(in super::super) fn set_in_part(connection: &Connection, id: i64) -> Result<(), DatabaseError> {
    connection.execute(SET_IN_PART, params![id]).map(drop).map_err(failed)
}

/// Forgets a table.
pub(in super::super) fn remove(connection: &Connection, id: i64) -> Result<(), DatabaseError> {
    connection.execute(REMOVE, params![id]).map(drop).map_err(failed)
}
