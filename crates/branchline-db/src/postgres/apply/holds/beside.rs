//! Rows that come in for the key of a held row: decided against the held row first, as if that were here.
//!
//! Where the held row wins, the incoming one is dropped; where the incoming one wins, the held one is dropped and the
//! incoming one is decided against the row that is here. Until the winner goes in, none of the others is here either: a
//! held row stands for them.

use branchline_core::merge::{LocalRow, Verdict, decide_beside_held, decide_held, decide_leaving};
use branchline_core::ports::DatabaseError;
use branchline_core::version::Version;

use crate::postgres::apply::facts::Subject;
use crate::postgres::apply::pass::Origin;
use crate::postgres::apply::standing::Standing;
use crate::postgres::apply::verdicts::{self, ClassRow};
use crate::postgres::capture::version_of;
use crate::postgres::session::Session;

const ANY_HELD: &str = "SELECT EXISTS (SELECT FROM branchline.held)";

const BESIDE: &str = "
    SELECT f.place, f.number, h.life, h.generation, h.time, h.was_life, h.was_generation,
           f.life, f.generation, f.time, f.was_life, f.was_generation, h.table_name, h.key, h.line,
           f.leaving, NOT f.deleted AND h.source = $2
      FROM pg_temp.branchline_fact AS f
      JOIN branchline.captured AS c ON c.id = f.table_id
      JOIN branchline.held AS h ON h.table_name = c.name AND h.key = f.key
     WHERE f.life IS NOT NULL AND f.place = ANY ($1)";
const SET: &str = "
    UPDATE pg_temp.branchline_fact SET class = $3 WHERE place = $1 AND number = $2";
const SET_VERDICT: &str = "INSERT INTO pg_temp.branchline_verdict VALUES ($1, $2)";
const STAND_FOR: &str = "
    UPDATE branchline.held AS h
       SET stands_for_lives = h.stands_for_lives || d.lives, stands_for_generations = h.stands_for_generations || d.generations
      FROM (SELECT array_agg(d.life) AS lives, array_agg(d.generation) AS generations
              FROM pg_temp.branchline_fact AS f
             CROSS JOIN LATERAL (VALUES (f.life, f.generation), (f.was_life, f.was_generation)) AS d (life, generation)
             WHERE f.place = $1 AND f.number = $2 AND d.life IS NOT NULL) AS d
     WHERE h.table_name = $3 AND md5(h.key) = md5($4) AND h.key = $4";
const DROP_HELD: &str = "
    WITH dropped AS (
      DELETE FROM branchline.held WHERE table_name = $3 AND md5(key) = md5($4) AND key = $4 RETURNING *)
    INSERT INTO pg_temp.branchline_stands_for
    SELECT $1, $2, d.life, d.generation
      FROM dropped AS h
     CROSS JOIN LATERAL (
       SELECT h.life, h.generation UNION ALL SELECT h.was_life, h.was_generation
       UNION ALL SELECT * FROM unnest(h.stands_for_lives, h.stands_for_generations)) AS d (life, generation)
     WHERE d.life IS NOT NULL";
const RECORD: &str = "
    INSERT INTO branchline.conflict (table_name, key, backup, source, taken, ours, our_version, theirs, their_version)
    VALUES ($1, $2, $3::text::uuid, $4, $5, $6, $7, NULL, $8)";

/// Whether anything is held.
pub(super) async fn any_held(session: &Session) -> Result<bool, DatabaseError> {
    Ok(session.row_kept(ANY_HELD, &[]).await?.get(0))
}

/// Decides for the staged rows whose keys have held rows.
pub(crate) async fn decide_beside(
    session: &Session,
    standing: &Standing,
    subjects: &[Subject<'_>],
    origin: &Origin,
) -> Result<(), DatabaseError> {
    if !any_held(session).await? {
        return Ok(());
    }
    let slots: Vec<i32> =
        subjects.iter().map(|subject| i32::try_from(subject.target.slot).unwrap_or(i32::MAX)).collect();
    for row in session.rows_kept(BESIDE, &[&slots, &origin.source.as_str()]).await? {
        let (place, number): (i32, i64) = (row.get(0), row.get(1));
        let (Some(held), Some(incoming)) =
            (version_of(&row, 2, &standing.lives)?, version_of(&row, 7, &standing.lives)?)
        else {
            continue;
        };
        let beside = Beside { place, number, table: row.get(12), key: row.get(13), line: row.get(14), held };
        let class = ClassRow::of_one(session, place, number).await?;
        let verdict = if row.get(15) {
            beside.leaves(session, standing, &class).await?
        } else if row.get::<_, bool>(16) && tells_that_it_left(&beside.line) {
            // The source has it in scope again: what it said before does not hold any more.
            beside.drop_held(session).await?;
            decide_held(&incoming, &class.local(standing)?, class.base(standing)?, &standing.parties)
        } else {
            beside.comes(session, standing, &class, &incoming, origin).await?
        };
        let class = format!("beside {place} {number}");
        session.rows_kept(SET, &[&place, &number, &class]).await?;
        session.rows_kept(SET_VERDICT, &[&class, &verdicts::number(verdict)]).await?;
    }
    Ok(())
}

/// A staged row, and what is held under its key.
struct Beside {
    place: i32,
    number: i64,
    table: String,
    key: String,
    /// The line that is held.
    line: String,
    /// Its version.
    held: Version,
}

impl Beside {
    async fn drop_held(&self, session: &Session) -> Result<(), DatabaseError> {
        session.rows_kept(DROP_HELD, &[&self.place, &self.number, &self.table, &self.key]).await.map(drop)
    }

    /// A row or a deletion that comes in.
    async fn comes(
        &self,
        session: &Session,
        standing: &Standing,
        class: &ClassRow,
        incoming: &Version,
        origin: &Origin,
    ) -> Result<Verdict, DatabaseError> {
        let beside = decide_beside_held(incoming, &self.held, false, &standing.parties);
        if beside.is_conflict() {
            self.record(session, incoming, beside.takes(), origin).await?;
        }
        if beside.takes() {
            self.drop_held(session).await?;
            return Ok(decide_held(
                incoming,
                &class.local(standing)?,
                class.base(standing)?,
                &standing.parties,
            ));
        }
        if beside != Verdict::Old {
            let Self { place, number, table, key, .. } = self;
            session.rows_kept(STAND_FOR, &[place, number, table, key]).await?;
        }
        Ok(Verdict::Old)
    }

    /// The row left the scope: so does what is held of it, as far as its sender knew that.
    async fn leaves(
        &self,
        session: &Session,
        standing: &Standing,
        class: &ClassRow,
    ) -> Result<Verdict, DatabaseError> {
        let (base, parties) = (class.base(standing)?, &standing.parties);
        let as_if_here = LocalRow { present: true, version: Some(self.held.clone()), ..LocalRow::default() };
        if !decide_leaving(&as_if_here, base, parties).takes() {
            return Ok(Verdict::Old);
        }
        self.drop_held(session).await?;
        Ok(decide_leaving(&class.local(standing)?, base, parties))
    }

    async fn record(
        &self,
        session: &Session,
        incoming: &Version,
        taken: bool,
        origin: &Origin,
    ) -> Result<(), DatabaseError> {
        let backup = origin.backup.to_string();
        let [ours, theirs] = [&self.held, incoming].map(|version| {
            format!("{}/{}@{}", version.dot.life, version.dot.generation, version.time.micros())
        });
        let Self { table, key, line, .. } = self;
        session
            .rows_kept(RECORD, &[table, key, &backup, &origin.source.as_str(), &taken, line, &ours, &theirs])
            .await
            .map(drop)
    }
}

/// Whether a line says that its row left the scope. What it says of itself comes before its columns.
fn tells_that_it_left(line: &str) -> bool {
    let mark = line.trim_start_matches('{');
    let after_version = match mark.strip_prefix("\"$version\":[") {
        Some(rest) => rest.split_once("],").map_or("", |(_, rest)| rest),
        None => mark,
    };
    after_version.starts_with("\"$deleted\":\"scope\"")
}
