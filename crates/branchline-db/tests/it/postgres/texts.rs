//! Texts that PostgreSQL would take for something else than their sender meant, and keys that are one for it.

use branchline_core::code::Code;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::LogicalType;
use branchline_core::value::Value;
use branchline_testkit::database::{TestBackup, assert_refused, hashes_of, worked};

use super::database::TestDatabase;

fn text(text: &str) -> Value<'_> {
    Value::Text(text.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_would_have_to_be_guessed_is_refused_under_the_same_type_too() {
    let array = LogicalType::Array(Box::new(LogicalType::Date));
    let cases = [
        ("date", LogicalType::Date, text("tomorrow")),
        ("date", LogicalType::Date, text("01-02-03")),
        ("timestamptz", LogicalType::TimestampWithZone, text("now")),
        ("timestamptz", LogicalType::TimestampWithZone, text("2025-06-01 10:00:00")),
        ("timestamp", LogicalType::Timestamp, text("2025-06-01 10:00:00+02")),
        ("time", LogicalType::Time, text("4 PM")),
        ("interval", LogicalType::Interval, text("1 day ago")),
        ("uuid", LogicalType::Uuid, text("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}")),
        ("numeric", LogicalType::Decimal(None), text(" 1e3 ")),
        ("date[]", array, Value::Array(vec![text("today")])),
    ];
    for (name, logical, bad) in cases {
        let target = TestDatabase::with(&format!("CREATE TABLE t (id int PRIMARY KEY, v {name})")).await;
        let columns = [("id", LogicalType::Int32), ("v", logical)];
        let backup = TestBackup::of_rows("t", &["id"], &columns, &[&[Value::Integer(1), bad.clone()]]);
        let error = assert_refused(backup.apply(&*target.open().await).await, Code::VALUE_NOT_HELD);
        let named = matches!(&error, DatabaseError::ValueNotHeld { column, row: 1, .. } if column == "v");
        assert!(named, "{name} {bad:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_rows_whose_keys_the_table_takes_for_one_are_refused() {
    let sql = "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
               CREATE TABLE n (k numeric PRIMARY KEY, v int); CREATE TABLE c (k text COLLATE loose PRIMARY KEY, v int);
               INSERT INTO n VALUES (1, 0); INSERT INTO c VALUES ('ABC', 0);";
    let target = TestDatabase::with(sql).await;
    for (table, logical, keys) in
        [("n", LogicalType::Decimal(None), ["1.0", "1.00"]), ("c", LogicalType::Text, ["abc", "aBc"])]
    {
        let rows = keys.map(|key| [text(key), Value::Integer(5)]);
        let columns = [("k", logical), ("v", LogicalType::Int32)];
        let backup = TestBackup::of_rows(table, &["k"], &columns, &[&rows[0], &rows[1]]);
        let error = assert_refused(backup.apply(&*target.open().await).await, Code::UNIQUE_CONFLICT);
        let DatabaseError::Unique { table: named, detail, .. } = &error else { panic!("{error:?}") };
        assert_eq!(named, table);
        assert!(keys.iter().any(|key| detail.contains(key)), "{detail}");
    }
    assert_eq!(target.query("SELECT v FROM n UNION ALL SELECT v FROM c").await, ["0", "0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrays_with_bounds_of_their_own_keep_within_a_columns_scale() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, v numeric(5,2)[], w varchar(3)[])";
    let (source, target) = (TestDatabase::with(sql).await, TestDatabase::with(sql).await);
    source.execute("INSERT INTO t VALUES (1, '[0:1]={1.10,2.20}', '[2:3]={\"a=b\",abc}')").await;
    worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    assert_eq!(
        target.query("SELECT v || ' '::text || w FROM (SELECT v::text AS v, w::text AS w FROM t) AS t").await,
        ["[0:1]={1.10,2.20} [2:3]={a=b,abc}"]
    );
    let array = LogicalType::Array(Box::new(LogicalType::Decimal(Some((5, 2)))));
    let columns = [("id", LogicalType::Int32), ("v", array)];
    let backup =
        TestBackup::of_rows("t", &["id"], &columns, &[&[Value::Integer(1), text("[0:1]={1.10,2.205}")]]);
    assert_refused(backup.apply(&*target.open().await).await, Code::VALUE_NOT_HELD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domains_over_enums_and_types_of_extensions_are_compared() {
    let sql = "CREATE EXTENSION ltree; CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'happy', 'calm'); CREATE DOMAIN felt AS mood;
               CREATE TABLE m (k felt PRIMARY KEY, v felt, u felt UNIQUE);
               CREATE TABLE l (id int PRIMARY KEY, path ltree UNIQUE, name citext UNIQUE);
               CREATE TABLE below (id int PRIMARY KEY, path ltree REFERENCES l (path) ON DELETE CASCADE);";
    let (source, target) = (TestDatabase::with(sql).await, TestDatabase::with(sql).await);
    source.execute("INSERT INTO m VALUES ('sad', 'happy', 'sad'), ('happy', 'calm', 'happy'); INSERT INTO l VALUES (1, 'a.b', 'X'), (2, 'a', 'y')").await;
    target.execute("INSERT INTO m VALUES ('sad', 'sad', 'happy'), ('happy', NULL, 'sad'); INSERT INTO l VALUES (1, 'a', 'y'), (2, 'a.b', 'X'), (3, 'c', 'z')").await;
    let backup = TestBackup::of_tables(&*source.open().await, &["m", "l"]).await.mirrored();
    worked(backup.apply(&*target.open().await).await);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_a_native_type_that_would_be_rounded_is_refused_by_column_and_row() {
    let sql = "CREATE TYPE price AS (amount numeric(5,2), unit varchar(3));
               CREATE TABLE t (id int PRIMARY KEY, p price, m money, c \"char\", r numrange)";
    let target = TestDatabase::with(sql).await;
    let port = target.open().await;
    for (column, name, good, bad) in [
        ("p", "public.price", "(1.10,kg)", "(1.105,kg)"),
        ("m", "money", "$1.10", "$1.105"),
        ("c", "\"char\"", "a", "ab"),
        ("r", "numrange", "[1.10,2)", "[1.10, 2)"),
    ] {
        let columns = [("id", LogicalType::Int32), (column, LogicalType::Native(name.to_owned()))];
        let rows: &[&[Value<'_>]] = &[&[Value::Integer(1), text(good)], &[Value::Integer(2), text(bad)]];
        let backup = TestBackup::of_rows("t", &["id"], &columns, rows);
        let error = assert_refused(backup.apply(&*port).await, Code::VALUE_NOT_HELD);
        let named =
            matches!(&error, DatabaseError::ValueNotHeld { column: named, row: 2, .. } if named == column);
        assert!(named, "{name}: {error:?}");
        worked(TestBackup::of_rows("t", &["id"], &columns, &rows[..1]).apply(&*port).await);
        target.execute("TRUNCATE branchline.applied").await;
    }
    let row = "SELECT p::text || m::text || c::text || r::text FROM t";
    assert_eq!(target.query(row).await, ["(1.10,kg)$1.10a[1.10,2)"]);
}
