//! What waits in the outbox is sent by the server itself, once its peer is back.

use branchline::api::v1::{Answer, BackupsAnswer, Command, SyncCommand};
use branchline::node::clock::Clock;
use branchline_core::code::Code;
use branchline_testkit::database::Engine;

use crate::world::{Server, Shop, ended, eventually, introduce};

async fn backups_of(server: &Server) -> BackupsAnswer {
    match server.ask(Command::BackupsList).await {
        Ok(Answer::Backups(backups)) => backups,
        other => panic!("{other:?}"),
    }
}

/// Waits until nothing waits for a peer.
async fn delivered_by_itself(store: &Server, peer: &str) {
    eventually(&format!("nothing waits for {peer}"), async || {
        let waiting = backups_of(store).await.waiting;
        (!waiting.iter().any(|backup| backup.peer == peer)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_could_not_be_delivered_is_delivered_when_the_peer_is_back() {
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let mut headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    store.works_by_itself(Clock::default());
    headquarters.stop().await;
    let waiting = store.sync().await;
    ended(&waiting, "waiting", Code::UNREACHABLE);
    // It is tried again while nobody answers.
    let tried = eventually("a second attempt", async || {
        let waiting = backups_of(&store).await.waiting;
        waiting.into_iter().find(|backup| backup.attempts > 1)
    });
    let tried = tried.await;
    assert_eq!(Some(&tried.backup), waiting.backup.as_ref());
    assert!(tried.last_error.unwrap().starts_with(&Code::UNREACHABLE.to_string()));
    headquarters.restart().await;
    delivered_by_itself(&store, "CENTRAL-HQ").await;
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
    let settled = backups_of(&store).await.settled;
    assert_eq!(settled.len(), 1);
    assert_eq!((Some(&settled[0].backup), settled[0].success), (waiting.backup.as_ref(), true));
    assert_eq!(store.home.spool_files(""), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stays_away_keeps_nobody_else_waiting() {
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let mut away = Server::start("AWAY-HQ", Shop::empty(Engine::Sqlite).await).await;
    let mut back = Server::start("BACK-HQ", Shop::empty(Engine::Sqlite).await).await;
    for headquarters in [&away, &back] {
        introduce(&store, headquarters).await;
    }
    away.stop().await;
    back.stop().await;
    store.works_by_itself(Clock::default());
    let Ok(Answer::Sync(answer)) = store.ask(Command::Sync(SyncCommand::default())).await else { panic!() };
    assert!(answer.peers.iter().all(|peer| peer.state == "waiting"), "{answer:?}");
    back.restart().await;
    delivered_by_itself(&store, "BACK-HQ").await;
    assert_eq!(back.shop.hashes().await, store.shop.hashes().await);
    let waiting = backups_of(&store).await.waiting;
    assert_eq!(waiting.iter().map(|backup| backup.peer.as_str()).collect::<Vec<_>>(), ["AWAY-HQ"]);
}

/// What waited when the server was stopped is sent by the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_outlives_a_restart_and_a_pause() {
    let mut store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let mut headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    headquarters.stop().await;
    ended(&store.sync().await, "waiting", Code::UNREACHABLE);
    store.change(Command::PeersPause { peer: "CENTRAL-HQ".to_owned() }).await;
    headquarters.restart().await;
    store.restart().await;
    store.works_by_itself(Clock::default());
    let attempts = backups_of(&store).await.waiting[0].attempts;
    assert_eq!(attempts, 1, "a paused peer is not called");
    store.change(Command::PeersResume { peer: "CENTRAL-HQ".to_owned() }).await;
    delivered_by_itself(&store, "CENTRAL-HQ").await;
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}
