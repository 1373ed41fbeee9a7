//! Tables of a backup that do not fit here: all their rows are held, and the rest of the backup goes in.
//!
//! What fits is asked of the core ([`Misfit`]). The rows of the others are not staged like those of a table here, whose
//! columns they have not: their lines wait in one temporary table, and go into the ledger with what their sender knew.
//! Each is held under its key as it came, until the table fits ([`super::refit`]).
//!
//! A row that was known here before is not held: it came then, and went in or was held then. Of rows here that a full
//! backup lacks nothing can be said while their table does not fit: a compare is due then.

use branchline_core::backup::v1::{UnfitReader, with_version};
use branchline_core::backup::{BackupType, RowBatch, TableSummary};
use branchline_core::ports::{ApplyRequest, DatabaseError, HeldReport, OnError, TableMerge};
use branchline_core::schema::{Exclusion, TableName};
use branchline_core::version::{Dot, Version};

use super::holds::report;
use super::mark::StagedLives;
use super::standing::Standing;
use super::{Target, fit};
use crate::misfit::Why;
use crate::postgres::error::table_not_syncable;
use crate::postgres::ledger::{broken, captured, knowledge, signed};
use crate::postgres::schema::{Catalogue, Relation};
use crate::postgres::session::Session;

mod keep;

/// In one round trip: every apply asks it.
const HOME: &str = "
    SELECT server IS NOT NULL, ARRAY(SELECT name FROM branchline.captured), ARRAY(SELECT name FROM branchline.left_out),
           EXISTS (SELECT FROM branchline.held WHERE unfit)
      FROM branchline.meta";

/// `life` and `was_life` are numbers of staged lives.
const CREATE: &str = "
    CREATE TEMPORARY TABLE branchline_unfit (
      place int4 NOT NULL, number int8 NOT NULL, key text COLLATE pg_catalog.\"C\" NOT NULL,
      life int4 NOT NULL, generation int8 NOT NULL, time int8 NOT NULL, was_life int4, was_generation int8,
      line text NOT NULL) ON COMMIT DROP";
const ADD: &str = "
    INSERT INTO pg_temp.branchline_unfit
    SELECT $1::int4, r.* FROM unnest($2::int8[], $3::text[], $4::int4[], $5::int8[], $6::int8[], $7::int4[], $8::int8[], $9::text[]) AS r";
const TWICE: &str = "
    SELECT place, min(key) FROM pg_temp.branchline_unfit GROUP BY place, key HAVING count(*) > 1 LIMIT 1";

/// What the ledger says of the tables here, where rows can be held.
#[derive(Debug)]
pub(crate) struct Home {
    captured: Vec<TableName>,
    left_out: Vec<TableName>,
    /// Whether rows are held of tables that did not fit when they came.
    any_unfit: bool,
}

impl Home {
    /// Reads it; nothing where no row of the backup can be held.
    pub(crate) async fn read(
        session: &Session,
        request: &ApplyRequest,
    ) -> Result<Option<Self>, DatabaseError> {
        if request.context.is_none() || request.on_error != OnError::Hold {
            return Ok(None);
        }
        let row = session.row_kept(HOME, &[]).await?;
        if !row.get::<_, bool>(0) {
            return Ok(None);
        }
        let names = |place: usize| -> Result<Vec<TableName>, DatabaseError> {
            let texts: Vec<&str> = row.get(place);
            texts.into_iter().map(|text| TableName::new(text).map_err(|_| broken("a name"))).collect()
        };
        let (captured, mut left_out) = (names(1)?, names(2)?);
        left_out.extend(request.left_out.iter().cloned());
        Ok(Some(Self { captured, left_out, any_unfit: row.get(3) }))
    }

    /// Whether a table may have come since capture was last brought in step, in which rows of the backup or held ones
    /// could go.
    pub(crate) fn may_be_behind(&self, request: &ApplyRequest) -> bool {
        let is_new = |name: &TableName| !self.captured.contains(name) && !self.left_out.contains(name);
        self.any_unfit || request.tables.iter().any(|summary| is_new(&summary.name))
    }

    /// Whether rows of a table can be held one by one: their triggers tell what becomes of it.
    pub(crate) fn captures(&self, name: &TableName) -> bool {
        self.captured.contains(name)
    }

    /// Whether the settings leave it out.
    pub(crate) fn leaves_out(&self, name: &TableName) -> bool {
        self.left_out.contains(name)
    }
}

/// The tables that the settings leave out, as the ledger has them and as the node says now.
pub(crate) async fn left_out(
    session: &Session,
    request: &ApplyRequest,
) -> Result<Vec<TableName>, DatabaseError> {
    let mut left_out = captured::left_out(session).await?;
    left_out.extend(request.left_out.iter().cloned());
    Ok(left_out)
}

/// Why a table that was refused with that error does not fit; nothing where the error is about something else.
pub(crate) fn why(catalogue: &Catalogue, summary: &TableSummary, error: &DatabaseError) -> Option<Why> {
    use DatabaseError as E;
    let is_about_the_table =
        matches!(error, E::TableUnknown { .. } | E::TableNotSyncable { .. } | E::Scope(_));
    is_about_the_table.then(|| Why::of(catalogue.schema(), summary, error))
}

/// Where the rows of a table of the request go.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// To the stage, as the table of that place.
    Fits(usize),
    /// Into the ledger.
    Unfit(usize),
}

/// The tables of a backup that do not fit.
#[derive(Debug, Default)]
pub(crate) struct Unfit {
    ways: Vec<Way>,
    tables: Vec<UnfitTable>,
    lives: StagedLives,
}

#[derive(Debug)]
struct UnfitTable {
    summary: TableSummary,
    why: Why,
    reader: UnfitReader,
    rows: u64,
}

/// Fits the tables of a request, and takes those that do not fit out of it, where their rows may be held.
pub(crate) fn divide(
    catalogue: &Catalogue,
    request: &mut ApplyRequest,
    home: Option<&Home>,
) -> Result<(Vec<Target>, Unfit), DatabaseError> {
    let marked = request.context.is_some();
    let (mut targets, mut unfit) = (Vec::new(), Unfit::default());
    for summary in std::mem::take(&mut request.tables) {
        let on_error = match home {
            Some(home) if home.captures(&summary.name) => OnError::Hold,
            _ => OnError::Reject,
        };
        let fitted = match home {
            Some(home) if home.leaves_out(&summary.name) => {
                Err(table_not_syncable(&summary.name, Exclusion::ByChoice))
            }
            _ => fit::target(catalogue, &summary, targets.len(), on_error),
        };
        match fitted {
            Ok(mut target) => {
                target.marked = marked;
                unfit.ways.push(Way::Fits(targets.len()));
                targets.push(target);
                request.tables.push(summary);
            }
            Err(error) => {
                let why = why(catalogue, &summary, &error);
                // A row without a version has no name to be held by.
                let Some(why) = why.filter(|_| home.is_some() && summary.base.is_some()) else {
                    return Err(error);
                };
                unfit.ways.push(Way::Unfit(unfit.tables.len()));
                let reader = UnfitReader::new(&summary);
                unfit.tables.push(UnfitTable { summary, why, reader, rows: 0 });
            }
        }
    }
    Ok((targets, unfit))
}

impl Unfit {
    /// The place among the tables that fit of a table of the request; nothing where its rows are held.
    pub(crate) fn fitting(&self, place: usize) -> Option<usize> {
        match self.ways.get(place) {
            Some(Way::Fits(place)) => Some(*place),
            Some(Way::Unfit(_)) => None,
            // Nothing of the request is there: the stage says so.
            None => Some(usize::MAX),
        }
    }

    /// Makes room for their lines.
    pub(crate) async fn create(&self, session: &Session) -> Result<(), DatabaseError> {
        if self.tables.is_empty() { Ok(()) } else { session.run(CREATE).await }
    }

    /// Takes rows of the table at `place` of the request. No COPY may be under way.
    pub(crate) async fn take(
        &mut self,
        session: &Session,
        place: usize,
        batch: &RowBatch,
    ) -> Result<(), DatabaseError> {
        let Some(Way::Unfit(place)) = self.ways.get(place).copied() else { return Ok(()) };
        let table = &mut self.tables[place];
        let base = table.summary.base.clone().map(Version::base);
        let mut lines = Lines::default();
        for object in batch.objects() {
            table.rows += 1;
            let failed = |error| DatabaseError::Row { table: table.summary.name.clone(), error };
            let row = table.reader.read(object, table.rows).map_err(failed)?;
            let version = row.mark.version.or_else(|| base.clone());
            let version = version.ok_or_else(|| broken("a row without a version"))?;
            let dot = |dot: &Dot, lives: &mut StagedLives| {
                let life = i32::try_from(lives.number(&dot.life)).unwrap_or(i32::MAX);
                (life, signed(dot.generation.value()))
            };
            let (life, generation) = dot(&version.dot, &mut self.lives);
            let was = version.was.as_ref().map(|was| dot(was, &mut self.lives));
            lines.numbers.push(signed(table.rows));
            lines.keys.push(row.key);
            lines.lives.push(life);
            lines.generations.push(generation);
            lines.times.push(signed(version.time.micros()));
            lines.was_lives.push(was.map(|(life, _)| life));
            lines.was_generations.push(was.map(|(_, generation)| generation));
            lines.lines.push(String::from_utf8_lossy(&with_version(object, &version)).into_owned());
        }
        lines.add(session, place).await
    }

    /// Refuses where two rows of a table have one key.
    pub(crate) async fn check_keys(&self, session: &Session) -> Result<(), DatabaseError> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let Some(row) = session.rows(TWICE, &[]).await?.into_iter().next() else { return Ok(()) };
        let place = usize::try_from(row.get::<_, i32>(0)).unwrap_or_default();
        Err(DatabaseError::Unique {
            table: self.tables.get(place).map_or_else(String::new, |table| table.summary.name.to_string()),
            constraint: "the primary key".to_owned(),
            detail: format!("two rows of the backup have the key {}", row.get::<_, String>(1)),
        })
    }

    /// Holds what was taken. Answers what a report says of each table of the request, those that fit among them.
    pub(crate) async fn keep(
        &self,
        session: &Session,
        catalogue: &Catalogue,
        standing: Option<&mut Standing>,
        request: &ApplyRequest,
        held: &mut Vec<HeldReport>,
    ) -> Result<Vec<TableMerge>, DatabaseError> {
        let mut counts = vec![TableMerge::default(); self.tables.len()];
        if self.tables.is_empty() {
            return Ok(counts);
        }
        let standing = standing.ok_or_else(|| broken("held rows, but no changes"))?;
        let bases = self.tables.iter().filter_map(|table| table.summary.base.as_ref());
        standing.lives.add(session, bases).await?;
        let lives = standing.number(session, &self.lives).await?;
        let tables: Vec<_> = self.tables.iter().map(|table| (&table.summary, &table.why)).collect();
        let keeping = keep::Keeping { session, standing, request, tables: &tables };
        keeping.all(&lives, &mut counts, held).await?;
        if request.backup_type == BackupType::Full {
            let whole = self.tables.iter().filter(|table| !table.summary.filtered);
            let mut due = Vec::new();
            for name in whole.map(|table| &table.summary.name) {
                let Some(relation) = catalogue.relation(name) else { continue };
                if standing.captured.iter().any(|known| known.name == *name)
                    && !is_empty(session, relation).await?
                {
                    due.push(name.clone());
                }
            }
            captured::set_due(session, &due, true).await?;
        }
        Ok(counts)
    }

    /// The counts of all tables of the request, in its order.
    pub(crate) fn join(&self, fitting: &[TableMerge], unfit: &[TableMerge]) -> Vec<TableMerge> {
        let counted = |way: &Way| match way {
            Way::Fits(place) => fitting.get(*place).copied().unwrap_or_default(),
            Way::Unfit(place) => unfit.get(*place).copied().unwrap_or_default(),
        };
        self.ways.iter().map(counted).collect()
    }
}

async fn is_empty(session: &Session, relation: &Relation) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT NOT EXISTS (SELECT FROM {})", relation.only());
    Ok(session.row(&sql, &[]).await?.get(0))
}

/// Lines on their way into the temporary table.
#[derive(Debug, Default)]
struct Lines {
    numbers: Vec<i64>,
    keys: Vec<String>,
    lives: Vec<i32>,
    generations: Vec<i64>,
    times: Vec<i64>,
    was_lives: Vec<Option<i32>>,
    was_generations: Vec<Option<i64>>,
    lines: Vec<String>,
}

impl Lines {
    async fn add(self, session: &Session, place: usize) -> Result<(), DatabaseError> {
        let Self { numbers, keys, lives, generations, times, was_lives, was_generations, lines } = self;
        let place = i32::try_from(place).unwrap_or(i32::MAX);
        // No statement that is kept: the temporary table is another one in each transaction.
        session
            .rows(
                ADD,
                &[
                    &place,
                    &numbers,
                    &keys,
                    &lives,
                    &generations,
                    &times,
                    &was_lives,
                    &was_generations,
                    &lines,
                ],
            )
            .await
            .map(drop)
    }
}
