//! Claims about what is refused: the exact code, and a target that is what it was.

use branchline_core::code::Code;
use branchline_core::schema::LogicalType as T;
use branchline_core::value::Value;

use super::backup::{TestBackup, column_name, hashes_of, table_name};
use super::restoring::shop;
use super::{Fixture, Shape, TestDatabase, assert_refused, worked};
use crate::state::backup_id;

/// Asserts that `target` refuses the backup, and that nothing of it stays.
pub async fn assert_backup_refused(target: &dyn TestDatabase, backup: &TestBackup, code: Code) {
    let database = target.database();
    let before = hashes_of(&*database).await;
    assert_refused(backup.apply(&*database).await, code);
    assert_eq!(hashes_of(&*database).await, before);
    assert_eq!(worked(database.applied(backup_id(backup.sequence)).await), None);
}

/// A table that the target lacks.
pub async fn an_unknown_table_is_refused(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    source.execute("CREATE TABLE suppliers (id BIGINT PRIMARY KEY); INSERT INTO suppliers VALUES (1)").await;
    let backup = TestBackup::of(&*source.database()).await;
    assert_backup_refused(&*target, &backup, Code::TABLE_UNKNOWN).await;
    for name in
        ["\"; DROP TABLE customers; --", "..\\customers", "CUSTOMERS", "ｃustomers", "branchline_applied"]
    {
        let backup = TestBackup::of_rows(name, &["id"], &[("id", T::Int64)], &[&[Value::Integer(1)]]);
        assert_backup_refused(&*target, &backup, Code::TABLE_UNKNOWN).await;
    }
}

/// A table whose rows cannot be told apart.
pub async fn a_table_without_a_key_is_refused(fixture: &dyn Fixture) {
    let target = fixture.create(Shape::Keyless).await;
    let schema = worked(target.database().schema().await);
    assert!(schema.table(&table_name("log")).expect("the table").excluded.is_some());
    let backup = TestBackup::of_rows("log", &["line"], &[("line", T::Text)], &[&[Value::Text("x".into())]]);
    assert_backup_refused(&*target, &backup, Code::TABLE_NOT_SYNCABLE).await;
    let mut snapshot = worked(target.database().snapshot().await);
    assert_refused(snapshot.open(&table_name("log")).await, Code::TABLE_NOT_SYNCABLE);
    assert_refused(snapshot.open(&table_name("lag")).await, Code::TABLE_UNKNOWN);
    worked(snapshot.close().await);
}

/// A column that the target lacks.
pub async fn an_unknown_column_is_refused(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    source.execute("ALTER TABLE customers ADD COLUMN nickname TEXT").await;
    let backup = TestBackup::of(&*source.database()).await;
    assert_backup_refused(&*target, &backup, Code::COLUMN_UNKNOWN).await;
}

/// A column that the target needs and the backup does not bring.
pub async fn a_column_that_is_needed_is_missed(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    source.execute(r#"ALTER TABLE customers DROP COLUMN "fullName""#).await;
    let backup = TestBackup::of(&*source.database()).await;
    assert_backup_refused(&*target, &backup, Code::COLUMN_UNKNOWN).await;
}

/// A type of which the target's column holds no value, or not every one without loss.
pub async fn a_type_that_is_not_held_is_refused(fixture: &dyn Fixture) {
    let target = fixture.create(Shape::Wide).await;
    for (column, from, value) in [
        ("whole", T::Bytes, Value::Bytes(vec![1].into())),
        ("fraction", T::Decimal(None), Value::Text("0.10".into())),
        ("raw", T::Text, Value::Text("x".into())),
        ("identity", T::Int64, Value::Integer(1)),
    ] {
        let row = [Value::Integer(1), value];
        let backup = TestBackup::of_rows("wide", &["id"], &[("id", T::Int64), (column, from)], &[&row]);
        assert_backup_refused(&*target, &backup, Code::TYPE_NOT_HELD).await;
    }
}

/// A value that the target's column cannot hold, though its type can hold others.
pub async fn a_value_that_does_not_fit_is_refused(fixture: &dyn Fixture) {
    let target = fixture.create(Shape::Wide).await;
    let text = |text: &'static str| Value::Text(text.into());
    for (column, from, value) in [
        ("truth", T::Int64, Value::Integer(2)),
        ("day", T::Text, text("2025-02-30")),
        ("exact", T::Text, text("1,5")),
        ("identity", T::Text, text("not a uuid")),
        ("moment", T::Text, text("2025-01-01T08:00:00Z")),
        ("document", T::Text, text("{")),
    ] {
        let good = [Value::Integer(1), Value::Null];
        let bad = [Value::Integer(2), value];
        let backup =
            TestBackup::of_rows("wide", &["id"], &[("id", T::Int64), (column, from)], &[&good, &bad]);
        assert_backup_refused(&*target, &backup, Code::VALUE_NOT_HELD).await;
    }
}

/// Another primary key than the target's.
pub async fn another_key_is_refused(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    let mut backup = TestBackup::of(&*source.database()).await;
    let table = backup.tables.iter_mut().find(|table| table.name.as_str() == "customers").expect("the table");
    table.key = vec![column_name("email")];
    assert_backup_refused(&*target, &backup, Code::KEY_DIFFERS).await;
}

/// A column that the target computes.
pub async fn a_generated_column_in_a_backup_is_refused(fixture: &dyn Fixture) {
    let target = fixture.create(Shape::Generated).await;
    let columns = [("id", T::Int64), ("net", T::Int64), ("gross", T::Int64)];
    let row = [Value::Integer(1), Value::Integer(1), Value::Integer(5)];
    let backup = TestBackup::of_rows("totals", &["id"], &columns, &[&row]);
    assert_backup_refused(&*target, &backup, Code::TYPE_NOT_HELD).await;
}

fn totals(lines: &str) -> TestBackup {
    TestBackup::of_rows("totals", &["id"], &[("id", T::Int64), ("net", T::Int64)], &[]).with_lines(lines)
}

/// Rows that were not written by anything of ours.
pub async fn a_row_that_is_no_json_is_refused(fixture: &dyn Fixture) {
    let target = fixture.create(Shape::Generated).await;
    for line in ["", "{", "[]", "{\"id\":1,\"net\":\"x\"}", "{\"id\":1}", "{\"id\":1,\"net\":2}x"] {
        let backup = totals(&format!("{{\"id\":7,\"net\":1}},\n{line}\n"));
        assert_backup_refused(&*target, &backup, Code::MALFORMED).await;
    }
    let backup = totals("{\"id\":1,\"net\":2,\"more\":3}\n");
    assert_backup_refused(&*target, &backup, Code::COLUMN_UNKNOWN).await;
}

/// A reader that took the first and one that took the last would see two different rows.
pub async fn a_member_that_stands_twice_is_refused(fixture: &dyn Fixture) {
    let target = fixture.create(Shape::Generated).await;
    assert_backup_refused(&*target, &totals("{\"id\":1,\"net\":2,\"net\":3}\n"), Code::DUPLICATE_MEMBER)
        .await;
}

/// Rows that point at rows which neither the backup nor the target has.
pub async fn an_orphan_is_refused(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    let backup = TestBackup::of_tables(&*source.database(), &["orders"]).await;
    assert_backup_refused(&*target, &backup, Code::FOREIGN_KEY_BROKEN).await;
    // An update that turns to nothing is an orphan as well.
    let target = shop(fixture).await;
    let columns = [("id", T::Uuid), ("customerId", T::Int64), ("placed", T::Timestamp), ("paid", T::Boolean)];
    let id = Value::Text("00000000-0000-4000-8000-000000000001".into());
    let row = [id, Value::Integer(77), Value::Null, Value::Null];
    let backup = TestBackup::of_rows("orders", &["id"], &columns, &[&row]);
    assert_backup_refused(&*target, &backup, Code::FOREIGN_KEY_BROKEN).await;
}

/// A unique value that a row has which the backup does not hold.
pub async fn a_unique_clash_is_refused(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    target
        .execute(r#"INSERT INTO customers (id, "fullName", email) VALUES (50, 'Eve', 'ada@example.org')"#)
        .await;
    let backup = TestBackup::of(&*source.database()).await;
    assert_backup_refused(&*target, &backup, Code::UNIQUE_CONFLICT).await;
}

/// A backup that holds one row twice.
pub async fn two_rows_of_one_key_are_refused(fixture: &dyn Fixture) {
    let target = fixture.create(Shape::Generated).await;
    let backup = totals("{\"id\":1,\"net\":2},\n{\"id\":1,\"net\":3}\n");
    assert_backup_refused(&*target, &backup, Code::UNIQUE_CONFLICT).await;
}

/// NULL where the target wants a value.
pub async fn a_missing_value_is_refused(fixture: &dyn Fixture) {
    let target = shop(fixture).await;
    let columns = [("id", T::Int64), ("fullName", T::Text), ("email", T::Text)];
    let row = [Value::Integer(9), Value::Null, Value::Null];
    let backup = TestBackup::of_rows("customers", &["id"], &columns, &[&row]);
    assert_backup_refused(&*target, &backup, Code::CONSTRAINT_BROKEN).await;
}

/// A rule of the target's schema.
pub async fn a_broken_check_is_refused(fixture: &dyn Fixture) {
    let target = shop(fixture).await;
    let columns =
        [("order_id", T::Uuid), ("line", T::Int64), ("product_id", T::Int64), ("quantity", T::Int64)];
    let order = Value::Text("00000000-0000-4000-8000-000000000001".into());
    let row = [order, Value::Integer(1), Value::Integer(1), Value::Integer(-1)];
    let backup = TestBackup::of_rows("order_items", &["order_id", "line"], &columns, &[&row]);
    assert_backup_refused(&*target, &backup, Code::CONSTRAINT_BROKEN).await;
}

/// Thousands of rows that are good, and one that is not.
pub async fn a_failure_on_the_last_row_leaves_nothing(fixture: &dyn Fixture) {
    let (source, target) = (fixture.create(Shape::Codes).await, fixture.create(Shape::Codes).await);
    source.execute(super::restoring::MANY_CODES).await;
    target.execute("INSERT INTO codes (id, code, slot, shelf) VALUES (100000, 'x', NULL, 6000)").await;
    let backup = TestBackup::of(&*source.database()).await;
    assert_backup_refused(&*target, &backup, Code::UNIQUE_CONFLICT).await;
    assert_eq!(target.query("SELECT count(*) FROM codes").await, ["1"]);
}
