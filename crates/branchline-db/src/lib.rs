//! Application databases: reading, capturing and merging shop rows.
//!
//! One folder an engine, with the same file names in each (`schema`, `ledger`, `snapshot`, `apply`, `compare`),
//! each behind the core's [`Database`] port. SQL is written nowhere else but here and in the state's own store.
//! An engine is chosen by the scheme of its URL, in [`connect`]; a further engine is one more line there.

mod misfit;
pub mod postgres;
pub mod sqlite;
mod stages;

use std::sync::Arc;

use branchline_core::ports::{Database, DatabaseError};
use branchline_core::schema::{ColumnName, TableName};

/// A column that the settings leave out.
pub type Omitted = (TableName, ColumnName);

/// Opens the application database that `url` names, and checks that it answers.
///
/// | scheme | engine |
/// |---|---|
/// | `postgresql://`, `postgres://` | PostgreSQL |
/// | `sqlite:` | a SQLite file |
///
/// # Errors
/// [`DatabaseError::Url`] where the URL cannot be understood; else what the engine says.
pub async fn connect(url: &str) -> Result<Arc<dyn Database>, DatabaseError> {
    connect_omitting(url, Vec::new()).await
}

/// The same, without columns that never leave, are not compared, and are not written by what comes in.
///
/// # Errors
/// As for [`connect`]. That a column cannot be left out is said by whatever is asked of the database.
pub async fn connect_omitting(url: &str, omitted: Vec<Omitted>) -> Result<Arc<dyn Database>, DatabaseError> {
    if url.starts_with("postgresql://") || url.starts_with("postgres://") {
        return Ok(Arc::new(postgres::PostgresDatabase::connect_omitting(url, omitted).await?));
    }
    if url.starts_with("sqlite:") {
        return Ok(Arc::new(sqlite::SqliteDatabase::connect_omitting(url, omitted).await?));
    }
    let reason = "it begins with neither postgresql:// nor sqlite:".to_owned();
    Err(DatabaseError::Url { reason })
}
