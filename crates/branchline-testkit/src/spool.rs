//! The conformance suite for [`Spool`]: what every implementation of the spool must do.
//!
//! Each claim is one function over an empty spool; [`spool_suite!`](crate::spool_suite) makes a test of each.
//! [`FaultySpool`] wraps a spool whose disk runs full at a chosen call.

mod faulty;

pub use faulty::FaultySpool;

use std::sync::Arc;

use branchline_core::ports::{Spool, SpoolError, SpoolFile};

use crate::state::{backup_id, server_id};

/// A spool that many tasks use.
pub type SharedSpool = Arc<dyn Spool>;

/// Makes a test of each claim. `$fresh` names a function that answers an empty [`SharedSpool`], and whatever must
/// be kept while it is used (its folder).
#[macro_export]
macro_rules! spool_suite {
    ($fresh:path) => {
        $crate::spool_suite!(@each $fresh;
            what_was_written_reads_back_in_pieces
            appending_goes_on_at_the_end
            a_missing_file_has_no_length_and_no_bytes
            an_empty_file_has_a_length
            a_file_is_removed_once
            a_truncated_file_ends_where_it_was_cut
            truncation_makes_no_file_longer
            all_files_are_listed
            there_is_room
        );
    };
    (@each $fresh:path; $($claim:ident)+) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                let (spool, _kept) = $fresh();
                $crate::spool::$claim(spool).await;
            }
        )+
    };
}

/// The data file of the `n`th backup.
#[must_use]
pub fn data_file(n: u8) -> SpoolFile {
    SpoolFile::Data(backup_id(n))
}

/// An upload from a peer.
#[must_use]
pub fn inbound_file(peer: &str, n: u8) -> SpoolFile {
    SpoolFile::Inbound { peer: server_id(peer), backup: backup_id(n) }
}

/// Appends to a file and makes it lasting.
pub async fn append(spool: &dyn Spool, file: &SpoolFile, bytes: &[u8]) {
    let mut writer = spool.open_append(file).await.expect("the file opens");
    writer.write(bytes).await.expect("the write succeeds");
    writer.sync().await.expect("the sync succeeds");
}

async fn len(spool: &SharedSpool, file: &SpoolFile) -> Option<u64> {
    spool.len(file).await.expect("the length can be asked")
}

async fn bytes(spool: &SharedSpool, file: &SpoolFile, offset: u64, bytes_max: usize) -> Vec<u8> {
    spool.read_at(file, offset, bytes_max).await.expect("the file can be read")
}

/// Any piece, also one across the end, and nothing past it.
pub async fn what_was_written_reads_back_in_pieces(spool: SharedSpool) {
    let file = data_file(1);
    append(&*spool, &file, b"one two three").await;
    assert_eq!(len(&spool, &file).await, Some(13));
    assert_eq!(bytes(&spool, &file, 0, 3).await, b"one");
    assert_eq!(bytes(&spool, &file, 4, 3).await, b"two");
    assert_eq!(bytes(&spool, &file, 8, 100).await, b"three");
    assert_eq!(bytes(&spool, &file, 13, 100).await, b"");
    assert_eq!(bytes(&spool, &file, u64::from(u32::MAX), 100).await, b"");
}

/// Within a writer, and for the next.
pub async fn appending_goes_on_at_the_end(spool: SharedSpool) {
    let file = inbound_file("STORE-001", 1);
    let mut writer = spool.open_append(&file).await.expect("the file opens");
    assert!(writer.is_empty());
    writer.write(b"one ").await.expect("the write succeeds");
    writer.write(b"two ").await.expect("the write succeeds");
    assert_eq!(writer.len(), 8);
    writer.sync().await.expect("the sync succeeds");
    drop(writer);
    let writer = spool.open_append(&file).await.expect("the file opens");
    assert_eq!(writer.len(), 8);
    drop(writer);
    append(&*spool, &file, b"three").await;
    assert_eq!(bytes(&spool, &file, 0, 100).await, b"one two three");
}

/// And asking makes none.
pub async fn a_missing_file_has_no_length_and_no_bytes(spool: SharedSpool) {
    let file = data_file(1);
    assert_eq!(len(&spool, &file).await, None);
    assert!(matches!(spool.read_at(&file, 0, 1).await, Err(SpoolError::Missing)));
    assert_eq!(spool.list().await.expect("the spool lists"), []);
}

/// It is not a missing one.
pub async fn an_empty_file_has_a_length(spool: SharedSpool) {
    let file = data_file(1);
    let mut writer = spool.open_append(&file).await.expect("the file opens");
    writer.sync().await.expect("the sync succeeds");
    assert_eq!(len(&spool, &file).await, Some(0));
    assert_eq!(bytes(&spool, &file, 0, 1).await, b"");
}

/// One that is not there is removed already.
pub async fn a_file_is_removed_once(spool: SharedSpool) {
    let file = data_file(1);
    append(&*spool, &file, b"x").await;
    append(&*spool, &data_file(2), b"y").await;
    spool.remove(&file).await.expect("the file goes");
    spool.remove(&file).await.expect("the file is gone");
    assert_eq!(len(&spool, &file).await, None);
    assert_eq!(spool.list().await.expect("the spool lists"), [data_file(2)]);
}

/// And the next write goes on there.
pub async fn a_truncated_file_ends_where_it_was_cut(spool: SharedSpool) {
    let file = inbound_file("HQ", 1);
    let mut writer = spool.open_append(&file).await.expect("the file opens");
    writer.write(b"one two").await.expect("the write succeeds");
    writer.truncate(4).await.expect("the file is cut");
    assert_eq!(writer.len(), 4);
    writer.write(b"2").await.expect("the write succeeds");
    writer.sync().await.expect("the sync succeeds");
    assert_eq!(bytes(&spool, &file, 0, 100).await, b"one 2");
}

/// What it would be filled with is nothing that a peer sent.
pub async fn truncation_makes_no_file_longer(spool: SharedSpool) {
    let file = data_file(1);
    let mut writer = spool.open_append(&file).await.expect("the file opens");
    writer.write(b"one").await.expect("the write succeeds");
    writer.truncate(3).await.expect("the file stays");
    assert!(matches!(writer.truncate(4).await, Err(SpoolError::Io(_))));
    assert_eq!(len(&spool, &file).await, Some(3));
}

/// Of both kinds, whatever the peer's name.
pub async fn all_files_are_listed(spool: SharedSpool) {
    let mut files = vec![data_file(1), inbound_file("A", 1), inbound_file("STORE-001", 2), data_file(3)];
    for file in &files {
        append(&*spool, file, b"x").await;
    }
    let mut listed = spool.list().await.expect("the spool lists");
    files.sort();
    listed.sort();
    assert_eq!(listed, files);
}

/// Tests need some.
pub async fn there_is_room(spool: SharedSpool) {
    assert!(spool.free_bytes().await.expect("the disk can be asked") > 0);
}
