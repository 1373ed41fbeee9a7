//! Rows and files that a crash left without each other.

use branchline_core::code::Code;
use branchline_core::ports::{
    InboxEntry, InboxState, OutboxEntry, OutboxState, StateRead, StateReply, StateWrite,
};
use branchline_state::{Reconciled, reconcile};
use branchline_testkit::spool::{SharedSpool, append, data_file, inbound_file};
use branchline_testkit::state::{SharedStore, at, commit, inbox_entry, outbox_entry, peer, read};

use super::{fresh_spool, fresh_store};

async fn upload(store: &SharedStore, spool: &SharedSpool, entry: InboxEntry, with_file: bool) {
    if with_file {
        let n = entry.backup;
        let file = branchline_core::ports::SpoolFile::Inbound { peer: entry.peer.clone(), backup: n };
        append(&**spool, &file, b"part").await;
    }
    commit(store, vec![StateWrite::PutInbox(entry)]).await;
}

async fn reconciled(store: &SharedStore, spool: &SharedSpool, seconds: i64) -> Reconciled {
    reconcile(&**store, &**spool, at(seconds)).await.unwrap()
}

#[tokio::test]
async fn leftover_files_are_swept() {
    let ((store, _home), (spool, _folder)) = (fresh_store(), fresh_spool());
    commit(&store, vec![StateWrite::AddPeer(peer("A"))]).await;
    commit(&store, vec![StateWrite::PutOutbox(outbox_entry("A", 1))]).await;
    upload(&store, &spool, inbox_entry("A", 5), true).await;
    for file in [data_file(1), data_file(2), inbound_file("A", 1), inbound_file("B", 5)] {
        append(&*spool, &file, b"data").await;
    }
    let counts = reconciled(&store, &spool, 0).await;
    assert_eq!(counts, Reconciled { files_removed: 3, ..Reconciled::default() });
    assert_eq!(spool.list().await.unwrap(), [data_file(1), inbound_file("A", 5)]);
    assert_eq!(reconciled(&store, &spool, 0).await, Reconciled::default());
}

#[tokio::test]
async fn an_upload_without_its_file_begins_again() {
    let ((store, _home), (spool, _folder)) = (fresh_store(), fresh_spool());
    commit(&store, vec![StateWrite::AddPeer(peer("A"))]).await;
    let applied = InboxEntry { state: InboxState::Applied, ..inbox_entry("A", 3) };
    upload(&store, &spool, inbox_entry("A", 1), false).await;
    upload(&store, &spool, InboxEntry { state: InboxState::Received, ..inbox_entry("A", 2) }, false).await;
    upload(&store, &spool, applied.clone(), false).await;
    let counts = reconciled(&store, &spool, 0).await;
    assert_eq!(counts, Reconciled { uploads_without_file: 2, ..Reconciled::default() });
    assert_eq!(read(&store, StateRead::Inbox).await, StateReply::Inbox(vec![applied]));
}

#[tokio::test]
async fn an_upload_whose_time_is_over_goes_unless_all_of_it_is_here() {
    let ((store, _home), (spool, _folder)) = (fresh_store(), fresh_spool());
    commit(&store, vec![StateWrite::AddPeer(peer("A"))]).await;
    let received = InboxEntry { state: InboxState::Received, ..inbox_entry("A", 2) };
    upload(&store, &spool, inbox_entry("A", 1), true).await;
    upload(&store, &spool, received.clone(), true).await;
    upload(&store, &spool, InboxEntry { state: InboxState::Applied, ..inbox_entry("A", 3) }, true).await;
    assert_eq!(reconciled(&store, &spool, 99).await, Reconciled::default());
    let counts = reconciled(&store, &spool, 100).await;
    assert_eq!(counts, Reconciled { uploads_expired: 2, files_removed: 2, ..Reconciled::default() });
    assert_eq!(read(&store, StateRead::Inbox).await, StateReply::Inbox(vec![received]));
    assert_eq!(spool.list().await.unwrap(), [inbound_file("A", 2)]);
}

#[tokio::test]
async fn a_waiting_backup_without_its_data_says_so() {
    let ((store, _home), (spool, _folder)) = (fresh_store(), fresh_spool());
    commit(&store, vec![StateWrite::AddPeer(peer("A"))]).await;
    let delivered = OutboxEntry { state: OutboxState::Delivered, ..outbox_entry("A", 1) };
    let whole = OutboxEntry { data_file: outbox_entry("A", 9).data_file, ..outbox_entry("A", 2) };
    let entries = [delivered.clone(), whole.clone(), outbox_entry("A", 3), outbox_entry("A", 4)];
    commit(&store, entries.map(StateWrite::PutOutbox).to_vec()).await;
    append(&*spool, &data_file(9), b"data").await;
    append(&*spool, &data_file(4), b"dat").await;
    let counts = reconciled(&store, &spool, 0).await;
    assert_eq!(counts, Reconciled { backups_without_data: 2, ..Reconciled::default() });
    let StateReply::Outbox(found) = read(&store, StateRead::Outbox).await else { panic!("another answer") };
    assert_eq!(found[..2], [delivered, whole]);
    for (entry, what) in found[2..].iter().zip(["is missing", "has 3 of 4 bytes"]) {
        assert_eq!(entry.state, OutboxState::Refused);
        let Some((Code::STATE_BROKEN, message)) = &entry.last_error else { panic!("{:?}", entry.last_error) };
        assert!(message.contains(what) && message.contains("branchline sync A"), "{message}");
    }
}
