//! A whole database goes from server to server: what arrives, what is counted, what the receipt says.

use branchline::api::v1::{Answer, Command, SyncCommand};
use branchline_core::code::Code;
use branchline_core::ports::Signer;
use branchline_core::receipt::v1::open_receipt;
use branchline_testkit::database::Engine;

use crate::world::{Courier, Draft, Home, Server, Shop, counts, delivered, introduce, on_both_engines, pair};

/// Rows of a small shop.
const SHOP_ROWS: u64 = 10;

async fn store_and_headquarters(store: Engine, headquarters: Engine) -> (Server, Server) {
    let store = Server::start("STORE-001", Shop::stocked(store).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(headquarters).await).await;
    introduce(&store, &headquarters).await;
    (store, headquarters)
}

async fn everything_arrives(from: Engine, to: Engine) {
    let store = Server::start("STORE-001", Shop::stocked(from).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(to).await).await;
    pair(&headquarters, &store).await;
    let outcome = store.sync().await;
    let receipt = delivered(&outcome);
    assert_eq!(counts(&receipt), (SHOP_ROWS, 0, 0, 0));
    assert_eq!((outcome.rows, outcome.sent_bytes), (SHOP_ROWS, outcome.document_bytes));
    let compared = store.compare(&headquarters).await;
    assert!(compared.equal && compared.not_shared.is_empty(), "{compared:?}");
    assert_eq!((compared.rows_here, compared.rows_there, compared.tables.len()), (SHOP_ROWS, SHOP_ROWS, 6));
    if from == to {
        assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_store_arrives_whole_at_a_sqlite_headquarters() {
    everything_arrives(Engine::Sqlite, Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_store_arrives_whole_at_a_postgres_headquarters() {
    everything_arrives(Engine::Postgres, Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_store_arrives_whole_at_a_postgres_headquarters() {
    everything_arrives(Engine::Sqlite, Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_store_arrives_whole_at_a_sqlite_headquarters() {
    everything_arrives(Engine::Postgres, Engine::Sqlite).await;
}

on_both_engines! {
    rows_that_are_there_already_are_skipped_with_the_warning
    rows_that_differ_are_updated_and_counted
    rows_that_the_store_lacks_stay
    a_backup_that_was_applied_gets_its_first_receipt_again
    a_receipt_is_found_in_the_ledger_when_the_state_is_lost
    another_backup_at_the_same_place_of_the_chain_is_a_fork
    two_stores_that_send_at_once_are_applied_one_after_the_other
}

async fn rows_that_are_there_already_are_skipped_with_the_warning(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine, engine).await;
    let first = delivered(&store.sync().await);
    assert_eq!(first["warnings"].as_array().unwrap().len(), 0);
    let before = headquarters.shop.hashes().await;
    let second = delivered(&store.sync().await);
    assert_eq!(counts(&second), (0, 0, SHOP_ROWS, 0));
    assert_eq!(second["warnings"][0], "Some records were duplicates and skipped");
    assert_eq!(second["recordsProcessed"], SHOP_ROWS);
    assert_eq!(headquarters.shop.hashes().await, before);
}

async fn rows_that_differ_are_updated_and_counted(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine, engine).await;
    delivered(&store.sync().await);
    store.shop.execute("UPDATE products SET price = '1.20' WHERE id = 1").await;
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (4, 'C-1', '9.99')").await;
    headquarters.shop.execute("UPDATE orders SET paid = NULL").await;
    let receipt = delivered(&store.sync().await);
    assert_eq!(counts(&receipt), (1, 3, 7, 0));
    let tables = receipt["tables"].as_array().unwrap();
    let products = tables.iter().find(|table| table["name"] == "products").unwrap();
    assert_eq!(
        (&products["inserted"], &products["updated"], &products["unchanged"]),
        (&1.into(), &1.into(), &2.into())
    );
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

async fn rows_that_the_store_lacks_stay(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine, engine).await;
    headquarters.shop.execute("INSERT INTO products (id, sku, price) VALUES (9, 'HQ-9', '5.00')").await;
    assert_eq!(counts(&delivered(&store.sync().await)), (SHOP_ROWS, 0, 0, 0));
    assert_eq!(headquarters.shop.query("SELECT sku FROM products WHERE id = 9").await, ["HQ-9"]);
}

async fn a_backup_that_was_applied_gets_its_first_receipt_again(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine, engine).await;
    let document = Draft::of(&store, &headquarters.home).await.seal(&store.home.identity);
    let courier = Courier::new(&store.home.identity, &headquarters);
    let (receipt, first) = courier.deliver(&document).await.applied();
    assert_eq!(receipt.totals().inserted, SHOP_ROWS);
    let before = headquarters.shop.hashes().await;
    let (_, second) = courier.deliver(&document).await.applied();
    assert_eq!(second, first);
    assert_eq!(headquarters.shop.hashes().await, before);
}

async fn a_receipt_is_found_in_the_ledger_when_the_state_is_lost(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine, engine).await;
    let document = Draft::of(&store, &headquarters.home).await.seal(&store.home.identity);
    let (_, first) = Courier::new(&store.home.identity, &headquarters).deliver(&document).await.applied();
    let before = headquarters.shop.hashes().await;
    // A new folder, another key: only the database is the same.
    let home = Home::make("CENTRAL-HQ", &headquarters.shop.url);
    let reborn = Server::start_with(home, headquarters.shop, &[], |spool| spool).await;
    reborn.add_peer(&store, store.address()).await;
    let courier = Courier::new(&store.home.identity, &reborn);
    let bytes = document.bytes(branchline_core::backup::Codec::Zstd);
    let again = courier.answer_to(&document, &bytes).await.unwrap();
    assert_eq!(again, first);
    assert!(open_receipt(&again, headquarters.home.identity.public_key().key_id()).unwrap().success);
    assert_eq!(reborn.shop.hashes().await, before);
}

async fn another_backup_at_the_same_place_of_the_chain_is_a_fork(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine, engine).await;
    let draft = Draft::of(&store, &headquarters.home).await;
    let courier = Courier::new(&store.home.identity, &headquarters);
    courier.deliver(&draft.seal(&store.home.identity)).await.applied();
    let applied = headquarters.shop.hashes().await;
    let other = draft.with_data_replaced("\"sku\":\"B-1\"", "\"sku\":\"B-9\"").renamed();
    courier.deliver(&other.seal(&store.home.identity)).await.failed(Code::LEDGER_FORKED);
    assert_eq!(headquarters.shop.hashes().await, applied);
    // An older one, which would set rows back, is told apart from a fork.
    let mut older = other.clone().renamed();
    older.metadata.sequence = branchline_core::id::Sequence::new(0);
    courier.deliver(&older.seal(&store.home.identity)).await.failed(Code::BACKUP_SUPERSEDED);
    assert_eq!(headquarters.shop.hashes().await, applied);
    // The next place is free, and the store's own sync takes it.
    assert_eq!(counts(&delivered(&store.sync().await)), (0, 0, SHOP_ROWS, 0));
}

async fn two_stores_that_send_at_once_are_applied_one_after_the_other(engine: Engine) {
    let (first, headquarters) = store_and_headquarters(engine, engine).await;
    let second = Server::start("STORE-002", Shop::stocked(engine).await).await;
    introduce(&second, &headquarters).await;
    let (one, other) = tokio::join!(first.sync(), second.sync());
    let (one, other) = (counts(&delivered(&one)), counts(&delivered(&other)));
    let (new, there) = ((SHOP_ROWS, 0, 0, 0), (0, 0, SHOP_ROWS, 0));
    assert!((one, other) == (new, there) || (one, other) == (there, new), "{one:?} {other:?}");
    assert_eq!(headquarters.shop.hashes().await, first.shop.hashes().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_syncs_at_once_send_one_backup_at_a_time() {
    let (store, headquarters) = store_and_headquarters(Engine::Sqlite, Engine::Sqlite).await;
    let (one, other) = tokio::join!(store.sync(), store.sync());
    assert!(one.state == "delivered" || other.state == "delivered", "{one:?} {other:?}");
    for outcome in [one, other].iter().filter(|outcome| outcome.state != "delivered") {
        crate::world::ended(outcome, "waiting", Code::HOME_LOCKED);
    }
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headquarters_sends_to_all_stores_what_they_lack() {
    let (first, headquarters) = store_and_headquarters(Engine::Sqlite, Engine::Sqlite).await;
    let second = Server::start("STORE-002", Shop::empty(Engine::Sqlite).await).await;
    introduce(&second, &headquarters).await;
    second.shop.execute("INSERT INTO products (id, sku, price) VALUES (7, 'S2-7', '3.00')").await;
    delivered(&first.sync().await);
    delivered(&second.sync().await);
    let Ok(Answer::Sync(answer)) = headquarters.ask(Command::Sync(SyncCommand::default())).await else {
        panic!()
    };
    let peers: Vec<&str> = answer.peers.iter().map(|outcome| outcome.peer.as_str()).collect();
    assert_eq!(peers, ["STORE-001", "STORE-002"]);
    for (outcome, inserted) in answer.peers.iter().zip([1, SHOP_ROWS]) {
        assert_eq!(counts(&delivered(outcome)), (inserted, 0, SHOP_ROWS + 1 - inserted, 0));
    }
    assert_eq!(first.shop.hashes().await, headquarters.shop.hashes().await);
    assert_eq!(second.shop.hashes().await, headquarters.shop.hashes().await);
}

/// Settings on either side: what the store keeps is not sent, what headquarters keeps out is not taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_the_settings_leave_out_stay_at_home() {
    let (mut store, mut headquarters) = store_and_headquarters(Engine::Sqlite, Engine::Sqlite).await;
    let same = |spool| spool;
    store.restart_with(&[("BRANCHLINE_DATABASE__TABLES", "customers, products")], same).await;
    assert_eq!(counts(&delivered(&store.sync().await)), (5, 0, 0, 0));
    assert_eq!(headquarters.shop.query("SELECT count(*) FROM orders").await, ["0"]);
    let compared = store.compare(&headquarters).await;
    assert!(compared.equal && compared.tables.len() == 2, "{compared:?}");
    headquarters.restart_with(&[("BRANCHLINE_DATABASE__EXCEPT", "customers")], same).await;
    let before = headquarters.shop.hashes().await;
    let problem = crate::world::ended(&store.sync().await, "refused", Code::TABLE_NOT_SYNCABLE);
    assert!(
        problem
            .message
            .ends_with("table customers cannot be part of a backup here: the settings leave it out"),
        "{problem}"
    );
    assert_eq!(headquarters.shop.hashes().await, before);
}

/// A column that the store keeps to itself: it is not sent, not compared, and not overwritten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_the_settings_leave_out_stay_at_home() {
    let (mut store, headquarters) = store_and_headquarters(Engine::Sqlite, Engine::Sqlite).await;
    store.restart_with(&[("BRANCHLINE_DATABASE__EXCEPT_COLUMNS", "customers.email")], |spool| spool).await;
    store.shop.execute("UPDATE customers SET email = 'kept@example.org' WHERE id = 1").await;
    delivered(&store.sync().await);
    assert_eq!(
        headquarters.shop.query("SELECT count(*) FROM customers WHERE email IS NOT NULL").await,
        ["0"]
    );
    assert_eq!(headquarters.shop.query("SELECT count(*) FROM customers").await, ["2"]);
    assert!(store.compare(&headquarters).await.equal);
    headquarters.shop.execute("UPDATE customers SET email = 'theirs@example.org' WHERE id = 1").await;
    delivered(&headquarters.sync().await);
    assert_eq!(store.shop.query("SELECT email FROM customers WHERE id = 1").await, ["kept@example.org"]);
    assert!(headquarters.compare(&store).await.equal);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsed_sync_sends_nothing_and_names_what_would_be_refused() {
    let (store, headquarters) = store_and_headquarters(Engine::Sqlite, Engine::Sqlite).await;
    store.shop.execute("CREATE TABLE suppliers (id INTEGER PRIMARY KEY); CREATE TABLE log (line TEXT)").await;
    let before = headquarters.shop.hashes().await;
    let outcome = store.sync_as(SyncCommand { dry_run: true, ..SyncCommand::default() }).await;
    assert_eq!((outcome.state.as_str(), outcome.backup), ("planned", None));
    let obstacle = |table: &str| {
        let planned = outcome.planned.iter().find(|planned| planned.table == table);
        planned.unwrap_or_else(|| panic!("{table}")).obstacle.clone()
    };
    assert_eq!(obstacle("customers"), None);
    assert_eq!(obstacle("suppliers").unwrap(), "there is no table suppliers here");
    assert_eq!(obstacle("log").unwrap(), "stays here: it has no primary key");
    assert_eq!(headquarters.shop.hashes().await, before);
    let Ok(Answer::Backups(backups)) = store.ask(Command::BackupsList).await else { panic!() };
    assert!(backups.waiting.is_empty() && backups.settled.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_has_the_fields_of_the_specification_and_both_sides_keep_it() {
    let (store, headquarters) = store_and_headquarters(Engine::Sqlite, Engine::Sqlite).await;
    let outcome = store.sync().await;
    let receipt = delivered(&outcome);
    for name in [
        "success",
        "serverId",
        "processedAt",
        "recordsProcessed",
        "errors",
        "warnings",
        "checksum",
        "signature",
    ] {
        assert!(receipt.get(name).is_some(), "{name}");
    }
    assert_eq!(
        (&receipt["serverId"], &receipt["sourceServerId"]),
        (&"CENTRAL-HQ".into(), &"STORE-001".into())
    );
    let backup = outcome.backup.unwrap();
    for server in [&store, &headquarters] {
        let shown = server.ask(Command::BackupsShow { backup: backup.clone() }).await;
        let Ok(Answer::Backup(shown)) = shown else { panic!("{shown:?}") };
        assert_eq!(shown.receipt.as_ref(), Some(&receipt), "{}", server.id());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_without_peers_or_with_an_unknown_one_says_so() {
    let store = Server::start("STORE-001", Shop::empty(Engine::Sqlite).await).await;
    let sync =
        |peer: &str| Command::Sync(SyncCommand { peers: vec![peer.to_owned()], ..SyncCommand::default() });
    crate::world::refused(store.ask(Command::Sync(SyncCommand::default())).await, Code::PEER_UNKNOWN);
    crate::world::refused(store.ask(sync("STORE-009")).await, Code::PEER_UNKNOWN);
    crate::world::refused(store.ask(sync("../STORE")).await, Code::ID_INVALID);
}
