//! A value in SQLite's own terms, and the way between it and the core's values.
//!
//! What is read keeps its storage class: an integer in a text column is an integer, and travels tagged. Two things
//! have no class of their own in SQLite: a truth value is 0 or 1 in a boolean column, and JSON is text that is valid
//! JSON in a JSON column. There, whole numbers are integers (the column's affinity is NUMERIC): `12` as JSON is the
//! integer 12 and comes back as the JSON it was.

use std::borrow::Cow;
use std::str::Utf8Error;

use branchline_core::backup::v1::{array_text, json};
use branchline_core::schema::LogicalType;
use branchline_core::value::{Value, text};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::affinity::{Affinity, ColumnForm};

/// A value with its storage class.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stored<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
}

impl<'a> Stored<'a> {
    /// What SQLite gives.
    pub(super) fn of(value: ValueRef<'a>) -> Result<Self, Utf8Error> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(integer) => Self::Integer(integer),
            ValueRef::Real(real) => Self::Real(real),
            ValueRef::Text(bytes) => Self::Text(std::str::from_utf8(bytes)?.into()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.into()),
        })
    }

    /// As a value of a column of that logical type.
    pub(super) fn into_value(self, logical_type: &LogicalType, form: ColumnForm) -> Value<'a> {
        let is_json = matches!(logical_type, LogicalType::Json | LogicalType::JsonBinary);
        match self {
            Self::Null => Value::Null,
            Self::Integer(bit @ (0 | 1)) if *logical_type == LogicalType::Boolean => Value::Boolean(bit == 1),
            Self::Integer(integer) if is_json && form.affinity == Affinity::Numeric => {
                Value::Json(integer.to_string().into())
            }
            Self::Integer(integer) => Value::Integer(integer),
            Self::Real(real) => Value::Float(real),
            Self::Text(text) if is_json && json::check(text.as_bytes()).is_ok() => Value::Json(text),
            Self::Text(text) => Value::Text(text),
            Self::Blob(bytes) => Value::Bytes(bytes),
        }
    }

    /// What is written for `value`, which has the logical type of its column; nothing where the column would not
    /// keep it. `from` is the type it had in the backup.
    pub(super) fn for_column(value: Value<'a>, from: &LogicalType, form: ColumnForm) -> Option<Self> {
        let stored = match value {
            Value::Null => Self::Null,
            Value::Boolean(truth) => Self::Integer(truth.into()),
            Value::Integer(integer) => Self::Integer(integer),
            Value::Float(float) => Self::Real(float),
            Value::Float32(float) => Self::Real(float.into()),
            Value::Json(text) => match whole_number(&text).filter(|_| form.affinity == Affinity::Numeric) {
                Some(integer) => Self::Integer(integer),
                None => Self::Text(text),
            },
            Value::Text(text) => Self::Text(text),
            Value::Bytes(bytes) => Self::Blob(bytes),
            Value::Array(items) => match from {
                LogicalType::Array(element) => Self::Text(array_text(&items, element).ok()?.into()),
                _ => return None,
            },
        };
        form.holds(&stored).then_some(stored)
    }

    /// The same value, owning its parts.
    #[cfg(test)]
    pub(super) fn into_owned(self) -> Stored<'static> {
        match self {
            Self::Null => Stored::Null,
            Self::Integer(integer) => Stored::Integer(integer),
            Self::Real(real) => Stored::Real(real),
            Self::Text(text) => Stored::Text(text.into_owned().into()),
            Self::Blob(bytes) => Stored::Blob(bytes.into_owned().into()),
        }
    }
}

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(integer) => ValueRef::Integer(*integer),
            Self::Real(real) => ValueRef::Real(*real),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The integer that is written exactly so.
fn whole_number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|integer: &i64| integer.to_string() == text)
}

/// A value in the form under which it is compared: the text of a typed column may have more than one form (a space
/// for a `T`, a UUID in upper case), and is stored and sent as the shop wrote it.
pub(super) fn for_compare<'a>(value: Value<'a>, own: &LogicalType) -> Value<'a> {
    match value {
        Value::Text(written) if *own == LogicalType::Uuid => {
            let lower = written.to_ascii_lowercase();
            let is_uuid = text::canonical(&lower, own).is_some();
            Value::Text(if is_uuid { lower.into() } else { written })
        }
        Value::Text(Cow::Borrowed(written)) => {
            Value::Text(text::canonical(written, own).unwrap_or(written.into()))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(value: Value<'static>, declared: &str) -> Option<Value<'static>> {
        let form = ColumnForm::of(declared, false);
        let logical_type = super::super::affinity::logical_type(declared, form);
        Some(Stored::for_column(value, &logical_type, form)?.into_value(&logical_type, form))
    }

    #[test]
    fn values_without_a_storage_class_come_back() {
        for (value, declared) in [
            (Value::Boolean(true), "BOOLEAN"),
            (Value::Integer(2), "BOOLEAN"),
            (Value::Json("12".into()), "JSON"),
            (Value::Json("{\"a\": 1}".into()), "JSON"),
            (Value::Json("12".into()), "JSON TEXT"),
            (Value::Text("not json".into()), "JSON"),
            (Value::Bytes(vec![0xff].into()), "TEXT"),
        ] {
            assert_eq!(there_and_back(value.clone(), declared), Some(value), "{declared}");
        }
    }

    #[test]
    fn json_that_would_become_another_number_is_refused() {
        for text in ["1.50", "1e2", "012345678901234567890"] {
            assert_eq!(there_and_back(Value::Json(text.into()), "JSON"), None, "{text}");
        }
    }

    #[test]
    fn a_typed_text_compares_in_its_one_form() {
        let written = Value::Text("2025-01-01 08:00:00".into());
        assert_eq!(for_compare(written, &LogicalType::Timestamp), Value::Text("2025-01-01T08:00:00".into()));
        let upper = Value::Text("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11".into());
        let lower = Value::Text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".into());
        assert_eq!(for_compare(upper, &LogicalType::Uuid), lower);
        let odd = Value::Text("soon".into());
        assert_eq!(for_compare(odd.clone(), &LogicalType::Timestamp), odd);
    }
}
