//! A strict JSON scanner (RFC 8259) that says where a value ends and builds nothing.
//!
//! Rows are read through it, so it is written for speed and without recursion: depth is bounded by a number and
//! not by the stack. Duplicate members are found at every level, escapes in names resolved.

mod canonical;
mod string;

pub use canonical::write_canonical;
pub use string::{unescape, write_string};

use std::borrow::Cow;

/// Why bytes are not the JSON that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// They are not JSON.
    #[error("it is not JSON")]
    Syntax,
    /// An object has two members of one name.
    #[error("an object has two members of one name")]
    DuplicateMember,
    /// Arrays and objects are nested too deep.
    #[error("it is nested too deep")]
    TooDeep,
}

/// What a scan found out about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Depth of arrays and objects; 0 for a scalar.
    pub depth: usize,
    /// Whether any object has two members of one name.
    pub duplicates: bool,
    /// Whether the outermost object has a member whose name begins with `$`.
    pub dollar_member: bool,
}

/// A place in bytes that hold JSON.
#[derive(Debug, Clone, Copy)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// An array or object that is open.
enum Open<'a> {
    Array,
    Object(Vec<Cow<'a, [u8]>>),
}

/// Checks that `bytes` are one JSON value, with nothing but white space around it, of any depth.
///
/// # Errors
/// Where they are not.
pub fn check(bytes: &[u8]) -> Result<Shape, JsonFault> {
    std::str::from_utf8(bytes).map_err(|_| JsonFault::Syntax)?;
    let mut scanner = Scanner::new(bytes);
    scanner.skip_space();
    let shape = scanner.skip_value(usize::MAX)?;
    scanner.skip_space();
    if scanner.at == bytes.len() { Ok(shape) } else { Err(JsonFault::Syntax) }
}

impl<'a> Scanner<'a> {
    /// A scanner at the beginning of `bytes`, which must be UTF-8.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte, which is not taken.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// How many bytes were taken.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Takes `expected`, if it comes next.
    pub fn take(&mut self, expected: u8) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    /// Takes `expected`, if it comes next.
    pub fn take_all(&mut self, expected: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    /// Takes white space.
    pub fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes a string and gives what stands between its quotes, escapes unresolved.
    ///
    /// # Errors
    /// Where no string comes next, it does not end, or it holds a control character.
    pub fn string(&mut self) -> Result<&'a [u8], JsonFault> {
        if !self.take(b'"') {
            return Err(JsonFault::Syntax);
        }
        let start = self.at;
        loop {
            let rest = &self.bytes[self.at..];
            let step = memchr::memchr2(b'"', b'\\', rest).ok_or(JsonFault::Syntax)?;
            if rest[..step].iter().any(|byte| *byte < 0x20) {
                return Err(JsonFault::Syntax);
            }
            self.at += step;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return Ok(&self.bytes[start..self.at - 1]);
            }
            self.at += string::escape_len(&self.bytes[self.at..])?;
        }
    }

    /// Takes a number and gives its text.
    ///
    /// # Errors
    /// Where no number comes next.
    pub fn number(&mut self) -> Result<&'a [u8], JsonFault> {
        let start = self.at;
        self.take(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.bytes[start..self.at])
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(JsonFault::Syntax) } else { Ok(()) }
    }

    /// Takes any value and gives its bytes; duplicate members are a fault.
    ///
    /// # Errors
    /// Where no value comes next, or it is deeper than `depth_max`.
    pub fn value(&mut self, depth_max: usize) -> Result<(&'a [u8], Shape), JsonFault> {
        let start = self.at;
        let shape = self.skip_value(depth_max)?;
        if shape.duplicates {
            return Err(JsonFault::DuplicateMember);
        }
        Ok((&self.bytes[start..self.at], shape))
    }

    /// Takes any value.
    fn skip_value(&mut self, depth_max: usize) -> Result<Shape, JsonFault> {
        let mut open: Vec<Open<'a>> = Vec::new();
        let mut shape = Shape::default();
        loop {
            self.skip_space();
            let opened = self.begin(&mut open, depth_max, &mut shape)?;
            if !opened && self.end(&mut open, &mut shape)? {
                return Ok(shape);
            }
        }
    }

    /// Takes a scalar, or what opens an array or object up to its first value. Answers whether a value must
    /// follow.
    fn begin(
        &mut self,
        open: &mut Vec<Open<'a>>,
        depth_max: usize,
        shape: &mut Shape,
    ) -> Result<bool, JsonFault> {
        let scalar = |found: bool| if found { Ok(false) } else { Err(JsonFault::Syntax) };
        match self.peek().ok_or(JsonFault::Syntax)? {
            b'"' => self.string().map(|_| false),
            b't' => scalar(self.take_all(b"true")),
            b'f' => scalar(self.take_all(b"false")),
            b'n' => scalar(self.take_all(b"null")),
            b'-' | b'0'..=b'9' => self.number().map(|_| false),
            opening @ (b'[' | b'{') => {
                self.at += 1;
                if open.len() == depth_max {
                    return Err(JsonFault::TooDeep);
                }
                shape.depth = shape.depth.max(open.len() + 1);
                self.skip_space();
                let closing = if opening == b'[' { b']' } else { b'}' };
                if self.take(closing) {
                    return Ok(false);
                }
                if opening == b'[' {
                    open.push(Open::Array);
                } else {
                    let name = self.name(open.is_empty(), shape)?;
                    open.push(Open::Object(vec![name]));
                }
                Ok(true)
            }
            _ => Err(JsonFault::Syntax),
        }
    }

    /// Takes what may follow a value: closes arrays and objects, or goes on to the next value. Answers whether
    /// the outermost value is over.
    fn end(&mut self, open: &mut Vec<Open<'a>>, shape: &mut Shape) -> Result<bool, JsonFault> {
        loop {
            let outermost = open.len() == 1;
            let Some(innermost) = open.last_mut() else { return Ok(true) };
            self.skip_space();
            let next = self.peek().ok_or(JsonFault::Syntax)?;
            self.at += 1;
            match (next, innermost) {
                (b',', Open::Array) => return Ok(false),
                (b',', Open::Object(names)) => {
                    self.skip_space();
                    let name = self.name(outermost, shape)?;
                    names.push(name);
                    return Ok(false);
                }
                (b']', Open::Array) => {}
                (b'}', Open::Object(names)) => shape.duplicates |= has_duplicates(names),
                _ => return Err(JsonFault::Syntax),
            }
            open.pop();
        }
    }

    fn name(&mut self, outermost: bool, shape: &mut Shape) -> Result<Cow<'a, [u8]>, JsonFault> {
        let name = string::unescape_bytes(self.string()?);
        shape.dollar_member |= outermost && name.first() == Some(&b'$');
        self.skip_space();
        if self.take(b':') { Ok(name) } else { Err(JsonFault::Syntax) }
    }
}

fn has_duplicates(names: &mut [Cow<'_, [u8]>]) -> bool {
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests;
