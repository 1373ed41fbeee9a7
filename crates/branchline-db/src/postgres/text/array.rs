//! Arrays: `{1,NULL,"a \"b\""}`, nested for more dimensions.
//!
//! Source: PostgreSQL documentation, section 8.15.6, "Array Input and Output Syntax".

use branchline_core::value::Value;

use super::{Form, Unreadable, write_scalar};

/// The most dimensions that PostgreSQL allows.
const DIMENSIONS_MAX: usize = 6;

/// Reads an array's text. One with bounds of its own (`[2:3]={…}`) is kept as that text.
pub(crate) fn read(text: &str, element: &Form) -> Result<Value<'static>, Unreadable> {
    if text.starts_with('[') {
        return Ok(Value::Text(text.to_owned().into()));
    }
    let mut reader = Reader { text, at: 0, element };
    let array = reader.array(1)?;
    if reader.at == text.len() { Ok(array) } else { Err(Unreadable) }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    element: &'t Form,
}

impl Reader<'_> {
    fn peek(&self) -> Result<u8, Unreadable> {
        self.text.as_bytes().get(self.at).copied().ok_or(Unreadable)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.peek()? != byte {
            return Err(Unreadable);
        }
        self.at += 1;
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Value<'static>, Unreadable> {
        if depth > DIMENSIONS_MAX {
            return Err(Unreadable);
        }
        self.expect(b'{')?;
        let mut items = Vec::new();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(if self.peek()? == b'{' { self.array(depth + 1)? } else { self.item()? });
            if self.peek()? == b'}' {
                self.at += 1;
                return Ok(Value::Array(items));
            }
            self.expect(b',')?;
        }
    }

    fn item(&mut self) -> Result<Value<'static>, Unreadable> {
        if self.peek()? == b'"' {
            let text = self.quoted()?;
            return self.element.owned_value(text);
        }
        let rest = &self.text[self.at..];
        let end = rest.find([',', '}']).ok_or(Unreadable)?;
        self.at += end;
        let bare = &rest[..end];
        if bare == "NULL" { Ok(Value::Null) } else { self.element.owned_value(bare.to_owned()) }
    }

    fn quoted(&mut self) -> Result<String, Unreadable> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find(['"', '\\']).ok_or(Unreadable)?;
            text.push_str(&rest[..end]);
            self.at += end + 1;
            if rest.as_bytes()[end] == b'"' {
                return Ok(text);
            }
            let escaped = self.text[self.at..].chars().next().ok_or(Unreadable)?;
            text.push(escaped);
            self.at += escaped.len_utf8();
        }
    }
}

/// Appends an array's text. Nothing where PostgreSQL has no such array: its inner arrays are empty.
pub(crate) fn write(items: &[Value<'_>], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    out.push(b'{');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        match item {
            Value::Null => out.extend_from_slice(b"NULL"),
            Value::Array(inner) if inner.is_empty() => return Err(Unreadable),
            Value::Array(inner) => write(inner, out)?,
            Value::Text(text) | Value::Json(text) => write_quoted(text.as_bytes(), out),
            Value::Bytes(_) => {
                let mut hex = Vec::new();
                write_scalar(item, &mut hex);
                write_quoted(&hex, out);
            }
            scalar => write_scalar(scalar, out),
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'static> {
        Value::Text(text.to_owned().into())
    }

    #[test]
    fn arrays_read_and_write() {
        let nested = Value::Array(vec![
            Value::Array(vec![Value::Integer(1), Value::Null]),
            Value::Array(vec![Value::Integer(-3), Value::Integer(4)]),
        ]);
        assert_eq!(read("{{1,NULL},{-3,4}}", &Form::Integer), Ok(nested.clone()));
        let strings =
            Value::Array(vec![text("a b"), text("\"q\" \\ {,}"), text("NULL"), text(""), text("ü")]);
        assert_eq!(read(r#"{"a b","\"q\" \\ {,}","NULL","",ü}"#, &Form::Text), Ok(strings.clone()));
        for (value, written) in [
            (nested, r"{{1,NULL},{-3,4}}"),
            (strings, r#"{"a b","\"q\" \\ {,}","NULL","","ü"}"#),
            (Value::Array(vec![]), "{}"),
            (Value::Array(vec![Value::Bytes(vec![0, 255].into())]), r#"{"\\x00ff"}"#),
        ] {
            let mut out = Vec::new();
            let Value::Array(items) = &value else { panic!("an array") };
            write(items, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), written);
        }
    }

    #[test]
    fn bounds_of_their_own_are_kept_as_text() {
        assert_eq!(read("[2:3]={1,2}", &Form::Integer), Ok(text("[2:3]={1,2}")));
    }

    #[test]
    fn what_is_no_array_is_refused() {
        for bad in ["", "{", "{1", "{1}x", "1", "{\"a}", "{a\\", "{{{{{{{1}}}}}}}", "{1,}"] {
            assert_eq!(read(bad, &Form::Integer), Err(Unreadable), "{bad}");
        }
        assert_eq!(write(&[Value::Array(vec![])], &mut Vec::new()), Err(Unreadable));
    }
}
