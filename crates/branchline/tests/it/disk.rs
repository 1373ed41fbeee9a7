//! A disk that fills: it is said with the code that tells the sender to wait, and once there is room the same backup goes
//! on.

use std::sync::Arc;

use branchline::api::v1::{Command, SyncCommand};
use branchline_core::code::Code;
use branchline_core::limits::DISK_FREE_BYTES_MIN;
use branchline_core::ports::Spool;
use branchline_testkit::database::Engine;
use branchline_testkit::spool::FaultySpool;

use crate::world::{Home, Server, Shop, delivered, ended, introduce, refused};

type Disk = fn(Arc<dyn Spool>) -> Arc<dyn Spool>;

async fn store_and_headquarters_on(disk: Disk) -> (Server, Server) {
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let shop = Shop::empty(Engine::Sqlite).await;
    let home = Home::make("CENTRAL-HQ", &shop.url);
    let headquarters = Server::start_with(home, shop, &[], disk).await;
    introduce(&store, &headquarters).await;
    (store, headquarters)
}

async fn the_backup_waits_and_goes_on(disk: Disk) {
    let (store, headquarters) = store_and_headquarters_on(disk).await;
    let before = headquarters.shop.hashes().await;
    let waiting = store.sync().await;
    let problem = ended(&waiting, "waiting", Code::DISK_FULL);
    assert!(problem.retryable, "{problem}");
    assert_eq!(problem.message, "CENTRAL-HQ says: the disk is full (BL-E0319)");
    assert_eq!(
        problem.data.as_deref(),
        Some("Your data is safe: 1 backup(s) wait for CENTRAL-HQ in the outbox.")
    );
    assert_eq!(headquarters.shop.hashes().await, before);
    // The disk has room from here on.
    let outcome = store.sync().await;
    delivered(&outcome);
    assert_eq!((outcome.resumed, outcome.backup), (true, waiting.backup));
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_while_a_part_is_written_is_waited_for() {
    the_backup_waits_and_goes_on(|inner| Arc::new(FaultySpool::failing_write(inner, 1))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_while_a_part_is_made_lasting_is_waited_for() {
    the_backup_waits_and_goes_on(|inner| Arc::new(FaultySpool::failing_sync(inner, 1))).await;
}

/// What was begun and is not wanted any more is taken back at the peer, where it would keep one of the store's places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_backup_in_the_place_of_one_that_waited_leaves_nothing_behind() {
    let (store, headquarters) =
        store_and_headquarters_on(|inner| Arc::new(FaultySpool::failing_write(inner, 1))).await;
    let waiting = store.sync().await;
    ended(&waiting, "waiting", Code::DISK_FULL);
    let fresh = store.sync_as(SyncCommand { fresh: true, ..SyncCommand::default() }).await;
    delivered(&fresh);
    assert!(!fresh.resumed && fresh.backup != waiting.backup, "{fresh:?}");
    assert_eq!((store.home.spool_files(""), headquarters.home.spool_files("")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_at_the_source_queues_nothing() {
    let shop = Shop::stocked(Engine::Sqlite).await;
    let home = Home::make("STORE-001", &shop.url);
    let full: Disk = |inner| Arc::new(FaultySpool::failing_write(inner, 1));
    let store = Server::start_with(home, shop, &[], full).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    let before = headquarters.shop.hashes().await;
    refused(store.ask(Command::Sync(SyncCommand::default())).await, Code::DISK_FULL);
    assert_eq!(store.home.spool_files(""), 0);
    assert_eq!(headquarters.shop.hashes().await, before);
    delivered(&store.sync().await);
}

/// A mounted tmpfs, unmounted on drop.
#[cfg(target_os = "linux")]
struct SmallDisk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mount = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        let mounted = std::process::Command::new("mount").args(mount).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(folder))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

/// The real thing, where this user may mount one.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_disk_without_room_is_waited_for() {
    let Some(disk) = SmallDisk::mount(DISK_FREE_BYTES_MIN + (8 << 20)) else {
        return eprintln!("left out: no right to mount");
    };
    let shop = Shop::empty(Engine::Sqlite).await;
    let home =
        Home::make_in(&disk.0.path().join("home"), tempfile::tempdir().unwrap(), "CENTRAL-HQ", &shop.url);
    let headquarters = Server::start_with(home, shop, &[], |spool| spool).await;
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    let before = headquarters.shop.hashes().await;
    let filler = disk.0.path().join("something else");
    std::fs::write(&filler, vec![7; 16 << 20]).unwrap();
    let waiting = store.sync().await;
    ended(&waiting, "waiting", Code::DISK_FULL);
    assert_eq!(headquarters.shop.hashes().await, before);
    let Ok(branchline::api::v1::Answer::Status(status)) = headquarters.ask(Command::Status).await else {
        panic!()
    };
    assert!(status.warnings.iter().any(|warning| warning.code == Code::DISK_FULL.to_string()), "{status:?}");
    std::fs::remove_file(&filler).unwrap();
    let outcome = store.sync().await;
    delivered(&outcome);
    assert_eq!(outcome.backup, waiting.backup);
}
