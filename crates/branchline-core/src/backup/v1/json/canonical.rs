//! One form for JSON values that are equal: members sorted, of duplicates the last, numbers by value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{JsonFault, Scanner, string};

/// Depth up to which a value is brought into its one form; a deeper one is compared by its text.
const DEPTH_MAX: usize = 512;

/// Appends the canonical form of one JSON value.
///
/// # Errors
/// Where `bytes` are not one JSON value, or nest deeper than 512.
pub fn write_canonical(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), JsonFault> {
    super::check(bytes)?;
    let mut scanner = Scanner::new(bytes);
    scanner.skip_space();
    write_value(&mut scanner, DEPTH_MAX, out)
}

fn write_value(scanner: &mut Scanner<'_>, depth_left: usize, out: &mut Vec<u8>) -> Result<(), JsonFault> {
    scanner.skip_space();
    match scanner.peek() {
        Some(b'"') => write_bytes(b'"', &string::unescape_bytes(scanner.string()?), out),
        Some(b'[') if depth_left > 0 => write_array(scanner, depth_left, out)?,
        Some(b'{') if depth_left > 0 => write_object(scanner, depth_left, out)?,
        Some(b'[' | b'{') => return Err(JsonFault::TooDeep),
        Some(b'-' | b'0'..=b'9') => write_bytes(b'#', plain_number(scanner.number()?).as_bytes(), out),
        _ => {
            let (word, _) = scanner.value(0)?;
            out.push(word[0]);
        }
    }
    Ok(())
}

fn write_array(scanner: &mut Scanner<'_>, depth_left: usize, out: &mut Vec<u8>) -> Result<(), JsonFault> {
    scanner.take(b'[');
    out.push(b'[');
    scanner.skip_space();
    if !scanner.take(b']') {
        loop {
            write_value(scanner, depth_left - 1, out)?;
            scanner.skip_space();
            if !scanner.take(b',') {
                break;
            }
        }
        scanner.take(b']');
    }
    out.push(b']');
    Ok(())
}

fn write_object(scanner: &mut Scanner<'_>, depth_left: usize, out: &mut Vec<u8>) -> Result<(), JsonFault> {
    scanner.take(b'{');
    let mut members: BTreeMap<Cow<'_, [u8]>, Vec<u8>> = BTreeMap::new();
    scanner.skip_space();
    if !scanner.take(b'}') {
        loop {
            scanner.skip_space();
            let name = string::unescape_bytes(scanner.string()?);
            scanner.skip_space();
            scanner.take(b':');
            let mut value = Vec::new();
            write_value(scanner, depth_left - 1, &mut value)?;
            members.insert(name, value);
            scanner.skip_space();
            if !scanner.take(b',') {
                break;
            }
        }
        scanner.take(b'}');
    }
    out.push(b'{');
    for (name, value) in members {
        write_bytes(b'"', &name, out);
        out.extend(value);
    }
    out.push(b'}');
    Ok(())
}

fn write_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

/// A number as digits without zeros at either end, and a power of ten: `1.50e2` is `15e1`.
fn plain_number(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() {
        return "0".to_owned();
    }
    let significant = trimmed.trim_end_matches('0');
    // An exponent past any number's range stays as it is written: such values are equal only as texts.
    match exponent.parse::<i64>() {
        Ok(exponent) => {
            let zeros = (trimmed.len() - significant.len()) as i64;
            let power = exponent.saturating_sub(fraction.len() as i64).saturating_add(zeros);
            format!("{sign}{significant}e{power}")
        }
        Err(_) => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_canonical(text.as_bytes(), &mut out).unwrap();
        out
    }

    #[test]
    fn equal_values_have_one_form() {
        for (a, b) in [
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true , null ] , \"a\" : 1.0 }"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("100", "1e2"),
            ("-1.50", "-15E-1"),
            ("0", "-0.000e5"),
            (r#""\u0061\ud83d\ude00""#, "\"a😀\""),
        ] {
            assert_eq!(form(a), form(b), "{a} {b}");
        }
    }

    #[test]
    fn different_values_have_different_forms() {
        let texts = [
            "null",
            "false",
            "\"\"",
            "0",
            "1",
            "10",
            "[]",
            "[[]]",
            "{}",
            "[null]",
            "\"null\"",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
        ];
        for (i, a) in texts.iter().enumerate() {
            for b in &texts[i + 1..] {
                assert_ne!(form(a), form(b), "{a} {b}");
            }
        }
    }
}
