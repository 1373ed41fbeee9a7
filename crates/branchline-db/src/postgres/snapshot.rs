//! Reading: one repeatable-read transaction, each table by COPY.
//!
//! Memory is one message of the server (a row), one batch, and what the socket holds. Locks nothing but the
//! definitions of the tables, from the beginning to the end: PostgreSQL shows a table that was emptied or rebuilt
//! since a snapshot began (TRUNCATE, some ALTER TABLE) as empty. Where that happened before the locks were had, the
//! snapshot is begun again, [`ATTEMPTS_MAX`] times at most. Rows are never locked; for a table's definition it waits
//! as long as an apply waits for a lock.

use std::pin::Pin;

use branchline_core::backup::v1::{RowError, RowFault, RowWriter, value_text};
use branchline_core::backup::{RowBatch, TableSummary};
use branchline_core::compare::{RowDigest, TableHashes};
use branchline_core::limits::BATCH_BYTES;
use branchline_core::ports::{BoxFuture, DatabaseError, HashSpec, Snapshot};
use branchline_core::schema::{Schema, TableName};
use branchline_core::value::Value;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::Fuse;
use tokio_postgres::CopyOutStream;
use tokio_postgres::error::SqlState;

use super::compare;
use super::copy::{RowFields, recycle};
use super::ident::list;
use super::schema::{Catalogue, Relation};
use super::session::Session;
use super::text::Form;

/// A row whose JSON is certainly smaller than this fits into a batch that is not full yet.
const SMALL_ROW_BYTES: usize = BATCH_BYTES / 8;

/// How often a snapshot is begun before the database counts as busy.
const ATTEMPTS_MAX: u32 = 3;

/// Whether the snapshot sees other files of some tables than there are now: emptied, rebuilt or dropped since. A
/// partition that has no root any more was taken off.
const REBUILT: &str = "
    SELECT EXISTS (
      SELECT FROM pg_class AS c
       WHERE c.relkind = 'r'
         AND CASE WHEN c.relispartition THEN coalesce(pg_partition_root(c.oid) = ANY ($1), true)
                  ELSE c.oid = ANY ($1) END
         AND (c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)
              OR c.relispartition AND pg_partition_root(c.oid) IS NULL))";

/// A read-only view of one moment.
#[derive(Debug)]
pub(crate) struct PostgresSnapshot {
    session: Session,
    catalogue: Catalogue,
    open: Option<OpenTable>,
}

impl PostgresSnapshot {
    /// Begins the transaction and reads the catalogue in it.
    pub(crate) async fn begin(session: Session) -> Result<Self, DatabaseError> {
        session.yield_to_others().await?;
        for _ in 0..ATTEMPTS_MAX {
            session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let catalogue = Catalogue::read(&session).await?;
            if hold_definitions(&session, &catalogue).await? {
                return Ok(Self { session, catalogue, open: None });
            }
            session.run("ROLLBACK").await?;
        }
        let message = "tables were emptied or rebuilt while the snapshot began".to_owned();
        Err(DatabaseError::Busy { message })
    }
}

/// Locks the definitions of all tables that can be read, with their partitions, in the order of their names;
/// answers whether they still are what the snapshot shows. By SELECT, for which a right on the columns is enough;
/// LOCK TABLE wants one on the table.
async fn hold_definitions(session: &Session, catalogue: &Catalogue) -> Result<bool, DatabaseError> {
    let readable = catalogue.relations().filter(|(name, _)| catalogue.syncable(name).is_ok());
    let (mut oids, mut sql) = (Vec::new(), String::new());
    for (_, relation) in readable {
        oids.push(relation.oid);
        sql.push_str(&format!("SELECT FROM {} LIMIT 0;\n", relation.only()));
    }
    if let Err(error) = session.run_raw(&sql).await {
        let gone = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
        return match error.code() {
            Some(state) if gone.contains(state) => Ok(false),
            _ => Err(session.fault(&error)),
        };
    }
    Ok(!session.row(REBUILT, &[&oids]).await?.get::<_, bool>(0))
}

impl Snapshot for PostgresSnapshot {
    fn schema(&self) -> &Schema {
        self.catalogue.schema()
    }

    fn open<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<(), DatabaseError>> {
        Box::pin(async move {
            self.open = None;
            let (described, relation) = self.catalogue.syncable(table)?;
            let summary = TableSummary::of(described);
            let travelling =
                described.columns.iter().zip(&relation.columns).filter(|(column, _)| !column.generated);
            let columns = list(travelling.map(|(_, detail)| &detail.ident));
            let key =
                summary.key.iter().filter_map(|name| summary.columns.iter().position(|c| c.name == *name));
            let stream = self.session.copy_out(&copy_statement(relation, &columns, false)).await?;
            self.open = Some(OpenTable {
                stream: Box::pin(stream.fuse()),
                fields: RowFields::new(summary.columns.iter().map(|c| Form::of(&c.logical_type)).collect()),
                writer: RowWriter::new(table, &summary.columns),
                overhead: summary.columns.iter().map(|column| column.name.as_str().len() * 2 + 16).sum(),
                key: key.collect(),
                held: None,
                summary,
            });
            Ok(())
        })
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>, DatabaseError>> {
        Box::pin(async move {
            let Some(open) = &mut self.open else { return Ok(None) };
            let batch = open.next_batch(&self.session).await?;
            if batch.is_none() {
                self.open = None;
            }
            Ok(batch)
        })
    }

    fn hashes<'a>(&'a mut self, spec: &'a HashSpec) -> BoxFuture<'a, Result<TableHashes, DatabaseError>> {
        Box::pin(async move {
            self.open = None;
            compare::hashes(&self.session, &self.catalogue, spec).await
        })
    }

    fn row_digests<'a>(
        &'a mut self,
        spec: &'a HashSpec,
        buckets: &'a [u32],
    ) -> BoxFuture<'a, Result<Vec<RowDigest>, DatabaseError>> {
        Box::pin(async move {
            self.open = None;
            compare::row_digests(&self.session, &self.catalogue, spec, buckets).await
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>> {
        Box::pin(async move {
            let Self { session, open, .. } = *self;
            // A table that was not read to its end would first be sent to its end: hang up instead.
            if open.is_none() {
                session.run("COMMIT").await?;
                session.close().await;
            }
            Ok(())
        })
    }
}

/// The statement that reads some columns of a relation. The short way, without a query, is a little faster; it
/// knows neither partitions nor generated columns.
pub(crate) fn copy_statement(relation: &Relation, columns: &str, generated: bool) -> String {
    if relation.partitioned || generated {
        format!("COPY (SELECT {columns} FROM {}) TO STDOUT", relation.only())
    } else {
        format!("COPY {} ({columns}) TO STDOUT", relation.name)
    }
}

/// A table that is being read.
struct OpenTable {
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
}

impl std::fmt::Debug for OpenTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenTable").field("table", &self.summary.name).finish_non_exhaustive()
    }
}

impl OpenTable {
    async fn next_batch(&mut self, session: &Session) -> Result<Option<RowBatch>, DatabaseError> {
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
        let Self { fields, writer, summary, key, .. } = self;
        let mut values = recycle(values);
        if fields.read(line, &mut values).is_err() {
            let reason = "its text is not what PostgreSQL writes, or not UTF-8".to_owned();
            return Err(DatabaseError::RowNotEncodable {
                table: summary.name.clone(),
                row: "?".to_owned(),
                reason,
            });
        }
        match writer.row(&values) {
            Ok(()) => Ok(recycle(values)),
            Err(error) => Err(refused(summary, key, &values, &error)),
        }
    }
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
