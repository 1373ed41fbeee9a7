//! Triggers that follow the schema: what rewrites, moves or drops them, and what only looks as if it did.

use branchline_core::ports::AttachReport;
use branchline_testkit::database::capturing::{TestServer, send};
use branchline_testkit::database::{table_name, worked};

use super::capturing::two;

const GOODS: &str = "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, code TEXT UNIQUE);";
const ROWS: &str = "INSERT INTO goods VALUES (1, 'apple', 'a'), (2, 'pear', 'b'), (3, 'fig', 'c')";

async fn is_due(server: &TestServer, table: &str) -> bool {
    server.state().await.tables[&table_name(table)]
}

#[tokio::test]
async fn a_column_that_gets_another_name_is_followed_without_a_compare() {
    let (mut store, mut hq) = two(GOODS, ROWS).await;
    for server in [&store, &hq] {
        server
            .write(
                "ALTER TABLE goods RENAME COLUMN name TO title; ALTER TABLE goods RENAME COLUMN id TO number",
            )
            .await;
    }
    store.write("UPDATE goods SET title = 'plum' WHERE number = 1; UPDATE goods SET code = 'z' WHERE number = 2; DELETE FROM goods WHERE number = 3").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("goods"), (2, 1));
    assert!(!is_due(&store, "goods").await);
    assert_eq!(store.hashes().await, hq.hashes().await);
    assert_eq!(store.attach().await, AttachReport { captured: 1, ..AttachReport::default() });
    store.write("UPDATE goods SET title = title").await;
    assert!(!worked(store.capture().has_changes().await), "an update without effect is told again");
}

#[tokio::test]
async fn a_column_that_is_added_is_watched_from_its_first_moment() {
    let (mut store, mut hq) = two(GOODS, ROWS).await;
    for server in [&store, &hq] {
        server.write("ALTER TABLE goods ADD COLUMN shelf TEXT DEFAULT 'none'").await;
    }
    store.write("UPDATE goods SET shelf = 'top' WHERE id = 2").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert!(backup.rows_of("goods").iter().any(|row| row.line.contains("top")));
    assert!(!is_due(&store, "goods").await);
    assert_eq!(store.hashes().await, hq.hashes().await);
    store.write("UPDATE goods SET shelf = shelf").await;
    assert!(!worked(store.capture().has_changes().await));
}

#[tokio::test]
async fn a_new_unique_index_asks_for_a_compare_and_is_watched() {
    let (mut store, mut hq) = two(GOODS, ROWS).await;
    for server in [&store, &hq] {
        server.write("CREATE UNIQUE INDEX by_name ON goods (name)").await;
    }
    send(&mut store, &mut hq).await;
    assert!(is_due(&store, "goods").await);
    store.write("REPLACE INTO goods VALUES (9, 'apple', 'x')").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("goods"), (1, 1));
    assert_eq!(store.hashes().await, hq.hashes().await);
}

#[tokio::test]
async fn a_table_with_another_name_is_another_table() {
    let (mut store, mut hq) = two(GOODS, ROWS).await;
    store.write("UPDATE goods SET name = 'plum' WHERE id = 1; ALTER TABLE goods RENAME TO wares").await;
    hq.write("CREATE TABLE wares (id INTEGER PRIMARY KEY, name TEXT, code TEXT UNIQUE)").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("wares"), backup.count("goods"), backup.lines()), ((3, 0), (0, 0), 3));
    assert_eq!(
        store.query("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'wares'").await,
        ["5"]
    );
    store.write("DELETE FROM wares WHERE id = 1").await;
    assert_eq!(send(&mut store, &mut hq).await.0.count("wares"), (0, 1));
}

/// The old table keeps the triggers, and the new one of its name gets its own.
#[tokio::test]
async fn a_table_that_was_moved_aside_keeps_no_triggers() {
    let (mut store, mut hq) = two(GOODS, ROWS).await;
    store
        .write("ALTER TABLE goods RENAME TO old_goods; CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, code TEXT UNIQUE);
            INSERT INTO goods SELECT * FROM old_goods; UPDATE goods SET name = 'plum' WHERE id = 1; DROP TABLE old_goods")
        .await;
    send(&mut store, &mut hq).await;
    assert!(is_due(&store, "goods").await);
    store.write("UPDATE goods SET name = 'cherry' WHERE id = 2").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("goods"), (1, 0));
}

#[tokio::test]
async fn a_table_that_gets_another_key_begins_anew() {
    let (mut store, mut hq) = two(GOODS, ROWS).await;
    let rebuild = "CREATE TABLE copied (code TEXT PRIMARY KEY, name TEXT, id INTEGER); INSERT INTO copied SELECT code, name, id FROM goods;
        DROP TABLE goods; ALTER TABLE copied RENAME TO goods";
    store.write("UPDATE goods SET name = 'plum' WHERE id = 1; DELETE FROM goods WHERE id = 3").await;
    send(&mut store, &mut hq).await;
    for server in [&store, &hq] {
        server.write(rebuild).await;
    }
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("goods"), report.held.len()), ((2, 0), 0));
    assert_eq!(hq.state().await.conflicts, 0, "equal rows that were there before are no conflict");
    assert_eq!(store.hashes().await, hq.hashes().await);
}

#[tokio::test]
async fn a_vacuum_loses_nothing_and_asks_for_no_compare() {
    let tables = format!("CREATE TABLE gone (id INTEGER PRIMARY KEY); {GOODS}");
    let (mut store, mut hq) = two(&tables, ROWS).await;
    store.write("DROP TABLE gone; UPDATE goods SET name = 'plum' WHERE id = 1; VACUUM").await;
    store.write("UPDATE goods SET name = 'cherry' WHERE id = 2").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("goods"), (2, 0));
    assert!(!is_due(&store, "goods").await);
    store.write("UPDATE goods SET name = name").await;
    assert!(!worked(store.capture().has_changes().await));
}

#[tokio::test]
async fn a_schema_that_changed_counts_as_something_to_pack() {
    let (mut store, mut hq) = two(GOODS, ROWS).await;
    assert!(!worked(store.capture().has_changes().await));
    store.write("CREATE TABLE empty (id INTEGER PRIMARY KEY)").await;
    assert!(worked(store.capture().has_changes().await));
    assert_eq!(send(&mut store, &mut hq).await.0.lines(), 0);
    assert!(!worked(store.capture().has_changes().await));
}

#[tokio::test]
async fn triggers_that_somebody_dropped_come_back_with_a_compare() {
    let (mut store, mut hq) = two(GOODS, ROWS).await;
    let name =
        store.query("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '%update'").await;
    store.write(&format!("DROP TRIGGER {}; UPDATE goods SET name = 'plum'", name[0])).await;
    assert_eq!(send(&mut store, &mut hq).await.0.lines(), 0);
    assert!(is_due(&store, "goods").await);
    store.write("UPDATE goods SET name = 'cherry'").await;
    assert_eq!(send(&mut store, &mut hq).await.0.count("goods"), (3, 0));
}

/// An apply looks before it stages: rows go into a table that a migration has just made.
#[tokio::test]
async fn a_table_that_is_new_at_the_target_is_captured_by_the_apply() {
    let (mut store, mut hq) = two(GOODS, ROWS).await;
    for server in [&store, &hq] {
        server.write("CREATE TABLE wares (id INTEGER PRIMARY KEY, name TEXT)").await;
    }
    store.write("INSERT INTO wares VALUES (1, 'x')").await;
    send(&mut store, &mut hq).await;
    assert!(!worked(hq.capture().has_changes().await), "what came in is no change made here");
    hq.write("UPDATE wares SET name = 'y'").await;
    assert_eq!(send(&mut hq, &mut store).await.0.count("wares"), (1, 0));
    assert_eq!(store.hashes().await, hq.hashes().await);
}
