//! One read transaction in WAL mode: all that is read is of one moment, and no writer waits for it.
//!
//! The catalogue is read first, inside the transaction: that is the read that takes the snapshot. The rows of a table
//! come from one cursor that stays open between two batches; whatever else is asked for closes it.
//!
//! Limits: a batch of 256 KiB and one row are in memory, and SQLite's page cache of 2 MiB.

use std::sync::Arc;

use branchline_core::backup::RowBatch;
use branchline_core::backup::v1::{RowMark, RowWriter};
use branchline_core::compare::{RowDigest, TableHashes};
use branchline_core::ports::{BoxFuture, DatabaseError, HashSpec, Snapshot};
use branchline_core::schema::{Schema, TableName};
use rusqlite::Connection;

use super::compare;
use super::connect::{self, Place};
use super::error::failed;
use super::ident::Ident;
use super::rows::TableRows;
use super::schema::Catalogue;
use super::thread::{Reply, Requests, Serve, Session, answer};

const BEGIN: &str = "BEGIN DEFERRED";

/// A snapshot of a SQLite file.
pub(super) struct SqliteSnapshot {
    session: Session<Request>,
    catalogue: Arc<Catalogue>,
}

/// What is asked of the snapshot's thread.
enum Request {
    Open { table: TableName, reply: Reply<()> },
    Next { reply: Reply<Option<RowBatch>> },
    Hashes { spec: HashSpec, reply: Reply<TableHashes> },
    RowDigests { spec: HashSpec, buckets: Vec<u32>, reply: Reply<Vec<RowDigest>> },
    Close { reply: Reply<()> },
}

impl SqliteSnapshot {
    /// Takes the snapshot.
    pub(super) async fn open(place: Arc<Place>) -> Result<Self, DatabaseError> {
        let to_open = Arc::clone(&place);
        let begin = move |connection| begin(connection, &place);
        let (session, catalogue) = Session::start(move || connect::open_for_reading(&to_open), begin).await?;
        Ok(Self { session, catalogue })
    }
}

impl Snapshot for SqliteSnapshot {
    fn schema(&self) -> &Schema {
        &self.catalogue.schema
    }

    fn open<'a>(&'a mut self, table: &'a TableName) -> BoxFuture<'a, Result<(), DatabaseError>> {
        Box::pin(self.session.ask(|reply| Request::Open { table: table.clone(), reply }))
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>, DatabaseError>> {
        Box::pin(self.session.ask(|reply| Request::Next { reply }))
    }

    fn hashes<'a>(&'a mut self, spec: &'a HashSpec) -> BoxFuture<'a, Result<TableHashes, DatabaseError>> {
        Box::pin(self.session.ask(|reply| Request::Hashes { spec: spec.clone(), reply }))
    }

    fn row_digests<'a>(
        &'a mut self,
        spec: &'a HashSpec,
        buckets: &'a [u32],
    ) -> BoxFuture<'a, Result<Vec<RowDigest>, DatabaseError>> {
        let buckets = buckets.to_vec();
        Box::pin(self.session.ask(|reply| Request::RowDigests { spec: spec.clone(), buckets, reply }))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>> {
        Box::pin(async move { self.session.ask(|reply| Request::Close { reply }).await })
    }
}

fn begin(connection: Connection, place: &Place) -> Result<(Arc<Catalogue>, Serve<Request>), DatabaseError> {
    connection.execute_batch(BEGIN).map_err(failed)?;
    let catalogue = place.catalogue.read(&connection)?;
    let kept = Arc::clone(&catalogue);
    Ok((catalogue, Box::new(move |requests| serve(&connection, &kept, requests))))
}

fn serve(connection: &Connection, catalogue: &Catalogue, mut requests: Requests<Request>) {
    let mut not_served = None;
    while let Some(request) = not_served.take().or_else(|| requests.blocking_recv()) {
        match request {
            Request::Open { table, reply } => match TableRows::new(catalogue, &table, 0) {
                Err(error) => answer(reply, Err(error)),
                Ok(rows_of) => not_served = serve_rows(&rows_of, connection, reply, &mut requests),
            },
            Request::Next { reply } => answer(reply, Ok(None)),
            Request::Hashes { spec, reply } => answer(reply, compare::hashes(connection, catalogue, &spec)),
            Request::RowDigests { spec, buckets, reply } => {
                answer(reply, compare::row_digests(connection, catalogue, &spec, &buckets));
            }
            Request::Close { reply } => {
                answer(reply, connection.execute_batch("ROLLBACK").map_err(failed));
                return;
            }
        }
    }
}

/// Serves a cursor over a table's rows for as long as nothing but its rows is asked for; gives back what else was.
fn serve_rows(
    rows_of: &TableRows<'_>,
    connection: &Connection,
    reply: Reply<()>,
    requests: &mut Requests<Request>,
) -> Option<Request> {
    let sql = format!("SELECT {} FROM main.{} AS t", rows_of.select("t"), Ident(rows_of.table.name.as_str()));
    let mut statement = match connection.prepare(&sql) {
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
    let mut writer = rows_of.writer();
    let mut is_over = false;
    loop {
        match requests.blocking_recv() {
            Some(Request::Next { reply }) => {
                let batch = if is_over { Ok(None) } else { batch(rows_of, &mut rows, &mut writer) };
                is_over = !matches!(batch, Ok(Some(_)));
                answer(reply, batch);
            }
            other => return other,
        }
    }
}

fn batch(
    rows_of: &TableRows<'_>,
    rows: &mut rusqlite::Rows<'_>,
    writer: &mut RowWriter,
) -> Result<Option<RowBatch>, DatabaseError> {
    while !writer.is_full() {
        let Some(row) = rows.next().map_err(failed)? else { break };
        rows_of.write(&RowMark::default(), row, writer)?;
    }
    let batch = writer.take();
    Ok((batch.rows > 0).then_some(batch))
}
