//! Facts: what is known here of each staged row, and of each row that a full backup does not hold.
//!
//! Rows that may be overruled are locked in the order of their keys before they are looked at, so that whatever the till
//! changes is either seen here or waits. Facts are gathered in two temporary tables, all tables of the backup in one go:
//!
//! | table | one row for each |
//! |---|---|
//! | `branchline_fact` | staged row of a table whose changes are captured here |
//! | `branchline_absent` | row or tombstone of such a table that a full backup does not hold |
//!
//! The column `class` holds all that a verdict hangs on but the times themselves, of which only the order counts: rows of
//! one class get one verdict ([`super::verdicts`]).

use branchline_core::ports::DatabaseError;

use super::Target;
use super::merge::{differs, same_key, settable};
use super::standing::{Standing, Watched};
use crate::postgres::session::Session;

const TABLES: &str = "
    CREATE TEMPORARY TABLE IF NOT EXISTS branchline_fact (
      place int4, table_id int4, number int8, key text COLLATE pg_catalog.\"C\", deleted bool, leaving bool,
      in_part bool, base int4, life int4, generation int8, time int8, was_life int4, was_generation int8,
      present bool, same bool,
      own_life int4, own_generation int8, own_time int8, own_was_life int4, own_was_generation int8,
      pending_time int8, pending_was_life int4, pending_was_generation int8, class text) ON COMMIT DROP;
    CREATE TEMPORARY TABLE IF NOT EXISTS branchline_absent (
      place int4, table_id int4, key text COLLATE pg_catalog.\"C\", base int4, present bool,
      own_life int4, own_generation int8, own_time int8, own_was_life int4, own_was_generation int8,
      pending_time int8, pending_was_life int4, pending_was_generation int8, class text) ON COMMIT DROP;
    CREATE TEMPORARY TABLE IF NOT EXISTS branchline_stands_for (
      place int4, number int8, life int4, generation int8) ON COMMIT DROP;
    CREATE TEMPORARY TABLE IF NOT EXISTS branchline_verdict (
      class text, verdict int2) ON COMMIT DROP;
    CREATE TEMPORARY TABLE IF NOT EXISTS branchline_absence (
      class text, verdict int2) ON COMMIT DROP;";

/// The two columns of a class that say how the times stand to each other.
const TIMES: &str = "f.time = 0, coalesce(f.pending_time, f.own_time, 0) = 0,
    sign((f.time - coalesce(f.pending_time, f.own_time, 0))::float8)::int2";

/// When a pending change was made: the log has the wall clock's word, and a change is later than what it changed.
const PENDING_TIME: &str = "CASE WHEN p.time IS NOT NULL THEN greatest(p.time, v.time + 1) END";

/// What the log says of a table's keys, `{id}` being its number.
const PENDING: &str = "(
    SELECT c.key, max(c.at) AS time,
           CASE WHEN bool_and(c.was_life IS NOT NULL) THEN max(c.was_life) END AS was_life,
           CASE WHEN bool_and(c.was_life IS NOT NULL) THEN max(c.was_generation) END AS was_generation
      FROM branchline.change AS c WHERE c.table_id = {id} GROUP BY c.key)";

/// A staged table whose changes are captured here.
pub(crate) struct Subject<'a> {
    /// Its place among the tables of the pass.
    pub(crate) place: usize,
    pub(crate) target: &'a Target,
    pub(crate) stage: &'a str,
    pub(crate) watched: &'a Watched,
}

/// The staged tables whose changes are captured here.
pub(crate) fn subjects<'a>(standing: &'a Standing, tables: &'a [Target]) -> Vec<Subject<'a>> {
    let subject = |(place, target): (usize, &'a Target)| {
        let watched = standing.tables[place].as_ref()?;
        Some(Subject { place, target, stage: target.staged()?, watched })
    };
    tables.iter().enumerate().filter_map(subject).collect()
}

/// Locks rows and gathers facts. `lives` are the ledger's numbers of the lives that the stage names.
pub(crate) async fn gather(
    session: &Session,
    standing: &Standing,
    subjects: &[Subject<'_>],
    lives: &[i32],
) -> Result<(), DatabaseError> {
    let mut sql = TABLES.to_owned();
    // By the names of the tables, as their definitions were locked.
    let mut in_order: Vec<&Subject<'_>> = subjects.iter().collect();
    in_order.sort_by(|a, b| a.target.relation.name.cmp(&b.target.relation.name));
    in_order.iter().filter_map(|subject| subject.lock()).for_each(|lock| sql.push_str(&lock));
    for subject in subjects {
        sql.push_str(&subject.facts(standing, lives)?);
    }
    for subject in subjects.iter().filter(|subject| subject.watched.is_whole) {
        sql.push_str(&subject.absent(standing)?);
    }
    sql.push_str("ANALYZE pg_temp.branchline_fact (place, number, key, class);\n");
    session.run(&sql).await
}

impl Subject<'_> {
    /// Of a base that comes in whole only rows that differ can be overruled.
    fn lock(&self) -> Option<String> {
        let places = settable(self.target);
        let condition = if self.target.versioned || self.target.deletions > 0 {
            "true".to_owned()
        } else if places.is_empty() {
            return None;
        } else {
            differs(self.target, &places)
        };
        Some(format!(
            "SELECT count(*) FROM (SELECT FROM {} AS t JOIN {} AS s ON {} WHERE {condition}
                                    ORDER BY {} FOR NO KEY UPDATE OF t) AS locked;\n",
            self.target.relation.only(),
            self.stage,
            same_key(self.target, "t", "s"),
            self.watched.key.order("t"),
        ))
    }

    fn facts(&self, standing: &Standing, lives: &[i32]) -> Result<String, DatabaseError> {
        let Self { target, stage, watched, .. } = self;
        let slot = target.slot;
        let (id, key) = (watched.id, watched.key.text("s"));
        let base = standing.lives.known(&watched.base)?;
        let theirs = match &watched.theirs {
            Some(life) => standing.lives.known(life)?.to_string(),
            None => "NULL::int4".to_owned(),
        };
        let lives = format!("'{{{}}}'::int4[]", crate::postgres::ident::list(lives));
        let places = settable(target);
        let changed = if places.is_empty() { "false".to_owned() } else { differs(target, &places) };
        let first = watched.key.first("t");
        Ok(format!(
            "INSERT INTO pg_temp.branchline_fact
             SELECT f.*, ROW({pass}, f.leaving, f.in_part, f.base, f.life, f.generation, f.was_life, f.was_generation, f.present, f.same,
                             f.own_life, f.own_generation, f.own_was_life, f.own_was_generation,
                             f.pending_time IS NULL, f.pending_was_life, f.pending_was_generation, {TIMES})::text
               FROM (SELECT {slot}, {id}, s.branchline_number, {key}, s.branchline_deleted, {leaving}, {in_part}, {base},
                            coalesce(({lives})[s.branchline_life], {theirs}), coalesce(s.branchline_generation, 0),
                            coalesce(s.branchline_time, 0), ({lives})[s.branchline_was_life], s.branchline_was_generation,
                            {first} IS NOT NULL,
                            CASE WHEN s.branchline_deleted THEN {first} IS NULL
                                 ELSE {first} IS NOT NULL AND NOT ({changed}) END,
                            v.life, v.generation, v.time, v.was_life, v.was_generation,
                            {PENDING_TIME}, p.was_life, p.was_generation
                       FROM {stage} AS s
                       LEFT JOIN {only} AS t ON {same}
                       LEFT JOIN branchline.version AS v ON v.table_id = {id} AND v.key = {key}
                       LEFT JOIN {pending} AS p ON p.key = {key}) AS f
                      (place, table_id, number, key, deleted, leaving, in_part, base, life, generation, time, was_life, was_generation,
                       present, same, own_life, own_generation, own_time, own_was_life, own_was_generation,
                       pending_time, pending_was_life, pending_was_generation);\n",
            only = target.relation.only(),
            pass = standing.pass,
            leaving = if target.tells_leaving() { "s.branchline_leaving" } else { "false" },
            in_part = watched.in_part,
            same = same_key(target, "t", "s"),
            pending = PENDING.replace("{id}", &id.to_string()),
        ))
    }

    /// Rows that the stage does not hold, and tombstones of rows that it does not hold.
    fn absent(&self, standing: &Standing) -> Result<String, DatabaseError> {
        let Self { target, stage, watched, .. } = self;
        let slot = target.slot;
        let (id, key) = (watched.id, watched.key.text("t"));
        let base = standing.lives.known(&watched.base)?;
        let only = target.relation.only();
        let pending = PENDING.replace("{id}", &id.to_string());
        Ok(format!(
            "INSERT INTO pg_temp.branchline_absent
             SELECT f.*, ROW(f.base, f.present, f.own_life, f.own_generation, f.own_was_life, f.own_was_generation,
                             f.own_time = 0, f.pending_time IS NULL, f.pending_was_life, f.pending_was_generation)::text
               FROM (SELECT {slot}, {id}, {key}, {base}, true, v.life, v.generation, v.time, v.was_life,
                            v.was_generation, {PENDING_TIME}, p.was_life, p.was_generation
                       FROM {only} AS t
                       LEFT JOIN branchline.version AS v ON v.table_id = {id} AND v.key = {key}
                       LEFT JOIN {pending} AS p ON p.key = {key}
                      WHERE NOT EXISTS (SELECT FROM {stage} AS s WHERE {same})
                     UNION ALL
                     SELECT {slot}, {id}, v.key, {base}, false, v.life, v.generation, v.time, v.was_life,
                            v.was_generation, {PENDING_TIME}, p.was_life, p.was_generation
                       FROM branchline.version AS v LEFT JOIN {pending} AS p ON p.key = v.key
                      WHERE v.table_id = {id} AND v.deleted
                        AND NOT EXISTS (SELECT FROM pg_temp.branchline_fact AS k WHERE k.table_id = {id} AND k.key = v.key)
                        AND (SELECT true FROM {only} AS t WHERE {is} LIMIT 1) IS NULL) AS f
                      (place, table_id, key, base, present, own_life, own_generation, own_time, own_was_life,
                       own_was_generation, pending_time, pending_was_life, pending_was_generation);\n",
            same = same_key(target, "t", "s"),
            is = watched.key.is("t", "v.key"),
        ))
    }
}
