//! Columns that the settings leave out: their values never leave, are not compared, and stay as they are whatever comes.

use std::sync::Arc;

use branchline_core::backup::BackupType;
use branchline_core::code::Code;
use branchline_core::schema::ColumnName;
use branchline_testkit::database::backup::{shared_specs, table_name};
use branchline_testkit::database::capturing::{CarriedBackup, TestServer, send};
use branchline_testkit::database::{
    Connect, Engine, Fixture, PostgresFixture, Shape, SqliteFixture, assert_refused, worked,
};

use crate::conformance::{postgres_databases, sqlite_files};

const PEOPLE: &str = "CREATE TABLE people (id BIGINT PRIMARY KEY, name TEXT, note TEXT)";

macro_rules! on_both_engines {
    ($($test:ident)+) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(branchline_testkit::database::Engine::Sqlite).await; })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(branchline_testkit::database::Engine::Postgres).await; })+
        }
    };
}

on_both_engines! {
    an_omitted_column_never_leaves
    what_comes_for_an_omitted_column_is_passed_over
    an_omitted_column_is_not_compared
    an_omitted_column_that_is_needed_holds_its_table
    what_cannot_be_left_out_is_said_by_name
}

/// Databases without that column of `people`.
fn omitting(engine: Engine, column: &'static str) -> Box<dyn Fixture> {
    let connect: Connect = Arc::new(move |url| {
        Box::pin(async move {
            let omitted = vec![(table_name("people"), column_name(column))];
            branchline_db::connect_omitting(&url, omitted).await
        })
    });
    match engine {
        Engine::Sqlite => Box::new(SqliteFixture::new(connect)),
        Engine::Postgres => Box::new(PostgresFixture::new(connect)),
    }
}

fn column_name(text: &str) -> ColumnName {
    ColumnName::new(text).expect("a column's name")
}

fn plain(engine: Engine) -> Box<dyn Fixture> {
    match engine {
        Engine::Sqlite => Box::new(sqlite_files()),
        Engine::Postgres => Box::new(postgres_databases()),
    }
}

/// A store that keeps notes to itself, and a head office that does not.
async fn two(engine: Engine, rows: &str) -> (TestServer, TestServer) {
    let ddl = format!("{PEOPLE}; {rows}");
    let store = TestServer::attached(&*omitting(engine, "note"), Shape::Nothing, &ddl, "STORE-001").await;
    let hq = TestServer::attached(&*plain(engine), Shape::Nothing, PEOPLE, "HQ").await;
    (store, hq)
}

fn assert_nothing_leaves(backup: &CarriedBackup) {
    assert!(backup.lines() > 0);
    for row in backup.rows_of("people") {
        assert!(!row.line.contains("note") && !row.line.contains("secret"), "{}", row.line);
    }
    let columns: Vec<_> =
        backup.request.tables[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["id", "name"]);
}

async fn an_omitted_column_never_leaves(engine: Engine) {
    let (mut store, mut hq) =
        two(engine, "INSERT INTO people VALUES (1, 'Ada', 'secret'), (2, 'Bob', 'secret')").await;
    let (full, _) = send(&mut store, &mut hq).await;
    assert_eq!(full.request.backup_type, BackupType::Full);
    assert_nothing_leaves(&full);
    store.write("UPDATE people SET note = 'secret still' WHERE id = 1").await;
    store
        .write(
            "UPDATE people SET name = 'Berta' WHERE id = 2; INSERT INTO people VALUES (3, 'Carla', 'secret')",
        )
        .await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_nothing_leaves(&backup);
    assert_eq!(hq.query("SELECT name FROM people ORDER BY id").await, ["Ada", "Berta", "Carla"]);
    assert_eq!(hq.query("SELECT id FROM people WHERE note IS NOT NULL").await, Vec::<String>::new());
}

async fn what_comes_for_an_omitted_column_is_passed_over(engine: Engine) {
    let (mut store, mut hq) = two(engine, "INSERT INTO people VALUES (1, 'Ada', 'secret')").await;
    send(&mut store, &mut hq).await;
    hq.write(
        "UPDATE people SET name = 'Adele', note = 'theirs'; INSERT INTO people VALUES (2, 'Bob', 'theirs')",
    )
    .await;
    let (backup, report) = send(&mut hq, &mut store).await;
    let merged = backup.merged(&report, "people");
    assert_eq!((merged.inserted, merged.updated, merged.held), (1, 1, 0));
    assert_eq!(store.query("SELECT name FROM people ORDER BY id").await, ["Adele", "Bob"]);
    assert_eq!(store.query("SELECT note FROM people WHERE id = 1").await, ["secret"]);
    assert_eq!(store.query("SELECT id FROM people WHERE note IS NULL").await, ["2"]);
    // Nothing of it comes back.
    let onward = store.pack_for(&hq.id).await;
    assert_eq!(onward.lines(), 0, "{:?}", onward.rows_of("people"));
}

async fn an_omitted_column_is_not_compared(engine: Engine) {
    let (mut store, mut hq) = two(engine, "INSERT INTO people VALUES (1, 'Ada', 'secret')").await;
    send(&mut store, &mut hq).await;
    let (mut here, mut there) =
        (worked(store.database().snapshot().await), worked(hq.database().snapshot().await));
    let specs = shared_specs(here.schema(), there.schema());
    let mut spec = specs.into_iter().find(|spec| spec.table == table_name("people")).expect("a shared table");
    let columns: Vec<_> = spec.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(columns, ["id", "name"]);
    assert_eq!(worked(here.hashes(&spec).await), worked(there.hashes(&spec).await));
    // A peer that asks for it all the same is told nothing of it.
    let text = spec.columns[1].1.clone();
    spec.columns.push((column_name("note"), text));
    assert_refused(here.hashes(&spec).await, Code::TABLE_NOT_SYNCABLE);
    worked(there.hashes(&spec).await);
}

async fn an_omitted_column_that_is_needed_holds_its_table(engine: Engine) {
    let people = PEOPLE.replace("note TEXT", "note TEXT NOT NULL");
    let mut store =
        TestServer::attached(&*omitting(engine, "note"), Shape::Nothing, &people, "STORE-001").await;
    let mut hq = TestServer::attached(&*plain(engine), Shape::Nothing, PEOPLE, "HQ").await;
    send(&mut hq, &mut store).await;
    hq.write("INSERT INTO people VALUES (1, 'Ada', 'theirs')").await;
    let (_, report) = send(&mut hq, &mut store).await;
    assert_eq!((report.held.len(), report.held[0].code), (1, Code::COLUMN_UNKNOWN));
    assert_eq!(
        report.held[0].reason,
        "table people here needs column note, which the settings leave out: give it a default"
    );
}

async fn what_cannot_be_left_out_is_said_by_name(engine: Engine) {
    for (column, why) in [("id", "which its primary key needs"), ("nite", "which is not there")] {
        let shop = omitting(engine, column).create(Shape::Nothing).await;
        shop.execute(PEOPLE).await;
        let refused = shop.database().schema().await.expect_err("a refusal").to_string();
        assert_eq!(refused, format!("the settings leave out column {column} of table people, {why}"));
        assert_refused(shop.database().snapshot().await.map(drop), Code::SETTINGS_INVALID);
    }
}
