//! Texts of typed columns that come back in another spelling of the same value: the shop's stays.

use branchline_core::code::Code;
use branchline_core::schema::LogicalType as T;
use branchline_core::value::Value;
use branchline_testkit::database::{TestBackup, refusing::assert_backup_refused, worked};

use super::with_tables;

const UPPER: &str = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
const LOWER: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
const OTHER: &str = "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

fn text(text: &'static str) -> Value<'static> {
    Value::Text(text.into())
}

#[tokio::test]
async fn equal_values_are_unchanged_and_keep_their_text() {
    let columns = [
        ("id", T::Int64),
        ("at", T::Timestamp),
        ("total", T::Decimal(Some((12, 2)))),
        ("note", T::JsonBinary),
        ("tags", T::Array(Box::new(T::Text))),
        ("plain", T::Text),
    ];
    let row = |id, total| {
        let tags = Value::Array(vec![text("x"), Value::Null]);
        let note = Value::Json(r#"{"a": [2.0], "b": 1}"#.into());
        [Value::Integer(id), text("2025-01-01T08:00:00"), text(total), note, tags, text("1.10")]
    };
    let rows = [row(1, "1.10"), row(2, "1.20"), row(3, "1.10")];
    let rows: Vec<&[Value<'_>]> = rows.iter().map(<[_; 6]>::as_slice).collect();
    let backup = TestBackup::of_rows("t", &["id"], &columns, &rows);
    let target = with_tables(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, total TEXT, note JSON, tags TEXT, plain TEXT);",
    )
    .await;
    target
        .execute(
            r#"INSERT INTO t VALUES
            (1, '2025-01-01 08:00:00', '1.1', '{"b":1,"a":[2]}', '["x", null]', '1.10'),
            (2, '2025-01-01 08:00:00', '1.1', '{"b":1,"a":[2]}', '["x", null]', '1.10'),
            (3, '2025-01-01 08:00:00', '1.1', '{"b":1,"a":[2]}', '["x", null]', '1.1')"#,
        )
        .await;
    let report = worked(backup.apply(&*target.database()).await);
    assert_eq!((report.tables[0].unchanged, report.tables[0].updated, report.tables[0].inserted), (1, 2, 0));
    let texts = "SELECT at || ' ' || total || ' ' || note || ' ' || tags || ' ' || plain FROM t ORDER BY id";
    let same = r#"{"b":1,"a":[2]} ["x", null] 1.10"#;
    let expected = ["1.1", "1.20", "1.1"].map(|total| format!("2025-01-01 08:00:00 {total} {same}"));
    assert_eq!(target.query(texts).await, expected);
}

#[tokio::test]
async fn a_key_in_another_spelling_is_the_same_row() {
    let target = with_tables("CREATE TABLE t (id UUID TEXT, n INTEGER, v TEXT, PRIMARY KEY (id, n));").await;
    target.execute(&format!("INSERT INTO t VALUES ('{UPPER}', 1, 'old'), ('{OTHER}', 1, 'same')")).await;
    let columns = [("id", T::Uuid), ("n", T::Int64), ("v", T::Text)];
    let rows: [&[Value<'_>]; 3] = [
        &[text(LOWER), Value::Integer(1), text("new")],
        &[text(LOWER), Value::Integer(2), text("more")],
        &[text(OTHER), Value::Integer(1), text("same")],
    ];
    let backup = TestBackup::of_rows("t", &["id", "n"], &columns, &rows).mirrored();
    let merged = worked(backup.apply(&*target.database()).await).tables[0];
    assert_eq!((merged.inserted, merged.updated, merged.unchanged, merged.deleted), (1, 1, 1, 0));
    let every = "SELECT id || n || v FROM t ORDER BY id, n";
    assert_eq!(
        target.query(every).await,
        [format!("{UPPER}1new"), format!("{LOWER}2more"), format!("{OTHER}1same")]
    );
}

const FAMILY: &str = "CREATE TABLE p (id UUID TEXT PRIMARY KEY);
    CREATE TABLE c (id INTEGER PRIMARY KEY, p UUID TEXT NOT NULL REFERENCES p);";

#[tokio::test]
async fn a_pointer_takes_the_spelling_of_its_parent() {
    let target = with_tables(FAMILY).await;
    target.execute(&format!("INSERT INTO p VALUES ('{UPPER}'); INSERT INTO c VALUES (1, '{UPPER}')")).await;
    let columns = [("id", T::Int64), ("p", T::Uuid)];
    let rows: [&[Value<'_>]; 2] = [&[Value::Integer(1), text(LOWER)], &[Value::Integer(2), text(LOWER)]];
    let backup = TestBackup::of_rows("c", &["id"], &columns, &rows);
    let merged = worked(backup.apply(&*target.database()).await).tables[0];
    assert_eq!((merged.inserted, merged.unchanged), (1, 1));
    assert_eq!(target.query("SELECT DISTINCT p FROM c").await, [UPPER]);
}

#[tokio::test]
async fn what_is_refused_after_its_spelling_was_adopted_leaves_nothing() {
    let target = with_tables(FAMILY).await;
    target.execute(&format!("INSERT INTO p VALUES ('{UPPER}'); INSERT INTO c VALUES (1, '{UPPER}')")).await;
    let columns = [("id", T::Int64), ("p", T::Uuid)];
    let rows: [&[Value<'_>]; 3] = [
        &[Value::Integer(1), text(LOWER)],
        &[Value::Integer(2), text(LOWER)],
        &[Value::Integer(3), text(OTHER)],
    ];
    let backup = TestBackup::of_rows("c", &["id"], &columns, &rows);
    assert_backup_refused(&*target, &backup, Code::FOREIGN_KEY_BROKEN).await;
    target.execute(&format!("INSERT INTO p VALUES ('{OTHER}')")).await;
    assert_eq!(worked(backup.apply(&*target.database()).await).tables[0].inserted, 2);
}
