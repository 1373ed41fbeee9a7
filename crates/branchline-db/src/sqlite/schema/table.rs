//! One table: its columns, its key, how many rows it may have, and whether it can be part of a backup.

use branchline_core::limits::TABLE_COLUMNS_MAX;
use branchline_core::schema::{Column, ColumnName, Exclusion, Table, TableName};
use rusqlite::{Connection, params};

use super::super::affinity::{ColumnForm, logical_type};
use super::super::ident::Ident;
use super::{TableForm, Whole, keys};

const COLUMNS: &str =
    "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?1)
    WHERE hidden <> 1 ORDER BY cid";
/// Rows that are counted, where there are no statistics.
const ROWS_COUNTED_MAX: u32 = 100_000;

/// Collations that every SQLite has. Another one belongs to the shop's program, and we cannot compare by it.
const COLLATIONS: [&str; 3] = ["BINARY", "NOCASE", "RTRIM"];

/// A column as the pragma gives it.
struct Found {
    name: String,
    declared: String,
    not_null: bool,
    has_default: bool,
    /// Place in the primary key, from 1; 0 where it is not part of it.
    key_place: u16,
    generated: bool,
}

/// Reads one table and completes its form.
pub(super) fn read(
    connection: &Connection,
    name: TableName,
    whole: &Whole,
    form: &mut TableForm,
) -> rusqlite::Result<Table> {
    let found = columns(connection, name.as_str())?;
    let indexes = keys::indexes(connection, name.as_str(), whole)?;
    let mut key: Vec<usize> = (0..found.len()).filter(|&place| found[place].key_place > 0).collect();
    key.sort_by_key(|&place| found[place].key_place);
    // The rowid's alias is the one primary key that has no index.
    let key_index = indexes.iter().find(|index| index.is_primary);
    let rowid_alias = key.first().copied().filter(|_| key_index.is_none());
    form.key_collations = match key_index {
        Some(index) => index.collations.iter().cloned().map(Some).collect(),
        None => key.iter().map(|_| None).collect(),
    };
    let mut excluded = None;
    let mut table_columns = Vec::with_capacity(found.len());
    for (place, column) in found.iter().enumerate() {
        let column_form = ColumnForm::of(&column.declared, form.is_strict);
        form.columns.push(column_form);
        let Ok(column_name) = ColumnName::new(column.name.as_str()) else {
            excluded = Some(unsupported(&column.name, "a name that no backup can carry"));
            continue;
        };
        let nullable = !column.not_null && rowid_alias != Some(place);
        table_columns.push(Column {
            name: column_name,
            logical_type: logical_type(&column.declared, column_form),
            native_type: if column.declared.is_empty() {
                "untyped".to_owned()
            } else {
                column.declared.clone()
            },
            nullable,
            has_default: column.has_default || nullable || rowid_alias == Some(place),
            generated: column.generated,
            omitted: false,
        });
    }
    let excluded = excluded.or_else(|| exclusion(&found, &key, form));
    if excluded.is_some() && table_columns.len() != found.len() {
        return Ok(Table { excluded, ..super::not_a_table(name, "") });
    }
    form.odd_uniques = indexes.iter().filter_map(keys::Index::odd_unique).collect();
    let unique: Vec<_> =
        indexes.into_iter().filter_map(|index| index.unique_key(&found_names(&found))).collect();
    form.unique_collations = unique.iter().map(|(_, collations)| collations.clone()).collect();
    let foreign_keys =
        keys::foreign_keys(connection, name.as_str(), &found_names(&found), &whole.spelled, form)?;
    let rows_estimated = match whole.rows.get(name.as_str()) {
        _ if excluded.is_some() => 0,
        Some(&rows) => rows,
        None => rows_counted(connection, name.as_str())?,
    };
    let unique_keys = unique.into_iter().map(|(key, _)| key).collect();
    Ok(Table { name, columns: table_columns, key, unique_keys, foreign_keys, rows_estimated, excluded })
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Found>> {
    let mut statement = connection.prepare(COLUMNS)?;
    let found = statement.query_map(params![table], |row| {
        Ok(Found {
            name: row.get(0)?,
            declared: row.get(1)?,
            not_null: row.get(2)?,
            has_default: row.get(3)?,
            key_place: row.get(4)?,
            generated: row.get::<_, i64>(5)? >= 2,
        })
    })?;
    found.collect()
}

fn found_names(found: &[Found]) -> Vec<&str> {
    found.iter().map(|column| column.name.as_str()).collect()
}

fn exclusion(found: &[Found], key: &[usize], form: &TableForm) -> Option<Exclusion> {
    if found.len() > TABLE_COLUMNS_MAX {
        return Some(Exclusion::TooManyColumns { columns: found.len() });
    }
    if key.is_empty() {
        return Some(Exclusion::NoPrimaryKey);
    }
    let foreign = |collation: &String| !COLLATIONS.iter().any(|known| collation.eq_ignore_ascii_case(known));
    let place = form.key_collations.iter().position(|collation| collation.as_ref().is_some_and(foreign))?;
    let collation = form.key_collations[place].as_deref().unwrap_or_default();
    Some(unsupported(&found[key[place]].name, &format!("the collation {collation} of the shop's program")))
}

fn unsupported(column: &str, native_type: &str) -> Exclusion {
    let readable: String = column.escape_debug().take(60).collect();
    let column = ColumnName::new(readable).or_else(|_| ColumnName::new("?"));
    let column = column.expect("invariant: escaped text of 60 characters is a name");
    Exclusion::UnsupportedColumn { column, native_type: native_type.to_owned() }
}

fn rows_counted(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    let counted =
        format!("SELECT count(*) FROM (SELECT 1 FROM main.{} LIMIT {ROWS_COUNTED_MAX})", Ident(table));
    connection.query_row(&counted, [], |row| row.get::<_, u32>(0)).map(u64::from)
}
