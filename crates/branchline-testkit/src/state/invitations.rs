//! Claims about invitations.

use branchline_core::digest::Digest;
use branchline_core::ports::{
    InvitationRecord, StateConflict, StateError, StateRead, StateReply, StateWrite,
};

use super::{SharedStore, at, commit, expect_conflict, peer, read, server_id};

const TOKEN: [u8; 4] = [0, 1, 254, 255];

/// Good until 100 seconds after the start.
fn invitation() -> InvitationRecord {
    InvitationRecord {
        token: TOKEN,
        secret_digest: Digest::of(b"secret"),
        for_server: Some(server_id("STORE-001")),
        name: "Linz".to_owned(),
        created_at: at(0),
        expires_at: at(100),
        relay: true,
        wrong_proofs: 0,
        used: None,
    }
}

fn use_up(by: &str, seconds: i64) -> StateWrite {
    StateWrite::UseInvitation {
        token: TOKEN,
        by: server_id(by),
        from: "192.0.2.1:5".to_owned(),
        at: at(seconds),
    }
}

fn wrong_proof() -> StateWrite {
    StateWrite::CountWrongProof { token: TOKEN, attempts_max: 3 }
}

/// A hundred at once; those that lose are told so, and leave no peer behind.
pub async fn exactly_one_of_many_joins_uses_an_invitation(store: SharedStore) {
    commit(&store, vec![StateWrite::AddInvitation(invitation())]).await;
    let mut joins = Vec::new();
    for n in 0..100 {
        let store = store.clone();
        let id = format!("STORE-{n:03}");
        joins.push(tokio::spawn(async move {
            let writes = vec![StateWrite::AddPeer(peer(&id)), use_up(&id, 1)];
            store.commit(writes).await.map(|()| id)
        }));
    }
    let mut winners = Vec::new();
    for join in joins {
        match join.await.expect("a join does not panic") {
            Ok(winner) => winners.push(winner),
            Err(StateError::Conflict(StateConflict::InvitationUsed)) => {}
            Err(other) => panic!("expected to win or to be told, found {other:?}"),
        }
    }
    let [winner] = winners.as_slice() else { panic!("{} joins won", winners.len()) };
    assert_eq!(read(&store, StateRead::Peers).await, StateReply::Peers(vec![peer(winner)]));
    let used = Some((server_id(winner), "192.0.2.1:5".to_owned(), at(1)));
    let expected = InvitationRecord { used, ..invitation() };
    assert_eq!(read(&store, StateRead::Invitation(TOKEN)).await, StateReply::Invitation(Some(expected)));
}

/// Neither the right proof nor a higher bound opens it again.
pub async fn a_burnt_invitation_stays_burnt(store: SharedStore) {
    commit(&store, vec![StateWrite::AddInvitation(invitation())]).await;
    for _ in 0..3 {
        commit(&store, vec![wrong_proof()]).await;
    }
    expect_conflict(&store, vec![wrong_proof()], StateConflict::InvitationUsed).await;
    let more = StateWrite::CountWrongProof { token: TOKEN, attempts_max: 10 };
    expect_conflict(&store, vec![more], StateConflict::InvitationUsed).await;
    expect_conflict(&store, vec![use_up("A", 1)], StateConflict::InvitationUsed).await;
    let burnt = InvitationRecord { wrong_proofs: 3, ..invitation() };
    assert_eq!(read(&store, StateRead::Invitations).await, StateReply::Invitations(vec![burnt]));
}

/// Its last instant is the one before its end; one wrong proof too few does not burn it.
pub async fn an_invitation_is_good_until_its_end(store: SharedStore) {
    commit(&store, vec![StateWrite::AddInvitation(invitation()), wrong_proof(), wrong_proof()]).await;
    expect_conflict(&store, vec![use_up("A", 100)], StateConflict::InvitationExpired).await;
    commit(&store, vec![use_up("A", 99)]).await;
    expect_conflict(&store, vec![use_up("A", 100)], StateConflict::InvitationUsed).await;
}

/// For a join and for a wrong proof.
pub async fn an_unknown_invitation_is_a_conflict(store: SharedStore) {
    expect_conflict(&store, vec![use_up("A", 1)], StateConflict::InvitationUnknown).await;
    expect_conflict(&store, vec![wrong_proof()], StateConflict::InvitationUnknown).await;
    assert_eq!(read(&store, StateRead::Invitation(TOKEN)).await, StateReply::Invitation(None));
}

/// A second invitation of the same token would make one out of two secrets.
pub async fn a_token_is_drawn_once(store: SharedStore) {
    commit(&store, vec![StateWrite::AddInvitation(invitation())]).await;
    let other = InvitationRecord { secret_digest: Digest::of(b"other"), ..invitation() };
    expect_conflict(&store, vec![StateWrite::AddInvitation(other)], StateConflict::InvitationUsed).await;
    assert_eq!(read(&store, StateRead::Invitations).await, StateReply::Invitations(vec![invitation()]));
}
