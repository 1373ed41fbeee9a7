//! Verdicts: the core decides for each class of facts, and the losers leave the stage.
//!
//! Rows of one class differ in nothing that a verdict hangs on, so the core is asked once for each class; there are few,
//! because most rows of a backup have one life and few generations. After this the stage holds what goes in, and
//! rows that are here already as they come.

use branchline_core::id::Generation;
use branchline_core::merge::{LocalRow, Pending, Verdict, decide};
use branchline_core::ports::{DatabaseError, TableMerge};
use branchline_core::version::{ChangeTime, Dot, Version};
use tokio_postgres::Row;

use super::facts::Subject;
use super::standing::Standing;
use crate::postgres::ledger::{Lives, broken, unsigned};
use crate::postgres::session::Session;

const CLASSES: &str = "
    SELECT class, min(base), min(life), min(generation), min(was_life), min(was_generation),
           bool_and(present), bool_and(same),
           min(own_life), min(own_generation), min(own_was_life), min(own_was_generation),
           bool_and(pending_time IS NOT NULL), min(pending_was_life), min(pending_was_generation),
           bool_and(time = 0), bool_and(coalesce(pending_time, own_time, 0) = 0),
           min(sign((time - coalesce(pending_time, own_time, 0))::float8))::int4
      FROM pg_temp.branchline_fact GROUP BY class";
const SET: &str = "
    INSERT INTO pg_temp.branchline_verdict SELECT * FROM unnest($1::text[], $2::int2[])";

/// Rows of each table by their verdicts: those that lose, and those in conflict.
const COUNTS: &str = "
    SELECT f.place,
           count(*) FILTER (WHERE d.verdict IN (0, 4) AND (f.deleted OR NOT f.same)),
           count(*) FILTER (WHERE d.verdict IN (3, 4, 5))
      FROM pg_temp.branchline_fact AS f JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
     GROUP BY f.place";

/// What was decided, for all tables together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Decided {
    /// Conflicts, which are to be recorded.
    pub(crate) conflicts: u64,
}

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

/// Decides for all staged rows, and counts.
pub(crate) async fn decide_all(
    session: &Session,
    standing: &Standing,
    counts: &mut [TableMerge],
) -> Result<Decided, DatabaseError> {
    let (mut classes, mut verdicts) = (Vec::new(), Vec::new());
    for row in session.rows(CLASSES, &[]).await? {
        verdicts.push(number(decide_class(&row, standing)?));
        classes.push(row.get::<_, String>(0));
    }
    session.rows(SET, &[&classes, &verdicts]).await?;
    let mut decided = Decided::default();
    for row in session.rows(COUNTS, &[]).await? {
        let merged = counts
            .get_mut(usize::try_from(row.get::<_, i32>(0)).unwrap_or(usize::MAX))
            .ok_or_else(|| broken("the place of a table"))?;
        merged.superseded = unsigned(&row, 1);
        merged.conflicts = unsigned(&row, 2);
        merged.unchanged = merged.unchanged.saturating_sub(merged.superseded);
        decided.conflicts += merged.conflicts;
    }
    Ok(decided)
}

/// The statements that take losers out of the stage. What is here as it comes may stay: the merge finds nothing to do.
pub(crate) async fn drop_losers(session: &Session, subjects: &[Subject<'_>]) -> Result<(), DatabaseError> {
    let mut sql = String::new();
    for Subject { place, stage, .. } in subjects {
        sql.push_str(&format!(
            "DELETE FROM {stage} AS s USING pg_temp.branchline_fact AS f
               JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
              WHERE f.place = {place} AND f.number = s.branchline_number
                AND d.verdict IN (0, 1, 4) AND (f.deleted OR NOT f.same);\n"
        ));
    }
    session.run(&sql).await
}

fn decide_class(row: &Row, standing: &Standing) -> Result<Verdict, DatabaseError> {
    let lives = &standing.lives;
    let (theirs, mine) = times(row.get(15), row.get(16), row.get(17));
    let same: bool = row.get(7);
    let Some(incoming) = dot(row, 2, lives)? else {
        // Its source does not capture the table: whatever changes here counts as made here.
        return Ok(if same { Verdict::Same } else { Verdict::TakeAsOurs });
    };
    let incoming = Version { dot: incoming, time: theirs, was: dot(row, 4, lives)? };
    let version = match dot(row, 8, lives)? {
        Some(own) => Some(Version { dot: own, time: mine, was: dot(row, 10, lives)? }),
        None => None,
    };
    let pending = row.get::<_, bool>(12).then(|| dot(row, 13, lives)).transpose()?;
    let pending = pending.map(|was| Pending { time: mine, was });
    let local = LocalRow { present: row.get(6), version, pending, same };
    Ok(decide(&incoming, &local, lives.life(row.get(1))?, &standing.parties))
}

/// Two times that stand to each other, and to 0, as those of a class do.
fn times(theirs_is_zero: bool, mine_is_zero: bool, order: i32) -> (ChangeTime, ChangeTime) {
    let (theirs, mine) = match (theirs_is_zero, mine_is_zero) {
        (true, true) => (0, 0),
        (true, false) => (0, 1),
        (false, true) => (1, 0),
        (false, false) => match order.signum() {
            1 => (2, 1),
            0 => (1, 1),
            _ => (1, 2),
        },
    };
    (ChangeTime::from_micros(theirs), ChangeTime::from_micros(mine))
}

/// The dot in two columns.
pub(crate) fn dot(row: &Row, first: usize, lives: &Lives) -> Result<Option<Dot>, DatabaseError> {
    let Some(id) = row.get::<_, Option<i32>>(first) else { return Ok(None) };
    Ok(Some(Dot::new(lives.life(id)?.clone(), Generation::new(unsigned(row, first + 1)))))
}
