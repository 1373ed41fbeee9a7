//! The conformance suite for [`StateStore`]: what every implementation of the state must do.
//!
//! Each claim is one function over a fresh store; [`state_store_suite!`](crate::state_store_suite) makes a test of
//! each. Times are given, so that leases and ends pass without waiting.

mod acknowledged;
mod invitations;
mod outbox;
mod registry;
mod schedule;
mod uploads;

pub use acknowledged::*;
pub use invitations::*;
pub use outbox::*;
pub use registry::*;
pub use schedule::*;
pub use uploads::*;

use std::sync::Arc;

use branchline_core::backup::{BackupType, Codec};
use branchline_core::code::Code;
use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, KeyId, Sequence, ServerId};
use branchline_core::peer::{Activity, Grant, Peer};
use branchline_core::ports::{
    InboxEntry, InboxState, OutboxEntry, OutboxState, StateConflict, StateError, StateRead, StateReply,
    StateStore, StateWrite,
};
use jiff::Timestamp;

/// A store that many tasks use.
pub type SharedStore = Arc<dyn StateStore>;

/// Makes a test of each claim. `$fresh` names a function that answers a [`SharedStore`] with nothing in it, and
/// whatever must be kept while it is used (its folder).
#[macro_export]
macro_rules! state_store_suite {
    ($fresh:path) => {
        $crate::state_store_suite!(@each $fresh;
            a_peer_reads_back_by_id_and_by_key
            an_id_and_a_key_are_taken_once
            changing_a_stranger_is_a_conflict
            a_peer_that_is_gone_is_not_seen
            removing_a_peer_takes_its_outbox_and_inbox
            a_conflict_writes_nothing
            exactly_one_of_many_joins_uses_an_invitation
            a_burnt_invitation_stays_burnt
            an_invitation_is_good_until_its_end
            an_unknown_invitation_is_a_conflict
            a_token_is_drawn_once
            an_entry_reads_back_whole
            an_entry_for_a_stranger_is_a_conflict
            one_entry_goes_to_one_of_many_claims
            a_claim_is_free_again_after_its_lease
            a_deferred_entry_waits_unless_asked_early
            a_peer_gets_its_backups_in_order
            the_oldest_backup_of_all_peers_goes_first
            a_claim_for_a_peer_takes_no_others
            a_settled_entry_is_not_claimed
            settling_what_is_not_there_is_a_conflict
            an_upload_reads_back_and_is_replaced
            the_newest_receipts_come_first
            a_chain_outlives_its_peer
            what_is_remembered_of_an_entry_of_the_schedule_reads_back
            how_far_a_peer_is_reads_back_whole_and_goes_with_it
            what_is_remembered_of_the_database_is_replaced
        );
    };
    (@each $fresh:path; $($claim:ident)+) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                let (store, _kept) = $fresh();
                $crate::state::$claim(store).await;
            }
        )+
    };
}

/// A time, some seconds after all the tests begin.
#[must_use]
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_764_000_000 + seconds).expect("invariant: tests name times near the start")
}

/// The name of the `n`th backup.
#[must_use]
pub fn backup_id(n: u8) -> BackupId {
    BackupId::from_parts(at(i64::from(n)), [n; 10])
}

/// A server's id.
#[must_use]
pub fn server_id(text: &str) -> ServerId {
    text.parse().expect("invariant: tests name valid ids")
}

/// A peer, with a key made from its id.
#[must_use]
pub fn peer(id: &str) -> Peer {
    Peer {
        id: server_id(id),
        name: format!("Shop {id}"),
        key: KeyId::of_spki(id.as_bytes()),
        addresses: Vec::new(),
        relay: false,
        grant: Grant::default(),
        activity: Activity::Active,
        added_at: at(0),
        last_seen: None,
    }
}

/// A backup for a peer that waits to be sent: the `n`th made, and the `n`th in its chain.
#[must_use]
pub fn outbox_entry(peer: &str, n: u8) -> OutboxEntry {
    OutboxEntry {
        backup: backup_id(n),
        peer: server_id(peer),
        backup_type: BackupType::Full,
        sequence: Sequence::new(n.into()),
        codec: Codec::Zstd,
        head: vec![n; 3],
        data_file: backup_id(n),
        data_frame_bytes: 4,
        tail: vec![n; 2],
        signature: "c2lnbmF0dXJl".to_owned(),
        metadata: Digest::of(&[n]),
        checksum: Digest::of(b"D"),
        record_count: 7,
        packed: None,
        created_at: at(n.into()),
        state: OutboxState::Waiting,
        attempts: 0,
        not_before: None,
        last_error: None,
    }
}

/// An upload from a peer of which parts are coming in, which ends 100 seconds after the start.
#[must_use]
pub fn inbox_entry(peer: &str, n: u8) -> InboxEntry {
    InboxEntry {
        peer: server_id(peer),
        backup: backup_id(n),
        document_bytes: 9,
        signature: "c2lnbmF0dXJl".to_owned(),
        state: InboxState::Receiving,
        created_at: at(0),
        expires_at: at(100),
        error: None,
    }
}

/// A reason, as it is stored.
#[must_use]
pub fn reason() -> (Code, String) {
    (Code::UNREACHABLE, "nobody answers at hq.example:8443".to_owned())
}

/// Commits, and expects that to succeed.
pub async fn commit(store: &SharedStore, writes: Vec<StateWrite>) {
    store.commit(writes).await.expect("the writes are without conflict");
}

/// Reads, and expects that to succeed.
pub async fn read(store: &SharedStore, question: StateRead) -> StateReply {
    store.read(question).await.expect("the state can be read")
}

/// Commits, and expects that conflict.
pub async fn expect_conflict(store: &SharedStore, writes: Vec<StateWrite>, expected: StateConflict) {
    match store.commit(writes).await {
        Err(StateError::Conflict(found)) => assert_eq!(found, expected),
        other => panic!("expected a conflict ({expected}), found {other:?}"),
    }
}
