//! What goes to a peer that filters keep rows from: decided for each key, before any row is read.
//!
//! Looked at are, of each table in scope, parents before children:
//!
//! * what the plan takes by its version;
//! * what a pack before left unsettled, and what the peer sent ([`scope`]);
//! * rows that point at a row which has come into scope, has left it, or may have;
//! * everything, in a full backup, and where the filter is another than when a pack last looked.
//!
//! | the row | an entry | what goes |
//! |---|---|---|
//! | in scope | confirmed | it, if the plan takes its version |
//! | in scope | open, leaving, none | it, if the plan takes its version, or the peer gets rows of its life |
//! | in scope | came, own | the same; nothing, where the peer itself made it what it is |
//! | out of scope | confirmed, open, leaving | that it left |
//! | out of scope | came, own | that it left; nothing, where the peer itself made it what it is |
//! | gone, with a tombstone | any | the deletion, unless it is the peer's own, or of a life that it does not get |
//! | gone without a trace | any | that it left; nothing, where the table is shared in part |
//! | out of scope, or gone | none | nothing |
//!
//! A filter that is new for a peer which has rows already: what its knowledge shows it to have counts as confirmed.

use branchline_core::knowledge::Knowledge;
use branchline_core::pack::{PackPlan, ScopedPeer, Selection};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{TableName, parents_first};
use branchline_core::version::{Dot, Life, Version};

use super::KEY_BYTES_MAX;
use super::changes::{Picked, logged, newest};
use super::key::Key;
use super::stamp::Taken;
use crate::postgres::apply::reference;
use crate::postgres::ident::list;
use crate::postgres::ledger::captured::Captured;
use crate::postgres::ledger::scope::{self, CAME, CONFIRMED, Decided, LEAVING, OPEN, OWN, Recorded};
use crate::postgres::ledger::{AFTER_FORGOTTEN, signed};
use crate::postgres::row_scope::{self, ScopeSql};
use crate::postgres::schema::Relation;
use crate::postgres::snapshot::hold_definitions;

/// `line` is what goes: 1 the row, 2 its deletion, 3 that it left. `state` is that of its entry from now on, `was` tells
/// which entry was looked at. Children look at rows that `moved`.
const SCOPED: &str = "
    CREATE TEMPORARY TABLE IF NOT EXISTS branchline_scoped (
      table_id int4, key text COLLATE pg_catalog.\"C\",
      life int4, generation int8, time int8, was_life int4, was_generation int8,
      line int2, state int2, was text, changed bool, moved bool) ON COMMIT DROP;
    TRUNCATE pg_temp.branchline_scoped;";
const TABLES: &str = "SELECT DISTINCT table_id FROM pg_temp.branchline_scoped WHERE line > 0";
const ANY_CHANGED: &str = "SELECT EXISTS (SELECT FROM pg_temp.branchline_scoped WHERE changed)";
const CHANGED: &str = "SELECT table_id, key, state, was FROM pg_temp.branchline_scoped WHERE changed";

/// Decides what goes of all tables that the plan filters, and puts what the peer will have on record. Answers the tables
/// that have something to say: rows, or for the first time that some are kept back. Before the peer knows that, it must
/// not lack any: that its own full backup lacks one would say that it was deleted.
pub(super) async fn decide(
    taken: &Taken,
    plan: &PackPlan,
    to: &ScopedPeer,
) -> Result<Vec<i32>, DatabaseError> {
    let session = &taken.reader;
    session.run("SAVEPOINT branchline_scope").await?;
    let decided = decide_all(taken, plan, to).await;
    let after = match &decided {
        Ok(_) => "RELEASE SAVEPOINT branchline_scope",
        // The position is as good as before, for other peers.
        Err(_) => "ROLLBACK TO SAVEPOINT branchline_scope; RELEASE SAVEPOINT branchline_scope",
    };
    session.run(after).await?;
    decided
}

async fn decide_all(taken: &Taken, plan: &PackPlan, to: &ScopedPeer) -> Result<Vec<i32>, DatabaseError> {
    let (session, catalogue) = (&taken.reader, &taken.catalogue);
    let sql = ScopeSql { catalogue, scope: &to.scope };
    let order = parents_first(catalogue.schema().syncable()).into_iter().flat_map(|group| group.tables);
    let order: Vec<TableName> = order.filter(|name| to.scope.of(name).is_some()).collect();
    if !hold_definitions(session, catalogue, &order).await? {
        let message = "tables were emptied or rebuilt since the position was taken".to_owned();
        return Err(DatabaseError::Busy { message });
    }
    sql.check(session, &order.iter().collect::<Vec<_>>()).await?;
    session.run(SCOPED).await?;
    let recorded = scope::recorded(session, &to.peer).await?;
    let pack = Pack::of(taken, plan, to)?;
    let (mut filters, mut named) = (Vec::new(), Vec::new());
    session.as_shop_in_utc().await?;
    for name in &order {
        let Some(subject) = pack.subject(name, &recorded)? else { continue };
        let statement = pack.statement(&subject)?;
        session.run_raw(&statement).await.map_err(|error| row_scope::fault(session, name, &error))?;
        if subject.recorded.is_none_or(|known| known.filter != subject.filter || !known.told) {
            named.push(subject.known.id);
        }
        if subject.recorded.is_none_or(|known| known.filter != subject.filter) {
            filters.push((subject.known.id, subject.filter));
        }
    }
    session.as_ourselves().await?;
    let changed: bool = session.row(ANY_CHANGED, &[]).await?.get(0);
    let in_scope =
        |table: i32| taken.captured.iter().any(|known| known.id == table && order.contains(&known.name));
    let whole: Vec<i32> =
        recorded.iter().map(|known| known.table).filter(|table| !in_scope(*table)).collect();
    if changed || !filters.is_empty() || !whole.is_empty() {
        let decided = Decided { peer: &to.peer, filters: &filters, whole: &whole, entries: CHANGED };
        decided.write(&taken.sessions, session).await?;
    }
    named.extend(session.rows(TABLES, &[]).await?.iter().map(|row| row.get::<_, i32>(0)));
    Ok(named)
}

/// A pack for a peer.
struct Pack<'a> {
    taken: &'a Taken,
    plan: &'a PackPlan,
    to: &'a ScopedPeer,
    sql: ScopeSql<'a>,
    picked: Picked,
    /// The number of our own life.
    own: i32,
    /// The numbers of the lives whose rows the peer gets, and of its own lives.
    gets: Vec<i32>,
    peers: Vec<i32>,
}

/// A table in scope whose changes are captured.
struct Subject<'a> {
    known: &'a Captured,
    relation: &'a Relation,
    key: Key,
    recorded: Option<&'a Recorded>,
    /// What its scope hangs on.
    filter: String,
    /// Whether every row and entry is looked at.
    everything: bool,
}

impl<'a> Pack<'a> {
    fn of(taken: &'a Taken, plan: &'a PackPlan, to: &'a ScopedPeer) -> Result<Self, DatabaseError> {
        let lives = &taken.lives;
        let numbers = |which: &dyn Fn(&Life) -> bool| {
            lives.all().filter(|(_, life)| which(life)).map(|(id, _)| id).collect::<Vec<i32>>()
        };
        Ok(Self {
            taken,
            plan,
            to,
            sql: ScopeSql { catalogue: &taken.catalogue, scope: &to.scope },
            picked: Picked::of(plan, lives)?,
            own: lives.known(&taken.position.own)?,
            gets: numbers(&|life| plan.gets(life)),
            peers: numbers(&|life| life.server == to.peer),
        })
    }

    /// A table as this pack sees it; nothing where its changes are not captured.
    fn subject<'s>(
        &'s self,
        name: &TableName,
        recorded: &'s [Recorded],
    ) -> Result<Option<Subject<'s>>, DatabaseError> {
        let (table, relation) = self.taken.catalogue.syncable(name)?;
        let known = self.taken.captured.iter().find(|known| known.name == *name);
        let (Some(known), Ok(key)) = (known, Key::of(table, relation)) else { return Ok(None) };
        let recorded = recorded.iter().find(|recorded| recorded.table == known.id);
        let filter = self.sql.digest(name);
        let everything = matches!(self.plan.selection, Selection::Full)
            || recorded.is_none_or(|recorded| recorded.filter != filter);
        Ok(Some(Subject { known, relation, key, recorded, filter, everything }))
    }

    fn statement(&self, subject: &Subject<'_>) -> Result<String, DatabaseError> {
        let id = subject.known.id;
        Ok(format!(
            "INSERT INTO pg_temp.branchline_scoped
             WITH {logged}, candidate (key) AS ({candidates}),
                  known AS ({known}),
                  judged AS ({judged}),
                  decided AS (SELECT j.*, ({})::int2 AS line FROM judged AS j),
                  settled AS (SELECT d.*, ({})::int2 AS settled, ({}) AS moved FROM decided AS d)
             SELECT {id}, s.key, s.life, s.generation, s.time, s.was_life, s.was_generation, s.line, s.settled, s.was,
                    s.settled IS DISTINCT FROM s.entered, s.moved
               FROM settled AS s WHERE s.line > 0 OR s.moved OR s.settled IS DISTINCT FROM s.entered;
             ANALYZE pg_temp.branchline_scoped (table_id, key);",
            line(subject.known.in_part),
            settled(),
            moved(),
            logged = logged(id),
            candidates = self.candidates(subject)?,
            known = self.known(subject)?,
            judged = self.judged(subject)?,
        ))
    }
}

/// What goes, in SQL. A row that is gone without a trace was taken out where the table is shared in part: elsewhere it may be
/// as it was.
fn line(in_part: bool) -> String {
    let without_trace = if in_part { 0 } else { 3 };
    format!(
        "CASE WHEN j.is_there AND j.in_scope THEN
                CASE WHEN j.taken OR (j.state IS DISTINCT FROM {CONFIRMED} AND j.gets
                                      AND NOT (coalesce(j.state IN ({OWN}, {CAME}), false) AND j.of_peer)) THEN 1 ELSE 0 END
              WHEN j.state IS NULL THEN 0
              WHEN j.is_there THEN CASE WHEN j.state IN ({OWN}, {CAME}) AND j.of_peer THEN 0 ELSE 3 END
              WHEN j.has_tombstone THEN CASE WHEN j.taken OR (j.gets AND NOT j.of_peer) THEN 2 ELSE 0 END
              WHEN j.life IS NOT NULL THEN 0
              ELSE {without_trace} END"
    )
}

/// The state of an entry from now on, in SQL; NULL where there is none.
fn settled() -> String {
    format!(
        "CASE WHEN d.is_there AND d.in_scope THEN
                CASE WHEN d.line = 1 AND d.state IS DISTINCT FROM {CONFIRMED} THEN {OPEN}
                     WHEN d.state IN ({OWN}, {CAME}) THEN {CONFIRMED} ELSE d.state END
              WHEN d.line > 1 THEN {LEAVING}
              WHEN d.state IS NULL THEN NULL
              WHEN d.is_there THEN {OWN}
              WHEN NOT d.has_tombstone THEN d.state
              WHEN d.of_peer THEN NULL
              WHEN d.state = {CAME} THEN {OWN}
              ELSE d.state END"
    )
}

/// Whether children have to be looked at, in SQL. A row that was in scope and is has moved nothing; neither has one that
/// its peer moved out by itself.
fn moved() -> String {
    format!(
        "d.is_there AND NOT coalesce(d.in_scope AND d.state = {CONFIRMED}, false)
         AND NOT coalesce(NOT d.in_scope AND d.state IN ({OWN}, {CAME}) AND d.of_peer, false)"
    )
}

impl Pack<'_> {
    /// The keys that are looked at, in SQL.
    fn candidates(&self, subject: &Subject<'_>) -> Result<String, DatabaseError> {
        let (id, only, key) = (subject.known.id, subject.relation.only(), subject.key.text("t"));
        let short = format!("octet_length({key}) <= {KEY_BYTES_MAX}");
        let mut parts = Vec::new();
        if let Some(Recorded { id: record, .. }) = subject.recorded {
            // Written as the index is, which has only these.
            let which = if subject.everything { "" } else { " AND e.state > 1" };
            parts.push(format!(
                "SELECT e.key FROM branchline.in_scope AS e WHERE e.scope_id = {record}{which}"
            ));
        }
        if subject.everything {
            parts.push(format!("SELECT {key} FROM {only} AS t WHERE {short}"));
            parts.push(format!(
                "SELECT v.key FROM branchline.version AS v WHERE v.table_id = {id} AND v.deleted"
            ));
            parts.push("SELECT l.key FROM logged AS l".to_owned());
            return Ok(parts.join(" UNION "));
        }
        if self.plan.takes(&newest(&self.taken.position)) {
            parts.push("SELECT l.key FROM logged AS l".to_owned());
        }
        if let Some(versions) = self.picked.versions("v") {
            parts.push(format!(
                "SELECT v.key FROM branchline.version AS v WHERE v.table_id = {id} AND {versions}"
            ));
        }
        if self.plan.takes(&Version::base(subject.known.base.clone())) {
            parts.push(format!(
                "SELECT {key} FROM {only} AS t
                  WHERE {short}
                    AND NOT EXISTS (SELECT FROM branchline.version AS v WHERE v.table_id = {id} AND v.key = {key})"
            ));
        }
        for parent in self.to.scope.of(&subject.known.name).into_iter().flat_map(|rows| &rows.parents) {
            let (above, relation) = self.taken.catalogue.syncable(&parent.target)?;
            let known = self.taken.captured.iter().find(|known| known.name == parent.target);
            let (Some(known), Ok(above)) = (known, Key::of(above, relation)) else { continue };
            parts.push(format!(
                "SELECT {key} FROM pg_temp.branchline_scoped AS m
                  CROSS JOIN LATERAL (SELECT p.* FROM {} AS p WHERE {} LIMIT 1) AS p
                   JOIN {only} AS t ON {}
                  WHERE m.table_id = {} AND m.moved AND {short}",
                relation.only(),
                above.is("p", "m.key"),
                reference(parent, subject.relation, "t", relation, "p"),
                known.id,
            ));
        }
        Ok(parts.join(" UNION "))
    }

    /// What is known of each of them, in SQL. Rows are looked up one by one, unless it is everything.
    fn known(&self, subject: &Subject<'_>) -> Result<String, DatabaseError> {
        let (id, name, own) = (subject.known.id, &subject.known.name, self.own);
        let generation = signed(self.taken.position.generation.value());
        let rows = self.sql.rows_with_verdict(name)?;
        let (is_in, is) = (self.sql.is_in(name, "t")?, subject.key.is("t", "c.key"));
        let row = if subject.everything {
            format!(
                "LEFT JOIN (SELECT true AS is_there, {is_in} AS in_scope, {key} AS key FROM {rows} AS t) AS r ON r.key = c.key",
                key = subject.key.text("t"),
            )
        } else {
            format!(
                "LEFT JOIN LATERAL (SELECT true AS is_there, {is_in} AS in_scope FROM {rows} AS t WHERE {is} LIMIT 1)
                    AS r ON true"
            )
        };
        let entries = match subject.recorded {
            Some(Recorded { id, .. }) => {
                format!(
                    "SELECT e.key, e.state, e.xmin::text AS was FROM branchline.in_scope AS e WHERE e.scope_id = {id}"
                )
            }
            None => "SELECT NULL::text AS key, NULL::int2 AS state, NULL::text AS was WHERE false".to_owned(),
        };
        Ok(format!(
            "SELECT c.key, l.key IS NOT NULL AS is_logged,
                    CASE WHEN l.key IS NULL THEN v.life ELSE {own} END AS life,
                    CASE WHEN l.key IS NULL THEN v.generation ELSE {generation} END AS generation,
                    CASE WHEN l.key IS NULL THEN v.time ELSE greatest(l.at, coalesce(v.time + 1, CASE WHEN l.was_life IS NULL THEN {AFTER_FORGOTTEN} END)) END AS time,
                    CASE WHEN l.key IS NULL THEN v.was_life ELSE l.was_life END AS was_life,
                    CASE WHEN l.key IS NULL THEN v.was_generation ELSE l.was_generation END AS was_generation,
                    r.is_there IS NOT NULL AND (l.key IS NOT NULL OR v.deleted IS NOT TRUE) AS is_there,
                    coalesce(r.in_scope, false) AS in_scope,
                    l.key IS NOT NULL OR coalesce(v.deleted, false) AS has_tombstone,
                    e.state AS entered, coalesce(CASE e.state WHEN {LEAVING} THEN {OPEN} ELSE e.state END, {}) AS state, e.was
               FROM candidate AS c
               LEFT JOIN logged AS l ON l.key = c.key
               LEFT JOIN branchline.version AS v ON v.table_id = {id} AND v.key = c.key
               LEFT JOIN ({entries}) AS e ON e.key = c.key
               {row}",
            self.had_before(subject)?,
        ))
    }

    /// The state of a row that has no entry, in SQL: it has one where nothing is on record of the table, and the peer
    /// said that it has the row. What a change in the log made of the row since does not matter.
    fn had_before(&self, subject: &Subject<'_>) -> Result<String, DatabaseError> {
        let acknowledged = &self.plan.acknowledged;
        if subject.recorded.is_some() || acknowledged.is_empty() {
            return Ok("NULL::int4".to_owned());
        }
        let base = self.taken.lives.known(&subject.known.base)?;
        let has_base = acknowledged.has(&Dot::base(subject.known.base.clone()));
        Ok(format!(
            "CASE WHEN CASE WHEN v.key IS NULL THEN l.key IS NULL AND {has_base}
                            WHEN v.deleted AND l.key IS NULL THEN false
                            ELSE {made} OR {was} END
                  THEN CASE WHEN coalesce(CASE WHEN l.key IS NULL THEN v.life ELSE {own} END, {base}) = ANY ({peers})
                            THEN {CAME} ELSE {CONFIRMED} END END",
            made = self.has(acknowledged, "v.life", "v.generation"),
            was = self.has(acknowledged, "v.was_life", "v.was_generation"),
            own = self.own,
            peers = array(&self.peers),
        ))
    }

    /// Whether somebody knows a dot, in SQL.
    fn has(&self, knowledge: &Knowledge, life: &str, generation: &str) -> String {
        let known = knowledge.iter().filter_map(|(of, until)| Some((self.taken.lives.id(of)?, until)));
        let parts = known.map(|(id, until)| {
            format!("coalesce({life} = {id} AND {generation} <= {}, false)", signed(until.value()))
        });
        let parts: Vec<String> = parts.chain(["false".to_owned()]).collect();
        format!("({})", parts.join(" OR "))
    }

    /// Whether the plan takes it, whether the peer gets what is of that life, and whether it is the peer's own, in SQL.
    fn judged(&self, subject: &Subject<'_>) -> Result<String, DatabaseError> {
        let base = self.taken.lives.known(&subject.known.base)?;
        Ok(format!(
            "SELECT k.*,
                    CASE WHEN k.is_logged THEN {} WHEN k.life IS NULL THEN {} ELSE {} END AS taken,
                    coalesce(k.life, {base}) = ANY ({}) AS gets, coalesce(k.life, {base}) = ANY ({}) AS of_peer
               FROM known AS k",
            self.plan.takes(&newest(&self.taken.position)),
            self.plan.takes(&Version::base(subject.known.base.clone())),
            self.picked.versions("k").unwrap_or_else(|| "false".to_owned()),
            array(&self.gets),
            array(&self.peers),
        ))
    }
}

fn array(numbers: &[i32]) -> String {
    format!("'{{{}}}'::int4[]", list(numbers))
}
