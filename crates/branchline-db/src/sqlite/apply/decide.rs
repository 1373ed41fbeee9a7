//! Decides what becomes of each staged row: the facts are gathered here, the verdict is the core's
//! (`branchline_core::merge`).
//!
//! Facts come by one query for each table, every part of it by an index: the row here, its version, and its change that
//! waits in the log. Where a table here never had anything, the rows of the backup's base are decided at once.
//! Rows that do not go in leave the stage, and what follows sees only those that do. A conflict that ours won is put on
//! record here; one that theirs won only when it is clear that the row is not held.

use branchline_core::merge::{LocalRow, Pending, Verdict, decide, decide_held, decide_leaving};
use branchline_core::ports::{DatabaseError, TableMerge};
use branchline_core::version::{ChangeTime, Version};
use rusqlite::{Row, params};

use super::super::error::failed;
use super::super::ident::Ident;
use super::super::ledger::version;
use super::super::schema::Catalogue;
use super::conflicts;
use super::plan::TablePlan;
use super::stage::Removal;
use super::statement::{differ, same_key, stage_table, target_table};
use super::versions::{AS_OURS, Versioned, VersionedTable, staged_key};

const IS_PENDING: &str = "SELECT EXISTS (SELECT 1 FROM temp.branchline_stamped WHERE table_id = ?1)";

/// Decides the rows of a plan, or the deletions of one; counts what does not go in.
pub(super) fn table(
    versioned: &Versioned<'_>,
    catalogue: &Catalogue,
    plan: &mut TablePlan,
    table: &VersionedTable<'_>,
    is_removal: bool,
    count: &mut TableMerge,
) -> Result<(), DatabaseError> {
    if plan.rows == 0 {
        return Ok(());
    }
    let connection = versioned.connection;
    let (stage, decided) = (stage_table(plan), decided_table(plan));
    let made = format!(
        "CREATE TABLE {decided} (n INTEGER PRIMARY KEY, verdict TEXT NOT NULL, same INTEGER NOT NULL, news INTEGER NOT NULL)"
    );
    connection.execute_batch(&made).map_err(failed)?;
    let facts = Facts { versioned, plan, table, is_removal };
    let fresh = !is_removal && facts.is_fresh()?;
    if fresh {
        facts.decide_base()?;
    }
    let listed = format!(" WHERE {}", Removal::LISTED);
    facts.decide_each(match (is_removal, fresh) {
        (true, _) => &listed,
        (false, true) => " WHERE s.life IS NOT NULL",
        (false, false) => "",
    })?;
    count.conflicts += conflicts::record(versioned, catalogue, plan, table, conflicts::LOST, is_removal)?;
    let of = |which: &str| {
        let sql = format!("SELECT count(*) FROM {decided} WHERE {which}");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs).map_err(failed)
    };
    let (unchanged, superseded) = (
        of("same AND verdict IN ('old', 'same')")?,
        of("(verdict IN ('old', 'same') AND NOT same) OR verdict = 'keep'")?,
    );
    if !is_removal {
        versioned.enter_kept(plan, table)?;
    }
    let leave = format!(
        "DELETE FROM {stage} WHERE n IN (SELECT n FROM {decided} WHERE verdict IN ('old', 'same', 'keep'))"
    );
    connection.execute(&leave, []).map_err(failed)?;
    let as_ours = if is_removal { Removal::AsOurs as i64 } else { AS_OURS };
    let which = if is_removal { "" } else { " kind IS NULL AND" };
    let ours = format!(
        "UPDATE {stage} SET kind = {as_ours} WHERE{which} n IN (SELECT n FROM {decided} WHERE verdict = 'take_as_ours')"
    );
    connection.execute(&ours, []).map_err(failed)?;
    plan.rows = plan.rows.saturating_sub(unchanged + superseded);
    count.unchanged += unchanged;
    count.superseded += superseded;
    Ok(())
}

/// Where the verdicts on a plan's rows stand; those that simply go in are not there.
pub(super) fn decided_table(plan: &TablePlan) -> String {
    format!("branchline_stage.d{}", plan.place)
}

/// A verdict as it stands on the stage and in the record of a conflict.
pub(super) fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Old => "old",
        Verdict::Same => "same",
        Verdict::Take => "take",
        Verdict::TakeOver => "take_over",
        Verdict::Keep => "keep",
        Verdict::TakeAsOurs => "take_as_ours",
    }
}

/// The place of the kind in the query of facts.
const KIND_PLACE: usize = 16;
/// The kind of a row that left what the two servers share.
const LEAVES: Option<i64> = Some(Removal::OutOfScope as i64);

struct Facts<'a> {
    versioned: &'a Versioned<'a>,
    plan: &'a TablePlan,
    table: &'a VersionedTable<'a>,
    is_removal: bool,
}

impl Facts<'_> {
    /// Whether nothing is known of any row of the table.
    fn is_fresh(&self) -> Result<bool, DatabaseError> {
        let connection = self.versioned.connection;
        let is_empty = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", target_table(self.plan));
        let is_empty: bool = connection.query_row(&is_empty, [], |row| row.get(0)).map_err(failed)?;
        let id = self.table.captured.id;
        let is_pending: bool =
            connection.query_row(IS_PENDING, params![id], |row| row.get(0)).map_err(failed)?;
        Ok(is_empty && !is_pending && !version::has_table(connection, id)?)
    }

    /// Decides all rows of the backup's base at once: none was ever seen here.
    fn decide_base(&self) -> Result<(), DatabaseError> {
        let nothing = LocalRow { in_part: self.table.in_part, ..LocalRow::default() };
        let verdict = self.verdict(&Version::base(self.table.base.clone()), &nothing, false);
        if verdict == Verdict::Take {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO {} SELECT n, ?1, 0, 0 FROM {} WHERE life IS NULL",
            decided_table(self.plan),
            stage_table(self.plan),
        );
        self.versioned.connection.execute(&sql, params![name(verdict)]).map(drop).map_err(failed)
    }

    /// `is_new` where our knowledge says nothing of the row: it was held, or took the place of one that was.
    fn verdict(&self, incoming: &Version, local: &LocalRow, is_new: bool) -> Verdict {
        let parties = &self.versioned.origin(self.plan).parties;
        let decide = if is_new { decide_held } else { decide };
        decide(incoming, local, self.table.base_here, parties)
    }

    fn decide_each(&self, which: &str) -> Result<(), DatabaseError> {
        let connection = self.versioned.connection;
        let mut statement = connection.prepare(&self.query(which)).map_err(failed)?;
        let add = format!("INSERT INTO {} VALUES (?1, ?2, ?3, ?4)", decided_table(self.plan));
        let mut add = connection.prepare(&add).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let incoming = self.versioned.staged_version(row, 1, self.table)?;
            let local = self.local(row)?;
            let number: i64 = row.get(0).map_err(failed)?;
            let is_new = self.plan.origin > 0 || self.versioned.took_place_of_held(self.plan, number);
            let verdict = if row.get::<_, Option<i64>>(KIND_PLACE).map_err(failed)? == LEAVES {
                decide_leaving(&local, self.table.base_here, &self.versioned.origin(self.plan).parties)
            } else {
                self.verdict(&incoming, &local, is_new)
            };
            if verdict != Verdict::Take {
                let is_news = !self.versioned.origin(self.plan).parties.ours.knows(&incoming);
                add.execute(params![number, name(verdict), local.same, is_news]).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn local(&self, row: &Row<'_>) -> Result<LocalRow, DatabaseError> {
        let present: bool = row.get(6).map_err(failed)?;
        let equal: Option<bool> = row.get(7).map_err(failed)?;
        Ok(LocalRow {
            present,
            version: self.versioned.lives.version(row, 8)?,
            pending: pending(self.versioned, row, 13)?,
            same: if self.is_removal { !present } else { present && equal.unwrap_or_default() },
            in_part: self.table.in_part,
        })
    }

    /// The number; the version that comes in; whether the row is here, and whether it is equal; the version here; the
    /// change that waits; what kind of removal it is.
    fn query(&self, which: &str) -> String {
        let key = self.plan.columns[self.plan.key[0]].name.as_str();
        let text = staged_key(self.plan, self.table);
        let id = self.table.captured.id;
        let equal = match differ(self.plan).filter(|_| !self.is_removal) {
            Some(differ) => format!("NOT ({differ})"),
            None => "1".to_owned(),
        };
        format!(
            "SELECT s.n, s.life, s.generation, s.time, s.was_life, s.was_generation, t.{} IS NOT NULL, {equal},
                 v.life, v.generation, v.time, v.was_life, v.was_generation, p.time, p.was_life, p.was_generation, s.kind
             FROM {} AS s LEFT JOIN {} AS t ON {}
                 LEFT JOIN main.branchline_version AS v ON v.table_id = {id} AND v.key = {text}
                 LEFT JOIN temp.branchline_stamped AS p ON p.table_id = {id} AND p.key = {text}{which}",
            Ident(key),
            stage_table(self.plan),
            target_table(self.plan),
            same_key(self.plan, "t", "s"),
        )
    }
}

/// The change that waits in the log, in three columns of a row: its time, and the dot that it had before.
pub(super) fn pending(
    versioned: &Versioned<'_>,
    row: &Row<'_>,
    first: usize,
) -> Result<Option<Pending>, DatabaseError> {
    let Some(time) = row.get::<_, Option<i64>>(first).map_err(failed)? else { return Ok(None) };
    let time = ChangeTime::from_micros(time.cast_unsigned());
    Ok(Some(Pending { time, was: versioned.lives.dot(row, first + 1)? }))
}
