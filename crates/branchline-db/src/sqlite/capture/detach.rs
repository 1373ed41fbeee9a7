//! Takes out everything of ours: the schema is as it was found, and the server has forgotten what it has applied.

use branchline_core::ports::DatabaseError;
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ledger;
use super::attach::locked;
use super::triggers;

/// Drops our triggers and tables, in one transaction; where there are none, nothing is done.
pub(super) fn detach(connection: &Connection) -> Result<(), DatabaseError> {
    if !ledger::has_table(connection, "branchline_migrations")? {
        return Ok(());
    }
    locked(connection, || {
        for name in triggers::installed(connection)?.keys() {
            let sql = format!("DROP TRIGGER main.{}", super::super::ident::Ident(name));
            connection.execute_batch(&sql).map_err(failed)?;
        }
        for name in ledger::TABLES {
            connection.execute_batch(&format!("DROP TABLE IF EXISTS main.{name}")).map_err(failed)?;
        }
        Ok(())
    })
}
