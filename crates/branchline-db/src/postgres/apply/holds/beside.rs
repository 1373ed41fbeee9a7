//! Rows that come in for the key of a held row: decided against the held row first, as if that were here.
//!
//! Where the held row wins, the incoming one is dropped; where the incoming one wins, the held one is dropped and the
//! incoming one is decided against the row that is here.

use branchline_core::merge::{decide_beside_held, decide_held};
use branchline_core::ports::DatabaseError;

use crate::postgres::apply::facts::Subject;
use crate::postgres::apply::pass::Origin;
use crate::postgres::apply::standing::Standing;
use crate::postgres::apply::verdicts::{self, ClassRow};
use crate::postgres::capture::version_of;
use crate::postgres::session::Session;

const ANY_HELD: &str = "SELECT EXISTS (SELECT FROM branchline.held)";

const BESIDE: &str = "
    SELECT f.place, f.number, h.life, h.generation, h.time, h.was_life, h.was_generation,
           f.life, f.generation, f.time, f.was_life, f.was_generation, h.table_name, h.key, h.line
      FROM pg_temp.branchline_fact AS f
      JOIN branchline.captured AS c ON c.id = f.table_id
      JOIN branchline.held AS h ON h.table_name = c.name AND h.key = f.key
     WHERE f.life IS NOT NULL AND f.place = ANY ($1)";
const SET: &str = "
    UPDATE pg_temp.branchline_fact SET class = $3 WHERE place = $1 AND number = $2";
const SET_VERDICT: &str = "INSERT INTO pg_temp.branchline_verdict VALUES ($1, $2)";
const DROP_HELD: &str =
    "DELETE FROM branchline.held WHERE table_name = $1 AND md5(key) = md5($2) AND key = $2";
const RECORD: &str = "
    INSERT INTO branchline.conflict (table_name, key, backup, source, taken, ours, our_version, theirs, their_version)
    VALUES ($1, $2, $3::text::uuid, $4, $5, $6, $7, NULL, $8)";

/// Decides for the staged rows whose keys have held rows.
pub(crate) async fn decide_beside(
    session: &Session,
    standing: &Standing,
    subjects: &[Subject<'_>],
    origin: &Origin,
) -> Result<(), DatabaseError> {
    if !session.row(ANY_HELD, &[]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    let slots: Vec<i32> =
        subjects.iter().map(|subject| i32::try_from(subject.target.slot).unwrap_or(i32::MAX)).collect();
    for row in session.rows(BESIDE, &[&slots]).await? {
        let (place, number): (i32, i64) = (row.get(0), row.get(1));
        let (Some(held), Some(incoming)) =
            (version_of(&row, 2, &standing.lives)?, version_of(&row, 7, &standing.lives)?)
        else {
            continue;
        };
        let (table, key): (String, String) = (row.get(12), row.get(13));
        let beside = decide_beside_held(&incoming, &held, false, &standing.parties);
        if beside.is_conflict() {
            let (backup, line) = (origin.backup.to_string(), row.get::<_, String>(14));
            let versions = [&held, &incoming].map(|version| {
                format!("{}/{}@{}", version.dot.life, version.dot.generation, version.time.micros())
            });
            session
                .rows(
                    RECORD,
                    &[
                        &table,
                        &key,
                        &backup,
                        &origin.source.as_str(),
                        &beside.takes(),
                        &line,
                        &versions[0],
                        &versions[1],
                    ],
                )
                .await?;
        }
        let verdict = if beside.takes() {
            session.rows(DROP_HELD, &[&table, &key]).await?;
            let class = ClassRow::of_one(session, place, number).await?;
            decide_held(&incoming, &class.local(standing)?, class.base(standing)?, &standing.parties)
        } else {
            branchline_core::merge::Verdict::Old
        };
        let class = format!("beside {place} {number}");
        session.rows(SET, &[&place, &number, &class]).await?;
        session.rows(SET_VERDICT, &[&class, &verdicts::number(verdict)]).await?;
    }
    Ok(())
}
