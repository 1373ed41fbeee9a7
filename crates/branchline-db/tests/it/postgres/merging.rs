//! Merging what only PostgreSQL has: keys that cannot be deferred, identities, sequences, values it would change.

use branchline_core::code::Code;
use branchline_core::ports::{DatabaseError, ForeignKeyCheck};
use branchline_core::schema::LogicalType;
use branchline_core::value::Value;
use branchline_testkit::database::{TestBackup, assert_refused, hashes_of, worked};

use super::database::{TestDatabase, has_negative_scales};

async fn pair(sql: &str) -> (TestDatabase, TestDatabase) {
    (TestDatabase::with(sql).await, TestDatabase::with(sql).await)
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cycle_of_keys_that_are_needed_and_never_deferred_is_merged() {
    let sql = "CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL); CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a);
               ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b";
    let (source, target) = pair(sql).await;
    let both = |a: i32, b: i32| {
        format!("WITH x AS (INSERT INTO a VALUES ({a}, {b})) INSERT INTO b VALUES ({b}, {a});")
    };
    source.execute(&(both(1, 10) + &both(2, 20))).await;
    target.execute(&both(1, 11)).await;
    let backup = TestBackup::of(&*source.open().await).await;
    let report = worked(backup.apply(&*target.open().await).await);
    assert_eq!(backup.merged(&report, "a").updated, 1);
    assert_eq!(report.foreign_keys, ForeignKeyCheck::RowByRow);
    let mirrored = worked(backup.at(2).mirrored().apply(&*target.open().await).await);
    assert_eq!(mirrored.tables.iter().map(|merged| merged.deleted).sum::<u64>(), 1);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_go_on_after_the_rows_that_came() {
    let sql = "CREATE SEQUENCE shared; CREATE SEQUENCE down INCREMENT -1 MAXVALUE -1;
               CREATE TABLE t (id bigserial PRIMARY KEY, a int GENERATED ALWAYS AS IDENTITY, s int DEFAULT nextval('shared'),
                               d int DEFAULT nextval('down'), small smallserial)";
    let (source, target) = pair(sql).await;
    source.execute("INSERT INTO t (id, small) SELECT g, 32767 FROM generate_series(1, 50) AS g").await;
    target.execute("SELECT setval('shared', 1000)").await;
    worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    target.execute("INSERT INTO t (small) VALUES (1)").await;
    assert_eq!(target.query("SELECT (id, a, s, d)::text FROM t WHERE small = 1").await, ["(51,51,1001,-51)"]);
    assert_eq!(target.query("SELECT last_value FROM t_small_seq").await, ["32767"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_only_the_database_gives_is_inserted_and_never_changed() {
    let (source, target) =
        pair("CREATE TABLE t (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text)").await;
    source.execute("INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (1, 5, 'x'), (2, 6, 'y')").await;
    target.execute("INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (1, 5, 'old')").await;
    let backup = TestBackup::of(&*source.open().await).await;
    let report = worked(backup.apply(&*target.open().await).await);
    assert_eq!((report.tables[0].updated, report.tables[0].inserted), (1, 1));
    source
        .execute("DELETE FROM t WHERE id = 2; INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (2, 9, 'y')")
        .await;
    let changed = TestBackup::of(&*source.open().await).await.at(2);
    let error = assert_refused(changed.apply(&*target.open().await).await, Code::VALUE_NOT_HELD);
    assert!(
        matches!(&error, DatabaseError::ValueNotHeld { column, row: 2, .. } if column == "n"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_kind_change_hands() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, u uuid NOT NULL UNIQUE, c varchar(40) NOT NULL UNIQUE, n int NOT NULL UNIQUE,
                 d date NOT NULL UNIQUE, m numeric(9,2) NOT NULL UNIQUE, at timestamptz NOT NULL UNIQUE, a int, b text NOT NULL, UNIQUE (a, b));
               CREATE TABLE short (id int PRIMARY KEY, c varchar(5) NOT NULL UNIQUE);";
    let (source, target) = pair(sql).await;
    let row = |id: i32, v: i32| {
        format!(
            "INSERT INTO t VALUES ({id}, md5('{v}')::uuid, 'c{v}', {v}, date '2025-01-01' + {v}, {v}, timestamptz '2025-01-01Z' + {v} * interval '1 day', {v}, 'b');"
        )
    };
    source.execute(&(row(1, 2) + &row(2, 3) + &row(3, 1))).await;
    target.execute(&(row(1, 1) + &row(2, 2) + &row(3, 3))).await;
    let backup = TestBackup::of(&*source.open().await).await;
    let report = worked(backup.apply(&*target.open().await).await);
    assert_eq!(backup.merged(&report, "t").updated, 3);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);

    source.execute("INSERT INTO short VALUES (1, 'b'), (2, 'a')").await;
    target.execute("INSERT INTO short VALUES (1, 'a'), (2, 'b')").await;
    let before = hashes_of(&*target.open().await).await;
    let refused = TestBackup::of(&*source.open().await).await.at(2).apply(&*target.open().await).await;
    assert_refused(refused, Code::GROUP_NOT_MERGEABLE);
    assert_eq!(hashes_of(&*target.open().await).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_key_that_can_be_deferred_changes_hands() {
    let (source, target) =
        pair("CREATE TABLE t (id int PRIMARY KEY, c char(1) NOT NULL UNIQUE DEFERRABLE)").await;
    source.execute("INSERT INTO t VALUES (1, 'b'), (2, 'a')").await;
    target.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    assert_eq!(target.query("SELECT c FROM t ORDER BY id").await, ["b", "a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_would_be_cut_padded_or_rounded_is_refused_by_column_and_row() {
    let mut types = vec![
        ("varchar(3)", LogicalType::Text, "ab  "),
        ("char(3)", LogicalType::Text, "a"),
        ("numeric(5,2)", LogicalType::Decimal(Some((5, 2))), "1.005"),
        ("timestamp(0)", LogicalType::Timestamp, "2025-01-01T08:00:00.5"),
        ("time(2)", LogicalType::Time, "08:00:00.123"),
        ("interval(0)", LogicalType::Interval, "PT0.5S"),
        ("interval year to month", LogicalType::Interval, "P1D"),
        (
            "name",
            LogicalType::Text,
            "a name that is longer than sixty-three bytes, of which there are not many",
        ),
        ("text", LogicalType::Text, "a\0b"),
        ("date", LogicalType::Date, "2025-02-30"),
        ("uuid", LogicalType::Uuid, "not a uuid"),
        ("mood", LogicalType::Enumeration, "furious"),
        ("inet", LogicalType::Native("inet".to_owned()), "300.1.1.1"),
    ];
    if has_negative_scales().await {
        types.push(("numeric(5,-2)", LogicalType::Decimal(Some((5, -2))), "1234"));
    }
    let columns: String =
        types.iter().enumerate().map(|(place, (name, ..))| format!(", c{place} {name}")).collect();
    let sql = format!("CREATE TYPE mood AS ENUM ('happy'); CREATE TABLE t (id int PRIMARY KEY{columns})");
    let target = TestDatabase::with(&sql).await;
    let port = target.open().await;
    for (place, (name, logical, bad)) in types.iter().enumerate() {
        let column = format!("c{place}");
        let rows: &[&[Value<'_>]] = &[&[Value::Integer(1), Value::Null], &[Value::Integer(2), text(bad)]];
        let backup = TestBackup::of_rows(
            "t",
            &["id"],
            &[("id", LogicalType::Int32), (&column, logical.clone())],
            rows,
        );
        let error = assert_refused(backup.apply(&*port).await, Code::VALUE_NOT_HELD);
        let DatabaseError::ValueNotHeld { column: named, row, .. } = &error else {
            panic!("{name}: {error:?}")
        };
        assert_eq!((named.as_str(), *row), (column.as_str(), 2), "{name}: {error}");
    }
    assert_eq!(target.query("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_another_kind_than_its_column_is_refused() {
    let target =
        TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY, n int, s smallint, a int[], b bytea)").await;
    let port = target.open().await;
    let cases = [
        ("n", LogicalType::Int32, text("5")),
        ("n", LogicalType::Any, text("5")),
        ("s", LogicalType::Int16, Value::Integer(40_000)),
        ("a", LogicalType::Array(Box::new(LogicalType::Int32)), text("{1}")),
        ("a", LogicalType::Array(Box::new(LogicalType::Int32)), text("[0:0]={x}")),
        ("a", LogicalType::Array(Box::new(LogicalType::Int32)), Value::Array(vec![Value::Array(vec![])])),
        ("b", LogicalType::Bytes, text("x")),
    ];
    for (column, logical, value) in cases {
        let rows: &[&[Value<'_>]] = &[&[Value::Integer(1), value.clone()]];
        let backup =
            TestBackup::of_rows("t", &["id"], &[("id", LogicalType::Int32), (column, logical)], rows);
        let error = assert_refused(backup.apply(&*port).await, Code::VALUE_NOT_HELD);
        let named =
            matches!(&error, DatabaseError::ValueNotHeld { column: named, row: 1, .. } if named == column);
        assert!(named, "{value:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_of_domains_checks_and_exclusions_hold() {
    let target = TestDatabase::with(
        "CREATE DOMAIN positive AS int CONSTRAINT is_positive CHECK (VALUE > 0);
         CREATE TABLE t (id int PRIMARY KEY, p positive, r int4range, CONSTRAINT even CHECK (id % 2 = 0),
                         CONSTRAINT apart EXCLUDE USING gist (r WITH &&))",
    )
    .await;
    let port = target.open().await;
    let columns = [
        ("id", LogicalType::Int32),
        ("p", LogicalType::Int32),
        ("r", LogicalType::Native("int4range".to_owned())),
    ];
    let cases: [(&str, &[&[Value<'_>]]); 3] = [
        ("is_positive", &[&[Value::Integer(2), Value::Integer(0), Value::Null]]),
        ("even", &[&[Value::Integer(3), Value::Null, Value::Null]]),
        (
            "apart",
            &[
                &[Value::Integer(2), Value::Null, text("[1,5)")],
                &[Value::Integer(4), Value::Null, text("[4,6)")],
            ],
        ),
    ];
    for (constraint, rows) in cases {
        let backup = TestBackup::of_rows("t", &["id"], &columns, rows);
        let error = assert_refused(backup.apply(&*port).await, Code::CONSTRAINT_BROKEN);
        let named =
            matches!(&error, DatabaseError::Constraint { constraint: named, .. } if named == constraint);
        assert!(named, "{error:?}");
    }
    assert_eq!(target.query("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_clash_names_table_and_key() {
    let (source, target) = pair(
        "CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY, code text CONSTRAINT one_code UNIQUE)",
    )
    .await;
    source.execute("INSERT INTO shop.t VALUES (1, 'x')").await;
    target.execute("INSERT INTO shop.t VALUES (2, 'x')").await;
    let error = assert_refused(
        TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await,
        Code::UNIQUE_CONFLICT,
    );
    let DatabaseError::Unique { table, constraint, detail } = &error else { panic!("{error:?}") };
    assert_eq!((table.as_str(), constraint.as_str()), ("shop.t", "one_code"));
    assert!(detail.contains("(code)=(x)"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_types_with_a_lax_equality_are_matched() {
    let sql = "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
               CREATE TABLE t (k text COLLATE loose PRIMARY KEY, v text COLLATE loose);
               CREATE TABLE i (k interval PRIMARY KEY, v int);";
    let (source, target) = pair(sql).await;
    source.execute("INSERT INTO t VALUES ('ABC', 'x'); INSERT INTO i VALUES ('1 month', 1)").await;
    target.execute("INSERT INTO t VALUES ('abc', 'X'); INSERT INTO i VALUES ('30 days', 1)").await;
    let backup = TestBackup::of(&*source.open().await).await;
    let report = worked(backup.apply(&*target.open().await).await);
    assert!(report.tables.iter().all(|merged| (merged.updated, merged.inserted) == (1, 0)), "{report:?}");
    assert_eq!(target.query("SELECT k || v FROM t").await, ["ABCx"]);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_apply_the_same_rows_at_once_both_end() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, v int)";
    let target =
        TestDatabase::with(&format!("{sql}; INSERT INTO t SELECT g, 0 FROM generate_series(1, 2000) AS g"))
            .await;
    let port = target.open().await;
    let mut runs = Vec::new();
    for number in 1..=4_u8 {
        let source = TestDatabase::with(sql).await;
        let order = if number % 2 == 0 { "DESC" } else { "ASC" };
        source
            .execute(&format!(
                "INSERT INTO t SELECT g, {number} FROM generate_series(1, 2000) AS g ORDER BY g {order}"
            ))
            .await;
        let backup = TestBackup::of(&*source.open().await).await.at(number);
        let port = port.clone();
        runs.push(tokio::spawn(async move { backup.apply(&*port).await }));
    }
    for run in runs {
        worked(run.await.unwrap());
    }
    assert_eq!(target.query("SELECT count(DISTINCT v) FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_and_constraints_of_the_shop_run_as_in_the_shops_own_sessions() {
    let (source, target) = pair("CREATE TABLE sales (id int PRIMARY KEY, at timestamptz)").await;
    target
        .execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.days (day date, sale int);
             CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO days VALUES (NEW.at::date, NEW.id); RETURN NEW; END $$;
             CREATE TRIGGER noting AFTER INSERT OR UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION shop.note();
             CREATE CONSTRAINT TRIGGER later AFTER INSERT ON sales DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.note();",
        )
        .await;
    let settings = "SET search_path = public, shop; ALTER DATABASE NAME SET timezone = 'Pacific/Auckland'";
    let settings = format!("ALTER DATABASE NAME {settings}").replace("NAME", &target.name);
    target.execute(&settings).await;
    source.execute("INSERT INTO sales VALUES (1, '2025-01-01 20:00Z')").await;
    worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    assert_eq!(target.query("SELECT day FROM shop.days").await, ["2025-01-02", "2025-01-02"]);
    assert_eq!(target.query("SELECT at = '2025-01-01 20:00Z' FROM sales").await, ["t"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_somebody_planted_is_not_used() {
    let (source, target) = pair("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE t (id varchar(9) PRIMARY KEY, v varchar(9), m mood)").await;
    target
        .execute(
            "CREATE FUNCTION always(varchar, varchar) RETURNS bool LANGUAGE sql AS 'SELECT true';
             CREATE FUNCTION always(mood, mood) RETURNS bool LANGUAGE sql AS 'SELECT true';
             CREATE OPERATOR = (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = always);
             CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = always);
             CREATE FUNCTION count(int) RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint';
             INSERT INTO t VALUES ('a', 'old', 'sad'), ('b', 'same', 'sad')",
        )
        .await;
    source
        .execute("INSERT INTO t VALUES ('a', 'new', 'sad'), ('b', 'same', 'happy'), ('c', 'more', 'sad')")
        .await;
    let report = worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    assert_eq!((report.tables[0].updated, report.tables[0].inserted), (2, 1));
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
}
