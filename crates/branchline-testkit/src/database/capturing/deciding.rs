//! Claims about what becomes of a row that comes in: decided by who knew what, and by the clock only in a conflict.

use branchline_core::ports::TableMerge;

use super::super::restoring::SHOP_ROWS;
use super::super::{Fixture, Shape};
use super::server::{TestServer, deliver, pair, send, settle};

/// Statements that change a row as often as it takes to be the later one, also where the engine's clock tells no
/// less than milliseconds.
fn later(statement: &str) -> String {
    let many: String =
        (0..40).map(|n| format!("UPDATE products SET sku = 'tick-{n}' WHERE id = 1;")).collect();
    many + "UPDATE products SET sku = 'A-1' WHERE id = 1;" + statement
}

async fn conflicts(server: &TestServer) -> u64 {
    server.state().await.conflicts
}

/// In which order two packs and two applies come.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// The earlier change arrives first, and is answered on top of.
    EarlierFirst,
    /// The later change arrives first.
    LaterFirst,
    /// Both are packed before either arrives.
    Crossing,
}

/// Two servers with a shop each make a change of one row, the second one later; both then send theirs. What comes out
/// is what the later one made, on both sides, with a conflict on record wherever the two met.
async fn assert_later_wins(fixture: &dyn Fixture, earlier: &str, later_one: &str, shown: &[&str]) {
    for (order, expected) in
        [(Order::EarlierFirst, (0, 1)), (Order::LaterFirst, (1, 0)), (Order::Crossing, (1, 1))]
    {
        let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
        store.write(earlier).await;
        hq.write(&later(later_one)).await;
        match order {
            Order::EarlierFirst => {
                send(&mut store, &mut hq).await;
                send(&mut hq, &mut store).await;
            }
            Order::LaterFirst => {
                send(&mut hq, &mut store).await;
                send(&mut store, &mut hq).await;
            }
            Order::Crossing => {
                let (there, back) = (store.pack_for(&hq.id).await, hq.pack_for(&store.id).await);
                deliver(&mut store, &mut hq, &there).await;
                deliver(&mut hq, &mut store, &back).await;
            }
        }
        for server in [&store, &hq] {
            let prices = server.query("SELECT price FROM products ORDER BY id").await;
            assert_eq!(prices, shown, "{order:?} at {}", server.id);
        }
        assert_eq!((conflicts(&store).await, conflicts(&hq).await), expected, "{order:?}");
        settle(&mut store, &mut hq).await;
        assert_eq!((conflicts(&store).await, conflicts(&hq).await), expected, "{order:?}, settled");
    }
}

/// Two updates.
pub async fn of_two_updates_the_newest_wins_on_both_sides(fixture: &dyn Fixture) {
    let (earlier, later) =
        ("UPDATE products SET price = '5' WHERE id = 3", "UPDATE products SET price = '6' WHERE id = 3");
    assert_later_wins(fixture, earlier, later, &["1.10", "20.00", "6"]).await;
}

/// A row that was deleted here and changed there later comes back.
pub async fn a_later_update_wins_over_a_delete(fixture: &dyn Fixture) {
    let gone = "DELETE FROM order_items WHERE product_id = 2; DELETE FROM products WHERE id = 2";
    let changed = "UPDATE products SET price = '6' WHERE id = 2";
    assert_later_wins(fixture, gone, changed, &["1.10", "6", "0.05"]).await;
}

/// A row that was changed here and deleted there later is gone.
pub async fn a_later_delete_wins_over_an_update(fixture: &dyn Fixture) {
    let changed = "UPDATE products SET price = '6' WHERE id = 2";
    let gone = "DELETE FROM order_items WHERE product_id = 2; DELETE FROM products WHERE id = 2";
    assert_later_wins(fixture, changed, gone, &["1.10", "0.05"]).await;
}

/// Two rows of one key that were made at the same time.
pub async fn of_two_inserts_the_newest_wins(fixture: &dyn Fixture) {
    let (earlier, later) =
        ("INSERT INTO products VALUES (7, 'E-7', '7')", "INSERT INTO products VALUES (7, 'L-7', '8')");
    assert_later_wins(fixture, earlier, later, &["1.10", "20.00", "0.05", "8"]).await;
}

/// Both made the same of a row: nothing is overruled, nothing circles.
pub async fn two_equal_changes_are_no_conflict(fixture: &dyn Fixture) {
    for crossing in [false, true] {
        let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
        for server in [&store, &hq] {
            server
                .write("UPDATE products SET price = '5' WHERE id = 1; DELETE FROM order_items WHERE line = 2")
                .await;
            server.write("INSERT INTO products VALUES (7, 'S-7', '7')").await;
        }
        if crossing {
            let (there, back) = (store.pack_for(&hq.id).await, hq.pack_for(&store.id).await);
            deliver(&mut store, &mut hq, &there).await;
            deliver(&mut hq, &mut store, &back).await;
        }
        settle(&mut store, &mut hq).await;
        assert_eq!((conflicts(&store).await, conflicts(&hq).await), (0, 0), "crossing: {crossing}");
    }
}

/// A row that was made with knowledge of the other is no conflict, whatever the clocks say.
pub async fn a_change_on_top_of_another_is_no_conflict(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    for turn in 1..4 {
        store.write(&format!("UPDATE products SET price = '{turn}.1' WHERE id = 1")).await;
        send(&mut store, &mut hq).await;
        hq.write(&format!("UPDATE products SET price = '{turn}.2' WHERE id = 1")).await;
        let (_, report) = send(&mut hq, &mut store).await;
        assert_eq!(report.tables[0], TableMerge { updated: 1, ..TableMerge::default() });
    }
    assert_eq!((conflicts(&store).await, conflicts(&hq).await), (0, 0));
    assert_eq!(store.query("SELECT price FROM products WHERE id = 1").await, ["3.2"]);
}

/// A change is later than what it was made on top of, also where that came from a clock that is an hour ahead.
pub async fn a_change_is_later_than_what_it_was_made_on(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("UPDATE products SET price = '5' WHERE id < 3; DELETE FROM order_items WHERE line = 2").await;
    let ahead = store.pack_for(&hq.id).await.with_clock_ahead(3_600_000_000);
    deliver(&mut store, &mut hq, &ahead).await;
    assert_eq!(hq.query("SELECT price FROM products ORDER BY id").await, ["5", "5", "0.05"]);
    hq.write("UPDATE products SET price = '6' WHERE id = 1; DELETE FROM order_items").await;
    hq.write("DELETE FROM products WHERE id = 2").await;
    hq.write("INSERT INTO order_items VALUES ('00000000-0000-4000-8000-000000000001', 2, 1, 9)").await;
    let after = hq.pack_for(&store.id).await;
    for (table, part) in [("products", "\"6\""), ("products", "$deleted"), ("order_items", "\"quantity\":9")]
    {
        let row =
            after.rows_of(table).into_iter().find(|row| row.line.contains(part)).expect("a changed row");
        let before = ahead.rows_of(table).into_iter().find(|before| before.key == row.key);
        let before = before.expect("the row that it was made on").version.time;
        assert!(row.version.time > before, "{table} {}: not later than {before:?}", row.line);
    }
}

/// The same rows a second time, by another way, after they went on changing here.
pub async fn a_row_that_was_known_before_is_old(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("UPDATE products SET price = '5'; DELETE FROM order_items WHERE line = 2").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    hq.write("UPDATE products SET price = '6' WHERE id = 1; DELETE FROM products WHERE id = 3").await;
    let item = "INSERT INTO order_items VALUES ('00000000-0000-4000-8000-000000000001', 2, 2, 9)";
    hq.write(item).await;
    let before = hq.hashes().await;
    let report = hq.apply(&backup.clone().again(8)).await;
    let products = TableMerge { unchanged: 1, superseded: 2, ..TableMerge::default() };
    assert_eq!(backup.merged(&report, "products"), products);
    let items = TableMerge { superseded: 1, ..TableMerge::default() };
    assert_eq!(backup.merged(&report, "order_items"), items);
    assert_eq!((hq.hashes().await, conflicts(&hq).await), (before.clone(), 0));
    hq.pack_for(&store.id).await;
    let report = hq.apply(&backup.clone().again(9)).await;
    assert_eq!(
        (backup.merged(&report, "products"), backup.merged(&report, "order_items")),
        (products, items)
    );
    assert_eq!((hq.hashes().await, conflicts(&hq).await), (before, 0));
    settle(&mut store, &mut hq).await;
}

/// Rows that both had before anything was captured: equal ones are no conflict, others are one, and both servers come
/// to the same row, in whatever order they send.
pub async fn rows_that_both_had_before_converge(fixture: &dyn Fixture) {
    for crossing in [false, true] {
        let of_store = format!(
            "{SHOP_ROWS}; UPDATE products SET price = '5' WHERE id = 1; INSERT INTO products VALUES (8, 'S', '8')"
        );
        let of_hq = format!(
            "{SHOP_ROWS}; INSERT INTO products VALUES (9, 'H', '9'); DELETE FROM order_items WHERE line = 2"
        );
        let mut store = TestServer::attached(fixture, Shape::Shop, &of_store, "STORE-001").await;
        let mut hq = TestServer::attached(fixture, Shape::Shop, &of_hq, "HQ").await;
        if crossing {
            let (there, back) = (store.full_for(&hq.id).await, hq.full_for(&store.id).await);
            deliver(&mut store, &mut hq, &there).await;
            deliver(&mut hq, &mut store, &back).await;
            assert_eq!((conflicts(&store).await, conflicts(&hq).await), (1, 1));
            settle(&mut store, &mut hq).await;
        } else {
            let (there, report) = send(&mut store, &mut hq).await;
            let products =
                TableMerge { inserted: 1, updated: 1, unchanged: 2, conflicts: 1, ..TableMerge::default() };
            assert_eq!(there.merged(&report, "products"), products);
            let (_, report) = send(&mut hq, &mut store).await;
            assert_eq!(report.tables.iter().map(|table| table.updated).sum::<u64>(), 0);
            assert_eq!((conflicts(&store).await, conflicts(&hq).await), (0, 1));
            assert_eq!(hq.query("SELECT price FROM products WHERE id = 1").await, ["5"]);
            settle(&mut store, &mut hq).await;
        }
        assert_eq!(store.query("SELECT id FROM products ORDER BY id").await, ["1", "2", "3", "8", "9"]);
        assert_eq!(hq.query("SELECT count(*) FROM order_items").await, ["3"]);
    }
}

/// A captured change outranks a row of the base that differs.
pub async fn a_change_outranks_the_base(fixture: &dyn Fixture) {
    for full_from_store in [true, false] {
        let mut store = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
        let mut hq = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "HQ").await;
        store.write("UPDATE products SET price = '5' WHERE id = 1").await;
        if full_from_store {
            send(&mut store, &mut hq).await;
        } else {
            send(&mut hq, &mut store).await;
        }
        settle(&mut store, &mut hq).await;
        assert_eq!(hq.query("SELECT price FROM products WHERE id = 1").await, ["5"]);
        assert_eq!(conflicts(&store).await + conflicts(&hq).await, 1);
    }
}
