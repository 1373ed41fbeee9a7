//! Claims about peers, and about commits as a whole.

use branchline_core::id::KeyId;
use branchline_core::peer::{Activity, Grant, Peer};
use branchline_core::ports::{StateConflict, StateRead, StateReply, StateWrite};
use branchline_core::schema::TableName;

use super::{
    SharedStore, at, backup_id, commit, expect_conflict, inbox_entry, outbox_entry, peer, read, server_id,
};

/// Every field, with the values that are hardest to keep.
pub async fn a_peer_reads_back_by_id_and_by_key(store: SharedStore) {
    let table = |name: &str| TableName::new(name).expect("invariant: the name is valid");
    let address = |text: &str| text.parse().expect("invariant: the address is valid");
    let full = Peer {
        name: "Größe; \"quoted\"\nin two lines".to_owned(),
        addresses: vec![address("[2001:db8::1]:8443"), address("hq.example:443")],
        grant: Grant {
            write: false,
            tables: vec![table("orders"), table("a b, c")],
            mirror: true,
            data_bytes_max: u64::MAX,
        },
        relay: true,
        activity: Activity::Paused,
        last_seen: Some(at(5)),
        ..peer("STORE-001")
    };
    let bare = Peer { name: String::new(), ..peer("HQ") };
    commit(&store, vec![StateWrite::AddPeer(full.clone()), StateWrite::AddPeer(bare.clone())]).await;
    assert_eq!(read(&store, StateRead::Peers).await, StateReply::Peers(vec![bare.clone(), full.clone()]));
    assert_eq!(read(&store, StateRead::Peer(bare.id.clone())).await, StateReply::Peer(Some(bare)));
    assert_eq!(read(&store, StateRead::PeerByKey(full.key)).await, StateReply::Peer(Some(full)));
    assert_eq!(read(&store, StateRead::Peer(server_id("NOBODY"))).await, StateReply::Peer(None));
}

/// Also when a peer is given another's key later.
pub async fn an_id_and_a_key_are_taken_once(store: SharedStore) {
    commit(&store, vec![StateWrite::AddPeer(peer("A")), StateWrite::AddPeer(peer("B"))]).await;
    let same_id = Peer { key: KeyId::of_spki(b"another"), ..peer("A") };
    let same_key = Peer { key: peer("A").key, ..peer("C") };
    let other_takes_key = Peer { key: peer("A").key, ..peer("B") };
    expect_conflict(&store, vec![StateWrite::AddPeer(same_id)], StateConflict::PeerExists).await;
    expect_conflict(&store, vec![StateWrite::AddPeer(same_key)], StateConflict::PeerExists).await;
    expect_conflict(&store, vec![StateWrite::ChangePeer(other_takes_key)], StateConflict::PeerExists).await;
    commit(&store, vec![StateWrite::ChangePeer(Peer { name: "new".to_owned(), ..peer("A") })]).await;
}

/// Changing, pausing and removing alike.
pub async fn changing_a_stranger_is_a_conflict(store: SharedStore) {
    let id = server_id("STRANGER");
    for write in [
        StateWrite::ChangePeer(peer("STRANGER")),
        StateWrite::SetActivity { peer: id.clone(), activity: Activity::Paused },
        StateWrite::RemovePeer(id),
    ] {
        expect_conflict(&store, vec![write], StateConflict::PeerUnknown).await;
    }
}

/// It was removed while it called.
pub async fn a_peer_that_is_gone_is_not_seen(store: SharedStore) {
    commit(&store, vec![StateWrite::AddPeer(peer("A"))]).await;
    commit(&store, vec![StateWrite::Seen { peer: server_id("A"), at: at(9) }]).await;
    commit(&store, vec![StateWrite::Seen { peer: server_id("GONE"), at: at(9) }]).await;
    let seen = Peer { last_seen: Some(at(9)), ..peer("A") };
    assert_eq!(read(&store, StateRead::Peers).await, StateReply::Peers(vec![seen]));
}

/// And nobody else's.
pub async fn removing_a_peer_takes_its_outbox_and_inbox(store: SharedStore) {
    for id in ["A", "B"] {
        let n = id.as_bytes()[0];
        let upload = StateWrite::PutInbox(inbox_entry(id, n));
        let entry = StateWrite::PutOutbox(outbox_entry(id, n));
        commit(&store, vec![StateWrite::AddPeer(peer(id)), entry, upload]).await;
    }
    commit(&store, vec![StateWrite::RemovePeer(server_id("A"))]).await;
    assert_eq!(read(&store, StateRead::Outbox).await, StateReply::Outbox(vec![outbox_entry("B", b'B')]));
    assert_eq!(read(&store, StateRead::Inbox).await, StateReply::Inbox(vec![inbox_entry("B", b'B')]));
}

/// The writes before the one that fails are undone with it.
pub async fn a_conflict_writes_nothing(store: SharedStore) {
    let writes = vec![
        StateWrite::AddPeer(peer("A")),
        StateWrite::PutOutbox(outbox_entry("A", 1)),
        StateWrite::RemovePeer(server_id("STRANGER")),
        StateWrite::PutOutbox(outbox_entry("A", 2)),
    ];
    expect_conflict(&store, writes, StateConflict::PeerUnknown).await;
    assert_eq!(read(&store, StateRead::Peers).await, StateReply::Peers(Vec::new()));
    let entry = read(&store, StateRead::OutboxEntry(backup_id(1))).await;
    assert_eq!(entry, StateReply::OutboxEntry(None));
}
