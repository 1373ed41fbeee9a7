//! What is held here, and what was purged: of each life the highest generation.

use branchline_core::id::Generation;
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::DatabaseError;
use branchline_core::version::Dot;

use super::{Lives, signed, unsigned};
use crate::postgres::session::Session;

const HELD: &str = "SELECT life, generation FROM branchline.knowledge";
const PURGED: &str = "SELECT life, generation FROM branchline.purged";
const LOWEST_HELD_BACK: &str = "SELECT life, min(generation) FROM branchline.held GROUP BY life";
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

/// All that is held here but held rows: what a position says. Of a life with held rows only what is below the lowest
/// of them is passed on.
pub(crate) async fn passed_on(session: &Session, lives: &Lives) -> Result<Knowledge, DatabaseError> {
    let mut held_back = std::collections::BTreeMap::new();
    for row in session.rows(LOWEST_HELD_BACK, &[]).await? {
        held_back.insert(lives.life(row.get(0))?.clone(), unsigned(&row, 1));
    }
    let all = held(session, lives).await?;
    let below = |(life, generation): (branchline_core::version::Life, Generation)| match held_back.get(&life)
    {
        None => Some((life, generation)),
        Some(lowest) => Some((life, generation.min(Generation::new(lowest.checked_sub(1)?)))),
    };
    Ok(all.into_iter().filter_map(below).collect())
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

async fn read(session: &Session, sql: &str, lives: &Lives) -> Result<Knowledge, DatabaseError> {
    let mut knowledge = Knowledge::new();
    for row in session.rows(sql, &[]).await? {
        knowledge.add(Dot::new(lives.life(row.get(0))?.clone(), Generation::new(unsigned(&row, 1))));
    }
    Ok(knowledge)
}

async fn join(
    session: &Session,
    sql: &str,
    lives: &Lives,
    knowledge: &Knowledge,
) -> Result<(), DatabaseError> {
    if knowledge.is_empty() {
        return Ok(());
    }
    let (ids, generations) = columns(lives, knowledge)?;
    session.rows(sql, &[&ids, &generations]).await.map(drop)
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
