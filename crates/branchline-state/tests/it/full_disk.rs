//! A disk that has no room: said as such, and nothing half-written stays.
//!
//! The real thing is a tmpfs of a few hundred KiB, mounted where root permits that.

use std::sync::Arc;

use branchline_core::ports::{Spool, SpoolError};
use branchline_testkit::spool::{FaultySpool, append, data_file};

use super::fresh_spool;

#[tokio::test]
async fn a_full_disk_is_said() {
    let (inner, _home) = fresh_spool();
    let spool = FaultySpool::failing_write(Arc::clone(&inner), 2);
    let mut writer = spool.open_append(&data_file(1)).await.unwrap();
    writer.write(b"one").await.unwrap();
    assert!(matches!(writer.write(b" two").await, Err(SpoolError::DiskFull)));
    assert_eq!(writer.len(), 3);
    writer.write(b" three").await.unwrap();
    writer.sync().await.unwrap();
    assert_eq!(inner.read_at(&data_file(1), 0, 100).await.unwrap(), b"one three");
}

#[tokio::test]
async fn a_sync_that_finds_no_room_is_said() {
    let (inner, _home) = fresh_spool();
    append(&*inner, &data_file(1), b"x").await;
    let spool = FaultySpool::failing_sync(inner, 1);
    let mut writer = spool.open_append(&data_file(1)).await.unwrap();
    assert!(matches!(writer.sync().await, Err(SpoolError::DiskFull)));
    writer.sync().await.unwrap();
}

/// A mounted tmpfs, unmounted on drop.
#[cfg(target_os = "linux")]
struct SmallDisk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount(kib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={kib}k");
        let mount = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        let mounted = std::process::Command::new("mount").args(mount).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(folder))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).output();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_write_that_finds_a_real_disk_full_is_cut_off_again() {
    let Some(disk) = SmallDisk::mount(256) else { return eprintln!("left out: no right to mount") };
    let spool = branchline_state::FolderSpool::open(disk.0.path()).unwrap();
    let mut writer = spool.open_append(&data_file(1)).await.unwrap();
    let block = vec![7; 100 << 10];
    writer.write(&block).await.unwrap();
    writer.write(&block).await.unwrap();
    assert!(matches!(writer.write(&block).await, Err(SpoolError::DiskFull)));
    assert_eq!(writer.len(), 200 << 10);
    writer.write(b"small").await.unwrap();
    writer.sync().await.unwrap();
    assert_eq!(spool.len(&data_file(1)).await.unwrap(), Some((200 << 10) + 5));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_commit_that_finds_a_real_disk_full_is_said_and_writes_nothing() {
    use branchline_core::ports::{OutboxEntry, StateError, StateRead, StateReply, StateWrite};
    use branchline_testkit::state::{SharedStore, commit, outbox_entry, peer, read};

    let Some(disk) = SmallDisk::mount(512) else { return eprintln!("left out: no right to mount") };
    let store: SharedStore = Arc::new(branchline_state::SqliteState::open(disk.0.path()).unwrap());
    commit(&store, vec![StateWrite::AddPeer(peer("A"))]).await;
    let large = OutboxEntry { head: vec![7; 1 << 20], ..outbox_entry("A", 1) };
    let full = store.commit(vec![StateWrite::PutOutbox(large)]).await;
    assert!(matches!(full, Err(StateError::DiskFull)), "{full:?}");
    assert_eq!(read(&store, StateRead::Outbox).await, StateReply::Outbox(Vec::new()));
    commit(&store, vec![StateWrite::PutOutbox(outbox_entry("A", 2))]).await;
}
