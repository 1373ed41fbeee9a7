//! Taking a position: stamping all changes that one snapshot shows.
//!
//! Two transactions see the same. The first begins the snapshot from which the rows will be read; it goes on for as long as
//! they are read. The second takes that very snapshot over, gives each logged key a version, takes the keys out of
//! the log, and commits at once. Both have the ledger lock meanwhile, so that nobody else stamps; the shop goes on.
//!
//! Tables whose rows are looked at are held against being emptied or rebuilt, because PostgreSQL would show such a table
//! as empty to a snapshot that is older; where that has happened, the position is taken anew.

use std::sync::Arc;

use branchline_core::id::Generation;
use branchline_core::ports::DatabaseError;
use branchline_core::version::{ChangeTime, Dot, Life};

use tokio_postgres::error::SqlState;

use super::key::Key;
use super::{KEY_BYTES_MAX, attach};
use crate::postgres::ident::list;
use crate::postgres::ledger::captured::{self, Captured};
use crate::postgres::ledger::{self, Lives, Meta, knowledge, signed, unsigned};
use crate::postgres::schema::Catalogue;
use crate::postgres::session::Session;
use crate::postgres::sessions::Sessions;
use crate::postgres::snapshot::{begin_packing, hold_definitions};
use branchline_core::pack::Position;

/// How often a position is begun before the database counts as busy.
const ATTEMPTS_MAX: u32 = 5;

/// Up to so many tables all of them are held from before the snapshot on, so that whatever is read of it later is
/// there; of more only those that the log names.
const TABLES_HELD_MAX: usize = 500;

const LOGGED: &str = "
    SELECT table_id, count(*) FROM branchline.change GROUP BY table_id
    UNION ALL SELECT NULL, count(*) FROM branchline.missed";

/// `$1` is our life's number, `$2` the new generation. The same is told from the log by [`super::changes`].
const STAMP: &str = "
    INSERT INTO branchline.version AS v (table_id, key, life, generation, time, was_life, was_generation, deleted)
    SELECT c.table_id, c.key, $1, $2, max(c.at),
           CASE WHEN bool_and(c.was_life IS NOT NULL) THEN max(c.was_life) END,
           CASE WHEN bool_and(c.was_life IS NOT NULL) THEN max(c.was_generation) END,
           false
      FROM branchline.change AS c WHERE c.table_id = ANY ($3) AND octet_length(c.key) <= $4
     GROUP BY c.table_id, c.key
    ON CONFLICT (table_id, key) DO UPDATE
       SET life = excluded.life, generation = excluded.generation, time = greatest(excluded.time, v.time + 1),
           was_life = excluded.was_life, was_generation = excluded.was_generation, deleted = false";
const LATEST: &str =
    "SELECT coalesce(max(time), 0) FROM branchline.version WHERE life = $1 AND generation = $2";

/// What no version can be given is compared: a trigger failed, or a key is too long.
const COMPARE: &str = "
    UPDATE branchline.captured SET compare_due = true
     WHERE NOT compare_due
       AND id IN (SELECT table_id FROM branchline.missed
                  UNION SELECT table_id FROM branchline.change WHERE octet_length(key) > $1)";

/// What was stamped, and what is left of tables that are captured no more.
const EMPTY: &str = "
    DELETE FROM branchline.change
     WHERE table_id = ANY ($1) OR table_id NOT IN (SELECT id FROM branchline.captured)";
const EMPTY_MISSED: &str = "DELETE FROM branchline.missed";

/// A position with the snapshot that it was taken at.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) sessions: Arc<Sessions>,
    /// The session with the snapshot.
    pub(crate) reader: Session,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) lives: Lives,
    pub(crate) captured: Vec<Captured>,
    pub(crate) position: Position,
    /// The tables that the log names in the snapshot.
    pub(crate) logged: Vec<i32>,
}

/// Takes a position.
pub(crate) async fn take(sessions: &Arc<Sessions>) -> Result<Taken, DatabaseError> {
    let stamper = sessions.take().await?;
    ledger::ensure(&stamper).await?;
    stamper.yield_to_others().await?;
    bring_in_step(sessions, &stamper).await?;
    ledger::hold_for_session(&stamper).await?;
    let taken = take_held(sessions, &stamper).await;
    // A session that failed has an open transaction: it ends, and its lock with it.
    match taken {
        Ok(taken) => {
            ledger::let_go(&stamper).await?;
            sessions.keep(stamper).await;
            Ok(taken)
        }
        Err(error) => {
            stamper.close().await;
            Err(error)
        }
    }
}

/// Looks whether the tables are still those that were attached, unless the catalogue is as it was.
async fn bring_in_step(sessions: &Sessions, session: &Session) -> Result<(), DatabaseError> {
    let own = Meta::read(session).await?.own().ok_or(DatabaseError::NotAttached)?;
    let (fingerprint, catalogue) = sessions.catalogue(session).await?;
    if sessions.is_in_step(&fingerprint) {
        return Ok(());
    }
    let report = attach::keep_in_step(session, &catalogue, own).await?;
    let changed = !(report.added.is_empty() && report.mended.is_empty() && report.removed.is_empty());
    if changed {
        tracing::info!(
            added = report.added.len(),
            mended = report.mended.len(),
            removed = report.removed.len(),
            "capture was brought in step with the tables"
        );
    }
    sessions.set_in_step(fingerprint);
    Ok(())
}

async fn take_held(sessions: &Arc<Sessions>, stamper: &Session) -> Result<Taken, DatabaseError> {
    let reader = sessions.take().await?;
    reader.yield_to_others().await?;
    for _ in 0..ATTEMPTS_MAX {
        begin_packing(&reader).await?;
        if !hold_before(sessions, stamper, &reader).await? {
            reader.run("ROLLBACK").await?;
            continue;
        }
        let (_, catalogue) = sessions.catalogue(&reader).await?;
        let own = Meta::read(&reader).await?.own().ok_or(DatabaseError::NotAttached)?;
        let lives = Lives::read(&reader).await?;
        let captured = captured::read(&reader, &lives).await?;
        let (logged, missed) = logged(&reader).await?;
        let named = |known: &&Captured| logged.contains(&known.id) && catalogue.syncable(&known.name).is_ok();
        let tables: Vec<&Captured> = captured.iter().filter(named).collect();
        let names = tables.iter().map(|known| &known.name);
        if !hold_definitions(&reader, &catalogue, names).await? {
            reader.run("ROLLBACK").await?;
            continue;
        }
        let meta = Meta::read(&reader).await?;
        let held = knowledge::held(&reader, &lives).await?;
        let mut position = Position {
            generation: meta.generation,
            knowledge: knowledge::passed_on(&reader, &lives).await?,
            seen: knowledge::seen(&reader, &lives, &held).await?,
            purged: knowledge::purged(&reader, &lives).await?,
            clock: meta.clock,
            own,
            day: Vec::new(),
        };
        if missed || !logged.is_empty() {
            let stamp = Stamp { stamper, lives: &lives, catalogue: &catalogue, tables: &tables };
            let snapshot: String = reader.row("SELECT pg_export_snapshot()", &[]).await?.get(0);
            stamp.all(&snapshot, &mut position, !logged.is_empty()).await?;
        }
        return Ok(Taken {
            sessions: Arc::clone(sessions),
            reader,
            catalogue,
            lives,
            captured,
            position,
            logged,
        });
    }
    let message = "tables were emptied or rebuilt while a position was taken".to_owned();
    Err(DatabaseError::Busy { message })
}

/// Locks tables before the snapshot begins, so that none is emptied or rebuilt between; no statement but this one
/// leaves the snapshot to the next. Where our role has rights on columns only, or a table just went, the look at the
/// tables afterwards is left to find out. Answers whether the transaction can go on.
async fn hold_before(
    sessions: &Sessions,
    stamper: &Session,
    reader: &Session,
) -> Result<bool, DatabaseError> {
    let (_, catalogue) = sessions.catalogue(stamper).await?;
    let lives = Lives::read(stamper).await?;
    let mut captured = captured::read(stamper, &lives).await?;
    if captured.len() > TABLES_HELD_MAX {
        let (logged, _) = logged(stamper).await?;
        captured.retain(|known| logged.contains(&known.id));
    }
    let relations = captured.iter().filter_map(|known| catalogue.syncable(&known.name).ok());
    let only = list(relations.map(|(_, relation)| relation.only()));
    if only.is_empty() {
        return Ok(true);
    }
    let Err(error) = reader.run_raw(&format!("LOCK TABLE {only} IN ACCESS SHARE MODE")).await else {
        return Ok(true);
    };
    match error.code() {
        Some(state) if *state == SqlState::UNDEFINED_TABLE => Ok(false),
        Some(state) if *state == SqlState::INSUFFICIENT_PRIVILEGE => {
            reader.run("ROLLBACK").await?;
            begin_packing(reader).await?;
            Ok(true)
        }
        _ => Err(reader.fault(&error)),
    }
}

/// The tables that the log names, and whether any change could not be noted.
async fn logged(session: &Session) -> Result<(Vec<i32>, bool), DatabaseError> {
    let (mut logged, mut missed) = (Vec::new(), false);
    for row in session.rows_kept(LOGGED, &[]).await? {
        match row.get::<_, Option<i32>>(0) {
            Some(table) => logged.push(table),
            None => missed = row.get::<_, i64>(1) > 0,
        }
    }
    Ok((logged, missed))
}

/// The transaction that stamps.
struct Stamp<'a> {
    stamper: &'a Session,
    lives: &'a Lives,
    catalogue: &'a Catalogue,
    tables: &'a [&'a Captured],
}

impl Stamp<'_> {
    async fn all(&self, snapshot: &str, position: &mut Position, any: bool) -> Result<(), DatabaseError> {
        let session = self.stamper;
        // The name is PostgreSQL's own, of digits and dashes.
        let adopt = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET TRANSACTION SNAPSHOT {}",
            crate::postgres::ident::literal(snapshot)
        );
        session.run(&adopt).await?;
        session.commit_durably().await?;
        session.rows_kept(COMPARE, &[&KEY_BYTES_MAX]).await?;
        if any {
            self.versions(position).await?;
        }
        session.run(EMPTY_MISSED).await?;
        session.run("COMMIT").await
    }

    async fn versions(&self, position: &mut Position) -> Result<(), DatabaseError> {
        let (session, own) = (self.stamper, self.lives.known(&position.own)?);
        position.generation = Generation::new(position.generation.value() + 1);
        let generation = signed(position.generation.value());
        let ids: Vec<i32> = self.tables.iter().map(|known| known.id).collect();
        session.rows_kept(STAMP, &[&own, &generation, &ids, &KEY_BYTES_MAX]).await?;
        session.run(&self.deletions(own, generation)?).await?;
        let latest = unsigned(&session.row_kept(LATEST, &[&own, &generation]).await?, 0);
        position.clock = position.clock.max(ChangeTime::from_micros(latest));
        position.knowledge.add(Dot::new(position.own.clone(), position.generation));
        position.seen.add(Dot::new(position.own.clone(), position.generation));
        session.rows_kept(EMPTY, &[&ids]).await?;
        Meta::advance(session, position.generation, position.clock).await?;
        let own_alone = own_knowledge(&position.own, position.generation);
        knowledge::join_held(session, self.lives, &own_alone).await
    }

    /// The statements that find out which of the stamped rows are gone. The row is looked up by itself, so that the
    /// table is never read as a whole.
    fn deletions(&self, own: i32, generation: i64) -> Result<String, DatabaseError> {
        let mut sql = String::new();
        for known in self.tables {
            let (table, relation) = self.catalogue.syncable(&known.name)?;
            let Ok(key) = Key::of(table, relation) else { continue };
            sql.push_str(&format!(
                "UPDATE branchline.version AS v SET deleted = true
                  WHERE v.life = {own} AND v.generation = {generation} AND v.table_id = {}
                    AND (SELECT true FROM {} AS t WHERE {} LIMIT 1) IS NULL;\n",
                known.id,
                relation.only(),
                key.is("t", "v.key"),
            ));
        }
        Ok(sql)
    }
}

fn own_knowledge(own: &Life, generation: Generation) -> branchline_core::knowledge::Knowledge {
    [(own.clone(), generation)].into_iter().collect()
}
