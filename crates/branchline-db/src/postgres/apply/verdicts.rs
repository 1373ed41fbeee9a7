//! Verdicts: the core decides for each class of facts, and the losers leave the stage.
//!
//! Rows of one class differ in nothing that a verdict hangs on, so the core is asked once for each class; there are few,
//! because most rows of a backup have one life and few generations. After this the stage holds what goes in, and
//! rows that are here already as they come.

use branchline_core::id::Generation;
use branchline_core::merge::{LocalRow, Pending, Verdict, decide, decide_held, decide_leaving};
use branchline_core::ports::{DatabaseError, TableMerge};
use branchline_core::version::{ChangeTime, Dot, Life, Version};
use tokio_postgres::Row;

use super::facts::Subject;
use super::standing::Standing;
use super::{Target, slots};
use crate::postgres::ledger::{Lives, broken, unsigned};
use crate::postgres::session::Session;

const FACTS: &str = "
    SELECT class, min(base), min(life), min(generation), min(was_life), min(was_generation),
           bool_and(present), bool_and(same),
           min(own_life), min(own_generation), min(own_was_life), min(own_was_generation),
           bool_and(pending_time IS NOT NULL), min(pending_was_life), min(pending_was_generation),
           bool_and(time = 0), bool_and(coalesce(pending_time, own_time, 0) = 0),
           min(sign((time - coalesce(pending_time, own_time, 0))::float8))::int4,
           bool_and(leaving), bool_and(in_part)
      FROM pg_temp.branchline_fact WHERE {which} GROUP BY class";
const SET: &str = "
    INSERT INTO pg_temp.branchline_verdict SELECT * FROM unnest($1::text[], $2::int2[])";

/// Rows of each table by their verdicts: those that lose, and those in conflict with a row or a deletion here.
const COUNTS: &str = "
    SELECT f.place,
           count(*) FILTER (WHERE d.verdict IN (0, 4) AND (f.deleted OR NOT f.same)),
           count(*) FILTER (WHERE d.verdict IN (3, 4) OR d.verdict = 5 AND f.present AND f.life IS NOT NULL)
      FROM pg_temp.branchline_fact AS f JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
     WHERE f.place = ANY ($1) GROUP BY f.place";

/// The number of a verdict in temporary tables.
pub(crate) const fn number(verdict: Verdict) -> i16 {
    match verdict {
        Verdict::Old => 0,
        Verdict::Same => 1,
        Verdict::Take => 2,
        Verdict::TakeOver => 3,
        Verdict::Keep => 4,
        Verdict::TakeAsOurs => 5,
    }
}

/// Decides for all staged rows of a pass.
pub(crate) async fn decide_all(
    session: &Session,
    standing: &Standing,
    subjects: &[Subject<'_>],
    held_before: bool,
) -> Result<(), DatabaseError> {
    let places = slots(subjects.iter().map(|subject| subject.target));
    let (mut classes, mut verdicts) = (Vec::new(), Vec::new());
    for row in session.rows(&FACTS.replace("{which}", "place = ANY ($1)"), &[&places]).await? {
        let class = ClassRow(row);
        verdicts.push(number(class.decide(standing, held_before)?));
        classes.push(class.0.get::<_, String>(0));
    }
    session.rows_kept(SET, &[&classes, &verdicts]).await.map(drop)
}

/// Counts what was decided; answers how many conflicts there are.
pub(crate) async fn count(
    session: &Session,
    tables: &[Target],
    counts: &mut [TableMerge],
) -> Result<u64, DatabaseError> {
    let mut conflicts = 0;
    for row in session.rows_kept(COUNTS, &[&slots(tables)]).await? {
        let slot = usize::try_from(row.get::<_, i32>(0)).unwrap_or(usize::MAX);
        let place = tables.iter().position(|target| target.slot == slot);
        let merged = place.and_then(|place| counts.get_mut(place)).ok_or_else(|| broken("a place"))?;
        merged.superseded = unsigned(&row, 1);
        merged.conflicts = unsigned(&row, 2);
        merged.unchanged = merged.unchanged.saturating_sub(merged.superseded);
        conflicts += merged.conflicts;
    }
    Ok(conflicts)
}

/// Takes losers out of the stage. What is here as it comes may stay: the merge finds nothing to do.
pub(crate) async fn drop_losers(session: &Session, subjects: &[Subject<'_>]) -> Result<(), DatabaseError> {
    let mut sql = String::new();
    for Subject { target, stage, .. } in subjects {
        sql.push_str(&format!(
            "DELETE FROM {stage} AS s USING pg_temp.branchline_fact AS f
               JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
              WHERE f.place = {} AND f.number = s.branchline_number
                AND d.verdict IN (0, 1, 4) AND (f.deleted OR NOT f.same OR s.branchline_line IS NOT NULL);\n",
            target.slot
        ));
    }
    session.run(&sql).await
}

/// A class of facts.
#[derive(Debug)]
pub(crate) struct ClassRow(Row);

impl ClassRow {
    /// The class of one row, by itself.
    pub(crate) async fn of_one(session: &Session, slot: i32, number: i64) -> Result<Self, DatabaseError> {
        let sql = FACTS.replace("{which}", "place = $1 AND number = $2");
        session.row(&sql, &[&slot, &number]).await.map(Self)
    }

    fn decide(&self, standing: &Standing, held_before: bool) -> Result<Verdict, DatabaseError> {
        let local = self.local(standing)?;
        if self.0.get(18) {
            return Ok(decide_leaving(&local, self.base(standing)?, &standing.parties));
        }
        let Some(incoming) = self.incoming(standing)? else {
            // Its source does not capture the table: whatever changes here counts as made here.
            return Ok(if local.same { Verdict::Same } else { Verdict::TakeAsOurs });
        };
        let decide = if held_before { decide_held } else { decide };
        Ok(decide(&incoming, &local, self.base(standing)?, &standing.parties))
    }

    /// The version that comes in; nothing where the source has none.
    fn incoming(&self, standing: &Standing) -> Result<Option<Version>, DatabaseError> {
        let Some(made) = dot(&self.0, 2, &standing.lives)? else { return Ok(None) };
        Ok(Some(Version { dot: made, time: self.times().0, was: dot(&self.0, 4, &standing.lives)? }))
    }

    /// What is here.
    pub(crate) fn local(&self, standing: &Standing) -> Result<LocalRow, DatabaseError> {
        let (row, lives, time) = (&self.0, &standing.lives, self.times().1);
        let version = match dot(row, 8, lives)? {
            Some(own) => Some(Version { dot: own, time, was: dot(row, 10, lives)? }),
            None => None,
        };
        let pending = row.get::<_, bool>(12).then(|| dot(row, 13, lives)).transpose()?;
        let pending = pending.map(|was| Pending { time, was });
        Ok(LocalRow { present: row.get(6), version, pending, same: row.get(7), in_part: row.get(19) })
    }

    /// The life whose base the table here holds.
    pub(crate) fn base<'s>(&self, standing: &'s Standing) -> Result<&'s Life, DatabaseError> {
        standing.lives.life(self.0.get(1))
    }

    /// Two times that stand to each other, and to 0, as those of the class do: theirs and ours.
    fn times(&self) -> (ChangeTime, ChangeTime) {
        let (theirs_is_zero, mine_is_zero): (bool, bool) = (self.0.get(15), self.0.get(16));
        let (theirs, mine) = match (theirs_is_zero, mine_is_zero, self.0.get::<_, i32>(17).signum()) {
            (true, true, _) => (0, 0),
            (true, false, _) => (0, 1),
            (false, true, _) => (1, 0),
            (false, false, 1) => (2, 1),
            (false, false, 0) => (1, 1),
            (false, false, _) => (1, 2),
        };
        (ChangeTime::from_micros(theirs), ChangeTime::from_micros(mine))
    }
}

/// The dot in two columns.
pub(crate) fn dot(row: &Row, first: usize, lives: &Lives) -> Result<Option<Dot>, DatabaseError> {
    let Some(id) = row.get::<_, Option<i32>>(first) else { return Ok(None) };
    Ok(Some(Dot::new(lives.life(id)?.clone(), Generation::new(unsigned(row, first + 1)))))
}
