//! SQLite files in a folder of their own.

use std::path::PathBuf;
use std::sync::Arc;

use branchline_core::ports::{BoxFuture, Database};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

use super::{Connect, Engine, Fixture, Shape, TestDatabase, worked};

/// Makes SQLite files.
pub struct SqliteFixture {
    connect: Connect,
}

struct SqliteFile {
    path: PathBuf,
    database: Arc<dyn Database>,
    _folder: TempDir,
}

impl SqliteFixture {
    /// A fixture whose files are opened by `connect`.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        Self { connect }
    }
}

impl Fixture for SqliteFixture {
    fn create(&self, shape: Shape) -> BoxFuture<'_, Box<dyn TestDatabase>> {
        Box::pin(async move {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("shop.db");
            let made = Connection::open(&path).expect("a new file");
            made.execute_batch(shape.ddl(Engine::Sqlite)).expect("the shape's tables");
            drop(made);
            let url = format!("sqlite:{}", path.display());
            let database = worked((self.connect)(url).await);
            Box::new(SqliteFile { path, database, _folder: folder }) as Box<dyn TestDatabase>
        })
    }
}

impl SqliteFile {
    /// As the shop's program opens it.
    fn open(&self) -> Connection {
        Connection::open(&self.path).expect("the shop's file")
    }
}

impl TestDatabase for SqliteFile {
    fn database(&self) -> Arc<dyn Database> {
        Arc::clone(&self.database)
    }

    fn execute<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.open().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        })
    }

    fn query<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move {
            let connection = self.open();
            let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            let rows = statement.query_map([], |row| Ok(text_of(row.get_ref(0)?)));
            rows.and_then(Iterator::collect).unwrap_or_else(|error| panic!("{sql}: {error}"))
        })
    }

    fn engine(&self) -> Engine {
        Engine::Sqlite
    }
}

fn text_of(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => real.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
