//! PostgreSQL databases in the cluster that `cargo xtask test` starts.
//!
//! Each is a new database of that cluster; they go when the cluster goes, and so do the clerks' roles.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use branchline_core::ports::{BoxFuture, Database};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{Connect, Engine, Fixture, Shape, TestDatabase, TestSession, run_in, worked};

/// Where the cluster is: the URL of a database of its superuser.
const CLUSTER: &str = "BRANCHLINE_TEST_POSTGRES";

/// How a session waits: not for ever, and two that wait for each other are told apart soon.
const PATIENCE: &str = "SET lock_timeout = '10s'; SET deadlock_timeout = '20ms'";

static MADE: AtomicU32 = AtomicU32::new(0);

/// Makes PostgreSQL databases.
pub struct PostgresFixture {
    connect: Connect,
    cluster: String,
}

struct PostgresDatabase {
    url: String,
    database: Arc<dyn Database>,
}

impl PostgresFixture {
    /// A fixture whose databases are opened by `connect`.
    ///
    /// # Panics
    /// Where no cluster is running for tests.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        let Ok(cluster) = std::env::var(CLUSTER) else {
            panic!("{CLUSTER} names no PostgreSQL cluster for tests: run cargo xtask test");
        };
        Self { connect, cluster }
    }
}

impl Fixture for PostgresFixture {
    fn create(&self, shape: Shape) -> BoxFuture<'_, Box<dyn TestDatabase>> {
        Box::pin(async move {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let name = format!("conformance_{}_{number}", std::process::id());
            run(&self.cluster, &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")).await;
            let url = with_database(&self.cluster, &name);
            run(&url, shape.ddl(Engine::Postgres)).await;
            let database = worked((self.connect)(url.clone()).await);
            Box::new(PostgresDatabase { url, database }) as Box<dyn TestDatabase>
        })
    }
}

impl TestDatabase for PostgresDatabase {
    fn database(&self) -> Arc<dyn Database> {
        Arc::clone(&self.database)
    }

    fn execute<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(run(&self.url, sql))
    }

    fn query<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move {
            let client = open(&self.url).await;
            let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            let text = |message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
                _ => None,
            };
            messages.into_iter().filter_map(text).collect()
        })
    }

    fn session(&self) -> BoxFuture<'_, Box<dyn TestSession>> {
        Box::pin(async move {
            let client = open(&self.url).await;
            client.batch_execute(PATIENCE).await.unwrap_or_else(|error| panic!("{PATIENCE}: {error:?}"));
            Box::new(PostgresSession(client)) as Box<dyn TestSession>
        })
    }

    fn clerk(&self) -> BoxFuture<'_, Box<dyn TestSession>> {
        Box::pin(async move {
            let mut session = self.session().await;
            let role = format!("clerk_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
            let become_clerk = format!(
                "CREATE ROLE {role};
                GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
                SET SESSION AUTHORIZATION {role}"
            );
            run_in(&mut *session, &become_clerk).await;
            session
        })
    }

    fn engine(&self) -> Engine {
        Engine::Postgres
    }
}

struct PostgresSession(Client);

impl TestSession for PostgresSession {
    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.0.batch_execute(sql).await.map_err(|error| format!("{error:?}")) })
    }
}

/// The cluster's URL with another database: the last part of its path.
fn with_database(cluster: &str, name: &str) -> String {
    let (base, options) = cluster
        .split_once('?')
        .map_or((cluster, String::new()), |(base, options)| (base, format!("?{options}")));
    let server = base.rsplit_once('/').map_or(base, |(server, _)| server);
    format!("{server}/{name}{options}")
}

async fn run(url: &str, sql: &str) {
    let client = open(url).await;
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn open(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    // tidy: allow(spawn): the connection of one statement of a test; it ends with its client
    drop(tokio::spawn(connection));
    client
}
