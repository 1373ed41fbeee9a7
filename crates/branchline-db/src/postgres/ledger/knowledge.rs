//! What is held here, and what was purged: of each life the highest generation.

use branchline_core::id::Generation;
use branchline_core::knowledge::Knowledge;
use branchline_core::pack::seen_in;
use branchline_core::ports::DatabaseError;
use branchline_core::version::Dot;

use super::{Lives, signed, unsigned};
use crate::postgres::session::Session;

const HELD: &str = "SELECT life, generation FROM branchline.knowledge";
const PURGED: &str = "SELECT life, generation FROM branchline.purged";
const HELD_BACK: &str = "
    SELECT DISTINCT d.life, d.generation
      FROM branchline.held AS h
     CROSS JOIN LATERAL (
       SELECT h.life, h.generation UNION ALL SELECT h.was_life, h.was_generation
       UNION ALL SELECT * FROM unnest(h.stands_for_lives, h.stands_for_generations)) AS d (life, generation)
     WHERE d.life IS NOT NULL";

/// Of each life the highest generation that any row has, by one look into the index for each; bases count as well.
const SEEN: &str = "
    SELECT l.id, v.generation FROM branchline.life AS l
     CROSS JOIN LATERAL (SELECT generation FROM branchline.version WHERE life = l.id
                          ORDER BY generation DESC LIMIT 1) AS v
    UNION ALL SELECT DISTINCT base, 0::int8 FROM branchline.captured";
const JOIN_HELD: &str = "
    INSERT INTO branchline.knowledge AS k (life, generation)
    SELECT life, generation FROM unnest($1::int4[], $2::int8[]) AS new (life, generation)
    ON CONFLICT (life) DO UPDATE SET generation = excluded.generation WHERE k.generation < excluded.generation";
const JOIN_PURGED: &str = "
    INSERT INTO branchline.purged AS k (life, generation)
    SELECT life, generation FROM unnest($1::int4[], $2::int8[]) AS new (life, generation)
    ON CONFLICT (life) DO UPDATE SET generation = excluded.generation WHERE k.generation < excluded.generation";

/// All that is held here, held rows too: what a receipt says.
pub(crate) async fn held(session: &Session, lives: &Lives) -> Result<Knowledge, DatabaseError> {
    read(session, HELD, lives).await
}

/// The join of the dots of purged tombstones.
pub(crate) async fn purged(session: &Session, lives: &Lives) -> Result<Knowledge, DatabaseError> {
    read(session, PURGED, lives).await
}

/// What a position says that is held here, held rows excepted; and what was [seen](seen_in) there.
pub(crate) async fn at_position(
    session: &Session,
    lives: &Lives,
) -> Result<(Knowledge, Knowledge), DatabaseError> {
    let mut held_back = Vec::new();
    for row in session.rows_kept(HELD_BACK, &[]).await? {
        held_back.push(Dot::new(lives.life(row.get(0))?.clone(), Generation::new(unsigned(&row, 1))));
    }
    let held = held(session, lives).await?;
    let seen = seen_in(&held, &read(session, SEEN, lives).await?, &held_back);
    Ok((held.without(&held_back), seen))
}

/// Takes in what is held now. The lives must have numbers.
pub(crate) async fn join_held(
    session: &Session,
    lives: &Lives,
    knowledge: &Knowledge,
) -> Result<(), DatabaseError> {
    join(session, JOIN_HELD, lives, knowledge).await
}

/// Takes in what was purged. The lives must have numbers.
pub(crate) async fn join_purged(
    session: &Session,
    lives: &Lives,
    knowledge: &Knowledge,
) -> Result<(), DatabaseError> {
    join(session, JOIN_PURGED, lives, knowledge).await
}

async fn read(session: &Session, sql: &'static str, lives: &Lives) -> Result<Knowledge, DatabaseError> {
    let mut knowledge = Knowledge::new();
    for row in session.rows_kept(sql, &[]).await? {
        knowledge.add(Dot::new(lives.life(row.get(0))?.clone(), Generation::new(unsigned(&row, 1))));
    }
    Ok(knowledge)
}

async fn join(
    session: &Session,
    sql: &'static str,
    lives: &Lives,
    knowledge: &Knowledge,
) -> Result<(), DatabaseError> {
    if knowledge.is_empty() {
        return Ok(());
    }
    let (ids, generations) = columns(lives, knowledge)?;
    session.rows_kept(sql, &[&ids, &generations]).await.map(drop)
}

/// What [`columns`] made of it.
pub(crate) fn of_columns(
    lives: &Lives,
    ids: Vec<i32>,
    generations: Vec<i64>,
) -> Result<Knowledge, DatabaseError> {
    let mut knowledge = Knowledge::new();
    for (id, generation) in ids.into_iter().zip(generations) {
        knowledge.add(Dot::new(lives.life(id)?.clone(), Generation::new(generation.unsigned_abs())));
    }
    Ok(knowledge)
}

/// Numbers of lives, and the generation of each.
pub(crate) fn columns(lives: &Lives, knowledge: &Knowledge) -> Result<(Vec<i32>, Vec<i64>), DatabaseError> {
    let mut columns = (Vec::new(), Vec::new());
    for (life, generation) in knowledge.iter() {
        columns.0.push(lives.known(life)?);
        columns.1.push(signed(generation.value()));
    }
    Ok(columns)
}
