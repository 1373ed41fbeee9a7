//! Invitations: used once, by one, in time, and typed right.

use branchline::api::v1::{Answer, Command};
use branchline_core::code::{Code, Explain};
use branchline_core::pairing::Invitation;
use branchline_net::identity::Identity;
use branchline_net::tasks::Tasks;
use branchline_net::v1::client::{Joiner, LinkContext, PairError};
use branchline_testkit::database::Engine;
use futures_util::future::join_all;
use tokio_util::task::TaskTracker;

use crate::world::{Server, Shop, pair, refused};

async fn server(id: &str) -> Server {
    Server::start(id, Shop::empty(Engine::Sqlite).await).await
}

async fn invite_for(server: &Server, id: Option<&str>, valid_seconds: u64) -> String {
    let (address, id) = (Some(server.address()), id.map(str::to_owned));
    let invite =
        Command::Invite { server: id, name: None, address, valid_seconds: Some(valid_seconds), relay: false };
    match server.ask(invite).await {
        Ok(Answer::Invite(invited)) => invited.invitation,
        other => panic!("{other:?}"),
    }
}

async fn peers_of(server: &Server) -> Vec<(String, String)> {
    match server.ask(Command::PeersList).await {
        Ok(Answer::Peers(answer)) => answer.peers.into_iter().map(|peer| (peer.id, peer.key_id)).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_makes_two_servers_know_each_other() {
    let (headquarters, store) = (server("CENTRAL-HQ").await, server("STORE-001").await);
    let joined = pair(&headquarters, &store).await;
    assert_eq!(
        (joined.peer.as_str(), joined.key_id.as_str()),
        ("CENTRAL-HQ", headquarters.home.key_id().as_str())
    );
    assert_eq!(joined.words.split(' ').count(), 4);
    assert_eq!(peers_of(&headquarters).await, [("STORE-001".to_owned(), store.home.key_id())]);
    assert_eq!(peers_of(&store).await, [("CENTRAL-HQ".to_owned(), headquarters.home.key_id())]);
    let Ok(Answer::Ping(ping)) = store.ask(Command::PeersPing { peer: "CENTRAL-HQ".to_owned() }).await else {
        panic!()
    };
    assert_eq!((ping.path, ping.tables), (headquarters.address(), 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_invitation_is_refused_and_says_who_used_it() {
    let (headquarters, thief, store) =
        (server("CENTRAL-HQ").await, server("STORE-009").await, server("STORE-001").await);
    let invited = headquarters.invite().await.invitation;
    thief.join(&invited).await.unwrap();
    let problem = refused(store.join(&invited).await, Code::INVITATION_USED);
    assert!(problem.message.contains("was used already, by STORE-009 from 127.0.0.1"), "{problem}");
    assert!(!problem.retryable);
    assert!(peers_of(&store).await.is_empty());
    assert_eq!(peers_of(&headquarters).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_invitation_is_refused_by_both_sides() {
    let (headquarters, store) = (server("CENTRAL-HQ").await, server("STORE-001").await);
    let expired = invite_for(&headquarters, None, 0).await;
    refused(store.join(&expired).await, Code::INVITATION_EXPIRED);
    // A line that claims a longer life is held against what was noted when it was made.
    let mut stretched: Invitation = expired.parse().unwrap();
    stretched.expires_at += jiff::SignedDuration::from_hours(1);
    let closed = refused(store.join(&stretched.expose_line()).await, Code::INVITATION_UNKNOWN);
    assert!(closed.message.contains("no invitation open"), "{closed}");
    let _open = invite_for(&headquarters, None, 600).await;
    refused(store.join(&stretched.expose_line()).await, Code::INVITATION_EXPIRED);
    assert!(peers_of(&headquarters).await.is_empty() && peers_of(&store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistyped_invitation_is_refused_before_anything_is_dialled() {
    let (headquarters, store) = (server("CENTRAL-HQ").await, server("STORE-001").await);
    let line = headquarters.invite().await.invitation;
    let (before, last) = line.split_at(line.len() - 1);
    let typed = format!("{before}{}", if last == "A" { "B" } else { "A" });
    for wrong in [
        typed.as_str(),
        before,
        "",
        "branchline1:",
        "https://example.org",
        &line.replace("127.0.0.1", "127.0.0.2"),
    ] {
        refused(store.join(wrong).await, Code::INVITATION_MISTYPED);
    }
    assert!(peers_of(&headquarters).await.is_empty());
    store.join(&format!("  {line}\n")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_for_one_server_is_no_good_for_another() {
    let (headquarters, store) = (server("CENTRAL-HQ").await, server("STORE-002").await);
    let line = invite_for(&headquarters, Some("STORE-001"), 600).await;
    let problem = refused(store.join(&line).await, Code::INVITATION_UNKNOWN);
    assert!(problem.message.contains("the invitation is not for STORE-002"), "{problem}");
    assert!(peers_of(&headquarters).await.is_empty() && peers_of(&store).await.is_empty());
    let meant = server("STORE-001").await;
    meant.join(&line).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_secrets_burn_an_invitation() {
    let (headquarters, store) = (server("CENTRAL-HQ").await, server("STORE-001").await);
    let line = headquarters.invite().await.invitation;
    let mut guessed: Invitation = line.parse().unwrap();
    for guess in 0..branchline_core::limits::INVITATION_ATTEMPTS_MAX {
        guessed.secret = [u8::try_from(guess).unwrap(); 16];
        refused(store.join(&guessed.expose_line()).await, Code::INVITATION_UNKNOWN);
    }
    refused(store.join(&line).await, Code::INVITATION_USED);
    assert!(peers_of(&headquarters).await.is_empty() && peers_of(&store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_servers_use_one_invitation_and_one_gets_in() {
    let headquarters = server("CENTRAL-HQ").await;
    let invitation: Invitation = headquarters.invite().await.invitation.parse().unwrap();
    let join = |number: u32| {
        let invitation = invitation.clone();
        async move {
            let identity = Identity::ephemeral().unwrap();
            let context = LinkContext::new(identity, Tasks::new(TaskTracker::new()));
            let joiner = Joiner {
                server: format!("STORE-{number:03}").parse().unwrap(),
                name: String::new(),
                addresses: Vec::new(),
            };
            branchline_net::v1::client::pair(&invitation, &joiner, &context).await
        }
    };
    let answers = join_all((1..=100).map(join)).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 99));
    for error in lost.into_iter().filter_map(Result::err) {
        assert!(matches!(error, PairError::Refused { .. }), "{error}");
        assert_eq!(error.code(), Code::INVITATION_USED, "{error}");
    }
    assert_eq!(peers_of(&headquarters).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_or_key_that_is_taken_is_refused_and_the_invitation_stays_good() {
    let (headquarters, store) = (server("CENTRAL-HQ").await, server("STORE-001").await);
    pair(&headquarters, &store).await;
    let line = headquarters.invite().await.invitation;
    let problem = refused(store.join(&line).await, Code::PEER_EXISTS);
    assert_eq!(problem.message, "CENTRAL-HQ is a peer of this server already");
    let namesake = server("STORE-001").await;
    refused(namesake.join(&line).await, Code::PEER_EXISTS);
    assert!(peers_of(&namesake).await.is_empty());
    assert_eq!(peers_of(&headquarters).await, [("STORE-001".to_owned(), store.home.key_id())]);
    let third = server("STORE-003").await;
    third.join(&line).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_no_peer_of_itself_nor_of_its_namesake() {
    let (headquarters, namesake) = (server("CENTRAL-HQ").await, server("CENTRAL-HQ").await);
    let line = headquarters.invite().await.invitation;
    refused(headquarters.join(&line).await, Code::PEER_EXISTS);
    refused(namesake.join(&line).await, Code::PEER_EXISTS);
    let (key_id, address) = (namesake.home.key_id(), namesake.address());
    let add = |peer: &str, key_id: String| Command::PeersAdd {
        peer: peer.to_owned(),
        key_id,
        name: None,
        addresses: vec![address.clone()],
        mirror: false,
        relay: false,
    };
    refused(headquarters.ask(add("CENTRAL-HQ", key_id)).await, Code::PEER_EXISTS);
    refused(headquarters.ask(add("STORE-001", headquarters.home.key_id())).await, Code::PEER_EXISTS);
    assert!(peers_of(&headquarters).await.is_empty() && peers_of(&namesake).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_at_the_invitations_address_gets_nothing() {
    let (headquarters, store) = (server("CENTRAL-HQ").await, server("STORE-001").await);
    let impostor = server("CENTRAL-HQ").await;
    let _open = impostor.invite().await;
    let mut invitation: Invitation = headquarters.invite().await.invitation.parse().unwrap();
    invitation.address = impostor.address().parse().unwrap();
    let problem = refused(store.join(&invitation.expose_line()).await, Code::WRONG_KEY);
    assert!(problem.message.contains(&impostor.home.key_id()), "{problem}");
    assert!(peers_of(&store).await.is_empty() && peers_of(&impostor).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_id_with_a_typing_error_is_refused() {
    let (headquarters, store) = (server("CENTRAL-HQ").await, server("STORE-001").await);
    let key_id = store.home.key_id();
    let (before, last) = key_id.split_at(key_id.len() - 1);
    let typed = format!("{before}{}", if last == "A" { "B" } else { "A" });
    let add = |key_id: String, address: &str| Command::PeersAdd {
        peer: "STORE-001".to_owned(),
        key_id,
        name: None,
        addresses: vec![address.to_owned()],
        mirror: false,
        relay: false,
    };
    refused(headquarters.ask(add(typed, "127.0.0.1:1")).await, Code::ID_INVALID);
    refused(headquarters.ask(add(key_id, "not an address")).await, Code::USAGE);
    assert!(peers_of(&headquarters).await.is_empty());
}
