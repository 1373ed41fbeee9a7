//! Taking everything of ours out: triggers and functions a few at a time, then the ledger.
//!
//! A trigger goes with its function, which takes a lock on its table for a moment. The ledger's schema goes where it is
//! ours; one that the owner made for us stays, empty, as it was found.

use branchline_core::ports::DatabaseError;

use crate::postgres::ident::{Ident, list};
use crate::postgres::ledger;
use crate::postgres::session::Session;

/// Functions that go in one transaction.
const FUNCTIONS_AT_ONCE: i64 = 16;

/// How often a transaction is tried.
const ATTEMPTS_MAX: u32 = 3;

const FUNCTIONS: &str = "
    SELECT p.proname::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
     WHERE n.nspname = $1 AND p.proname LIKE 'capture\\_%' ORDER BY p.oid LIMIT $2";
const TABLES: &str = "
    SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relkind = 'r' ORDER BY c.relname";
const OWNS_SCHEMA: &str = "SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = $1";

/// Takes everything out.
pub(crate) async fn detach(session: &Session) -> Result<(), DatabaseError> {
    session.yield_to_others().await?;
    loop {
        let rows = session.rows_kept(FUNCTIONS, &[&ledger::SCHEMA, &FUNCTIONS_AT_ONCE]).await?;
        if rows.is_empty() {
            break;
        }
        let name = |row: &tokio_postgres::Row| {
            format!("{}.{}()", Ident::new(ledger::SCHEMA), Ident::new(row.get::<_, String>(0)))
        };
        let names: Vec<String> = rows.iter().map(name).collect();
        if remove(session, &list(&names)).await.is_err() {
            for name in &names {
                patiently(session, name).await?;
            }
        }
    }
    let tables = session.rows_kept(TABLES, &[&ledger::SCHEMA]).await?;
    let name = |row: &tokio_postgres::Row| {
        format!("{}.{}", Ident::new(ledger::SCHEMA), Ident::new(row.get::<_, String>(0)))
    };
    let mut sql = String::new();
    if !tables.is_empty() {
        sql.push_str(&format!("DROP TABLE {};\n", list(tables.iter().map(name))));
    }
    let owner = session.rows_kept(OWNS_SCHEMA, &[&ledger::SCHEMA]).await?;
    if owner.first().is_some_and(|row| row.get(0)) {
        sql.push_str("DROP SCHEMA branchline;\n");
    }
    session.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    ledger::hold(session).await?;
    session.run(&sql).await?;
    session.run("COMMIT").await
}

async fn patiently(session: &Session, function: &str) -> Result<(), DatabaseError> {
    let mut attempt = 1;
    loop {
        match remove(session, function).await {
            Err(DatabaseError::Busy { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
            other => return other,
        }
    }
}

async fn remove(session: &Session, functions: &str) -> Result<(), DatabaseError> {
    // One statement is one transaction.
    session.run(&format!("DROP FUNCTION IF EXISTS {functions} CASCADE")).await
}
