//! Writes the rows of one table, in batches.

use super::error::{RowError, RowFault};
use super::row_mark::{self, RowMark};
use super::{json, row_value};
use crate::backup::{ColumnSummary, RowBatch};
use crate::limits::{BATCH_BYTES, ROW_BYTES_MAX};
use crate::schema::TableName;
use crate::value::Value;

/// Writes the rows of one table. Take what is written whenever [`RowWriter::is_full`] says so.
#[derive(Debug)]
pub struct RowWriter {
    columns: Vec<(Vec<u8>, ColumnSummary)>,
    batch: RowBatch,
    rows_before: u64,
}

impl RowWriter {
    /// A writer of rows with these columns.
    #[must_use]
    pub fn new(_table: &TableName, columns: &[ColumnSummary]) -> Self {
        let prefixed = |column: &ColumnSummary| {
            let mut prefix = Vec::new();
            json::write_string(&member_name(column.name.as_str()), &mut prefix);
            prefix.push(b':');
            (prefix, column.clone())
        };
        let columns = columns.iter().map(prefixed).collect();
        Self { columns, batch: RowBatch::default(), rows_before: 0 }
    }

    /// Writes one row: a value for each column, in their order.
    ///
    /// # Errors
    /// Where a value has no form in a backup, or the row is over its bound; nothing of the row is written then.
    pub fn row(&mut self, values: &[Value<'_>]) -> Result<(), RowError> {
        self.marked(&RowMark::default(), values)
    }

    /// Writes one row with its version, or a deletion: of a deletion only the values of the key's columns are written,
    /// which are those that are not [`Value::Null`].
    ///
    /// # Errors
    /// As for [`RowWriter::row`].
    pub fn marked(&mut self, mark: &RowMark, values: &[Value<'_>]) -> Result<(), RowError> {
        let start = self.batch.lines.len();
        let result = self.write_row(mark, values, start);
        if result.is_err() {
            self.batch.lines.truncate(start);
        } else {
            self.batch.deletions += u64::from(mark.deletion.is_some());
            self.batch.versioned += u64::from(mark.version.is_some());
        }
        result
    }

    fn write_row(&mut self, mark: &RowMark, values: &[Value<'_>], start: usize) -> Result<(), RowError> {
        let number = self.rows_before + self.batch.rows + 1;
        let failed = |place: usize, fault| {
            let column = self.columns.get(place).map(|(_, column)| column.name.clone());
            RowError { row: number, column, fault }
        };
        if values.len() != self.columns.len() {
            return Err(failed(values.len(), RowFault::MissingColumn));
        }
        let out = &mut self.batch.lines;
        out.push(b'{');
        let mut is_first = !row_mark::write(mark, out);
        for (place, ((prefix, column), value)) in self.columns.iter().zip(values).enumerate() {
            if mark.deletion.is_some() && *value == Value::Null {
                continue;
            }
            if !std::mem::replace(&mut is_first, false) {
                out.push(b',');
            }
            out.extend_from_slice(prefix);
            row_value::write(value, &column.logical_type, out).map_err(|fault| failed(place, fault))?;
            // The closing brace counts.
            if out.len() - start >= ROW_BYTES_MAX {
                return Err(failed(place, RowFault::TooLarge));
            }
        }
        out.extend_from_slice(b"},\n");
        self.batch.rows += 1;
        Ok(())
    }

    /// Whether the batch should be taken before another row is written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.batch.lines.len() >= BATCH_BYTES - BATCH_BYTES / 8
    }

    /// Whether nothing was written since the last batch was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.rows == 0
    }

    /// Gives what was written since the last batch.
    pub fn take(&mut self) -> RowBatch {
        self.rows_before += self.batch.rows;
        let next = Vec::with_capacity(BATCH_BYTES);
        std::mem::replace(&mut self.batch, RowBatch { lines: next, ..RowBatch::default() })
    }
}

/// A column's name as a member's: ours begin with `$`, so a column's `$` is written twice.
pub(super) fn member_name(column: &str) -> std::borrow::Cow<'_, str> {
    if column.starts_with('$') { format!("${column}").into() } else { column.into() }
}
