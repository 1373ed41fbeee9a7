//! Files: none, no database, read-only, in an old journal mode, locked, full.

use std::fs;
use std::time::Duration;

use branchline_core::code::{Code, Explain};
use branchline_core::schema::LogicalType as T;
use branchline_core::value::Value;
use branchline_testkit::database::{
    Fixture, Shape, TestBackup, assert_refused, hashes_of, restoring::shop, worked,
};
use rusqlite::Connection;

use super::with_tables;
use crate::conformance::sqlite_files;

async fn refusal(url: String) -> Code {
    branchline_db::connect(&url).await.err().expect("a refusal").code()
}

#[tokio::test]
async fn a_url_that_names_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    assert_eq!(refusal("sqlite:".into()).await, Code::DATABASE_URL_INVALID);
    assert_eq!(refusal("sqlite::memory:".into()).await, Code::DATABASE_URL_INVALID);
    assert_eq!(refusal("mysql://root@localhost/shop".into()).await, Code::DATABASE_URL_INVALID);
    assert_eq!(refusal(in_folder("missing.db")).await, Code::DATABASE_UNREACHABLE);
    assert!(!folder.path().join("missing.db").exists());
    assert_eq!(refusal(format!("sqlite:{}", folder.path().display())).await, Code::DATABASE_UNREACHABLE);
    fs::write(folder.path().join("notes.txt"), "not a database ".repeat(200)).unwrap();
    assert_eq!(refusal(in_folder("notes.txt")).await, Code::DATABASE_UNREACHABLE);
}

#[tokio::test]
async fn a_file_or_folder_that_takes_no_writes_is_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
    let set_read_only = |path: &std::path::Path, read_only: bool| {
        let mut permissions = fs::metadata(path).unwrap().permissions();
        permissions.set_readonly(read_only);
        fs::set_permissions(path, permissions).unwrap();
    };
    let url = format!("sqlite:{}", path.display());
    set_read_only(&path, true);
    assert_eq!(refusal(url.clone()).await, Code::DATABASE_READ_ONLY);
    set_read_only(&path, false);
    if cfg!(unix) {
        set_read_only(folder.path(), true);
        assert_eq!(refusal(url.clone()).await, Code::DATABASE_READ_ONLY);
        set_read_only(folder.path(), false);
    }
    assert!(branchline_db::connect(&url).await.is_ok());
}

#[tokio::test]
async fn an_old_journal_is_switched_to_wal_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let shop = Connection::open(&path).unwrap();
    shop.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
    branchline_db::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    // The shop's program goes on with the connection that it has.
    shop.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    let mode: String = shop.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_lock_that_is_held_for_too_long_is_busy_and_nothing_is_written() {
    let (source, target) = (shop(&sqlite_files()).await, sqlite_files().create(Shape::Shop).await);
    let backup = TestBackup::of(&*source.database()).await;
    let database = target.database();
    let before = hashes_of(&*database).await;
    let mut apply = worked(backup.staged(&*database).await);
    let path = target.query("SELECT file FROM pragma_database_list WHERE name = 'main'").await;
    let till = Connection::open(&path[0]).unwrap();
    till.execute_batch("BEGIN IMMEDIATE; INSERT INTO products (id, sku, price) VALUES (77, 'x', '1')")
        .unwrap();
    assert_refused(apply.merge().await, Code::DATABASE_BUSY);
    drop(apply);
    till.execute_batch("ROLLBACK").unwrap();
    assert_eq!(hashes_of(&*database).await, before);
    worked(backup.apply(&*database).await);
}

#[tokio::test]
async fn a_session_that_is_dropped_in_the_middle_of_a_merge_gives_the_lock_back() {
    let tables = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);";
    let (source, target) = (with_tables(tables).await, with_tables(tables).await);
    source
        .execute("INSERT INTO t WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) SELECT n, 'v' || n FROM c")
        .await;
    // Each row makes the merge slow, so that it is certainly running when the session goes.
    target
        .execute("CREATE TRIGGER slow AFTER INSERT ON t BEGIN
            SELECT count(*) FROM (WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) SELECT n FROM c); END;")
        .await;
    let backup = TestBackup::of(&*source.database()).await;
    let database = target.database();
    let mut apply = worked(backup.staged(&*database).await);
    let merge = tokio::time::timeout(Duration::from_millis(300), apply.merge()).await;
    assert!(merge.is_err(), "the merge was over too soon: {merge:?}");
    drop(apply);
    target.execute("DROP TRIGGER slow").await;
    assert_eq!(target.query("SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(worked(backup.apply(&*database).await).tables[0].inserted, 20_000);
}

#[tokio::test]
async fn a_schema_that_changes_while_rows_are_staged_is_met_again_later() {
    let target = with_tables("CREATE TABLE t (id INTEGER PRIMARY KEY);").await;
    let database = target.database();
    let backup = TestBackup::of_rows("t", &["id"], &[("id", T::Int64)], &[&[Value::Integer(2)]]);
    let mut apply = worked(backup.staged(&*database).await);
    target.execute("ALTER TABLE t ADD COLUMN v TEXT").await;
    assert_refused(apply.merge().await, Code::DATABASE_BUSY);
    drop(apply);
    assert_eq!(target.query("SELECT count(*) FROM t").await, ["0"]);
    worked(backup.apply(&*database).await);
}

#[tokio::test]
async fn the_ledger_survives_an_older_engine_and_refuses_a_newer_one() {
    let shop = with_tables("CREATE TABLE t (id INTEGER PRIMARY KEY);").await;
    worked(shop.database().ledger().await);
    let declared =
        shop.query("SELECT sql FROM sqlite_schema WHERE name LIKE 'branchline%' AND sql IS NOT NULL").await;
    assert_eq!(declared.len(), 3);
    for sql in declared {
        for newer in ["STRICT", "GENERATED", "WITHOUT ROWID"] {
            assert!(!sql.contains(newer), "{sql}");
        }
    }
    shop.execute("INSERT INTO branchline_migrations VALUES (99)").await;
    assert_refused(shop.database().ledger().await, Code::DATABASE_VERSION);
}

#[tokio::test]
async fn the_last_backup_of_a_source_is_the_last_of_its_chain() {
    let target = with_tables("CREATE TABLE t (id INTEGER PRIMARY KEY);").await;
    let backup = |sequence| {
        let rows: [&[Value<'_>]; 1] = [&[Value::Integer(1)]];
        TestBackup::of_rows("t", &["id"], &[("id", T::Int64)], &rows).at(sequence)
    };
    for sequence in [2, 1] {
        worked(backup(sequence).apply(&*target.database()).await);
    }
    let last = worked(target.database().last_applied(backup(1).request().source).await).unwrap();
    assert_eq!(last.sequence.value(), 2);
}
