//! Which tables can sync and why the others cannot, and which are captured.

use branchline_core::schema::TableName;

use super::{Node, describe};
use crate::api::v1::{Problem, TablesAnswer};

impl Node {
    pub(super) async fn tables(&self) -> Result<TablesAnswer, Problem> {
        let database = self.database().await?;
        let schema = self.restrict(database.schema().await?);
        let engine = database.ledger().await?.engine;
        let captured = database.capture().look().await?;
        let due =
            |name: &TableName| captured.as_ref().and_then(|captured| captured.tables.get(name).copied());
        let tables = schema.tables().map(|table| describe::table(table, due(&table.name))).collect();
        Ok(TablesAnswer { engine, attached: captured.is_some(), tables })
    }
}
