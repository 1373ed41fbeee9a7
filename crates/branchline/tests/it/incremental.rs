//! Only what changed travels: increments, deletions, what waited, and what closes a gap.

use branchline::api::v1::{Answer, Command, SyncCommand, SyncOutcome};
use branchline_core::code::Code;
use branchline_testkit::database::Engine;

use crate::world::{Server, Shop, counts, delivered, ended, introduce, on_both_engines, refused};

/// Rows of a small shop.
const SHOP_ROWS: u64 = 10;

/// A stocked store and an empty head office, both attached, and nothing sent yet.
async fn attached(engine: Engine) -> (Server, Server) {
    let store = Server::start("STORE-001", Shop::stocked(engine).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(engine).await).await;
    introduce(&store, &headquarters).await;
    for server in [&store, &headquarters] {
        assert_eq!(server.attach().await.captured, 6);
    }
    (store, headquarters)
}

/// The same, with the store's rows at the head office.
async fn in_step(engine: Engine) -> (Server, Server) {
    let (store, headquarters) = attached(engine).await;
    let first = store.sync().await;
    assert_eq!(kind(&first), ("full", SHOP_ROWS));
    assert_eq!(counts(&delivered(&first)), (SHOP_ROWS, 0, 0, 0));
    (store, headquarters)
}

fn kind(outcome: &SyncOutcome) -> (&str, u64) {
    (outcome.backup_type.as_deref().unwrap_or("none"), outcome.rows)
}

#[track_caller]
fn nothing_new(outcome: &SyncOutcome) {
    assert_eq!((outcome.state.as_str(), &outcome.backup, &outcome.problem), ("in_step", &None, &None));
}

async fn assert_equal(one: &Server, other: &Server) {
    assert_eq!(one.shop.hashes().await, other.shop.hashes().await);
}

on_both_engines! {
    an_increment_carries_only_what_changed
    a_row_that_changes_often_travels_once
    deletions_arrive_and_are_gone_once_everybody_has_them
    what_changes_while_the_first_backup_waits_comes_with_the_next
    two_servers_that_edit_a_row_settle_on_the_newest_and_record_the_conflict
    a_receiver_that_captures_nothing_gets_increments_in_their_order
    a_head_office_that_lost_its_database_is_brought_back_by_a_full_backup
    a_backup_that_was_carried_by_file_is_followed_by_an_increment
    an_old_file_resurrects_nothing
    an_increment_that_was_dropped_after_it_was_applied_is_followed_by_a_full_one
    a_deletion_is_written_only_where_it_is_granted
    capture_comes_out_and_goes_in_again
    rows_that_a_compare_finds_are_sent_after_a_repair
}

async fn an_increment_carries_only_what_changed(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    nothing_new(&store.sync().await);
    store.shop.execute("UPDATE products SET price = '1.20' WHERE id = 1").await;
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (4, 'C-1', '9.99')").await;
    let outcome = store.sync().await;
    assert_eq!(kind(&outcome), ("incremental", 2));
    assert_eq!(counts(&delivered(&outcome)), (1, 1, 0, 0));
    assert_equal(&store, &headquarters).await;
    nothing_new(&store.sync().await);
    // What came from the store is not sent back to it.
    nothing_new_but_own_base(&headquarters.sync().await);
    nothing_new(&headquarters.sync().await);
    assert_equal(&store, &headquarters).await;
}

/// The first backup of a pair is full, whatever the other side holds; it changes nothing here.
#[track_caller]
fn nothing_new_but_own_base(outcome: &SyncOutcome) {
    let receipt = delivered(outcome);
    assert_eq!(kind(outcome).0, "full");
    let (inserted, updated, _, deleted) = counts(&receipt);
    assert_eq!((inserted, updated, deleted, &receipt["merged"]), (0, 0, 0, &0.into()), "{receipt}");
}

async fn a_row_that_changes_often_travels_once(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    for price in ["2.00", "3.00", "4.00"] {
        store.shop.execute(&format!("UPDATE products SET price = '{price}' WHERE id = 1")).await;
    }
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (8, 'X-8', '1.00')").await;
    store.shop.execute("DELETE FROM products WHERE id = 8").await;
    let outcome = store.sync().await;
    // The row that came and went is a deletion of what was never there.
    let (inserted, updated, _, deleted) = counts(&delivered(&outcome));
    assert_eq!((inserted, updated, deleted, outcome.rows), (0, 1, 0, 2));
    assert_equal(&store, &headquarters).await;
}

async fn deletions_arrive_and_are_gone_once_everybody_has_them(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    store
        .shop
        .execute("DELETE FROM order_items WHERE product_id = 2; DELETE FROM products WHERE id = 2")
        .await;
    let outcome = store.sync().await;
    assert_eq!((kind(&outcome), counts(&delivered(&outcome))), (("incremental", 2), (0, 0, 0, 2)));
    assert_equal(&store, &headquarters).await;
    // The store's one peer has them; the head office's one peer has not said so to it yet.
    assert_eq!((store.capture().await.tombstones, headquarters.capture().await.tombstones), (0, 2));
    delivered(&headquarters.sync().await);
    assert_eq!(headquarters.capture().await.tombstones, 0);
    nothing_new(&store.sync().await);
    nothing_new(&headquarters.sync().await);
}

async fn what_changes_while_the_first_backup_waits_comes_with_the_next(engine: Engine) {
    let (store, mut headquarters) = attached(engine).await;
    headquarters.stop().await;
    let waits = store.sync().await;
    ended(&waits, "waiting", Code::UNREACHABLE);
    store.shop.execute("UPDATE products SET price = '5.55' WHERE id = 1; DELETE FROM loyalty").await;
    store.shop.execute("INSERT INTO loyalty (id, customer_id) VALUES (1, 1)").await;
    headquarters.restart().await;
    let outcome = store.sync().await;
    assert_eq!(kind(&outcome), ("incremental", 2));
    delivered(&outcome);
    assert_eq!(outcome.before.len(), 1);
    assert_eq!((kind(&outcome.before[0]), outcome.before[0].resumed), (("full", SHOP_ROWS), true));
    assert_equal(&store, &headquarters).await;
}

async fn two_servers_that_edit_a_row_settle_on_the_newest_and_record_the_conflict(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    nothing_new_but_own_base(&headquarters.sync().await);
    store.shop.execute("UPDATE products SET price = '1.11' WHERE id = 1").await;
    headquarters.shop.execute("UPDATE products SET price = '2.22' WHERE id = 1").await;
    let receipt = delivered(&store.sync().await);
    assert_eq!((&receipt["merged"], &receipt["superseded"]), (&1.into(), &1.into()), "{receipt}");
    assert_eq!(headquarters.capture().await.conflicts, 1);
    // The head office knew of both when it sends its own: no second conflict.
    let receipt = delivered(&headquarters.sync().await);
    assert_eq!((counts(&receipt), &receipt["merged"]), ((0, 1, 0, 0), &0.into()), "{receipt}");
    assert_eq!(store.shop.query("SELECT price FROM products WHERE id = 1").await, ["2.22"]);
    assert_equal(&store, &headquarters).await;
    for server in [&store, &headquarters] {
        nothing_new(&server.sync().await);
    }
}

async fn a_receiver_that_captures_nothing_gets_increments_in_their_order(engine: Engine) {
    let store = Server::start("STORE-001", Shop::stocked(engine).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(engine).await).await;
    introduce(&store, &headquarters).await;
    store.attach().await;
    assert_eq!(kind(&store.sync().await), ("full", SHOP_ROWS));
    store.shop.execute("UPDATE products SET price = '7.00' WHERE id = 3").await;
    store.shop.execute("DELETE FROM order_items WHERE product_id = 3").await;
    let outcome = store.sync().await;
    assert_eq!((kind(&outcome), counts(&delivered(&outcome))), (("incremental", 2), (0, 1, 0, 1)));
    nothing_new(&store.sync().await);
    assert_equal(&store, &headquarters).await;
    assert_eq!(store.capture().await.tombstones, 0);
}

async fn a_head_office_that_lost_its_database_is_brought_back_by_a_full_backup(engine: Engine) {
    let (store, mut headquarters) = in_step(engine).await;
    headquarters.stop().await;
    store.shop.execute("UPDATE products SET price = '3.33' WHERE id = 1").await;
    ended(&store.sync().await, "waiting", Code::UNREACHABLE);
    // A new and empty one stands in its place.
    let empty = Shop::empty(engine).await;
    let url = empty.url.clone();
    let url = [("BRANCHLINE_DATABASE__URL", url.as_str())];
    headquarters.restart_with(&url, |spool| spool).await;
    headquarters.shop = empty;
    refused(headquarters.ask(Command::Sync(SyncCommand::default())).await, Code::ATTACHED_BY_ANOTHER);
    assert!(headquarters.attach_as(true).await.unwrap().new_life);
    let outcome = store.sync().await;
    assert_eq!((kind(&outcome), outcome.before.len()), (("full", SHOP_ROWS), 0));
    assert_eq!(counts(&delivered(&outcome)), (SHOP_ROWS, 0, 0, 0));
    assert_equal(&store, &headquarters).await;
    nothing_new(&store.sync().await);
}

async fn a_backup_that_was_carried_by_file_is_followed_by_an_increment(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    let stick = tempfile::tempdir().unwrap();
    refused(store.export(&headquarters, stick.path()).await, Code::NOT_FOUND);
    store.shop.execute("UPDATE products SET price = '3.33' WHERE id = 1").await;
    let exported = store.export(&headquarters, stick.path()).await.unwrap();
    assert_eq!((exported.backup_type.as_str(), exported.rows), ("incremental", 1));
    store.shop.execute("DELETE FROM order_items WHERE product_id = 2").await;
    // One backup at a time is on its way: it is the same one that is carried once more.
    let elsewhere = tempfile::tempdir().unwrap();
    let again = store.export(&headquarters, elsewhere.path()).await.unwrap();
    assert_eq!(again.backup, exported.backup);
    let imported = headquarters.import(exported.path.as_ref()).await.unwrap();
    assert_eq!(counts(imported.receipt.as_ref().unwrap()), (0, 1, 0, 0));
    store.import(imported.receipt_path.unwrap().as_ref()).await.unwrap();
    let outcome = store.sync().await;
    assert_eq!((kind(&outcome), counts(&delivered(&outcome))), (("incremental", 1), (0, 0, 0, 1)));
    assert_eq!(outcome.before.len(), 0);
    assert_equal(&store, &headquarters).await;
    // The same file again is answered as it was.
    let repeated = headquarters.import(exported.path.as_ref()).await.unwrap();
    assert_eq!(repeated.receipt, imported.receipt);
    assert_equal(&store, &headquarters).await;
}

/// A third server's file still holds a row that was deleted since, and whose deletion is forgotten.
async fn an_old_file_resurrects_nothing(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    let third = Server::start("STORE-003", Shop::empty(engine).await).await;
    third.attach().await;
    introduce(&third, &headquarters).await;
    introduce(&third, &store).await;
    third.relay_to(&headquarters, true).await;
    delivered(&store.sync_to(&third).await);
    let stick = tempfile::tempdir().unwrap();
    let old = third.export(&headquarters, stick.path()).await.unwrap();
    assert_eq!(old.rows, SHOP_ROWS);
    store
        .shop
        .execute("DELETE FROM order_items WHERE product_id = 2; DELETE FROM products WHERE id = 2")
        .await;
    delivered(&store.sync_to(&headquarters).await);
    let before = headquarters.shop.hashes().await;
    let imported = headquarters.import(old.path.as_ref()).await.unwrap();
    let receipt = imported.receipt.unwrap();
    assert_eq!((counts(&receipt).0, &receipt["held"]), (0, &0.into()), "{receipt}");
    assert_eq!(headquarters.shop.hashes().await, before);
    assert_equal(&store, &headquarters).await;
}

async fn an_increment_that_was_dropped_after_it_was_applied_is_followed_by_a_full_one(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    let stick = tempfile::tempdir().unwrap();
    store.shop.execute("UPDATE products SET price = '3.33' WHERE id = 1").await;
    let exported = store.export(&headquarters, stick.path()).await.unwrap();
    headquarters.import(exported.path.as_ref()).await.unwrap();
    // The receipt never comes back, and a person lets go of what waits.
    let outcome = store.sync_as(SyncCommand { fresh: true, ..SyncCommand::default() }).await;
    assert_eq!((kind(&outcome), counts(&delivered(&outcome))), (("full", SHOP_ROWS), (0, 0, SHOP_ROWS, 0)));
    store.shop.execute("UPDATE products SET price = '4.44' WHERE id = 1").await;
    assert_eq!(kind(&store.sync().await), ("incremental", 1));
    assert_equal(&store, &headquarters).await;
}

async fn a_deletion_is_written_only_where_it_is_granted(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    let grant = |tables: &[&str]| Command::PeersGrant {
        peer: "STORE-001".to_owned(),
        write: None,
        mirror: None,
        relay: None,
        tables: Some(tables.iter().map(|table| (*table).to_owned()).collect()),
    };
    headquarters.change(grant(&["products", "orders"])).await;
    store.shop.execute("DELETE FROM order_items WHERE product_id = 2").await;
    let before = headquarters.shop.hashes().await;
    ended(&store.sync().await, "refused", Code::NOT_GRANTED);
    assert_eq!(headquarters.shop.hashes().await, before);
    // Once it is granted, what was refused goes with the next increment.
    headquarters.change(grant(&[])).await;
    let outcome = store.sync().await;
    assert_eq!((kind(&outcome), counts(&delivered(&outcome))), (("incremental", 1), (0, 0, 0, 1)));
    assert_equal(&store, &headquarters).await;
}

async fn capture_comes_out_and_goes_in_again(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    assert_eq!((store.capture().await.epoch, store.capture().await.tables), (1, 6));
    store.change(Command::Detach).await;
    refused(store.ask(Command::Detach).await, Code::NOT_ATTACHED);
    assert_eq!(store.status().await.capture, None);
    store.shop.execute("UPDATE products SET price = '6.66' WHERE id = 1").await;
    let outcome = store.sync().await;
    assert_eq!((kind(&outcome), counts(&delivered(&outcome))), (("full", SHOP_ROWS), (0, 1, 9, 0)));
    refused(
        store
            .ask(Command::Sync(SyncCommand {
                backup_type: Some("incremental".to_owned()),
                ..SyncCommand::default()
            }))
            .await,
        Code::NOT_ATTACHED,
    );
    // What is captured from now on is of another life.
    assert_eq!(store.attach().await.epoch, 2);
    assert_eq!(kind(&store.sync().await).0, "full");
    store.shop.execute("UPDATE products SET price = '6.67' WHERE id = 1").await;
    assert_eq!(kind(&store.sync().await), ("incremental", 1));
    assert_equal(&store, &headquarters).await;
}

/// Writes to the head office's products past the triggers, as a program does that switches them off.
async fn write_unnoted(server: &Server, engine: Engine, statement: &str) {
    let sql = match engine {
        Engine::Postgres => format!(
            "ALTER TABLE products DISABLE TRIGGER USER; {statement}; ALTER TABLE products ENABLE TRIGGER USER"
        ),
        Engine::Sqlite => {
            let named = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'products'";
            let triggers = server.shop.query(named).await.into_iter();
            let dropped: String = triggers.map(|name| format!("DROP TRIGGER \"{name}\"; ")).collect();
            format!("{dropped}{statement}")
        }
    };
    server.shop.execute(&sql).await;
}

async fn rows_that_a_compare_finds_are_sent_after_a_repair(engine: Engine) {
    let (store, headquarters) = in_step(engine).await;
    write_unnoted(&headquarters, engine, "UPDATE products SET price = '0.01' WHERE id = 1").await;
    nothing_new(&store.sync().await);
    let compare =
        |repair| Command::Compare { peer: headquarters.id().to_owned(), tables: Vec::new(), repair };
    let compared = |answer| match answer {
        Answer::Compare(compared) => (compared.different, compared.counted_as_changed),
        other => panic!("{other:?}"),
    };
    assert_eq!(compared(store.ask(compare(false)).await.unwrap()), (1, 0));
    nothing_new(&store.sync().await);
    // What is still to be sent explains what differs: nothing is overruled.
    store.shop.execute("UPDATE customers SET \"fullName\" = 'Anna' WHERE id = 1").await;
    refused(store.ask(compare(true)).await, Code::ROWS_DIFFER);
    delivered(&store.sync().await);
    assert_eq!(compared(store.ask(compare(true)).await.unwrap()), (1, 1));
    let sent = store.sync().await;
    assert_eq!((kind(&sent), counts(&delivered(&sent))), (("incremental", 1), (0, 1, 0, 0)));
    assert_eq!(compared(store.ask(compare(false)).await.unwrap()), (0, 0));
    assert_equal(&store, &headquarters).await;
}
