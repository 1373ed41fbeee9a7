//! Claims about uploads, receipts and chains.

use branchline_core::digest::Digest;
use branchline_core::id::Sequence;
use branchline_core::ports::{
    InboxEntry, InboxState, ReceiptRecord, StateConflict, StateRead, StateReply, StateWrite,
};

use super::{
    SharedStore, at, backup_id, commit, expect_conflict, inbox_entry, peer, read, reason, server_id,
};

/// The same backup from two peers is two uploads.
pub async fn an_upload_reads_back_and_is_replaced(store: SharedStore) {
    let put = |entry: &InboxEntry| StateWrite::PutInbox(entry.clone());
    expect_conflict(&store, vec![put(&inbox_entry("A", 1))], StateConflict::PeerUnknown).await;
    let refused = InboxEntry { state: InboxState::Refused, error: Some(reason()), ..inbox_entry("A", 1) };
    let other = inbox_entry("B", 1);
    let peers = vec![StateWrite::AddPeer(peer("A")), StateWrite::AddPeer(peer("B"))];
    commit(&store, peers).await;
    commit(&store, vec![put(&inbox_entry("A", 1)), put(&other), put(&refused)]).await;
    let all = read(&store, StateRead::Inbox).await;
    assert_eq!(all, StateReply::Inbox(vec![refused.clone(), other.clone()]));
    let question = StateRead::InboxEntry { peer: server_id("A"), backup: backup_id(1) };
    assert_eq!(read(&store, question.clone()).await, StateReply::InboxEntry(Some(refused)));
    let remove = StateWrite::RemoveInbox { peer: server_id("A"), backup: backup_id(1) };
    commit(&store, vec![remove.clone(), remove]).await;
    assert_eq!(read(&store, question).await, StateReply::InboxEntry(None));
    assert_eq!(read(&store, StateRead::Inbox).await, StateReply::Inbox(vec![other]));
}

/// As many as were asked for.
pub async fn the_newest_receipts_come_first(store: SharedStore) {
    let receipt = |n: u8, seconds| ReceiptRecord {
        backup: backup_id(n),
        source: server_id("STORE-001"),
        server: server_id("HQ"),
        processed_at: at(seconds),
        success: n != 2,
        document: vec![n, 0, 255],
    };
    let writes = [receipt(1, 10), receipt(2, 30), receipt(3, 20)].map(StateWrite::PutReceipt);
    commit(&store, writes.to_vec()).await;
    let newest = read(&store, StateRead::Receipts { newest: 2 }).await;
    assert_eq!(newest, StateReply::Receipts(vec![receipt(2, 30), receipt(3, 20)]));
    commit(&store, vec![StateWrite::PutReceipt(receipt(1, 40))]).await;
    let one = read(&store, StateRead::Receipt(backup_id(1))).await;
    assert_eq!(one, StateReply::Receipt(Some(receipt(1, 40))));
    assert_eq!(read(&store, StateRead::Receipt(backup_id(9))).await, StateReply::Receipt(None));
}

/// A peer that is paired again goes on in its chain.
pub async fn a_chain_outlives_its_peer(store: SharedStore) {
    let question = StateRead::Chain(server_id("A"));
    assert_eq!(read(&store, question.clone()).await, StateReply::Chain(None));
    let put = |n: u64, digest| StateWrite::PutChain {
        peer: server_id("A"),
        sequence: Sequence::new(n),
        metadata: digest,
    };
    commit(&store, vec![StateWrite::AddPeer(peer("A")), put(1, Digest::of(b"1"))]).await;
    commit(&store, vec![put(2, Digest::of(b"2")), StateWrite::RemovePeer(server_id("A"))]).await;
    let expected = Some((Sequence::new(2), Digest::of(b"2")));
    assert_eq!(read(&store, question).await, StateReply::Chain(expected));
}
