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

use branchline_core::backup::RowBatch;
use branchline_core::id::Generation;
use branchline_core::pack::{PackPlan, Position, Selection};
use branchline_core::ports::{BoxFuture, Changes, DatabaseError, TableChanges};
use branchline_core::schema::{Schema, Table, TableName};
use branchline_core::version::{ChangeTime, Dot, Version};

use super::KEY_BYTES_MAX;
use super::key::Key;
use super::stamp::Taken;
use crate::postgres::ident::list;
use crate::postgres::ledger::captured::Captured;
use crate::postgres::ledger::{Lives, signed};
use crate::postgres::schema::Relation;
use crate::postgres::snapshot::{copy_statement, hold_definitions, travelling};
use crate::postgres::table_reader::TableReader;

const HAS_VERSIONS: &str = "SELECT EXISTS (SELECT FROM branchline.version WHERE table_id = $1)";

/// A position that was taken, with its snapshot.
#[derive(Debug)]
pub(crate) struct PostgresChanges {
    taken: Taken,
    open: Option<TableReader>,
}

impl PostgresChanges {
    pub(crate) fn of(taken: Taken) -> Self {
        Self { taken, open: None }
    }

    fn captured(&self, table: &TableName) -> Result<&Captured, DatabaseError> {
        let found = self.taken.captured.iter().find(|known| known.name == *table);
        found.ok_or_else(|| DatabaseError::TableUnknown { table: table.clone() })
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
        let all = matches!(plan.selection, Selection::Full);
        let has = |known: &&Captured| {
            all || named.contains(&known.id) || plan.takes(&Version::base(known.base.clone()))
        };
        let changes = |known: &Captured| TableChanges { table: known.name.clone(), base: known.base.clone() };
        Ok(captured.iter().filter(has).map(changes).collect())
    }

    async fn begin(&mut self, name: &TableName, plan: &PackPlan) -> Result<(), DatabaseError> {
        self.open = None;
        let known = self.captured(name)?;
        let Taken { reader, catalogue, lives, position, logged, .. } = &self.taken;
        let (table, relation) = catalogue.syncable(name)?;
        if !hold_definitions(reader, catalogue, [name]).await? {
            let message = format!("table {name} was emptied or rebuilt since the position was taken");
            return Err(DatabaseError::Busy { message });
        }
        let has_versions: bool = reader.row_kept(HAS_VERSIONS, &[&known.id]).await?.get(0);
        let only_base = !logged.contains(&known.id) && !has_versions;
        let base = plan.takes(&Version::base(known.base.clone()));
        if only_base && base {
            let stream =
                reader.copy_out(&copy_statement(relation, &travelling(table, relation), false)).await?;
            self.open = Some(TableReader::of(stream, table, None));
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
            key: Key::of(table, relation)
                .map_err(|reason| crate::postgres::error::table_not_syncable(name, reason))?,
        };
        let stream = reader.copy_out(&format!("COPY ({}) TO STDOUT", query.sql())).await?;
        self.open = Some(TableReader::of(stream, table, Some(lives.clone())));
        Ok(())
    }
}

/// The version of a row that the log names, as far as a plan asks for it.
fn newest(position: &Position) -> Version {
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
            let Self { taken, open } = *self;
            // A table that was not read to its end would first be sent to its end: hang up instead.
            if open.is_none() {
                taken.reader.run("COMMIT").await?;
                taken.sessions.keep(taken.reader).await;
            }
            Ok(())
        })
    }
}

/// Which versions a plan takes, in numbers of the ledger.
#[derive(Debug)]
struct Picked {
    /// Of each life the generation above which rows are taken; nothing where all rows are.
    floors: Option<Vec<(i32, i64)>>,
}

impl Picked {
    fn of(plan: &PackPlan, lives: &Lives) -> Result<Self, DatabaseError> {
        let Selection::Above(floors) = &plan.selection else {
            return Ok(Self { floors: None });
        };
        let floor = |floor: &branchline_core::pack::Floor| {
            let above = floor.above.map_or(-1, |above| signed(above.value()));
            Ok((lives.known(&floor.life)?, above))
        };
        Ok(Self { floors: Some(floors.iter().map(floor).collect::<Result<_, DatabaseError>>()?) })
    }

    /// Whether the version of a row is taken, in SQL; nothing where none is.
    fn versions(&self, alias: &str) -> Option<String> {
        let Some(floors) = &self.floors else { return Some("true".to_owned()) };
        if floors.is_empty() {
            return None;
        }
        let floor =
            |(life, above): &(i32, i64)| format!("{alias}.life = {life} AND {alias}.generation > {above}");
        let floors = floors.iter().map(floor).collect::<Vec<_>>().join(" OR ");
        Some(format!("({floors})"))
    }
}

/// The query that reads a table.
struct Query<'a> {
    id: i32,
    own: i32,
    generation: Generation,
    /// Whether rows that the log names are taken.
    logged: bool,
    /// Whether rows of the base are taken.
    base: bool,
    picked: Picked,
    table: &'a Table,
    relation: &'a Relation,
    key: Key,
}

impl Query<'_> {
    fn sql(&self) -> String {
        let id = self.id;
        let mut parts = Vec::new();
        if self.logged {
            parts.push(format!(
                "SELECT l.key, {}, {}::int8, greatest(l.at, (SELECT v.time + 1 FROM branchline.version AS v
                          WHERE v.table_id = {id} AND v.key = l.key)), l.was_life, l.was_generation, NULL::bool
                   FROM logged AS l",
                self.own,
                signed(self.generation.value()),
            ));
        }
        if let Some(versions) = self.picked.versions("v") {
            parts.push(format!(
                "SELECT v.key, v.life, v.generation, v.time, v.was_life, v.was_generation, v.deleted
                   FROM branchline.version AS v
                  WHERE v.table_id = {id} AND {versions} AND NOT EXISTS (SELECT FROM logged AS l WHERE l.key = v.key)"
            ));
        }
        if parts.is_empty() {
            parts.push("SELECT NULL::text, 0, 0::int8, 0::int8, 0, 0::int8, false WHERE false".to_owned());
        }
        let mut sql = format!(
            "WITH logged AS MATERIALIZED (
               SELECT c.key, max(c.at) AS at,
                      CASE WHEN bool_and(c.was_life IS NOT NULL) THEN max(c.was_life) END AS was_life,
                      CASE WHEN bool_and(c.was_life IS NOT NULL) THEN max(c.was_generation) END AS was_generation
                 FROM branchline.change AS c
                WHERE c.table_id = {id} AND octet_length(c.key) <= {KEY_BYTES_MAX} GROUP BY c.key),
             picked (key, life, generation, time, was_life, was_generation, deleted) AS ({})
             SELECT p.life, p.generation, p.time, p.was_life, p.was_generation,
                    coalesce(p.deleted, r.is_there IS NULL), {}
               FROM picked AS p
               LEFT JOIN LATERAL (SELECT true AS is_there, t.* FROM {} AS t WHERE {} LIMIT 1) AS r ON true
              WHERE r.is_there OR p.deleted IS NOT false",
            parts.join(" UNION ALL "),
            self.columns(),
            self.relation.only(),
            self.key.is("t", "p.key"),
        );
        if self.base {
            sql.push_str(&self.of_the_base());
        }
        sql
    }

    /// The columns that travel: of a row that is gone only the key's, from the text of the key.
    fn columns(&self) -> String {
        let values = self.key.values("p.key");
        let column = |(place, detail): (usize, &crate::postgres::schema::ColumnDetail)| {
            let gone = "coalesce(p.deleted, r.is_there IS NULL)";
            let of_key = self.table.key.iter().position(|&key| key == place);
            let otherwise = of_key.map_or("NULL", |number| values[number].as_str());
            format!("CASE WHEN {gone} THEN {otherwise} ELSE r.{} END", detail.ident)
        };
        let details = self.relation.columns.iter().enumerate();
        let travelling = details.filter(|(place, _)| self.table.columns[*place].travels());
        list(travelling.map(column))
    }

    fn of_the_base(&self) -> String {
        let key = self.key.text("t");
        format!(
            " UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, false, {} FROM {} AS t
               WHERE NOT EXISTS (SELECT FROM branchline.version AS v WHERE v.table_id = {} AND v.key = {key})
                 AND NOT EXISTS (SELECT FROM logged AS l WHERE l.key = {key})",
            list(
                self.relation
                    .columns
                    .iter()
                    .zip(&self.table.columns)
                    .filter(|(_, column)| column.travels())
                    .map(|(detail, _)| format!("t.{}", detail.ident))
            ),
            self.relation.only(),
            self.id,
        )
    }
}
