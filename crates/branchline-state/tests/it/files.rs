//! Who may read the files, and what a folder does that a spool alone need not.

use branchline_core::ports::{SpoolError, StateRead, StateReply};
use branchline_testkit::spool::{append, data_file, inbound_file};
use branchline_testkit::state::read;

use super::{fresh_spool, fresh_store};

#[cfg(unix)]
fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_state() {
    let (store, home) = fresh_store();
    assert_eq!(read(&store, StateRead::Peers).await, StateReply::Peers(Vec::new()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert!(names.contains(&"state.db-wal".to_owned()), "{names:?}");
}

#[cfg(unix)]
#[test]
fn a_state_that_others_could_read_is_shut_to_them() {
    use std::os::unix::fs::PermissionsExt;
    let (store, home) = fresh_store();
    drop(store);
    let file = home.path().join("state.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(branchline_state::SqliteState::open(home.path()).unwrap());
    assert_eq!(mode(&file), 0o600);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_spool() {
    let (spool, home) = fresh_spool();
    append(&*spool, &data_file(1), b"x").await;
    append(&*spool, &inbound_file("STORE-001", 2), b"x").await;
    let folder = home.path().join("spool");
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|path| mode(path) == 0o600));
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_is_not_followed() {
    let (spool, home) = fresh_spool();
    let elsewhere = home.path().join("elsewhere");
    std::fs::write(&elsewhere, "secret").unwrap();
    append(&*spool, &data_file(1), b"x").await;
    let path = std::fs::read_dir(home.path().join("spool")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert!(matches!(spool.open_append(&data_file(1)).await, Err(SpoolError::Io(_))));
    assert!(matches!(spool.read_at(&data_file(1), 0, 9).await, Err(SpoolError::Io(_))));
    assert!(matches!(spool.len(&data_file(1)).await, Err(SpoolError::Io(_))));
    assert_eq!(spool.list().await.unwrap(), []);
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "secret");
}

#[tokio::test]
async fn a_strange_file_name_is_left_alone() {
    let (spool, home) = fresh_spool();
    let folder = home.path().join("spool");
    append(&*spool, &data_file(1), b"x").await;
    for name in ["notes.txt", "data-1", "in-x"] {
        std::fs::write(folder.join(name), "mine").unwrap();
    }
    std::fs::create_dir(folder.join("data-019a2f4e-0000-7000-8000-000000000000")).unwrap();
    assert_eq!(spool.list().await.unwrap(), [data_file(1)]);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 5);
}

#[tokio::test]
async fn an_older_writer_writes_no_more() {
    let (spool, _home) = fresh_spool();
    let file = inbound_file("STORE-001", 1);
    let mut older = spool.open_append(&file).await.unwrap();
    older.write(b"one").await.unwrap();
    let mut newer = spool.open_append(&file).await.unwrap();
    assert!(matches!(older.write(b"lost").await, Err(SpoolError::Io(_))));
    newer.write(b" two").await.unwrap();
    newer.sync().await.unwrap();
    assert_eq!(spool.read_at(&file, 0, 100).await.unwrap(), b"one two");
}

#[tokio::test]
async fn a_writer_of_a_removed_file_writes_no_more() {
    let (spool, _home) = fresh_spool();
    let mut writer = spool.open_append(&data_file(1)).await.unwrap();
    spool.remove(&data_file(1)).await.unwrap();
    assert!(matches!(writer.write(b"lost").await, Err(SpoolError::Io(_))));
    assert_eq!(spool.len(&data_file(1)).await.unwrap(), None);
}

#[test]
fn a_write_given_up_half_way_spends_its_writer_and_loses_nothing() {
    // One blocking thread, which is busy until told: so the write is given up before it runs.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let (spool, _home) = fresh_spool();
    let file = inbound_file("STORE-001", 1);
    runtime.block_on(async {
        let mut writer = spool.open_append(&file).await.unwrap();
        let (free, freed) = std::sync::mpsc::channel();
        let busy = tokio::task::spawn_blocking(move || freed.recv());
        let mut write = writer.write(b"one");
        std::future::poll_fn(|context| {
            assert!(write.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(write);
        assert!(matches!(writer.write(b"lost").await, Err(SpoolError::Io(_))));
        free.send(()).unwrap();
        busy.await.unwrap().unwrap();
        // What was on its way is done before the file is measured.
        let mut next = spool.open_append(&file).await.unwrap();
        assert_eq!(next.len(), 3);
        next.write(b" two").await.unwrap();
        assert_eq!(spool.read_at(&file, 0, 100).await.unwrap(), b"one two");
    });
}
