//! Rows that cannot go in: found, taken out of the stage, and kept in the ledger with their reasons.
//!
//! At first only that is looked for which would not end in an error: rows that carry a column which is missing here,
//! values that their columns do not hold, and deletions that would take rows along which their sender never knew. Where the
//! database then refuses something, the merge begins anew and looks for what foreign and unique keys forbid, until
//! nothing is found any more: what hangs on a held row is held, and so is the deletion of a row that has to stay. What it
//! refuses even so is found out row by row ([`super::refusals`]).
//!
//! Of a removal that a full backup implies there is no row to hold: where it cannot go, the row here counts as new.

use std::collections::BTreeSet;

use branchline_core::ports::{DatabaseError, HeldReport, TableMerge};
use branchline_core::schema::TableName;

use super::absence;
use super::deletions::gone_table;
use super::facts::Subject;
use super::hold_checks::{self, Check};
use super::pass::{Care, Pass};
use super::standing::Standing;
use super::unique_swap::Leaving;
use crate::postgres::session::Session;

mod absent;
mod beside;
pub(crate) mod record;

pub(crate) use absent::{turn_into_deletions, turn_unfit_into_deletions};
pub(crate) use beside::{Meeting, decide_beside};

/// Held rows that a report names.
pub(crate) const NAMED_MAX: usize = 100;

/// Rounds in which something more was found to hold; a chain of rows that hang on each other is no longer than that.
const ROUNDS_MAX: usize = 10_000;

/// The temporary table with the rows of a slot that are held.
pub(crate) fn held_table(slot: usize) -> String {
    format!("pg_temp.branchline_held_{slot}")
}

/// Finds and holds what cannot go in.
pub(crate) async fn hold(
    pass: &Pass<'_>,
    standing: &Standing,
    subjects: &[Subject<'_>],
    leaving: &[Leaving],
    counts: &mut [TableMerge],
) -> Result<Vec<HeldReport>, DatabaseError> {
    let session = pass.session;
    let checks = hold_checks::all(pass, standing, subjects, leaving)?;
    let mut moved: BTreeSet<usize> = BTreeSet::new();
    for subject in subjects {
        pass.refusals.mark(session, subject).await?;
    }
    for _ in 0..ROUNDS_MAX {
        let sql: String = checks.iter().map(Check::mark).collect();
        session.run(&sql).await?;
        let marked = marked(session, subjects, leaving).await?;
        if marked.is_empty() {
            break;
        }
        for place in marked {
            if let Some(subject) = subjects.iter().find(|subject| subject.place == place) {
                take_out(session, subject, &leaving[place], moved.insert(place)).await?;
            }
        }
        if checks.is_empty() {
            break;
        }
    }
    let mut reports = Vec::new();
    for subject in subjects.iter().filter(|subject| moved.contains(&subject.place)) {
        counts[subject.place] =
            record::write(pass, standing, subject, counts[subject.place], &mut reports).await?;
    }
    reports.truncate(NAMED_MAX);
    Ok(reports)
}

/// The places of tables in whose stage or list of deletions something is marked.
async fn marked(
    session: &Session,
    subjects: &[Subject<'_>],
    leaving: &[Leaving],
) -> Result<BTreeSet<usize>, DatabaseError> {
    let mut parts = Vec::new();
    for Subject { place, stage, target, .. } in subjects {
        parts.push(format!(
            "SELECT {place} WHERE EXISTS (SELECT FROM {stage} WHERE branchline_code IS NOT NULL)"
        ));
        if let Leaving::Listed(_) = leaving[*place] {
            parts.push(format!(
                "SELECT {place} WHERE EXISTS (SELECT FROM {} WHERE branchline_code IS NOT NULL)",
                gone_table(target.slot)
            ));
        }
    }
    let mut places = BTreeSet::new();
    for some in parts.chunks(super::stage::QUERIES_AT_ONCE) {
        for row in session.rows(&some.join(" UNION ALL "), &[]).await? {
            places.insert(usize::try_from(row.get::<_, i32>(0)).unwrap_or_default());
        }
    }
    Ok(places)
}

/// Moves the marked rows of a table out of the way. `first` says whether none was moved before.
async fn take_out(
    session: &Session,
    subject: &Subject<'_>,
    leaving: &Leaving,
    first: bool,
) -> Result<(), DatabaseError> {
    let (slot, stage) = (subject.target.slot, subject.stage);
    let held = held_table(slot);
    let mut sql = String::new();
    if first {
        sql.push_str(&format!(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT * FROM {stage} WHERE false;\n",
            held.trim_start_matches("pg_temp.")
        ));
    }
    let mut from = vec![stage.to_owned()];
    if let Leaving::Listed(gone) = leaving {
        from.push(gone.clone());
        sql.push_str(&absence::keep(subject, gone));
    }
    for from in from {
        sql.push_str(&format!(
            "WITH held AS (DELETE FROM {from} WHERE branchline_code IS NOT NULL RETURNING *)
             INSERT INTO {held} SELECT * FROM held WHERE branchline_number IS NOT NULL;\n"
        ));
    }
    // What is held was not taken, whatever had been decided.
    sql.push_str(&format!(
        "UPDATE pg_temp.branchline_fact AS f SET class = 'held' FROM {held} AS h
          WHERE f.place = {slot} AND f.number = h.branchline_number;\n"
    ));
    session.run(&sql).await
}

/// Whether a pass looks for what the database would refuse.
pub(crate) fn looks(pass: &Pass<'_>) -> bool {
    pass.care >= Care::Looking
}

/// A table's name and a key, as a report names a row.
pub(crate) fn report(
    table: &TableName,
    key: String,
    code: branchline_core::code::Code,
    reason: String,
) -> HeldReport {
    HeldReport { table: table.clone(), key, code, reason }
}
