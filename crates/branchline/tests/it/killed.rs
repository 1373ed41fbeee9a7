//! `kill -9` of the real binary, on either side and at the worst of times: nothing is lost, nothing comes twice, and no
//! more than one part travels again.

use std::sync::Arc;

use branchline::api::v1::{Answer, Command, Progress, SyncCommand};
use branchline::node::ProgressSink;
use branchline_core::code::Code;
use branchline_core::limits::UPLOAD_PART_BYTES;
use branchline_testkit::database::Engine;
use serde_json::Value;
use tokio::sync::watch;

use crate::world::{Home, Process, Proxy, Server, Shop, counts, delivered, ended};

/// Bytes of one part.
const PART: u64 = UPLOAD_PART_BYTES as u64;
/// What TLS, HTTP and the questions around the parts may cost on the wire.
const AROUND: u64 = 1 << 20;

/// Makes a home know a peer, before any process works on it.
async fn introduce_home(home: &Home, peer: &Home, address: &str) {
    let add = Command::PeersAdd {
        peer: peer.id.to_string(),
        key_id: peer.key_id(),
        name: None,
        addresses: vec![address.to_owned()],
        mirror: false,
        relay: false,
    };
    let node = home.open().await.unwrap();
    node.execute(add, branchline::node::progress::silent()).await.unwrap();
}

/// Makes a server know a home that only calls.
async fn add_caller(server: &Server, home: &Home) {
    let (peer, key_id) = (home.id.to_string(), home.key_id());
    server
        .change(Command::PeersAdd {
            peer,
            key_id,
            name: None,
            addresses: Vec::new(),
            mirror: false,
            relay: false,
        })
        .await;
}

/// The one outcome of a sync that a process printed.
fn outcome_of(printed: &Value) -> &Value {
    assert_eq!(
        (&printed["schema"], &printed["ok"]),
        (&"branchline.sync/1".into(), &true.into()),
        "{printed}"
    );
    &printed["data"]["peers"][0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_is_killed_in_the_middle_of_an_upload_goes_on_with_the_next() {
    let shop = Shop::with_media(26).await;
    let store = Home::make("STORE-001", &shop.url);
    let headquarters = Server::start("CENTRAL-HQ", Shop::with_media(0).await).await;
    let wire = Proxy::to(&headquarters.address()).await;
    introduce_home(&store, &headquarters.home, &wire.address.to_string()).await;
    add_caller(&headquarters, &store).await;
    wire.hold_after(PART * 3 / 2);
    let first = Process::start(&store, &["sync"]);
    wire.held().await;
    first.kill();
    assert_eq!(headquarters.shop.query("SELECT count(*) FROM media").await, ["0"]);
    wire.open();
    let (code, printed) = Process::start(&store, &["sync"]).ended().await;
    let outcome = outcome_of(&printed);
    assert_eq!((code, &outcome["state"], &outcome["resumed"]), (Some(0), &"delivered".into(), &true.into()));
    let (sent, whole) =
        (outcome["sent_bytes"].as_u64().unwrap(), outcome["document_bytes"].as_u64().unwrap());
    assert!(whole > 3 * PART && sent <= whole - PART, "{sent} of {whole} bytes");
    assert!(wire.passed() <= whole + PART + AROUND, "{} bytes for {whole}", wire.passed());
    assert_eq!(headquarters.shop.hashes().await, shop.hashes().await);
    let (code, printed) = Process::start(&store, &["compare", "CENTRAL-HQ"]).ended().await;
    assert_eq!(
        (code, &printed["data"]["equal"], &printed["data"]["rows_here"]),
        (Some(0), &true.into(), &26.into())
    );
}

/// The same at points that lie between all steps of a small exchange.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_is_killed_at_any_point_loses_nothing() {
    const POINTS: u64 = 10;
    let shop = Shop::stocked(Engine::Sqlite).await;
    let store = Home::make("STORE-001", &shop.url);
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    let wire = Proxy::to(&headquarters.address()).await;
    introduce_home(&store, &headquarters.home, &wire.address.to_string()).await;
    add_caller(&headquarters, &store).await;
    assert_eq!(Process::start(&store, &["sync"]).ended().await.0, Some(0));
    let whole = wire.passed();
    for point in 0..POINTS {
        shop.execute(&format!("UPDATE products SET price = '{point}.50' WHERE id = 1")).await;
        wire.hold_after(whole * point / POINTS);
        let first = Process::start(&store, &["sync"]);
        wire.held().await;
        first.kill();
        wire.open();
        let (code, printed) = Process::start(&store, &["sync"]).ended().await;
        let outcome = outcome_of(&printed);
        assert_eq!((code, &outcome["state"]), (Some(0), &"delivered".into()), "{point}: {printed}");
        assert_eq!(headquarters.shop.hashes().await, shop.hashes().await, "{point}");
        assert_eq!((headquarters.home.spool_files("in-"), store.spool_files("")), (0, 0), "{point}");
    }
}

/// A store in this process, a head office of its own process, and a wire between them.
async fn with_a_process(store: Shop, headquarters: &Shop) -> (Arc<Server>, Home, Process, Proxy, String) {
    let home = Home::make("CENTRAL-HQ", &headquarters.url);
    let store = Server::start("STORE-001", store).await;
    introduce_home(&home, &store.home, &store.address()).await;
    let (process, address) = Process::serve(&home, "127.0.0.1:0").await;
    let wire = Proxy::to(&address).await;
    let add = Command::PeersAdd {
        peer: home.id.to_string(),
        key_id: home.key_id(),
        name: None,
        addresses: vec![wire.address.to_string()],
        mirror: false,
        relay: false,
    };
    store.change(add).await;
    (Arc::new(store), home, process, wire, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serve_that_is_killed_in_the_middle_of_an_upload_goes_on_from_its_disk() {
    let shop = Shop::with_media(0).await;
    let (store, home, process, wire, address) = with_a_process(Shop::with_media(26).await, &shop).await;
    wire.hold_after(PART * 3 / 2);
    let syncing = Arc::clone(&store);
    let running = tokio::spawn(async move { syncing.sync().await });
    wire.held().await;
    process.kill();
    wire.cut();
    let waiting = running.await.unwrap();
    ended(&waiting, "waiting", Code::UNREACHABLE);
    let (_serving, _) = Process::serve(&home, &address).await;
    wire.open();
    let outcome = store.sync().await;
    delivered(&outcome);
    assert_eq!((outcome.resumed, &outcome.backup), (true, &waiting.backup));
    assert!(outcome.sent_bytes <= outcome.document_bytes - PART, "{outcome:?}");
    assert!(wire.passed() <= outcome.document_bytes + PART + AROUND, "{} bytes", wire.passed());
    assert_eq!(shop.hashes().await, store.shop.hashes().await);
    let asked = Command::Compare { peer: "CENTRAL-HQ".to_owned(), tables: Vec::new(), repair: false };
    let Ok(Answer::Compare(compared)) = store.ask(asked).await else { panic!() };
    assert!(compared.equal);
}

/// Small backups, so that the points lie between all steps of an exchange: handshake, offer, part, receipt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serve_that_is_killed_at_any_point_of_a_sync_loses_and_doubles_nothing() {
    const POINTS: u64 = 12;
    let shop = Shop::empty(Engine::Sqlite).await;
    let (store, home, mut process, wire, address) =
        with_a_process(Shop::stocked(Engine::Sqlite).await, &shop).await;
    delivered(&store.sync().await);
    let whole = wire.passed();
    for point in 0..=POINTS {
        store.shop.execute(&format!("UPDATE products SET price = '{point}.50' WHERE id = 1")).await;
        wire.hold_after(whole * point / POINTS);
        let syncing = Arc::clone(&store);
        let mut running = tokio::spawn(async move { syncing.sync().await });
        let done = tokio::select! {
            () = wire.held() => None,
            done = &mut running => Some(done),
        };
        process.kill();
        wire.cut();
        let first = match done {
            Some(done) => done.unwrap(),
            None => running.await.unwrap(),
        };
        (process, _) = Process::serve(&home, &address).await;
        wire.open();
        if first.state != "delivered" {
            ended(&first, "waiting", Code::UNREACHABLE);
            let second = store.sync().await;
            delivered(&second);
            assert_eq!((second.resumed, second.backup), (true, first.backup), "{point}");
        }
        assert_eq!(shop.hashes().await, store.shop.hashes().await, "{point}");
        let applied = shop.query("SELECT count(*) FROM branchline_applied").await;
        assert_eq!(applied, [(point + 2).to_string()], "{point}");
        assert_eq!((home.spool_files("in-"), store.home.spool_files("")), (0, 0), "{point}");
    }
}

/// Syncs in a task of its own; the receiver turns true once all of it is at the peer.
fn sync_until_all_is_there(store: &Arc<Server>) -> (tokio::task::JoinHandle<()>, watch::Receiver<bool>) {
    let (told, all_there) = watch::channel(false);
    let sink: ProgressSink = Arc::new(move |progress: Progress| {
        if progress.message.is_some_and(|message| message.starts_with("all is at the peer")) {
            told.send_replace(true);
        }
    });
    let node = Arc::clone(&store.node);
    let running = tokio::spawn(async move {
        // What becomes of it is looked at with the next one.
        let _outcome = node.execute(Command::Sync(SyncCommand::default()), sink).await;
    });
    (running, all_there)
}

/// Somebody else holds the shop's lock, so that headquarters is certainly in the middle of applying when it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serve_that_is_killed_while_it_applies_applies_it_once() {
    let shop = Shop::empty(Engine::Sqlite).await;
    let (store, home, process, wire, address) =
        with_a_process(Shop::stocked(Engine::Sqlite).await, &shop).await;
    let before = shop.hashes().await;
    let till = rusqlite::Connection::open(shop.url.strip_prefix("sqlite:").unwrap()).unwrap();
    till.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (running, mut all_there) = sync_until_all_is_there(&store);
    all_there.wait_for(|there| *there).await.unwrap();
    process.kill();
    wire.cut();
    running.await.unwrap();
    till.execute_batch("ROLLBACK").unwrap();
    assert_eq!(shop.hashes().await, before);
    assert_eq!(home.spool_files("in-"), 1);
    let (_serving, _) = Process::serve(&home, &address).await;
    wire.open();
    let outcome = store.sync().await;
    assert_eq!((counts(&delivered(&outcome)), outcome.sent_bytes), ((10, 0, 0, 0), 0));
    assert_eq!(shop.hashes().await, store.shop.hashes().await);
    assert_eq!(home.spool_files("in-"), 0);
}

/// The receipt is on its way when the line breaks: the next sync gets the same one, and nothing is applied again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_was_lost_is_given_again() {
    let shop = Shop::empty(Engine::Sqlite).await;
    let (store, home, process, wire, address) =
        with_a_process(Shop::stocked(Engine::Sqlite).await, &shop).await;
    let till = rusqlite::Connection::open(shop.url.strip_prefix("sqlite:").unwrap()).unwrap();
    till.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (running, mut all_there) = sync_until_all_is_there(&store);
    all_there.wait_for(|there| *there).await.unwrap();
    wire.cut();
    running.await.unwrap();
    till.execute_batch("ROLLBACK").unwrap();
    drop(till);
    // Headquarters stops in order, which lets the apply come to its end.
    process.interrupt().await;
    assert_eq!(shop.hashes().await, store.shop.hashes().await);
    let receipts = shop.query("SELECT count(*) FROM branchline_applied").await;
    let (_serving, _) = Process::serve(&home, &address).await;
    wire.open();
    let outcome = store.sync().await;
    assert_eq!((counts(&delivered(&outcome)), outcome.sent_bytes), ((10, 0, 0, 0), 0));
    assert_eq!(shop.query("SELECT count(*) FROM branchline_applied").await, receipts);
}
