//! Reading: one repeatable-read transaction, each table by COPY.
//!
//! Memory is one message of the server (a row), one batch, and what the socket holds. Locks nothing but the
//! definitions of the tables, from the beginning to the end: PostgreSQL shows a table that was emptied or rebuilt
//! since a snapshot began (TRUNCATE, some ALTER TABLE) as empty. Where that happened before the locks were had, the
//! snapshot is begun again, [`ATTEMPTS_MAX`] times at most. Rows are never locked; for a table's definition it waits
//! as long as an apply waits for a lock.

use std::sync::Arc;

use branchline_core::backup::RowBatch;
use branchline_core::compare::{RowDigest, TableHashes};
use branchline_core::ports::{BoxFuture, DatabaseError, HashSpec, Snapshot};
use branchline_core::schema::{Schema, Table, TableName};
use tokio_postgres::error::SqlState;

use super::compare;
use super::ident::list;
use super::schema::{Catalogue, Relation};
use super::session::Session;
use super::sessions::Sessions;
use super::table_reader::{Marks, TableReader};

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
    catalogue: Arc<Catalogue>,
    open: Option<TableReader>,
}

impl PostgresSnapshot {
    /// Begins the transaction and reads the catalogue in it.
    pub(crate) async fn begin(sessions: &Sessions, session: Session) -> Result<Self, DatabaseError> {
        session.yield_to_others().await?;
        for _ in 0..ATTEMPTS_MAX {
            begin_reading(&session).await?;
            let (_, catalogue) = sessions.catalogue(&session).await?;
            let readable = catalogue.schema().syncable().map(|table| &table.name);
            if hold_definitions(&session, &catalogue, readable).await? {
                return Ok(Self { session, catalogue, open: None });
            }
            session.run("ROLLBACK").await?;
        }
        let message = "tables were emptied or rebuilt while the snapshot began".to_owned();
        Err(DatabaseError::Busy { message })
    }
}

/// Begins the transaction of a snapshot.
pub(crate) async fn begin_reading(session: &Session) -> Result<(), DatabaseError> {
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// The same for one that is packed from: what is decided of it is kept in temporary tables.
pub(crate) async fn begin_packing(session: &Session) -> Result<(), DatabaseError> {
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE").await
}

/// Locks the definitions of some tables, with their partitions, in the order of their names; answers whether they still
/// are what the snapshot shows. By SELECT, for which a right on the columns is enough; LOCK TABLE wants one on the
/// table.
pub(crate) async fn hold_definitions<'a>(
    session: &Session,
    catalogue: &Catalogue,
    tables: impl IntoIterator<Item = &'a TableName>,
) -> Result<bool, DatabaseError> {
    let (mut oids, mut sql) = (Vec::new(), String::new());
    for name in tables {
        let (_, relation) = catalogue.syncable(name)?;
        oids.push(relation.oid);
        sql.push_str(&format!("SELECT FROM {} LIMIT 0;\n", relation.only()));
    }
    if oids.is_empty() {
        return Ok(true);
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
            let columns = travelling(described, relation);
            let stream = self.session.copy_out(&copy_statement(relation, &columns, false)).await?;
            self.open = Some(TableReader::of(stream, described, Marks::None));
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

/// The columns that travel, in SQL.
pub(crate) fn travelling(table: &Table, relation: &Relation) -> String {
    let travelling = table.columns.iter().zip(&relation.columns).filter(|(column, _)| !column.generated);
    list(travelling.map(|(_, detail)| &detail.ident))
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
