//! Reads D: a line at a time, in the order that the metadata announced, without keeping more than one batch.
//!
//! What is checked here is what holds a document together: tables in their order and each once, one row a line,
//! commas between rows and nowhere else, the number of rows, and the bounds. What stands in a row is checked by
//! [`RowReader`](super::RowReader), by whoever takes the batch.

use super::error::FormatError;
use super::json::{self, Scanner};
use crate::backup::{RowBatch, TableSummary};
use crate::limits::{BATCH_BYTES, NAME_BYTES_MAX, ROW_BYTES_MAX};

/// A row's line: its object, a comma and LF.
const LINE_BYTES_MAX: usize = ROW_BYTES_MAX + 2;
/// A line that begins a table: its name, every byte of it perhaps escaped, and what stands around it.
const TABLE_LINE_BYTES_MAX: usize = NAME_BYTES_MAX * 6 + 16;

/// What D holds next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataEvent {
    /// Rows of the table at that place in the metadata.
    Rows {
        /// The place.
        table: usize,
        /// The rows.
        batch: RowBatch,
    },
    /// The table at that place is over, and had as many rows as was said.
    TableEnd {
        /// The place.
        table: usize,
    },
}

/// Reads D out of pieces of any size.
#[derive(Debug)]
pub struct DataDecoder {
    tables: Vec<TableSummary>,
    state: State,
    next_table: usize,
    line: Vec<u8>,
    batch: RowBatch,
    rows: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was read.
    Start,
    /// In a table; `more` says what the last row's comma promised, if there was a row.
    Rows { more: Option<bool> },
}

impl DataDecoder {
    /// A reader of the data that these tables announce.
    #[must_use]
    pub fn new(tables: Vec<TableSummary>) -> Self {
        Self {
            tables,
            state: State::Start,
            next_table: 0,
            line: Vec::new(),
            batch: RowBatch::default(),
            rows: 0,
        }
    }

    /// Takes the next piece; what it holds is given to `sink`.
    ///
    /// # Errors
    /// Where D is not what the metadata announced, and whatever `sink` fails with.
    pub fn push<E: From<FormatError>>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut dyn FnMut(DataEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.line.is_empty() {
                self.take_line(line, sink)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take_line(&whole, sink)?;
                whole.clear();
                self.line = whole;
            }
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > LINE_BYTES_MAX {
            return Err(self.too_large().into());
        }
        Ok(())
    }

    /// Ends D.
    ///
    /// # Errors
    /// Where it is not over, or tables are missing.
    pub fn finish<E: From<FormatError>>(
        mut self,
        sink: &mut dyn FnMut(DataEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        match (self.state, line.as_slice()) {
            (State::Start, b"{}") => {}
            (State::Rows { more }, b"]}") => self.end_table(more, sink)?,
            (_, b"" | b"{" | b"]") => return Err(FormatError::Truncated.into()),
            _ => return Err(malformed("the data do not end as data end").into()),
        }
        match self.tables.get(self.next_table) {
            None => Ok(()),
            Some(missing) => {
                Err(FormatError::RowCount { table: missing.name.clone(), said: missing.rows, found: 0 }
                    .into())
            }
        }
    }

    fn take_line<E: From<FormatError>>(
        &mut self,
        line: &[u8],
        sink: &mut dyn FnMut(DataEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        match (self.state, line.first()) {
            (State::Rows { more }, Some(b'{')) => self.take_row(more, line, sink),
            (State::Rows { more }, Some(b']')) => {
                self.end_table(more, sink)?;
                let name =
                    line[1..].strip_prefix(b",").ok_or(malformed("a table does not end as tables end"))?;
                Ok(self.begin_table(name)?)
            }
            (State::Start, Some(b'{')) => Ok(self.begin_table(&line[1..])?),
            _ => Err(malformed("a line is neither a row nor the end of a table").into()),
        }
    }

    fn take_row<E: From<FormatError>>(
        &mut self,
        more: Option<bool>,
        line: &[u8],
        sink: &mut dyn FnMut(DataEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        if line.len() > LINE_BYTES_MAX {
            return Err(self.too_large().into());
        }
        if more == Some(false) {
            return Err(malformed("a comma between two rows is missing").into());
        }
        let comma = match line {
            [.., b'}', b',', b'\n'] => true,
            [.., b'}', b'\n'] => false,
            _ => return Err(malformed("a row does not end as rows end").into()),
        };
        let summary = &self.tables[self.next_table - 1];
        let said = summary.rows + summary.deletions;
        self.rows += 1;
        if self.rows > said {
            return Err(FormatError::RowCount { table: summary.name.clone(), said, found: self.rows }.into());
        }
        if !self.batch.lines.is_empty() && self.batch.lines.len() + line.len() > BATCH_BYTES {
            self.give_batch(sink)?;
        }
        self.batch.lines.extend_from_slice(line);
        self.batch.rows += 1;
        self.state = State::Rows { more: Some(comma) };
        Ok(())
    }

    fn give_batch<E>(&mut self, sink: &mut dyn FnMut(DataEvent) -> Result<(), E>) -> Result<(), E> {
        if self.batch.rows == 0 {
            return Ok(());
        }
        let next = RowBatch { lines: Vec::with_capacity(BATCH_BYTES), ..RowBatch::default() };
        let batch = std::mem::replace(&mut self.batch, next);
        sink(DataEvent::Rows { table: self.next_table - 1, batch })
    }

    fn end_table<E: From<FormatError>>(
        &mut self,
        more: Option<bool>,
        sink: &mut dyn FnMut(DataEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        if more == Some(true) {
            return Err(malformed("a table ends with a comma").into());
        }
        self.give_batch(sink)?;
        let summary = &self.tables[self.next_table - 1];
        let said = summary.rows + summary.deletions;
        if self.rows != said {
            return Err(FormatError::RowCount { table: summary.name.clone(), said, found: self.rows }.into());
        }
        sink(DataEvent::TableEnd { table: self.next_table - 1 })
    }

    /// Takes `"name":[` LF.
    fn begin_table(&mut self, line: &[u8]) -> Result<(), FormatError> {
        let bad = malformed("a table does not begin as tables begin");
        if line.len() > TABLE_LINE_BYTES_MAX || std::str::from_utf8(line).is_err() {
            return Err(bad);
        }
        let mut scanner = Scanner::new(line);
        let raw = scanner.string().map_err(|_| bad.clone())?;
        let name = json::unescape(raw).map_err(|_| bad.clone())?;
        if &line[scanner.position()..] != b":[\n" {
            return Err(bad);
        }
        match self.tables.get(self.next_table) {
            Some(summary) if summary.name.as_str() == name => {}
            _ if self.tables[..self.next_table].iter().any(|summary| summary.name.as_str() == name) => {
                return Err(FormatError::DuplicateMember { place: "the data" });
            }
            _ => return Err(malformed("a table comes that the metadata do not announce there")),
        }
        self.next_table += 1;
        self.rows = 0;
        self.state = State::Rows { more: None };
        Ok(())
    }

    fn too_large(&self) -> FormatError {
        match self.next_table.checked_sub(1).and_then(|place| self.tables.get(place)) {
            Some(summary) => FormatError::RowTooLarge { table: summary.name.clone() },
            None => malformed("the data do not begin as data begin"),
        }
    }
}

fn malformed(what: &'static str) -> FormatError {
    FormatError::Malformed { what }
}

#[cfg(test)]
mod tests;
