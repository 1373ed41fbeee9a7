//! Claims about filters: rows that are kept back from a peer, and rows that come into its scope, leave it, and come back.
//!
//! The head office keeps products back whose number does not begin with `A`. A shop has what is for it, and what it made
//! itself: that stays with it, whatever the filter says, until somebody else changes it.

use branchline_core::backup::BackupType;
use branchline_core::code::Code;
use branchline_core::compare::{Difference, TableDifference, differing_buckets};
use branchline_core::pack::{Audience, PackRequest, plan_pack};
use branchline_core::ports::{Database, DatabaseError, HashSpec};
use branchline_core::scope::{Filter, PeerScope};

use super::super::backup::{specs_of, table_name};
use super::super::restoring::MANY_CODES;
use super::super::{Fixture, Shape, assert_refused, worked};
use super::server::{TestServer, assert_quiet, assert_same, deliver, send};
use crate::state::server_id;

const PRODUCTS: &str =
    "INSERT INTO products VALUES (1, 'A-1', '1'), (2, 'B-2', '2'), (3, 'A-3', '3'), (4, 'B-4', '4')";
const OURS: &str = "sku LIKE 'A-%'";

/// A filter of one table for every peer, which follows nothing.
///
/// # Panics
/// Where that is no name of a table.
#[must_use]
pub fn filter(table: &str, condition: &str) -> Filter {
    Filter { table: table_name(table), peers: Vec::new(), condition: condition.to_owned(), follow: false }
}

/// A head office with those rows, and a shop that has what the filters let through.
pub(super) async fn filtered_pair(
    fixture: &dyn Fixture,
    shape: Shape,
    rows: &str,
    filters: Vec<Filter>,
) -> (TestServer, TestServer) {
    let mut hq = TestServer::attached(fixture, shape, rows, "HQ").await;
    let mut store = TestServer::attached(fixture, shape, "", "STORE-001").await;
    hq.filter_for(&store.id, filters);
    send(&mut hq, &mut store).await;
    send(&mut store, &mut hq).await;
    (hq, store)
}

async fn products(fixture: &dyn Fixture) -> (TestServer, TestServer) {
    let (hq, store) = filtered_pair(fixture, Shape::Shop, PRODUCTS, vec![filter("products", OURS)]).await;
    assert_eq!(numbers(&store).await, ["1", "3"]);
    (hq, store)
}

async fn numbers(server: &TestServer) -> Vec<String> {
    server.query("SELECT id FROM products ORDER BY id").await
}

/// Asserts that a shop has just what is in the scope that the head office keeps for it, as a compare would find it.
///
/// # Panics
/// Where it has not.
pub async fn assert_scope_is_same(hq: &TestServer, store: &TestServer) {
    let schema = worked(hq.database().schema().await);
    let scope = hq.scope_for(&store.id, &schema);
    for spec in specs_of(&schema) {
        let found = difference(hq.database(), store.database(), &spec, &scope).await;
        assert!(found.is_empty(), "{}: {found:?}", spec.table);
    }
}

/// What a compare finds, where the first side leaves out what is not in the scope.
pub async fn difference(
    here: &dyn Database,
    there: &dyn Database,
    spec: &HashSpec,
    scope: &PeerScope,
) -> TableDifference {
    let scoped = HashSpec { scope: scope.clone(), ..spec.clone() };
    let (mut here, mut there) = (worked(here.snapshot().await), worked(there.snapshot().await));
    let (ours, theirs) = (worked(here.hashes(&scoped).await), worked(there.hashes(spec).await));
    let buckets: Vec<u32> = differing_buckets(&ours, &theirs).into_iter().map(|(bucket, _)| bucket).collect();
    let mut found = TableDifference::default();
    let ours = worked(here.row_digests(&scoped, &buckets).await);
    found.add(&ours, &worked(there.row_digests(spec, &buckets).await));
    worked(here.close().await);
    worked(there.close().await);
    found
}

/// A row comes when it begins to match, leaves without a trace when it does not, and comes again.
pub async fn a_row_that_changes_comes_into_scope_and_leaves_it(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    for _ in 0..2 {
        hq.write("UPDATE products SET sku = 'A-2' WHERE id = 2").await;
        let (backup, report) = send(&mut hq, &mut store).await;
        assert_eq!((backup.count("products"), backup.lines()), ((1, 0), 1));
        assert_eq!(backup.merged(&report, "products").inserted, 1);
        assert_eq!(numbers(&store).await, ["1", "2", "3"]);
        hq.write("UPDATE products SET sku = 'B-2' WHERE id = 2").await;
        let (backup, report) = send(&mut hq, &mut store).await;
        assert_eq!((backup.count("products"), backup.leaving("products")), ((0, 1), 1));
        assert!(backup.is_filtered("products"));
        assert_eq!(backup.merged(&report, "products").deleted, 1);
        assert_eq!(numbers(&store).await, ["1", "3"]);
        assert_eq!(store.state().await.tombstones, 0);
        assert_quiet(&mut hq, &mut store).await;
    }
    hq.write("UPDATE products SET price = '9' WHERE id = 1; DELETE FROM products WHERE id = 3").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("products"), backup.leaving("products")), ((1, 1), 0));
    assert_eq!(store.query("SELECT price FROM products").await, ["9"]);
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// Whoever gets rows by way of the shop keeps a row that left, for it is nobody's deletion, and gets it when it is back.
pub async fn a_target_passes_on_nothing_of_a_row_that_left(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    let mut till = TestServer::attached(fixture, Shape::Shop, "", "TILL").await;
    store.relay_to(&till.id);
    send(&mut store, &mut till).await;
    send(&mut till, &mut store).await;
    assert_same(&store, &till).await;
    hq.write("UPDATE products SET sku = 'B-1' WHERE id = 1").await;
    send(&mut hq, &mut store).await;
    let (onward, _) = send(&mut store, &mut till).await;
    assert_eq!(onward.lines(), 0);
    let full = store.full_for(&till.id).await;
    assert!(full.is_filtered("products"));
    let report = deliver(&mut store, &mut till, &full).await;
    assert_eq!(full.merged_in_all(&report).deleted, 0);
    assert_eq!(
        (numbers(&store).await, numbers(&till).await),
        (vec!["3".into()], vec!["1".into(), "3".into()])
    );
    let (back, _) = send(&mut till, &mut store).await;
    assert_eq!(back.lines(), 0);
    hq.write("UPDATE products SET sku = 'A-11' WHERE id = 1").await;
    send(&mut hq, &mut store).await;
    let (onward, _) = send(&mut store, &mut till).await;
    assert_eq!((onward.count("products"), onward.lines()), ((1, 0), 1));
    assert_same(&store, &till).await;
    assert_scope_is_same(&hq, &store).await;
}

/// Neither rows, nor keys, nor tombstones of what never was in the scope.
pub async fn of_a_row_that_was_never_sent_nothing_travels(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    hq.write("INSERT INTO products VALUES (5, 'B-5', '5'), (6, 'B-6', '6'), (7, 'B-7', '7')").await;
    hq.write("DELETE FROM products WHERE id = 5; UPDATE products SET price = '8' WHERE id = 2").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!(backup.lines(), 0);
    hq.write("DELETE FROM products WHERE id = 6 OR id = 4").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!(backup.lines(), 0);
    hq.write("DELETE FROM products WHERE id = 3").await;
    send(&mut hq, &mut store).await;
    let full = hq.full_for(&store.id).await;
    assert_eq!((full.count("products"), full.lines()), ((1, 0), 1));
    deliver(&mut hq, &mut store, &full).await;
    assert_scope_is_same(&hq, &store).await;
}

/// A condition that is neither true nor false is not true.
pub async fn a_condition_that_is_null_keeps_a_row_back(fixture: &dyn Fixture) {
    let rows = r#"INSERT INTO customers (id, "fullName", email) VALUES (1, 'Ada', 'a'), (2, 'Bea', NULL), (3, 'Cleo', 'c')"#;
    let filters = vec![filter("customers", "email <> 'c'"), filter("customers", "id < 100")];
    let (mut hq, mut store) = filtered_pair(fixture, Shape::Shop, rows, filters).await;
    assert_eq!(store.query("SELECT id FROM customers").await, ["1"]);
    hq.write("UPDATE customers SET email = NULL WHERE id = 1; UPDATE customers SET email = 'b' WHERE id = 2")
        .await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("customers"), backup.leaving("customers")), ((1, 1), 1));
    assert_eq!(store.query("SELECT id FROM customers").await, ["2"]);
    assert_scope_is_same(&hq, &store).await;
}

/// A change that the head office has not seen is not taken out, and goes to it; the row leaves when that has come.
pub async fn what_the_target_changed_meanwhile_stays_and_travels_back(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    hq.write("UPDATE products SET sku = 'B-1' WHERE id = 1").await;
    store.write("UPDATE products SET price = '7' WHERE id = 1").await;
    let (backup, report) = send(&mut hq, &mut store).await;
    assert_eq!((backup.leaving("products"), backup.merged(&report, "products").deleted), (1, 0));
    assert_eq!(numbers(&store).await, ["1", "3"]);
    let (back, _) = send(&mut store, &mut hq).await;
    assert_eq!(back.count("products"), (1, 0));
    assert_eq!(hq.query("SELECT price FROM products WHERE id = 1").await, ["7"]);
    assert_scope_is_same(&hq, &store).await;
    hq.write("UPDATE products SET sku = 'B-1' WHERE id = 1").await;
    let (backup, report) = send(&mut hq, &mut store).await;
    assert_eq!((backup.leaving("products"), backup.merged(&report, "products").deleted), (1, 1));
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// What a peer sent is known to be there: it hears of its deletion, and that it leaves. What it made out of its scope
/// stays with it until somebody else changes it.
pub async fn what_the_target_made_leaves_and_goes_like_any_other(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    store
        .write(
            "INSERT INTO products VALUES (5, 'A-5', '5'), (6, 'A-6', '6'), (7, 'B-7', '7'), (8, 'B-8', '8')",
        )
        .await;
    send(&mut store, &mut hq).await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!(backup.lines(), 0);
    hq.write("UPDATE products SET sku = 'B-5' WHERE id = 5; DELETE FROM products WHERE id = 6").await;
    hq.write("UPDATE products SET price = '7.7' WHERE id = 7").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("products"), backup.leaving("products")), ((0, 3), 2));
    assert_eq!(numbers(&store).await, ["1", "3", "8"]);
    let full = hq.full_for(&store.id).await;
    let report = deliver(&mut hq, &mut store, &full).await;
    assert_eq!(full.merged(&report, "products").deleted, 0);
    store.write("INSERT INTO products VALUES (9, 'A-9', '9')").await;
    send(&mut store, &mut hq).await;
    hq.write("DELETE FROM products WHERE id > 7").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("products"), backup.leaving("products")), ((0, 2), 0));
    assert_eq!(numbers(&store).await, ["1", "3"]);
    assert_quiet(&mut hq, &mut store).await;
}

/// That a row is not in a filtered full backup says nothing, in either direction.
pub async fn a_filtered_full_backup_removes_nothing(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    store.write("INSERT INTO products VALUES (50, 'B-50', '50')").await;
    for _ in 0..2 {
        let full = hq.full_for(&store.id).await;
        assert!(full.is_filtered("products") && !full.is_filtered("customers"));
        let report = deliver(&mut hq, &mut store, &full).await;
        assert_eq!(full.merged_in_all(&report).deleted, 0);
        assert_eq!(numbers(&store).await, ["1", "3", "50"]);
        let full = store.full_for(&hq.id).await;
        assert_eq!(full.request.backup_type, BackupType::Full);
        assert!(full.is_filtered("products") && !full.is_filtered("customers"));
        let report = deliver(&mut store, &mut hq, &full).await;
        assert_eq!(full.merged_in_all(&report).deleted, 0);
        assert_eq!(numbers(&hq).await, ["1", "2", "3", "4", "50"]);
    }
    assert_quiet(&mut hq, &mut store).await;
}

/// What a backup brought or took out is brought or taken out again, until one that was sealed is known to be applied.
pub async fn a_backup_that_was_dropped_loses_nothing(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    hq.write("UPDATE products SET sku = 'A-2' WHERE id = 2; UPDATE products SET sku = 'B-1' WHERE id = 1")
        .await;
    hq.write(
        "INSERT INTO products VALUES (5, 'A-5', '5'), (6, 'A-6', '6'); DELETE FROM products WHERE id = 3",
    )
    .await;
    let dropped = hq.pack_for(&store.id).await;
    assert_eq!((dropped.count("products"), dropped.leaving("products")), ((3, 2), 1));
    hq.write("UPDATE products SET sku = 'B-5' WHERE id = 5; DELETE FROM products WHERE id = 6").await;
    hq.pack_for(&store.id).await;
    send(&mut hq, &mut store).await;
    assert_eq!(numbers(&store).await, ["2"]);
    assert_scope_is_same(&hq, &store).await;
    // Neither rows that did not change themselves.
    hq.filter_for(&store.id, vec![filter("products", "sku LIKE 'B-%'")]);
    let dropped = hq.pack_for(&store.id).await;
    assert_eq!((dropped.count("products"), dropped.leaving("products")), ((3, 1), 1));
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("products"), backup.leaving("products")), ((3, 1), 1));
    assert_eq!(numbers(&store).await, ["1", "4", "5"]);
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// Another condition in the settings: an increment brings what is newly in the scope and takes out what is not.
pub async fn a_changed_filter_brings_and_takes_out_what_it_must(fixture: &dyn Fixture) {
    let halves = vec![filter("codes", "id % 2 = 0")];
    let (mut hq, mut store) = filtered_pair(fixture, Shape::Codes, MANY_CODES, halves).await;
    assert_eq!(store.query("SELECT count(*) FROM codes").await, ["3000"]);
    hq.filter_for(&store.id, vec![filter("codes", "id % 3 = 0")]);
    let (backup, report) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("codes"), backup.leaving("codes")), ((1_000, 2_000), 2_000));
    assert_eq!(backup.request.backup_type, BackupType::Incremental);
    let merged = backup.merged(&report, "codes");
    assert_eq!((merged.inserted, merged.deleted), (1_000, 2_000));
    assert_eq!(store.query("SELECT count(*) FROM codes WHERE id % 3 = 0").await, ["2000"]);
    assert_scope_is_same(&hq, &store).await;
    assert_eq!(store.state().await.tombstones, 0);
    assert_quiet(&mut hq, &mut store).await;
}

/// A filter for a peer that was sent everything before: what the filter keeps back leaves, and nothing is sent again.
pub async fn a_filter_that_comes_later_takes_out_what_it_keeps_back(fixture: &dyn Fixture) {
    let (mut hq, mut store) = filtered_pair(fixture, Shape::Shop, PRODUCTS, Vec::new()).await;
    store.write("INSERT INTO products VALUES (5, 'A-5', '5'), (6, 'B-6', '6')").await;
    send(&mut store, &mut hq).await;
    hq.write("UPDATE products SET price = '9' WHERE id < 3").await;
    send(&mut hq, &mut store).await;
    hq.write("INSERT INTO products VALUES (7, 'B-7', '7')").await;
    hq.filter_for(&store.id, vec![filter("products", OURS)]);
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("products"), backup.leaving("products")), ((0, 2), 2));
    assert_eq!(numbers(&store).await, ["1", "3", "5", "6"]);
    assert_quiet(&mut hq, &mut store).await;
}

/// A target that lacks rows which it counts as known must know that it does, before it lacks the first: a full backup of
/// its own would delete them at everybody who takes it at its word.
pub async fn that_rows_are_kept_back_is_told_before_any_is(fixture: &dyn Fixture) {
    let rows = "INSERT INTO products VALUES (1, 'A-1', '1')";
    let (mut hq, mut store) = filtered_pair(fixture, Shape::Shop, rows, Vec::new()).await;
    let mut till = TestServer::attached(fixture, Shape::Shop, "", "TILL").await;
    send(&mut store, &mut till).await;
    send(&mut till, &mut store).await;
    hq.filter_for(&store.id, vec![filter("products", OURS)]);
    // Dropped: what it would have said is said again.
    assert!(hq.pack_for(&store.id).await.is_filtered("products"));
    let (first, _) = send(&mut hq, &mut store).await;
    assert!(first.is_filtered("products") && first.lines() == 0);
    hq.write("INSERT INTO products VALUES (2, 'B-2', '2')").await;
    let (second, _) = send(&mut hq, &mut store).await;
    assert!(second.request.tables.is_empty(), "{:?}", second.request.tables);
    send(&mut hq, &mut till).await;
    send(&mut till, &mut hq).await;
    for target in [&mut till, &mut hq] {
        assert_eq!(numbers(target).await, ["1", "2"]);
        let full = store.full_for(&target.id).await;
        assert!(full.is_filtered("products"));
        let report = deliver(&mut store, target, &full).await;
        assert_eq!(full.merged_in_all(&report).deleted, 0);
        assert_eq!(numbers(target).await, ["1", "2"]);
    }
}

/// What a pack and a compare answer where that is the condition.
async fn refused(hq: &TestServer, condition: &str) -> [DatabaseError; 2] {
    let filters = [filter("products", condition)];
    let peer = server_id("STORE-001");
    let mut changes = worked(hq.capture().pack(PackRequest::default()).await);
    let scope = PeerScope::derive(changes.schema(), &filters, &peer);
    let audience =
        Audience { acknowledged: hq.acknowledged(&peer), lent: hq.acknowledged(&peer), relay: false };
    let plan = plan_pack(changes.position(), &audience, false).scoped(peer, scope.clone());
    let packed = assert_refused(changes.tables(&plan).await.map(drop), Code::FILTER_INVALID);
    let mut snapshot = worked(hq.database().snapshot().await);
    let specs = specs_of(snapshot.schema());
    let of_products = specs.into_iter().find(|spec| spec.table.as_str() == "products").expect("products");
    let spec = HashSpec { scope, ..of_products };
    [packed, assert_refused(snapshot.hashes(&spec).await, Code::FILTER_INVALID)]
}

async fn assert_condition_is_refused(hq: &TestServer, condition: &str) {
    for error in refused(hq, condition).await {
        let DatabaseError::FilterInvalid { table, message } = error else {
            panic!("{condition}: {error:?}");
        };
        assert_eq!(table, table_name("products"), "{condition}");
        assert!(!message.is_empty(), "{condition}");
    }
}

/// It is said before anything is sent, and of which table.
pub async fn a_condition_that_cannot_be_asked_is_refused(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    hq.write("UPDATE products SET price = '9' WHERE id = 1").await;
    for condition in
        ["", "sku =", "no_such_column = 1", "sku LIKE 'A-%' ORDER BY sku", "sku LIKE 'A-%", "nonsense("]
    {
        assert_condition_is_refused(&hq, condition).await;
    }
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("products"), backup.lines()), ((1, 0), 1));
    assert_scope_is_same(&hq, &store).await;
}

/// A condition is one expression, whatever it tries to be.
pub async fn a_condition_cannot_break_out(fixture: &dyn Fixture) {
    let (mut hq, mut store) = products(fixture).await;
    for condition in [
        "1 = 1) OR (1 = 1",
        "1 = 1; DELETE FROM products",
        "1 = 1) UNION SELECT 1 FROM products WHERE (1 = 1",
        "1 = 1) -- the rest",
        "1 = 1 /* the rest",
        "1 = 1)",
        "(1 = 1",
    ] {
        assert_condition_is_refused(&hq, condition).await;
    }
    assert_eq!(numbers(&hq).await, ["1", "2", "3", "4"]);
    let odd = "sku <> ') OR (1 = 1; --' AND (sku = 'B-2' OR \"sku\" = 'it''s (') -- only this one";
    hq.filter_for(&store.id, vec![filter("products", odd)]);
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("products"), backup.leaving("products")), ((1, 2), 2));
    assert_eq!(numbers(&store).await, ["2"]);
    assert_scope_is_same(&hq, &store).await;
}

/// Without the scope the same compare names the rows that were kept back.
pub async fn a_compare_within_the_scope_finds_what_is_shared_equal(fixture: &dyn Fixture) {
    let (hq, store) = products(fixture).await;
    assert_scope_is_same(&hq, &store).await;
    let specs = specs_of(&worked(hq.database().schema().await));
    let spec = specs.iter().find(|spec| spec.table.as_str() == "products").expect("products");
    let whole = difference(hq.database(), store.database(), spec, &PeerScope::default()).await;
    let kept_back = [(Difference::MissingThere, "2".to_owned()), (Difference::MissingThere, "4".to_owned())];
    assert_eq!(whole.named, kept_back);
    store.write("UPDATE products SET price = '9' WHERE id = 1; DELETE FROM products WHERE id = 3").await;
    let schema = worked(hq.database().schema().await);
    let scope = hq.scope_for(&store.id, &schema);
    let found = difference(hq.database(), store.database(), spec, &scope).await;
    let differ = [(Difference::Different, "1".to_owned()), (Difference::MissingThere, "3".to_owned())];
    assert_eq!(found.named, differ);
}
