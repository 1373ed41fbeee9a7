//! The binary form of a value under which two databases are compared: the same in every engine.
//!
//! ```text
//! NULL 00 · boolean 01 b · integer 02 i64 · float 03 f64 bits · text 04 len bytes · bytes 05 len bytes
//! decimal 06 len text without needless zeros · json (as text) 07 len text · json (as a value) 08 … · array 09 count items
//! ```
//! Lengths and counts are 8 bytes, little-endian. Numbers that are equal have one form: `1.10` and `1.1`, `-0.0`
//! and `0.0`, every NaN. A JSON value's objects are taken with their members sorted and of duplicates the last.

use super::{NotHeld, Value, convert};
use crate::backup::v1::json;
use crate::schema::LogicalType;

/// Why a value has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// It does not fit the type that the pair shares.
    #[error(transparent)]
    NotHeld(#[from] NotHeld),
    /// A JSON value that is not JSON.
    #[error("a JSON column holds text that is not JSON")]
    NotJson,
}

/// Appends the canonical form of `value`, of type `from`, as a value of the shared type `to`.
///
/// # Errors
/// Where the value does not fit the shared type. The caller then hashes it as it is: it will count as different.
pub fn write_canonical(
    value: Value<'_>,
    from: &LogicalType,
    to: &LogicalType,
    out: &mut Vec<u8>,
) -> Result<(), CanonicalError> {
    let value = convert(value, from, to)?;
    write(&value, to, out)
}

fn write(value: &Value<'_>, logical_type: &LogicalType, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.push(0),
        Value::Boolean(b) => out.extend([1, u8::from(*b)]),
        Value::Integer(i) => {
            out.push(2);
            out.extend(i.to_le_bytes());
        }
        Value::Float(f) => write_float(*f, out),
        Value::Float32(f) => write_float((*f).into(), out),
        Value::Text(text) if matches!(logical_type, LogicalType::Decimal(_)) => {
            write_bytes(6, plain_decimal(text).as_bytes(), out);
        }
        Value::Text(text) => write_bytes(4, text.as_bytes(), out),
        Value::Bytes(bytes) => write_bytes(5, bytes, out),
        Value::Json(text) if *logical_type == LogicalType::JsonBinary => {
            out.push(8);
            json::write_canonical(text.as_bytes(), out).map_err(|_| CanonicalError::NotJson)?;
        }
        Value::Json(text) => write_bytes(7, text.as_bytes(), out),
        Value::Array(items) => {
            out.push(9);
            out.extend((items.len() as u64).to_le_bytes());
            let element = match logical_type {
                LogicalType::Array(element) => element,
                other => other,
            };
            for item in items {
                write(item, element, out)?;
            }
        }
    }
    Ok(())
}

fn write_float(float: f64, out: &mut Vec<u8>) {
    let one_form = if float.is_nan() {
        f64::NAN
    } else if float == 0.0 {
        0.0
    } else {
        float
    };
    out.push(3);
    out.extend(one_form.to_bits().to_le_bytes());
}

fn write_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

/// A decimal without leading zeros, trailing zeros of its fraction, or a sign on zero.
pub(crate) fn plain_decimal(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return text.to_owned();
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        ("", fraction) => format!("{sign}0.{fraction}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LogicalType as T;

    fn form(value: Value<'_>, from: &T, to: &T) -> Vec<u8> {
        let mut out = Vec::new();
        write_canonical(value, from, to, &mut out).unwrap();
        out
    }

    #[test]
    fn equal_values_have_one_form() {
        let decimal =
            |text: &'static str| form(Value::Text(text.into()), &T::Decimal(None), &T::Decimal(None));
        assert_eq!(decimal("1.10"), decimal("1.1"));
        assert_eq!(decimal("-0.00"), decimal("0"));
        assert_eq!(decimal("0012"), decimal("12.0"));
        assert_ne!(decimal("NaN"), decimal("0"));
        let float = |f: f64| form(Value::Float(f), &T::Float64, &T::Float64);
        assert_eq!(float(-0.0), float(0.0));
        assert_eq!(float(f64::NAN), float(-f64::NAN));
        let json = |text: &'static str| form(Value::Json(text.into()), &T::JsonBinary, &T::JsonBinary);
        assert_eq!(json(r#"{"b":1.0,"a":[ 2 ]}"#), json(r#"{"a":[2],"b":1}"#));
    }

    #[test]
    fn engines_agree_under_the_shared_type() {
        let shared = super::super::common_type(&T::Text, &T::Decimal(Some((12, 2)))).unwrap();
        let sqlite = form(Value::Text("1.1".into()), &T::Text, &shared);
        let postgres = form(Value::Text("1.10".into()), &T::Decimal(Some((12, 2))), &shared);
        assert_eq!(sqlite, postgres);
        assert_eq!(
            form(Value::Boolean(true), &T::Boolean, &T::Int64),
            form(Value::Integer(1), &T::Int64, &T::Int64)
        );
    }

    #[test]
    fn different_values_have_different_forms() {
        let values = [
            Value::Null,
            Value::Text("".into()),
            Value::Text("0".into()),
            Value::Bytes(Vec::new().into()),
            Value::Integer(0),
            Value::Float(0.0),
            Value::Boolean(false),
            Value::Array(vec![]),
            Value::Array(vec![Value::Null]),
        ];
        for (i, a) in values.iter().enumerate() {
            for b in &values[i + 1..] {
                assert_ne!(
                    form(a.clone(), &T::Any, &T::Any),
                    form(b.clone(), &T::Any, &T::Any),
                    "{a:?} {b:?}"
                );
            }
        }
    }
}
