//! Claims about backups on their way out, and about claiming them.

use std::time::Duration;

use branchline_core::backup::{BackupType, Codec};
use branchline_core::code::Code;
use branchline_core::id::BackupId;
use branchline_core::ports::{
    Claim, Lease, OutboxEntry, OutboxState, StateConflict, StateRead, StateReply, StateWrite,
};

use super::{
    SharedStore, at, backup_id, commit, expect_conflict, outbox_entry, packed, peer, read, reason, server_id,
};

/// Seconds that a lease of these tests lasts.
const LEASE: i64 = 60;

fn claim(seconds: i64) -> Claim {
    let lease = Lease { holder: "sender 1".to_owned(), length: Duration::from_secs(LEASE.unsigned_abs()) };
    Claim { peer: None, now: at(seconds), early: false, lease }
}

async fn claimed(store: &SharedStore, claim: Claim) -> Option<BackupId> {
    store.claim(claim).await.expect("the state can be claimed from").map(|entry| entry.backup)
}

async fn queue(store: &SharedStore, entries: &[OutboxEntry]) {
    let writes = entries.iter().cloned().map(StateWrite::PutOutbox).collect();
    commit(store, vec![StateWrite::AddPeer(peer("A")), StateWrite::AddPeer(peer("B"))]).await;
    commit(store, writes).await;
}

fn defer(n: u8, seconds: i64) -> StateWrite {
    let (code, message) = reason();
    StateWrite::DeferOutbox { backup: backup_id(n), not_before: at(seconds), code, message }
}

/// Every field; what is put again replaces it, and frees its claim.
pub async fn an_entry_reads_back_whole(store: SharedStore) {
    let first = OutboxEntry {
        backup_type: BackupType::DailyTransactions,
        codec: Codec::Plain,
        head: Vec::new(),
        data_file: backup_id(9),
        data_frame_bytes: 64 << 30,
        packed: Some(packed()),
        state: OutboxState::Refused,
        attempts: 3,
        not_before: Some(at(7)),
        last_error: Some((Code::DISK_FULL, "ein \"Grund\"".to_owned())),
        ..outbox_entry("A", 1)
    };
    queue(&store, std::slice::from_ref(&first)).await;
    let one = read(&store, StateRead::OutboxEntry(first.backup)).await;
    assert_eq!(one, StateReply::OutboxEntry(Some(first)));
    commit(&store, vec![StateWrite::PutOutbox(outbox_entry("A", 1))]).await;
    assert_eq!(claimed(&store, claim(0)).await, Some(backup_id(1)));
    commit(&store, vec![StateWrite::PutOutbox(outbox_entry("A", 1))]).await;
    assert_eq!(claimed(&store, claim(0)).await, Some(backup_id(1)));
    let of_peer = read(&store, StateRead::OutboxOf(server_id("A"))).await;
    assert_eq!(of_peer, StateReply::Outbox(vec![outbox_entry("A", 1)]));
    commit(&store, vec![StateWrite::RemoveOutbox(backup_id(1)), StateWrite::RemoveOutbox(backup_id(1))])
        .await;
    assert_eq!(read(&store, StateRead::Outbox).await, StateReply::Outbox(Vec::new()));
}

/// The peer was removed while the backup was sealed.
pub async fn an_entry_for_a_stranger_is_a_conflict(store: SharedStore) {
    let write = StateWrite::PutOutbox(outbox_entry("STRANGER", 1));
    expect_conflict(&store, vec![write], StateConflict::PeerUnknown).await;
}

/// Twenty at once.
pub async fn one_entry_goes_to_one_of_many_claims(store: SharedStore) {
    queue(&store, &[outbox_entry("A", 1)]).await;
    let mut claims = Vec::new();
    for _ in 0..20 {
        let store = store.clone();
        claims.push(tokio::spawn(async move { claimed(&store, claim(0)).await }));
    }
    let mut winners = 0;
    for claim in claims {
        winners += usize::from(claim.await.expect("a claim does not panic").is_some());
    }
    assert_eq!(winners, 1);
}

/// Not a second before, also where a person asks.
pub async fn a_claim_is_free_again_after_its_lease(store: SharedStore) {
    queue(&store, &[outbox_entry("A", 1)]).await;
    assert_eq!(claimed(&store, claim(0)).await, Some(backup_id(1)));
    assert_eq!(claimed(&store, claim(LEASE - 1)).await, None);
    assert_eq!(claimed(&store, Claim { early: true, ..claim(LEASE - 1) }).await, None);
    assert_eq!(claimed(&store, claim(LEASE)).await, Some(backup_id(1)));
    assert_eq!(claimed(&store, claim(LEASE + 1)).await, None);
}

/// Deferring counts the attempt, says why, and frees the claim.
pub async fn a_deferred_entry_waits_unless_asked_early(store: SharedStore) {
    queue(&store, &[outbox_entry("A", 1)]).await;
    assert_eq!(claimed(&store, claim(0)).await, Some(backup_id(1)));
    commit(&store, vec![defer(1, 30)]).await;
    assert_eq!(claimed(&store, claim(29)).await, None);
    let expected = OutboxEntry {
        attempts: 1,
        not_before: Some(at(30)),
        last_error: Some(reason()),
        ..outbox_entry("A", 1)
    };
    let early = store.claim(Claim { early: true, ..claim(29) }).await.expect("the state can be claimed from");
    assert_eq!(early, Some(expected));
    commit(&store, vec![defer(1, 40)]).await;
    assert_eq!(claimed(&store, claim(40)).await, Some(backup_id(1)));
}

/// A later one does not overtake one that is being sent, or that waits for its time.
pub async fn a_peer_gets_its_backups_in_order(store: SharedStore) {
    let later_but_made_first = OutboxEntry { created_at: at(-5), ..outbox_entry("A", 2) };
    queue(&store, &[later_but_made_first, outbox_entry("A", 1)]).await;
    assert_eq!(claimed(&store, claim(0)).await, Some(backup_id(1)));
    assert_eq!(claimed(&store, claim(0)).await, None);
    commit(&store, vec![defer(1, 1000)]).await;
    assert_eq!(claimed(&store, claim(10)).await, None);
    let settled = StateWrite::SettleOutbox { backup: backup_id(1), state: OutboxState::Delivered };
    commit(&store, vec![settled]).await;
    assert_eq!(claimed(&store, claim(10)).await, Some(backup_id(2)));
}

/// Whatever its place in its own chain, so that a peer with a long chain is not starved.
pub async fn the_oldest_backup_of_all_peers_goes_first(store: SharedStore) {
    let made_later = OutboxEntry { created_at: at(50), ..outbox_entry("A", 1) };
    queue(&store, &[made_later, outbox_entry("B", 9)]).await;
    assert_eq!(claimed(&store, claim(0)).await, Some(backup_id(9)));
    assert_eq!(claimed(&store, claim(0)).await, Some(backup_id(1)));
    assert_eq!(claimed(&store, claim(0)).await, None);
}

/// Although others wait.
pub async fn a_claim_for_a_peer_takes_no_others(store: SharedStore) {
    queue(&store, &[outbox_entry("A", 1)]).await;
    assert_eq!(claimed(&store, Claim { peer: Some(server_id("B")), ..claim(0) }).await, None);
    assert_eq!(claimed(&store, Claim { peer: Some(server_id("A")), ..claim(0) }).await, Some(backup_id(1)));
}

/// Neither delivered nor refused, and not early either.
pub async fn a_settled_entry_is_not_claimed(store: SharedStore) {
    queue(&store, &[outbox_entry("A", 1), outbox_entry("B", 2)]).await;
    let settle = |n, state| StateWrite::SettleOutbox { backup: backup_id(n), state };
    commit(&store, vec![settle(1, OutboxState::Delivered), settle(2, OutboxState::Refused)]).await;
    assert_eq!(claimed(&store, Claim { early: true, ..claim(0) }).await, None);
    let delivered = OutboxEntry { state: OutboxState::Delivered, ..outbox_entry("A", 1) };
    let entry = read(&store, StateRead::OutboxEntry(backup_id(1))).await;
    assert_eq!(entry, StateReply::OutboxEntry(Some(delivered)));
}

/// Deferring too.
pub async fn settling_what_is_not_there_is_a_conflict(store: SharedStore) {
    let settle = StateWrite::SettleOutbox { backup: backup_id(1), state: OutboxState::Delivered };
    expect_conflict(&store, vec![settle], StateConflict::EntryUnknown).await;
    expect_conflict(&store, vec![defer(1, 5)], StateConflict::EntryUnknown).await;
}
