//! Types: what a column's declared type is underneath, and what its values are in the words that engines share.
//!
//! A domain counts as its base type (its rules are checked when rows reach the table). An array of a type whose
//! elements are separated by other than a comma (`box`) is carried whole, as PostgreSQL writes it.

use std::collections::HashMap;

use branchline_core::ports::DatabaseError;
use branchline_core::schema::LogicalType;

use crate::postgres::session::Session;

/// All types that columns of tables have, and those that these are made of.
const TYPES: &str = "
    WITH RECURSIVE used (oid) AS (
      SELECT DISTINCT a.atttypid FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
       WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
      UNION
      SELECT part.oid FROM used JOIN pg_type AS t ON t.oid = used.oid
       CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) AS part (oid) WHERE part.oid <> 0
    )
    SELECT t.oid, n.nspname = 'pg_catalog', t.typname::text, t.typtype,
           t.typinput = 'pg_catalog.array_in'::regproc, t.typelem, t.typbasetype, t.typtypmod, t.typdelim,
           format_type(t.oid, NULL), t.typnotnull, t.typdefault IS NOT NULL,
           format_type(t.typbasetype, t.typtypmod)
      FROM used JOIN pg_type AS t ON t.oid = used.oid JOIN pg_namespace AS n ON n.oid = t.typnamespace";

#[derive(Debug)]
struct TypeRow {
    builtin: bool,
    name: String,
    kind: char,
    is_array: bool,
    element: u32,
    base: u32,
    base_modifier: i32,
    delimiter: char,
    words: String,
    not_null: bool,
    has_default: bool,
    /// For a domain: what it is a domain over, with its modifier.
    base_words: Option<String>,
}

/// The types of the catalogue, by oid.
#[derive(Debug)]
pub(crate) struct Types(HashMap<u32, TypeRow>);

/// A declared type, seen through its domains.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// What its values are.
    pub(crate) logical: LogicalType,
    /// The base type in SQL with its modifier, where a domain is declared.
    pub(crate) base: Option<String>,
    /// Whether it is a type of somebody's own that its `=` would have to be looked up for.
    pub(crate) foreign_equality: bool,
    /// The base type's own name, where it is one of PostgreSQL's own.
    pub(crate) builtin: Option<String>,
    /// Length, precision or scale.
    pub(crate) modifier: i32,
    /// Whether a domain on the way forbids NULL.
    pub(crate) not_null: bool,
    /// Whether a domain on the way has a default.
    pub(crate) has_default: bool,
}

pub(super) async fn read(session: &Session) -> Result<Types, DatabaseError> {
    let letter = |row: &tokio_postgres::Row, place: usize| char::from(row.get::<_, i8>(place).unsigned_abs());
    let described = |row: &tokio_postgres::Row| TypeRow {
        builtin: row.get(1),
        name: row.get(2),
        kind: letter(row, 3),
        is_array: row.get(4),
        element: row.get(5),
        base: row.get(6),
        base_modifier: row.get(7),
        delimiter: letter(row, 8),
        words: row.get(9),
        not_null: row.get(10),
        has_default: row.get(11),
        base_words: row.get(12),
    };
    let rows = session.rows(TYPES, &[]).await?;
    Ok(Types(rows.iter().map(|row| (row.get(0), described(row))).collect()))
}

impl Types {
    /// What a type with a modifier is; nothing where the catalogue lost it meanwhile.
    pub(super) fn resolve(&self, mut oid: u32, mut modifier: i32) -> Option<Resolved> {
        let (mut not_null, mut has_default, mut base) = (false, false, None);
        let mut row = self.0.get(&oid)?;
        while row.kind == 'd' {
            not_null |= row.not_null;
            has_default |= row.has_default;
            modifier = row.base_modifier;
            base.clone_from(&row.base_words);
            oid = row.base;
            row = self.0.get(&oid)?;
        }
        Some(Resolved {
            logical: self.logical(oid, modifier)?,
            base,
            foreign_equality: !row.builtin && row.kind == 'b' && !row.is_array,
            builtin: row.builtin.then(|| row.name.clone()),
            modifier,
            not_null,
            has_default,
        })
    }

    fn logical(&self, oid: u32, modifier: i32) -> Option<LogicalType> {
        let row = self.0.get(&oid)?;
        if row.kind == 'e' {
            return Some(LogicalType::Enumeration);
        }
        if row.is_array {
            let element = self.resolve(row.element, modifier)?;
            let separated = self.0.get(&row.element).is_some_and(|element| element.delimiter == ',');
            return match element.logical {
                LogicalType::Array(_) => native(&row.words),
                logical if separated => Some(LogicalType::Array(Box::new(logical))),
                _ => native(&row.words),
            };
        }
        match row.builtin.then(|| plain(&row.name, modifier)).flatten() {
            Some(logical) => Some(logical),
            None => native(&row.words),
        }
    }
}

/// A type of another kind, under its name as SQL has it; nothing where the name is too long to be carried.
fn native(words: &str) -> Option<LogicalType> {
    format!("native:{words}").parse().ok()
}

fn plain(name: &str, modifier: i32) -> Option<LogicalType> {
    use LogicalType as T;
    Some(match name {
        "bool" => T::Boolean,
        "int2" => T::Int16,
        "int4" => T::Int32,
        "int8" => T::Int64,
        "float4" => T::Float32,
        "float8" => T::Float64,
        "numeric" => T::Decimal(decimal(modifier)),
        "text" | "varchar" | "bpchar" => T::Text,
        "bytea" => T::Bytes,
        "uuid" => T::Uuid,
        "date" => T::Date,
        "time" => T::Time,
        "timetz" => T::TimeWithZone,
        "timestamp" => T::Timestamp,
        "timestamptz" => T::TimestampWithZone,
        "interval" => T::Interval,
        "json" => T::Json,
        "jsonb" => T::JsonBinary,
        _ => return None,
    })
}

/// Precision in the upper half; scale in eleven bits, signed since version 15.
fn decimal(modifier: i32) -> Option<(u16, i16)> {
    let packed = u32::try_from(modifier.checked_sub(4)?).ok()?;
    let precision = u16::try_from(packed >> 16).ok()?;
    let scale = i16::try_from((packed & 0x7ff) ^ 1024).ok()? - 1024;
    Some((precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_and_scale_are_unpacked() {
        assert_eq!(decimal(-1), None);
        assert_eq!(decimal((12 << 16 | 2) + 4), Some((12, 2)));
        assert_eq!(decimal((3 << 16 | (-2_i32 & 0x7ff)) + 4), Some((3, -2)));
    }
}
