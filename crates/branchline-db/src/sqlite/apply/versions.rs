//! What a merge by versions knows, and what it puts down: versions of the rows that went in, tombstones, knowledge.
//!
//! It begins under the write lock: the lives of staged versions get their numbers (`branchline_stage.lives`), and what
//! waits in the change log is computed as the next pack would (`capture::stamp`), so that each row's pending change is
//! found by its key.
//!
//! Rows of a base have no version of their own. Those that came into a table that was empty make their life the base
//! of that table; those that came to other rows get the version that they had without saying so.
//!
//! Triggers noted what the merge wrote. The entries of exactly the keys that the backup brought and that went in are
//! removed again, with the pending changes that they overruled. Whatever else was noted (what a cascade or a trigger of
//! the shop did to other rows) stays, and travels as a change made here.

use std::collections::{BTreeSet, HashMap, HashSet};

use branchline_core::id::{BackupId, Generation, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::merge::Parties;
use branchline_core::ports::{ApplyRequest, DatabaseError, MergeContext};
use branchline_core::schema::TableName;
use branchline_core::version::{Dot, Life, Version};
use rusqlite::{Connection, Row, params};

use super::super::capture::stamp;
use super::super::error::failed;
use super::super::key::text_of_noted;
use super::super::ledger::captured::{self, CapturedTable};
use super::super::ledger::change::NOW;
use super::super::ledger::knowledge;
use super::super::ledger::life::{self, Lives};
use super::super::ledger::standing;
use super::super::ledger::version::{self, COLUMNS, REPLACING};
use super::plan::TablePlan;
use super::stage::{Removal, StagedLives};
use super::statement::stage_table;

const LIVES: &str = "CREATE TABLE branchline_stage.lives (n INTEGER PRIMARY KEY, id INTEGER NOT NULL)";
const ADD_LIFE: &str = "INSERT INTO branchline_stage.lives (n, id) VALUES (?1, ?2)";
const TAKEN: &str =
    "CREATE TABLE branchline_stage.taken (table_id INTEGER, key TEXT, PRIMARY KEY (table_id, key))
    WITHOUT ROWID";

/// The mark of a staged row that counts as a change made here.
pub(super) const AS_OURS: i64 = 1;

/// What is known where both the backup and this database have versions.
pub(super) struct Versioned<'a> {
    pub(super) connection: &'a Connection,
    pub(super) request: &'a ApplyRequest,
    context: &'a MergeContext,
    /// The backup, and the earlier ones of which rows are tried again.
    origins: Vec<Origin>,
    /// The lives of the ledger.
    pub(super) lives: Lives,
    /// The lives of staged versions, by their places.
    staged: Vec<Life>,
    /// Staged rows that took the place of held ones, by plan and number.
    in_place_of_held: HashSet<(usize, i64)>,
    captured: HashMap<TableName, CapturedTable>,
    /// The numbers of the tables that are shared in part.
    in_part: BTreeSet<i64>,
}

/// Where rows come from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// Who knew what.
    pub(super) parties: Parties,
    pub(super) source: ServerId,
    pub(super) backup: BackupId,
}

/// A table of the backup that is captured here, and whose rows have versions there.
#[derive(Clone, Copy)]
pub(super) struct VersionedTable<'a> {
    /// The table here.
    pub(super) captured: &'a CapturedTable,
    /// The life whose base its rows without a version belong to, in the backup.
    pub(super) base: &'a Life,
    /// The life whose base the table here holds.
    pub(super) base_here: &'a Life,
    /// Whether a filter keeps rows of it back, here or where they come from.
    pub(super) in_part: bool,
}

impl<'a> Versioned<'a> {
    /// Gathers what is known, under the write lock; nothing where one of the two has no versions.
    pub(super) fn begin(
        connection: &'a Connection,
        request: &'a ApplyRequest,
    ) -> Result<Option<Self>, DatabaseError> {
        let Some(context) = &request.context else { return Ok(None) };
        let Some(standing) = standing::read(connection)? else { return Ok(None) };
        connection.execute_batch(LIVES).map_err(failed)?;
        connection.execute_batch(TAKEN).map_err(failed)?;
        for base in request.tables.iter().filter_map(|table| table.base.as_ref()) {
            life::number(connection, base)?;
        }
        stamp::compute(connection)?;
        let lives = Lives::read(connection)?;
        let ours = knowledge::read(connection, &lives)?;
        let purged_here = knowledge::read_purged(connection, &lives)?;
        let theirs = context.knowledge.clone();
        let parties = Parties::new(standing.own, ours, theirs, &purged_here, &context.purged);
        let backup = Origin { parties, source: request.source.clone(), backup: request.backup };
        let captured = captured::all(connection)?.into_iter().map(|table| (table.name.clone(), table));
        let captured: HashMap<_, _> = captured.collect();
        for table in request.tables.iter().filter(|table| table.filtered) {
            if let Some(table) = captured.get(&table.name) {
                captured::set_in_part(connection, table.id)?;
            }
        }
        Ok(Some(Self {
            connection,
            request,
            context,
            origins: vec![backup],
            lives,
            staged: Vec::new(),
            in_place_of_held: HashSet::new(),
            captured,
            in_part: captured::in_part(connection)?,
        }))
    }

    /// Numbers the lives of staged versions that have no number yet.
    pub(super) fn number_lives(&mut self, staged: &StagedLives) -> Result<(), DatabaseError> {
        for (place, life) in staged.iter().skip(self.staged.len()) {
            let number = life::number(self.connection, life)?;
            self.connection.execute(ADD_LIFE, params![place, number]).map_err(failed)?;
            self.staged.push(life.clone());
        }
        self.lives = Lives::read(self.connection)?;
        Ok(())
    }

    /// A further backup of which rows are on the stage; what is ours is as it is for the first. Answers its place.
    pub(super) fn add_origin(&mut self, theirs: Knowledge, source: ServerId, backup: BackupId) -> usize {
        if let Some(known) = self.origins.iter().skip(1).position(|origin| origin.backup == backup) {
            return known + 1;
        }
        let first = &self.origins[0].parties;
        let parties = Parties { theirs, receiver_behind: false, ..first.clone() };
        self.origins.push(Origin { parties, source, backup });
        self.origins.len() - 1
    }

    /// The staged row took the place of one that was held.
    pub(super) fn replace_held(&mut self, plan: &TablePlan, n: i64) {
        self.in_place_of_held.insert((plan.place, n));
    }

    /// Whether a staged row took the place of one that was held: our knowledge says nothing of it then.
    pub(super) fn took_place_of_held(&self, plan: &TablePlan, n: i64) -> bool {
        self.in_place_of_held.contains(&(plan.place, n))
    }

    /// Where the rows of the backup itself come from.
    pub(super) fn first_origin(&self) -> &Origin {
        &self.origins[0]
    }

    /// Where the rows of a plan come from.
    pub(super) fn origin(&self, plan: &TablePlan) -> &Origin {
        &self.origins[plan.origin]
    }

    /// The table of a plan, where its rows have versions on both sides.
    pub(super) fn table(&self, plan: &TablePlan) -> Result<Option<VersionedTable<'_>>, DatabaseError> {
        let Some(captured) = self.captured.get(&plan.name) else { return Ok(None) };
        let base_here = self.lives.get(captured.base)?;
        let in_part = self.is_in_part(captured);
        if plan.origin > 0 {
            // A row that was held has a version of its own.
            return Ok(Some(VersionedTable { captured, base: base_here, base_here, in_part }));
        }
        let summary = self.request.tables.iter().find(|table| table.name == plan.name);
        let base = summary.and_then(|table| table.base.as_ref());
        Ok(base.map(|base| VersionedTable { captured, base, base_here, in_part }))
    }

    /// Whether a filter keeps rows of a captured table back.
    pub(super) fn is_in_part(&self, captured: &CapturedTable) -> bool {
        self.in_part.contains(&captured.id)
    }

    /// A captured table, by its name.
    pub(super) fn captured(&self, name: &TableName) -> Option<&CapturedTable> {
        self.captured.get(name)
    }

    /// The version in five columns of a staged row, from `first` on; that of the base where it has none.
    pub(super) fn staged_version(
        &self,
        row: &Row<'_>,
        first: usize,
        table: &VersionedTable<'_>,
    ) -> Result<Version, DatabaseError> {
        let version = self.version_of_staged(row, first)?;
        Ok(version.unwrap_or_else(|| Version::base(table.base.clone())))
    }

    /// The version in five columns of a staged row, from `first` on, where it has one.
    pub(super) fn version_of_staged(
        &self,
        row: &Row<'_>,
        first: usize,
    ) -> Result<Option<Version>, DatabaseError> {
        let number = |place: usize| row.get::<_, Option<i64>>(first + place).map_err(failed);
        let dot = |place: usize| -> Result<Option<Dot>, DatabaseError> {
            let (Some(life), Some(generation)) = (number(place)?, number(place + 1)?) else {
                return Ok(None);
            };
            let life = usize::try_from(life).ok().and_then(|place| self.staged.get(place)).cloned();
            Ok(life.map(|life| Dot::new(life, Generation::new(generation.cast_unsigned()))))
        };
        let Some(known) = dot(0)? else { return Ok(None) };
        let time = number(2)?.unwrap_or_default().cast_unsigned();
        Ok(Some(Version {
            dot: known,
            time: branchline_core::version::ChangeTime::from_micros(time),
            was: dot(3)?,
        }))
    }

    /// Brings the clock up to the source's: what is noted from here on is later than all that the backup holds.
    pub(super) fn raise_clock(&self) -> Result<(), DatabaseError> {
        standing::raise_clock(self.connection, self.context.clock)
    }

    /// Puts down the versions of the rows of a plan, which went in. `was_empty`: the table had no rows before.
    pub(super) fn put_rows(
        &self,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
        was_empty: bool,
    ) -> Result<(), DatabaseError> {
        let (id, stage, text) = (table.captured.id, stage_table(plan), staged_key(plan, table));
        let base = life::number(self.connection, table.base)?;
        let has_base = format!("SELECT EXISTS (SELECT 1 FROM {stage} WHERE life IS NULL AND kind IS NULL)");
        let has_base: bool = self.connection.query_row(&has_base, [], |row| row.get(0)).map_err(failed)?;
        let is_base_here = base == table.captured.base || was_empty;
        if has_base && is_base_here {
            captured::set_base(self.connection, id, base)?;
            if version::has_table(self.connection, id)? {
                let sql = format!(
                    "DELETE FROM main.branchline_version WHERE table_id = ?1 AND key IN
                     (SELECT {text} FROM {stage} AS s WHERE s.life IS NULL AND s.kind IS NULL)"
                );
                self.connection.execute(&sql, params![id]).map_err(failed)?;
            }
        }
        let and = if is_base_here { " AND s.life IS NOT NULL" } else { "" };
        self.put(plan, table, "0", &format!("s.kind IS NULL{and}"))?;
        self.enter(plan, table)?;
        if plan.is_noted { self.note_taken(plan, table, "") } else { Ok(()) }
    }

    /// Puts down tombstones of the rows that were removed, and forgets the versions of those that leave none.
    pub(super) fn put_removals(
        &self,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
    ) -> Result<(), DatabaseError> {
        if plan.rows == 0 {
            return Ok(());
        }
        let (stage, text) = (stage_table(plan), staged_key(plan, table));
        self.put(plan, table, "1", &format!("s.kind = {}", Removal::Deleted as i64))?;
        let sql = format!(
            "DELETE FROM main.branchline_version WHERE table_id = ?1 AND key IN
             (SELECT {text} FROM {stage} AS s WHERE {})",
            Removal::FORGOTTEN,
        );
        self.connection.execute(&sql, params![table.captured.id]).map_err(failed)?;
        self.strike(plan, table)?;
        self.note_taken(plan, table, &format!(" WHERE {}", Removal::OF_THE_BACKUP))
    }

    fn put(
        &self,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
        deleted: &str,
        which: &str,
    ) -> Result<(), DatabaseError> {
        let places: Vec<_> = (0..plan.key.len()).map(|place| format!("k{place}")).collect();
        let values: Vec<_> = plan.key.iter().map(|place| format!("s.c{place}")).collect();
        let sql = format!(
            "INSERT INTO main.branchline_version ({COLUMNS}, {})
             SELECT ?1, {}, coalesce(l.id, ?2), coalesce(s.generation, 0), coalesce(s.time, 0), w.id,
                 s.was_generation, {deleted}, {}
             FROM {} AS s LEFT JOIN branchline_stage.lives AS l ON l.n = s.life
                 LEFT JOIN branchline_stage.lives AS w ON w.n = s.was_life
             WHERE {which} {REPLACING}",
            places.join(", "),
            staged_key(plan, table),
            values.join(", "),
            stage_table(plan),
        );
        let base = life::number(self.connection, table.base)?;
        self.connection.execute(&sql, params![table.captured.id, base]).map_err(failed)?;
        let seen = format!(
            "SELECT l.id, max(s.generation) FROM {} AS s JOIN branchline_stage.lives AS l ON l.n = s.life
             WHERE {which} GROUP BY l.id",
            stage_table(plan),
        );
        knowledge::join_seen(self.connection, &seen)
    }

    /// Remembers the keys whose log entries go.
    fn note_taken(
        &self,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
        and: &str,
    ) -> Result<(), DatabaseError> {
        let sql = format!(
            "INSERT OR IGNORE INTO branchline_stage.taken SELECT ?1, {} FROM {} AS s{and}",
            staged_key(plan, table),
            stage_table(plan),
        );
        self.connection.execute(&sql, params![table.captured.id]).map(drop).map_err(failed)
    }

    /// Removes the log entries of the keys that were taken.
    pub(super) fn forget_taken(&self) -> Result<(), DatabaseError> {
        let sql = format!(
            "DELETE FROM main.branchline_change WHERE id IN (SELECT c.id FROM main.branchline_change AS c
                 CROSS JOIN main.branchline_captured AS t CROSS JOIN branchline_stage.taken AS k
                 WHERE t.id = c.table_id AND k.table_id = c.table_id AND k.key = {})",
            text_of_noted("t.key_form", "c."),
        );
        self.connection.execute(&sql, []).map(drop).map_err(failed)
    }

    /// Notes the rows of a plan that count as changes made here.
    pub(super) fn note_as_ours(
        &self,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
    ) -> Result<(), DatabaseError> {
        self.note(plan, table, &format!("s.kind = {AS_OURS}"))
    }

    /// Notes deletions of a plan that count as made here.
    pub(super) fn note_removals_as_ours(
        &self,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
    ) -> Result<(), DatabaseError> {
        self.note(plan, table, &format!("s.kind = {}", Removal::AsOurs as i64))
    }

    /// Notes staged keys as changes that are made now.
    pub(super) fn note(
        &self,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
        which: &str,
    ) -> Result<(), DatabaseError> {
        let places: Vec<_> = (0..plan.key.len()).map(|place| format!("k{place}")).collect();
        let values: Vec<_> = plan.key.iter().map(|place| format!("s.c{place}")).collect();
        let sql = format!(
            "INSERT INTO main.branchline_change (table_id, at, {}) SELECT ?1, {NOW}, {} FROM {} AS s WHERE {which}",
            places.join(", "),
            values.join(", "),
            stage_table(plan),
        );
        self.connection.execute(&sql, params![table.captured.id]).map(drop).map_err(failed)
    }

    /// Takes in what the backup covers; answers all that is held now. What the source purged is taken in where its
    /// tombstones are replaced by what a full backup does not hold.
    pub(super) fn learn(&self) -> Result<Knowledge, DatabaseError> {
        knowledge::join(self.connection, &self.context.covers)?;
        if self.request.backup_type == branchline_core::backup::BackupType::Full {
            knowledge::join_purged(self.connection, &self.context.purged)?;
        }
        let lives = Lives::read(self.connection)?;
        let mut held = knowledge::read(self.connection, &lives)?;
        for table in captured::all(self.connection)? {
            held.add(Dot::base(lives.get(table.base)?.clone()));
        }
        knowledge::join(self.connection, &held)?;
        Ok(held)
    }
}

/// An expression for the key's text of a staged row (alias `s`).
pub(super) fn staged_key(plan: &TablePlan, table: &VersionedTable<'_>) -> String {
    table.captured.key_form().text_of(plan.key.iter().map(|place| format!("s.c{place}")))
}
