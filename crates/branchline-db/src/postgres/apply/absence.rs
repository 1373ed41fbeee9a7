//! What a full backup does not hold: deleted at its source, or never there.
//!
//! A row here whose version the source knew and has no more was deleted there: it goes, without a tombstone, because
//! `purged` says so to our own peers. One that the source never had counts as a change made here, and travels to it.
//! Rows are locked before they go; one that the till changed meanwhile stays. A mirror removes all of them: what its
//! source never had counts as deleted here, and that travels too.

use branchline_core::merge::{Absence, LocalRow, Pending, decide_absent};
use branchline_core::ports::DatabaseError;
use branchline_core::version::{ChangeTime, Version};
use tokio_postgres::Row;

use super::deletions::gone_table;
use super::facts::Subject;
use super::standing::Standing;
use super::verdicts::dot;
use crate::postgres::ident::list;
use crate::postgres::session::Session;

const CLASSES: &str = "
    SELECT class, min(base), bool_and(present), min(own_life), min(own_generation), min(own_was_life),
           min(own_was_generation), bool_and(own_time = 0), bool_and(pending_time IS NOT NULL),
           min(pending_was_life), min(pending_was_generation)
      FROM pg_temp.branchline_absent GROUP BY class";
const SET: &str = "
    INSERT INTO pg_temp.branchline_absence SELECT * FROM unnest($1::text[], $2::int2[])";

/// What has a change by now that was not there when facts were gathered stays.
const CHANGED_MEANWHILE: &str = "
    DELETE FROM pg_temp.branchline_absent AS a USING branchline.change AS c
     WHERE c.table_id = a.table_id AND c.key = a.key AND (a.pending_time IS NULL OR c.at > a.pending_time)";

const REMOVED: i16 = 0;
const COUNTS_AS_NEW: i16 = 1;
const STAYS: i16 = 2;
const REMOVED_HERE: i16 = 3;

/// Versions of what was removed, and the log's entries of it, go as well.
const FORGET: &str = "
    WITH removed AS MATERIALIZED (
           SELECT a.table_id, a.key FROM pg_temp.branchline_absent AS a
             JOIN pg_temp.branchline_absence AS d ON d.class = a.class WHERE d.verdict = 0),
         changes AS (DELETE FROM branchline.change AS c USING removed AS r WHERE c.table_id = r.table_id AND c.key = r.key)
    DELETE FROM branchline.version AS v USING removed AS r WHERE v.table_id = r.table_id AND v.key = r.key";
const STAMP_ANEW: &str = "
    INSERT INTO branchline.change (table_id, at, key)
    SELECT a.table_id, greatest((extract(epoch FROM clock_timestamp()) * 1000000)::int8, $1, a.own_time + 1), a.key
      FROM pg_temp.branchline_absent AS a JOIN pg_temp.branchline_absence AS d ON d.class = a.class
     WHERE d.verdict IN (1, 3)";

/// Decides what becomes of absent rows, and lists those that go among the deletions of their tables.
pub(crate) async fn list_removals(
    session: &Session,
    standing: &Standing,
    subjects: &[Subject<'_>],
    mirror: bool,
) -> Result<(), DatabaseError> {
    let whole: Vec<_> = subjects.iter().filter(|subject| subject.watched.is_whole).collect();
    if whole.is_empty() {
        return Ok(());
    }
    let (mut classes, mut verdicts) = (Vec::new(), Vec::new());
    for row in session.rows_kept(CLASSES, &[]).await? {
        let is_there: bool = row.get(2);
        verdicts.push(match decide_class(&row, standing)? {
            Absence::Remove => REMOVED,
            Absence::CountsAsNew | Absence::Stays if mirror && is_there => REMOVED_HERE,
            Absence::CountsAsNew => COUNTS_AS_NEW,
            Absence::Stays => STAYS,
        });
        classes.push(row.get::<_, String>(0));
    }
    if verdicts.iter().all(|verdict| *verdict == STAYS) {
        return session.run("TRUNCATE pg_temp.branchline_absent").await;
    }
    session.rows_kept(SET, &[&classes, &verdicts]).await?;
    let removed = "pg_temp.branchline_absent AS a JOIN pg_temp.branchline_absence AS d ON d.class = a.class AND d.verdict IN (0, 3)";
    let (mut lock, mut gone) = (String::new(), String::new());
    for subject in whole {
        let (slot, only, key) = (subject.target.slot, subject.target.relation.only(), &subject.watched.key);
        let columns = &subject.target.relation.columns;
        let names = list(subject.target.table.key.iter().map(|&place| &columns[place].ident));
        lock.push_str(&format!(
            "SELECT count(*) FROM (
               SELECT FROM {only} AS t JOIN (SELECT a.* FROM {removed} WHERE a.place = {slot} AND a.present) AS a ON {}
                ORDER BY {} FOR NO KEY UPDATE OF t) AS locked;\n",
            key.is("t", "a.key"),
            key.order("t"),
        ));
        gone.push_str(&format!(
            "INSERT INTO {} ({names}) SELECT {} FROM {removed} WHERE a.place = {slot} AND a.present;\n",
            gone_table(slot),
            list(key.values("a.key")),
        ));
    }
    session.run(&lock).await?;
    session.run(CHANGED_MEANWHILE).await?;
    session.run(&gone).await
}

/// The statements by which a removal that cannot be carried out becomes a row that counts as new: those marked in the
/// list of a table.
pub(crate) fn keep(subject: &Subject<'_>, gone: &str) -> String {
    format!(
        "UPDATE pg_temp.branchline_absent AS a SET class = 'kept' FROM {gone} AS g
          WHERE a.place = {} AND g.branchline_code IS NOT NULL AND g.branchline_number IS NULL AND a.key = {};
         INSERT INTO pg_temp.branchline_absence SELECT 'kept', 1
          WHERE NOT EXISTS (SELECT FROM pg_temp.branchline_absence WHERE class = 'kept');\n",
        subject.target.slot,
        subject.watched.key.text("g"),
    )
}

/// Writes the ledger for what was decided.
pub(crate) async fn write(session: &Session, clock: i64) -> Result<(), DatabaseError> {
    session.run(FORGET).await?;
    session.rows_kept(STAMP_ANEW, &[&clock]).await.map(drop)
}

fn decide_class(row: &Row, standing: &Standing) -> Result<Absence, DatabaseError> {
    let lives = &standing.lives;
    let time = ChangeTime::from_micros(u64::from(!row.get::<_, Option<bool>>(7).unwrap_or(true)));
    let version = match dot(row, 3, lives)? {
        Some(own) => Some(Version { dot: own, time, was: dot(row, 5, lives)? }),
        None => None,
    };
    let pending = row.get::<_, bool>(8).then(|| dot(row, 9, lives)).transpose()?;
    let pending = pending.map(|was| Pending { time: ChangeTime::from_micros(1), was });
    let local = LocalRow { present: row.get(2), version, pending, ..LocalRow::default() };
    Ok(decide_absent(&local, lives.life(row.get(1))?, &standing.parties))
}
