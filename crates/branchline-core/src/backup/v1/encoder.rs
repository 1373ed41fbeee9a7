//! Writes D: rows of table after table, hashed as they go.

use super::error::FormatError;
use super::json;
use crate::backup::RowBatch;
use crate::digest::{Digest, Hasher};
use crate::schema::TableName;

/// Writes D into buffers of the caller's.
#[derive(Debug, Default)]
pub struct DataEncoder {
    hasher: Hasher,
    bytes: u64,
    tables: usize,
    /// The end of the last row of the table that is open: its comma is written only once another row follows.
    pending: Pending,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Pending {
    /// No table is open.
    #[default]
    Closed,
    /// A table is open and has no row yet.
    NoRow,
    /// A table is open, and its last row lacks its end.
    RowEnd,
}

/// What D came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataTotals {
    /// SHA-256 of D.
    pub checksum: Digest,
    /// Bytes of D.
    pub data_bytes: u64,
}

impl DataEncoder {
    /// Begins a table; the one before is ended.
    pub fn table(&mut self, name: &TableName, out: &mut Vec<u8>) {
        let start = out.len();
        self.end_table(out);
        out.push(if self.tables == 0 { b'{' } else { b',' });
        json::write_string(name.as_str(), out);
        out.extend_from_slice(b":[\n");
        self.tables += 1;
        self.pending = Pending::NoRow;
        self.account(&out[start..]);
    }

    /// Writes rows of the table that was begun.
    ///
    /// # Errors
    /// Where the batch does not end as rows end: a fault of the adapter that made it.
    pub fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        if batch.rows == 0 {
            return Ok(());
        }
        let rows = batch.lines.strip_suffix(b",\n").filter(|_| self.pending != Pending::Closed);
        let rows = rows.ok_or(FormatError::Malformed { what: "a batch of rows does not end with a row" })?;
        let start = out.len();
        if self.pending == Pending::RowEnd {
            out.extend_from_slice(b",\n");
        }
        out.extend_from_slice(rows);
        self.pending = Pending::RowEnd;
        self.account(&out[start..]);
        Ok(())
    }

    /// Ends D.
    #[must_use]
    pub fn finish(mut self, out: &mut Vec<u8>) -> DataTotals {
        let start = out.len();
        self.end_table(out);
        out.extend_from_slice(if self.tables == 0 { b"{}" } else { b"}" });
        self.account(&out[start..]);
        DataTotals { checksum: self.hasher.finish(), data_bytes: self.bytes }
    }

    fn end_table(&mut self, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.pending) {
            Pending::Closed => {}
            Pending::NoRow => out.push(b']'),
            Pending::RowEnd => out.extend_from_slice(b"\n]"),
        }
    }

    fn account(&mut self, written: &[u8]) {
        self.hasher.update(written);
        self.bytes += written.len() as u64;
    }
}
