//! A database that was put back from a copy, one that was cloned, and one that is another server's: each stops with an
//! alarm, and goes on when a person says so.

use std::path::{Path, PathBuf};

use branchline::api::v1::{Command, SyncCommand};
use branchline_core::code::Code;
use branchline_testkit::database::Engine;

use crate::world::{Home, Server, Shop, delivered, introduce, refused};

/// The file of a SQLite shop.
fn file_of(shop: &Shop) -> PathBuf {
    PathBuf::from(shop.url.strip_prefix("sqlite:").unwrap())
}

/// A copy of a shop's file as it stands now, the write-ahead log included.
async fn copy_of(shop: &Shop, folder: &Path) -> PathBuf {
    let copy = folder.join("copy.db");
    shop.execute(&format!("VACUUM INTO '{}'", copy.display())).await;
    copy
}

/// Puts a copy in the place of a shop's file.
fn put_back(copy: &Path, shop: &Shop) {
    let file = file_of(shop);
    for end in ["-wal", "-shm"] {
        let beside = PathBuf::from(format!("{}{end}", file.display()));
        if beside.exists() {
            std::fs::remove_file(beside).unwrap();
        }
    }
    std::fs::copy(copy, file).unwrap();
}

async fn store_and_headquarters() -> (Server, Server) {
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    for server in [&store, &headquarters] {
        server.attach().await;
    }
    delivered(&store.sync().await);
    delivered(&headquarters.sync().await);
    (store, headquarters)
}

fn sync() -> Command {
    Command::Sync(SyncCommand::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_put_back_stops_until_a_new_life_begins_and_loses_nothing() {
    let (mut store, headquarters) = store_and_headquarters().await;
    let kept = tempfile::tempdir().unwrap();
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (30, 'BEFORE', '1.00')").await;
    delivered(&store.sync().await);
    let copy = copy_of(&store.shop, kept.path()).await;
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (31, 'LOST', '1.00')").await;
    store.shop.execute("DELETE FROM products WHERE id = 30").await;
    delivered(&store.sync().await);
    store.stop().await;
    put_back(&copy, &store.shop);
    store.restart().await;
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (32, 'AFTER', '1.00')").await;
    let problem = refused(store.ask(sync()).await, Code::DATABASE_REWOUND);
    assert!(problem.help.contains("branchline attach --new-life"), "{problem}");
    assert!(store.warnings().await.contains(&"BL-E0425".to_owned()));
    refused(store.attach_as(false).await, Code::DATABASE_REWOUND);
    let attached = store.attach_as(true).await.unwrap();
    assert_eq!((attached.epoch, attached.new_life), (2, true));
    for _ in 0..2 {
        for server in [&store, &headquarters] {
            let outcome = server.sync().await;
            assert_eq!(outcome.problem, None, "{outcome:?}");
        }
    }
    assert_eq!(store.shop.hashes().await, headquarters.shop.hashes().await);
    let skus = store.shop.query("SELECT sku FROM products WHERE id >= 30 ORDER BY id").await;
    assert!(skus.contains(&"LOST".to_owned()) && skus.contains(&"AFTER".to_owned()), "{skus:?}");
    assert!(!store.warnings().await.contains(&"BL-E0425".to_owned()));
    for server in [&store, &headquarters] {
        assert_eq!(server.sync().await.state, "in_step");
    }
}

/// The whole machine was put back, the home too: only the peer knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_put_back_whole_is_found_out_by_its_peer() {
    let (mut store, headquarters) = store_and_headquarters().await;
    let kept = tempfile::tempdir().unwrap();
    let copy = copy_of(&store.shop, kept.path()).await;
    store.stop().await;
    let home = store.home.copy();
    store.restart().await;
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (31, 'NEWER', '1.00')").await;
    delivered(&store.sync().await);
    // A clone of what it was goes on beside it.
    let clone = Shop::empty(Engine::Sqlite).await;
    put_back(&copy, &clone);
    let url = clone.url.clone();
    let url = [("BRANCHLINE_DATABASE__URL", url.as_str())];
    let clone = Server::start_with(home, clone, &url, |spool| spool).await;
    clone.shop.execute("INSERT INTO products (id, sku, price) VALUES (33, 'CLONE', '1.00')").await;
    refused(clone.ask(sync()).await, Code::DATABASE_REWOUND);
    assert_eq!(headquarters.shop.query("SELECT sku FROM products WHERE id >= 30").await, ["NEWER"]);
    assert_eq!(clone.attach_as(true).await.unwrap().epoch, 2);
    delivered(&clone.sync().await);
    // The one that goes on under the old life is told now.
    store.shop.execute("UPDATE products SET price = '2.00' WHERE id = 31").await;
    refused(store.ask(sync()).await, Code::DATABASE_REWOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_servers_database_is_left_alone_until_it_is_handed_over() {
    let (store, headquarters) = store_and_headquarters().await;
    let kept = tempfile::tempdir().unwrap();
    let copy = copy_of(&store.shop, kept.path()).await;
    let handed_over = Shop::empty(Engine::Sqlite).await;
    put_back(&copy, &handed_over);
    let heir =
        Server::start_with(Home::make("STORE-002", &handed_over.url), handed_over, &[], |spool| spool).await;
    introduce(&heir, &headquarters).await;
    refused(heir.attach_as(false).await, Code::ATTACHED_BY_ANOTHER);
    refused(heir.ask(sync()).await, Code::ATTACHED_BY_ANOTHER);
    refused(heir.ask(Command::Detach).await, Code::ATTACHED_BY_ANOTHER);
    assert!(heir.warnings().await.contains(&"BL-E0423".to_owned()));
    let attached = heir.attach_as(true).await.unwrap();
    assert_eq!((attached.server.as_str(), attached.captured), ("STORE-002", 6));
    let receipt = delivered(&heir.sync().await);
    assert_eq!(&receipt["merged"], &0);
    assert_eq!(heir.shop.hashes().await, headquarters.shop.hashes().await);
}
