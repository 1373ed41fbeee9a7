//! One typed value of a row, borrowed from the bytes it was read from wherever that is possible.
//!
//! A value of a textual type ([`LogicalType::is_textual`]) is its canonical text:
//!
//! | type | form |
//! |---|---|
//! | decimal | `-12.50`, scale kept; `NaN`, `Infinity`, `-Infinity` |
//! | uuid | lower case, hyphens |
//! | date | `2025-12-06`, `0044-03-15 BC`, `infinity`, `-infinity` |
//! | time, timetz | `23:59:59.5`, `23:59:59.5+02` |
//! | timestamp | `2025-12-06T23:59:59.5`, never shifted; `… BC`, infinities |
//! | timestamptz | `2025-12-06T23:59:59.5Z`, in UTC; `… BC`, infinities |
//! | interval | ISO 8601, `P1Y2M3DT4H5M6.7S`, parts may be negative |
//! | enum, native | as their database writes them in a pinned session |
//!
//! A column may hold a value of another kind than its type's (SQLite allows it, and PostgreSQL's arrays with
//! unusual bounds are carried as text): the value then says what it is, and travels with a tag.

mod canonical;
mod convert;
pub mod text;

pub(crate) use canonical::plain_decimal;
pub use canonical::{CanonicalError, write_canonical};
pub use convert::{NotHeld, can_convert, common_type, convert};

use std::borrow::Cow;

use crate::schema::LogicalType;

/// One typed value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// A truth value.
    Boolean(bool),
    /// An integer of any width.
    Integer(i64),
    /// A 64-bit float.
    Float(f64),
    /// A 32-bit float: its shortest text differs from that of the same number in 64 bits.
    Float32(f32),
    /// Text, or the canonical text of a textual type.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// The text of a JSON value, valid and exactly as its database gave it.
    Json(Cow<'a, str>),
    /// An array; nested for more than one dimension. Elements are of the element type or NULL.
    Array(Vec<Value<'a>>),
}

/// What kind of value one is, whatever its column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants of Value, by name")]
pub enum ValueKind {
    Null,
    Boolean,
    Integer,
    Float,
    Text,
    Bytes,
    Json,
    Array,
}

impl Value<'_> {
    /// What kind of value this is.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Null => ValueKind::Null,
            Self::Boolean(_) => ValueKind::Boolean,
            Self::Integer(_) => ValueKind::Integer,
            Self::Float(_) | Self::Float32(_) => ValueKind::Float,
            Self::Text(_) => ValueKind::Text,
            Self::Bytes(_) => ValueKind::Bytes,
            Self::Json(_) => ValueKind::Json,
            Self::Array(_) => ValueKind::Array,
        }
    }

    /// The same value, owning its parts.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(b) => Value::Boolean(b),
            Self::Integer(i) => Value::Integer(i),
            Self::Float(f) => Value::Float(f),
            Self::Float32(f) => Value::Float32(f),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Self::Json(text) => Value::Json(Cow::Owned(text.into_owned())),
            Self::Array(items) => Value::Array(items.into_iter().map(Value::into_owned).collect()),
        }
    }
}

impl LogicalType {
    /// The kind that values of this type have unless they are tagged.
    #[must_use]
    pub fn natural_kind(&self) -> ValueKind {
        match self {
            Self::Boolean => ValueKind::Boolean,
            Self::Int16 | Self::Int32 | Self::Int64 => ValueKind::Integer,
            Self::Float32 | Self::Float64 => ValueKind::Float,
            Self::Bytes => ValueKind::Bytes,
            Self::Json | Self::JsonBinary => ValueKind::Json,
            Self::Array(_) => ValueKind::Array,
            _ => ValueKind::Text,
        }
    }
}
