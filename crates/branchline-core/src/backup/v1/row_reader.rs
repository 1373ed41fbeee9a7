//! Reads the rows of one table.

use super::error::{RowError, RowFault};
use super::json::{self, Scanner};
use super::row_value;
use super::row_writer::member_name;
use crate::backup::ColumnSummary;
use crate::limits::ROW_BYTES_MAX;
use crate::schema::TableName;
use crate::value::Value;

/// Reads the rows of one table into values in the order of its columns.
///
/// The members may stand in any order, but our own writer keeps the columns' order, and that is the quick way.
#[derive(Debug)]
pub struct RowReader {
    columns: Vec<ReadColumn>,
}

#[derive(Debug)]
struct ReadColumn {
    summary: ColumnSummary,
    /// The member's name, with escapes, quotes and colon, as our writer writes it.
    written: Vec<u8>,
    member: String,
}

impl RowReader {
    /// A reader of rows with these columns.
    #[must_use]
    pub fn new(_table: &TableName, columns: &[ColumnSummary]) -> Self {
        let column = |summary: &ColumnSummary| {
            let member = member_name(summary.name.as_str()).into_owned();
            let mut written = Vec::new();
            json::write_string(&member, &mut written);
            written.push(b':');
            ReadColumn { summary: summary.clone(), written, member }
        };
        Self { columns: columns.iter().map(column).collect() }
    }

    /// Reads one row's object. `row` is its number, for errors; `values` is emptied first.
    ///
    /// # Errors
    /// Where it is not a row of these columns: each exactly once.
    pub fn read<'a>(&self, object: &'a [u8], row: u64, values: &mut Vec<Value<'a>>) -> Result<(), RowError> {
        values.clear();
        let failed = |place: Option<usize>, fault| {
            let column = place.and_then(|place| self.columns.get(place)).map(|c| c.summary.name.clone());
            RowError { row, column, fault }
        };
        if object.len() > ROW_BYTES_MAX {
            return Err(failed(None, RowFault::TooLarge));
        }
        std::str::from_utf8(object).map_err(|_| failed(None, RowFault::Malformed))?;
        let mut scanner = Scanner::new(object);
        for (place, column) in self.columns.iter().enumerate() {
            let before = if place == 0 { b'{' } else { b',' };
            if !scanner.take(before) || !scanner.take_all(&column.written) {
                return self.read_in_any_order(object, row, values);
            }
            let value = row_value::read(&mut scanner, &column.summary.logical_type);
            values.push(value.map_err(|fault| failed(Some(place), fault))?);
        }
        if self.columns.is_empty() || !scanner.take(b'}') || scanner.position() != object.len() {
            return self.read_in_any_order(object, row, values);
        }
        Ok(())
    }

    fn read_in_any_order<'a>(
        &self,
        object: &'a [u8],
        row: u64,
        values: &mut Vec<Value<'a>>,
    ) -> Result<(), RowError> {
        let failed = |place: Option<usize>, fault| {
            let column = place.and_then(|place| self.columns.get(place)).map(|c| c.summary.name.clone());
            RowError { row, column, fault }
        };
        let malformed = || failed(None, RowFault::Malformed);
        let mut found: Vec<Option<Value<'a>>> = vec![None; self.columns.len()];
        let mut scanner = Scanner::new(object);
        if !scanner.take(b'{') {
            return Err(malformed());
        }
        scanner.skip_space();
        let mut more = !scanner.take(b'}');
        while more {
            scanner.skip_space();
            let raw = scanner.string().map_err(|_| malformed())?;
            let name = json::unescape(raw).map_err(|_| malformed())?;
            let place = self.columns.iter().position(|column| column.member == name);
            let place = place.ok_or_else(|| failed(None, RowFault::UnknownColumn))?;
            scanner.skip_space();
            if !scanner.take(b':') {
                return Err(malformed());
            }
            scanner.skip_space();
            let value = row_value::read(&mut scanner, &self.columns[place].summary.logical_type);
            let value = value.map_err(|fault| failed(Some(place), fault))?;
            if found[place].replace(value).is_some() {
                return Err(failed(Some(place), RowFault::DuplicateMember));
            }
            scanner.skip_space();
            more = scanner.take(b',');
            if !more && !scanner.take(b'}') {
                return Err(malformed());
            }
        }
        if scanner.position() != object.len() {
            return Err(malformed());
        }
        values.clear();
        for (place, value) in found.into_iter().enumerate() {
            values.push(value.ok_or_else(|| failed(Some(place), RowFault::MissingColumn))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
