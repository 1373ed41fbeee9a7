//! A database of a test's own, and ways round the port: as a superuser, and as a role that may do less.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use branchline_core::ports::Database;
use branchline_db::postgres::PostgresDatabase;
use branchline_testkit::database::worked;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

static MADE: AtomicU32 = AtomicU32::new(0);

/// A database, and the roles that were made for it; all go when this does.
pub(super) struct TestDatabase {
    cluster: String,
    pub(super) name: String,
    roles: Vec<String>,
}

impl TestDatabase {
    /// A new database with what `sql` makes.
    pub(super) async fn with(sql: &str) -> Self {
        let Ok(cluster) = std::env::var("BRANCHLINE_TEST_POSTGRES") else {
            panic!("BRANCHLINE_TEST_POSTGRES names no PostgreSQL cluster for tests: run cargo xtask test");
        };
        let name = format!("postgres_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let database = Self { cluster, name, roles: Vec::new() };
        let create = format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", database.name);
        run(&database.cluster, &create).await;
        database.execute(sql).await;
        database
    }

    /// A role that may log in and nothing else, and the URL under which it does.
    pub(super) async fn role(&mut self) -> (String, String) {
        let role = format!("role_{}_{}", self.name, self.roles.len());
        self.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await;
        self.roles.push(role.clone());
        (role.clone(), self.url_of(&role))
    }

    /// Its URL, as another user.
    pub(super) fn url_of(&self, user: &str) -> String {
        let url = self.url();
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let place = rest.split_once('@').expect("a URL with a user").1;
        format!("{scheme}://{user}:secret@{place}")
    }

    /// Its URL, as the superuser.
    pub(super) fn url(&self) -> String {
        let (base, options) = self.cluster.split_once('?').unwrap_or((&self.cluster, ""));
        let server = base.rsplit_once('/').map_or(base, |(server, _)| server);
        let options = if options.is_empty() { String::new() } else { format!("?{options}") };
        format!("{server}/{}{options}", self.name)
    }

    /// The port, as the superuser.
    pub(super) async fn open(&self) -> Arc<dyn Database> {
        open(&self.url()).await
    }

    /// Runs statements.
    pub(super) async fn execute(&self, sql: &str) {
        run(&self.url(), sql).await;
    }

    /// The first column of each row, as text.
    pub(super) async fn query(&self, sql: &str) -> Vec<String> {
        let client = client(&self.url()).await;
        let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let text = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        };
        messages.into_iter().filter_map(text).collect()
    }

    /// Its schema as `pg_dump` writes it, without the ledger's.
    pub(super) fn dump_schema(&self) -> String {
        self.dump(&["--schema-only", "--no-owner", "--exclude-schema=branchline"])
    }

    /// Its whole schema as `pg_dump` writes it.
    pub(super) fn dump_all(&self) -> String {
        self.dump(&["--schema-only"])
    }

    fn dump(&self, arguments: &[&str]) -> String {
        let url = self.url();
        let dump = std::process::Command::new("pg_dump")
            .args(arguments)
            .args(["--dbname", &url])
            .output()
            .expect("pg_dump is installed with PostgreSQL");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        // Newer versions protect the file with a random word.
        let text = String::from_utf8(dump.stdout).expect("UTF-8");
        text.lines()
            .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (cluster, name, roles) = (self.cluster.clone(), self.name.clone(), self.roles.clone());
        // A runtime of its own: the test's may not be waited on from here.
        let removed = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                run(&cluster, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
                for role in roles {
                    run(&cluster, &format!("DROP ROLE {role}")).await;
                }
            });
        });
        drop(removed.join());
    }
}

/// Whether the server's numbers may have a negative scale: from version 15 on.
pub(super) async fn has_negative_scales() -> bool {
    let database = TestDatabase::with("SELECT 1").await;
    let version = database.query("SHOW server_version_num").await;
    version[0].parse::<u32>().is_ok_and(|version| version >= 150_000)
}

/// The port at a URL.
pub(super) async fn open(url: &str) -> Arc<dyn Database> {
    Arc::new(worked(PostgresDatabase::connect(url).await))
}

async fn run(url: &str, sql: &str) {
    let client = client(url).await;
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql:.200}: {error:?}"));
}

/// A connection past the port.
pub(super) async fn client(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    drop(tokio::spawn(connection));
    client
}
