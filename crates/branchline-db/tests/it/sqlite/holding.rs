//! Rows that only show when they are written: checks, needed values, indexes that no description names, triggers that say no.

use branchline_core::code::Code;
use branchline_testkit::database::assert_refused;
use branchline_testkit::database::capturing::{TestServer, send, settle};

use super::with_tables;

/// Two servers with the same columns and other rules, both captured, that have told each other what they hold.
async fn with_rules(plain: &str, strict: &str) -> (TestServer, TestServer) {
    let mut store = TestServer::over(with_tables(plain).await, "STORE-001");
    let mut hq = TestServer::over(with_tables(strict).await, "HQ");
    store.attach().await;
    hq.attach().await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    (store, hq)
}

const PLAIN: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, name TEXT);";

#[tokio::test]
async fn a_row_that_a_rule_refuses_is_held_and_the_others_go_in() {
    for (strict, code) in [
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0), name TEXT);", Code::CONSTRAINT_BROKEN),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, name TEXT NOT NULL);", Code::CONSTRAINT_BROKEN),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, name TEXT);
            CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.n < 0 BEGIN SELECT raise(ABORT, 'the till is closed'); END;",
            Code::CONSTRAINT_BROKEN,
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, name TEXT);
            CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.n < 0 BEGIN SELECT raise(IGNORE); END;",
            Code::CONSTRAINT_BROKEN,
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, name TEXT); CREATE UNIQUE INDEX one ON t (abs(n));",
            Code::UNIQUE_CONFLICT,
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, name TEXT); CREATE UNIQUE INDEX one ON t (name) WHERE n < 2;",
            Code::UNIQUE_CONFLICT,
        ),
    ] {
        let (mut store, mut hq) = with_rules(PLAIN, strict).await;
        store.write("INSERT INTO t VALUES (1, 1, NULL), (2, 2, 'b'), (3, 3, 'c')").await;
        store.write("UPDATE t SET name = 'a' WHERE id = 1; INSERT INTO t VALUES (4, -1, NULL)").await;
        if strict.contains("name)") {
            store.write("UPDATE t SET name = 'a' WHERE id = 4").await;
        }
        let (backup, report) = send(&mut store, &mut hq).await;
        let merged = backup.merged(&report, "t");
        assert_eq!((merged.inserted, merged.held), (3, 1), "{strict}");
        assert_eq!((report.held[0].code, report.held[0].key.as_str()), (code, "4"), "{strict}");
        assert_eq!(hq.query("SELECT id FROM t ORDER BY id").await, ["1", "2", "3"]);
        // Once the row keeps the rule, its new version takes its place.
        store.write("UPDATE t SET n = 4, name = 'd' WHERE id = 4").await;
        settle(&mut store, &mut hq).await;
        assert!(hq.state().await.held.is_empty(), "{strict}");
    }
}

#[tokio::test]
async fn a_held_row_goes_in_once_the_rule_is_gone() {
    let strict = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, name TEXT); CREATE UNIQUE INDEX one ON t (abs(n));";
    let (mut store, mut hq) = with_rules(PLAIN, strict).await;
    store.write("INSERT INTO t VALUES (1, 1, 'a'), (2, -1, 'b')").await;
    send(&mut store, &mut hq).await;
    assert_eq!(hq.state().await.held.len(), 1);
    hq.write("DROP INDEX one").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.released, hq.state().await.held.len()), (1, 0));
    assert_eq!(store.hashes().await, hq.hashes().await);
}

#[tokio::test]
async fn a_value_that_its_column_does_not_hold_is_held_with_its_row() {
    let (mut store, mut hq) = with_rules(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n, name TEXT);",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, name TEXT);",
    )
    .await;
    store.write("INSERT INTO t VALUES (1, 1, 'a'), (2, '2', 'b')").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.held.len(), report.held[0].code), (1, Code::VALUE_NOT_HELD));
    assert_eq!(hq.query("SELECT id FROM t").await, ["1"]);
    let refused = store.pack_for(&hq.id).await;
    assert_eq!(refused.lines(), 0);
    store.write("UPDATE t SET n = 2 WHERE id = 2").await;
    send(&mut store, &mut hq).await;
    assert!(hq.state().await.held.is_empty());
    assert_eq!(hq.query("SELECT n FROM t ORDER BY id").await, ["1", "2"]);
}

/// What a held removal keeps here stays with all that hangs on it, over several tables.
#[tokio::test]
async fn a_removal_that_would_take_an_unknown_row_along_further_down_is_held() {
    let tables = "CREATE TABLE a (id INTEGER PRIMARY KEY);
        CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a ON DELETE CASCADE);
        CREATE TABLE c (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b ON DELETE CASCADE);
        CREATE TABLE d (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b);";
    let (mut store, mut hq) = with_rules(&tables.replace("REFERENCES a ON DELETE CASCADE", ""), tables).await;
    store.write("INSERT INTO a VALUES (1), (2), (3); INSERT INTO b VALUES (1, 1), (2, 2), (3, 3)").await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    hq.write("INSERT INTO c VALUES (1, 1); INSERT INTO d VALUES (2, 2)").await;
    store.write("DELETE FROM a").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    let merged = backup.merged(&report, "a");
    assert_eq!((merged.deleted, merged.held), (1, 2));
    let codes: Vec<_> = report.held.iter().map(|held| (held.key.as_str(), held.code)).collect();
    assert!(
        codes.contains(&("1", Code::MIRROR_CASCADE)) && codes.contains(&("2", Code::FOREIGN_KEY_BROKEN)),
        "{codes:?}"
    );
    assert_eq!(hq.query("SELECT id FROM b ORDER BY id").await, ["1", "2"]);
    // What went along travels; the store still had it.
    let (back, _) = send(&mut hq, &mut store).await;
    assert_eq!(back.count("b"), (0, 1));
}

#[tokio::test]
async fn all_or_nothing_names_the_row_that_stands_in_the_way() {
    let tables = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);";
    let (mut store, mut hq) = with_rules(tables, tables).await;
    store.write("INSERT INTO p VALUES (1), (2)").await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    hq.write("INSERT INTO c VALUES (1, 2)").await;
    store.write("DELETE FROM p").await;
    let backup = store.pack_for(&hq.id).await.rejecting();
    let error = assert_refused(backup.apply(hq.database()).await, Code::FOREIGN_KEY_BROKEN);
    assert_eq!(
        error.to_string(),
        "foreign key p -> p of table c: a row of it points at a row of p that is to be removed"
    );
    assert_eq!(hq.query("SELECT id FROM p ORDER BY id").await, ["1", "2"]);
}
