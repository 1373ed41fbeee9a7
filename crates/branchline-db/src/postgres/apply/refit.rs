//! Held rows of tables that did not fit when they came: once the table fits, their keys are what they are to it, and they
//! are tried again like all that are held ([`super::releases`]).
//!
//! Their lines are staged, each in the types that its columns have here now, and the text of their keys is read back. A
//! row that a column cannot hold stays as it was, with that reason. Where a row is held under the same key already, the
//! core decides between the two.

use std::collections::BTreeSet;

use branchline_core::code::Explain;
use branchline_core::merge::{LocalRow, Parties, decide_held};
use branchline_core::ports::{ApplyRequest, DatabaseError, OnError};
use branchline_core::version::Version;
use tokio_postgres::Row;

use super::holds::Meeting;
use super::releases::{HeldTable, summary};
use super::stage::{self, Staging};
use super::standing::Standing;
use super::unfit::{left_out, why};
use super::{Target, fit, native};
use crate::misfit::Why;
use crate::postgres::capture::key::Key;
use crate::postgres::capture::version_of;
use crate::postgres::ledger::{broken, knowledge};
use crate::postgres::schema::Catalogue;
use crate::postgres::session::Session;

/// Rows of one table that are refused one by one; where more are, the others wait for the next apply.
const REFUSED_MAX: usize = 100;

const UNFIT: &str = "
    SELECT table_name, columns, types, key_columns, line, key FROM branchline.held WHERE unfit
     ORDER BY table_name, columns, types, key_columns, since, key";
const SET_REASON: &str = "
    UPDATE branchline.held SET code = $3, reason = $4
     WHERE unfit AND table_name = $1 AND key = ANY ($2) AND (code, reason) IS DISTINCT FROM ($3, $4)";

/// Keys that no other row has.
const SET_KEYS: &str = "
    UPDATE branchline.held AS h SET unfit = false, key = r.key
      FROM unnest($2::text[], $3::text[]) AS r (came, key)
     WHERE h.table_name = $1 AND h.unfit AND md5(h.key) = md5(r.came) AND h.key = r.came
       AND NOT EXISTS (SELECT FROM branchline.held AS o
                        WHERE o.table_name = $1 AND NOT o.unfit AND md5(o.key) = md5(r.key) AND o.key = r.key)
    RETURNING r.came";
const SET_KEY: &str = "
    UPDATE branchline.held SET unfit = false, key = $3
     WHERE table_name = $1 AND unfit AND md5(key) = md5($2) AND key = $2";
/// Two rows of one key, the one that came first before the other.
const TWO: &str = "
    SELECT life, generation, time, was_life, was_generation, known_lives, known_generations, unfit, line,
           backup::text, source
      FROM branchline.held
     WHERE table_name = $1 AND (unfit AND key = $2 OR NOT unfit AND key = $3) ORDER BY since, unfit";
/// One gives way to the other, which stands for it from then on.
const GIVE_WAY: &str = "
    WITH gone AS (
      DELETE FROM branchline.held WHERE table_name = $1 AND unfit = $4 AND key = CASE WHEN $4 THEN $2 ELSE $3 END
      RETURNING *)
    UPDATE branchline.held AS h
       SET stands_for_lives = h.stands_for_lives || g.stands_for_lives || array_remove(ARRAY[g.life, g.was_life], NULL),
           stands_for_generations = h.stands_for_generations || g.stands_for_generations
             || array_remove(ARRAY[g.generation, g.was_generation], NULL)
      FROM gone AS g
     WHERE h.table_name = $1 AND h.unfit <> $4 AND h.key = CASE WHEN $4 THEN $3 ELSE $2 END";

/// Looks at all of them; answers the next slot that is free.
pub(crate) async fn all(
    session: &Session,
    catalogue: &Catalogue,
    standing: &Standing,
    request: &ApplyRequest,
    mut slot: usize,
) -> Result<usize, DatabaseError> {
    let groups = read(session).await?;
    if groups.is_empty() {
        return Ok(slot);
    }
    let left_out = left_out(session, request).await?;
    for group in groups {
        let name = &group.held.summary.name;
        if left_out.contains(name) {
            continue;
        }
        match fit::target(catalogue, &group.held.summary, slot, OnError::Hold) {
            Ok(target) if standing.captured.iter().any(|known| known.name == *name) => {
                slot = group.settle(session, standing, target).await?;
            }
            // Its triggers come with the next pack, at the latest.
            Ok(_) => {}
            Err(error) => {
                if let Some(why) = why(catalogue, &group.held.summary, &error) {
                    group.set_reason(session, &group.keys, &why).await?;
                }
            }
        }
    }
    Ok(slot)
}

/// Rows of one table that came with the same columns.
#[derive(Debug)]
struct Group {
    held: HeldTable,
    /// Their keys as they came, in the order of the lines.
    keys: Vec<String>,
}

async fn read(session: &Session) -> Result<Vec<Group>, DatabaseError> {
    let mut groups: Vec<Group> = Vec::new();
    for row in session.rows_kept(UNFIT, &[]).await? {
        let summary = summary(row.get(0), row.get(1), row.get(2), row.get(3))?;
        let same = |group: &Group| {
            let known = &group.held.summary;
            (&known.name, &known.columns, &known.key) == (&summary.name, &summary.columns, &summary.key)
        };
        if !groups.last().is_some_and(same) {
            groups.push(Group { held: HeldTable::new(summary), keys: Vec::new() });
        }
        let Some(group) = groups.last_mut() else { continue };
        group.held.add(row.get(4));
        group.keys.push(row.get(5));
    }
    Ok(groups)
}

impl Group {
    async fn set_reason(&self, session: &Session, keys: &[String], why: &Why) -> Result<(), DatabaseError> {
        let (table, code) = (self.held.summary.name.as_str(), why.code.to_string());
        session.rows_kept(SET_REASON, &[&table, &keys, &code, &why.reason]).await.map(drop)
    }

    /// Gives the rows the keys that they have here; answers the next slot that is free.
    async fn settle(
        mut self,
        session: &Session,
        standing: &Standing,
        mut target: Target,
    ) -> Result<usize, DatabaseError> {
        for _ in 0..REFUSED_MAX {
            session.run("SAVEPOINT refit").await?;
            let refused = match self.keys_here(session, &target).await {
                Ok(keys) => {
                    session.run("RELEASE SAVEPOINT refit").await?;
                    self.set_keys(session, standing, &keys).await?;
                    return Ok(target.slot + 1);
                }
                Err(refused) => refused,
            };
            session.run("ROLLBACK TO SAVEPOINT refit; RELEASE SAVEPOINT refit").await?;
            let row = match &refused {
                DatabaseError::ValueNotHeld { row, .. } => *row,
                DatabaseError::Row { error, .. } => error.row,
                _ => return Err(refused),
            };
            let why = Why { code: refused.code(), reason: refused.to_string() };
            let place = usize::try_from(row).unwrap_or(usize::MAX).wrapping_sub(1);
            if place >= self.keys.len() {
                self.set_reason(session, &self.keys, &why).await?;
                return Ok(target.slot);
            }
            let key = self.keys.remove(place);
            self.set_reason(session, &[key], &why).await?;
            self.held.remove(place);
            target.rows = self.held.summary.rows;
        }
        Ok(target.slot)
    }

    /// The texts of the keys that the rows have here, each with the row's number.
    async fn keys_here(
        &self,
        session: &Session,
        target: &Target,
    ) -> Result<Vec<(usize, String)>, DatabaseError> {
        if self.keys.is_empty() {
            return Ok(Vec::new());
        }
        let Ok(key) = Key::of(&target.table, &target.relation) else { return Ok(Vec::new()) };
        let Some(stage) = target.staged() else { return Ok(Vec::new()) };
        let tables = std::slice::from_ref(target);
        stage::create(session, tables).await?;
        let mut staging = Staging::of([&self.held.summary]);
        staging.take(session, tables, 0, &self.held.lines).await?;
        staging.finish(session, tables).await?;
        native::check(session, tables).await?;
        let sql = format!("SELECT s.branchline_number, {} FROM {stage} AS s ORDER BY 1", key.text("s"));
        let found = session.rows(&sql, &[]).await?;
        session.run(&format!("DROP TABLE {stage}")).await?;
        let key = |row: &Row| {
            let number = usize::try_from(row.get::<_, i64>(0)).unwrap_or_default();
            (number.saturating_sub(1), row.get(1))
        };
        Ok(found.iter().map(key).collect())
    }

    async fn set_keys(
        &self,
        session: &Session,
        standing: &Standing,
        keys: &[(usize, String)],
    ) -> Result<(), DatabaseError> {
        let table = self.held.summary.name.as_str();
        let (mut came, mut alone, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut twice = Vec::new();
        for (place, key) in keys {
            let Some(as_came) = self.keys.get(*place) else { continue };
            if seen.insert(key.as_str()) {
                came.push(as_came.as_str());
                alone.push(key.as_str());
            }
            twice.push((as_came.as_str(), key.as_str()));
        }
        let set = session.rows_kept(SET_KEYS, &[&table, &came, &alone]).await?;
        let set: BTreeSet<&str> = set.iter().map(|row| row.get(0)).collect();
        for (as_came, key) in twice.into_iter().filter(|(as_came, _)| !set.contains(as_came)) {
            settle_two(session, standing, table, as_came, key).await?;
            session.rows_kept(SET_KEY, &[&table, &as_came, &key]).await?;
        }
        Ok(())
    }
}

/// One of two held rows of one key goes: the one that would lose had the later come while the other was held.
async fn settle_two(
    session: &Session,
    standing: &Standing,
    table: &str,
    came: &str,
    key: &str,
) -> Result<(), DatabaseError> {
    let rows = session.rows_kept(TWO, &[&table, &came, &key]).await?;
    let [first, second] = rows.as_slice() else { return Ok(()) };
    let version = |row: &Row| -> Result<Version, DatabaseError> {
        version_of(row, 0, &standing.lives)?.ok_or_else(|| broken("a row without a version"))
    };
    let (held, incoming) = (version(first)?, version(second)?);
    let theirs = knowledge::of_columns(&standing.lives, second.get(5), second.get(6))?;
    let parties = Parties { theirs, receiver_behind: false, ..standing.parties.clone() };
    let local = LocalRow { present: true, version: Some(held.clone()), ..LocalRow::default() };
    let verdict = decide_held(&incoming, &local, &parties.own, &parties);
    if verdict.is_conflict() {
        let backup = second.get::<_, &str>(9).parse().map_err(|_| broken("a backup id"))?;
        let source = second.get::<_, &str>(10).parse().map_err(|_| broken("a server id"))?;
        let meeting = Meeting { table, key, line: first.get(8), held: &held, incoming: &incoming };
        meeting.record(session, backup, &source, verdict.takes()).await?;
    }
    let loser = if verdict.takes() { first } else { second };
    session.rows_kept(GIVE_WAY, &[&table, &came, &key, &loser.get::<_, bool>(7)]).await.map(drop)
}
