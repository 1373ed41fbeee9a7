//! Claims about positions: what one pack brings, to whom, and that nobody waits for anybody.

use branchline_core::backup::BackupType;
use branchline_core::id::Generation;
use branchline_core::knowledge::Knowledge;
use branchline_core::pack::PackRequest;
use branchline_core::pack::{Audience, plan_pack};

use super::super::backup::table_name;
use super::super::restoring::{MANY_CODES, SHOP_ROWS};
use super::super::{Engine, Fixture, Shape, run_in, worked};
use super::server::{TestServer, assert_quiet, assert_same, deliver, pair, send};
use crate::state::server_id;

const ORDER_8: &str =
    r#"INSERT INTO orders (id, "customerId") VALUES ('00000000-0000-4000-8000-000000000008', 1)"#;
const LINE_OF_8: &str = "INSERT INTO order_items VALUES ('00000000-0000-4000-8000-000000000008', 1, 1, 2)";
const ORDER_9: &str =
    r#"INSERT INTO orders (id, "customerId") VALUES ('00000000-0000-4000-8000-000000000009', 2)"#;

/// A writer that began first and commits last: what it wrote comes with the next pack, its child with its parent.
/// SQLite has one writer at a time, so there the first one has only read until the other commits.
pub async fn a_late_commit_goes_with_the_next_pack(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let (mut late, mut early) = (store.shop.session().await, store.shop.session().await);
    let writes_at_once = store.engine() == Engine::Postgres;
    run_in(&mut *late, "BEGIN; SELECT id FROM products").await;
    if writes_at_once {
        run_in(&mut *late, ORDER_8).await;
    }
    run_in(&mut *early, &format!("BEGIN; {ORDER_9}; COMMIT")).await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("orders"), backup.lines()), ((1, 0), 1));
    if !writes_at_once {
        run_in(&mut *late, &format!("COMMIT; BEGIN; {ORDER_8}")).await;
    }
    run_in(&mut *late, &format!("{LINE_OF_8}; COMMIT")).await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("orders"), backup.count("order_items"), backup.lines()), ((1, 0), (1, 0), 2));
    assert_eq!(backup.merged_in_all(&report).held, 0);
    assert_same(&store, &hq).await;
}

/// Three that overlap: each pack brings whole transactions, and a child that one session hung on the row of another
/// never comes before it.
pub async fn transactions_that_overlap_travel_whole(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let mut open = store.shop.session().await;
    if store.engine() == Engine::Postgres {
        run_in(&mut *open, "BEGIN; UPDATE products SET price = '5' WHERE id = 2").await;
    }
    store.write(&format!("{ORDER_8}; UPDATE products SET price = '6' WHERE id = 1")).await;
    let (first, _) = send(&mut store, &mut hq).await;
    assert_eq!((first.count("orders"), first.count("products"), first.lines()), ((1, 0), (1, 0), 2));
    let mut child = store.shop.session().await;
    run_in(&mut *child, &format!("BEGIN; {LINE_OF_8}")).await;
    if store.engine() == Engine::Postgres {
        let (second, _) = send(&mut store, &mut hq).await;
        assert_eq!(second.lines(), 0);
        run_in(&mut *open, "COMMIT").await;
        let (third, _) = send(&mut store, &mut hq).await;
        assert_eq!((third.count("products"), third.lines()), ((1, 0), 1));
    }
    run_in(&mut *child, "COMMIT").await;
    let (last, _) = send(&mut store, &mut hq).await;
    assert_eq!((last.count("order_items"), last.lines()), ((1, 0), 1));
    assert_same(&store, &hq).await;
}

/// A pack that begins while a transaction is open has all of it or nothing, whether it waits for it (SQLite) or not.
pub async fn a_pack_never_has_half_a_transaction(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let mut session = store.shop.session().await;
    run_in(&mut *session, &format!("BEGIN; {ORDER_8}")).await;
    let rest = format!("{LINE_OF_8}; COMMIT");
    let (first, ()) = tokio::join!(store.pack_for(&hq.id), run_in(&mut *session, &rest));
    let whole = first.lines() == 2;
    assert!(whole || first.lines() == 0, "{:?}", first.request.tables);
    deliver(&mut store, &mut hq, &first).await;
    let (second, _) = send(&mut store, &mut hq).await;
    assert_eq!(second.lines(), if whole { 0 } else { 2 });
    assert_same(&store, &hq).await;
}

/// While a position is read, the shop writes to the same tables, others pack, and a backup is applied.
pub async fn a_pack_holds_up_nobody(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Codes, MANY_CODES).await;
    hq.write("INSERT INTO codes VALUES (9001, 'hq', NULL, 9001)").await;
    let from_hq = hq.pack_for(&store.id).await;
    store.write("UPDATE codes SET slot = 1 WHERE id = 1").await;
    let mut changes = worked(store.capture().pack(PackRequest::default()).await);
    let plan = plan_pack(
        changes.position(),
        &Audience { acknowledged: store.acknowledged(&hq.id), relay: false, lent: Knowledge::new() },
        true,
    );
    worked(changes.open(&table_name("codes"), &plan).await);
    let first = worked(changes.next().await).expect("rows");
    let mut shop = store.shop.session().await;
    let writes = "DELETE FROM codes WHERE id > 10; UPDATE codes SET slot = 2 WHERE id = 2;
        INSERT INTO codes VALUES (9000, 'new', NULL, 9000)";
    run_in(&mut *shop, writes).await;
    deliver(&mut hq, &mut store, &from_hq).await;
    let other = store.pack_for(&server_id("STORE-002")).await;
    assert_eq!(other.request.backup_type, BackupType::Full);
    assert_eq!(other.count("codes"), (12, 5_990));
    let mut rows = first.rows;
    while let Some(batch) = worked(changes.next().await) {
        rows += batch.rows;
    }
    assert_eq!(rows, 6_000);
    // Dropped, not closed: it ends all the same.
    drop(changes);
    run_in(&mut *shop, "DELETE FROM codes").await;
}

/// A transaction that has read, and one that has written where the engine lets others write beside it.
pub async fn nobody_holds_up_a_pack(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let (mut reader, mut writer) = (store.shop.session().await, store.shop.session().await);
    run_in(&mut *reader, "BEGIN; SELECT id FROM products").await;
    store.write("UPDATE products SET price = '5' WHERE id = 1").await;
    if store.engine() == Engine::Postgres {
        run_in(&mut *writer, "BEGIN; UPDATE products SET price = '6' WHERE id = 1; DELETE FROM order_items")
            .await;
    }
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("products"), backup.lines()), ((1, 0), 1));
    assert_eq!(hq.query("SELECT price FROM products WHERE id = 1").await, ["5"]);
}

/// What a position shows is of its moment: later changes go with the next.
pub async fn a_position_does_not_see_later_changes(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("UPDATE products SET price = '5' WHERE id < 3").await;
    let changes = worked(store.capture().pack(PackRequest::default()).await);
    let position = changes.position().clone();
    store
        .write("UPDATE products SET price = '6' WHERE id = 1; DELETE FROM order_items WHERE product_id = 2")
        .await;
    store.write("DELETE FROM products WHERE id = 2; INSERT INTO products VALUES (8, 'C-1', '1')").await;
    let first = store.read_for(&hq.id, changes, false).await;
    assert_eq!(first.position, position);
    assert_eq!((first.count("products"), first.lines()), ((2, 0), 2));
    assert!(first.rows_of("products").iter().all(|row| row.line.contains("\"5\"")));
    deliver(&mut store, &mut hq, &first).await;
    let (second, _) = send(&mut store, &mut hq).await;
    assert_eq!((second.count("products"), second.count("order_items")), ((2, 1), (0, 1)));
    assert_eq!(second.position.generation, position.generation.next());
    assert_same(&store, &hq).await;
}

/// Neither does it see that its tables are emptied afterwards, which may have to wait until it was read.
pub async fn a_position_does_not_see_that_a_table_is_emptied(fixture: &dyn Fixture) {
    let rows = "INSERT INTO codes VALUES (1, 'a', 1, 1), (2, 'b', 2, 2), (3, 'c', 3, 3)";
    let (mut store, mut hq) = pair(fixture, Shape::Codes, rows).await;
    let empty = match store.engine() {
        Engine::Postgres => "SET lock_timeout = '100ms'; TRUNCATE codes",
        Engine::Sqlite => "DELETE FROM codes",
    };
    store.write("UPDATE codes SET slot = slot + 10").await;
    let changes = worked(store.capture().pack(PackRequest::default()).await);
    let mut shop = store.shop.session().await;
    let emptied_before = shop.run(empty).await.is_ok();
    let backup = store.read_for(&hq.id, changes, false).await;
    assert_eq!(backup.count("codes"), (3, 0));
    deliver(&mut store, &mut hq, &backup).await;
    assert_eq!(hq.query("SELECT slot FROM codes ORDER BY id").await, ["11", "12", "13"]);
    if !emptied_before {
        run_in(&mut *shop, empty).await;
    }
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("codes"), (0, 3));
    assert_same(&store, &hq).await;
}

/// Two packs at the same time bring every change once.
pub async fn two_packs_at_once_stamp_a_change_once(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let before = store.state().await.generation;
    store.write("UPDATE products SET price = '5'").await;
    let (first, second) = tokio::join!(
        store.capture().pack(PackRequest::default()),
        store.capture().pack(PackRequest::default())
    );
    let (first, second) = (worked(first), worked(second));
    for changes in [&first, &second] {
        assert_eq!(changes.position().generation, before.next());
    }
    drop(first);
    let backup = store.read_for(&hq.id, second, false).await;
    assert_eq!((backup.count("products"), backup.lines()), ((3, 0), 3));
    deliver(&mut store, &mut hq, &backup).await;
    assert_quiet(&mut store, &mut hq).await;
}

/// The first backup is full; what comes after its position comes with increments. No gap and no overlap.
pub async fn a_first_full_and_its_increments_leave_no_gap(fixture: &dyn Fixture) {
    let mut store = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    let mut hq = TestServer::attached(fixture, Shape::Shop, "", "HQ").await;
    store.write("UPDATE products SET price = '4' WHERE id = 1").await;
    let changes = worked(store.capture().pack(PackRequest::default()).await);
    store.write("UPDATE products SET price = '5' WHERE id = 2; DELETE FROM order_items WHERE line = 2").await;
    let full = store.read_for(&hq.id, changes, false).await;
    assert_eq!((full.request.backup_type, full.lines()), (BackupType::Full, 10));
    assert_eq!(full.request.tables.len(), 6, "a full backup names the tables without rows too");
    store.write(ORDER_9).await;
    let report = deliver(&mut store, &mut hq, &full).await;
    assert_eq!(full.merged_in_all(&report).inserted, 10);
    let (increment, report) = send(&mut store, &mut hq).await;
    assert_eq!(increment.request.backup_type, BackupType::Incremental);
    assert_eq!((increment.count("products"), increment.count("order_items")), ((1, 0), (0, 1)));
    assert_eq!((increment.count("orders"), increment.lines()), ((1, 0), 3));
    let merged = increment.merged_in_all(&report);
    assert_eq!((merged.inserted, merged.updated, merged.deleted, merged.unchanged), (1, 1, 1, 0));
    assert_same(&store, &hq).await;
    assert_quiet(&mut store, &mut hq).await;
}

/// What was lost on the way is in the next pack, and what was answered is not.
pub async fn each_peer_gets_what_it_lacks(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let mut second = TestServer::attached(fixture, Shape::Shop, "", "STORE-002").await;
    send(&mut store, &mut second).await;
    store.write("UPDATE products SET price = '4' WHERE id = 1").await;
    send(&mut store, &mut hq).await;
    let lost = store.pack_for(&second.id).await;
    assert_eq!(lost.count("products"), (1, 0));
    store.write("UPDATE products SET price = '5' WHERE id = 2; DELETE FROM order_items WHERE line = 2").await;
    let (to_hq, _) = send(&mut store, &mut hq).await;
    assert_eq!((to_hq.count("products"), to_hq.count("order_items"), to_hq.lines()), ((1, 0), (0, 1), 2));
    let (to_second, _) = send(&mut store, &mut second).await;
    assert_eq!((to_second.count("products"), to_second.count("order_items")), ((2, 0), (0, 1)));
    for server in [&hq, &second] {
        assert_same(server, &store).await;
    }
}

/// A store, the head office, and another store, each with what the head office has.
async fn two_stores_and_their_hub(fixture: &dyn Fixture) -> (TestServer, TestServer, TestServer) {
    let (store, mut hub) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let mut other = TestServer::attached(fixture, Shape::Shop, "", "STORE-002").await;
    send(&mut hub, &mut other).await;
    send(&mut other, &mut hub).await;
    (store, hub, other)
}

/// It sends what it made, and lets nobody believe to have the rest.
pub async fn who_does_not_relay_sends_its_own_rows_alone(fixture: &dyn Fixture) {
    let (mut store, mut hub, mut other) = two_stores_and_their_hub(fixture).await;
    store.write("UPDATE products SET price = '4' WHERE id = 1").await;
    send(&mut store, &mut hub).await;
    hub.write("UPDATE products SET price = '5' WHERE id = 2").await;
    let (backup, _) = send(&mut hub, &mut other).await;
    assert_eq!((backup.count("products"), backup.lines()), ((1, 0), 1));
    let context = backup.context();
    assert_eq!(context.covers.generation(&store.life()), None);
    assert_eq!(context.knowledge.generation(&store.life()), Some(Generation::new(1)));
    assert_eq!(other.state().await.knowledge.generation(&store.life()), Some(Generation::new(0)));
    assert_eq!(other.query("SELECT price FROM products ORDER BY id").await, ["1.10", "5", "0.05"]);
}

/// A relay passes on what others made, in the version in which it came; who made it does not get it back.
pub async fn a_relay_passes_on_what_others_made(fixture: &dyn Fixture) {
    let (mut store, mut hub, mut other) = two_stores_and_their_hub(fixture).await;
    for peer in [&store.id, &other.id] {
        hub.relay_to(peer);
    }
    store.write("UPDATE products SET price = '4' WHERE id = 1; DELETE FROM order_items WHERE line = 2").await;
    let (from_store, _) = send(&mut store, &mut hub).await;
    let (relayed, _) = send(&mut hub, &mut other).await;
    assert_eq!(
        (relayed.count("products"), relayed.count("order_items"), relayed.lines()),
        ((1, 0), (0, 1), 2)
    );
    for table in ["products", "order_items"] {
        assert_eq!(relayed.rows_of(table)[0].version, from_store.rows_of(table)[0].version);
    }
    assert_eq!(other.state().await.knowledge.generation(&store.life()), Some(Generation::new(1)));
    assert_same(&other, &store).await;
    assert_quiet(&mut hub, &mut other).await;
    assert_quiet(&mut hub, &mut store).await;
}

/// Three that relay to each other settle, and nothing goes round.
pub async fn a_ring_of_relays_settles(fixture: &dyn Fixture) {
    let (mut one, mut two, mut three) = two_stores_and_their_hub(fixture).await;
    let ids = [one.id.clone(), two.id.clone(), three.id.clone()];
    for server in [&mut one, &mut two, &mut three] {
        for id in &ids {
            server.relay_to(id);
        }
    }
    one.write("UPDATE products SET price = '4' WHERE id = 1; DELETE FROM order_items WHERE line = 2").await;
    two.write("UPDATE products SET price = '5' WHERE id = 1; INSERT INTO products VALUES (7, 'two', '7')")
        .await;
    three
        .write("UPDATE products SET price = '6' WHERE id < 3; INSERT INTO products VALUES (8, 'three', '8')")
        .await;
    for _ in 0..4 {
        send(&mut one, &mut two).await;
        send(&mut two, &mut three).await;
        send(&mut three, &mut one).await;
    }
    assert_same(&one, &two).await;
    assert_same(&two, &three).await;
    assert_eq!(one.query("SELECT id FROM products ORDER BY id").await, ["1", "2", "3", "7", "8"]);
    let left = [one.pack_for(&ids[1]).await, two.pack_for(&ids[2]).await, three.pack_for(&ids[0]).await];
    assert_eq!(left.map(|backup| backup.lines()), [0, 0, 0]);
}
