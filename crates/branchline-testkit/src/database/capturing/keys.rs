//! Claims about rows whose keys are of every kind that both engines hold.

use super::super::{Engine, Fixture, Shape};
use super::server::{assert_same, pair, send, settle};

/// The tables of [`Shape::Keys`], each with its key's columns and four keys; of bytes the digits stand here.
pub const KEYS: [(&str, &str, [&str; 4]); 10] = [
    ("by_text", "k", ["'it''s \"q\"'", "'a\\b'", "'größe\n\t€'", "''"]),
    ("by_texts", "a, b", ["'a', 'b,c'", "'a,b', 'c'", "'[\"a', 'b\"]'", "'', 'a'"]),
    ("by_number", "k", ["9223372036854775807", "-9223372036854775808", "0", "9007199254740993"]),
    ("by_decimal", "k", ["'1.5'", "'-0.05'", "'12345678901234567890.123'", "'100'"]),
    ("by_fraction", "k", ["0.1", "1e300", "-2.5", "5"]),
    (
        "by_uuid",
        "k",
        [
            "'00000000-0000-0000-0000-000000000000'",
            "'9b2e6f4c-7f39-4c0a-9d53-0f5a8f6f0a11'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'00000000-0000-4000-8000-000000000001'",
        ],
    ),
    ("by_bytes", "k", ["00ff", "", "5c5c", "227e"]),
    (
        "by_moment",
        "day, k",
        [
            "'2025-12-06', '2025-12-06T23:59:59.5'",
            "'2025-12-06', '2025-12-06T23:59:59'",
            "'0001-01-01', '1969-12-31T00:00:00'",
            "'9999-12-31', '2025-01-01T00:00:00.000001'",
        ],
    ),
    (
        "by_instant",
        "k",
        [
            "'2025-12-06T23:59:59.5Z'",
            "'2025-12-06T23:59:59Z'",
            "'1969-12-31T00:00:00Z'",
            "'2025-06-01T12:00:00.000001Z'",
        ],
    ),
    ("by_truth", "k, small", ["TRUE, 1", "FALSE, 1", "TRUE, -32768", "FALSE, 32767"]),
];

/// A key of [`KEYS`] as an engine reads it.
fn key_of(engine: Engine, table: &str, key: &str) -> String {
    match (engine, table) {
        (Engine::Postgres, "by_bytes") => format!("'\\x{key}'"),
        (Engine::Sqlite, "by_bytes") => format!("x'{key}'"),
        _ => key.to_owned(),
    }
}

/// A statement for each kind of key, with the `n`th key: `{table}`, `{columns}` and `{key}` are filled in.
#[must_use]
pub fn with_each_key(engine: Engine, statement: &str, n: usize) -> String {
    let filled = |(table, columns, keys): &(&str, &str, [&str; 4])| {
        let key = key_of(engine, table, keys[n]);
        statement.replace("{table}", table).replace("{columns}", columns).replace("{key}", &key) + ";"
    };
    KEYS.iter().map(filled).collect()
}

/// Whatever a key is made of, the row that it names is found again: at the pack, at the target, and in a conflict.
pub async fn keys_of_every_kind_travel(fixture: &dyn Fixture) {
    let engine = fixture.create(Shape::Nothing).await.engine();
    let each = |statement, n| with_each_key(engine, statement, n);
    let (insert, update, delete) = (
        "INSERT INTO {table} ({columns}, v) VALUES ({key}, 1)",
        "UPDATE {table} SET v = 7 WHERE ({columns}) = ({key})",
        "DELETE FROM {table} WHERE ({columns}) = ({key})",
    );
    let rows = each(insert, 0) + &each(insert, 1) + &each(insert, 2);
    let (mut store, mut hq) = pair(fixture, Shape::Keys, &rows).await;
    store.write(&(each(update, 0) + &each(delete, 1) + &each(insert, 3))).await;
    let (backup, report) = send(&mut store, &mut hq).await;
    for (table, _, _) in KEYS {
        assert_eq!(backup.count(table), (2, 1), "{table}");
        let merged = backup.merged(&report, table);
        assert_eq!((merged.inserted, merged.updated, merged.deleted), (1, 1, 1), "{table}");
    }
    assert_same(&store, &hq).await;
    // Both change the same rows, one of which is of the base still, and one deletes what the other changes.
    let on_the_base = "UPDATE {table} SET v = 9 WHERE ({columns}) = ({key})";
    store.write(&(each(update, 0) + &each(on_the_base, 2) + &each(delete, 3)).replace("= 7", "= 5")).await;
    hq.write(
        &(each(update, 0) + &each(on_the_base, 2) + &each(update, 3))
            .replace("= 7", "= 6")
            .replace("= 9", "= 8"),
    )
    .await;
    let (backup, report) = send(&mut store, &mut hq).await;
    for (table, _, _) in KEYS {
        assert_eq!((backup.count(table), backup.merged(&report, table).conflicts), ((2, 1), 3), "{table}");
    }
    settle(&mut store, &mut hq).await;
}
