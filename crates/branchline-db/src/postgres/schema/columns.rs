//! Columns: described for the core, with what only PostgreSQL needs to know beside it.

use std::collections::HashMap;

use branchline_core::ports::DatabaseError;
use branchline_core::schema::{Column, ColumnName, Exclusion, LogicalType};

use super::Limit;
use super::types::Types;
use crate::postgres::ident::Ident;
use crate::postgres::ledger;
use crate::postgres::session::Session;

const COLUMNS: &str = "
    SELECT a.attrelid, a.attnum, a.attname::text, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod),
           a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated,
           CASE WHEN NOT l.collisdeterministic THEN format('%I.%I', ln.nspname, l.collname) END,
           CASE WHEN l.oid IS NOT NULL THEN format('%I.%I', ln.nspname, l.collname) END,
           coalesce(has_column_privilege(a.attrelid, a.attnum, 'SELECT'), false)
      FROM pg_attribute AS a
      JOIN pg_class AS c ON c.oid = a.attrelid
      JOIN pg_namespace AS n ON n.oid = c.relnamespace
      LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
      LEFT JOIN pg_namespace AS ln ON ln.oid = l.collnamespace
     WHERE a.attnum > 0 AND NOT a.attisdropped
       AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', $1)
     ORDER BY a.attrelid, a.attnum";

/// Whether, and how strictly, a column is numbered by the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    No,
    ByDefault,
    Always,
}

/// What only PostgreSQL needs to know of a column.
#[derive(Debug, Clone)]
pub(crate) struct ColumnDetail {
    pub(crate) ident: Ident,
    pub(crate) number: i16,
    /// The type of a staged value in SQL: the column's own, or what its domain is over.
    pub(crate) stage_type: String,
    pub(crate) limit: Limit,
    pub(crate) identity: Identity,
    /// How two values are told apart, where `=` calls some equal that are not the same.
    pub(crate) sameness: Sameness,
    /// Whether even a key of this type is matched by its text: its `=` is of an extension.
    pub(crate) key_by_text: bool,
    /// What a domain over an enum is over: only the enum itself has an `=`.
    pub(crate) enumeration: Option<String>,
    /// The collation in SQL, where it calls some texts equal that are not the same.
    pub(crate) lax_collation: Option<String>,
    /// The collation in SQL, where the type has one.
    pub(crate) collation: Option<String>,
    pub(crate) readable: bool,
}

impl ColumnDetail {
    /// What follows the column's name where its values are compared as the table's own keys compare them.
    pub(crate) fn cast(&self) -> &str {
        match &self.enumeration {
            _ if self.key_by_text => "::pg_catalog.text",
            Some(cast) => cast,
            None => "",
        }
    }
}

/// How two values of a column are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// By `=`.
    Equal,
    /// By `=` under a collation that keeps texts apart that differ.
    Collated,
    /// By their texts: the type has no `=`, or one that is too lax (`interval`), or not ours to know.
    Text,
}

#[derive(Debug)]
struct ColumnRow {
    number: i16,
    name: String,
    declared: u32,
    modifier: i32,
    words: String,
    not_null: bool,
    has_default: bool,
    identity: Identity,
    generated: bool,
    lax_collation: Option<String>,
    collation: Option<String>,
    readable: bool,
}

/// The columns of all relations.
#[derive(Debug)]
pub(super) struct AllColumns(HashMap<u32, Vec<ColumnRow>>);

/// The columns of one relation, not yet described.
#[derive(Debug)]
pub(super) struct Columns(Vec<ColumnRow>);

pub(super) async fn read(session: &Session) -> Result<AllColumns, DatabaseError> {
    let mut all: HashMap<u32, Vec<ColumnRow>> = HashMap::new();
    for row in session.rows(COLUMNS, &[&ledger::SCHEMA]).await? {
        let identity = match row.get::<_, i8>(8).unsigned_abs() {
            b'a' => Identity::Always,
            b'd' => Identity::ByDefault,
            _ => Identity::No,
        };
        all.entry(row.get(0)).or_default().push(ColumnRow {
            number: row.get(1),
            name: row.get(2),
            declared: row.get(3),
            modifier: row.get(4),
            words: row.get(5),
            not_null: row.get(6),
            has_default: row.get(7),
            identity,
            generated: row.get::<_, i8>(9) != 0,
            lax_collation: row.get(10),
            collation: row.get(11),
            readable: row.get(12),
        });
    }
    Ok(AllColumns(all))
}

impl AllColumns {
    pub(super) fn take(&mut self, relation: u32) -> Columns {
        Columns(self.0.remove(&relation).unwrap_or_default())
    }
}

impl Columns {
    /// All columns that can be described, and why the table cannot sync where one cannot.
    pub(super) fn describe(self, types: &Types) -> (Vec<(Column, ColumnDetail)>, Option<Exclusion>) {
        let mut excluded = None;
        let mut described = Vec::with_capacity(self.0.len());
        for row in self.0 {
            let Ok(name) = ColumnName::new(row.name.as_str()) else {
                let what = "a table with a column whose name cannot be carried".to_owned();
                excluded = Some(Exclusion::NotATable { what });
                continue;
            };
            match describe(&row, name.clone(), types) {
                Some(column) => described.push(column),
                None => {
                    let native_type = row.words.clone();
                    excluded = Some(Exclusion::UnsupportedColumn { column: name, native_type });
                }
            }
        }
        (described, excluded)
    }
}

fn describe(row: &ColumnRow, name: ColumnName, types: &Types) -> Option<(Column, ColumnDetail)> {
    let resolved = types.resolve(row.declared, row.modifier)?;
    let nullable = !row.not_null && !resolved.not_null;
    let detail = ColumnDetail {
        ident: Ident::new(row.name.as_str()),
        number: row.number,
        stage_type: resolved.base.clone().unwrap_or_else(|| row.words.clone()),
        limit: Limit::of(&resolved),
        identity: row.identity,
        sameness: sameness(&resolved.logical, row.lax_collation.is_some()),
        key_by_text: resolved.foreign_equality,
        enumeration: (resolved.logical == LogicalType::Enumeration)
            .then(|| resolved.base.as_ref().map(|base| format!("::{base}")))
            .flatten(),
        lax_collation: row.lax_collation.clone(),
        collation: row.collation.clone(),
        readable: row.readable,
    };
    let has_default = row.has_default || resolved.has_default || row.identity != Identity::No || nullable;
    let generated = row.generated;
    let native_type = row.words.clone();
    // Left out by the settings or not: that is said once all of it was read.
    let (logical_type, omitted) = (resolved.logical, false);
    let column = Column { name, logical_type, native_type, nullable, has_default, generated, omitted };
    Some((column, detail))
}

fn sameness(logical: &LogicalType, lax_collation: bool) -> Sameness {
    match logical {
        LogicalType::Interval
        | LogicalType::Json
        | LogicalType::Array(_)
        | LogicalType::Native(_)
        | LogicalType::Any => Sameness::Text,
        LogicalType::Text if lax_collation => Sameness::Collated,
        _ => Sameness::Equal,
    }
}
