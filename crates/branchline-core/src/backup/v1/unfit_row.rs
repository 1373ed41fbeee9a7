//! Rows of a table that does not fit where they come: read only as far as is needed to keep them.
//!
//! Such a row is kept as the line that came, so that no value is lost, with its version in it and under its key as it
//! came: `{"id":5}`, or `{"order":"a","line":2}` where the key has more columns. What the key is to the table here is
//! found out when the table fits.

use super::error::{RowError, RowFault};
use super::row_mark::{self, RowMark};
use super::row_reader::RowReader;
use super::row_writer::RowWriter;
use crate::backup::{ColumnSummary, TableSummary};
use crate::schema::ColumnName;
use crate::value::Value;
use crate::version::Version;

/// Reads the rows of one table that does not fit.
#[derive(Debug)]
pub struct UnfitReader {
    reader: RowReader,
    writer: RowWriter,
    /// The key's columns, as places in those of the backup.
    key: Vec<usize>,
}

/// A row as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfitRow {
    /// Its key as it came.
    pub key: String,
    /// What it says of itself.
    pub mark: RowMark,
}

impl UnfitReader {
    /// A reader of rows of that table. Names of the key that are no columns of it are passed over.
    #[must_use]
    pub fn new(summary: &TableSummary) -> Self {
        let place = |name: &ColumnName| summary.columns.iter().position(|column| column.name == *name);
        let key: Vec<usize> = summary.key.iter().filter_map(place).collect();
        let columns: Vec<ColumnSummary> = key.iter().map(|&place| summary.columns[place].clone()).collect();
        Self {
            reader: RowReader::new(&summary.name, &summary.columns),
            writer: RowWriter::new(&summary.name, &columns),
            key,
        }
    }

    /// Reads one row's object; `row` is its number, for errors.
    ///
    /// # Errors
    /// Where it is not a row of these columns, or a deletion of the key's columns, or has no key.
    pub fn read(&mut self, object: &[u8], row: u64) -> Result<UnfitRow, RowError> {
        let mut values = Vec::new();
        let mark = self.reader.read_marked(object, row, &self.key, &mut values)?;
        let key: Vec<Value<'_>> = self.key.iter().map(|&place| values[place].clone()).collect();
        if key.is_empty() || key.contains(&Value::Null) {
            return Err(RowError { row, column: None, fault: RowFault::MissingColumn });
        }
        self.writer.row(&key).map_err(|error| RowError { row, ..error })?;
        let written = self.writer.take();
        let key = written.objects().next().unwrap_or_default();
        Ok(UnfitRow { key: String::from_utf8_lossy(key).into_owned(), mark })
    }
}

/// The line of a row with its version in it: a row of a base has none of its own, and is kept without its backup.
#[must_use]
pub fn with_version(object: &[u8], version: &Version) -> Vec<u8> {
    let Some(rest) = object.strip_prefix(b"{") else { return object.to_vec() };
    if rest.starts_with(b"\"$version\"") {
        return object.to_vec();
    }
    let mut line = Vec::with_capacity(object.len() + 64);
    line.push(b'{');
    row_mark::write(&RowMark { version: Some(version.clone()), deletion: None }, &mut line);
    if rest != b"}" {
        line.push(b',');
    }
    line.extend_from_slice(rest);
    line
}

#[cfg(test)]
mod tests {
    use super::super::row_mark::Deletion;
    use super::*;
    use crate::digest::Digest;
    use crate::id::Epoch;
    use crate::schema::{LogicalType, TableName};
    use crate::version::Life;

    fn lines() -> TableSummary {
        let column =
            |name: &str, logical_type| ColumnSummary { name: ColumnName::new(name).unwrap(), logical_type };
        TableSummary {
            name: TableName::new("lines").unwrap(),
            columns: vec![
                column("line", LogicalType::Int64),
                column("note", LogicalType::Text),
                column("order", LogicalType::Text),
            ],
            key: ["order", "line"].map(|name| ColumnName::new(name).unwrap()).to_vec(),
            fingerprint: Digest::of(&[]),
            rows: 0,
            deletions: 0,
            base: None,
            versioned: true,
            filtered: false,
        }
    }

    #[test]
    fn a_row_is_kept_under_its_key_as_it_came() {
        let mut reader = UnfitReader::new(&lines());
        let row = reader.read(br#"{"line":2,"note":"x","order":"a, b"}"#, 1).unwrap();
        assert_eq!(row.key, r#"{"order":"a, b","line":2}"#);
        assert_eq!(row.mark, RowMark::default());
        let line = br#"{"$version":["STORE-001",1,3,7],"$deleted":true,"order":"a","line":2}"#;
        let row = reader.read(line, 2).unwrap();
        assert_eq!(row.key, r#"{"order":"a","line":2}"#);
        assert_eq!(row.mark.deletion, Some(Deletion::Deleted));
        assert_eq!(row.mark.version.unwrap().dot.generation.value(), 3);
    }

    #[test]
    fn a_row_without_its_key_is_not_kept() {
        let mut reader = UnfitReader::new(&lines());
        let error = reader.read(br#"{"line":2,"note":"x","order":null}"#, 4).unwrap_err();
        assert_eq!((error.row, error.fault), (4, RowFault::MissingColumn));
    }

    #[test]
    fn a_line_gets_the_version_that_it_lacks() {
        let base = Version::base(Life::new("STORE-001".parse().unwrap(), Epoch::new(1)));
        let line = with_version(br#"{"line":2,"note":null,"order":"a"}"#, &base);
        let mut reader = UnfitReader::new(&lines());
        assert_eq!(reader.read(&line, 1).unwrap().mark.version, Some(base.clone()));
        assert_eq!(with_version(&line, &base), line);
    }
}
