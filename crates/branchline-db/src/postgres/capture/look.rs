//! How capture stands, in a few queries.

use std::collections::BTreeMap;

use branchline_core::code::Code;
use branchline_core::ports::{CaptureState, DatabaseError, HeldRow};
use branchline_core::schema::TableName;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::version_of;
use crate::postgres::ledger::{self, Lives, Meta, broken, captured, knowledge};
use crate::postgres::session::Session;

/// Rows of the ledger are counted exactly: these are what waits, not what is there for good.
const COUNTS: &str = "
    SELECT (SELECT count(*) FROM branchline.change),
           (SELECT count(*) FROM branchline.version WHERE deleted),
           (SELECT count(*) FROM branchline.conflict),
           (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8
              FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind = 'r')";
const MISSED: &str = "
    SELECT DISTINCT c.name FROM branchline.missed AS m JOIN branchline.captured AS c ON c.id = m.table_id";
const HELD: &str = "
    SELECT life, generation, time, was_life, was_generation, table_name, key, source, backup::text, reason, code,
           (extract(epoch FROM since) * 1000000)::int8
      FROM branchline.held ORDER BY since, table_name, key";

/// How capture stands; nothing where it is not installed.
pub(crate) async fn look(session: &Session) -> Result<Option<CaptureState>, DatabaseError> {
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let state = read(session).await;
    session.run("ROLLBACK").await?;
    state
}

async fn read(session: &Session) -> Result<Option<CaptureState>, DatabaseError> {
    let meta = Meta::read(session).await?;
    let Some(own) = meta.own() else { return Ok(None) };
    let lives = Lives::read(session).await?;
    let mut tables: BTreeMap<TableName, bool> = captured::read(session, &lives)
        .await?
        .into_iter()
        .map(|captured| (captured.name, captured.compare_due))
        .collect();
    for row in session.rows_kept(MISSED, &[]).await? {
        let name = TableName::new(row.get::<_, &str>(0)).map_err(|_| broken("the name of a table"))?;
        tables.insert(name, true);
    }
    let counts = session.row_kept(COUNTS, &[&ledger::SCHEMA]).await?;
    let count = |place: usize| counts.get::<_, i64>(place).unsigned_abs();
    let mut held = Vec::new();
    for row in session.rows_kept(HELD, &[]).await? {
        held.push(held_row(&row, &lives)?);
    }
    Ok(Some(CaptureState {
        own,
        generation: meta.generation,
        knowledge: knowledge::held(session, &lives).await?,
        purged: knowledge::purged(session, &lives).await?,
        clock: meta.clock,
        tables,
        pending: count(0),
        tombstones: count(1),
        held,
        conflicts: count(2),
        ledger_bytes: count(3),
    }))
}

fn held_row(row: &Row, lives: &Lives) -> Result<HeldRow, DatabaseError> {
    Ok(HeldRow {
        version: version_of(row, 0, lives)?.ok_or_else(|| broken("a held row without a version"))?,
        table: TableName::new(row.get::<_, &str>(5)).map_err(|_| broken("the name of a table"))?,
        key: row.get(6),
        source: row.get::<_, &str>(7).parse().map_err(|_| broken("a server id"))?,
        backup: row.get::<_, &str>(8).parse().map_err(|_| broken("a backup id"))?,
        reason: row.get(9),
        code: Code::parse(row.get(10)).ok_or_else(|| broken("an error code"))?,
        since: Timestamp::from_microsecond(row.get(11)).map_err(|_| broken("a time"))?,
    })
}
