//! Reaching a database, and not reaching it.

use std::time::Duration;

use branchline_core::code::{Code, Explain};
use branchline_core::ports::DatabaseError;
use branchline_db::postgres::PostgresDatabase;
use branchline_testkit::database::{TestBackup, assert_refused, worked};

use super::database::{TestDatabase, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_url_is_refused() {
    for url in [
        "postgresql://",
        "postgresql:///nohost",
        "postgresql://u@h:port/d",
        "postgresql://u@h/d?sslmode=maybe",
    ] {
        assert_refused(PostgresDatabase::connect(url).await.map(drop), Code::DATABASE_URL_INVALID);
    }
    assert_refused(branchline_db::connect("mysql://u@h/d").await.map(drop), Code::DATABASE_URL_INVALID);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_named_without_its_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgresql://shop:secret@127.0.0.1:{port}/till");
    let error = assert_refused(PostgresDatabase::connect(&url).await.map(drop), Code::DATABASE_UNREACHABLE);
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}/till")) && text.contains("refused"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_or_role_that_is_not_there_is_unreachable() {
    let database = TestDatabase::with("").await;
    let missing = database.url().replace(&database.name, "no_such_database");
    let error =
        assert_refused(PostgresDatabase::connect(&missing).await.map(drop), Code::DATABASE_UNREACHABLE);
    assert!(error.to_string().contains("no_such_database"), "{error}");
    let stranger = database.url_of("no_such_role");
    assert_refused(PostgresDatabase::connect(&stranger).await.map(drop), Code::DATABASE_UNREACHABLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_can_be_read_and_not_written() {
    let database = TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    worked(database.open().await.ledger().await);
    database
        .execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name))
        .await;
    let port = database.open().await;
    let backup = TestBackup::of(&*port).await;
    assert_eq!(backup.tables[0].rows, 1);
    assert_refused(backup.apply(&*port).await, Code::DATABASE_READ_ONLY);
    worked(port.ledger().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_of_a_database_that_is_read_only_cannot_be_made() {
    let database = TestDatabase::with("").await;
    database
        .execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name))
        .await;
    assert_refused(database.open().await.ledger().await, Code::DATABASE_READ_ONLY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_not_to_be_had_ends_as_busy_and_leaves_nothing() {
    let database =
        TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')")
            .await;
    let source =
        TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'new')")
            .await;
    let backup = TestBackup::of(&*source.open().await).await;
    let till = super::database::client(&database.url()).await;
    till.batch_execute("BEGIN; UPDATE t SET v = 'till'").await.unwrap();
    let refused =
        tokio::time::timeout(Duration::from_secs(30), backup.apply(&*database.open().await)).await.unwrap();
    let error = assert_refused(refused, Code::DATABASE_BUSY);
    assert!(
        matches!(error, DatabaseError::Busy { .. }) && error.retry() == branchline_core::code::Retry::Later
    );
    till.batch_execute("COMMIT").await.unwrap();
    assert_eq!(database.query("SELECT v FROM t").await, ["till"]);
    worked(backup.apply(&*database.open().await).await);
    assert_eq!(database.query("SELECT v FROM t").await, ["new"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_calls_of_several_processes_make_one_ledger() {
    let database = TestDatabase::with("").await;
    let port = database.open().await;
    let calls = (0..6).map(|_| port.ledger());
    let mut made = Vec::new();
    for ledger in futures_util::future::join_all(calls).await {
        made.push(worked(ledger));
    }
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(made[0].engine.starts_with("PostgreSQL "));
    assert_eq!((made[0].epoch.value(), made[0].generation.value()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_used_over_tcp_or_socket_alike() {
    let mut database = TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY)").await;
    let (_, url) = database.role().await;
    let schema = worked(open(&url).await.schema().await);
    assert_eq!(schema.tables().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.unwrap();
        // "No TLS here", as a server without a certificate answers the request for it.
        socket.write_all(b"N").await.unwrap();
    });
    let url = format!("postgresql://shop:secret@127.0.0.1:{port}/till?sslmode=verify-full");
    let error = assert_refused(PostgresDatabase::connect(&url).await.map(drop), Code::DATABASE_UNREACHABLE);
    assert!(error.to_string().contains("TLS"), "{error}");
    server.await.unwrap();
}
