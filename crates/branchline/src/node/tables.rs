//! Which tables can sync and why the others cannot, which are captured, and who does not get them whole.

use branchline_core::schema::{Table, TableName};

use super::{Node, describe};
use crate::api::v1::{Problem, TableAnswer, TablesAnswer};

impl Node {
    pub(super) async fn tables(&self) -> Result<TablesAnswer, Problem> {
        let database = self.database().await?;
        let whole = database.schema().await?;
        let schema = self.restrict(whole.clone());
        let peers = self.memory.peers().await?;
        let engine = database.ledger().await?.engine;
        let captured = database.capture().look().await?;
        let due =
            |name: &TableName| captured.as_ref().and_then(|captured| captured.tables.get(name).copied());
        let described = |table: &Table| TableAnswer {
            in_part_for: self.in_part_for(&whole, table, &peers),
            ..describe::table(table, due(&table.name))
        };
        let tables = schema.tables().map(described).collect();
        Ok(TablesAnswer { engine, attached: captured.is_some(), tables })
    }
}
