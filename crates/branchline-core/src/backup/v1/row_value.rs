//! How one value is written, and read.
//!
//! | value | in a column of its kind | elsewhere |
//! |---|---|---|
//! | NULL | `null` | `null` |
//! | boolean | `true` | `{"$bool":true}` |
//! | integer | `5`; beyond 2^53−1 `"9007199254740993"` | `{"$int":"5"}` |
//! | float | `0.1`, `"NaN"`, `"Infinity"`, `"-Infinity"` | `{"$float":0.1}` |
//! | text of any textual type | `"text"` | `{"$text":"text"}` |
//! | bytes | `"base64"` | `{"$bytes":"base64"}` |
//! | JSON | embedded, or `{"$json":"its text"}` where that is not safe, and in arrays | – |
//! | array | `[…]`, nested | – |

use std::borrow::Cow;

use data_encoding::BASE64;

use super::error::RowFault;
use super::json::{self, JsonFault, Scanner};
use crate::limits::JSON_DEPTH_MAX;
use crate::schema::LogicalType;
use crate::value::{Value, ValueKind};

/// The largest integer that every JSON reader keeps exactly.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// Depth that is left for a column's value inside its row.
const VALUE_DEPTH_MAX: usize = JSON_DEPTH_MAX - 1;

/// The JSON of a value by itself.
#[must_use]
pub fn value_text(value: &Value<'_>, logical_type: &LogicalType) -> String {
    let mut out = Vec::new();
    if write(value, logical_type, &mut out).is_err() {
        return "?".to_owned();
    }
    String::from_utf8(out).unwrap_or_else(|_| "?".to_owned())
}

/// The JSON text of an array.
///
/// # Errors
/// Where an element has no form, or the array is nested too deep.
pub fn array_text(items: &[Value<'_>], element: &LogicalType) -> Result<String, RowFault> {
    let mut out = Vec::new();
    write_array(items, element, VALUE_DEPTH_MAX, &mut out)?;
    String::from_utf8(out).map_err(|_| RowFault::NotEncodable)
}

/// The array of a JSON text whose elements are written as in a row.
///
/// # Errors
/// Where it is not such a text.
pub fn array_of_text(text: &str, element: &LogicalType) -> Result<Value<'static>, RowFault> {
    let mut scanner = Scanner::new(text.as_bytes());
    scanner.skip_space();
    let array = read_array(&mut scanner, element, VALUE_DEPTH_MAX)?;
    scanner.skip_space();
    if scanner.position() == text.len() { Ok(array.into_owned()) } else { Err(RowFault::Malformed) }
}

/// Appends a value.
pub(super) fn write(
    value: &Value<'_>,
    logical_type: &LogicalType,
    out: &mut Vec<u8>,
) -> Result<(), RowFault> {
    let natural = value.kind() == logical_type.natural_kind();
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(b) => tagged(natural, "$bool", out, |out| {
            out.extend_from_slice(if *b { b"true" } else { b"false" });
        }),
        Value::Integer(i) if natural && i.unsigned_abs() <= EXACT_MAX => write_integer(*i, out),
        Value::Integer(i) => tagged(natural, "$int", out, |out| {
            out.push(b'"');
            write_integer(*i, out);
            out.push(b'"');
        }),
        Value::Float(f) => tagged(natural, "$float", out, |out| write_float(*f, out)),
        Value::Float32(f) => tagged(natural, "$float", out, |out| write_float32(*f, out)),
        Value::Text(text) => tagged(natural, "$text", out, |out| json::write_string(text, out)),
        Value::Bytes(bytes) => tagged(natural, "$bytes", out, |out| write_base64(bytes, out)),
        Value::Json(text) if natural && can_embed(text) => out.extend_from_slice(text.as_bytes()),
        Value::Json(text) => tagged(false, "$json", out, |out| json::write_string(text, out)),
        Value::Array(items) => match logical_type {
            LogicalType::Array(element) => write_array(items, element, VALUE_DEPTH_MAX, out)?,
            _ => return Err(RowFault::NotEncodable),
        },
    }
    Ok(())
}

fn tagged(natural: bool, tag: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if natural {
        return write(out);
    }
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(b"\":");
    write(out);
    out.push(b'}');
}

/// Whether a JSON text can stand in a row as it is and be told apart from what is ours.
fn can_embed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
    if text == "null"
        || memchr::memchr2(b'\n', b'\r', bytes).is_some()
        || edge(bytes.first())
        || edge(bytes.last())
    {
        return false;
    }
    let small_scalar =
        |shape: json::Shape| shape.depth <= VALUE_DEPTH_MAX && !shape.duplicates && !shape.dollar_member;
    json::check(bytes).is_ok_and(small_scalar)
}

fn write_array(
    items: &[Value<'_>],
    element: &LogicalType,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), RowFault> {
    // One level is kept for the tag of an element.
    let depth = depth.checked_sub(1).filter(|left| *left > 0).ok_or(RowFault::TooDeep)?;
    out.push(b'[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        match item {
            Value::Array(inner) => write_array(inner, element, depth, out)?,
            // Embedded JSON could not be told from a further dimension.
            Value::Json(text) => tagged(false, "$json", out, |out| json::write_string(text, out)),
            item => write(item, element, out)?,
        }
    }
    out.push(b']');
    Ok(())
}

fn write_integer(integer: i64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    let mut rest = integer.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if integer < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[start..]);
}

fn write_float(float: f64, out: &mut Vec<u8>) {
    match special(float) {
        Some(special) => out.extend_from_slice(special),
        None => out.extend_from_slice(zmij::Buffer::new().format_finite(float).as_bytes()),
    }
}

fn write_float32(float: f32, out: &mut Vec<u8>) {
    match special(float.into()) {
        Some(special) => out.extend_from_slice(special),
        None => out.extend_from_slice(zmij::Buffer::new().format_finite(float).as_bytes()),
    }
}

fn special(float: f64) -> Option<&'static [u8]> {
    match float {
        f if f.is_nan() => Some(b"\"NaN\""),
        f64::INFINITY => Some(b"\"Infinity\""),
        f64::NEG_INFINITY => Some(b"\"-Infinity\""),
        _ => None,
    }
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + BASE64.encode_len(bytes.len()), 0);
    BASE64.encode_mut(bytes, &mut out[start..]);
    out.push(b'"');
}

/// Takes a value of that type, or a tagged one.
pub(super) fn read<'a>(scanner: &mut Scanner<'a>, logical_type: &LogicalType) -> Result<Value<'a>, RowFault> {
    if scanner.take_all(b"null") {
        return Ok(Value::Null);
    }
    if scanner.peek() == Some(b'{')
        && let Some(value) = read_tagged(scanner, logical_type)?
    {
        return Ok(value);
    }
    match logical_type.natural_kind() {
        ValueKind::Boolean => read_boolean(scanner),
        ValueKind::Integer => read_integer(scanner),
        ValueKind::Float => read_float(scanner, logical_type),
        ValueKind::Bytes => read_bytes(scanner),
        ValueKind::Json => read_json(scanner),
        ValueKind::Array => match logical_type {
            LogicalType::Array(element) => read_array(scanner, element, VALUE_DEPTH_MAX),
            _ => Err(RowFault::WrongType),
        },
        _ => read_text(scanner).map(Value::Text),
    }
}

fn fault(fault: JsonFault) -> RowFault {
    match fault {
        JsonFault::Syntax => RowFault::Malformed,
        JsonFault::DuplicateMember => RowFault::DuplicateMember,
        JsonFault::TooDeep => RowFault::TooDeep,
    }
}

/// Takes `{"$tag":…}`; where the object is none of ours nothing is taken.
fn read_tagged<'a>(
    scanner: &mut Scanner<'a>,
    logical_type: &LogicalType,
) -> Result<Option<Value<'a>>, RowFault> {
    let before = *scanner;
    scanner.take(b'{');
    let name = if scanner.peek() == Some(b'"') { scanner.string().map_err(fault)? } else { b"" };
    if name.first() != Some(&b'$') || !scanner.take(b':') {
        *scanner = before;
        return Ok(None);
    }
    let value = match name {
        b"$bool" => read_boolean(scanner)?,
        b"$int" => read_integer(scanner)?,
        b"$float" => read_float(scanner, logical_type)?,
        b"$text" => Value::Text(read_text(scanner)?),
        b"$bytes" => read_bytes(scanner)?,
        b"$json" => {
            let text = read_text(scanner)?;
            json::check(text.as_bytes()).map_err(fault)?;
            Value::Json(text)
        }
        _ => return Err(RowFault::Malformed),
    };
    if scanner.take(b'}') { Ok(Some(value)) } else { Err(RowFault::Malformed) }
}

fn read_text<'a>(scanner: &mut Scanner<'a>) -> Result<Cow<'a, str>, RowFault> {
    if scanner.peek() != Some(b'"') {
        return Err(RowFault::WrongType);
    }
    json::unescape(scanner.string().map_err(fault)?).map_err(fault)
}

fn read_boolean<'a>(scanner: &mut Scanner<'a>) -> Result<Value<'a>, RowFault> {
    match (scanner.take_all(b"true"), scanner.take_all(b"false")) {
        (false, false) => Err(RowFault::WrongType),
        (found, _) => Ok(Value::Boolean(found)),
    }
}

fn read_integer<'a>(scanner: &mut Scanner<'a>) -> Result<Value<'a>, RowFault> {
    let digits = match scanner.peek() {
        Some(b'"') => scanner.string().map_err(fault)?,
        Some(b'-' | b'0'..=b'9') => scanner.number().map_err(fault)?,
        _ => return Err(RowFault::WrongType),
    };
    let text = std::str::from_utf8(digits).map_err(|_| RowFault::WrongType)?;
    text.parse().map(Value::Integer).map_err(|_| RowFault::WrongType)
}

fn read_float<'a>(scanner: &mut Scanner<'a>, logical_type: &LogicalType) -> Result<Value<'a>, RowFault> {
    let text = match scanner.peek() {
        Some(b'"') => {
            let text = scanner.string().map_err(fault)?;
            if !matches!(text, b"NaN" | b"Infinity" | b"-Infinity") {
                return Err(RowFault::WrongType);
            }
            text
        }
        Some(b'-' | b'0'..=b'9') => scanner.number().map_err(fault)?,
        _ => return Err(RowFault::WrongType),
    };
    let text = std::str::from_utf8(text).map_err(|_| RowFault::WrongType)?;
    if *logical_type == LogicalType::Float32 {
        return text.parse().map(Value::Float32).map_err(|_| RowFault::WrongType);
    }
    text.parse().map(Value::Float).map_err(|_| RowFault::WrongType)
}

fn read_bytes<'a>(scanner: &mut Scanner<'a>) -> Result<Value<'a>, RowFault> {
    if scanner.peek() != Some(b'"') {
        return Err(RowFault::WrongType);
    }
    let bytes = BASE64.decode(scanner.string().map_err(fault)?).map_err(|_| RowFault::WrongType)?;
    Ok(Value::Bytes(Cow::Owned(bytes)))
}

fn read_json<'a>(scanner: &mut Scanner<'a>) -> Result<Value<'a>, RowFault> {
    let (bytes, shape) = scanner.value(VALUE_DEPTH_MAX).map_err(fault)?;
    if shape.dollar_member {
        return Err(RowFault::Malformed);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| RowFault::Malformed)?;
    Ok(Value::Json(Cow::Borrowed(text)))
}

fn read_array<'a>(
    scanner: &mut Scanner<'a>,
    element: &LogicalType,
    depth: usize,
) -> Result<Value<'a>, RowFault> {
    let depth = depth.checked_sub(1).ok_or(RowFault::TooDeep)?;
    if !scanner.take(b'[') {
        return Err(RowFault::WrongType);
    }
    let mut items = Vec::new();
    scanner.skip_space();
    if scanner.take(b']') {
        return Ok(Value::Array(items));
    }
    loop {
        scanner.skip_space();
        items.push(match scanner.peek() {
            Some(b'[') => read_array(scanner, element, depth)?,
            _ => read(scanner, element)?,
        });
        scanner.skip_space();
        if !scanner.take(b',') {
            break;
        }
    }
    if scanner.take(b']') { Ok(Value::Array(items)) } else { Err(RowFault::Malformed) }
}
