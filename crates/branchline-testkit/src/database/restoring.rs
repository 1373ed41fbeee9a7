//! Claims about rows that arrive.

use branchline_core::backup::v1::RowReader;
use branchline_core::ports::TableMerge;
use branchline_core::schema::{LogicalType, Table};
use branchline_core::value::{Value, common_type, write_canonical};

use super::backup::{TestBackup, hashes_of, table_name};
use super::{Fixture, Shape, TestDatabase, worked};

/// A small shop: two customers, three products, two orders with three lines.
pub const SHOP_ROWS: &str = r#"
INSERT INTO customers (id, "fullName", email) VALUES (1, 'Ada', 'ada@example.org'), (2, 'Berta', NULL);
INSERT INTO products (id, sku, price) VALUES (1, 'A-1', '1.10'), (2, 'A-2', '20.00'), (3, 'B-1', '0.05');
INSERT INTO orders (id, "customerId", placed, paid) VALUES
    ('00000000-0000-4000-8000-000000000001', 1, '2025-01-02T08:00:00', TRUE),
    ('00000000-0000-4000-8000-000000000002', 2, '2025-01-02T08:00:00.5', FALSE);
INSERT INTO order_items (order_id, line, product_id, quantity) VALUES
    ('00000000-0000-4000-8000-000000000001', 1, 1, 2),
    ('00000000-0000-4000-8000-000000000001', 2, 3, 1),
    ('00000000-0000-4000-8000-000000000002', 1, 2, 1);
"#;

/// A shop with its rows.
pub async fn shop(fixture: &dyn Fixture) -> Box<dyn TestDatabase> {
    let shop = fixture.create(Shape::Shop).await;
    shop.execute(SHOP_ROWS).await;
    shop
}

fn counts(inserted: u64, updated: u64, unchanged: u64) -> TableMerge {
    TableMerge { inserted, updated, unchanged, ..TableMerge::default() }
}

/// Every row arrives, and is counted as new.
pub async fn a_full_backup_restores_into_an_empty_database(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    let backup = TestBackup::of(&*source.database()).await;
    let report = worked(backup.apply(&*target.database()).await);
    assert_eq!(backup.merged(&report, "customers"), counts(2, 0, 0));
    assert_eq!(backup.merged(&report, "order_items"), counts(3, 0, 0));
    assert_eq!(backup.merged(&report, "loyalty"), counts(0, 0, 0));
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
    assert_eq!(target.query(r#"SELECT "fullName" FROM customers ORDER BY id"#).await, ["Ada", "Berta"]);
}

/// The same rows once more change nothing.
pub async fn rows_that_are_equal_are_left_alone_and_counted(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    let backup = TestBackup::of(&*source.database()).await;
    let report = worked(backup.apply(&*target.database()).await);
    for summary in &backup.tables {
        assert_eq!(
            backup.merged(&report, summary.name.as_str()),
            counts(0, 0, summary.rows),
            "{}",
            summary.name
        );
    }
}

/// Rows that are there with other values get the backup's.
pub async fn rows_that_differ_are_updated_and_counted(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    target
        .execute(r#"UPDATE customers SET "fullName" = 'Bertha', email = 'b@example.org' WHERE id = 2"#)
        .await;
    target.execute("UPDATE orders SET paid = NULL; DELETE FROM order_items WHERE line = 2").await;
    let backup = TestBackup::of(&*source.database()).await;
    let report = worked(backup.apply(&*target.database()).await);
    assert_eq!(backup.merged(&report, "customers"), counts(0, 1, 1));
    assert_eq!(backup.merged(&report, "orders"), counts(0, 2, 0));
    assert_eq!(backup.merged(&report, "order_items"), counts(1, 0, 2));
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}

/// A full backup removes nothing.
pub async fn rows_that_the_backup_lacks_stay(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    source.execute("DELETE FROM order_items; DELETE FROM orders").await;
    target.execute("INSERT INTO products (id, sku, price) VALUES (9, 'C-1', '5')").await;
    let before = hashes_of(&*target.database()).await;
    worked(TestBackup::of(&*source.database()).await.apply(&*target.database()).await);
    assert_eq!(hashes_of(&*target.database()).await, before);
}

/// A column that only the target has keeps its values, and gets its default in new rows.
pub async fn columns_that_the_backup_lacks_are_kept(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    target.execute("ALTER TABLE customers ADD COLUMN discount TEXT DEFAULT 'none'").await;
    target.execute(r#"INSERT INTO customers (id, "fullName", discount) VALUES (1, 'Ada L.', 'ten')"#).await;
    let backup = TestBackup::of(&*source.database()).await;
    worked(backup.apply(&*target.database()).await);
    let kept = target.query(r#"SELECT "fullName" || ' ' || discount FROM customers ORDER BY id"#).await;
    assert_eq!(kept, ["Ada ten", "Berta none"]);
}

/// A table of several batches arrives whole, and twice is no more than once.
pub async fn a_table_larger_than_a_batch_arrives_whole(fixture: &dyn Fixture) {
    let (source, target) = (fixture.create(Shape::Codes).await, fixture.create(Shape::Codes).await);
    source.execute(MANY_CODES).await;
    let backup = TestBackup::of(&*source.database()).await;
    assert!(backup.batches.len() > 2, "{} batches", backup.batches.len());
    let report = worked(backup.apply(&*target.database()).await);
    assert_eq!(backup.merged(&report, "codes"), counts(6_000, 0, 0));
    let report = worked(backup.clone().at(2).apply(&*target.database()).await);
    assert_eq!(backup.merged(&report, "codes"), counts(0, 0, 6_000));
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}

/// 6,000 rows of about 120 bytes.
pub const MANY_CODES: &str = "
INSERT INTO codes (id, code, slot, shelf)
WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 6000)
SELECT n, 'a rather long code, so that rows need several batches, with the number ' || n, NULL, n FROM counted;
";

/// What both engines hold comes back as it was sent.
pub async fn values_at_their_edges_arrive_unchanged(fixture: &dyn Fixture) {
    let target = fixture.create(Shape::Wide).await;
    let rows = wide_rows();
    let rows: Vec<&[Value<'_>]> = rows.iter().map(Vec::as_slice).collect();
    let backup = TestBackup::of_rows("wide", &["id"], &wide_columns(), &rows);
    worked(backup.apply(&*target.database()).await);
    let back = TestBackup::of(&*target.database()).await;
    let schema = worked(target.database().schema().await);
    let table = schema.table(&table_name("wide")).expect("the table");
    assert_eq!(decoded(&back, table, &wide_columns()), decoded_as_sent(&backup, &wide_columns()));
    let again = back.at(2);
    let report = worked(again.apply(&*target.database()).await);
    assert_eq!(again.merged(&report, "wide"), counts(0, 0, rows.len() as u64));
}

/// The columns of [`Shape::Wide`] with the types under which they are sent.
#[must_use]
pub fn wide_columns() -> Vec<(&'static str, LogicalType)> {
    use LogicalType as T;
    vec![
        ("id", T::Int64),
        ("truth", T::Boolean),
        ("whole", T::Int64),
        ("small", T::Int16),
        ("fraction", T::Float64),
        ("exact", T::Decimal(None)),
        ("words", T::Text),
        ("raw", T::Bytes),
        ("document", T::JsonBinary),
        ("kept", T::Json),
        ("identity", T::Uuid),
        ("day", T::Date),
        ("clock", T::Time),
        ("moment", T::Timestamp),
        ("instant", T::TimestampWithZone),
    ]
}

/// Rows of [`Shape::Wide`]: ordinary, extreme, and NULL throughout.
#[must_use]
pub fn wide_rows() -> Vec<Vec<Value<'static>>> {
    let text = |text: &str| Value::Text(text.to_owned().into());
    let json = |text: &str| Value::Json(text.to_owned().into());
    let digits = "1234567890".repeat(50);
    let every_plane: String =
        (0..17_u32).filter_map(|plane| char::from_u32((plane << 16) + 0xfff0)).collect();
    let ordinary = vec![
        Value::Integer(1),
        Value::Boolean(true),
        Value::Integer(-7),
        Value::Integer(7),
        Value::Float(0.1 + 0.2),
        text("1.10"),
        text("12"),
        Value::Bytes(vec![0, 0xff, b'\\'].into()),
        json(r#"{"b": 1, "a": [1.5, null, "x"]}"#),
        json(r#"{"a": 1, "b": 2.50}"#),
        text("9b2e6f4c-7f39-4c0a-9d53-0f5a8f6f0a11"),
        text("2025-12-06"),
        text("23:59:59.5"),
        text("2025-12-06T23:59:59.5"),
        text("2025-12-06T23:59:59.5Z"),
    ];
    let extreme = vec![
        Value::Integer(i64::MAX),
        Value::Boolean(false),
        Value::Integer(i64::MIN),
        Value::Integer(i16::MIN.into()),
        Value::Float(f64::MAX),
        text(&format!("-{digits}.{digits}")),
        text(&format!("tab\tline\nquote'\"\\ {every_plane}")),
        Value::Bytes(Vec::new().into()),
        json("null"),
        json("{\"$json\": [\n12\n]}"),
        text("00000000-0000-0000-0000-000000000000"),
        text("0044-03-15 BC"),
        text("24:00:00"),
        text("infinity"),
        text("-infinity"),
    ];
    let infinite = vec![
        Value::Integer(0),
        Value::Null,
        Value::Integer(9_007_199_254_740_993),
        Value::Null,
        Value::Float(f64::NEG_INFINITY),
        text("NaN"),
        text(""),
        Value::Null,
        json("-7"),
        json("12"),
        Value::Null,
        text("infinity"),
        text("00:00:00"),
        text("0001-01-01T00:00:00"),
        text("9999-12-31T23:59:59.999999Z"),
    ];
    let large = with_words(-1, "x".repeat(1 << 20));
    let mut empty = vec![Value::Null; wide_columns().len()];
    empty[0] = Value::Integer(-2);
    vec![ordinary, extreme, infinite, large, empty]
}

fn with_words(id: i64, words: String) -> Vec<Value<'static>> {
    let mut row = vec![Value::Null; wide_columns().len()];
    row[0] = Value::Integer(id);
    row[6] = Value::Text(words.into());
    row
}

/// The rows in canonical form, sorted, whatever types the table has.
fn decoded(backup: &TestBackup, table: &Table, sent: &[(&str, LogicalType)]) -> Vec<Vec<u8>> {
    let own: Vec<_> = table.travelling().map(|column| column.logical_type.clone()).collect();
    forms(backup, &own, sent)
}

fn decoded_as_sent(backup: &TestBackup, sent: &[(&str, LogicalType)]) -> Vec<Vec<u8>> {
    let own: Vec<_> = sent.iter().map(|(_, logical_type)| logical_type.clone()).collect();
    forms(backup, &own, sent)
}

fn forms(backup: &TestBackup, own: &[LogicalType], sent: &[(&str, LogicalType)]) -> Vec<Vec<u8>> {
    let summary = &backup.tables[0];
    let reader = RowReader::new(&summary.name, &summary.columns);
    let mut forms = Vec::new();
    for (_, batch) in &backup.batches {
        for object in batch.objects() {
            let mut values = Vec::new();
            reader.read(object, 1, &mut values).expect("a row that was written");
            let mut form = Vec::new();
            for ((value, own), (name, sent)) in values.into_iter().zip(own).zip(sent) {
                let shared = common_type(own, sent).expect("types that compare");
                write_canonical(value, own, &shared, &mut form)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            forms.push(form);
        }
    }
    forms.sort();
    forms
}

/// Rows are compared byte by byte, whatever a column's collation says.
pub async fn texts_that_differ_in_case_alone_are_updated(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    source.execute("UPDATE customers SET email = 'ADA@example.org' WHERE id = 1").await;
    let backup = TestBackup::of(&*source.database()).await;
    let report = worked(backup.apply(&*target.database()).await);
    assert_eq!(backup.merged(&report, "customers"), counts(0, 1, 1));
    assert_eq!(target.query("SELECT email FROM customers WHERE id = 1").await, ["ADA@example.org"]);
}

/// Whatever a table or column is called, its rows arrive and nothing else happens.
pub async fn names_that_try_to_be_sql_are_only_names(fixture: &dyn Fixture) {
    let (source, target) = (fixture.create(Shape::Names).await, fixture.create(Shape::Names).await);
    source.execute(r#"INSERT INTO "orderItems" VALUES (1, 'a', 'b', 'c', 'd', 'e', 'f'), (2, '', '', '', '', '', '')"#).await;
    source.execute(r#"INSERT INTO """; DROP TABLE ""orderItems""; --" VALUES (7)"#).await;
    target.execute(r#"INSERT INTO "orderItems" VALUES (1, 'a', 'b', 'c', 'd', 'e', 'changed')"#).await;
    let backup = TestBackup::of(&*source.database()).await;
    let report = worked(backup.apply(&*target.database()).await);
    assert_eq!(backup.merged(&report, "orderItems"), counts(1, 1, 0));
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}

/// A computed column does not travel, is computed at the target, and counts in the comparison.
pub async fn generated_columns_are_compared_and_not_written(fixture: &dyn Fixture) {
    let (source, target) = (fixture.create(Shape::Generated).await, fixture.create(Shape::Generated).await);
    source.execute("INSERT INTO totals (id, net) VALUES (1, 10), (2, NULL)").await;
    let backup = TestBackup::of(&*source.database()).await;
    let columns: Vec<_> = backup.tables[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["id", "net"]);
    worked(backup.apply(&*target.database()).await);
    assert_eq!(target.query("SELECT gross FROM totals WHERE id = 1").await, ["20"]);
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
    let other = fixture.create(Shape::Nothing).await;
    other.execute(&Shape::Generated.ddl(other.engine()).replace("net * 2", "net * 3")).await;
    other.execute("INSERT INTO totals (id, net) VALUES (1, 10), (2, NULL)").await;
    assert_ne!(hashes_of(&*other.database()).await, hashes_of(&*source.database()).await);
}

/// After a restore the shop's own next row gets a number that is free.
pub async fn a_restored_table_goes_on_numbering(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    worked(TestBackup::of(&*source.database()).await.apply(&*target.database()).await);
    target.execute(r#"INSERT INTO customers ("fullName") VALUES ('Cleo')"#).await;
    assert_eq!(target.query(r#"SELECT id FROM customers WHERE "fullName" = 'Cleo'"#).await, ["3"]);
}

/// A row may have its members in any order, with white space between them: people write backups too.
pub async fn members_in_another_order_are_read(fixture: &dyn Fixture) {
    let target = fixture.create(Shape::Codes).await;
    let columns = [
        ("id", LogicalType::Int64),
        ("code", LogicalType::Text),
        ("slot", LogicalType::Int64),
        ("shelf", LogicalType::Int64),
    ];
    let backup = TestBackup::of_rows("codes", &["id"], &columns, &[])
        .with_lines("{ \"code\" : \"x\", \"shelf\":3, \"slot\":null, \"id\":7 },\n");
    worked(backup.apply(&*target.database()).await);
    assert_eq!(target.query("SELECT id FROM codes WHERE code = 'x' AND shelf = 3").await, ["7"]);
}

/// While rows are staged the shop writes to the same tables, and what it wrote is merged with.
pub async fn staging_locks_nothing(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    let backup = TestBackup::of(&*source.database()).await;
    let database = target.database();
    let mut apply = worked(backup.staged(&*database).await);
    target.execute("INSERT INTO products (id, sku, price) VALUES (1, 'old', '9')").await;
    let report = worked(apply.merge().await);
    assert_eq!(backup.merged(&report, "products"), counts(2, 1, 0));
    worked(apply.record(&backup.receipt(), jiff::Timestamp::UNIX_EPOCH).await);
    worked(apply.commit().await);
    assert_eq!(hashes_of(&*database).await, hashes_of(&*source.database()).await);
}
