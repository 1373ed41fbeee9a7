//! Values keep their storage class, or are refused.

use branchline_core::code::Code;
use branchline_core::schema::LogicalType as T;
use branchline_core::value::Value;
use branchline_testkit::database::{
    TestBackup, TestDatabase, assert_refused, refusing::assert_backup_refused, worked,
};

use super::{copied, with_tables};

const ANYTHING: &str =
    "CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, r REAL, x TEXT, n DECIMAL(10,2), b BLOB, u,
    d DATETIME, f BOOLEAN, j JSON);";

#[tokio::test]
async fn storage_classes_survive_a_copy() {
    let source = with_tables(ANYTHING).await;
    source
        .execute(
            "INSERT INTO t VALUES
            (1, 5, 5.0, 'x', 12.5, x'ff', 1, '2025-01-01 08:00:00', 1, '{\"a\":1}'),
            (2, 'five', 1e300, x'00ff', 12, 'text', 1.0, 1735689600, 7, 12),
            (3, 9007199254740993, -9e999, '', 'abc', 1.5, '1', 1.5, 'yes', 'not json'),
            (4, x'01', 'r', NULL, x'', 42, x'31', x'00', 0.5, x'7b7d'),
            (5, 1.5, -0.5, 'größe', 9223372036854775807, '', '', '', NULL, '[1,\n2]')",
        )
        .await;
    let target = copied(&*source, ANYTHING).await;
    let every = "SELECT id || quote(i) || quote(r) || quote(x) || quote(n) || quote(b) || quote(u) || quote(d) || quote(f) || quote(j)
        || typeof(r) || typeof(n) FROM t ORDER BY id";
    assert_eq!(target.query(every).await, source.query(every).await);
}

#[tokio::test]
async fn equal_numbers_of_two_classes_are_a_difference_in_an_untyped_column() {
    let (source, target) = (with_tables(ANYTHING).await, with_tables(ANYTHING).await);
    source.execute("INSERT INTO t (id, u) VALUES (1, 1.0), (2, 'a')").await;
    target.execute("INSERT INTO t (id, u) VALUES (1, 1), (2, 'a')").await;
    let report = worked(TestBackup::of(&*source.database()).await.apply(&*target.database()).await);
    assert_eq!((report.tables[0].updated, report.tables[0].unchanged), (1, 1));
    assert_eq!(target.query("SELECT typeof(u) FROM t ORDER BY id").await, ["real", "text"]);
}

#[tokio::test]
async fn what_affinity_would_change_is_refused() {
    let target = with_tables(ANYTHING).await;
    target.execute("INSERT INTO t (id, i) VALUES (7, 1)").await;
    let text = |text: &'static str| Value::Text(text.into());
    for (column, from, value) in [
        ("i", T::Int64, text("12")),
        ("i", T::Int64, Value::Float(5.0)),
        ("r", T::Float64, Value::Integer(5)),
        ("r", T::Float64, Value::Float(f64::NAN)),
        ("x", T::Text, Value::Integer(5)),
        ("n", T::Text, text("12345678901234567.89")),
        ("n", T::Float64, Value::Float(2.0)),
        ("d", T::Text, text("20250101")),
        ("j", T::Json, Value::Json("1.50".into())),
        ("f", T::Int64, Value::Integer(2)),
    ] {
        let row = [Value::Integer(1), value];
        let backup = TestBackup::of_rows("t", &["id"], &[("id", T::Int64), (column, from)], &[&row]);
        assert_backup_refused(&*target, &backup, Code::VALUE_NOT_HELD).await;
    }
}

#[tokio::test]
async fn a_decimal_is_refused_by_its_type_where_sqlite_would_round_it() {
    let target = with_tables(ANYTHING).await;
    for column in ["n", "i", "r", "d"] {
        let backup =
            TestBackup::of_rows("t", &["id"], &[("id", T::Int64), (column, T::Decimal(Some((12, 2))))], &[]);
        assert_backup_refused(&*target, &backup, Code::TYPE_NOT_HELD).await;
    }
    for column in ["x", "u"] {
        let row = [Value::Integer(1), Value::Text("1234567890123456789.10".into())];
        let columns = [("id", T::Int64), (column, T::Decimal(None))];
        let sequence = if column == "x" { 1 } else { 2 };
        let backup = TestBackup::of_rows("t", &["id"], &columns, &[&row]).at(sequence);
        worked(backup.apply(&*target.database()).await);
        assert_eq!(target.query(&format!("SELECT {column} FROM t")).await, ["1234567890123456789.10"]);
    }
}

#[tokio::test]
async fn a_strict_table_takes_its_types_and_nothing_else() {
    let strict = "CREATE TABLE t (id INTEGER PRIMARY KEY, i INT, r REAL, x TEXT, b BLOB, a ANY) STRICT;";
    let source = with_tables(strict).await;
    source.execute("INSERT INTO t VALUES (1, 2, 3, '4', x'05', '6'), (2, NULL, 1e999, '', x'', 6.0)").await;
    let target = copied(&*source, strict).await;
    assert_eq!(target.query("SELECT typeof(a) FROM t ORDER BY id").await, ["text", "real"]);
    for (column, from, value) in [
        ("i", T::Int64, Value::Text("x".into())),
        ("i", T::Any, Value::Float(1.5)),
        ("x", T::Text, Value::Bytes(vec![1].into())),
        ("b", T::Bytes, Value::Text("x".into())),
    ] {
        let row = [Value::Integer(1), value];
        let backup = TestBackup::of_rows("t", &["id"], &[("id", T::Int64), (column, from)], &[&row]).at(2);
        assert_backup_refused(&*target, &backup, Code::VALUE_NOT_HELD).await;
    }
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_refused_at_the_source_by_name() {
    let source = with_tables("CREATE TABLE t (name TEXT PRIMARY KEY, note TEXT);").await;
    source.execute("INSERT INTO t VALUES ('good', 'x'), ('bad', CAST(x'ff41' AS TEXT))").await;
    let refused = first_refusal(&*source, "t").await;
    assert_eq!(refused, "row \"bad\" of table t cannot be carried: column note holds text that is not UTF-8");
}

#[tokio::test]
async fn a_key_that_is_null_is_refused_at_the_source() {
    let source = with_tables("CREATE TABLE t (name TEXT PRIMARY KEY, note TEXT);").await;
    source.execute("INSERT INTO t VALUES (NULL, 'x')").await;
    let refused = first_refusal(&*source, "t").await;
    assert_eq!(refused, "row null of table t cannot be carried: a column of its primary key is NULL");
}

async fn first_refusal(source: &dyn TestDatabase, table: &str) -> String {
    let table = branchline_testkit::database::table_name(table);
    let mut snapshot = worked(source.database().snapshot().await);
    worked(snapshot.open(&table).await);
    assert_refused(snapshot.next().await, Code::ROW_NOT_ENCODABLE).to_string()
}

#[tokio::test]
async fn a_row_past_16_mib_is_refused_at_the_source() {
    let source = with_tables("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB);").await;
    source.execute("INSERT INTO t VALUES (1, zeroblob(12582000)), (2, zeroblob(12583000))").await;
    let table = branchline_testkit::database::table_name("t");
    let mut snapshot = worked(source.database().snapshot().await);
    worked(snapshot.open(&table).await);
    assert_eq!(worked(snapshot.next().await).expect("the row at the limit").rows, 1);
    assert_refused(snapshot.next().await, Code::ROW_TOO_LARGE);
}

#[tokio::test]
async fn typed_text_is_kept_as_written_and_compares_as_its_type() {
    let typed = "CREATE TABLE t (id INTEGER PRIMARY KEY, at TIMESTAMP TEXT, price DECIMAL TEXT);";
    let (source, other) = (with_tables(typed).await, with_tables(typed).await);
    source.execute("INSERT INTO t VALUES (1, '2025-01-01 08:00:00', '1.50')").await;
    other.execute("INSERT INTO t VALUES (1, '2025-01-01T08:00:00', '1.5')").await;
    let hashes = branchline_testkit::database::hashes_of;
    assert_eq!(hashes(&*source.database()).await, hashes(&*other.database()).await);
    let target = copied(&*source, typed).await;
    assert_eq!(target.query("SELECT at || price FROM t").await, ["2025-01-01 08:00:001.50"]);
}
