//! Lines of tables that do not fit, on their way into the ledger.
//!
//! Where a row of the same key is held already, the core decides which of the two stays, as for any row that comes in
//! beside a held one; the one that goes is passed on by nobody until the other went in.

use branchline_core::backup::{BackupType, TableSummary};
use branchline_core::merge::{Verdict, decide_beside_held};
use branchline_core::ports::{ApplyRequest, DatabaseError, HeldReport, TableMerge};
use tokio_postgres::Row;

use super::{knowledge, report};
use crate::misfit::Why;
use crate::postgres::apply::holds::record::Columns;
use crate::postgres::apply::holds::{Meeting, NAMED_MAX, turn_unfit_into_deletions};
use crate::postgres::apply::standing::Standing;
use crate::postgres::capture::version_of;
use crate::postgres::session::Session;

/// From numbers of staged lives to those of the ledger.
const NUMBER: &str = "
    UPDATE pg_temp.branchline_unfit SET life = ($1::int4[])[life], was_life = ($1::int4[])[was_life]";
const DROP_KNOWN: &str = "
    WITH known AS (SELECT * FROM unnest($1::int4[], $2::int8[]) AS k (life, generation)),
         dropped AS (
      DELETE FROM pg_temp.branchline_unfit AS u USING known AS k
       WHERE k.life = u.life AND k.generation >= u.generation OR k.life = u.was_life AND k.generation >= u.was_generation
      RETURNING u.place, u.number)
    SELECT place, count(DISTINCT number) FROM dropped GROUP BY place";
const BESIDE: &str = "
    SELECT u.place, u.number, u.key, h.life, h.generation, h.time, h.was_life, h.was_generation,
           u.life, u.generation, u.time, u.was_life, u.was_generation, h.line, h.line = u.line
      FROM pg_temp.branchline_unfit AS u
      JOIN branchline.held AS h ON h.table_name = ($1::text[])[u.place + 1] AND h.unfit AND h.key = u.key";
const DROP: &str = "DELETE FROM pg_temp.branchline_unfit WHERE place = $1 AND number = $2";
const STAND_FOR: &str = "
    UPDATE branchline.held AS h
       SET stands_for_lives = h.stands_for_lives || d.lives, stands_for_generations = h.stands_for_generations || d.generations
      FROM (SELECT array_agg(d.life) AS lives, array_agg(d.generation) AS generations
              FROM pg_temp.branchline_unfit AS u
             CROSS JOIN LATERAL (VALUES (u.life, u.generation), (u.was_life, u.was_generation)) AS d (life, generation)
             WHERE u.place = $1 AND u.number = $2 AND d.life IS NOT NULL) AS d
     WHERE h.table_name = $3 AND h.unfit AND md5(h.key) = md5($4) AND h.key = $4";

/// Where a row of the same key is held still, it is one that gives way: what it stood for is stood for by this one.
const KEEP: &str = "
    INSERT INTO branchline.held AS h
      (table_name, key, unfit, source, backup, columns, types, key_columns, known_lives, known_generations,
       stands_for_lives, stands_for_generations, life, generation, time, was_life, was_generation, line, code, reason)
    SELECT $1, u.key, true, $2, $3::text::uuid, $4, $5, $6, $7, $8, '{}', '{}',
           u.life, u.generation, u.time, u.was_life, u.was_generation, u.line, $9, $10
      FROM pg_temp.branchline_unfit AS u WHERE u.place = $11
    ON CONFLICT (table_name, unfit, md5(key)) DO UPDATE
       SET source = excluded.source, backup = excluded.backup, columns = excluded.columns, types = excluded.types,
           key_columns = excluded.key_columns, known_lives = excluded.known_lives,
           known_generations = excluded.known_generations,
           stands_for_lives = h.stands_for_lives || h.life
             || CASE WHEN h.was_life IS NULL THEN '{}'::int4[] ELSE ARRAY[h.was_life] END,
           stands_for_generations = h.stands_for_generations || h.generation
             || CASE WHEN h.was_life IS NULL THEN '{}'::int8[] ELSE ARRAY[h.was_generation] END,
           life = excluded.life, generation = excluded.generation, time = excluded.time,
           was_life = excluded.was_life, was_generation = excluded.was_generation, line = excluded.line,
           code = excluded.code, reason = excluded.reason, since = excluded.since";
const NAMED: &str = "
    SELECT place, key FROM pg_temp.branchline_unfit ORDER BY place, number LIMIT $1";
const COUNTS: &str = "SELECT place, count(*) FROM pg_temp.branchline_unfit GROUP BY place";

/// What is kept, of whom, and why.
pub(super) struct Keeping<'a> {
    pub(super) session: &'a Session,
    pub(super) standing: &'a Standing,
    pub(super) request: &'a ApplyRequest,
    pub(super) tables: &'a [(&'a TableSummary, &'a Why)],
}

impl Keeping<'_> {
    /// Keeps all of it. `lives` are the ledger's numbers of the staged lives.
    pub(super) async fn all(
        &self,
        lives: &[i32],
        counts: &mut [TableMerge],
        held: &mut Vec<HeldReport>,
    ) -> Result<(), DatabaseError> {
        let Self { session, standing, request, tables } = self;
        if request.backup_type == BackupType::Full {
            for (place, (summary, _)) in (0..).zip(*tables).filter(|(_, (summary, _))| !summary.filtered) {
                turn_unfit_into_deletions(session, standing, &request.source, place, summary).await?;
            }
        }
        session.rows(NUMBER, &[&lives]).await?;
        let (known, generations) = knowledge::columns(&standing.lives, &standing.parties.ours)?;
        for row in session.rows(DROP_KNOWN, &[&known, &generations]).await? {
            counts[place(&row)].superseded += row.get::<_, i64>(1).unsigned_abs();
        }
        self.settle_with_held(counts).await?;
        for row in session.rows(COUNTS, &[]).await? {
            counts[place(&row)].held = row.get::<_, i64>(1).unsigned_abs();
        }
        let limit = i64::try_from(NAMED_MAX.saturating_sub(held.len())).unwrap_or_default();
        for row in session.rows(NAMED, &[&limit]).await? {
            let (summary, why) = self.tables[place(&row)];
            held.push(report(&summary.name, row.get(1), why.code, why.reason.clone()));
        }
        for place in 0..self.tables.len() {
            self.keep(place).await?;
        }
        Ok(())
    }

    /// Takes away what loses against a row that is held under the same key.
    async fn settle_with_held(&self, counts: &mut [TableMerge]) -> Result<(), DatabaseError> {
        let Self { session, standing, request, tables } = self;
        let names: Vec<&str> = tables.iter().map(|(summary, _)| summary.name.as_str()).collect();
        for row in session.rows(BESIDE, &[&names]).await? {
            let (Some(held), Some(incoming)) =
                (version_of(&row, 3, &standing.lives)?, version_of(&row, 8, &standing.lives)?)
            else {
                continue;
            };
            let (place, number, key) = (place(&row), row.get::<_, i64>(1), row.get::<_, &str>(2));
            let verdict = decide_beside_held(&incoming, &held, row.get(14), &standing.parties);
            if verdict.is_conflict() {
                let meeting =
                    Meeting { table: names[place], key, line: row.get(13), held: &held, incoming: &incoming };
                meeting.record(session, request.backup, &request.source, verdict.takes()).await?;
                counts[place].conflicts += 1;
            }
            if verdict.takes() {
                continue;
            }
            let slot = i32::try_from(place).unwrap_or(i32::MAX);
            if verdict != Verdict::Old {
                session.rows(STAND_FOR, &[&slot, &number, &names[place], &key]).await?;
            }
            session.rows(DROP, &[&slot, &number]).await?;
            counts[place].superseded += 1;
        }
        Ok(())
    }

    async fn keep(&self, place: usize) -> Result<(), DatabaseError> {
        let Self { session, standing, request, tables } = self;
        let (summary, why) = tables[place];
        let theirs = knowledge::columns(&standing.lives, &standing.parties.theirs)?;
        let Columns { names, types, key } = Columns::of(summary);
        let (table, source, backup) =
            (summary.name.as_str(), request.source.as_str(), request.backup.to_string());
        let (code, reason) = (why.code.to_string(), why.reason.as_str());
        let place = i32::try_from(place).unwrap_or(i32::MAX);
        session
            .rows(
                KEEP,
                &[
                    &table, &source, &backup, &names, &types, &key, &theirs.0, &theirs.1, &code, &reason,
                    &place,
                ],
            )
            .await
            .map(drop)
    }
}

fn place(row: &Row) -> usize {
    usize::try_from(row.get::<_, i32>(0)).unwrap_or_default()
}
