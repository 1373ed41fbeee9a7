//! Strings: escapes resolved and written.

use std::borrow::Cow;

use super::JsonFault;

/// Bytes of the escape that `bytes` begin with.
pub(super) fn escape_len(bytes: &[u8]) -> Result<usize, JsonFault> {
    match bytes.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') if bytes.len() >= 6 && bytes[2..6].iter().all(u8::is_ascii_hexdigit) => Ok(6),
        _ => Err(JsonFault::Syntax),
    }
}

/// The text of a scanned string.
///
/// # Errors
/// Where an escape stands for half a character (a lone surrogate): there is no such text.
pub fn unescape(raw: &[u8]) -> Result<Cow<'_, str>, JsonFault> {
    match unescape_bytes(raw) {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| JsonFault::Syntax),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| JsonFault::Syntax),
    }
}

/// The bytes of a scanned string; a lone surrogate becomes the three bytes that UTF-8 would have for it.
pub(super) fn unescape_bytes(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', raw) else { return Cow::Borrowed(raw) };
    let mut out = Vec::with_capacity(raw.len());
    out.extend_from_slice(&raw[..first]);
    let mut rest = &raw[first..];
    while let [b'\\', kind, tail @ ..] = rest {
        rest = match kind {
            b'u' => push_unicode(rest, &mut out),
            _ => {
                out.push(match kind {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                tail
            }
        };
        let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
    }
    Cow::Owned(out)
}

fn hex(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Resolves the `\uXXXX` (or the pair of them) at the beginning of `rest`; gives what comes after.
fn push_unicode<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let unit = hex(rest).unwrap_or(0xfffd);
    let tail = &rest[6.min(rest.len())..];
    if (0xd800..0xdc00).contains(&unit)
        && let Some(low) = hex(tail)
        && (0xdc00..0xe000).contains(&low)
        && let Some(paired) = char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
    {
        out.extend_from_slice(paired.encode_utf8(&mut [0; 4]).as_bytes());
        return &tail[6..];
    }
    match char::from_u32(unit) {
        Some(plain) => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {
            let [_, _, high, low] = unit.to_be_bytes();
            out.extend_from_slice(&[
                0xe0 | (high >> 4),
                0x80 | ((high & 0xf) << 2) | (low >> 6),
                0x80 | (low & 0x3f),
            ]);
        }
    }
    tail
}

/// Whether a byte must be escaped in a string.
const ESCAPED: [bool; 256] = {
    let mut escaped = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escaped[byte] = true;
        byte += 1;
    }
    escaped[b'"' as usize] = true;
    escaped[b'\\' as usize] = true;
    escaped[0x7f] = true;
    escaped
};

/// Appends `text` as a JSON string, quotes included.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (place, &byte) in bytes.iter().enumerate() {
        if !ESCAPED[usize::from(byte)] {
            continue;
        }
        out.extend_from_slice(&bytes[written..place]);
        written = place + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (usize::from(other >> 4), usize::from(other & 0xf));
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', DIGITS[high], DIGITS[low]]);
            }
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}
