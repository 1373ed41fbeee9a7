//! Mirrors: rows that the backup does not hold are removed only where that was asked for, granted, and said before.

use std::path::Path;

use branchline::api::v1::{Answer, Command, Problem, SyncCommand};
use branchline_core::code::Code;
use branchline_testkit::database::Engine;

use crate::world::{Server, Shop, counts, delivered, ended, introduce, on_both_engines, refused};

/// A head office that has the store's ten rows, and three more.
async fn store_and_headquarters(engine: Engine) -> (Server, Server) {
    let store = Server::start("STORE-001", Shop::stocked(engine).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::stocked(engine).await).await;
    headquarters.shop.execute(r#"INSERT INTO customers (id, "fullName") VALUES (8, 'Gone')"#).await;
    headquarters.shop.execute("INSERT INTO loyalty (id, customer_id) VALUES (1, 8)").await;
    headquarters.shop.execute("INSERT INTO products (id, sku, price) VALUES (9, 'HQ-9', '5.00')").await;
    introduce(&store, &headquarters).await;
    (store, headquarters)
}

fn mirror() -> SyncCommand {
    SyncCommand { mirror: true, ..SyncCommand::default() }
}

async fn grant(headquarters: &Server) {
    let grant = Command::PeersGrant {
        peer: "STORE-001".to_owned(),
        write: None,
        mirror: Some(true),
        relay: None,
        tables: None,
    };
    headquarters.change(grant).await;
}

on_both_engines! {
    a_mirror_without_a_grant_is_refused
    a_mirror_removes_exactly_the_extra_rows_and_counts_them
    a_rehearsed_mirror_says_how_many_rows_would_go
    a_mirror_from_a_file_needs_to_be_allowed_at_the_import_too
}

async fn a_mirror_without_a_grant_is_refused(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine).await;
    let before = headquarters.shop.hashes().await;
    let problem = ended(&store.sync_as(mirror()).await, "refused", Code::NOT_GRANTED);
    assert!(problem.message.contains("STORE-001 may not have rows removed here"), "{problem}");
    assert_eq!(headquarters.shop.hashes().await, before);
    // Without it nothing is removed, granted or not.
    grant(&headquarters).await;
    assert_eq!(counts(&delivered(&store.sync().await)), (0, 0, 10, 0));
    assert_eq!(headquarters.shop.hashes().await, before);
}

async fn a_mirror_removes_exactly_the_extra_rows_and_counts_them(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine).await;
    grant(&headquarters).await;
    store.shop.execute("UPDATE products SET price = '1.20' WHERE id = 1").await;
    let receipt = delivered(&store.sync_as(mirror()).await);
    assert_eq!(counts(&receipt), (0, 1, 9, 3));
    for (table, deleted) in [("customers", 1), ("loyalty", 1), ("products", 1), ("orders", 0)] {
        let found =
            receipt["tables"].as_array().unwrap().iter().find(|found| found["name"] == table).unwrap();
        assert_eq!(found["deleted"], deleted, "{table}");
    }
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

async fn a_rehearsed_mirror_says_how_many_rows_would_go(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine).await;
    grant(&headquarters).await;
    let before = headquarters.shop.hashes().await;
    let outcome = store.sync_as(SyncCommand { dry_run: true, ..mirror() }).await;
    let removed =
        |table: &str| outcome.planned.iter().find(|planned| planned.table == table).unwrap().removed;
    let tables = ["customers", "loyalty", "products", "orders", "order_items", "complaints"];
    assert_eq!(tables.map(removed), [1, 1, 1, 0, 0, 0].map(Some));
    assert_eq!(headquarters.shop.hashes().await, before);
}

async fn import(server: &Server, path: &str, mirror: bool) -> Result<Answer, Problem> {
    assert!(Path::new(path).exists());
    server.ask(Command::BackupsImport { path: path.to_owned(), dry_run: false, mirror }).await
}

async fn a_mirror_from_a_file_needs_to_be_allowed_at_the_import_too(engine: Engine) {
    let (store, headquarters) = store_and_headquarters(engine).await;
    let stick = tempfile::tempdir().unwrap();
    let (peer, path) = ("CENTRAL-HQ".to_owned(), stick.path().to_string_lossy().into_owned());
    let exported = store
        .ask(Command::BackupsExport { peer, path, compression: None, backup_type: None, mirror: true })
        .await;
    let Ok(Answer::File(file)) = exported else { panic!("{exported:?}") };
    let before = headquarters.shop.hashes().await;
    grant(&headquarters).await;
    let problem = refused(import(&headquarters, &file.path, false).await, Code::NOT_GRANTED);
    assert!(problem.help.contains("--dry-run") && problem.help.contains("--mirror"), "{problem:?}");
    assert_eq!(headquarters.shop.hashes().await, before);
    let Ok(Answer::Import(imported)) = import(&headquarters, &file.path, true).await else { panic!() };
    assert_eq!(counts(imported.receipt.as_ref().unwrap()), (0, 0, 10, 3));
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wish_for_a_mirror_is_signed() {
    let (store, headquarters) = store_and_headquarters(Engine::Sqlite).await;
    grant(&headquarters).await;
    let before = headquarters.shop.hashes().await;
    let draft = crate::world::Draft::of(&store, &headquarters.home).await;
    let mut document = draft.seal(&store.home.identity);
    let metadata = String::from_utf8(document.metadata).unwrap();
    document.metadata = metadata.replacen("\"tables\":", "\"mirror\":true,\"tables\":", 1).into_bytes();
    let courier = crate::world::Courier::new(&store.home.identity, &headquarters);
    courier.deliver(&document).await.refused(Code::SIGNATURE_INVALID);
    assert_eq!(headquarters.shop.hashes().await, before);
}

/// What waits was not packed as a mirror: it is not turned into one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_backup_does_not_become_a_mirror() {
    let (store, headquarters) = store_and_headquarters(Engine::Sqlite).await;
    headquarters.change(Command::PeersPause { peer: "STORE-001".to_owned() }).await;
    ended(&store.sync().await, "waiting", Code::PEER_PAUSED);
    headquarters.change(Command::PeersResume { peer: "STORE-001".to_owned() }).await;
    grant(&headquarters).await;
    let before = headquarters.shop.hashes().await;
    refused(store.ask(Command::Sync(mirror())).await, Code::USAGE);
    assert_eq!(headquarters.shop.hashes().await, before);
    let fresh = store.sync_as(SyncCommand { fresh: true, ..mirror() }).await;
    assert_eq!(counts(&delivered(&fresh)), (0, 0, 10, 3));
}
