//! Which tables can sync, and why the others cannot.

use super::{Node, describe};
use crate::api::v1::{Problem, TablesAnswer};

impl Node {
    pub(super) async fn tables(&self) -> Result<TablesAnswer, Problem> {
        let database = self.database().await?;
        let schema = self.restrict(database.schema().await?);
        let engine = database.ledger().await?.engine;
        Ok(TablesAnswer { engine, tables: schema.tables().map(describe::table).collect() })
    }
}
