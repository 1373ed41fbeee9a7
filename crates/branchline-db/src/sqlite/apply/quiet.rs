//! A large load into an empty table goes in without its rows being noted: nothing of it would stay in the log anyway.
//!
//! Our triggers are taken off the table for the load, and put on again as they were, in the same transaction. Only where
//! nothing can be missed: an insert into an empty table makes no foreign key act, where the shop has no triggers at all
//! nothing else writes to the table meanwhile, and where no change of the table waits in the log there is none that the
//! load would overrule.

use branchline_core::ports::DatabaseError;
use rusqlite::{Connection, params};

use super::super::capture::triggers;
use super::super::error::failed;
use super::super::ident::Ident;
use super::super::ledger::standing;
use super::super::schema;
use super::plan::TablePlan;
use super::rows;
use super::versions::VersionedTable;

/// Rows below which taking the triggers off is not worth that others read the schema anew.
const ROWS_MIN: u64 = 10_000;

const SHOP_HAS_TRIGGERS: &str = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema
    WHERE type = 'trigger' AND name NOT LIKE 'branchline\\_%' ESCAPE '\\')";

const WAITS: &str = "SELECT EXISTS (SELECT 1 FROM temp.branchline_stamped WHERE table_id = ?1)";

/// Triggers that are off.
pub(super) struct Quiet {
    statements: Vec<String>,
}

impl Quiet {
    /// Takes the triggers off, where that is worth it and misses nothing.
    pub(super) fn begin(
        connection: &Connection,
        plan: &TablePlan,
        table: &VersionedTable<'_>,
    ) -> Result<Option<Self>, DatabaseError> {
        if plan.rows < ROWS_MIN || !rows::is_empty(connection, plan)? {
            return Ok(None);
        }
        if connection.query_row(SHOP_HAS_TRIGGERS, [], |row| row.get(0)).map_err(failed)? {
            return Ok(None);
        }
        let id = table.captured.id;
        if connection.query_row(WAITS, params![id], |row| row.get(0)).map_err(failed)? {
            return Ok(None);
        }
        let installed = triggers::installed(connection)?;
        let mut statements = Vec::new();
        for name in triggers::names(id, true) {
            let Some(trigger) = installed.get(&name) else { continue };
            connection.execute_batch(&format!("DROP TRIGGER main.{}", Ident(&name))).map_err(failed)?;
            statements.push(trigger.sql.clone());
        }
        Ok(Some(Self { statements }))
    }

    /// Puts them on again.
    pub(super) fn end(self, connection: &Connection) -> Result<(), DatabaseError> {
        for sql in &self.statements {
            connection.execute_batch(sql).map_err(failed)?;
        }
        let Some(standing) = standing::read(connection)? else { return Ok(()) };
        standing::set_schema(connection, schema::version(connection)?, &standing.left_out)
    }
}
