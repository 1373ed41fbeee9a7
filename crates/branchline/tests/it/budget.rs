//! The disk budget of the ledger: a peer that is too far behind no longer keeps deletions for everybody.

use branchline::api::v1::{Answer, Command, SyncCommand};
use branchline_core::code::Code;
use branchline_testkit::database::Engine;

use crate::world::{Home, Server, Shop, delivered, ended, introduce};

const TABLE: &str = "CREATE TABLE receipts (id BIGINT PRIMARY KEY, total TEXT)";
/// More deletions than a ledger of one MiB can keep.
const ROWS: u32 = 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_past_the_budget_is_said_and_brought_back_by_a_full_backup() {
    let shop = Shop::with(Engine::Sqlite, TABLE).await;
    let home = Home::make("STORE-001", &shop.url);
    let budget = [("BRANCHLINE_CAPTURE__BUDGET_MIB", "1")];
    let store = Server::start_with(home, shop, &budget, |spool| spool).await;
    let near = Server::start("CENTRAL-HQ", Shop::with(Engine::Sqlite, TABLE).await).await;
    let mut far = Server::start("STORE-002", Shop::with(Engine::Sqlite, TABLE).await).await;
    for server in [&store, &near, &far] {
        server.attach().await;
    }
    introduce(&store, &near).await;
    introduce(&store, &far).await;
    let numbers =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})");
    store.shop.execute(&format!("{numbers} INSERT INTO receipts SELECT i, 'x' FROM n")).await;
    for peer in [&near, &far] {
        delivered(&store.sync_to(peer).await);
    }
    far.stop().await;
    store.shop.execute("DELETE FROM receipts WHERE id > 1").await;
    let Ok(Answer::Sync(answer)) = store.ask(Command::Sync(SyncCommand::default())).await else { panic!() };
    delivered(&answer.peers[0]);
    ended(&answer.peers[1], "waiting", Code::UNREACHABLE);
    // Nobody waits for the far one: the deletions are gone, and it is said.
    let status = store.status().await;
    assert_eq!(status.capture.as_ref().unwrap().tombstones, 0);
    let past = |peer: usize| status.peers[peer].acknowledged.as_ref().unwrap().past_budget;
    assert_eq!((past(0), past(1)), (false, true));
    let warning = status.warnings.iter().find(|warning| warning.code == "BL-E0428").unwrap();
    assert_eq!(warning.fix, "branchline sync STORE-002");
    far.restart().await;
    let outcome = store.sync_to(&far).await;
    assert_eq!((outcome.backup_type.as_deref(), outcome.rows), (Some("full"), 1));
    delivered(&outcome);
    assert_eq!(far.shop.hashes().await, store.shop.hashes().await);
    assert!(!store.warnings().await.contains(&"BL-E0428".to_owned()));
}
