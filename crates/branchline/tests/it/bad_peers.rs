//! Servers that may not do what they try: unpaired, paused, removed, under another's name, beyond their grant.

use branchline::api::v1::{Answer, Command, SyncCommand};
use branchline_core::backup::Codec;
use branchline_core::code::Code;
use branchline_core::ports::{Offer, OfferAnswer, PeerLink, Signer};
use branchline_testkit::database::{Engine, TestBackup};

use crate::world::{Courier, Draft, Home, Proxy, Scene, Server, Shop, delivered, ended, introduce, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unpaired_server_is_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let stranger = Home::make("STORE-001", &scene.store.shop.url);
    let rows = TestBackup::of(&*scene.store.shop.port()).await;
    let document = Draft::of_rows(&stranger, &scene.headquarters.home, &rows).seal(&stranger.identity);
    Courier::new(&stranger.identity, &scene.headquarters).deliver(&document).await.refused(Code::NOT_PAIRED);
    let other = Home::make("STORE-009", &scene.store.shop.url);
    let document = Draft::of_rows(&other, &scene.headquarters.home, &rows).seal(&other.identity);
    let problem = scene.refuses_file(&document.bytes(Codec::Zstd), Code::NOT_PAIRED).await;
    assert_eq!(problem.message, "STORE-009 made this backup and is not a peer of this server");
    scene.assert_untouched().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_known_on_one_side_only_is_told_so() {
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    store.add_peer(&headquarters, headquarters.address()).await;
    let before = headquarters.shop.hashes().await;
    let problem = ended(&store.sync().await, "waiting", Code::NOT_PAIRED);
    assert_eq!(problem.message, "CENTRAL-HQ does not know this server's key");
    assert_eq!(headquarters.shop.hashes().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_is_refused_until_it_is_resumed() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let pause = Command::PeersPause { peer: "STORE-001".to_owned() };
    scene.headquarters.change(pause).await;
    let document = scene.seal(&scene.draft().await);
    scene.refuses(&document, Code::PEER_PAUSED).await;
    scene.refuses_file(&document.bytes(Codec::Zstd), Code::PEER_PAUSED).await;
    let outcome = scene.store.sync().await;
    let problem = ended(&outcome, "waiting", Code::PEER_PAUSED);
    assert_eq!(
        problem.data.as_deref(),
        Some("Your data is safe: 1 backup(s) wait for CENTRAL-HQ in the outbox.")
    );
    scene.headquarters.change(Command::PeersResume { peer: "STORE-001".to_owned() }).await;
    let resumed = scene.store.sync().await;
    delivered(&resumed);
    assert_eq!((resumed.resumed, resumed.backup), (true, outcome.backup));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_a_peer_that_is_paused_here() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    scene.store.change(Command::PeersPause { peer: "CENTRAL-HQ".to_owned() }).await;
    let named = SyncCommand { peers: vec!["CENTRAL-HQ".to_owned()], ..SyncCommand::default() };
    refused(scene.store.ask(Command::Sync(named)).await, Code::PEER_PAUSED);
    refused(scene.store.ask(Command::Sync(SyncCommand::default())).await, Code::PEER_UNKNOWN);
    scene.assert_untouched().await;
}

/// Every request is looked at anew: what a peer has open counts for nothing once it is paused or removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_open_ends_with_the_right_to_send_it() {
    for (command, code) in [
        (Command::PeersPause { peer: "STORE-001".to_owned() }, Code::PEER_PAUSED),
        (Command::PeersRemove { peer: "STORE-001".to_owned() }, Code::NOT_PAIRED),
    ] {
        let scene = Scene::of_shops(Engine::Sqlite).await;
        let document = scene.seal(&scene.draft().await);
        let bytes = document.bytes(Codec::Plain);
        let link = scene.courier.link();
        let (document_bytes, signature) = (bytes.len() as u64, document.signature.clone());
        let offer = Offer { backup: document.backup, document_bytes, signature };
        assert_eq!(link.offer(&offer).await.unwrap(), OfferAnswer::Continue { offset: 0 });
        assert_eq!(link.send(document.backup, 0, bytes[..1000].to_vec()).await.unwrap(), 1000);
        scene.headquarters.change(command.clone()).await;
        for _ in 0..2 {
            let sent = link.send(document.backup, 1000, bytes[1000..].to_vec()).await;
            let error = sent.expect_err("the right is gone");
            assert_eq!(branchline_core::code::Explain::code(&error), code, "{error}");
        }
        scene.assert_untouched().await;
        assert_eq!(
            scene.headquarters.home.spool_files("in-"),
            usize::from(code == Code::PEER_PAUSED),
            "{code}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_server_is_refused_and_can_be_added_again() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    scene.headquarters.change(Command::PeersRemove { peer: "STORE-001".to_owned() }).await;
    let document = scene.seal(&scene.draft().await);
    scene.refuses(&document, Code::NOT_PAIRED).await;
    scene.refuses_file(&document.bytes(Codec::Zstd), Code::NOT_PAIRED).await;
    ended(&scene.store.sync().await, "waiting", Code::NOT_PAIRED);
    scene.assert_untouched().await;
    scene.headquarters.add_peer(&scene.store, scene.store.address()).await;
    assert!(scene.store.sync().await.resumed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_removed_here_leaves_nothing_that_waits() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    scene.headquarters.change(Command::PeersPause { peer: "STORE-001".to_owned() }).await;
    ended(&scene.store.sync().await, "waiting", Code::PEER_PAUSED);
    assert_eq!(scene.store.home.spool_files("data-"), 1);
    scene.store.change(Command::PeersRemove { peer: "CENTRAL-HQ".to_owned() }).await;
    let Ok(Answer::Backups(backups)) = scene.store.ask(Command::BackupsList).await else { panic!() };
    assert!(backups.waiting.is_empty(), "{backups:?}");
    assert_eq!(scene.store.home.spool_files(""), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paired_server_that_sends_anothers_document_is_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let second = Server::start("STORE-002", Shop::empty(Engine::Sqlite).await).await;
    introduce(&second, &scene.headquarters).await;
    let courier = Courier::new(&second.home.identity, &scene.headquarters);
    // What STORE-001 made, as it is.
    let draft = scene.draft().await;
    let stolen = scene.seal(&draft);
    let error = courier.deliver(&stolen).await.refused(Code::WRONG_SOURCE);
    assert!(
        error.to_string().contains("the backup says that STORE-001 made it, and STORE-002 sends it"),
        "{error}"
    );
    // Under its name, with the other's key in it, and with its own.
    let mut forged = draft.clone().renamed();
    courier.deliver(&forged.seal(&second.home.identity)).await.refused(Code::WRONG_SOURCE);
    forged.metadata.source_key = second.home.identity.public_key();
    let forged = forged.renamed().seal(&second.home.identity);
    courier.deliver(&forged).await.refused(Code::WRONG_SOURCE);
    scene.refuses_file(&forged.bytes(Codec::Zstd), Code::SIGNATURE_INVALID).await;
    // Under its own name and key, saying that the other's key is its own.
    let mut mixed = draft.renamed();
    mixed.metadata.source = second.home.id.clone();
    courier.deliver(&mixed.seal(&second.home.identity)).await.refused(Code::SIGNATURE_INVALID);
    scene.assert_untouched().await;
    // None of it keeps the real one out.
    scene.courier.deliver(&stolen).await.applied();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receipt_of_another_servers_backup_is_nobodys_business() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    scene.courier.deliver(&document).await.applied();
    let second = Server::start("STORE-002", Shop::empty(Engine::Sqlite).await).await;
    introduce(&second, &scene.headquarters).await;
    let courier = Courier::new(&second.home.identity, &scene.headquarters);
    let asked = courier.link().receipt(document.backup, std::time::Duration::ZERO).await;
    assert_eq!(branchline_core::code::Explain::code(&asked.expect_err("not its own")), Code::NOT_FOUND);
    // Nor can it take the place of that backup by its name.
    let mut draft = Draft::of(&second, &scene.headquarters.home).await;
    draft.metadata.backup_id = document.backup;
    let applied = scene.headquarters.shop.hashes().await;
    courier.deliver(&draft.seal(&second.home.identity)).await.refused(Code::LEDGER_FORKED);
    assert_eq!(scene.headquarters.home.spool_files("in-"), 0);
    assert_eq!(scene.headquarters.shop.hashes().await, applied);
    let shown = scene.headquarters.ask(Command::BackupsShow { backup: document.backup.to_string() }).await;
    let Ok(Answer::Backup(shown)) = shown else { panic!("{shown:?}") };
    assert_eq!((shown.source.as_str(), shown.success), ("STORE-001", true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_bounds_what_a_server_may_write() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let grant = |write, tables: &[&str]| Command::PeersGrant {
        peer: "STORE-001".to_owned(),
        write: Some(write),
        mirror: None,
        relay: None,
        tables: Some(tables.iter().map(|table| (*table).to_owned()).collect()),
    };
    scene.headquarters.change(grant(true, &["customers", "products"])).await;
    let message = scene.fails(&scene.seal(&scene.draft().await), Code::NOT_GRANTED).await;
    assert!(message.starts_with("STORE-001 may not write table "), "{message}");
    ended(&scene.store.sync().await, "refused", Code::NOT_GRANTED);
    scene.headquarters.change(grant(false, &[])).await;
    let document = scene.seal(&scene.draft().await);
    scene.refuses(&document, Code::NOT_GRANTED).await;
    ended(&scene.store.sync().await, "refused", Code::NOT_GRANTED);
    scene.refuses_file(&document.bytes(Codec::Zstd), Code::NOT_GRANTED).await;
    scene.headquarters.change(grant(true, &[])).await;
    delivered(&scene.store.sync().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_key_at_the_address_gets_nothing() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let impostor = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    impostor.add_peer(&scene.store, scene.store.address()).await;
    let wire = Proxy::to(&impostor.address()).await;
    let store = Server::start("STORE-007", Shop::stocked(Engine::Sqlite).await).await;
    scene.headquarters.add_peer(&store, store.address()).await;
    store.add_peer(&scene.headquarters, wire.address.to_string()).await;
    let problem = ended(&store.sync().await, "waiting", Code::WRONG_KEY);
    assert!(problem.message.contains(&impostor.home.key_id()), "{problem}");
    assert!(impostor.shop.query("SELECT id FROM products").await.is_empty());
    // Handshakes alone.
    assert!(wire.passed() < 32 << 10, "{} bytes", wire.passed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_two_uploads_at_once_are_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let draft = scene.draft().await;
    let document = |_| scene.seal(&draft.clone().renamed());
    let offer = |document: &crate::world::Document| Offer {
        backup: document.backup,
        document_bytes: 1000,
        signature: document.signature.clone(),
    };
    let documents: Vec<_> = (0..3).map(document).collect();
    let link = scene.courier.link();
    for allowed in &documents[..2] {
        link.offer(&offer(allowed)).await.unwrap();
    }
    let error = link.offer(&offer(&documents[2])).await.expect_err("one too many");
    assert_eq!(branchline_core::code::Explain::code(&error), Code::TOO_MANY_UPLOADS);
    link.cancel(documents[0].backup).await.unwrap();
    link.offer(&offer(&documents[2])).await.unwrap();
    scene.assert_untouched().await;
}
