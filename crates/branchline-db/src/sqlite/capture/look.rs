//! How capture stands, read in one moment.

use branchline_core::ports::{CaptureState, DatabaseError};
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ledger::life::Lives;
use super::super::ledger::{
    captured, change, conflict, has_table, held, knowledge, scope, standing, version,
};
use super::super::schema;

const HAS_CHANGES: &str = "SELECT EXISTS (SELECT 1 FROM main.branchline_change), schema_version
    FROM main.branchline_capture WHERE one = 1";

/// Rows of a table of ours that are weighed, the newest ones.
const ROWS_WEIGHED: u32 = 100;

/// Tables of ours that grow, each with the columns that vary in size, and what a row takes up besides, in bytes.
const GROWING: [(&str, &str, u64); 6] = [
    (change::NAME, "k0, k1, k2, k3, k4, k5, k6, k7", 24),
    // The key stands in an index as well, and the generation in another.
    (version::NAME, "key, key, k0, k1, k2, k3, k4, k5, k6, k7", 80),
    (scope::ROWS_NAME, "peer, peer, key, key, k0, k1, k2, k3, k4, k5, k6, k7", 40),
    (held::NAME, "key, readable, reason, columns, line", 120),
    (conflict::NAME, "key, ours, theirs", 120),
    (super::super::ledger::applied::NAME, "receipt", 250),
];

/// How capture stands; nothing where it is not installed.
pub(super) fn look(connection: &Connection) -> Result<Option<CaptureState>, DatabaseError> {
    connection.execute_batch("BEGIN DEFERRED").map_err(failed)?;
    let state = read(connection);
    connection.execute_batch("ROLLBACK").map_err(failed)?;
    state
}

fn read(connection: &Connection) -> Result<Option<CaptureState>, DatabaseError> {
    let Some(standing) = standing::read(connection)? else { return Ok(None) };
    let lives = Lives::read(connection)?;
    let tables = captured::all(connection)?.into_iter().map(|table| (table.name, table.compare_due));
    Ok(Some(CaptureState {
        own: standing.own,
        generation: standing.generation,
        knowledge: knowledge::read(connection, &lives)?,
        purged: knowledge::read_purged(connection, &lives)?,
        clock: standing.clock,
        tables: tables.collect(),
        pending: change::count(connection)?,
        tombstones: version::tombstones(connection)?,
        held: held::all(connection, &lives)?,
        conflicts: conflict::count(connection)?,
        ledger_bytes: ledger_bytes(connection)?,
    }))
}

/// Whether a pack has something to do: changes in the log, or a schema that the triggers are not in step with.
pub(super) fn has_changes(connection: &Connection) -> Result<bool, DatabaseError> {
    let found = connection.prepare(HAS_CHANGES).and_then(|mut statement| {
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?)))
    });
    match found {
        Ok(None) => Ok(false),
        Ok(Some((has_changes, version))) => Ok(has_changes || version != schema::version(connection)?),
        // SQLite's own table of the schema is only gone through where something is wrong: it may be long.
        Err(_) if !has_table(connection, standing::NAME)? => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// An estimate: the numbers of the last rows are taken for counts, and the newest rows for all of them.
fn ledger_bytes(connection: &Connection) -> Result<u64, DatabaseError> {
    let page: i64 = connection.query_row("PRAGMA main.page_size", [], |row| row.get(0)).map_err(failed)?;
    let mut bytes = page.unsigned_abs() * super::super::ledger::TABLES.len() as u64;
    for (table, columns, besides) in GROWING {
        if table == scope::ROWS_NAME && !has_table(connection, table)? {
            // A ledger that an earlier version made gets it when it is written to.
            continue;
        }
        let sizes: Vec<_> =
            columns.split(", ").map(|column| format!("coalesce(length({column}), 0)")).collect();
        let sql = format!(
            "SELECT coalesce(max(rowid), 0), coalesce(avg(size), 0.0) FROM
                (SELECT rowid, {} AS size FROM main.{table} ORDER BY rowid DESC LIMIT {ROWS_WEIGHED})",
            sizes.join(" + "),
        );
        let (rows, each): (i64, f64) =
            connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate of sizes, never negative"
        )]
        let each = each as u64 + besides;
        bytes = bytes.saturating_add(rows.unsigned_abs().saturating_mul(each));
    }
    Ok(bytes)
}
