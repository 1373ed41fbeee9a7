//! What the triggers note: rows that are replaced, keys of every class and collation, and nothing for what stays as it is.

use branchline_core::code::Code;
use branchline_core::ports::{AttachReport, AttachRequest};
use branchline_core::version::ChangeTime;
use branchline_testkit::database::capturing::{CarriedBackup, TestServer, send};
use branchline_testkit::database::{assert_refused, worked};
use rusqlite::Connection;

use super::with_tables;

/// Two servers with tables and rows of their own, both captured, that have told each other what they hold.
pub(super) async fn two(tables: &str, rows: &str) -> (TestServer, TestServer) {
    let mut store = TestServer::over(with_tables(tables).await, "STORE-001");
    let mut hq = TestServer::over(with_tables(tables).await, "HQ");
    store.write(rows).await;
    store.attach().await;
    hq.attach().await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    (store, hq)
}

/// What travels after the statements; both sides are equal then.
async fn after(tables: &str, rows: &str, statements: &str) -> CarriedBackup {
    let (mut store, mut hq) = two(tables, rows).await;
    store.write(statements).await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert!(report.held.is_empty(), "{:?}", report.held);
    assert_eq!(store.hashes().await, hq.hashes().await, "{statements}");
    backup
}

/// The shop's program on a connection of its own, as it keeps one.
async fn till(server: &TestServer) -> Connection {
    let path = server.query("SELECT file FROM pragma_database_list WHERE name = 'main'").await;
    Connection::open(&path[0]).expect("the shop's file")
}

const CODES: &str =
    "CREATE TABLE codes (id INTEGER PRIMARY KEY, code TEXT UNIQUE, a INTEGER, b INTEGER, UNIQUE (a, b));";
const THREE: &str = "INSERT INTO codes VALUES (1, 'a', 1, 1), (2, 'b', 2, 2), (3, 'c', 3, 3)";

#[tokio::test]
async fn rows_that_are_replaced_travel_as_deletions() {
    for (statement, rows, deletions) in [
        ("INSERT OR REPLACE INTO codes VALUES (9, 'a', 9, 9)", 1, 1),
        ("REPLACE INTO codes VALUES (9, 'a', 2, 2)", 1, 2),
        ("REPLACE INTO codes (code, a, b) VALUES ('a', 2, 2)", 1, 2),
        ("REPLACE INTO codes VALUES (3, 'a', 2, 2)", 1, 2),
        ("UPDATE OR REPLACE codes SET code = 'a' WHERE id = 3", 1, 1),
        ("UPDATE OR REPLACE codes SET id = 1 WHERE id = 3", 1, 1),
        ("UPDATE OR REPLACE codes SET a = 1, b = 1, code = 'b' WHERE id = 3", 1, 2),
        ("PRAGMA recursive_triggers = ON; REPLACE INTO codes VALUES (9, 'a', 2, 2)", 1, 2),
    ] {
        let backup = after(CODES, THREE, statement).await;
        assert_eq!(backup.count("codes"), (rows, deletions), "{statement}");
    }
}

#[tokio::test]
async fn rows_that_a_declaration_replaces_travel_as_deletions() {
    let tables = "CREATE TABLE codes (id INTEGER PRIMARY KEY, code TEXT UNIQUE ON CONFLICT REPLACE);
        CREATE TABLE kept (name TEXT COLLATE NOCASE UNIQUE ON CONFLICT REPLACE, a, b, PRIMARY KEY (a, b)) WITHOUT ROWID;";
    let rows = "INSERT INTO codes VALUES (1, 'a'); INSERT INTO kept VALUES ('tea', 1, 1)";
    let backup =
        after(tables, rows, "INSERT INTO codes VALUES (2, 'a'); INSERT INTO kept VALUES ('TEA', 1, 2)").await;
    assert_eq!((backup.count("codes"), backup.count("kept")), ((1, 1), (1, 1)));
}

#[tokio::test]
async fn rows_that_a_partial_or_computed_index_replaces_travel_as_deletions() {
    let tables = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, server TEXT, clock INTEGER);
        CREATE UNIQUE INDEX by_lower ON t (lower(name) /* ) */, server DESC);
        CREATE UNIQUE INDEX by_clock ON t (clock) WHERE server IS NOT NULL AND t.name <> ')';";
    let rows =
        "INSERT INTO t VALUES (1, 'TEA', 's', 1), (2, 'milk', 's', 2), (3, 'x', NULL, 3), (4, 'y', 's', 4)";
    for (statement, rows_and_deletions) in [
        ("REPLACE INTO t VALUES (9, 'tea', 's', 9)", (1, 1)),
        ("REPLACE INTO t VALUES (9, 'new', 's', 2)", (1, 1)),
        // Outside of the condition: nothing is replaced.
        ("REPLACE INTO t VALUES (9, 'new', 's', 3)", (1, 0)),
        ("UPDATE OR REPLACE t SET name = 'Milk', clock = 1 WHERE id = 4", (1, 2)),
    ] {
        let backup = after(tables, rows, statement).await;
        assert_eq!(backup.count("t"), rows_and_deletions, "{statement}");
    }
}

#[tokio::test]
async fn rows_that_only_stood_in_the_way_do_not_travel() {
    for statement in [
        "INSERT OR IGNORE INTO codes VALUES (9, 'a', 9, 9)",
        "INSERT OR IGNORE INTO codes VALUES (1, 'x', 2, 2)",
        "INSERT INTO codes VALUES (9, 'a', 9, 9) ON CONFLICT DO NOTHING",
        "UPDATE OR IGNORE codes SET code = 'a' WHERE id = 3",
        "INSERT INTO codes VALUES (9, 'a', 9, 9) ON CONFLICT (code) DO UPDATE SET a = a",
    ] {
        let backup = after(CODES, THREE, statement).await;
        assert_eq!(backup.lines(), 0, "{statement}");
    }
    let backup =
        after(CODES, THREE, "INSERT INTO codes VALUES (9, 'a', 9, 9) ON CONFLICT (code) DO UPDATE SET a = 7")
            .await;
    assert_eq!((backup.count("codes"), backup.lines()), ((1, 0), 1));
}

/// A row that was only looked at as a victim has no new version, and so wins no conflict.
#[tokio::test]
async fn a_row_that_only_stood_in_the_way_wins_no_conflict() {
    let (mut store, mut hq) = two(CODES, THREE).await;
    hq.write("UPDATE codes SET a = 10 WHERE id = 1").await;
    store.write("INSERT OR IGNORE INTO codes VALUES (9, 'a', 9, 9)").await;
    let report = send(&mut hq, &mut store).await.1;
    assert_eq!((report.tables[0].updated, store.state().await.conflicts), (1, 0));
}

#[tokio::test]
async fn keys_of_every_class_travel_as_they_are() {
    let tables = "CREATE TABLE t (k PRIMARY KEY, v);";
    let rows = "INSERT INTO t VALUES (1, 'i'), ('1', 't'), (x'31', 'b'), (1.5, 'r'), (-9223372036854775808, 'low'), (1e300, 'far'), ('', 'empty'), ('it''s, \"x\"', 'quoted')";
    let backup = after(tables, rows, "UPDATE t SET v = v || '!'").await;
    assert_eq!(backup.count("t"), (8, 0));
    let backup = after(tables, rows, "DELETE FROM t").await;
    assert_eq!(backup.count("t"), (0, 8));
    // 1 and 1.0 are one key, and two values.
    let backup = after(tables, rows, "UPDATE t SET k = 1.0 WHERE k = 1").await;
    assert_eq!(backup.count("t"), (1, 0));
}

#[tokio::test]
async fn a_key_that_changes_its_case_alone_is_the_same_row() {
    let tables = "CREATE TABLE t (name TEXT PRIMARY KEY COLLATE NOCASE, v INTEGER);
        CREATE TABLE r (name TEXT COLLATE RTRIM, n INTEGER, PRIMARY KEY (name, n)) WITHOUT ROWID;";
    let rows = "INSERT INTO t VALUES ('tea', 1), ('milk', 2); INSERT INTO r VALUES ('a', 1)";
    let backup =
        after(tables, rows, "UPDATE t SET name = 'TEA' WHERE v = 1; UPDATE r SET name = 'a  '").await;
    assert_eq!((backup.count("t"), backup.count("r")), ((1, 0), (1, 0)));
    assert!(backup.rows_of("t")[0].line.contains("TEA"));
    let backup =
        after(tables, rows, "REPLACE INTO t VALUES ('Milk', 3); DELETE FROM t WHERE name = 'Tea'").await;
    assert_eq!(backup.count("t"), (1, 1));
}

/// A column's own collation is not what tells changes apart.
#[tokio::test]
async fn a_change_that_its_collation_does_not_see_travels() {
    let tables =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, code TEXT COLLATE RTRIM, any);";
    let rows =
        "INSERT INTO t VALUES (1, 'tea', 'x', 1), (2, 'tea', 'x', 1), (3, 'tea', 'x', 1), (4, 'tea', 'x', 1)";
    let changes = "UPDATE t SET name = 'Tea' WHERE id = 1; UPDATE t SET code = 'x ' WHERE id = 2;
        UPDATE t SET any = 1.0 WHERE id = 3; UPDATE t SET name = 'tea', code = 'x', any = 1 WHERE id = 4";
    let backup = after(tables, rows, changes).await;
    assert_eq!(backup.count("t"), (3, 0));
}

#[tokio::test]
async fn a_row_whose_key_is_null_is_refused_by_name() {
    let (mut store, mut hq) = two("CREATE TABLE t (k TEXT PRIMARY KEY, v INTEGER);", "").await;
    store.write("INSERT INTO t VALUES (NULL, 1), ('x', 2)").await;
    for _ in 0..2 {
        let mut changes = worked(store.capture().pack(Default::default()).await);
        let audience = branchline_core::pack::Audience {
            acknowledged: store.acknowledged(&hq.id),
            lent: Default::default(),
            relay: false,
        };
        let plan = branchline_core::pack::plan_pack(changes.position(), &audience, false);
        worked(changes.open(&branchline_testkit::database::table_name("t"), &plan).await);
        assert_refused(changes.next().await, Code::ROW_NOT_ENCODABLE);
    }
    store.write("DELETE FROM t WHERE k IS NULL").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("t"), backup.lines()), ((1, 0), 1));
    assert_eq!(store.hashes().await, hq.hashes().await);
}

#[tokio::test]
async fn a_key_of_eight_columns_is_captured_and_one_of_nine_is_not() {
    let columns = |count: usize| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
    let tables = format!(
        "CREATE TABLE eight ({0}, PRIMARY KEY ({0})) WITHOUT ROWID; CREATE TABLE nine ({1}, PRIMARY KEY ({1}));",
        columns(8),
        columns(9)
    );
    let store = TestServer::over(with_tables(&tables).await, "STORE-001");
    let added = vec![branchline_testkit::database::table_name("eight")];
    assert_eq!(store.attach().await, AttachReport { added, captured: 1, ..AttachReport::default() });
    store.write("INSERT INTO nine VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9)").await;
    assert!(!worked(store.capture().has_changes().await));
    store.write("INSERT INTO eight VALUES (1, 'b', x'03', 4.5, 5, 6, 7, 8)").await;
    assert_eq!(
        store
            .query("SELECT typeof(k0) || typeof(k1) || typeof(k2) || typeof(k3) FROM branchline_change")
            .await,
        ["integertextblobreal"]
    );
}

#[tokio::test]
async fn sixteen_hundred_columns_are_compared_and_long_names_are_not() {
    let columns =
        |count: usize, name: &str| (1..count).map(|n| format!(", {name}{n} INTEGER")).collect::<String>();
    let long = "n".repeat(200);
    let tables = format!(
        "CREATE TABLE wide (id INTEGER PRIMARY KEY{}); CREATE TABLE long (id INTEGER PRIMARY KEY{});",
        columns(1_600, "c"),
        columns(800, &long)
    );
    let rows = format!(
        "INSERT INTO wide (id, c1599) VALUES (1, 7), (2, 8); INSERT INTO long (id, {long}799) VALUES (1, 7)"
    );
    let (mut store, mut hq) = two(&tables, &rows).await;
    store.write("UPDATE wide SET c1599 = 8").await;
    store.write(&format!("UPDATE long SET {long}799 = {long}799")).await;
    let (backup, _) = send(&mut store, &mut hq).await;
    // An update without effect is told where the comparison is short enough, and travels where it is not.
    assert_eq!((backup.count("wide"), backup.count("long")), ((1, 0), (1, 0)));
    assert_eq!(store.hashes().await, hq.hashes().await);
}

#[tokio::test]
async fn what_is_left_in_the_schema_can_be_read_by_old_engines() {
    let tables = format!(
        "{CODES} CREATE TABLE any (k PRIMARY KEY, v); CREATE UNIQUE INDEX odd ON any (v) WHERE v > 0;"
    );
    let store = TestServer::over(with_tables(&tables).await, "STORE-001");
    store.attach().await;
    let left = store
        .query("SELECT upper(sql) FROM sqlite_schema WHERE name LIKE 'branchline%' AND sql IS NOT NULL")
        .await;
    assert!(left.len() > 20, "{left:?}");
    for sql in left {
        for newer in [
            "STRICT",
            "GENERATED",
            "RETURNING",
            "ON CONFLICT",
            "OVER (",
            "IIF",
            " TRUE",
            " FALSE",
            "AUTOINCREMENT",
            "WITHOUT ROWID",
            "FILTER",
            "-> ",
        ] {
            assert!(!sql.contains(newer), "{newer}: {sql}");
        }
        assert!(!sql.contains(") = (NEW") && !sql.contains(") IS NOT (NEW"), "row values: {sql}");
    }
    assert!(store.query("SELECT name FROM sqlite_schema WHERE name = 'sqlite_sequence'").await.is_empty());
}

/// The shop's program sees nothing of the triggers in what it asks its connection.
#[tokio::test]
async fn a_statement_counts_what_it_counted_before() {
    let (store, _) = two(CODES, THREE).await;
    let till = till(&store).await;
    assert_eq!(till.execute("UPDATE codes SET a = a + 10", []).unwrap(), 3);
    assert_eq!(till.execute("INSERT INTO codes VALUES (40, 'd', 4, 4)", []).unwrap(), 1);
    assert_eq!(till.last_insert_rowid(), 40);
    assert_eq!(till.execute("DELETE FROM codes", []).unwrap(), 4);
}

#[tokio::test]
async fn changes_have_a_time_later_than_the_clock() {
    let (mut store, hq) = two(CODES, THREE).await;
    let ahead = ChangeTime::from_micros(4_000_000_000_000_000);
    store.write("UPDATE branchline_capture SET clock = 4000000000000000").await;
    store.write("UPDATE codes SET a = 7 WHERE id = 1").await;
    let backup = store.pack_for(&hq.id).await;
    assert_eq!(backup.rows_of("codes")[0].version.time, ahead.next());
    assert_eq!(store.state().await.clock, ahead.next());
}

/// A snapshot would keep the pack itself from writing.
#[tokio::test]
async fn a_file_that_is_kept_out_of_wal_mode_is_not_packed() {
    let store = TestServer::over(with_tables(CODES).await, "STORE-001");
    store.attach().await;
    let till = till(&store).await;
    till.execute_batch(
        "PRAGMA locking_mode = NORMAL; PRAGMA journal_mode = DELETE; BEGIN; SELECT * FROM codes",
    )
    .unwrap();
    let busy = store.capture().pack(Default::default()).await.map(|_| ());
    assert_refused(busy, Code::DATABASE_BUSY);
    till.execute_batch("COMMIT").unwrap();
    drop(till);
    worked(store.capture().pack(Default::default()).await);
}

#[tokio::test]
async fn nothing_is_packed_or_amended_where_nothing_is_captured() {
    let store = TestServer::over(with_tables(CODES).await, "STORE-001");
    assert_eq!(worked(store.capture().look().await), None);
    assert!(!worked(store.capture().has_changes().await));
    assert_refused(store.capture().pack(Default::default()).await.map(|_| ()), Code::NOT_ATTACHED);
    let due = branchline_core::ports::Amendment::SetCompareDue { tables: Vec::new(), due: true };
    assert_refused(store.capture().amend(due).await, Code::NOT_ATTACHED);
    let tables = store.query("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'branchline%'").await;
    assert_eq!(tables, ["0"]);
    worked(store.capture().detach().await);
    worked(store.capture().attach(AttachRequest { ..store.request() }).await);
}

/// A load that is large enough to go in without being noted; the triggers are there again afterwards, in step.
#[tokio::test]
async fn a_large_load_leaves_nothing_in_the_log_and_the_triggers_where_they_were() {
    let tables = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE);";
    let many = "INSERT INTO t WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10001) SELECT n, 'v' || n FROM c";
    for shop_trigger in [
        "",
        "CREATE TRIGGER shop AFTER INSERT ON t WHEN NEW.id = 7 BEGIN INSERT INTO t VALUES (20000, 'extra'); END;",
    ] {
        let mut store = TestServer::over(with_tables(tables).await, "STORE-001");
        let mut hq = TestServer::over(with_tables(&format!("{tables}{shop_trigger}")).await, "HQ");
        store.write(many).await;
        store.attach().await;
        hq.attach().await;
        let triggers = "SELECT name || sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name";
        let before = hq.query(triggers).await;
        let (_, report) = send(&mut store, &mut hq).await;
        assert_eq!(report.tables[0].inserted, 10_001);
        assert_eq!(hq.query(triggers).await, before);
        // What the shop's trigger wrote to another row is a change made here.
        assert_eq!(hq.state().await.pending, u64::from(!shop_trigger.is_empty()));
        assert_eq!(worked(hq.capture().has_changes().await), !shop_trigger.is_empty());
        hq.write("UPDATE t SET v = 'w' WHERE id = 1").await;
        let (back, _) = send(&mut hq, &mut store).await;
        assert_eq!(back.count("t").0, 1 + u64::from(!shop_trigger.is_empty()));
    }
}

/// The table was emptied here before, and that waits to be packed: the load overrules it.
#[tokio::test]
async fn a_large_load_over_deletions_that_wait_overrules_them() {
    let tables = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);";
    let many = "INSERT INTO t WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10001) SELECT n, 'v' || n FROM c";
    let (mut store, mut hq) = two(tables, many).await;
    hq.write("DELETE FROM t").await;
    store.write("UPDATE t SET v = v || '!'; UPDATE t SET v = v || '?'").await;
    for _ in 0..20 {
        store.write("UPDATE t SET v = v || '.'").await;
    }
    send(&mut store, &mut hq).await;
    assert_eq!(hq.query("SELECT count(*) FROM t").await, ["10001"]);
    assert_eq!(hq.state().await.pending, 0);
    branchline_testkit::database::capturing::settle(&mut store, &mut hq).await;
}
