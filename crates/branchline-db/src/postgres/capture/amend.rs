//! Changes to the ledger's own records: tombstones that everybody has, a new life, marks for a compare.

use branchline_core::id::{Epoch, Generation};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{Amendment, DatabaseError};
use branchline_core::version::{ChangeTime, Life};

use crate::postgres::ledger::{self, Lives, Meta, captured, knowledge, scope, signed};
use crate::postgres::session::Session;

/// The lives and generations that everybody knows, and what of their tombstones was removed. One whose key has a change
/// in the log stays: the row may be there again.
const PURGE: &str = "
    WITH gone AS (
      DELETE FROM branchline.version AS v USING unnest($1::int4[], $2::int8[]) AS known (life, generation)
       WHERE v.deleted AND v.life = known.life AND v.generation <= known.generation
         AND NOT EXISTS (SELECT FROM branchline.change AS c WHERE c.table_id = v.table_id AND c.key = v.key)
      RETURNING v.life, v.generation),
    joined AS (
      INSERT INTO branchline.purged AS p (life, generation) SELECT life, max(generation) FROM gone GROUP BY life
      ON CONFLICT (life) DO UPDATE SET generation = greatest(p.generation, excluded.generation))
    SELECT count(*) FROM gone";

/// Changes that no pack of this life stamped, and that a pack of the life before may have carried.
const PACKED_BEFORE: &str = "
    UPDATE branchline.change SET was_life = $1, was_generation = $2 WHERE was_life IS NULL AND at <= $3";

/// Carries an amendment out, in one transaction; answers how many records it changed.
pub(crate) async fn amend(session: &Session, amendment: &Amendment) -> Result<u64, DatabaseError> {
    session.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    session.commit_durably().await?;
    ledger::hold(session).await?;
    let own = Meta::read(session).await?.own().ok_or(DatabaseError::NotAttached)?;
    let changed = match amendment {
        Amendment::Purge { known_to_all } => purge(session, known_to_all).await?,
        Amendment::BeginLife { epoch, packed, carried_until, clock } => {
            begin_life(session, &own, *epoch, (*packed, *carried_until), *clock).await?
        }
        Amendment::ConfirmScope { peer } => scope::confirm(session, peer).await?,
        Amendment::SetCompareDue { tables, due } => captured::set_due(session, tables, *due).await?,
    };
    session.run("COMMIT").await?;
    Ok(changed)
}

async fn purge(session: &Session, known_to_all: &Knowledge) -> Result<u64, DatabaseError> {
    let lives = Lives::read(session).await?;
    let known = known_to_all.only(|life| lives.id(life).is_some());
    let (ids, generations) = knowledge::columns(&lives, &known)?;
    Ok(session.row_kept(PURGE, &[&ids, &generations]).await?.get::<_, i64>(0).unsigned_abs())
}

/// The rows of the base stay those of the life before, as the captured tables say.
async fn begin_life(
    session: &Session,
    before: &Life,
    epoch: Epoch,
    (packed, carried_until): (Generation, ChangeTime),
    clock: ChangeTime,
) -> Result<u64, DatabaseError> {
    let generation = Meta::read(session).await?.generation;
    let own = Life::new(before.server.clone(), epoch);
    let mut lives = Lives::read(session).await?;
    lives.add(session, [before, &own]).await?;
    let mut changed = 0;
    if packed > generation {
        // The first pack after the copy carried all that was in the log then.
        let carried = (lives.known(before)?, signed(generation.next().value()));
        let until = i64::try_from(carried_until.micros()).unwrap_or(i64::MAX);
        changed = session
            .execute_raw(PACKED_BEFORE, &[&carried.0, &carried.1, &until])
            .await
            .map_err(|error| session.fault(&error))?;
    }
    // Since the copy was made peers may have got and lost rows that it knows nothing of.
    scope::doubt(session).await?;
    Meta::begin(session, &own, clock).await?;
    let held = [(own, Generation::new(0))].into_iter().collect();
    knowledge::join_held(session, &lives, &held).await?;
    Ok(changed)
}
