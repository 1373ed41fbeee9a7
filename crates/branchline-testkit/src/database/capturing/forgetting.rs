//! Claims about tombstones: what they stop, when they go, and what full backups say once they are gone.

use branchline_core::backup::BackupType;
use branchline_core::id::Generation;
use branchline_core::ports::{Amendment, TableMerge};

use super::super::restoring::SHOP_ROWS;
use super::super::{Fixture, Shape, worked};
use super::server::{TestServer, assert_quiet, assert_same, deliver, pair, send, settle};

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
