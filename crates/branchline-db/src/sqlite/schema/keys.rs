//! Indexes and foreign keys of one table.

use std::collections::HashMap;

use branchline_core::schema::{ColumnName, ForeignKey, TableName, UniqueKey};
use rusqlite::{Connection, params};

use super::{OddUnique, OnDelete, TableForm, Whole, index_text};

const UNIQUE_INDEXES: &str =
    "SELECT name, origin = 'pk', partial FROM pragma_index_list(?1) WHERE \"unique\" ORDER BY name";
const INDEX_COLUMNS: &str = "SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno";
const FOREIGN_KEYS: &str = "SELECT id, \"table\", \"from\", \"to\", on_update, on_delete
    FROM pragma_foreign_key_list(?1) ORDER BY id, seq";
const KEY_COLUMNS: &str = "SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk";

/// A unique index.
pub(super) struct Index {
    name: String,
    pub(super) is_primary: bool,
    /// Of a part of the rows only.
    is_partial: bool,
    /// Nothing for an expression.
    columns: Vec<Option<String>>,
    pub(super) collations: Vec<String>,
    /// Its declaration; nothing for one that belongs to the table's.
    declaration: Option<String>,
}

impl Index {
    /// As a unique key besides the primary one: over plain columns, of all rows.
    pub(super) fn unique_key(self, columns: &[&str]) -> Option<(UniqueKey, Vec<String>)> {
        if self.is_primary || self.is_partial {
            return None;
        }
        let place = |name: &Option<String>| position(columns, name.as_deref()?);
        let places = self.columns.iter().map(place).collect::<Option<Vec<_>>>()?;
        Some((UniqueKey { name: self.name, columns: places }, self.collations))
    }
}

impl Index {
    /// As one that only its declaration tells: a partial one, or one over expressions.
    pub(super) fn odd_unique(&self) -> Option<OddUnique> {
        if self.is_primary || !(self.is_partial || self.columns.iter().any(Option::is_none)) {
            return None;
        }
        let text = index_text::take_apart(self.declaration.as_deref()?)?;
        if text.terms.len() != self.collations.len() {
            return None;
        }
        let terms = text.terms.into_iter().zip(self.collations.iter().cloned()).collect();
        Some(OddUnique { name: self.name.clone(), terms, condition: text.condition })
    }
}

/// The unique indexes of a table, the primary key's among them.
pub(super) fn indexes(connection: &Connection, table: &str, whole: &Whole) -> rusqlite::Result<Vec<Index>> {
    let mut list = connection.prepare(UNIQUE_INDEXES)?;
    let listed = list
        .query_map(params![table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<Vec<(String, bool, bool)>>>()?;
    let mut statement = connection.prepare(INDEX_COLUMNS)?;
    let mut indexes = Vec::with_capacity(listed.len());
    for (name, is_primary, is_partial) in listed {
        let columns = statement
            .query_map(params![name], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(Option<String>, String)>>>()?;
        let (columns, collations) = columns.into_iter().unzip();
        let declaration = whole.indexes.get(&name).cloned();
        indexes.push(Index { name, is_primary, is_partial, columns, collations, declaration });
    }
    Ok(indexes)
}

/// The foreign keys of a table; says in `form` which of them act on an update.
pub(super) fn foreign_keys(
    connection: &Connection,
    table: &str,
    columns: &[&str],
    spelled: &HashMap<String, String>,
    form: &mut TableForm,
) -> rusqlite::Result<Vec<ForeignKey>> {
    struct Part {
        id: i64,
        target: String,
        from: String,
        to: Option<String>,
        on_update: String,
        on_delete: String,
    }
    let mut statement = connection.prepare(FOREIGN_KEYS)?;
    let parts = statement
        .query_map(params![table], |row| {
            Ok(Part {
                id: row.get(0)?,
                target: row.get(1)?,
                from: row.get(2)?,
                to: row.get(3)?,
                on_update: row.get(4)?,
                on_delete: row.get(5)?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut keys = Vec::new();
    for parts in parts.chunk_by(|a, b| a.id == b.id) {
        let first = &parts[0];
        let target = spelled.get(&first.target.to_ascii_lowercase()).unwrap_or(&first.target);
        let from: Vec<&str> = parts.iter().map(|part| part.from.as_str()).collect();
        let places = from.iter().map(|name| position(columns, name)).collect::<Option<Vec<_>>>();
        let target_columns = match parts.iter().map(|part| part.to.clone()).collect::<Option<Vec<_>>>() {
            Some(columns) => columns,
            None => key_columns(connection, target)?,
        };
        let target_columns = target_columns.into_iter().map(|name| spelled_column(connection, target, name));
        let target_columns = target_columns.collect::<rusqlite::Result<Vec<_>>>()?;
        let names: Result<Vec<_>, _> = target_columns.into_iter().map(ColumnName::new).collect();
        // A key to a table or column whose name cannot be one points at nothing that could be part of a backup.
        let (Some(places), Ok(target_name), Ok(target_columns)) =
            (places, TableName::new(target.as_str()), names)
        else {
            continue;
        };
        let acts = |action: &str| !matches!(action, "NO ACTION" | "RESTRICT");
        form.cascades_on_update.push(acts(&first.on_update));
        form.on_delete.push(match first.on_delete.as_str() {
            "CASCADE" => OnDelete::Delete,
            "RESTRICT" => OnDelete::Refuse,
            "NO ACTION" => OnDelete::Nothing,
            _ => OnDelete::Change,
        });
        keys.push(ForeignKey {
            name: format!("{} -> {target_name}", from.join(", ")),
            columns: places,
            target: target_name,
            target_columns,
            deferrable: true,
            cascades: acts(&first.on_delete),
        });
    }
    Ok(keys)
}

fn key_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection.prepare(KEY_COLUMNS)?.query_map(params![table], |row| row.get(0))?.collect()
}

/// The catalogue's spelling of a column that a foreign key names; as written where there is none.
fn spelled_column(connection: &Connection, table: &str, written: String) -> rusqlite::Result<String> {
    const SPELLED: &str = "SELECT name FROM pragma_table_xinfo(?1) WHERE name = ?2 COLLATE NOCASE";
    let mut statement = connection.prepare(SPELLED)?;
    let mut rows = statement.query(params![table, written])?;
    match rows.next()? {
        Some(row) => row.get(0),
        None => Ok(written),
    }
}

fn position(columns: &[&str], name: &str) -> Option<usize> {
    columns.iter().position(|column| column.eq_ignore_ascii_case(name))
}
