//! Links that break and servers that are away: what was sealed waits, goes on where it was, and arrives once.

use std::sync::Arc;

use branchline::api::v1::{Answer, Command, StatusAnswer, SyncOutcome};
use branchline_core::code::Code;
use branchline_core::limits::UPLOAD_PART_BYTES;
use branchline_testkit::database::Engine;

use crate::world::{Proxy, Server, Shop, counts, delivered, ended, introduce};

/// Bytes of one part.
const PART: u64 = UPLOAD_PART_BYTES as u64;
/// What TLS, HTTP and the questions around the parts may cost on the wire.
const AROUND: u64 = 1 << 20;

async fn status_of(server: &Server) -> Box<StatusAnswer> {
    match server.ask(Command::Status).await {
        Ok(Answer::Status(status)) => status,
        other => panic!("{other:?}"),
    }
}

/// A store with more than two parts of data that cannot be compressed, and a wire to a head office without any.
async fn over_a_wire() -> (Arc<Server>, Server, Proxy) {
    let store = Server::start("STORE-001", Shop::with_media(18).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::with_media(0).await).await;
    let wire = Proxy::to(&headquarters.address()).await;
    store.add_peer(&headquarters, wire.address.to_string()).await;
    headquarters.add_peer(&store, store.address()).await;
    (Arc::new(store), headquarters, wire)
}

/// Begins to sync, and waits until so many bytes have reached headquarters and no more do.
async fn stuck_after(store: &Arc<Server>, wire: &Proxy, bytes: u64) -> tokio::task::JoinHandle<SyncOutcome> {
    wire.hold_after(bytes);
    let syncing = Arc::clone(store);
    let running = tokio::spawn(async move { syncing.sync().await });
    wire.held().await;
    running
}

/// All of it is there, and over both attempts no more than one part travelled twice.
async fn assert_arrived_once(store: &Server, headquarters: &Server, outcome: &SyncOutcome, passed: u64) {
    delivered(outcome);
    assert!(outcome.resumed, "{outcome:?}");
    assert!(outcome.document_bytes > 2 * PART, "{} bytes", outcome.document_bytes);
    assert!(
        passed <= outcome.document_bytes + PART + AROUND,
        "{passed} bytes for {}",
        outcome.document_bytes
    );
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_breaks_costs_one_part_at_most() {
    let (store, headquarters, wire) = over_a_wire().await;
    let running = stuck_after(&store, &wire, PART * 3 / 2).await;
    wire.cut();
    let waiting = running.await.unwrap();
    ended(&waiting, "waiting", Code::UNREACHABLE);
    assert!(headquarters.shop.query("SELECT id FROM media").await.is_empty());
    wire.open();
    let outcome = store.sync().await;
    assert_eq!(outcome.backup, waiting.backup);
    assert!(outcome.sent_bytes < outcome.document_bytes - PART + 1, "{outcome:?}");
    assert_arrived_once(&store, &headquarters, &outcome, wire.passed()).await;
}

/// The store's power fails in the middle of a part: to headquarters the old connection looks alive for minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_hangs_keeps_nobody_from_going_on() {
    let (store, headquarters, mut wire) = over_a_wire().await;
    let running = stuck_after(&store, &wire, PART * 3 / 2).await;
    running.abort();
    assert!(running.await.expect_err("aborted").is_cancelled());
    // What hangs goes on hanging; new connections go through.
    wire.open_for_new();
    let outcome = store.sync().await;
    assert_arrived_once(&store, &headquarters, &outcome, wire.passed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_office_that_restarts_goes_on_from_its_disk() {
    let (store, mut headquarters, wire) = over_a_wire().await;
    let running = stuck_after(&store, &wire, PART * 3 / 2).await;
    wire.cut();
    ended(&running.await.unwrap(), "waiting", Code::UNREACHABLE);
    headquarters.restart().await;
    wire.open();
    let outcome = store.sync().await;
    assert!(outcome.sent_bytes <= outcome.document_bytes - PART, "{outcome:?}");
    assert_arrived_once(&store, &headquarters, &outcome, wire.passed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_restarts_goes_on_with_what_waits() {
    let (store, headquarters, wire) = over_a_wire().await;
    let running = stuck_after(&store, &wire, PART * 3 / 2).await;
    wire.cut();
    ended(&running.await.unwrap(), "waiting", Code::UNREACHABLE);
    let mut store = Arc::into_inner(store).expect("nobody else");
    store.restart().await;
    assert_eq!(status_of(&store).await.outbox.len(), 1);
    wire.open();
    let outcome = store.sync().await;
    assert_arrived_once(&store, &headquarters, &outcome, wire.passed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_away_is_waited_for_and_the_data_are_safe() {
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let mut headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    headquarters.stop().await;
    let waiting = store.sync().await;
    let problem = ended(&waiting, "waiting", Code::UNREACHABLE);
    assert!(problem.retryable && problem.message.contains(&headquarters.address()), "{problem}");
    assert_eq!(
        problem.data.as_deref(),
        Some("Your data is safe: 1 backup(s) wait for CENTRAL-HQ in the outbox.")
    );
    assert!(problem.help.ends_with("try again with: branchline sync CENTRAL-HQ"), "{problem:?}");
    let status = status_of(&store).await;
    assert_eq!((status.outbox.len(), status.outbox[0].attempts), (1, 1));
    assert!(status.warnings.iter().any(|warning| warning.message.contains("a backup for CENTRAL-HQ waits")));
    // A second try adds none.
    assert_eq!(ended(&store.sync().await, "waiting", Code::UNREACHABLE).data, problem.data);
    headquarters.restart().await;
    let outcome = store.sync().await;
    assert_eq!(counts(&delivered(&outcome)), (10, 0, 0, 0));
    assert_eq!((outcome.resumed, outcome.backup), (true, waiting.backup));
    assert!(status_of(&store).await.outbox.is_empty());
    assert_eq!(store.home.spool_files(""), 0);
}

/// What waits is of its own moment; what changed meanwhile goes with the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_sent_first_and_what_came_after_it_next() {
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let mut headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    headquarters.stop().await;
    ended(&store.sync().await, "waiting", Code::UNREACHABLE);
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (4, 'C-1', '9.99')").await;
    headquarters.restart().await;
    assert_eq!(counts(&delivered(&store.sync().await)), (10, 0, 0, 0));
    assert_eq!(counts(&delivered(&store.sync().await)), (1, 0, 10, 0));
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_that_is_away_keeps_the_others_from_nothing() {
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let mut first = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    let second = Server::start("SECOND-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &first).await;
    introduce(&store, &second).await;
    first.stop().await;
    let both = Command::Sync(branchline::api::v1::SyncCommand::default());
    let Ok(Answer::Sync(answer)) = store.ask(both).await else { panic!() };
    ended(&answer.peers[0], "waiting", Code::UNREACHABLE);
    delivered(&answer.peers[1]);
    assert_eq!(second.shop.hashes().await, store.shop.hashes().await);
    // The data file is there for the one that waits.
    assert_eq!(store.home.spool_files("data-"), 1);
    first.restart().await;
    let Ok(Answer::Sync(answer)) = store
        .ask(Command::Sync(branchline::api::v1::SyncCommand {
            peers: vec!["CENTRAL-HQ".to_owned()],
            ..Default::default()
        }))
        .await
    else {
        panic!()
    };
    delivered(&answer.peers[0]);
    assert_eq!(store.home.spool_files("data-"), 0);
}

/// All of it is at headquarters when that stops, before any of it is applied: nothing is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_office_that_stops_with_all_of_it_applies_it_at_its_next_start() {
    let shop = Shop::empty(Engine::Sqlite).await;
    let path = shop.url.strip_prefix("sqlite:").unwrap().to_owned();
    let away = format!("{path}.away");
    let mut headquarters = Server::start("CENTRAL-HQ", shop).await;
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    std::fs::rename(&path, &away).unwrap();
    ended(&store.sync().await, "waiting", Code::DATABASE_UNREACHABLE);
    headquarters.stop().await;
    std::fs::rename(&away, &path).unwrap();
    headquarters.restart().await;
    let outcome = store.sync().await;
    assert_eq!((counts(&delivered(&outcome)), outcome.sent_bytes), ((10, 0, 0, 0), 0));
    assert_eq!(headquarters.home.spool_files("in-"), 0);
}
