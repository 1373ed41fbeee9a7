//! Puts rows on the stage, each value checked against the column that it is for; deletions beside them.
//!
//! A row that carries a value for a column which is missing here, or a value that its column cannot hold, is refused
//! with the whole backup, or, where rows may be held, staged without that value and marked: it is decided like any other
//! row, and held with its line if it should go in.

use branchline_core::backup::RowBatch;
use branchline_core::backup::v1::{Deletion, RowMark, RowReader};
use branchline_core::code::{Code, Explain};
use branchline_core::ports::DatabaseError;
use branchline_core::value::{Value, convert};
use branchline_core::version::Version;
use rusqlite::{Connection, Statement, params};

use super::super::error::failed;
use super::super::stored::Stored;
use super::plan::{PlannedColumn, TablePlan};
use super::stage::{Removal, StagedLives};
use super::statement;

const ADD_EARLY: &str =
    "INSERT INTO branchline_stage.early (place, n, code, reason, line) VALUES (?1, ?2, ?3, ?4, ?5)";

/// The mark of a staged row that cannot go in.
pub(super) const EARLY: i64 = 9;

/// Puts rows of one table on the stage.
pub(super) struct Stager<'a> {
    connection: &'a Connection,
    plan: &'a mut TablePlan,
    removals: Option<&'a mut TablePlan>,
    lives: &'a mut StagedLives,
    reader: RowReader,
    insert: Statement<'a>,
    remove: Option<Statement<'a>>,
}

/// Why a row cannot go in.
struct Early {
    code: Code,
    reason: String,
}

impl<'a> Stager<'a> {
    /// A stager of a plan's rows, and of deletions where they have a plan.
    pub(super) fn new(
        connection: &'a Connection,
        plan: &'a mut TablePlan,
        removals: Option<&'a mut TablePlan>,
        lives: &'a mut StagedLives,
    ) -> Result<Self, DatabaseError> {
        let insert = connection.prepare(&statement::insert_into_stage(plan)).map_err(failed)?;
        let remove =
            removals.as_ref().map(|removals| connection.prepare(&statement::insert_into_stage(removals)));
        let remove = remove.transpose().map_err(failed)?;
        let reader = RowReader::new(&plan.name, &plan.summaries);
        Ok(Self { connection, plan, removals, lives, reader, insert, remove })
    }

    /// Stages a batch.
    pub(super) fn rows(&mut self, batch: &RowBatch) -> Result<(), DatabaseError> {
        for object in batch.objects() {
            self.row(object, None)?;
        }
        Ok(())
    }

    /// Stages one row; `version` where its line says none. Answers its number, and whether it is a removal.
    pub(super) fn row(
        &mut self,
        object: &[u8],
        version: Option<&Version>,
    ) -> Result<(i64, bool), DatabaseError> {
        let deletions = self.removals.as_ref().map_or(0, |removals| removals.rows);
        let row = self.plan.rows + deletions + 1;
        let table = self.plan.name.clone();
        let unreadable = |error| DatabaseError::Row { table, error };
        let mut values: Vec<Value<'_>> = Vec::with_capacity(self.plan.summaries.len());
        let mark = if self.plan.marked {
            let key = &self.plan.source_key;
            self.reader.read_marked(object, row, key, &mut values).map_err(unreadable)?
        } else {
            self.reader.read(object, row, &mut values).map_err(unreadable)?;
            RowMark::default()
        };
        let version = mark.version.as_ref().or(version);
        match mark.deletion {
            Some(deletion) => self.removal(row, deletion, version, &values)?,
            None => self.upsert(row, version, values, object)?,
        }
        Ok((row.cast_signed(), mark.deletion.is_some()))
    }

    fn removal(
        &mut self,
        row: u64,
        deletion: Deletion,
        version: Option<&Version>,
        values: &[Value<'_>],
    ) -> Result<(), DatabaseError> {
        let (Some(removals), Some(remove)) = (self.removals.as_mut(), self.remove.as_mut()) else {
            return Ok(());
        };
        let kind = match deletion {
            Deletion::Deleted => Removal::Deleted,
            Deletion::OutOfScope => Removal::OutOfScope,
        };
        remove.raw_bind_parameter(1, row.cast_signed()).map_err(failed)?;
        let keys = self.plan.source_key.iter().map(|&place| values[place].clone());
        for (place, (value, column)) in keys.zip(&removals.columns).enumerate() {
            put(remove, removals, row, place, value, column, true)?;
        }
        let first = removals.columns.len() + 2;
        bind_mark(remove, first, version, Some(kind as i64), self.lives).map_err(failed)?;
        remove.raw_execute().map_err(failed)?;
        removals.rows += 1;
        Ok(())
    }

    fn upsert(
        &mut self,
        row: u64,
        version: Option<&Version>,
        values: Vec<Value<'_>>,
        object: &[u8],
    ) -> Result<(), DatabaseError> {
        let mut early: Option<Early> = None;
        self.insert.raw_bind_parameter(1, row.cast_signed()).map_err(failed)?;
        for (from, value) in values.into_iter().enumerate() {
            let Some(place) = self.plan.reads[from] else {
                if value != Value::Null && early.is_none() && !self.plan.omitted.contains(&from) {
                    let column = &self.plan.summaries[from].name;
                    let reason = format!("table {} here has no column {column}", self.plan.name);
                    early = Some(Early { code: Code::COLUMN_UNKNOWN, reason });
                }
                continue;
            };
            let is_key = self.plan.key.contains(&place);
            let column = &self.plan.columns[place];
            match put(&mut self.insert, self.plan, row, place, value, column, is_key) {
                Err(error @ DatabaseError::ValueNotHeld { .. }) if self.plan.holds && !is_key => {
                    let null = None::<i64>;
                    self.insert.raw_bind_parameter(place + 2, null).map_err(failed)?;
                    early.get_or_insert(Early { code: error.code(), reason: error.to_string() });
                }
                result => result?,
            }
        }
        if self.plan.marked {
            let kind = early.as_ref().map(|_| EARLY);
            let first = self.plan.columns.len() + 2;
            bind_mark(&mut self.insert, first, version, kind, self.lives).map_err(failed)?;
        }
        self.insert.raw_execute().map_err(failed)?;
        self.plan.rows += 1;
        if let Some(Early { code, reason }) = early {
            let place = i64::try_from(self.plan.place).unwrap_or(i64::MAX);
            let values = params![place, row.cast_signed(), code.to_string(), reason, object];
            self.connection.execute(ADD_EARLY, values).map_err(failed)?;
        }
        Ok(())
    }
}

/// Binds one value of a row.
fn put(
    insert: &mut Statement<'_>,
    plan: &TablePlan,
    row: u64,
    place: usize,
    value: Value<'_>,
    column: &PlannedColumn,
    is_key: bool,
) -> Result<(), DatabaseError> {
    let not_held = |reason| DatabaseError::ValueNotHeld {
        table: plan.name.clone(),
        column: column.name.to_string(),
        row,
        reason,
    };
    if value == Value::Null && is_key {
        return Err(not_held("a key cannot be NULL".to_owned()));
    }
    bind(insert, place + 2, value, column).map_err(|refusal| match refusal {
        Refusal::NotHeld(reason) => not_held(reason),
        Refusal::Failed(error) => failed(error),
    })
}

fn bind_mark(
    insert: &mut Statement<'_>,
    first: usize,
    version: Option<&Version>,
    kind: Option<i64>,
    lives: &mut StagedLives,
) -> rusqlite::Result<()> {
    let was = version.and_then(|version| version.was.as_ref());
    let dots = [version.map(|version| &version.dot), was];
    let [(life, generation), (was_life, was_generation)] = dots.map(|dot| {
        (dot.map(|dot| lives.place(&dot.life)), dot.map(|dot| dot.generation.value().cast_signed()))
    });
    let time = version.map(|version| version.time.micros().cast_signed());
    for (at, value) in [life, generation, time, was_life, was_generation, kind].into_iter().enumerate() {
        insert.raw_bind_parameter(first + at, value)?;
    }
    Ok(())
}

/// Why a value is not on the stage.
enum Refusal {
    NotHeld(String),
    Failed(rusqlite::Error),
}

fn bind(
    insert: &mut Statement<'_>,
    parameter: usize,
    value: Value<'_>,
    column: &PlannedColumn,
) -> Result<(), Refusal> {
    let value =
        convert(value, &column.from, &column.to).map_err(|error| Refusal::NotHeld(error.to_string()))?;
    let kind = value.kind();
    let stored = Stored::for_column(value, &column.from, column.form).ok_or_else(|| {
        let affinity = column.form.affinity;
        Refusal::NotHeld(format!(
            "SQLite would change this value ({kind:?}) in a column of {affinity:?} affinity"
        ))
    })?;
    insert.raw_bind_parameter(parameter, stored).map_err(Refusal::Failed)
}
