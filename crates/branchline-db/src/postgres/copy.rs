//! The text format of COPY, both ways: fields parted by tabs, `\N` for NULL, a backslash before what would be
//! mistaken.
//!
//! Source: PostgreSQL documentation, COPY, "Text Format"; protocol, section 55.2.7: the server sends one row in
//! each message. A row's fields are borrowed from the message; the few that need another form (an escape, a
//! timestamp, bytes) go into one buffer of the row, so that an ordinary value costs no allocation.

use std::borrow::Cow;
use std::ops::Range;

use branchline_core::value::Value;
use memchr::memchr;

use super::text::{Form, Unreadable, array, write_bytes, write_scalar, write_timestamp};

/// Takes rows apart. One reader serves a whole table; its buffers are used again for each row.
#[derive(Debug)]
pub(crate) struct RowFields {
    forms: Vec<Form>,
    fields: Vec<Field>,
    texts: String,
    bytes: Vec<u8>,
    escaped: Vec<u8>,
}

/// Where a field's value is.
#[derive(Debug, Clone)]
enum Field {
    Null,
    /// In the line itself.
    Line(Range<usize>),
    /// In the row's texts.
    Text(Range<usize>),
    /// In the row's bytes.
    Bytes(Range<usize>),
}

impl RowFields {
    /// A reader of rows with fields of these forms.
    pub(crate) fn new(forms: Vec<Form>) -> Self {
        let fields = Vec::with_capacity(forms.len());
        Self { forms, fields, texts: String::new(), bytes: Vec::new(), escaped: Vec::new() }
    }

    /// Reads one row, which must end with its line feed, into `values`.
    pub(crate) fn read<'a>(
        &'a mut self,
        line: &'a [u8],
        values: &mut Vec<Value<'a>>,
    ) -> Result<(), Unreadable> {
        values.clear();
        let line = std::str::from_utf8(line).map_err(|_| Unreadable)?;
        let line = line.strip_suffix('\n').ok_or(Unreadable)?;
        self.split(line)?;
        for (field, form) in self.fields.iter().zip(&self.forms) {
            values.push(match field {
                Field::Null => Value::Null,
                Field::Line(place) => form.borrowed_value(&line[place.clone()])?,
                Field::Text(place) => form.borrowed_value(&self.texts[place.clone()])?,
                Field::Bytes(place) => Value::Bytes(Cow::Borrowed(&self.bytes[place.clone()])),
            });
        }
        Ok(())
    }

    fn split(&mut self, line: &str) -> Result<(), Unreadable> {
        self.fields.clear();
        self.texts.clear();
        self.bytes.clear();
        let mut start = 0;
        for place in 0..self.forms.len() {
            let last = place + 1 == self.forms.len();
            let end = match memchr(b'\t', &line.as_bytes()[start..]) {
                Some(length) if !last => start + length,
                None if last => line.len(),
                _ => return Err(Unreadable),
            };
            let field = self.field(place, line, start..end)?;
            self.fields.push(field);
            start = end + 1;
        }
        Ok(())
    }

    fn field(&mut self, place: usize, line: &str, range: Range<usize>) -> Result<Field, Unreadable> {
        let raw = &line[range.clone()];
        if raw == "\\N" {
            return Ok(Field::Null);
        }
        match &self.forms[place] {
            Form::Timestamp(zoned) => {
                let start = self.texts.len();
                write_timestamp(raw, *zoned, &mut self.texts)?;
                Ok(Field::Text(start..self.texts.len()))
            }
            Form::Bytes => {
                let start = self.bytes.len();
                // The one backslash of `\x` is written twice.
                write_bytes(raw.strip_prefix('\\').ok_or(Unreadable)?.as_bytes(), &mut self.bytes)?;
                Ok(Field::Bytes(start..self.bytes.len()))
            }
            _ => match memchr(b'\\', raw.as_bytes()) {
                None => Ok(Field::Line(range)),
                Some(first) => {
                    let start = self.texts.len();
                    self.unescape(raw, first)?;
                    Ok(Field::Text(start..self.texts.len()))
                }
            },
        }
    }

    /// Appends `raw`, whose first backslash is at `first`, without its escapes. The server writes only the named
    /// ones, and a character after a backslash that is not named stands for itself.
    fn unescape(&mut self, raw: &str, first: usize) -> Result<(), Unreadable> {
        self.escaped.clear();
        let bytes = raw.as_bytes();
        self.escaped.extend_from_slice(&bytes[..first]);
        let mut rest = &bytes[first..];
        loop {
            let named = *rest.get(1).ok_or(Unreadable)?;
            self.escaped.push(match named {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                b'x' | b'0'..=b'7' | b'.' => return Err(Unreadable),
                other => other,
            });
            rest = &rest[2..];
            let Some(next) = memchr(b'\\', rest) else { break };
            self.escaped.extend_from_slice(&rest[..next]);
            rest = &rest[next..];
        }
        self.escaped.extend_from_slice(rest);
        self.texts.push_str(std::str::from_utf8(&self.escaped).map_err(|_| Unreadable)?);
        Ok(())
    }
}

/// An empty vector with the memory of one that is no longer needed, for values of another lifetime.
pub(crate) fn recycle<'b>(mut values: Vec<Value<'_>>) -> Vec<Value<'b>> {
    values.clear();
    // Collecting in place keeps the allocation; there is nothing to convert.
    values.into_iter().map(|_| Value::Null).collect()
}

/// Writes rows for COPY … FROM STDIN.
#[derive(Debug, Default)]
pub(crate) struct RowLines {
    array: Vec<u8>,
}

impl RowLines {
    /// Appends one field.
    pub(crate) fn field(
        &mut self,
        value: &Value<'_>,
        first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        if !first {
            out.push(b'\t');
        }
        match value {
            Value::Null => out.extend_from_slice(b"\\N"),
            Value::Text(text) | Value::Json(text) => escape(text.as_bytes(), out),
            Value::Bytes(_) => {
                out.push(b'\\');
                write_scalar(value, out);
            }
            Value::Array(items) => {
                self.array.clear();
                array::write(items, &mut self.array)?;
                escape(&self.array, out);
            }
            scalar => write_scalar(scalar, out),
        }
        Ok(())
    }

    /// Ends the row.
    pub(crate) fn end(out: &mut Vec<u8>) {
        out.push(b'\n');
    }
}

/// Appends a text with a backslash before what COPY would mistake.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(place) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
        out.extend_from_slice(&rest[..place]);
        out.extend_from_slice(match rest[place] {
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            _ => b"\\\\",
        });
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(line: &str, forms: Vec<Form>) -> String {
        let mut reader = RowFields::new(forms);
        let mut values = Vec::new();
        reader.read(line.as_bytes(), &mut values).unwrap();
        let mut out = Vec::new();
        let mut writer = RowLines::default();
        for (place, value) in values.iter().enumerate() {
            writer.field(value, place == 0, &mut out).unwrap();
        }
        RowLines::end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_read_and_write() {
        let forms =
            || vec![Form::Integer, Form::Text, Form::Bytes, Form::Json, Form::Array(Box::new(Form::Text))];
        for line in [
            "1\tplain\t\\\\x00ff\t{\"a\": 1}\t{}\n",
            "-5\t\\\\N\\t\\n\\r\\\\ ü\t\\N\t\"\\\\n\"\t{\"a\\\\\\\\b\",NULL}\n",
            "\\N\t\t\\\\x\t\\N\t\\N\n",
        ] {
            assert_eq!(round_trip(line, forms()), line);
        }
    }

    #[test]
    fn a_row_with_more_or_fewer_fields_is_refused() {
        for line in ["1\n", "1\t2\t3\n", "1\t2", "1\t\\"] {
            let mut reader = RowFields::new(vec![Form::Text, Form::Text]);
            assert_eq!(reader.read(line.as_bytes(), &mut Vec::new()), Err(Unreadable), "{line:?}");
        }
    }

    #[test]
    fn control_characters_have_names() {
        let mut reader = RowFields::new(vec![Form::Text]);
        let mut values = Vec::new();
        reader.read(b"a\\b\\f\\v\\\\n\n", &mut values).unwrap();
        assert_eq!(values, [Value::Text("a\u{8}\u{c}\u{b}\\n".into())]);
    }
}
