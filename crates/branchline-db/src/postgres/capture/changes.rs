//! Reading what a peer lacks, from the snapshot of a position.
//!
//! Three kinds of rows are read of a table, by one query:
//!
//! | rows | version |
//! |---|---|
//! | whose key the log names in the snapshot | ours, of the new generation: what the stamp gave them, which the snapshot does not show |
//! | that have a version | theirs |
//! | of the base, where the peer lacks it | none |
//!
//! Rows are looked up one by one by their keys, unless all of a table are read: what a pack costs hangs on what it
//! brings, not on the size of tables.
//!
//! Where filters keep rows back from the peer, what goes of their tables is decided for all of them at once
//! ([`super::in_scope`]), before the first is named or read.

mod query;

use branchline_core::backup::RowBatch;
use branchline_core::pack::{PackPlan, Position, Selection};
use branchline_core::ports::{BoxFuture, Changes, DatabaseError, TableChanges};
use branchline_core::schema::{Schema, TableName};
use branchline_core::version::{ChangeTime, Dot, Version};

use super::in_scope;
use super::key::Key;
use super::stamp::Taken;
use crate::postgres::ledger::captured::Captured;
use crate::postgres::snapshot::{copy_statement, hold_definitions, travelling};
use crate::postgres::table_reader::{Marks, TableReader};
pub(super) use query::{Picked, logged};
use query::{Query, of_scoped};

const HAS_VERSIONS: &str = "SELECT EXISTS (SELECT FROM branchline.version WHERE table_id = $1)";

/// A position that was taken, with its snapshot.
#[derive(Debug)]
pub(crate) struct PostgresChanges {
    taken: Taken,
    open: Option<TableReader>,
    /// The plan for which was decided what goes of the tables that it filters, and those that have something.
    decided: Option<(PackPlan, Vec<i32>)>,
}

impl PostgresChanges {
    pub(crate) fn of(taken: Taken) -> Self {
        Self { taken, open: None, decided: None }
    }

    fn captured(&self, table: &TableName) -> Result<&Captured, DatabaseError> {
        let found = self.taken.captured.iter().find(|known| known.name == *table);
        found.ok_or_else(|| DatabaseError::TableUnknown { table: table.clone() })
    }

    /// Decides what goes of the tables that a plan filters, unless that was done.
    async fn decide(&mut self, plan: &PackPlan) -> Result<(), DatabaseError> {
        let Some(to) = &plan.scope else { return Ok(()) };
        if self.decided.as_ref().is_none_or(|(decided, _)| decided != plan) {
            self.decided = None;
            let named = in_scope::decide(&self.taken, plan, to).await?;
            self.decided = Some((plan.clone(), named));
        }
        Ok(())
    }

    async fn tables_with(&self, plan: &PackPlan) -> Result<Vec<TableChanges>, DatabaseError> {
        let Taken { reader, captured, position, logged, lives, .. } = &self.taken;
        let picked = Picked::of(plan, lives)?;
        let mut named = Vec::new();
        if let Some(versions) = picked.versions("v") {
            let sql = format!("SELECT DISTINCT v.table_id FROM branchline.version AS v WHERE {versions}");
            named = reader.rows(&sql, &[]).await?.iter().map(|row| row.get(0)).collect::<Vec<i32>>();
        }
        if plan.takes(&newest(position)) {
            named.extend(logged);
        }
        let scoped = self.decided.as_ref().map_or(&[][..], |(_, named)| named);
        let all = matches!(plan.selection, Selection::Full);
        let has = |known: &&Captured| {
            let some = if is_filtered(plan, &known.name) {
                scoped.contains(&known.id)
            } else {
                named.contains(&known.id) || plan.takes(&Version::base(known.base.clone()))
            };
            all || some
        };
        let changes = |known: &Captured| TableChanges {
            table: known.name.clone(),
            base: known.base.clone(),
            filtered: known.in_part || is_filtered(plan, &known.name),
        };
        Ok(captured.iter().filter(has).map(changes).collect())
    }

    async fn begin(&mut self, name: &TableName, plan: &PackPlan) -> Result<(), DatabaseError> {
        self.open = None;
        self.decide(plan).await?;
        let known = self.captured(name)?;
        let Taken { reader, catalogue, lives, position, logged, .. } = &self.taken;
        let (table, relation) = catalogue.syncable(name)?;
        if !hold_definitions(reader, catalogue, [name]).await? {
            let message = format!("table {name} was emptied or rebuilt since the position was taken");
            return Err(DatabaseError::Busy { message });
        }
        let key = Key::of(table, relation)
            .map_err(|reason| crate::postgres::error::table_not_syncable(name, reason));
        if is_filtered(plan, name) {
            let query = of_scoped(known.id, table, relation, &key?);
            let stream = reader.copy_out(&format!("COPY ({query}) TO STDOUT")).await?;
            self.open = Some(TableReader::of(stream, table, Marks::Scoped(lives.clone())));
            return Ok(());
        }
        let has_versions: bool = reader.row_kept(HAS_VERSIONS, &[&known.id]).await?.get(0);
        let only_base = !logged.contains(&known.id) && !has_versions;
        let base = plan.takes(&Version::base(known.base.clone()));
        if only_base && base {
            let stream =
                reader.copy_out(&copy_statement(relation, &travelling(table, relation), false)).await?;
            self.open = Some(TableReader::of(stream, table, Marks::None));
            return Ok(());
        }
        let query = Query {
            id: known.id,
            own: lives.known(&position.own)?,
            generation: position.generation,
            logged: plan.takes(&newest(position)),
            base,
            picked: Picked::of(plan, lives)?,
            table,
            relation,
            key: key?,
        };
        let stream = reader.copy_out(&format!("COPY ({}) TO STDOUT", query.sql())).await?;
        self.open = Some(TableReader::of(stream, table, Marks::Versions(lives.clone())));
        Ok(())
    }
}

fn is_filtered(plan: &PackPlan, table: &TableName) -> bool {
    plan.scope.as_ref().is_some_and(|to| to.scope.of(table).is_some())
}

/// The version of a row that the log names, as far as a plan asks for it.
pub(super) fn newest(position: &Position) -> Version {
    let dot = Dot::new(position.own.clone(), position.generation);
    Version { dot, time: ChangeTime::default(), was: None }
}

impl Changes for PostgresChanges {
    fn schema(&self) -> &Schema {
        self.taken.catalogue.schema()
    }

    fn position(&self) -> &Position {
        &self.taken.position
    }

    fn tables<'a>(
        &'a mut self,
        plan: &'a PackPlan,
    ) -> BoxFuture<'a, Result<Vec<TableChanges>, DatabaseError>> {
        Box::pin(async move {
            self.open = None;
            self.decide(plan).await?;
            self.tables_with(plan).await
        })
    }

    fn open<'a>(
        &'a mut self,
        table: &'a TableName,
        plan: &'a PackPlan,
    ) -> BoxFuture<'a, Result<(), DatabaseError>> {
        Box::pin(self.begin(table, plan))
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>, DatabaseError>> {
        Box::pin(async move {
            let Some(open) = &mut self.open else { return Ok(None) };
            let batch = open.next_batch(&self.taken.reader).await?;
            if batch.is_none() {
                self.open = None;
            }
            Ok(batch)
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>> {
        Box::pin(async move {
            let Self { taken, open, .. } = *self;
            // A table that was not read to its end would first be sent to its end: hang up instead.
            if open.is_none() {
                taken.reader.run("COMMIT").await?;
                taken.sessions.keep(taken.reader).await;
            }
            Ok(())
        })
    }
}
