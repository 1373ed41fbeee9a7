//! The name of a row in the ledger: its key as one canonical text, the same for keys that are equal to the table.
//!
//! Triggers note the key's values as they are; this text is made of them by our own engine alone, with the function
//! `branchline_key` that is registered on each session that needs it. A change of engine in the shop's program can so
//! never change the name of a row.
//!
//! | value | text |
//! |---|---|
//! | NULL | `null` (a row with such a key cannot travel) |
//! | an integer, a float with an integral value | `12`: an untyped column holds 12 and 12.0 to be equal |
//! | another float | `1.5`, the shortest that reads back the same |
//! | text | `'it''s'`; without case or without its last spaces, where the key's collation says so |
//! | text of a typed column | its canonical form: capitals of a UUID and zeros of a decimal name no other row |
//! | bytes, text that is not UTF-8 | `x'00ff'`, `t'00ff'` |
//!
//! Columns are joined by commas. What a [`KeyForm`] says of each column is written beside the table in the ledger, as
//! two letters. Limit: eight columns, which is what the change log has room for.

use std::fmt::Write as _;

use branchline_core::schema::{LogicalType, Table};
use branchline_core::value::{Value, write_canonical};
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::error::failed;
use super::schema::TableForm;
use branchline_core::ports::DatabaseError;

/// Columns of a key that the change log has room for.
pub(super) const KEY_COLUMNS_MAX: usize = 8;

/// The name of the function.
const FUNCTION: &str = "branchline_key";

/// Types whose texts have more than one form, each with its letter.
const TYPED: [(u8, LogicalType); 7] = [
    (b'm', LogicalType::Decimal(None)),
    (b'u', LogicalType::Uuid),
    (b'd', LogicalType::Date),
    (b't', LogicalType::Time),
    (b'z', LogicalType::TimeWithZone),
    (b's', LogicalType::Timestamp),
    (b'w', LogicalType::TimestampWithZone),
];

/// How keys of a table are told apart: for each column a letter for its collation (`i` for a rowid, which has none) and
/// one for its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyForm {
    letters: String,
}

impl KeyForm {
    /// The form of a table's key; nothing where it has more columns than the log has room for.
    pub(super) fn of(table: &Table, form: &TableForm) -> Option<Self> {
        if table.key.len() > KEY_COLUMNS_MAX {
            return None;
        }
        let mut letters = String::with_capacity(2 * table.key.len());
        for (&place, collation) in table.key.iter().zip(&form.key_collations) {
            letters.push(match collation.as_deref() {
                Some(name) if name.eq_ignore_ascii_case("NOCASE") => 'n',
                Some(name) if name.eq_ignore_ascii_case("RTRIM") => 'r',
                Some(_) => 'b',
                None => 'i',
            });
            letters.push(char::from(letter_of(&table.columns[place].logical_type)));
        }
        Some(Self { letters })
    }

    /// As it was read from the ledger.
    pub(super) fn from_ledger(letters: &str) -> Self {
        Self { letters: letters.to_owned() }
    }

    /// The collation of the column at that place of the key, as an operator: empty for a rowid.
    pub(super) fn collate(&self, place: usize) -> &'static str {
        match self.letters.as_bytes().get(2 * place) {
            Some(b'n') => " COLLATE NOCASE",
            Some(b'r') => " COLLATE RTRIM",
            Some(b'b') => " COLLATE BINARY",
            _ => "",
        }
    }

    /// As it stands in the ledger.
    pub(super) fn as_str(&self) -> &str {
        &self.letters
    }

    /// An expression for the key's text, over expressions for its columns.
    pub(super) fn text_of(&self, columns: impl IntoIterator<Item = String>) -> String {
        let mut sql = format!("{FUNCTION}('{}'", self.letters);
        for column in columns {
            sql.push_str(", ");
            sql.push_str(&column);
        }
        sql + ")"
    }
}

/// An expression for the key's text of a row of the change log or of what is like it (alias `row`), whose table's
/// form is an expression too.
pub(super) fn text_of_noted(form: &str, row: &str) -> String {
    format!("{FUNCTION}({form}, {})", columns_of_noted(row))
}

/// The columns of a noted key, `k0` to `k7`.
pub(super) fn columns_of_noted(row: &str) -> String {
    let columns: Vec<_> = (0..KEY_COLUMNS_MAX).map(|place| format!("{row}k{place}")).collect();
    columns.join(", ")
}

/// Registers the function on a session.
pub(super) fn register(connection: &Connection) -> Result<(), DatabaseError> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    let text = |context: &rusqlite::functions::Context<'_>| {
        let form = context.get_raw(0).as_bytes().unwrap_or_default();
        let columns = context.len().saturating_sub(1).min(form.len() / 2);
        Ok(text_of(form, (1..=columns).map(|place| context.get_raw(place))))
    };
    connection.create_scalar_function(FUNCTION, -1, flags, text).map_err(failed)
}

fn letter_of(logical_type: &LogicalType) -> u8 {
    let same = |known: &LogicalType| std::mem::discriminant(known) == std::mem::discriminant(logical_type);
    TYPED.iter().find(|(_, known)| same(known)).map_or(b'-', |(letter, _)| *letter)
}

fn text_of<'a>(form: &[u8], values: impl Iterator<Item = ValueRef<'a>>) -> String {
    let mut out = String::new();
    for (letters, value) in form.chunks_exact(2).zip(values) {
        if !out.is_empty() {
            out.push(',');
        }
        write_value(letters[0], letters[1], value, &mut out);
    }
    out
}

fn write_value(collation: u8, typed: u8, value: ValueRef<'_>, out: &mut String) {
    match value {
        ValueRef::Null => out.push_str("null"),
        ValueRef::Integer(integer) => push(out, format_args!("{integer}")),
        ValueRef::Real(real) => match as_integer(real) {
            Some(integer) => push(out, format_args!("{integer}")),
            None => push(out, format_args!("{real:?}")),
        },
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => write_text(collation, typed, text, out),
            Err(_) => write_bytes('t', bytes, out),
        },
        ValueRef::Blob(bytes) => write_bytes('x', bytes, out),
    }
}

/// The integer that is equal to the float.
fn as_integer(real: f64) -> Option<i64> {
    let is_one =
        real.fract() == 0.0 && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&real);
    #[allow(clippy::cast_possible_truncation, reason = "it was found to be integral and in range")]
    is_one.then_some(real as i64)
}

fn write_text(collation: u8, typed: u8, text: &str, out: &mut String) {
    if let Some((_, logical_type)) = TYPED.iter().find(|(letter, _)| *letter == typed) {
        let mut form = Vec::new();
        let value = super::stored::for_compare(Value::Text(text.into()), logical_type);
        if branchline_core::value::text::canonical(text, logical_type).is_some()
            && write_canonical(value, logical_type, logical_type, &mut form).is_ok()
            // A tag and a length stand before the text.
            && let Some(canonical) = form.get(9..).and_then(|text| std::str::from_utf8(text).ok())
        {
            return write_quoted(canonical, out);
        }
    }
    match collation {
        b'n' => write_quoted(&text.to_ascii_lowercase(), out),
        b'r' => write_quoted(text.trim_end_matches(' '), out),
        _ => write_quoted(text, out),
    }
}

fn write_quoted(text: &str, out: &mut String) {
    out.push('\'');
    out.push_str(&text.replace('\'', "''"));
    out.push('\'');
}

fn write_bytes(tag: char, bytes: &[u8], out: &mut String) {
    out.push(tag);
    out.push('\'');
    for byte in bytes {
        push(out, format_args!("{byte:02x}"));
    }
    out.push('\'');
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("invariant: a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(form: &str, values: &[ValueRef<'_>]) -> String {
        text_of(form.as_bytes(), values.iter().copied())
    }

    #[test]
    fn equal_keys_have_one_name() {
        assert_eq!(named("b-", &[ValueRef::Integer(12)]), named("b-", &[ValueRef::Real(12.0)]));
        assert_eq!(named("n-", &[ValueRef::Text(b"TEA")]), named("n-", &[ValueRef::Text(b"tea")]));
        assert_eq!(named("r-", &[ValueRef::Text(b"tea  ")]), named("r-", &[ValueRef::Text(b"tea")]));
        let upper = ValueRef::Text(b"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11");
        let lower = ValueRef::Text(b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        assert_eq!(named("bu", &[upper]), named("bu", &[lower]));
        assert_eq!(named("bm", &[ValueRef::Text(b"1.10")]), named("bm", &[ValueRef::Text(b"1.1")]));
        let (space, letter) =
            (ValueRef::Text(b"2025-01-01 08:00:00"), ValueRef::Text(b"2025-01-01T08:00:00"));
        assert_eq!(named("bs", &[space]), named("bs", &[letter]));
    }

    #[test]
    fn other_keys_have_other_names() {
        let values = [
            ValueRef::Null,
            ValueRef::Integer(12),
            ValueRef::Real(12.5),
            ValueRef::Real(1e300),
            ValueRef::Text(b"12"),
            ValueRef::Text(b"TEA"),
            ValueRef::Text(b"tea"),
            ValueRef::Text(b"tea "),
            ValueRef::Text(b"\xff"),
            ValueRef::Blob(b"tea"),
            ValueRef::Blob(b"\xff"),
            ValueRef::Blob(b""),
        ];
        let names: std::collections::HashSet<_> = values.iter().map(|&value| named("b-", &[value])).collect();
        assert_eq!(names.len(), values.len());
        let (comma, quote) = (ValueRef::Text(b"a','b"), ValueRef::Text(b"a"));
        assert_ne!(named("b-b-", &[comma, quote]), named("b-b-", &[quote, ValueRef::Text(b"b','a")]));
        assert_eq!(named("b-b-", &[ValueRef::Integer(1), quote]), "1,'a'");
    }
}
