//! One table that is read at a position: its query stays open between two batches.

use branchline_core::backup::RowBatch;
use branchline_core::backup::v1::{Deletion, RowMark, RowWriter};
use branchline_core::pack::{PackPlan, ScopedPeer};
use branchline_core::ports::DatabaseError;
use rusqlite::Row;

use super::super::super::error::failed;
use super::super::super::ledger::captured::CapturedTable;
use super::super::super::rows::TableRows;
use super::super::super::thread::{Reply, Requests, answer};
use super::query::{DELETED_PLACE, KEY_PLACE};
use super::{Reader, Request, scoped};

/// One table that is being read.
pub(super) struct TableRead<'a> {
    pub(super) reader: &'a Reader,
    pub(super) table: &'a CapturedTable,
    /// The peer, where it does not get all rows of the table.
    pub(super) scoped: Option<&'a ScopedPeer>,
    pub(super) rows: TableRows<'a>,
    pub(super) key_width: usize,
    pub(super) sql: String,
}

impl TableRead<'_> {
    /// Serves the cursor for as long as nothing but its rows is asked for; gives back what else was asked.
    pub(super) fn serve(
        self,
        plan: &PackPlan,
        reply: Reply<()>,
        requests: &mut Requests<Request>,
    ) -> Option<Request> {
        let mut statement = match self.reader.connection.prepare(&self.sql) {
            Ok(statement) => statement,
            Err(error) => {
                answer(reply, Err(failed(error)));
                return None;
            }
        };
        let mut rows = match statement.query([]) {
            Ok(rows) => rows,
            Err(error) => {
                answer(reply, Err(failed(error)));
                return None;
            }
        };
        answer(reply, Ok(()));
        let mut writer = self.rows.writer();
        let mut is_over = false;
        loop {
            match requests.blocking_recv() {
                Some(Request::Next { reply }) => {
                    let batch = if is_over { Ok(None) } else { self.next(plan, &mut rows, &mut writer) };
                    is_over = !matches!(batch, Ok(Some(_)));
                    answer(reply, batch);
                }
                other => return other,
            }
        }
    }

    /// The next rows; once there are none, what went is on record.
    pub(super) fn next(
        &self,
        plan: &PackPlan,
        rows: &mut rusqlite::Rows<'_>,
        writer: &mut RowWriter,
    ) -> Result<Option<RowBatch>, DatabaseError> {
        let batch = self.batch(plan, rows, writer)?;
        if let Some(peer) = self.scoped.filter(|_| batch.is_none()) {
            self.reader.enter(peer, self.table)?;
        }
        Ok(batch)
    }

    pub(super) fn batch(
        &self,
        plan: &PackPlan,
        rows: &mut rusqlite::Rows<'_>,
        writer: &mut RowWriter,
    ) -> Result<Option<RowBatch>, DatabaseError> {
        while !writer.is_full() {
            let Some(row) = rows.next().map_err(failed)? else { break };
            self.write(plan, row, writer)?;
        }
        let batch = writer.take();
        Ok((batch.rows > 0).then_some(batch))
    }

    fn write(&self, plan: &PackPlan, row: &Row<'_>, writer: &mut RowWriter) -> Result<(), DatabaseError> {
        if self.scoped.is_some() {
            return self.write_scoped(row, writer);
        }
        let version = self.reader.lives.version(row, 0)?;
        if version.as_ref().is_some_and(|version| !plan.takes(version)) {
            return Ok(());
        }
        let is_there = version.is_none() || self.is_there(row)?;
        let is_deleted: bool = row.get(DELETED_PLACE).map_err(failed)?;
        let mark = |deletion| RowMark { version: version.clone(), deletion };
        let is_nameless = self.has_null_key(row)?;
        if is_there || (!is_deleted && is_nameless) {
            self.rows.write(&mark(None), row, writer)
        } else if is_deleted && !is_nameless {
            self.rows.write_deletion(&mark(Some(Deletion::Deleted)), row, KEY_PLACE, writer)
        } else {
            Ok(())
        }
    }

    /// Of a table that its peer does not get whole: what goes is decided.
    fn write_scoped(&self, row: &Row<'_>, writer: &mut RowWriter) -> Result<(), DatabaseError> {
        let deletion = match row.get::<_, i64>(DELETED_PLACE).map_err(failed)? {
            scoped::DELETED => Some(Deletion::Deleted),
            scoped::LEFT => Some(Deletion::OutOfScope),
            _ => None,
        };
        let mark = RowMark { version: self.reader.lives.version(row, 0)?, deletion };
        match deletion {
            None => self.rows.write(&mark, row, writer),
            Some(_) => self.rows.write_deletion(&mark, row, KEY_PLACE, writer),
        }
    }

    /// Whether the row of the shop's table was found: its key is not NULL then.
    fn is_there(&self, row: &Row<'_>) -> Result<bool, DatabaseError> {
        let key = self.rows.key().first().map_or(0, |place| place + KEY_PLACE + self.key_width);
        Ok(row.get_ref(key).map_err(failed)? != rusqlite::types::ValueRef::Null)
    }

    /// Whether the row is one whose key holds a NULL: it is refused by name, and once it is gone there is nothing to tell.
    fn has_null_key(&self, row: &Row<'_>) -> Result<bool, DatabaseError> {
        for place in 0..self.key_width {
            if row.get_ref(KEY_PLACE + place).map_err(failed)? == rusqlite::types::ValueRef::Null {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
