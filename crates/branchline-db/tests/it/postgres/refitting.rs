//! Held rows of tables that fit by now, but for some values: those wait, and stop nothing else.

use branchline_core::code::Code;
use branchline_testkit::database::Shape;
use branchline_testkit::database::capturing::{TestServer, assert_same, send};

use crate::conformance::postgres_databases;

const NOTES: &str = "CREATE TABLE notes (id BIGINT PRIMARY KEY, word TEXT)";

async fn two(store: &str, hq: &str) -> (TestServer, TestServer) {
    let fixture = postgres_databases();
    let mut store = TestServer::attached(&fixture, Shape::Nothing, store, "STORE-001").await;
    let mut hq = TestServer::attached(&fixture, Shape::Nothing, hq, "HQ").await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    (store, hq)
}

/// A label that the type here lacks is refused by PostgreSQL itself, in the middle of a COPY.
#[tokio::test]
async fn a_value_that_the_new_table_does_not_hold_waits_by_itself() {
    let ddl = format!(
        "{NOTES}; CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE moods (id BIGINT PRIMARY KEY, felt mood)"
    );
    let (mut store, mut hq) = two(&ddl, NOTES).await;
    store.write("INSERT INTO moods VALUES (1, 'sad'), (2, 'happy'), (3, 'sad'), (4, 'happy')").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!(report.held.len(), 4);
    hq.write("CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE moods (id BIGINT PRIMARY KEY, felt mood)").await;
    store.write("INSERT INTO notes VALUES (1, 'a')").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!(report.released, 2);
    assert_eq!(hq.query("SELECT id FROM moods ORDER BY id").await, ["1", "3"]);
    let held = hq.state().await.held;
    assert_eq!(held.len(), 2);
    assert!(
        held.iter().all(|row| row.code == Code::VALUE_NOT_HELD && row.reason.contains("happy")),
        "{held:?}"
    );
    hq.write("ALTER TYPE mood ADD VALUE 'happy'").await;
    store.write("INSERT INTO notes VALUES (2, 'b')").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!(report.released, 2);
    assert_same(&store, &hq).await;
}

/// Rows that are held for another reason, and whose key its column does not hold any more.
#[tokio::test]
async fn a_held_row_whose_key_does_not_fit_any_more_stops_nothing() {
    let ddl = format!(
        "{NOTES}; CREATE TABLE items (id BIGINT PRIMARY KEY);
         CREATE TABLE tags (id TEXT PRIMARY KEY, item BIGINT REFERENCES items (id))"
    );
    let (mut store, mut hq) = two(&ddl, &ddl).await;
    store.write("INSERT INTO items VALUES (1)").await;
    send(&mut store, &mut hq).await;
    hq.write("DELETE FROM items").await;
    store.write("INSERT INTO tags VALUES ('short', 1), ('a very long one', 1)").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!(report.held.len(), 2);
    hq.write("ALTER TABLE tags ALTER COLUMN id TYPE varchar(5)").await;
    for word in ["a", "b"] {
        store.write(&format!("INSERT INTO notes SELECT count(*), '{word}' FROM notes")).await;
        let (backup, report) = send(&mut store, &mut hq).await;
        assert_eq!(backup.merged(&report, "notes").inserted, 1);
        assert_eq!(hq.state().await.held.len(), 2);
    }
    let mut codes: Vec<_> = hq.state().await.held.into_iter().map(|row| (row.key, row.code)).collect();
    codes.sort();
    assert_eq!(
        codes,
        [
            ("a very long one".to_owned(), Code::VALUE_NOT_HELD),
            ("short".to_owned(), Code::FOREIGN_KEY_BROKEN)
        ]
    );
    hq.write("ALTER TABLE tags ALTER COLUMN id TYPE text; INSERT INTO items VALUES (1)").await;
    store.write("INSERT INTO notes VALUES (9, 'c')").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.released, hq.state().await.held.len()), (2, 0));
    assert_same(&store, &hq).await;
}
