//! Claims about what counts as a change, and in what it travels.

use branchline_core::ports::MergeReport;

use super::super::restoring::SHOP_ROWS;
use super::super::{Engine, Fixture, Shape, run_in, worked};
use super::carried::CarriedBackup;
use super::server::{TestServer, assert_quiet, assert_same, pair, send};
use crate::state::server_id;

/// What one server's statements bring to its peer, with both equal afterwards and nothing coming back.
async fn sent_after(
    fixture: &dyn Fixture,
    shape: Shape,
    rows: &str,
    statements: &str,
) -> (CarriedBackup, MergeReport) {
    let (mut store, mut hq) = pair(fixture, shape, rows).await;
    store.write(statements).await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_same(&store, &hq).await;
    assert_eq!(backup.merged_in_all(&report).conflicts, 0);
    assert_quiet(&mut store, &mut hq).await;
    (backup, report)
}

async fn shop_after(fixture: &dyn Fixture, statements: &str) -> (CarriedBackup, MergeReport) {
    sent_after(fixture, Shape::Shop, SHOP_ROWS, statements).await
}

/// Rows that were there before are the base, and carry no version; what changes afterwards does.
pub async fn what_was_before_attach_is_the_base(fixture: &dyn Fixture) {
    let mut server = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    server.write("UPDATE products SET price = '7' WHERE id = 1").await;
    server.write(r#"INSERT INTO customers (id, "fullName") VALUES (9, 'Cleo')"#).await;
    let backup = server.full_for(&server_id("HQ")).await;
    let generations = |table: &str| -> Vec<u64> {
        let mut found: Vec<_> =
            backup.rows_of(table).iter().map(|row| row.version.dot.generation.value()).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(generations("products"), [0, 0, 1]);
    assert_eq!(generations("customers"), [0, 0, 1]);
    assert_eq!(generations("order_items"), [0, 0, 0]);
    for row in backup.rows_of("products") {
        assert_eq!(row.line.contains("$version"), row.version.dot.generation.value() == 1, "{}", row.line);
        assert_eq!(row.version.dot.life, server.life());
    }
}

/// A new row.
pub async fn an_insert_travels(fixture: &dyn Fixture) {
    let (backup, report) =
        shop_after(fixture, r#"INSERT INTO customers (id, "fullName") VALUES (9, 'Cleo')"#).await;
    assert_eq!((backup.count("customers"), backup.lines()), ((1, 0), 1));
    assert_eq!(backup.merged(&report, "customers").inserted, 1);
}

/// Another image of a row.
pub async fn an_update_travels(fixture: &dyn Fixture) {
    let (backup, report) = shop_after(fixture, "UPDATE products SET price = '7.50' WHERE id = 2").await;
    assert_eq!((backup.count("products"), backup.lines()), ((1, 0), 1));
    assert_eq!(backup.merged(&report, "products").updated, 1);
}

/// Of a deletion the key travels.
pub async fn a_delete_travels(fixture: &dyn Fixture) {
    let (backup, report) = shop_after(fixture, "DELETE FROM order_items WHERE line = 2").await;
    assert_eq!((backup.count("order_items"), backup.lines()), ((0, 1), 1));
    assert_eq!(backup.merged(&report, "order_items").deleted, 1);
    let line = &backup.rows_of("order_items")[0].line;
    assert!(line.contains("\"$deleted\":true") && !line.contains("quantity"), "{line}");
}

/// Another key is another row: the old one goes.
pub async fn a_changed_key_travels_as_two_rows(fixture: &dyn Fixture) {
    let (backup, report) = shop_after(fixture, "UPDATE order_items SET line = 7 WHERE line = 2").await;
    assert_eq!((backup.count("order_items"), backup.lines()), ((1, 1), 2));
    let merged = backup.merged(&report, "order_items");
    assert_eq!((merged.inserted, merged.deleted), (1, 1));
}

/// Keys that move on by one, each to the place of the next.
pub async fn keys_that_move_up_travel(fixture: &dyn Fixture) {
    let rows = "INSERT INTO codes VALUES (1, 'a', 1, 1), (2, 'b', 2, 2), (3, 'c', 3, 3)";
    let up = "UPDATE codes SET id = 4 WHERE id = 3; UPDATE codes SET id = 3 WHERE id = 2; UPDATE codes SET id = 2 WHERE id = 1";
    let (backup, _) = sent_after(fixture, Shape::Codes, rows, up).await;
    assert_eq!(backup.count("codes"), (3, 1));
}

/// A unique value goes from a row that is deleted to a new one.
pub async fn a_freed_unique_value_travels(fixture: &dyn Fixture) {
    let rows = "INSERT INTO codes VALUES (1, 'a', 1, 1), (2, 'b', 2, 2)";
    let freed = "DELETE FROM codes WHERE id = 1; INSERT INTO codes VALUES (3, 'a', 1, 1)";
    let (backup, report) = sent_after(fixture, Shape::Codes, rows, freed).await;
    assert_eq!(backup.count("codes"), (1, 1));
    assert_eq!(backup.merged(&report, "codes").held, 0);
}

/// One statement over thousands of rows.
pub async fn bulk_statements_travel(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Codes, "").await;
    store.write(super::super::restoring::MANY_CODES).await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("codes"), backup.merged(&report, "codes").inserted), ((6_000, 0), 6_000));
    assert!(backup.batches.len() > 2, "{} batches", backup.batches.len());
    store.write("UPDATE codes SET slot = id WHERE id > 1000; DELETE FROM codes WHERE id <= 500").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    let merged = backup.merged(&report, "codes");
    assert_eq!((backup.count("codes"), merged.updated, merged.deleted), ((5_000, 500), 5_000, 500));
    assert_same(&store, &hq).await;
}

/// A table that is emptied at once, with what hangs on it.
pub async fn an_emptied_table_travels(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store
        .write(match store.engine() {
            Engine::Postgres => "TRUNCATE orders CASCADE",
            Engine::Sqlite => "DELETE FROM order_items; DELETE FROM orders",
        })
        .await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("orders"), backup.count("order_items"), backup.lines()), ((0, 2), (0, 3), 5));
    assert_eq!(backup.merged(&report, "order_items").deleted, 3);
    assert_same(&store, &hq).await;
}

/// Its last image, once.
pub async fn a_row_that_changed_many_times_travels_once(fixture: &dyn Fixture) {
    let many: String =
        (0..20).map(|n| format!("UPDATE products SET price = '{n}.5' WHERE id = 1;")).collect();
    let gone_and_back = "DELETE FROM order_items WHERE line = 2;
        INSERT INTO order_items VALUES ('00000000-0000-4000-8000-000000000001', 2, 2, 5)";
    let (backup, _) = shop_after(fixture, &(many + gone_and_back)).await;
    assert_eq!((backup.count("products"), backup.count("order_items"), backup.lines()), ((1, 0), (1, 0), 2));
    assert!(backup.rows_of("products")[0].line.contains("19.5"));
}

/// An update that changes nothing is no change.
pub async fn an_update_without_effect_does_not_travel(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let before = store.state().await.generation;
    store
        .write(r#"UPDATE products SET price = price; UPDATE customers SET "fullName" = 'Ada' WHERE id = 1"#)
        .await;
    assert!(!worked(store.capture().has_changes().await));
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!((backup.lines(), store.state().await.generation), (0, before));
}

/// What was taken back was never there, a part of a transaction too.
pub async fn a_change_that_was_rolled_back_does_not_travel(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let mut session = store.shop.session().await;
    run_in(&mut *session, "BEGIN; UPDATE products SET price = '9'; DELETE FROM order_items; ROLLBACK").await;
    assert!(!worked(store.capture().has_changes().await));
    let partly = "BEGIN; UPDATE products SET price = '9' WHERE id = 1; SAVEPOINT here;
        UPDATE products SET price = '9' WHERE id = 2; ROLLBACK TO here; COMMIT";
    run_in(&mut *session, partly).await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("products"), backup.lines()), ((1, 0), 1));
    assert_same(&store, &hq).await;
}

/// Rows that a foreign key takes along, and each is counted where it arrives.
pub async fn cascaded_deletes_travel(fixture: &dyn Fixture) {
    let rows = r#"INSERT INTO customers (id, "fullName") VALUES (1, 'Ada'), (2, 'Berta');
        INSERT INTO loyalty (id, customer_id) VALUES (1, 1), (2, 1), (3, 2)"#;
    let (backup, report) = sent_after(fixture, Shape::Shop, rows, "DELETE FROM customers WHERE id = 1").await;
    assert_eq!((backup.count("customers"), backup.count("loyalty"), backup.lines()), ((0, 1), (0, 2), 3));
    assert_eq!(
        (backup.merged(&report, "customers").deleted, backup.merged(&report, "loyalty").deleted),
        (1, 2)
    );
}

/// A key that its children follow, and a reference that is emptied.
pub async fn cascaded_updates_travel(fixture: &dyn Fixture) {
    let rows = "INSERT INTO regions VALUES ('n', 'North'), ('s', 'South');
        INSERT INTO members (id, region, nick, sponsor) VALUES (1, 'n', 'a', NULL), (2, 's', 'b', 1), (3, 's', 'c', 2);
        INSERT INTO baskets VALUES ('00000000-0000-4000-8000-000000000001', 2, 'x')";
    let changed = "UPDATE members SET id = 20 WHERE id = 2; DELETE FROM members WHERE id = 1";
    let (backup, _) = sent_after(fixture, Shape::Market, rows, changed).await;
    assert_eq!((backup.count("members"), backup.count("baskets"), backup.lines()), ((2, 2), (1, 0), 5));
}

/// Names that try to be SQL are only names to a trigger, too.
pub async fn changes_under_odd_names_travel(fixture: &dyn Fixture) {
    let rows = r#"INSERT INTO "orderItems" ("select", "$version", "größe", "a b") VALUES (1, 'v', 'g', 'ab'), (2, '', '', '');
        INSERT INTO """; DROP TABLE ""orderItems""; --" VALUES (5), (6)"#;
    let changed = r#"UPDATE "orderItems" SET "it's ""quoted""" = 'x', "select" = 3 WHERE "select" = 1;
        UPDATE "orderItems" SET "$version" = '$' WHERE "select" = 2;
        DELETE FROM """; DROP TABLE ""orderItems""; --" WHERE "..\x" = 5"#;
    let (backup, _) = sent_after(fixture, Shape::Names, rows, changed).await;
    assert_eq!((backup.count("orderItems"), backup.lines()), ((2, 1), 4));
}

/// Words that stand in a trigger, or in a table of ours, as names of the shop's.
pub async fn names_that_a_trigger_uses_are_only_names(fixture: &dyn Fixture) {
    let table = r#"CREATE TABLE change (
        "key" TEXT, moment TEXT, at TEXT, "new" TEXT, "old" TEXT, n TEXT, o TEXT, t TEXT, r TEXT, id TEXT, found TEXT,
        tg_op TEXT, "row" TEXT, version TEXT, "time" TEXT, life TEXT, table_id BIGINT, PRIMARY KEY ("key", moment)
    );
    CREATE TABLE version (id BIGINT PRIMARY KEY, change TEXT, captured TEXT);"#;
    let mut servers = Vec::new();
    for id in ["STORE-001", "HQ"] {
        servers.push(TestServer::attached(fixture, Shape::Nothing, table, id).await);
    }
    let [store, hq] = servers.as_mut_slice() else { unreachable!("two servers") };
    store.write("INSERT INTO version VALUES (1, 'a', 'b'), (2, NULL, NULL)").await;
    store.write(r#"INSERT INTO change ("key", moment) VALUES ('a', 'b'), ('c', 'd'), ('e', 'f')"#).await;
    send(store, hq).await;
    send(hq, store).await;
    assert_same(store, hq).await;
    store.write(r#"UPDATE change SET at = 'x', "new" = 'y', id = 'z' WHERE "key" = 'a'"#).await;
    store
        .write(r#"UPDATE change SET moment = 'x' WHERE "key" = 'c'; DELETE FROM change WHERE "key" = 'e'"#)
        .await;
    store.write("DELETE FROM version WHERE id = 2; UPDATE version SET captured = NULL").await;
    let (backup, _) = send(store, hq).await;
    assert_eq!((backup.count("change"), backup.count("version")), ((2, 2), (1, 1)));
    assert_same(store, hq).await;
    assert_quiet(store, hq).await;
}

/// Rows that point at each other, and at rows of their own table.
pub async fn cycles_and_self_references_travel(fixture: &dyn Fixture) {
    let cycle = "INSERT INTO employees VALUES (1, 'Ada', NULL); INSERT INTO businesses VALUES (7, 1);
        UPDATE employees SET business_id = 7";
    let (backup, _) = sent_after(fixture, Shape::Cycle, "", cycle).await;
    assert_eq!(backup.lines(), 2);
    let gone = "UPDATE employees SET business_id = NULL; DELETE FROM businesses; DELETE FROM employees";
    let (backup, _) = sent_after(fixture, Shape::Cycle, cycle, gone).await;
    assert_eq!((backup.count("employees"), backup.count("businesses")), ((0, 1), (0, 1)));
    let tree =
        "INSERT INTO categories VALUES (3, 'root', NULL); INSERT INTO categories VALUES (2, 'middle', 3);
        INSERT INTO categories VALUES (1, 'leaf', 2)";
    let (backup, _) = sent_after(fixture, Shape::Tree, "", tree).await;
    assert_eq!(backup.count("categories"), (3, 0));
    let felled = "DELETE FROM categories WHERE id = 1; DELETE FROM categories WHERE id = 2";
    let (backup, _) = sent_after(fixture, Shape::Tree, tree, felled).await;
    assert_eq!(backup.count("categories"), (0, 2));
}

/// A computed column follows; unique values change hands.
pub async fn computed_columns_and_swapped_values_travel(fixture: &dyn Fixture) {
    let rows = "INSERT INTO totals (id, net) VALUES (1, 10)";
    let (backup, _) = sent_after(fixture, Shape::Generated, rows, "UPDATE totals SET net = 11").await;
    assert!(!backup.rows_of("totals")[0].line.contains("gross"));
    let rows = "INSERT INTO codes VALUES (1, 'a', 1, 1), (2, 'b', 2, 2)";
    let swap = "UPDATE codes SET code = 'z' WHERE id = 1; UPDATE codes SET code = 'a' WHERE id = 2;
        UPDATE codes SET code = 'b' WHERE id = 1";
    let (backup, _) = sent_after(fixture, Shape::Codes, rows, swap).await;
    assert_eq!(backup.count("codes"), (2, 0));
}
