//! Which values may pass from a column of one type into a column of another: only those that lose nothing.
//!
//! [`can_convert`] answers for types, before anything is staged; [`convert`] for each value, where the types
//! leave it open (a text may or may not be a date). [`common_type`] is the type under which a pair compares.

use std::borrow::Cow;

use super::{Value, text};
use crate::schema::LogicalType;

/// A value that its new column cannot hold unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value of type {from} is not held by type {to} without loss")]
pub struct NotHeld {
    /// The type it has.
    pub from: LogicalType,
    /// The type it should have had.
    pub to: LogicalType,
}

/// Whether values of type `from` can pass into a column of type `to`: all of them, or those that fit.
#[must_use]
pub fn can_convert(from: &LogicalType, to: &LogicalType) -> bool {
    use LogicalType as T;
    match (from, to) {
        (from, to) if from == to => true,
        (T::Any, _) | (_, T::Any) => true,
        (from, to) if from.is_integer() && to.is_integer() => true,
        (T::Boolean, to) if to.is_integer() => true,
        (from, T::Boolean) if from.is_integer() => true,
        (T::Float32, T::Float64) | (T::Float64, T::Float32) => true,
        (T::Decimal(_), T::Decimal(_)) => true,
        (T::Text, to) => to.is_textual() || matches!(to, T::Json | T::JsonBinary | T::Array(_)),
        (from, T::Text) => from.is_textual() || matches!(from, T::Json | T::JsonBinary | T::Array(_)),
        (T::Json, T::JsonBinary) | (T::JsonBinary, T::Json) => true,
        (T::Array(_), T::Json) | (T::Json, T::Array(_)) => true,
        (T::Array(from), T::Array(to)) => can_convert(from, to),
        _ => false,
    }
}

/// The type under which values of two columns are compared; nothing where they have none in common.
#[must_use]
pub fn common_type(a: &LogicalType, b: &LogicalType) -> Option<LogicalType> {
    use LogicalType as T;
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (T::Decimal(_), T::Decimal(_)) => Some(T::Decimal(None)),
        (T::Any, T::Any) => Some(T::Any),
        (T::Any, other) | (other, T::Any) => Some(other.clone()),
        (a, b) if a.is_integer() && b.is_integer() => Some(T::Int64),
        (T::Boolean, int) | (int, T::Boolean) if int.is_integer() => Some(T::Int64),
        (T::Float32, T::Float64) | (T::Float64, T::Float32) => Some(T::Float64),
        (T::Json, T::JsonBinary) | (T::JsonBinary, T::Json) => Some(T::JsonBinary),
        // Text has no JSON of its own: as values, so that spaces do not count.
        (T::Text, T::Json | T::JsonBinary) | (T::Json | T::JsonBinary, T::Text) => Some(T::JsonBinary),
        (T::Array(array), T::Text | T::Json) | (T::Text | T::Json, T::Array(array)) => {
            Some(T::Array(array.clone()))
        }
        (T::Text, T::Decimal(_)) | (T::Decimal(_), T::Text) => Some(T::Decimal(None)),
        (T::Text, typed) | (typed, T::Text) if typed.is_textual() => Some(typed.clone()),
        (T::Array(a), T::Array(b)) => common_type(a, b).map(|element| T::Array(Box::new(element))),
        _ => None,
    }
}

/// The value as one of type `to`, unchanged in meaning.
///
/// # Errors
/// Where `to` cannot hold it; nothing is ever rounded, cut or guessed.
pub fn convert<'a>(value: Value<'a>, from: &LogicalType, to: &LogicalType) -> Result<Value<'a>, NotHeld> {
    use LogicalType as T;
    let not_held = || NotHeld { from: from.clone(), to: to.clone() };
    if from == to {
        // Tagged values (SQLite) must fit all the same: the adapter of a typed engine refuses them.
        return Ok(value);
    }
    match (value, to) {
        (Value::Null, _) => Ok(Value::Null),
        (value, T::Any) => Ok(value),
        (Value::Integer(i), T::Int16) => {
            i16::try_from(i).map(|i| Value::Integer(i.into())).map_err(|_| not_held())
        }
        (Value::Integer(i), T::Int32) => {
            i32::try_from(i).map(|i| Value::Integer(i.into())).map_err(|_| not_held())
        }
        (Value::Integer(i), T::Int64) => Ok(Value::Integer(i)),
        (Value::Integer(i @ (0 | 1)), T::Boolean) => Ok(Value::Boolean(i == 1)),
        (Value::Boolean(b), T::Int16 | T::Int32 | T::Int64) => Ok(Value::Integer(b.into())),
        (Value::Boolean(b), T::Boolean) => Ok(Value::Boolean(b)),
        (Value::Integer(i), T::Decimal(limit)) => {
            text_as(Cow::Owned(i.to_string()), &T::Decimal(*limit)).ok_or_else(not_held)
        }
        (Value::Float32(f), T::Float64) => Ok(Value::Float(f.into())),
        (Value::Float(f), T::Float32) => narrow(f).map(Value::Float32).ok_or_else(not_held),
        (Value::Float(f), T::Float64) => Ok(Value::Float(f)),
        (Value::Text(text), to) if to.is_textual() => text_as(text, to).ok_or_else(not_held),
        (Value::Text(text), T::Json | T::JsonBinary) => json_of(text).ok_or_else(not_held),
        (Value::Json(text), T::Json | T::JsonBinary) => Ok(Value::Json(text)),
        (Value::Json(text), T::Text) => Ok(Value::Text(text)),
        (Value::Bytes(bytes), T::Bytes) => Ok(Value::Bytes(bytes)),
        (Value::Array(items), T::Text | T::Json) => {
            let text = crate::backup::v1::array_text(&items, element_of(from)).map_err(|_| not_held())?;
            Ok(if *to == T::Text { Value::Text(text.into()) } else { Value::Json(text.into()) })
        }
        (Value::Text(text) | Value::Json(text), T::Array(element)) => {
            crate::backup::v1::array_of_text(&text, element).map_err(|_| not_held())
        }
        (Value::Array(items), T::Array(element)) => {
            let items = items.into_iter().map(|item| convert_element(item, element_of(from), element));
            items.collect::<Result<_, _>>().map(Value::Array).map_err(|_| not_held())
        }
        _ => Err(not_held()),
    }
}

/// An element, or an inner array of a further dimension.
fn convert_element<'a>(item: Value<'a>, from: &LogicalType, to: &LogicalType) -> Result<Value<'a>, NotHeld> {
    match item {
        Value::Array(inner) => {
            let inner = inner.into_iter().map(|item| convert_element(item, from, to));
            inner.collect::<Result<_, _>>().map(Value::Array)
        }
        item => convert(item, from, to),
    }
}

fn element_of(array: &LogicalType) -> &LogicalType {
    match array {
        LogicalType::Array(element) => element,
        other => other,
    }
}

fn text_as<'a>(text: Cow<'a, str>, to: &LogicalType) -> Option<Value<'a>> {
    let text = match text {
        Cow::Borrowed(text) => text::canonical(text, to)?,
        Cow::Owned(text) => Cow::Owned(text::canonical(&text, to)?.into_owned()),
    };
    Some(Value::Text(text))
}

fn json_of(text: Cow<'_, str>) -> Option<Value<'_>> {
    crate::backup::v1::json::check(text.as_bytes()).ok()?;
    Some(Value::Json(text))
}

fn narrow(wide: f64) -> Option<f32> {
    #[allow(clippy::cast_possible_truncation, reason = "checked on the next line")]
    let narrow = wide as f32;
    (wide.is_nan() || f64::from(narrow).to_bits() == wide.to_bits()).then_some(narrow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.into())
    }

    #[test]
    fn what_fits_passes_unchanged() {
        use LogicalType as T;
        for (value, from, to, expected) in [
            (Value::Integer(7), T::Int64, T::Int16, Value::Integer(7)),
            (Value::Integer(1), T::Int64, T::Boolean, Value::Boolean(true)),
            (Value::Boolean(false), T::Boolean, T::Int64, Value::Integer(0)),
            (text("1.10"), T::Text, T::Decimal(Some((12, 2))), text("1.10")),
            (text("2025-01-01 08:00:00"), T::Text, T::Timestamp, text("2025-01-01T08:00:00")),
            (text("1.10"), T::Decimal(None), T::Text, text("1.10")),
            (text("{\"a\": 1}"), T::Text, T::JsonBinary, Value::Json("{\"a\": 1}".into())),
            (Value::Null, T::Text, T::Int16, Value::Null),
            (Value::Float(0.5), T::Float64, T::Float32, Value::Float32(0.5)),
        ] {
            assert_eq!(convert(value, &from, &to), Ok(expected), "{from} to {to}");
        }
    }

    #[test]
    fn what_would_change_is_refused() {
        use LogicalType as T;
        for (value, from, to) in [
            (Value::Integer(40_000), T::Int64, T::Int16),
            (Value::Integer(2), T::Int64, T::Boolean),
            (Value::Float(0.1), T::Float64, T::Float32),
            (text("1.105"), T::Decimal(None), T::Decimal(Some((12, 2)))),
            (text("soon"), T::Text, T::Date),
            (text("{"), T::Text, T::Json),
            (text("abc"), T::Any, T::Int64),
            (Value::Float(1.5), T::Any, T::Decimal(None)),
        ] {
            let expected = NotHeld { from: from.clone(), to: to.clone() };
            assert_eq!(convert(value, &from, &to), Err(expected), "{from} to {to}");
        }
    }

    #[test]
    fn types_that_share_nothing_are_refused_before_any_value() {
        use LogicalType as T;
        for (from, to) in [
            (T::Decimal(None), T::Float64),
            (T::Float64, T::Decimal(None)),
            (T::Bytes, T::Text),
            (T::Int64, T::Text),
            (T::Date, T::Timestamp),
            (T::Array(Box::new(T::Text)), T::Int64),
        ] {
            assert!(!can_convert(&from, &to), "{from} to {to}");
            assert_eq!(common_type(&from, &to), None, "{from} and {to}");
        }
    }
}
