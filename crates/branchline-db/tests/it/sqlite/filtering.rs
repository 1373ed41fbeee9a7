//! Filters where SQLite is peculiar: ledgers of before, foreign keys that act, keys that are equal and written differently.

use branchline_core::ports::Amendment;
use branchline_core::scope::Filter;
use branchline_core::version::ChangeTime;
use branchline_testkit::database::capturing::{TestServer, assert_quiet, deliver, send};
use branchline_testkit::database::{table_name, worked};

use super::with_tables;

fn filter(table: &str, condition: &str, follow: bool) -> Vec<Filter> {
    vec![Filter { table: table_name(table), peers: Vec::new(), condition: condition.to_owned(), follow }]
}

/// A head office with those rows, and a store that has what the filters let through.
async fn two(tables: &str, rows: &str, filters: Vec<Filter>) -> (TestServer, TestServer) {
    let mut hq = TestServer::over(with_tables(tables).await, "HQ");
    let mut store = TestServer::over(with_tables(tables).await, "STORE-001");
    hq.write(rows).await;
    hq.attach().await;
    store.attach().await;
    hq.filter_for(&store.id, filters);
    send(&mut hq, &mut store).await;
    send(&mut store, &mut hq).await;
    (hq, store)
}

const GOODS: &str = "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT);";
const THREE: &str = "INSERT INTO goods VALUES (1, 'a'), (2, 'b'), (3, 'a')";

#[tokio::test]
async fn a_ledger_of_before_gets_what_filters_need() {
    let mut hq = TestServer::over(with_tables(GOODS).await, "HQ");
    let mut store = TestServer::over(with_tables(GOODS).await, "STORE-001");
    hq.write(THREE).await;
    for server in [&hq, &store] {
        server.attach().await;
        server
            .write(
                "DROP TABLE branchline_in_scope; DROP TABLE branchline_scope;
                ALTER TABLE branchline_captured DROP COLUMN in_part;
                DELETE FROM branchline_migrations WHERE version = 5",
            )
            .await;
        assert_eq!(server.state().await.tables.len(), 1);
    }
    hq.filter_for(&store.id, filter("goods", "name = 'a'", true));
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!(backup.count("goods"), (2, 0));
    let back = store.full_for(&hq.id).await;
    assert!(back.is_filtered("goods"));
    for server in [&hq, &store] {
        let report = server.attach().await;
        assert_eq!((report.mended.len(), report.captured), (0, 1));
    }
}

#[tokio::test]
async fn a_row_that_only_leaves_changes_no_row_that_points_at_it() {
    for action in ["CASCADE", "SET NULL", "SET DEFAULT"] {
        let tables = format!(
            "{GOODS} CREATE TABLE notes (id INTEGER PRIMARY KEY, good INTEGER REFERENCES goods (id) ON DELETE {action});"
        );
        let rows = format!("{THREE}; INSERT INTO notes VALUES (10, 1)");
        let (mut hq, mut store) = two(&tables, &rows, filter("goods", "name = 'a'", false)).await;
        hq.write("UPDATE goods SET name = 'b' WHERE id IN (1, 3)").await;
        let (backup, report) = send(&mut hq, &mut store).await;
        let merged = backup.merged(&report, "goods");
        assert_eq!((backup.leaving("goods"), merged.deleted, merged.held), (2, 1, 1), "{action}");
        assert_eq!(store.query("SELECT good FROM notes").await, ["1"], "{action}");
        let (back, _) = send(&mut store, &mut hq).await;
        assert_eq!(back.lines(), 0, "{action}");
        // Once nothing hangs on it any more it leaves.
        hq.write("DELETE FROM notes").await;
        let (_, report) = send(&mut hq, &mut store).await;
        assert_eq!(report.released, 1, "{action}");
        assert_eq!(store.query("SELECT count(*) FROM goods").await, ["0"], "{action}");
        assert_eq!(hq.query("SELECT count(*) FROM goods").await, ["3"], "{action}");
        assert_quiet(&mut hq, &mut store).await;
    }
}

#[tokio::test]
async fn a_target_that_captures_nothing_takes_rows_out_too() {
    let mut hq = TestServer::over(with_tables(GOODS).await, "HQ");
    let mut store = TestServer::over(with_tables(GOODS).await, "STORE-001");
    hq.write(THREE).await;
    hq.attach().await;
    hq.filter_for(&store.id, filter("goods", "name = 'a'", true));
    send(&mut hq, &mut store).await;
    hq.write("UPDATE goods SET name = CASE name WHEN 'a' THEN 'b' ELSE 'a' END").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("goods"), backup.leaving("goods")), ((1, 2), 2));
    assert_eq!(store.query("SELECT id FROM goods").await, ["2"]);
}

#[tokio::test]
async fn keys_that_are_equal_and_written_differently_are_one_row() {
    let tables = "CREATE TABLE \"odd \"\"names\"\" (\" name\" TEXT COLLATE NOCASE, \"k)\" , shop INTEGER,
            PRIMARY KEY (\" name\", \"k)\")) WITHOUT ROWID;
        CREATE TABLE lines (id INTEGER PRIMARY KEY, n TEXT, k,
            FOREIGN KEY (n, k) REFERENCES \"odd \"\"names\"\" (\" name\", \"k)\"));
        CREATE INDEX by_parent ON lines (n, k);";
    let tables = tables.replace("\"odd \"\"names\"\"", "\"odd (names\"");
    let rows = "INSERT INTO \"odd (names\" VALUES ('Tea', 1, 1), ('Milk', 2.5, 2), ('Jam', x'00', 1);
        INSERT INTO lines VALUES (1, 'TEA', 1.0), (2, 'milk', 2.5), (3, 'jam', x'00'), (4, 'Jam', NULL)";
    let (mut hq, mut store) = two(&tables, rows, filter("odd (names", "\"shop\" = 1", true)).await;
    assert_eq!(store.query("SELECT id FROM lines ORDER BY id").await, ["1", "3", "4"]);
    hq.write("UPDATE \"odd (names\" SET shop = 3 - shop, \" name\" = upper(\" name\")").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("odd (names"), backup.leaving("odd (names")), ((1, 2), 2));
    assert_eq!((backup.count("lines"), backup.leaving("lines")), ((1, 2), 2));
    assert_eq!(store.query("SELECT id FROM lines ORDER BY id").await, ["2", "4"]);
    assert_quiet(&mut hq, &mut store).await;
}

#[tokio::test]
async fn a_deletion_from_before_the_filter_is_told() {
    let (mut hq, mut store) = two(GOODS, THREE, Vec::new()).await;
    hq.write("DELETE FROM goods WHERE id = 1").await;
    hq.filter_for(&store.id, filter("goods", "name = 'a'", true));
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("goods"), backup.leaving("goods")), ((0, 2), 1));
    assert_eq!(store.query("SELECT id FROM goods").await, ["3"]);
    assert_quiet(&mut hq, &mut store).await;
}

#[tokio::test]
async fn a_new_life_does_not_trust_its_record_and_leaves_a_peer_what_it_made() {
    let (mut hq, mut store) = two(GOODS, THREE, filter("goods", "name = 'a'", true)).await;
    store.write("INSERT INTO goods VALUES (7, 'b'), (8, 'a')").await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    // The record may be older than what the peer has: a row that left is sent once more, and does no harm.
    let packed = hq.state().await.generation;
    let life = Amendment::BeginLife {
        epoch: branchline_core::id::Epoch::new(2),
        packed,
        carried_until: ChangeTime::default(),
        clock: ChangeTime::default(),
    };
    worked(hq.capture().amend(life).await);
    hq.write("UPDATE goods SET name = 'b' WHERE id = 1").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!(
        (backup.leaving("goods"), store.query("SELECT id FROM goods ORDER BY id").await),
        (1, vec!["3".to_owned(), "7".to_owned(), "8".to_owned()])
    );
}

#[tokio::test]
async fn a_row_that_left_here_is_not_taken_out_where_it_still_is() {
    let (mut hq, mut store) = two(GOODS, THREE, filter("goods", "name <> 'b'", true)).await;
    let mut till = TestServer::over(with_tables(GOODS).await, "TILL");
    till.attach().await;
    hq.filter_for(&till.id, filter("goods", "id > 0", true));
    send(&mut hq, &mut till).await;
    store.filter_for(&hq.id, filter("goods", "name <> 'c'", true));
    send(&mut store, &mut hq).await;
    store.write("UPDATE goods SET name = 'c' WHERE id = 1").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.leaving("goods"), backup.merged(&report, "goods").deleted), (1, 1));
    assert_eq!(hq.query("SELECT id FROM goods ORDER BY id").await, ["2", "3"]);
    for (target, kept) in [(&mut store, ["1", "3"].as_slice()), (&mut till, ["1", "2", "3"].as_slice())] {
        let full = hq.full_for(&target.id).await;
        assert_eq!(full.leaving("goods"), 0);
        let report = deliver(&mut hq, target, &full).await;
        assert_eq!(full.merged(&report, "goods").deleted, 0);
        assert_eq!(target.query("SELECT id FROM goods ORDER BY id").await, kept);
    }
    // It is back when the store's filter lets it through.
    store.write("UPDATE goods SET name = 'a' WHERE id = 1").await;
    send(&mut store, &mut hq).await;
    assert_eq!(hq.query("SELECT id FROM goods ORDER BY id").await, ["1", "2", "3"]);
    assert_quiet(&mut hq, &mut store).await;
}
