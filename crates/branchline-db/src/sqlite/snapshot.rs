//! One read transaction in WAL mode: all that is read is of one moment, and no writer waits for it.
//!
//! The catalogue is read first, inside the transaction: that is the read that takes the snapshot. The rows of a table
//! come from one cursor that stays open between two batches; whatever else is asked for closes it.
//!
//! Limits: a batch of 256 KiB and one row are in memory, and SQLite's page cache of 2 MiB.

use std::sync::Arc;

use branchline_core::backup::v1::{RowError, RowFault, RowWriter, value_text};
use branchline_core::backup::{RowBatch, TableSummary};
use branchline_core::compare::{RowDigest, TableHashes};
use branchline_core::ports::{BoxFuture, DatabaseError, HashSpec, Snapshot};
use branchline_core::schema::{Column, Schema, Table, TableName};
use branchline_core::value::Value;
use rusqlite::{Connection, Row};

use super::affinity::ColumnForm;
use super::compare;
use super::connect::{self, Place};
use super::error::failed;
use super::ident::Ident;
use super::schema::{self, Catalogue};
use super::stored::Stored;
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
        let (session, catalogue) = Session::start(move || connect::open_for_reading(&place), begin).await?;
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

fn begin(connection: Connection) -> Result<(Arc<Catalogue>, Serve<Request>), DatabaseError> {
    connection.execute_batch(BEGIN).map_err(failed)?;
    let catalogue = Arc::new(schema::read(&connection)?);
    let kept = Arc::clone(&catalogue);
    Ok((catalogue, Box::new(move |requests| serve(&connection, &kept, requests))))
}

fn serve(connection: &Connection, catalogue: &Catalogue, mut requests: Requests<Request>) {
    let mut not_served = None;
    while let Some(request) = not_served.take().or_else(|| requests.blocking_recv()) {
        match request {
            Request::Open { table, reply } => match TableRead::new(catalogue, &table) {
                Err(error) => answer(reply, Err(error)),
                Ok(read) => not_served = read.serve(connection, reply, &mut requests),
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

/// One table that is being read.
struct TableRead<'a> {
    table: &'a Table,
    columns: Vec<(&'a Column, ColumnForm)>,
    /// Places of the key in `columns`.
    key: Vec<usize>,
}

impl<'a> TableRead<'a> {
    fn new(catalogue: &'a Catalogue, name: &TableName) -> Result<Self, DatabaseError> {
        let table = catalogue.schema.table(name);
        let table = table.ok_or_else(|| DatabaseError::TableUnknown { table: name.clone() })?;
        if let Some(exclusion) = &table.excluded {
            return Err(DatabaseError::TableNotSyncable {
                table: name.clone(),
                reason: exclusion.to_string(),
            });
        }
        let form = catalogue.find(name).map(|(_, form)| form);
        let form = form.ok_or_else(|| DatabaseError::TableUnknown { table: name.clone() })?;
        let columns = table.columns.iter().zip(form.columns.iter().copied());
        let columns: Vec<_> = columns.filter(|(column, _)| !column.generated).collect();
        let place = |name: &_| columns.iter().position(|(column, _)| column.name == *name);
        let key = table.key_names().filter_map(place).collect();
        Ok(Self { table, columns, key })
    }

    /// Serves the cursor for as long as nothing but its rows is asked for; gives back what else was asked.
    fn serve(
        self,
        connection: &Connection,
        reply: Reply<()>,
        requests: &mut Requests<Request>,
    ) -> Option<Request> {
        let names: Vec<_> =
            self.columns.iter().map(|(column, _)| Ident(column.name.as_str()).to_string()).collect();
        let sql = format!("SELECT {} FROM main.{}", names.join(", "), Ident(self.table.name.as_str()));
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
        let mut writer = RowWriter::new(&self.table.name, &TableSummary::of(self.table).columns);
        let mut is_over = false;
        loop {
            match requests.blocking_recv() {
                Some(Request::Next { reply }) => {
                    let batch = if is_over { Ok(None) } else { self.batch(&mut rows, &mut writer) };
                    is_over = !matches!(batch, Ok(Some(_)));
                    answer(reply, batch);
                }
                other => return other,
            }
        }
    }

    fn batch(
        &self,
        rows: &mut rusqlite::Rows<'_>,
        writer: &mut RowWriter,
    ) -> Result<Option<RowBatch>, DatabaseError> {
        while !writer.is_full() {
            let Some(row) = rows.next().map_err(failed)? else { break };
            let values = self.values(row)?;
            if self.key.iter().any(|&place| values[place] == Value::Null) {
                let reason = "a column of its primary key is NULL".to_owned();
                return Err(self.not_encodable(self.describe(&values), reason));
            }
            writer.row(&values).map_err(|error| self.row_error(&error, self.describe(&values)))?;
        }
        let batch = writer.take();
        Ok((batch.rows > 0).then_some(batch))
    }

    fn values<'r>(&self, row: &'r Row<'_>) -> Result<Vec<Value<'r>>, DatabaseError> {
        let mut values = Vec::with_capacity(self.columns.len());
        for (place, (column, form)) in self.columns.iter().enumerate() {
            let Ok(stored) = Stored::of(row.get_ref(place).map_err(failed)?) else {
                let reason = format!("column {} holds text that is not UTF-8", column.name);
                return Err(self.not_encodable(self.describe_lossy(row), reason));
            };
            values.push(stored.into_value(&column.logical_type, *form));
        }
        Ok(values)
    }

    fn row_error(&self, error: &RowError, row: String) -> DatabaseError {
        if error.fault == RowFault::TooLarge {
            return DatabaseError::RowTooLarge { table: self.table.name.clone(), row };
        }
        let column = error.column.as_ref().map(|column| format!("column {column}: ")).unwrap_or_default();
        self.not_encodable(row, format!("{column}{}", error.fault))
    }

    fn not_encodable(&self, row: String, reason: String) -> DatabaseError {
        DatabaseError::RowNotEncodable { table: self.table.name.clone(), row, reason }
    }

    /// The row's key in words.
    fn describe(&self, values: &[Value<'_>]) -> String {
        let text = |&place: &usize| value_text(&values[place], &self.columns[place].0.logical_type);
        self.key.iter().map(text).collect::<Vec<_>>().join(",")
    }

    /// The row's key in words, where some of the row's text cannot be read.
    fn describe_lossy(&self, row: &Row<'_>) -> String {
        let text = |&place: &usize| match row.get_ref(place).map(Stored::of) {
            Ok(Ok(stored)) => {
                let (column, form) = self.columns[place];
                value_text(&stored.into_value(&column.logical_type, form), &column.logical_type)
            }
            _ => "?".to_owned(),
        };
        self.key.iter().map(text).collect::<Vec<_>>().join(",")
    }
}
