//! Reads the rows of one table.

use super::error::{RowError, RowFault};
use super::json::{self, Scanner};
use super::row_mark::{self, RowMark};
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
        let failed = |place, fault| self.failed(row, place, fault);
        check_bytes(object).map_err(|fault| failed(None, fault))?;
        let mut scanner = Scanner::new(object);
        for (place, column) in self.columns.iter().enumerate() {
            let before = if place == 0 { b'{' } else { b',' };
            if !scanner.take(before) || !scanner.take_all(&column.written) {
                return self.read_in_any_order(object, row, values, None);
            }
            let value = row_value::read(&mut scanner, &column.summary.logical_type);
            values.push(value.map_err(|fault| failed(Some(place), fault))?);
        }
        if self.columns.is_empty() || !scanner.take(b'}') || scanner.position() != object.len() {
            return self.read_in_any_order(object, row, values, None);
        }
        Ok(())
    }

    /// Reads one row's object and what it says of itself. Of a deletion the values of columns that are not in `key`
    /// (places of columns) are NULL.
    ///
    /// # Errors
    /// Where it is not a row of these columns, or a deletion of the key's columns: each exactly once.
    pub fn read_marked<'a>(
        &self,
        object: &'a [u8],
        row: u64,
        key: &[usize],
        values: &mut Vec<Value<'a>>,
    ) -> Result<RowMark, RowError> {
        values.clear();
        check_bytes(object).map_err(|fault| self.failed(row, None, fault))?;
        let mut mark = RowMark::default();
        self.read_in_any_order(object, row, values, Some((&mut mark, key)))?;
        Ok(mark)
    }

    fn failed(&self, row: u64, place: Option<usize>, fault: RowFault) -> RowError {
        let column = place.and_then(|place| self.columns.get(place)).map(|c| c.summary.name.clone());
        RowError { row, column, fault }
    }

    fn read_in_any_order<'a>(
        &self,
        object: &'a [u8],
        row: u64,
        values: &mut Vec<Value<'a>>,
        mut marked: Option<(&mut RowMark, &[usize])>,
    ) -> Result<(), RowError> {
        let failed = |place, fault| self.failed(row, place, fault);
        let malformed = || failed(None, RowFault::Malformed);
        let mut found: Vec<Option<Value<'a>>> = vec![None; self.columns.len()];
        let mut scanner = Scanner::new(object);
        if !scanner.take(b'{') {
            return Err(malformed());
        }
        scanner.skip_space();
        let mut more = !scanner.take(b'}');
        let mut expected = 0;
        while more {
            scanner.skip_space();
            let raw = scanner.string().map_err(|_| malformed())?;
            scanner.skip_space();
            if !scanner.take(b':') {
                return Err(malformed());
            }
            scanner.skip_space();
            if let Some((mark, _)) = &mut marked
                && read_mark_member(raw, &mut scanner, mark).map_err(|fault| failed(None, fault))?
            {
                scanner.skip_space();
                more = scanner.take(b',');
                if !more && !scanner.take(b'}') {
                    return Err(malformed());
                }
                continue;
            }
            let name = json::unescape(raw).map_err(|_| malformed())?;
            let is_next = self.columns.get(expected).is_some_and(|column| column.member == name);
            let place =
                if is_next { Some(expected) } else { self.columns.iter().position(|c| c.member == name) };
            let place = place.ok_or_else(|| failed(None, RowFault::UnknownColumn))?;
            expected = place + 1;
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
        let key = marked.as_ref().filter(|(mark, _)| mark.deletion.is_some()).map(|(_, key)| *key);
        for (place, value) in found.into_iter().enumerate() {
            let value = match (key, value) {
                (Some(key), None) if !key.contains(&place) => Value::Null,
                (Some(key), Some(_)) if !key.contains(&place) => {
                    return Err(failed(Some(place), RowFault::UnknownColumn));
                }
                (_, Some(value)) => value,
                (_, None) => return Err(failed(Some(place), RowFault::MissingColumn)),
            };
            values.push(value);
        }
        Ok(())
    }
}

fn check_bytes(object: &[u8]) -> Result<(), RowFault> {
    if object.len() > ROW_BYTES_MAX {
        return Err(RowFault::TooLarge);
    }
    std::str::from_utf8(object).map(drop).map_err(|_| RowFault::Malformed)
}

/// Takes the value of a member that is ours; whether it was one.
fn read_mark_member(name: &[u8], scanner: &mut Scanner<'_>, mark: &mut RowMark) -> Result<bool, RowFault> {
    if name == row_mark::VERSION.as_bytes() {
        let version = row_mark::read_version(scanner)?;
        let before = mark.version.replace(version);
        return if before.is_some() { Err(RowFault::DuplicateMember) } else { Ok(true) };
    }
    if name == row_mark::DELETED.as_bytes() {
        let before = mark.deletion.replace(row_mark::read_deletion(scanner)?);
        return if before.is_some() { Err(RowFault::DuplicateMember) } else { Ok(true) };
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
