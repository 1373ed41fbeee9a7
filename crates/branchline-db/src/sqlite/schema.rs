//! Reads SQLite's catalogue: the core's description of each table, and what only this adapter needs to know.
//!
//! Everything comes from pragmas (as table-valued functions, so that names are bound and not quoted), within the
//! caller's transaction where there is one. Left out without a word: SQLite's own tables, the ledger's, and shadow
//! tables of virtual ones. Views and virtual tables are listed as excluded.
//!
//! Foreign keys have no names in SQLite; ours name what they are (`customer_id -> customers`). SQLite can put off
//! the check of each until the commit, so all count as deferrable. Names are compared without case, as SQLite does,
//! and given as the catalogue spells them.
//!
//! Limits: 1,600 columns a table; rows are counted up to 100,000 where there are no statistics.

mod index_text;
mod keys;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use branchline_core::digest::Digest;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{Exclusion, Schema, Table, TableName};
use rusqlite::Connection;

use super::affinity::ColumnForm;
use super::error::failed;
use crate::Omitted;

const TABLES: &str = "SELECT name, type, strict FROM pragma_table_list
    WHERE schema = 'main' AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
    AND name NOT LIKE 'branchline\\_%' ESCAPE '\\' ORDER BY name";
const DECLARATIONS: &str = "SELECT type, name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL";
const STATISTICS: &str = "SELECT tbl, stat FROM main.sqlite_stat1 WHERE stat IS NOT NULL";
const HAS_STATISTICS: &str =
    "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'sqlite_stat1')";
const SCHEMA_VERSION: &str = "PRAGMA main.schema_version";

/// The catalogue of one database at one moment.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) schema: Schema,
    forms: BTreeMap<TableName, TableForm>,
}

/// What the core's description of a table does not say.
#[derive(Debug, Default)]
pub(super) struct TableForm {
    /// For each column of the table.
    pub(super) columns: Vec<ColumnForm>,
    /// For each column of the key, the collation under which SQLite tells keys apart; nothing for a rowid.
    pub(super) key_collations: Vec<Option<String>>,
    /// For each unique key of the table, the collations of its columns.
    pub(super) unique_collations: Vec<Vec<String>>,
    /// Its unique indexes that the core cannot describe.
    pub(super) odd_uniques: Vec<OddUnique>,
    /// For each foreign key of the table, whether changing the row it points at changes the row that points.
    pub(super) cascades_on_update: Vec<bool>,
    /// For each foreign key of the table, what happens when the row it points at is deleted.
    pub(super) on_delete: Vec<OnDelete>,
    /// The declaration holds an `ON CONFLICT` of its own, which must be overruled: it may replace rows.
    pub(super) has_conflict_clause: bool,
    pub(super) is_strict: bool,
}

/// What a foreign key does when the row that it points at is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnDelete {
    /// It is broken, which is looked at when the transaction ends.
    Nothing,
    /// It refuses the deletion at once.
    Refuse,
    /// The row that points gets another value.
    Change,
    /// The row that points is deleted too.
    Delete,
}

/// A unique index that is partial, or over expressions: as its declaration says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OddUnique {
    pub(super) name: String,
    /// Expressions over the table's columns, each with its collation.
    pub(super) terms: Vec<(String, String)>,
    /// Which rows it is over.
    pub(super) condition: Option<String>,
}

impl Catalogue {
    /// A table and its form.
    pub(super) fn find(&self, name: &TableName) -> Option<(&Table, &TableForm)> {
        Some((self.schema.table(name)?, self.forms.get(name)?))
    }
}

/// Reads the catalogue, all of its columns.
pub(super) fn read(connection: &Connection) -> Result<Catalogue, DatabaseError> {
    read_all(connection).map_err(failed)
}

/// The last catalogue that was read of a file, for as long as every declaration in it is the same.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The columns that the settings leave out.
    omitted: Vec<Omitted>,
    last: Mutex<Option<(Digest, Arc<Catalogue>)>>,
}

impl Cache {
    /// Nothing read yet, of a file without these columns.
    pub(super) fn omitting(omitted: Vec<Omitted>) -> Self {
        Self { omitted, last: Mutex::default() }
    }

    /// The catalogue of the connection's moment, whatever was read before.
    pub(super) fn read_anew(&self, connection: &Connection) -> Result<Catalogue, DatabaseError> {
        let Catalogue { schema, forms } = read(connection)?;
        Ok(Catalogue { schema: schema.omitting(&self.omitted)?, forms })
    }

    /// The catalogue of the connection's moment. How many rows its tables may have is as it was when it was read.
    pub(super) fn read(&self, connection: &Connection) -> Result<Arc<Catalogue>, DatabaseError> {
        let digest = declarations(connection).map_err(failed)?;
        let known = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, catalogue)) = known.filter(|(known, _)| *known == digest) {
            return Ok(catalogue);
        }
        let catalogue = Arc::new(self.read_anew(connection)?);
        let kept = (digest, Arc::clone(&catalogue));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(catalogue)
    }
}

/// A digest of every declaration but those of triggers.
fn declarations(connection: &Connection) -> rusqlite::Result<Digest> {
    let mut text = Vec::new();
    let mut statement = connection.prepare(DECLARATIONS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let kind = row.get_ref(0)?.as_bytes()?;
        if kind != b"trigger" {
            for part in [kind, row.get_ref(1)?.as_bytes()?, row.get_ref(2)?.as_bytes()?] {
                text.extend_from_slice(part);
                text.push(0);
            }
        }
    }
    Ok(Digest::of(&text))
}

/// A number that changes whenever somebody changes the schema.
pub(super) fn version(connection: &Connection) -> Result<i64, DatabaseError> {
    connection.query_row(SCHEMA_VERSION, [], |row| row.get(0)).map_err(failed)
}

fn read_all(connection: &Connection) -> rusqlite::Result<Catalogue> {
    let mut statement = connection.prepare(TABLES)?;
    let listed = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<Vec<(String, String, bool)>>>()?;
    let whole = Whole::read(connection, &listed)?;
    let mut tables = Vec::with_capacity(listed.len());
    let mut forms = BTreeMap::new();
    for (native_name, kind, is_strict) in &listed {
        let Ok(name) = TableName::new(native_name.as_str()) else {
            tables.push(not_carried(native_name, "named in a way that no backup can carry"));
            continue;
        };
        if kind != "table" {
            tables.push(not_a_table(name, if kind == "view" { "a view" } else { "a virtual table" }));
            continue;
        }
        let declaration = whole.tables.get(native_name).map(|sql| sql.to_ascii_uppercase());
        let mut form = TableForm {
            is_strict: *is_strict,
            has_conflict_clause: declaration.is_some_and(|sql| sql.contains("CONFLICT")),
            ..TableForm::default()
        };
        let table = table::read(connection, name.clone(), &whole, &mut form)?;
        tables.push(table);
        forms.insert(name, form);
    }
    Ok(Catalogue { schema: Schema::new(tables), forms })
}

/// What is read once for all tables: SQLite's own table of the schema has no index.
struct Whole {
    /// The catalogue's spelling of a table's name in lower case: as SQLite compares names.
    spelled: HashMap<String, String>,
    /// The declarations of tables, by name.
    tables: HashMap<String, String>,
    /// The declarations of indexes, by name.
    indexes: HashMap<String, String>,
    /// How many rows tables had when somebody last ran `ANALYZE`.
    rows: HashMap<String, u64>,
}

impl Whole {
    fn read(connection: &Connection, listed: &[(String, String, bool)]) -> rusqlite::Result<Self> {
        let spelled = listed.iter().map(|(name, _, _)| (name.to_ascii_lowercase(), name.clone())).collect();
        let mut whole =
            Self { spelled, tables: HashMap::new(), indexes: HashMap::new(), rows: HashMap::new() };
        let mut statement = connection.prepare(DECLARATIONS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let into = match row.get_ref(0)?.as_bytes()? {
                b"table" => &mut whole.tables,
                b"index" => &mut whole.indexes,
                _ => continue,
            };
            into.insert(row.get(1)?, row.get(2)?);
        }
        if connection.query_row(HAS_STATISTICS, [], |row| row.get(0))? {
            let mut statement = connection.prepare(STATISTICS)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (table, numbers): (String, String) = (row.get(0)?, row.get(1)?);
                if let Some(count) = numbers.split(' ').next().and_then(|count| count.parse().ok()) {
                    whole.rows.entry(table).or_insert(count);
                }
            }
        }
        Ok(whole)
    }
}

fn not_a_table(name: TableName, what: &str) -> Table {
    Table {
        name,
        columns: Vec::new(),
        key: Vec::new(),
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        rows_estimated: 0,
        excluded: Some(Exclusion::NotATable { what: what.to_owned() }),
    }
}

/// A table whose name cannot be one in a backup is listed all the same, under a name that people can read.
fn not_carried(native_name: &str, what: &str) -> Table {
    let readable: String = native_name.escape_debug().take(60).collect();
    let name = TableName::new(readable).or_else(|_| TableName::new("?"));
    not_a_table(name.expect("invariant: escaped text of 60 characters is a name"), what)
}

#[cfg(test)]
mod tests;
