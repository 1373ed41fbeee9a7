//! SQLite files in a folder of their own.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use branchline_core::ports::{BoxFuture, Database};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

use super::{Connect, Engine, Fixture, Shape, TestDatabase, TestSession, worked};

/// How long a session waits for a lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a shop's program sets. Nothing here has to survive a power cut.
const AS_A_SHOP: &str = "PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF;";

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

    fn session(&self) -> BoxFuture<'_, Box<dyn TestSession>> {
        Box::pin(async move {
            let connection = self.open();
            connection.busy_timeout(PATIENCE).expect("a time to wait");
            connection.execute_batch(AS_A_SHOP).expect("pragmas");
            Box::new(SqliteSession(Arc::new(Mutex::new(connection)))) as Box<dyn TestSession>
        })
    }

    fn clerk(&self) -> BoxFuture<'_, Box<dyn TestSession>> {
        self.session()
    }

    fn engine(&self) -> Engine {
        Engine::Sqlite
    }
}

struct SqliteSession(Arc<Mutex<Connection>>);

impl TestSession for SqliteSession {
    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), String>> {
        let (connection, sql) = (Arc::clone(&self.0), sql.to_owned());
        // On a thread where it may wait for a lock: whoever holds the lock may need ours to go on.
        let ran = tokio::task::spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            connection.execute_batch(&sql).map_err(|error| error.to_string())
        });
        Box::pin(async move { ran.await.unwrap_or_else(|error| Err(error.to_string())) })
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
