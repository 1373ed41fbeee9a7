//! Rows of one table, from COPY to batches of a backup.
//!
//! Memory is one message of the server (a row) and one batch. Where rows carry versions, six columns come before those
//! of the table: life, generation, time, the life and generation that the change had before, and whether the row is
//! gone; of one that is gone all columns but the key's are NULL. A seventh may follow: whether it is gone from the scope
//! alone.

use std::pin::Pin;

use branchline_core::backup::v1::{Deletion, RowError, RowFault, RowMark, RowWriter, value_text};
use branchline_core::backup::{RowBatch, TableSummary};
use branchline_core::id::Generation;
use branchline_core::limits::BATCH_BYTES;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::Table;
use branchline_core::value::Value;
use branchline_core::version::{ChangeTime, Dot, Version};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::Fuse;
use tokio_postgres::CopyOutStream;

use super::copy::{RowFields, recycle};
use super::ledger::Lives;
use super::session::Session;
use super::text::Form;

/// A row whose JSON is certainly smaller than this fits into a batch that is not full yet.
const SMALL_ROW_BYTES: usize = BATCH_BYTES / 8;

/// What stands before the columns of a row.
#[derive(Debug, Clone)]
pub(crate) enum Marks {
    /// Nothing.
    None,
    /// Six columns, with numbers of these lives.
    Versions(Lives),
    /// Seven of them.
    Scoped(Lives),
}

/// What the JSON of a mark takes at most.
const MARK_BYTES: usize = 160;

/// A table that is being read.
pub(crate) struct TableReader {
    stream: Pin<Box<Fuse<CopyOutStream>>>,
    fields: RowFields,
    writer: RowWriter,
    summary: TableSummary,
    /// Bytes of a row's JSON that are not its values.
    overhead: usize,
    /// The places of the key's columns.
    key: Vec<usize>,
    /// A large row that waits for a batch of its own.
    held: Option<Bytes>,
    marks: Marks,
}

impl std::fmt::Debug for TableReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableReader").field("table", &self.summary.name).finish_non_exhaustive()
    }
}

impl TableReader {
    /// A reader of the columns of `table` that travel, as `stream` brings them.
    pub(crate) fn of(stream: CopyOutStream, table: &Table, marks: Marks) -> Self {
        let summary = TableSummary::of(table);
        let key = summary.key.iter().filter_map(|name| summary.columns.iter().position(|c| c.name == *name));
        let before = marks.forms();
        let columns = summary.columns.iter().map(|column| Form::of(&column.logical_type));
        Self {
            stream: Box::pin(stream.fuse()),
            fields: RowFields::new(before.into_iter().chain(columns).collect()),
            writer: RowWriter::new(&summary.name, &summary.columns),
            overhead: summary.columns.iter().map(|column| column.name.as_str().len() * 2 + 16).sum::<usize>()
                + MARK_BYTES,
            key: key.collect(),
            held: None,
            marks,
            summary,
        }
    }

    /// The next rows; nothing once all were given.
    pub(crate) async fn next_batch(&mut self, session: &Session) -> Result<Option<RowBatch>, DatabaseError> {
        let mut values = Vec::with_capacity(self.summary.columns.len());
        loop {
            let line = match self.held.take() {
                Some(line) => line,
                None => match self.stream.next().await {
                    Some(line) => line.map_err(|error| session.fault(&error))?,
                    None => return Ok((!self.writer.is_empty()).then(|| self.writer.take())),
                },
            };
            if !self.writer.is_empty() && self.is_large(&line) {
                self.held = Some(line);
                return Ok(Some(self.writer.take()));
            }
            values = self.write(&line, values)?;
            if self.writer.is_full() {
                return Ok(Some(self.writer.take()));
            }
        }
    }

    /// Whether a row's JSON might not fit into a batch that is not full: texts at most double, except for control
    /// characters, of which each is written in six.
    fn is_large(&self, line: &[u8]) -> bool {
        if line.len() * 6 + self.overhead < SMALL_ROW_BYTES {
            return false;
        }
        let control = line.iter().filter(|byte| **byte < 0x20).count();
        line.len() * 2 + control * 5 + self.overhead >= SMALL_ROW_BYTES
    }

    /// Writes one row, and gives the vector of values back for the next.
    fn write(
        &mut self,
        line: &[u8],
        values: Vec<Value<'static>>,
    ) -> Result<Vec<Value<'static>>, DatabaseError> {
        let Self { fields, writer, summary, key, marks, .. } = self;
        let mut values = recycle(values);
        if fields.read(line, &mut values).is_err() {
            let reason = "its text is not what PostgreSQL writes, or not UTF-8".to_owned();
            return Err(DatabaseError::RowNotEncodable {
                table: summary.name.clone(),
                row: "?".to_owned(),
                reason,
            });
        }
        let before = marks.columns();
        let (mark, columns) = match marks {
            Marks::Versions(lives) | Marks::Scoped(lives) => {
                let (mark, columns) = values.split_at(before.min(values.len()));
                (mark_of(mark, lives)?, columns)
            }
            Marks::None => (RowMark::default(), values.as_slice()),
        };
        match writer.marked(&mark, columns) {
            Ok(()) => Ok(recycle(values)),
            Err(error) => Err(refused(summary, key, columns, &error)),
        }
    }
}

impl Marks {
    fn columns(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Versions(_) => 6,
            Self::Scoped(_) => 7,
        }
    }

    fn forms(&self) -> Vec<Form> {
        let form = |place| if place < 5 { Form::Integer } else { Form::Boolean };
        (0..self.columns()).map(form).collect()
    }
}

/// What a row says of itself: its version, where it has one, and whether it is a deletion.
fn mark_of(values: &[Value<'_>], lives: &Lives) -> Result<RowMark, DatabaseError> {
    let number = |place: usize| match values.get(place) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    };
    let dot = |life: usize, generation: usize| -> Result<Option<Dot>, DatabaseError> {
        let (Some(id), Some(generation)) = (number(life), number(generation)) else { return Ok(None) };
        let life = lives.life(i32::try_from(id).unwrap_or_default())?.clone();
        Ok(Some(Dot::new(life, Generation::new(generation.unsigned_abs()))))
    };
    let time = ChangeTime::from_micros(number(2).unwrap_or_default().unsigned_abs());
    let was = dot(3, 4)?;
    let is = |place: usize| matches!(values.get(place), Some(Value::Boolean(true)));
    let deletion = match (is(5), is(6)) {
        (false, _) => None,
        (true, false) => Some(Deletion::Deleted),
        (true, true) => Some(Deletion::OutOfScope),
    };
    Ok(RowMark { version: dot(0, 1)?.map(|dot| Version { dot, time, was }), deletion })
}

fn refused(summary: &TableSummary, key: &[usize], values: &[Value<'_>], error: &RowError) -> DatabaseError {
    let table = summary.name.clone();
    let part = |&place: &usize| value_text(&values[place], &summary.columns[place].logical_type);
    let row = key.iter().map(part).collect::<Vec<_>>().join(",");
    match error.fault {
        RowFault::TooLarge => DatabaseError::RowTooLarge { table, row },
        fault => {
            let column = error.column.as_ref().map_or("?", |column| column.as_str());
            DatabaseError::RowNotEncodable { table, row, reason: format!("column {column}: {fault}") }
        }
    }
}
