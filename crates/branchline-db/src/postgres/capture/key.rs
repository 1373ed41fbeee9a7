//! Keys as the change log and the versions have them: one text for each key, the same however it was written.
//!
//! The text of a key of one column is the value's own; of several it is the array of their texts. A decimal is written
//! without the zeros at its end, and the negative zero of a float as zero, so that what `=` takes for one key is one
//! text. Where `=` takes for one what no text can tell (a collation that ignores case, an extension's type, intervals),
//! a key has no such text, and the table's changes cannot be captured.
//!
//! Back from the text by a cast to the column's type, so that the index of the primary key is used.

use branchline_core::schema::{LogicalType, Table};

use crate::postgres::schema::{ColumnDetail, Relation};

/// Types of PostgreSQL's own of which each value has one text.
const ONE_TEXT: [&str; 9] =
    ["inet", "cidr", "macaddr", "macaddr8", "oid", "name", "\"char\"", "bit", "bit varying"];

/// The key of a table.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    columns: Vec<KeyColumn>,
}

#[derive(Debug, Clone)]
struct KeyColumn {
    detail: ColumnDetail,
    spelling: Spelling,
    /// Settings that change how values are written.
    settings: &'static [&'static str],
}

/// How a value becomes a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// As it is.
    Plain,
    /// A decimal, without the zeros at its end.
    Trimmed,
    /// A float: there are two zeros.
    Float,
}

impl Key {
    /// The key of a table; nothing where it has no text, with the column that is to blame.
    pub(crate) fn of(table: &Table, relation: &Relation) -> Result<Self, String> {
        let column = |&place: &usize| {
            let detail = relation.columns[place].clone();
            let logical = &table.columns[place].logical_type;
            let lax = detail.lax_collation.is_some() || detail.key_by_text;
            let (spelling, settings) = match spelling(logical) {
                Some(found) if !lax => found,
                _ => {
                    return Err(format!(
                        "column {} of its key has type {}, of which equal values can differ in writing",
                        table.columns[place].name, table.columns[place].native_type
                    ));
                }
            };
            Ok(KeyColumn { detail, spelling, settings })
        };
        Ok(Self { columns: table.key.iter().map(column).collect::<Result<_, _>>()? })
    }

    /// The names of its columns.
    pub(crate) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.detail.ident.as_str().to_owned()).collect()
    }

    /// The settings under which its text is written, for the head of a function.
    pub(crate) fn settings(&self) -> Vec<&'static str> {
        let mut settings: Vec<_> = self.columns.iter().flat_map(|column| column.settings).copied().collect();
        settings.sort_unstable();
        settings.dedup();
        settings
    }

    /// The text of the key of the row `alias`, in SQL.
    pub(crate) fn text(&self, alias: &str) -> String {
        let texts: Vec<String> = self.columns.iter().map(|column| column.text(alias)).collect();
        match texts.as_slice() {
            [one] => format!("({one} COLLATE pg_catalog.\"C\")"),
            several => {
                format!("(ARRAY[{}]::pg_catalog.text COLLATE pg_catalog.\"C\")", several.join(", "))
            }
        }
    }

    /// Whether the row `alias` has the key whose text is `key`, in SQL.
    pub(crate) fn is(&self, alias: &str, key: &str) -> String {
        let one = self.columns.len() == 1;
        let part = |(place, column): (usize, &KeyColumn)| {
            let text =
                if one { format!("({key})") } else { format!("(({key})::pg_catalog.text[])[{}]", place + 1) };
            let ColumnDetail { ident, stage_type, .. } = &column.detail;
            let value = match &column.detail.collation {
                Some(collation) => format!("({text} COLLATE {collation})::{stage_type}"),
                None => format!("{text}::{stage_type}"),
            };
            format!("{alias}.{ident}{} OPERATOR(pg_catalog.=) {value}", column.detail.cast())
        };
        self.columns.iter().enumerate().map(part).collect::<Vec<_>>().join(" AND ")
    }

    /// The values of the key whose text is `key`, in SQL: one for each column, in the key's order.
    pub(crate) fn values(&self, key: &str) -> Vec<String> {
        let one = self.columns.len() == 1;
        let value = |(place, column): (usize, &KeyColumn)| {
            let stage_type = &column.detail.stage_type;
            if one {
                format!("({key})::{stage_type}")
            } else {
                format!("(({key})::pg_catalog.text[])[{}]::{stage_type}", place + 1)
            }
        };
        self.columns.iter().enumerate().map(value).collect()
    }

    /// Whether the rows `a` and `b` have one key, in SQL.
    pub(crate) fn same(&self, a: &str, b: &str) -> String {
        let part = |column: &KeyColumn| {
            let (ident, cast) = (&column.detail.ident, column.detail.cast());
            format!("{a}.{ident}{cast} OPERATOR(pg_catalog.=) {b}.{ident}{cast}")
        };
        self.columns.iter().map(part).collect::<Vec<_>>().join(" AND ")
    }

    /// Its first column, which is never NULL.
    pub(crate) fn first(&self, alias: &str) -> String {
        self.columns.first().map_or_else(String::new, |column| format!("{alias}.{}", column.detail.ident))
    }

    /// Its columns as they stand in ORDER BY.
    pub(crate) fn order(&self, alias: &str) -> String {
        let column = |column: &KeyColumn| format!("{alias}.{}", column.detail.ident);
        self.columns.iter().map(column).collect::<Vec<_>>().join(", ")
    }
}

impl KeyColumn {
    fn text(&self, alias: &str) -> String {
        let ColumnDetail { ident, stage_type, .. } = &self.detail;
        match self.spelling {
            Spelling::Plain => format!("{alias}.{ident}::pg_catalog.text"),
            Spelling::Trimmed => {
                format!("pg_catalog.trim_scale({alias}.{ident}::pg_catalog.numeric)::pg_catalog.text")
            }
            Spelling::Float => {
                format!("({alias}.{ident} OPERATOR(pg_catalog.+) '0'::{stage_type})::pg_catalog.text")
            }
        }
    }
}

/// How values of a type are written, and the settings that this hangs on; nothing where equal ones can differ.
fn spelling(logical: &LogicalType) -> Option<(Spelling, &'static [&'static str])> {
    use LogicalType as T;
    const DATES: &str = "datestyle = 'ISO, YMD'";
    Some(match logical {
        T::Decimal(_) => (Spelling::Trimmed, &[]),
        T::Float32 | T::Float64 => (Spelling::Float, &["extra_float_digits = 1"]),
        T::Bytes => (Spelling::Plain, &["bytea_output = 'hex'"]),
        T::Date | T::Timestamp => (Spelling::Plain, &[DATES]),
        T::TimestampWithZone => (Spelling::Plain, &[DATES, "timezone = 'UTC'"]),
        other if is_plain(other) => (Spelling::Plain, &[]),
        _ => return None,
    })
}

/// Whether each value has one text, under any settings.
fn is_plain(logical: &LogicalType) -> bool {
    use LogicalType as T;
    match logical {
        T::Boolean | T::Int16 | T::Int32 | T::Int64 | T::Text | T::Uuid | T::Enumeration => true,
        T::Time | T::TimeWithZone => true,
        T::Native(name) => ONE_TEXT.contains(&name.as_str()),
        T::Array(element) => {
            matches!(**element, T::Boolean | T::Int16 | T::Int32 | T::Int64 | T::Uuid)
        }
        _ => false,
    }
}
