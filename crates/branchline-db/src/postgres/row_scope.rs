//! The rows of a table that are in a peer's scope, in SQL.
//!
//! The conditions of the settings name their table's columns by themselves. So each stands in a SELECT of its own that has
//! nothing but its table in FROM, and what is around that sees only whether it holds. One that is NULL does not. They are
//! evaluated with the role's own search path, because they may name the shop's types and functions, and in UTC, as
//! everything that we read.

mod expression;

use std::fmt::Write;

use branchline_core::digest::Digest;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{Table, TableName};
use branchline_core::scope::{PeerScope, RowScope};

use super::apply::reference;
use super::ident::list;
use super::schema::{Catalogue, Relation};
use super::session::Session;

/// Whether a row's own conditions hold.
const HOLDS: &str = "branchline_holds";

/// The scope of a peer over the tables of this database.
#[derive(Clone, Copy)]
pub(crate) struct ScopeSql<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) scope: &'a PeerScope,
}

impl<'a> ScopeSql<'a> {
    /// Refuses the first condition that cannot be asked, of a table or of those that it follows. What was done in the
    /// transaction before stays.
    pub(crate) async fn check(&self, session: &Session, tables: &[&TableName]) -> Result<(), DatabaseError> {
        for table in tables {
            let Some(rows) = self.scope.of(table) else { continue };
            let (_, relation) = self.catalogue.syncable(table)?;
            for condition in &rows.conditions {
                let invalid =
                    |message: String| DatabaseError::FilterInvalid { table: (*table).clone(), message };
                if let Some(fault) = expression::fault(condition) {
                    return Err(invalid(fault.to_owned()));
                }
                let sql = format!("SELECT FROM {} WHERE {} LIMIT 0", relation.only(), enclosed(condition));
                session.run("SAVEPOINT branchline_condition").await?;
                session.as_shop_in_utc().await?;
                let asked = session.rows_raw(&sql).await;
                session
                    .run("ROLLBACK TO SAVEPOINT branchline_condition; RELEASE SAVEPOINT branchline_condition")
                    .await?;
                match asked {
                    Ok(_) => {}
                    Err(error) => match error.as_db_error() {
                        Some(report) => return Err(invalid(report.message().to_owned())),
                        None => return Err(session.fault(&error)),
                    },
                }
            }
        }
        Ok(())
    }

    /// A table and all that its scope hangs on, parents first.
    pub(crate) fn with_parents(&self, table: &TableName) -> Vec<TableName> {
        let mut all = Vec::new();
        self.collect(table, &mut all);
        all
    }

    fn collect(&self, table: &TableName, all: &mut Vec<TableName>) {
        let Some(rows) = self.scope.of(table).filter(|_| !all.contains(table)) else { return };
        for key in &rows.parents {
            self.collect(&key.target, all);
        }
        all.push(table.clone());
    }

    /// What the scope of a table hangs on, as one text: it is another when any condition is.
    pub(crate) fn digest(&self, table: &TableName) -> String {
        let mut text = String::new();
        for name in self.with_parents(table) {
            let Some(rows) = self.scope.of(&name) else { continue };
            let _ = writeln!(text, "{name}");
            for condition in &rows.conditions {
                let _ = writeln!(text, "{} {condition}", condition.len());
            }
            for key in &rows.parents {
                let _ = writeln!(text, "{:?} {} {:?}", key.columns, key.target, key.target_columns);
            }
        }
        Digest::of(text.as_bytes()).to_string()
    }

    /// A table with one more column, as it stands in FROM: to be asked by [`ScopeSql::is_in`].
    pub(crate) fn rows_with_verdict(&self, table: &TableName) -> Result<String, DatabaseError> {
        let (_, relation) = self.catalogue.syncable(table)?;
        let holds = self.scope.of(table).map_or_else(|| "true".to_owned(), own_conditions);
        Ok(format!("(SELECT {}, {holds} AS {HOLDS} FROM {})", columns(relation), relation.only()))
    }

    /// Whether the row `alias` of [`ScopeSql::rows_with_verdict`] is in scope.
    pub(crate) fn is_in(&self, table: &TableName, alias: &str) -> Result<String, DatabaseError> {
        Ok(format!("coalesce({alias}.{HOLDS} AND {}, false)", self.parents_are_in(table, alias, 0)?))
    }

    /// The rows of a table that are in scope, as they stand after FROM: the row is `t`.
    pub(crate) fn rows_in_scope(&self, table: &TableName) -> Result<String, DatabaseError> {
        Ok(format!("{} AS t WHERE {}", self.rows_that_hold(table)?, self.parents_are_in(table, "t", 0)?))
    }

    fn rows_that_hold(&self, table: &TableName) -> Result<String, DatabaseError> {
        let (_, relation) = self.catalogue.syncable(table)?;
        let holds = self.scope.of(table).map_or_else(|| "true".to_owned(), own_conditions);
        Ok(format!("(SELECT {} FROM {} WHERE {holds})", columns(relation), relation.only()))
    }

    /// Whether all that the row `alias` points at is in scope. A key with a NULL in it points at nobody.
    fn parents_are_in(&self, table: &TableName, alias: &str, depth: usize) -> Result<String, DatabaseError> {
        let (_, relation): (&'a Table, &'a Relation) = self.catalogue.syncable(table)?;
        let mut all = Vec::new();
        for key in self.scope.of(table).into_iter().flat_map(|rows| &rows.parents) {
            let (_, parent) = self.catalogue.syncable(&key.target)?;
            let above = format!("p{depth}");
            let nowhere =
                key.columns.iter().map(|&place| format!("{alias}.{} IS NULL", relation.columns[place].ident));
            all.push(format!(
                "({} OR EXISTS (SELECT FROM {} AS {above} WHERE {} AND {}))",
                nowhere.collect::<Vec<_>>().join(" OR "),
                self.rows_that_hold(&key.target)?,
                reference(key, relation, alias, parent, &above),
                self.parents_are_in(&key.target, &above, depth + 1)?,
            ));
        }
        Ok(if all.is_empty() { "true".to_owned() } else { all.join(" AND ") })
    }
}

/// What the conditions of a table's scope ran into, or what else failed: that they can be asked does not say that they have
/// an answer for each row.
pub(crate) fn fault(session: &Session, table: &TableName, error: &tokio_postgres::Error) -> DatabaseError {
    let by_condition = |code: &str| ["22", "42", "P0"].iter().any(|class| code.starts_with(class));
    match error.as_db_error().filter(|report| by_condition(report.code().code())) {
        Some(report) => {
            DatabaseError::FilterInvalid { table: table.clone(), message: report.message().to_owned() }
        }
        None => session.fault(error),
    }
}

fn columns(relation: &Relation) -> String {
    list(relation.columns.iter().map(|column| &column.ident))
}

fn own_conditions(rows: &RowScope) -> String {
    let all: Vec<String> = rows.conditions.iter().map(|condition| enclosed(condition)).collect();
    // What is alone in a SELECT's list need not be a boolean; beside another condition it must.
    format!("({})", list_with_and(&all))
}

fn list_with_and(conditions: &[String]) -> String {
    let all = conditions.iter().map(String::as_str).chain(["true"]);
    all.collect::<Vec<_>>().join(" AND ")
}

/// On lines of its own, so that a comment at its end ends too.
fn enclosed(condition: &str) -> String {
    format!("(\n{condition}\n)")
}
