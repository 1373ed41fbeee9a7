//! A shop's database, with a way past branchline: what the shop's own program would do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use branchline_core::compare::TableHashes;
use branchline_core::ports::Database;
use branchline_core::schema::TableName;
use branchline_testkit::database::restoring::SHOP_ROWS;
use branchline_testkit::database::{
    Connect, Engine, Fixture, PostgresFixture, Shape, SqliteFixture, TestDatabase, hashes_of,
};

/// Counts and hashes of all tables: two that are equal hold the same rows.
pub(crate) type Hashes = BTreeMap<TableName, TableHashes>;

/// A shop's database.
pub(crate) struct Shop {
    pub(crate) url: String,
    database: Box<dyn TestDatabase>,
}

impl Shop {
    /// A database with the tables of `shape`, and no rows.
    pub(crate) async fn of(engine: Engine, shape: Shape) -> Self {
        let url = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&url);
        let connect: Connect = Arc::new(move |url| {
            seen.lock().unwrap().clone_from(&url);
            Box::pin(async move { branchline_db::connect(&url).await })
        });
        let database = match engine {
            Engine::Sqlite => SqliteFixture::new(connect).create(shape).await,
            Engine::Postgres => PostgresFixture::new(connect).create(shape).await,
        };
        let url = url.lock().unwrap().clone();
        Self { url, database }
    }

    /// A database with the tables of a small shop, and no rows.
    pub(crate) async fn empty(engine: Engine) -> Self {
        Self::of(engine, Shape::Shop).await
    }

    /// A small shop with ten rows.
    pub(crate) async fn stocked(engine: Engine) -> Self {
        let shop = Self::empty(engine).await;
        shop.execute(SHOP_ROWS).await;
        shop
    }

    /// A database with tables of the test's own.
    pub(crate) async fn with(engine: Engine, statements: &str) -> Self {
        let shop = Self::of(engine, Shape::Nothing).await;
        shop.execute(statements).await;
        shop
    }

    /// A SQLite file with a table of that many MiB that cannot be compressed.
    pub(crate) async fn with_media(mib: u32) -> Self {
        let shop =
            Self::with(Engine::Sqlite, "CREATE TABLE media (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
                .await;
        let numbers =
            format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {mib})");
        if mib > 0 {
            shop.execute(&format!("{numbers} INSERT INTO media SELECT i, randomblob(1 << 20) FROM n")).await;
        }
        shop
    }

    pub(crate) fn port(&self) -> Arc<dyn Database> {
        self.database.database()
    }

    pub(crate) async fn execute(&self, statements: &str) {
        self.database.execute(statements).await;
    }

    /// The first column of each row, as text.
    pub(crate) async fn query(&self, statement: &str) -> Vec<String> {
        self.database.query(statement).await
    }

    pub(crate) async fn hashes(&self) -> Hashes {
        hashes_of(&*self.port()).await
    }
}
