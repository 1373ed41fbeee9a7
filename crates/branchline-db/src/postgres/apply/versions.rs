//! What the ledger remembers of an apply: versions of the rows that went in, the knowledge, the clock.
//!
//! The log's entries of these rows go: the change that they told of lost, or is superseded, and what a trigger of the
//! shop's did to a row of the backup stays here. Rows that went in and count as changes made here get a new entry.

use branchline_core::backup::BackupType;
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::DatabaseError;

use super::stage::QUERIES_AT_ONCE;
use super::standing::{Standing, Watched};
use super::{Load, Target, slots};
use crate::postgres::ledger::{Meta, captured, knowledge, signed};
use crate::postgres::session::Session;

/// A row of a base that came into its table's own base needs no version, nor does one that was here as it came.
const WRITE: &str = "
    INSERT INTO branchline.version AS v (table_id, key, life, generation, time, was_life, was_generation, deleted)
    SELECT f.table_id, f.key, f.life, f.generation, f.time, f.was_life, f.was_generation, f.deleted
      FROM pg_temp.branchline_fact AS f JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
     WHERE d.verdict IN (2, 3) AND f.place = ANY ($1) AND NOT f.leaving
       AND NOT (f.generation = 0 AND f.own_life IS NULL
                AND (f.same OR f.life = (SELECT c.base FROM branchline.captured AS c WHERE c.id = f.table_id)))
    ON CONFLICT (table_id, key) DO UPDATE
       SET life = excluded.life, generation = excluded.generation, time = excluded.time,
           was_life = excluded.was_life, was_generation = excluded.was_generation, deleted = excluded.deleted";

/// What left the scope leaves nothing behind: it is nobody's deletion.
const FORGET_LEFT: &str = "
    DELETE FROM branchline.version AS v USING pg_temp.branchline_fact AS f
      JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
     WHERE f.leaving AND d.verdict = 2 AND f.place = ANY ($1) AND v.table_id = f.table_id AND v.key = f.key";
const CLEAN_LOG: &str = "
    DELETE FROM branchline.change AS c USING pg_temp.branchline_fact AS f
      JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
     WHERE d.verdict IN (2, 3, 5) AND c.table_id = f.table_id AND c.key = f.key";
const AS_OURS: &str = "
    INSERT INTO branchline.change (table_id, at, key)
    SELECT f.table_id, greatest((extract(epoch FROM clock_timestamp()) * 1000000)::int8, $1, f.own_time + 1), f.key
      FROM pg_temp.branchline_fact AS f JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
     WHERE d.verdict = 5";

/// The places of the tables that hold no rows of their own yet: those that are empty, and those that the backup filled.
pub(crate) async fn empty_tables(session: &Session, tables: &[Target]) -> Result<Vec<usize>, DatabaseError> {
    let part = |(place, target): (usize, &Target)| {
        format!("SELECT {place} WHERE NOT EXISTS (SELECT FROM {})", target.relation.only())
    };
    let staged = tables.iter().enumerate().filter(|(_, target)| target.staged().is_some());
    let parts: Vec<String> = staged.map(part).collect();
    let mut empty: Vec<usize> =
        (0..tables.len()).filter(|&place| tables[place].load == Load::Direct).collect();
    for some in parts.chunks(QUERIES_AT_ONCE) {
        for row in session.rows(&some.join(" UNION ALL "), &[]).await? {
            empty.push(usize::try_from(row.get::<_, i32>(0)).unwrap_or_default());
        }
    }
    Ok(empty)
}

/// Says whose base the rows of tables are that were empty.
pub(crate) async fn adopt_bases(
    session: &Session,
    standing: &mut Standing,
    empty: &[usize],
) -> Result<(), DatabaseError> {
    for &place in empty {
        let Some(Some(watched)) = standing.tables.get_mut(place) else { continue };
        let Some(base) = watched.theirs.clone().filter(|base| *base != watched.base) else { continue };
        captured::set_base(session, &[watched.id], standing.lives.known(&base)?).await?;
        watched.base = base;
    }
    Ok(())
}

/// Remembers of tables that their source keeps rows of them back.
pub(crate) async fn mark_parts(session: &Session, standing: &Standing) -> Result<(), DatabaseError> {
    let new = |watched: &&Watched| {
        watched.in_part && standing.captured.iter().any(|known| known.id == watched.id && !known.in_part)
    };
    let ids: Vec<i32> = standing.tables.iter().flatten().filter(new).map(|watched| watched.id).collect();
    if ids.is_empty() { Ok(()) } else { captured::set_in_part(session, &ids).await }
}

/// Writes the versions of what went in.
pub(crate) async fn write(session: &Session, tables: &[Target]) -> Result<(), DatabaseError> {
    session.rows_kept(WRITE, &[&slots(tables)]).await?;
    if tables.iter().any(Target::tells_leaving) {
        session.rows(FORGET_LEFT, &[&slots(tables)]).await?;
    }
    Ok(())
}

/// Takes the log's entries of what went in away; to be done when no trigger of the shop's is left to fire.
pub(crate) async fn clean_log(session: &Session, clock: i64) -> Result<(), DatabaseError> {
    session.run(CLEAN_LOG).await?;
    session.rows_kept(AS_OURS, &[&clock]).await.map(drop)
}

/// Joins what the backup covers into what is held here; answers all that is.
pub(crate) async fn join_knowledge(
    session: &Session,
    standing: &Standing,
    backup_type: BackupType,
) -> Result<Knowledge, DatabaseError> {
    let (lives, context) = (&standing.lives, &standing.context);
    knowledge::join_held(session, lives, &context.covers).await?;
    if backup_type == BackupType::Full {
        // Deletions without a tombstone to pass on.
        knowledge::join_purged(session, lives, &context.purged).await?;
    }
    Meta::advance(session, standing.meta.generation, context.clock).await?;
    let mut held = standing.parties.ours.clone();
    held.join(&context.covers);
    Ok(held)
}

/// The moment after which a change is made that follows from this backup.
pub(crate) fn after(standing: &Standing) -> i64 {
    signed(standing.meta.clock.max(standing.context.clock).next().micros())
}
