//! Claims about what becomes of a row that comes in: decided by who knew what, and by the clock only in a conflict.

use branchline_core::backup::BackupType;
use branchline_core::id::Generation;
use branchline_core::ports::{Amendment, TableMerge};

use super::super::restoring::SHOP_ROWS;
use super::super::{Fixture, Shape, worked};
use super::server::{TestServer, assert_quiet, assert_same, deliver, pair, send, settle};

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

/// An old backup that comes again after its rows were deleted resurrects nothing, nor does it once their tombstones
/// are gone.
pub async fn an_old_backup_resurrects_nothing(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("INSERT INTO products VALUES (8, 'C-1', '1'), (9, 'C-2', '2')").await;
    let (old, _) = send(&mut store, &mut hq).await;
    store.write("DELETE FROM products WHERE id > 7").await;
    send(&mut store, &mut hq).await;
    assert_eq!(hq.state().await.tombstones, 2);
    for (sequence, purge) in [(7, false), (8, true)] {
        if purge {
            let known_to_all = hq.state().await.knowledge;
            let purged = hq.capture().amend(Amendment::Purge { known_to_all }).await;
            assert_eq!(worked(purged), 2);
        }
        let report = hq.apply(&old.clone().again(sequence)).await;
        let merged = old.merged(&report, "products");
        assert_eq!(merged, TableMerge { superseded: 2, ..TableMerge::default() }, "purged: {purge}");
        assert_same(&store, &hq).await;
    }
    assert_quiet(&mut store, &mut hq).await;
}

/// Three servers that know each other and have no rows.
async fn three_empty(fixture: &dyn Fixture) -> (TestServer, TestServer, TestServer) {
    let (mut one, mut two) = pair(fixture, Shape::Shop, "").await;
    let mut three = TestServer::attached(fixture, Shape::Shop, "", "STORE-003").await;
    for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
        let mut servers = [Some(&mut one), Some(&mut two), Some(&mut three)];
        let (from, to) = (servers[from].take(), servers[to].take());
        send(from.expect("one of three"), to.expect("another of three")).await;
    }
    (one, two, three)
}

/// The deletion of a row that was never here is remembered, and stops the row when it comes later by another way.
pub async fn a_deletion_that_comes_before_its_row_stops_it(fixture: &dyn Fixture) {
    let (mut maker, mut remover, mut hub) = three_empty(fixture).await;
    maker.write("INSERT INTO products VALUES (1, 'A-1', '1'), (2, 'A-2', '2')").await;
    send(&mut maker, &mut remover).await;
    remover.write("DELETE FROM products WHERE id = 1").await;
    let (deletion, report) = send(&mut remover, &mut hub).await;
    assert_eq!((deletion.count("products"), deletion.lines()), ((0, 1), 1));
    assert_eq!(deletion.merged(&report, "products").deleted, 0);
    assert_eq!(hub.state().await.tombstones, 1);
    send(&mut maker, &mut hub).await;
    assert_eq!(hub.query("SELECT id FROM products").await, ["2"]);
    assert_same(&hub, &remover).await;
    assert_eq!(hub.state().await.tombstones, 1);
}

/// Tombstones stay until somebody says that all have them.
pub async fn tombstones_go_by_amendment_alone(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("DELETE FROM order_items WHERE line = 2").await;
    send(&mut store, &mut hq).await;
    store.write("DELETE FROM order_items WHERE product_id = 2").await;
    send(&mut store, &mut hq).await;
    store.write("DELETE FROM order_items").await;
    store.pack_for(&hq.id).await;
    send(&mut hq, &mut store).await;
    assert_eq!((store.state().await.tombstones, hq.state().await.tombstones), (3, 2));
    // Of the first pack all have heard, of the second not.
    let known_to_all = [(store.life(), Generation::new(1))].into_iter().collect();
    let purge = Amendment::Purge { known_to_all };
    assert_eq!(worked(store.capture().amend(purge.clone()).await), 1);
    let state = store.state().await;
    assert_eq!((state.tombstones, state.purged.generation(&store.life())), (2, Some(Generation::new(1))));
    assert_eq!(worked(store.capture().amend(purge).await), 0);
    // The peer is not behind what was purged, and so gets an increment.
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("order_items"), backup.lines()), ((0, 1), 1));
    assert_same(&store, &hq).await;
}

/// A peer that may lack a tombstone that is gone gets everything: what it has and the backup lacks was deleted where
/// the source knew it, and counts as new where it did not.
pub async fn a_peer_behind_the_horizon_gets_everything(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("DELETE FROM order_items WHERE line = 2").await;
    store.pack_for(&hq.id).await;
    let known_to_all = store.state().await.knowledge;
    assert_eq!(worked(store.capture().amend(Amendment::Purge { known_to_all }).await), 1);
    hq.write("INSERT INTO products VALUES (8, 'C-1', '1')").await;
    let lost = hq.pack_for(&store.id).await;
    assert_eq!(lost.lines(), 1);
    hq.write("INSERT INTO products VALUES (9, 'C-2', '2')").await;
    let (full, report) = send(&mut store, &mut hq).await;
    assert_eq!((full.request.backup_type, full.count("order_items")), (BackupType::Full, (2, 0)));
    assert_eq!(full.merged(&report, "order_items").deleted, 1);
    assert_eq!(full.merged(&report, "products").deleted, 0);
    let state = hq.state().await;
    assert_eq!(state.purged.generation(&store.life()), Some(Generation::new(1)));
    // Both rows are the head office's own changes now, the one that was packed before too.
    let back = hq.pack_for(&store.id).await;
    assert_eq!((back.count("products"), back.lines()), ((2, 0), 2));
    for row in back.rows_of("products") {
        assert_eq!(row.version.dot.generation, Generation::new(2), "{}", row.line);
    }
    deliver(&mut hq, &mut store, &back).await;
    settle(&mut store, &mut hq).await;
}

/// A filter keeps rows back: that they are not in a full backup says nothing.
pub async fn absence_from_a_filtered_table_says_nothing(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("DELETE FROM order_items").await;
    store.pack_for(&hq.id).await;
    let known_to_all = store.state().await.knowledge;
    assert_eq!(worked(store.capture().amend(Amendment::Purge { known_to_all }).await), 3);
    let mut full = store.pack_for(&hq.id).await;
    assert_eq!((full.request.backup_type, full.count("order_items")), (BackupType::Full, (0, 0)));
    for summary in &mut full.request.tables {
        summary.filtered = true;
    }
    let before = hq.hashes().await;
    let report = deliver(&mut store, &mut hq, &full).await;
    assert_eq!(full.merged_in_all(&report).deleted, 0);
    assert_eq!(hq.hashes().await, before);
    assert!(!worked(hq.capture().has_changes().await));
}

/// What a full backup shows to have been deleted, and a row here that its source never saw hangs on it: it cannot go,
/// and so counts as new, and comes back to its source.
pub async fn a_removal_that_a_child_prevents_counts_as_new(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("DELETE FROM order_items; DELETE FROM products WHERE id > 1").await;
    store.pack_for(&hq.id).await;
    let known_to_all = store.state().await.knowledge;
    assert_eq!(worked(store.capture().amend(Amendment::Purge { known_to_all }).await), 5);
    hq.write("INSERT INTO order_items VALUES ('00000000-0000-4000-8000-000000000002', 7, 3, 1)").await;
    let (full, report) = send(&mut store, &mut hq).await;
    assert_eq!((full.request.backup_type, full.merged(&report, "products").deleted), (BackupType::Full, 1));
    assert_eq!(hq.query("SELECT id FROM products ORDER BY id").await, ["1", "3"]);
    let (back, _) = send(&mut hq, &mut store).await;
    assert_eq!((back.count("products"), back.count("order_items")), ((1, 0), (1, 0)));
    settle(&mut store, &mut hq).await;
    assert_eq!(store.query("SELECT line FROM order_items").await, ["7"]);
}

/// A row that was never here, from somebody who lacks a deletion that was forgotten here: it may be the row that was
/// deleted. It goes in as a change made here, so that everybody comes to have it.
pub async fn a_row_that_a_forgotten_deletion_may_be_about_counts_as_new(fixture: &dyn Fixture) {
    let (mut maker, mut remover, mut hub) = three_empty(fixture).await;
    maker.write("INSERT INTO products VALUES (1, 'A-1', '1')").await;
    send(&mut maker, &mut remover).await;
    remover.write("DELETE FROM products WHERE id = 1").await;
    send(&mut remover, &mut hub).await;
    let known_to_all = hub.state().await.knowledge;
    assert_eq!(worked(hub.capture().amend(Amendment::Purge { known_to_all }).await), 1);
    send(&mut maker, &mut hub).await;
    assert_eq!(hub.query("SELECT id FROM products").await, ["1"]);
    for target in [&mut remover, &mut maker] {
        let (onward, _) = send(&mut hub, target).await;
        let rows = onward.rows_of("products");
        assert_eq!((rows.len(), &rows[0].version.dot.life), (1, &hub.life()), "{}", target.id);
        assert_same(target, &hub).await;
    }
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
