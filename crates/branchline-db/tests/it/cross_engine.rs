//! PostgreSQL to SQLite and back: what both hold compares equal, and what cannot be held is refused by name.

use branchline_core::code::{Code, Explain};
use branchline_core::compare::TableHashes;
use branchline_core::ports::Database;
use branchline_core::schema::LogicalType as T;
use branchline_core::value::Value;
use branchline_testkit::database::backup::shared_specs;
use branchline_testkit::database::capturing::keys::{KEYS, with_each_key};
use branchline_testkit::database::capturing::{TestServer, assert_quiet, send};
use branchline_testkit::database::restoring::{SHOP_ROWS, wide_columns, wide_rows};
use branchline_testkit::database::{
    Engine, Fixture, Shape, TestBackup, TestDatabase, assert_refused, hashes_of, worked,
};

use crate::conformance::{postgres_databases, sqlite_files};

/// Both sides' hashes under the types that they share, table by table.
async fn shared_hashes(here: &dyn Database, there: &dyn Database) -> Vec<(String, TableHashes, TableHashes)> {
    let (mut here, mut there) = (worked(here.snapshot().await), worked(there.snapshot().await));
    let mut found = Vec::new();
    for spec in shared_specs(here.schema(), there.schema()) {
        let (ours, theirs) = (worked(here.hashes(&spec).await), worked(there.hashes(&spec).await));
        found.push((spec.table.to_string(), ours, theirs));
    }
    found
}

/// Asserts that the tables that both have are equal under the types that they share.
pub(crate) async fn assert_equal(here: &dyn TestDatabase, there: &dyn TestDatabase, tables: usize) {
    let hashes = shared_hashes(&*here.database(), &*there.database()).await;
    assert_eq!(hashes.len(), tables);
    for (table, ours, theirs) in hashes {
        assert_eq!(ours, theirs, "{table}");
    }
}

async fn copy(from: &dyn TestDatabase, to: &dyn TestDatabase) {
    worked(TestBackup::of(&*from.database()).await.apply(&*to.database()).await);
}

#[tokio::test]
async fn a_shop_goes_to_sqlite_and_back() {
    let first = postgres_databases().create(Shape::Shop).await;
    first.execute(SHOP_ROWS).await;
    let between = sqlite_files().create(Shape::Shop).await;
    let last = postgres_databases().create(Shape::Shop).await;
    copy(&*first, &*between).await;
    assert_equal(&*first, &*between, 6).await;
    copy(&*between, &*last).await;
    assert_equal(&*between, &*last, 6).await;
    assert_eq!(hashes_of(&*last.database()).await, hashes_of(&*first.database()).await);
}

#[tokio::test]
async fn values_at_their_edges_go_to_sqlite_and_back() {
    let first = postgres_databases().create(Shape::Wide).await;
    let rows = wide_rows();
    let rows: Vec<&[Value<'_>]> = rows.iter().map(Vec::as_slice).collect();
    worked(TestBackup::of_rows("wide", &["id"], &wide_columns(), &rows).apply(&*first.database()).await);
    let between = sqlite_files().create(Shape::Wide).await;
    let last = postgres_databases().create(Shape::Wide).await;
    copy(&*first, &*between).await;
    assert_equal(&*first, &*between, 1).await;
    copy(&*between, &*last).await;
    assert_equal(&*between, &*last, 1).await;
    assert_eq!(hashes_of(&*last.database()).await, hashes_of(&*first.database()).await);
    let exact = "SELECT exact::text || ' ' || fraction::text || ' ' || coalesce(day::text, '') FROM wide WHERE id = 1";
    assert_eq!(last.query(exact).await, first.query(exact).await);
}

/// Two servers of different engines with these tables; the rows are those of the first, and came to the second.
async fn attached(shape: Shape, rows: &str) -> (TestServer, TestServer) {
    let mut first = TestServer::attached(&postgres_databases(), shape, rows, "STORE-001").await;
    let mut second = TestServer::attached(&sqlite_files(), shape, "", "HQ").await;
    send(&mut first, &mut second).await;
    send(&mut second, &mut first).await;
    (first, second)
}

/// Both ledgers write a key in their own way; the row that it names is the same.
#[tokio::test]
async fn changes_by_keys_of_every_kind_go_to_sqlite_and_back() {
    let of = |engine, statement, n| with_each_key(engine, statement, n);
    let insert = "INSERT INTO {table} ({columns}, v) VALUES ({key}, 1)";
    let update = "UPDATE {table} SET v = v + 1 WHERE ({columns}) = ({key})";
    let delete = "DELETE FROM {table} WHERE ({columns}) = ({key})";
    let rows = of(Engine::Postgres, insert, 0) + &of(Engine::Postgres, insert, 1);
    let (mut first, mut second) = attached(Shape::Keys, &rows).await;
    first.write(&(of(Engine::Postgres, update, 0) + &of(Engine::Postgres, insert, 2))).await;
    send(&mut first, &mut second).await;
    second.write(&(of(Engine::Sqlite, update, 0) + &of(Engine::Sqlite, delete, 1))).await;
    second.write(&(of(Engine::Sqlite, delete, 2) + &of(Engine::Sqlite, insert, 3))).await;
    let (back, report) = send(&mut second, &mut first).await;
    for (table, _, _) in KEYS {
        let merged = back.merged(&report, table);
        assert_eq!((merged.inserted, merged.updated, merged.deleted), (1, 1, 2), "{table}");
        assert_eq!(first.query(&format!("SELECT v FROM {table} ORDER BY v")).await, ["1", "3"], "{table}");
    }
    assert_equal(&*first.shop, &*second.shop, KEYS.len()).await;
    assert_quiet(&mut first, &mut second).await;
}

#[tokio::test]
async fn changed_values_at_their_edges_go_to_sqlite_and_back() {
    let (mut first, mut second) = attached(Shape::Wide, "").await;
    let rows = wide_rows();
    let rows: Vec<&[Value<'_>]> = rows.iter().map(Vec::as_slice).collect();
    worked(TestBackup::of_rows("wide", &["id"], &wide_columns(), &rows).at(9).apply(first.database()).await);
    let (there, _) = send(&mut first, &mut second).await;
    assert_eq!(there.count("wide"), (5, 0));
    assert_equal(&*first.shop, &*second.shop, 1).await;
    assert_quiet(&mut first, &mut second).await;
    second.write("UPDATE wide SET small = 3; UPDATE wide SET id = 77 WHERE id = 1").await;
    let (back, _) = send(&mut second, &mut first).await;
    assert_eq!(back.count("wide"), (5, 1));
    assert_equal(&*first.shop, &*second.shop, 1).await;
    assert_quiet(&mut first, &mut second).await;
}

#[tokio::test]
async fn a_plain_sqlite_shop_goes_to_typed_columns_and_back() {
    let plain = "CREATE TABLE sales (id INTEGER PRIMARY KEY, total TEXT, at DATETIME, paid INTEGER, note JSON, tags TEXT);";
    let typed = "CREATE TABLE sales (id BIGINT PRIMARY KEY, total NUMERIC(12,2), at TIMESTAMP, paid BOOLEAN, note JSONB, tags TEXT[]);";
    let first = sqlite_files().create(Shape::Nothing).await;
    first.execute(plain).await;
    first
        .execute(r#"INSERT INTO sales VALUES (1, '1.10', '2025-01-01 08:00:00', 1, '{"b": 1,"a":[2.0]}', '["x", null]'), (2, NULL, NULL, 0, 12, '[]')"#)
        .await;
    let between = postgres_databases().create(Shape::Nothing).await;
    between.execute(typed).await;
    let last = sqlite_files().create(Shape::Nothing).await;
    last.execute(plain).await;
    copy(&*first, &*between).await;
    assert_equal(&*first, &*between, 1).await;
    copy(&*between, &*last).await;
    assert_equal(&*between, &*last, 1).await;
}

/// Applies one column of one PostgreSQL table to SQLite and expects a refusal that names the column.
async fn assert_refused_by_name(postgres: &str, value: &str, sqlite: &str, code: Code) {
    let source = postgres_databases().create(Shape::Nothing).await;
    source
        .execute(&format!(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, odd {postgres}); INSERT INTO t VALUES (1, {value})"
        ))
        .await;
    let target = sqlite_files().create(Shape::Nothing).await;
    target
        .execute(&format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, odd {sqlite}); INSERT INTO t (id) VALUES (5)"
        ))
        .await;
    let before = hashes_of(&*target.database()).await;
    let result = TestBackup::of(&*source.database()).await.apply(&*target.database()).await;
    let text = assert_refused(result, code).to_string();
    assert!(text.contains("column odd of table t"), "{postgres} to {sqlite}: {text}");
    assert_eq!(hashes_of(&*target.database()).await, before);
}

#[tokio::test]
async fn what_sqlite_cannot_hold_is_refused_by_name() {
    for (postgres, value, sqlite, code) in [
        ("NUMERIC(12,2)", "1.10", "DECIMAL(12,2)", Code::TYPE_NOT_HELD),
        ("NUMERIC", "1", "REAL", Code::TYPE_NOT_HELD),
        ("NUMERIC", "1", "INTEGER", Code::TYPE_NOT_HELD),
        ("DOUBLE PRECISION", "1.5", "INTEGER", Code::TYPE_NOT_HELD),
        ("DOUBLE PRECISION", "'NaN'", "REAL", Code::VALUE_NOT_HELD),
        ("DOUBLE PRECISION", "5", "MONEY", Code::VALUE_NOT_HELD),
        ("TEXT", "'12'", "DECIMAL", Code::VALUE_NOT_HELD),
        ("TEXT", "'12'", "INTEGER", Code::TYPE_NOT_HELD),
        ("BYTEA", "'x'", "TEXT", Code::TYPE_NOT_HELD),
        ("JSONB", "'1.50'", "JSON", Code::VALUE_NOT_HELD),
    ] {
        assert_refused_by_name(postgres, value, sqlite, code).await;
    }
}

#[tokio::test]
async fn what_postgres_cannot_hold_is_refused_by_name() {
    for (sqlite, value, postgres, code) in [
        ("INTEGER", "40000", "SMALLINT", Code::VALUE_NOT_HELD),
        ("INTEGER", "'five'", "BIGINT", Code::VALUE_NOT_HELD),
        ("TEXT", "x'ff'", "TEXT", Code::VALUE_NOT_HELD),
        ("TEXT", "'1.105'", "NUMERIC(12,2)", Code::VALUE_NOT_HELD),
        ("TEXT", "'soon'", "TIMESTAMP", Code::VALUE_NOT_HELD),
        ("DECIMAL(10,2)", "12.5", "NUMERIC", Code::VALUE_NOT_HELD),
        ("DECIMAL TEXT", "'a lot'", "NUMERIC", Code::VALUE_NOT_HELD),
        ("TEXT", "'a' || char(0) || 'b'", "TEXT", Code::VALUE_NOT_HELD),
        ("REAL", "1.5", "NUMERIC", Code::TYPE_NOT_HELD),
    ] {
        let source = sqlite_files().create(Shape::Nothing).await;
        source
            .execute(&format!(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, odd {sqlite}); INSERT INTO t VALUES (1, {value})"
            ))
            .await;
        let target = postgres_databases().create(Shape::Nothing).await;
        target
            .execute(&format!(
                "CREATE TABLE t (id BIGINT PRIMARY KEY, odd {postgres}); INSERT INTO t (id) VALUES (5)"
            ))
            .await;
        let before = hashes_of(&*target.database()).await;
        let error = TestBackup::of(&*source.database()).await.apply(&*target.database()).await.unwrap_err();
        assert_eq!(error.code(), code, "{sqlite} {value} to {postgres}: {error:?}");
        assert!(error.to_string().contains("odd"), "{error}");
        assert_eq!(hashes_of(&*target.database()).await, before);
    }
}

#[tokio::test]
async fn arrays_are_text_or_json_in_sqlite() {
    let rows: &[&[Value<'_>]] = &[&[
        Value::Integer(1),
        Value::Array(vec![Value::Integer(1), Value::Null]),
        Value::Array(vec![Value::Text("a,\"b\"".into()), Value::Array(vec![])]),
    ]];
    let integers = T::Array(Box::new(T::Int64));
    let texts = T::Array(Box::new(T::Text));
    let backup = TestBackup::of_rows("t", &["id"], &[("id", T::Int64), ("a", integers), ("b", texts)], rows);
    let target = sqlite_files().create(Shape::Nothing).await;
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b JSON);").await;
    worked(backup.apply(&*target.database()).await);
    assert_eq!(target.query("SELECT a || b FROM t").await, [r#"[1,null]["a,\"b\"",[]]"#]);
}

#[tokio::test]
async fn what_comes_home_from_postgres_finds_its_own_rows() {
    let home = sqlite_files().create(Shape::Nothing).await;
    home.execute("CREATE TABLE sales (size DECIMAL TEXT PRIMARY KEY, total TEXT, at DATETIME, note JSON);")
        .await;
    home.execute(r#"INSERT INTO sales VALUES ('0.5', '1.1', '2025-01-01 08:00:00', '{"b":1,"a":[2]}')"#)
        .await;
    let away = postgres_databases().create(Shape::Nothing).await;
    let typed =
        "CREATE TABLE sales (size NUMERIC(8,3) PRIMARY KEY, total NUMERIC(12,2), at TIMESTAMP, note JSONB);";
    away.execute(typed).await;
    copy(&*home, &*away).await;
    assert_equal(&*home, &*away, 1).await;
    let every = "SELECT size || total || at || note FROM sales";
    let before = home.query(every).await;
    let report = worked(TestBackup::of(&*away.database()).await.apply(&*home.database()).await);
    assert_eq!((report.tables[0].unchanged, report.tables[0].updated, report.tables[0].inserted), (1, 0, 0));
    assert_eq!(home.query(every).await, before);
}
