//! Values as PostgreSQL writes and reads them in a pinned session, and as the core holds them.
//!
//! Most texts are the same on both sides and are only borrowed. The exceptions are few:
//!
//! | type | PostgreSQL | core |
//! |---|---|---|
//! | boolean | `t`, `f` | a truth value |
//! | timestamp | `2025-01-01 08:00:00.5` | `2025-01-01T08:00:00.5` |
//! | timestamptz | `2025-01-01 08:00:00.5+00` | `2025-01-01T08:00:00.5Z` |
//! | bytea | `\x6162` | the bytes |
//! | array | `{1,NULL,"a b"}` | nested values (`text/array.rs`) |
//! | array with bounds of its own | `[2:3]={…}` | that very text |

pub(crate) mod array;

use std::borrow::Cow;
use std::io::Write;

use branchline_core::schema::LogicalType;
use branchline_core::value::Value;
use data_encoding::HEXLOWER;

/// How the texts of a column are read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    Boolean,
    Integer,
    Float32,
    Float64,
    /// As it is.
    Text,
    Json,
    Bytes,
    /// A point in time, with whether it has a zone.
    Timestamp(bool),
    Array(Box<Form>),
}

/// A text that PostgreSQL would not have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Form {
    pub(crate) fn of(logical: &LogicalType) -> Self {
        match logical {
            LogicalType::Boolean => Self::Boolean,
            LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64 => Self::Integer,
            LogicalType::Float32 => Self::Float32,
            LogicalType::Float64 => Self::Float64,
            LogicalType::Json | LogicalType::JsonBinary => Self::Json,
            LogicalType::Bytes => Self::Bytes,
            LogicalType::Timestamp => Self::Timestamp(false),
            LogicalType::TimestampWithZone => Self::Timestamp(true),
            LogicalType::Array(element) => Self::Array(Box::new(Self::of(element))),
            _ => Self::Text,
        }
    }

    /// The value of a text that had to be kept by itself.
    pub(crate) fn owned_value(&self, text: String) -> Result<Value<'static>, Unreadable> {
        Ok(match self {
            Self::Text => Value::Text(Cow::Owned(text)),
            Self::Json => Value::Json(Cow::Owned(text)),
            Self::Timestamp(zoned) => {
                let mut out = String::with_capacity(text.len() + 1);
                write_timestamp(&text, *zoned, &mut out)?;
                Value::Text(Cow::Owned(out))
            }
            Self::Bytes => {
                let mut out = Vec::new();
                write_bytes(text.as_bytes(), &mut out)?;
                Value::Bytes(Cow::Owned(out))
            }
            Self::Array(element) => array::read(&text, element)?,
            scalar => scalar.scalar(&text)?,
        })
    }

    /// The value of a text that stands in the row as it is.
    pub(crate) fn borrowed_value<'a>(&self, text: &'a str) -> Result<Value<'a>, Unreadable> {
        Ok(match self {
            Self::Text | Self::Timestamp(_) => Value::Text(Cow::Borrowed(text)),
            Self::Json => Value::Json(Cow::Borrowed(text)),
            Self::Array(element) => array::read(text, element)?,
            scalar => scalar.scalar(text)?,
        })
    }

    fn scalar(&self, text: &str) -> Result<Value<'static>, Unreadable> {
        match self {
            Self::Boolean => match text {
                "t" => Ok(Value::Boolean(true)),
                "f" => Ok(Value::Boolean(false)),
                _ => Err(Unreadable),
            },
            Self::Integer => text.parse().map(Value::Integer).map_err(|_| Unreadable),
            Self::Float32 => text.parse().map(Value::Float32).map_err(|_| Unreadable),
            Self::Float64 => text.parse().map(Value::Float).map_err(|_| Unreadable),
            _ => Err(Unreadable),
        }
    }
}

/// Appends the core's text of a timestamp: `T` for the space, `Z` for `+00`; `infinity` stays.
pub(crate) fn write_timestamp(text: &str, zoned: bool, out: &mut String) -> Result<(), Unreadable> {
    let Some(space) = text.find(' ') else {
        out.push_str(text);
        return if text.ends_with("infinity") { Ok(()) } else { Err(Unreadable) };
    };
    let (date, rest) = (&text[..space], &text[space + 1..]);
    let (clock, era) = match rest.strip_suffix(" BC") {
        Some(clock) => (clock, " BC"),
        None => (rest, ""),
    };
    let clock = if zoned { clock.strip_suffix("+00").ok_or(Unreadable)? } else { clock };
    out.push_str(date);
    out.push('T');
    out.push_str(clock);
    if zoned {
        out.push('Z');
    }
    out.push_str(era);
    Ok(())
}

/// Appends the bytes of `\x6162`.
pub(crate) fn write_bytes(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let hex = text.strip_prefix(b"\\x").ok_or(Unreadable)?;
    let start = out.len();
    out.resize(start + hex.len() / 2, 0);
    HEXLOWER.decode_mut(hex, &mut out[start..]).map(drop).map_err(|_| Unreadable)
}

/// Appends `\x6162`.
pub(crate) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    let start = out.len();
    out.resize(start + bytes.len() * 2, b'0');
    HEXLOWER.encode_mut(bytes, &mut out[start..]);
}

/// Appends the digits of a number.
pub(crate) fn write_number(number: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing into a vector does not fail.
    let _ = write!(out, "{number}");
}

/// Appends the shortest text of a float that reads back the same.
pub(crate) fn write_float(
    finite: impl std::fmt::LowerExp,
    is_nan: bool,
    infinite: Option<bool>,
    out: &mut Vec<u8>,
) {
    match (is_nan, infinite) {
        (true, _) => out.extend_from_slice(b"NaN"),
        (_, Some(true)) => out.extend_from_slice(b"Infinity"),
        (_, Some(false)) => out.extend_from_slice(b"-Infinity"),
        _ => {
            let _ = write!(out, "{finite:e}");
        }
    }
}

/// Appends the text of a value that is no array, not escaped for where it will stand.
pub(crate) fn write_scalar(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null | Value::Array(_) => {}
        Value::Boolean(truth) => out.push(if *truth { b't' } else { b'f' }),
        Value::Integer(number) => write_number(*number, out),
        Value::Float(float) => {
            write_float(*float, float.is_nan(), float.is_infinite().then_some(*float > 0.0), out);
        }
        Value::Float32(float) => {
            write_float(*float, float.is_nan(), float.is_infinite().then_some(*float > 0.0), out);
        }
        Value::Text(text) | Value::Json(text) => out.extend_from_slice(text.as_bytes()),
        Value::Bytes(bytes) => write_hex(bytes, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_change_their_form_only() {
        let of = |text: &str, zoned| {
            let mut out = String::new();
            write_timestamp(text, zoned, &mut out).map(|()| out)
        };
        assert_eq!(of("2025-01-01 08:00:00.5+00", true).as_deref(), Ok("2025-01-01T08:00:00.5Z"));
        assert_eq!(of("0044-03-15 12:00:00+00 BC", true).as_deref(), Ok("0044-03-15T12:00:00Z BC"));
        assert_eq!(of("2025-01-01 08:00:00", false).as_deref(), Ok("2025-01-01T08:00:00"));
        assert_eq!(of("-infinity", true).as_deref(), Ok("-infinity"));
        assert_eq!(of("2025-01-01 08:00:00+02", true), Err(Unreadable));
        assert_eq!(of("01.01.2025", false), Err(Unreadable));
    }

    #[test]
    fn scalars_read_back() {
        for (text, form) in [
            ("t", Form::Boolean),
            ("-9223372036854775808", Form::Integer),
            ("5e-324", Form::Float64),
            ("1e-45", Form::Float32),
            ("NaN", Form::Float64),
            ("-Infinity", Form::Float32),
            ("-0e0", Form::Float64),
            ("\\x00ff", Form::Bytes),
        ] {
            let value = form.owned_value(text.to_owned()).unwrap();
            let mut out = Vec::new();
            write_scalar(&value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        assert_eq!(Form::Boolean.borrowed_value("true"), Err(Unreadable));
        assert_eq!(Form::Bytes.owned_value("\\000".to_owned()), Err(Unreadable));
    }
}
