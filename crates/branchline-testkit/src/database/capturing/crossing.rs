//! Claims about filters where backups cross: what is on record of a peer says what it has, whoever was first.
//!
//! The head office keeps products back whose number does not begin with `A`. Afterwards it deletes or changes a row, and
//! the shop, which has it, hears of that.

use branchline_core::id::Epoch;
use branchline_core::pack::PackRequest;
use branchline_core::ports::Amendment;

use super::super::{Fixture, Shape, worked};
use super::filtering::{assert_scope_is_same, filter, filtered_pair};
use super::server::{TestServer, assert_quiet, deliver, send};

const PRODUCTS: &str = "INSERT INTO products VALUES (1, 'A-1', '1'), (2, 'A-2', '2')";

async fn products(fixture: &dyn Fixture) -> (TestServer, TestServer) {
    let filters = vec![filter("products", "sku LIKE 'A-%'")];
    filtered_pair(fixture, Shape::Shop, PRODUCTS, filters).await
}

async fn assert_numbers(server: &TestServer, numbers: &[&str]) {
    assert_eq!(server.query("SELECT id FROM products ORDER BY id").await, numbers);
}

/// The shop's deletion loses against a change that is on its way to it: the shop has the row, and is told when it goes.
pub async fn a_row_that_outlives_a_deletion_stays_on_record(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    store.write("DELETE FROM products WHERE id = 1").await;
    hq.write("UPDATE products SET price = '5' WHERE id = 1").await;
    let (there, back) = (hq.pack_for(&store.id).await, store.pack_for(&hq.id).await);
    deliver(&mut store, &mut hq, &back).await;
    deliver(&mut hq, &mut store, &there).await;
    assert_numbers(&store, &["1", "2"]).await;
    hq.write("DELETE FROM products WHERE id = 1").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("products"), backup.leaving("products")), ((0, 1), 0));
    assert_numbers(&store, &["2"]).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// Both make the same change, which takes the row out: the shop's own is not taken out before it is known.
pub async fn equal_changes_that_take_a_row_out_leave_it_on_record(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    for server in [&store, &hq] {
        server.write("UPDATE products SET sku = 'B-1' WHERE id = 1").await;
    }
    let (there, back) = (hq.pack_for(&store.id).await, store.pack_for(&hq.id).await);
    assert_eq!(there.leaving("products"), 1);
    deliver(&mut store, &mut hq, &back).await;
    deliver(&mut hq, &mut store, &there).await;
    hq.write("UPDATE products SET price = '6' WHERE id = 1").await;
    send(&mut hq, &mut store).await;
    assert_numbers(&store, &["2"]).await;
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// A position is read after something came that it does not see: what came stays on record.
pub async fn what_comes_before_a_position_is_read_is_not_forgotten(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    hq.write("UPDATE products SET sku = 'B-1' WHERE id = 1").await;
    store.write("UPDATE products SET price = '7' WHERE id = 1").await;
    let position = worked(hq.capture().pack(PackRequest::default()).await);
    send(&mut store, &mut hq).await;
    let there = hq.read_for(&store.id, position, false).await;
    assert_eq!(there.leaving("products"), 1);
    deliver(&mut hq, &mut store, &there).await;
    assert_numbers(&store, &["1", "2"]).await;
    hq.write("DELETE FROM products WHERE id = 1").await;
    send(&mut hq, &mut store).await;
    assert_numbers(&store, &["2"]).await;
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// A row that is sent for the first time while the peer's own row of that key is on its way here.
pub async fn two_rows_of_one_key_that_cross_are_both_on_record(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    store.write("INSERT INTO products VALUES (3, 'A-3', '3')").await;
    hq.write("INSERT INTO products VALUES (3, 'A-3', '4'), (4, 'B-4', '4')").await;
    store.write("INSERT INTO products VALUES (4, 'A-4', '5')").await;
    let (there, back) = (hq.pack_for(&store.id).await, store.pack_for(&hq.id).await);
    deliver(&mut hq, &mut store, &there).await;
    deliver(&mut store, &mut hq, &back).await;
    send(&mut hq, &mut store).await;
    send(&mut store, &mut hq).await;
    assert_scope_is_same(&hq, &store).await;
    hq.write("DELETE FROM products WHERE id > 2").await;
    send(&mut hq, &mut store).await;
    assert_numbers(&store, &["1", "2"]).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// A database that was put back does not know what its peers got and lost since: all of their scope goes once more.
pub async fn after_a_restore_all_of_the_scope_goes_once_more(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    hq.write("INSERT INTO products VALUES (3, 'B-3', '3')").await;
    send(&mut hq, &mut store).await;
    let state = hq.state().await;
    let begin = Amendment::BeginLife {
        epoch: Epoch::new(2),
        packed: state.generation,
        carried_until: state.clock,
        clock: state.clock,
    };
    worked(hq.capture().amend(begin).await);
    let (backup, report) = send(&mut hq, &mut store).await;
    assert_eq!(backup.count("products"), (2, 0));
    let merged = backup.merged(&report, "products");
    assert_eq!((merged.inserted, merged.updated, merged.deleted), (0, 0, 0));
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// Both keep rows back. What left for the head office by the store's filter is still at the store, and is not taken out there,
/// nor at a third server that has it.
pub async fn what_left_here_is_not_taken_out_where_it_still_is(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    let mut till = TestServer::attached(fixture, Shape::Shop, "", "TILL").await;
    hq.filter_for(&till.id, vec![filter("products", "id > 0")]);
    send(&mut hq, &mut till).await;
    store.filter_for(&hq.id, vec![filter("products", "sku NOT LIKE 'A-X%'")]);
    send(&mut store, &mut hq).await;
    store.write("UPDATE products SET sku = 'A-X' WHERE id = 1").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.leaving("products"), backup.merged(&report, "products").deleted), (1, 1));
    assert_numbers(&hq, &["2"]).await;
    for target in [&mut store, &mut till] {
        let full = hq.full_for(&target.id).await;
        assert_eq!(full.leaving("products"), 0);
        let report = deliver(&mut hq, target, &full).await;
        assert_eq!(full.merged(&report, "products").deleted, 0);
        assert_numbers(target, &["1", "2"]).await;
    }
    // It is back when the store's filter lets it through.
    store.write("UPDATE products SET sku = 'A-1' WHERE id = 1").await;
    send(&mut store, &mut hq).await;
    assert_numbers(&hq, &["1", "2"]).await;
    assert_quiet(&mut hq, &mut store).await;
}
