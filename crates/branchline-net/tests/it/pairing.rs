//! Invitations over the wire.

use branchline_core::code::{Code, Explain};
use branchline_core::pairing::{EXPORTER_LABEL, Invitation, prove, secret_digest};
use branchline_core::ports::{PeerLink, Signer};
use branchline_net::v1::client::{Joiner, PairError, pair};
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::{Http1, certified, eager_config, tls};
use crate::rig::{Keys, Rig};

const ALPN: &[u8] = b"branchline-pair/1";
const SECRET: [u8; 16] = [9; 16];

/// A server with an open invitation, and a newcomer.
async fn inviting() -> (Rig, Keys, Invitation) {
    let rig = Rig::start().await;
    rig.reception.invites(secret_digest(&SECRET));
    rig.pins.set_pairing_open(true);
    let invitation = Invitation {
        address: rig.peer_address(),
        pin: rig.hq.key_id(),
        token: [1, 2, 3, 4],
        secret: SECRET,
        expires_at: Timestamp::MAX,
    };
    (rig, Keys::new(), invitation)
}

fn joiner() -> Joiner {
    let addresses = vec!["store12.example:8443".parse().unwrap()];
    Joiner { server: "STORE-012".parse().unwrap(), name: "Store\u{1b}[2J 12".into(), addresses }
}

#[tokio::test]
async fn two_servers_pair_and_the_newcomer_is_a_peer_from_then_on() {
    let (rig, newcomer, invitation) = inviting().await;
    let answer = pair(&invitation, &joiner(), &rig.context(&newcomer)).await.unwrap();
    assert_eq!((answer.server.as_str(), answer.name.as_str()), ("HQ", "Head office"));
    assert_eq!(answer.words.split(' ').count(), 4);
    {
        let joined = rig.reception.joined.lock().unwrap();
        let request = &joined[0];
        assert_eq!(request.key, newcomer.identity.public_key());
        assert_eq!((request.server.as_str(), request.name.as_str()), ("STORE-012", "Store[2J 12"));
        assert_eq!((request.addresses.clone(), request.token), (joiner().addresses, [1, 2, 3, 4]));
        assert!(request.from.starts_with("127.0.0.1:"));
    }
    rig.pins.replace([rig.store.key_id(), newcomer.key_id()]);
    rig.pins.set_pairing_open(false);
    rig.link_of(&newcomer).hello().await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let (rig, newcomer, mut invitation) = inviting().await;
    invitation.secret = [8; 16];
    let error = pair(&invitation, &joiner(), &rig.context(&newcomer)).await.unwrap_err();
    assert!(
        matches!(error, PairError::Refused { code: Code::INVITATION_UNKNOWN, retryable: false, .. }),
        "{error:?}"
    );
    assert!(rig.reception.joined.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_invitation_of_another_key_is_not_used_here() {
    let (rig, newcomer, mut invitation) = inviting().await;
    invitation.pin = newcomer.key_id();
    let error = pair(&invitation, &joiner(), &rig.context(&newcomer)).await.unwrap_err();
    assert_eq!(error.code(), Code::WRONG_KEY);
    assert!(rig.reception.joined.lock().unwrap().is_empty());
}

#[tokio::test]
async fn pairing_does_not_exist_while_no_invitation_is_open() {
    let (rig, newcomer, invitation) = inviting().await;
    rig.pins.set_pairing_open(false);
    let error = pair(&invitation, &joiner(), &rig.context(&newcomer)).await.unwrap_err();
    assert_eq!((error.code(), &error), (Code::INVITATION_UNKNOWN, &PairError::NotOpen));
    let known = eager_config(certified(&rig.store, &rig.store), ALPN);
    assert!(tls(&rig, known).await.is_err());
}

#[tokio::test]
async fn a_proof_is_worth_nothing_on_another_connection() {
    let (rig, newcomer, invitation) = inviting().await;
    let connect = || async { tls(&rig, eager_config(certified(&newcomer, &newcomer), ALPN)).await.unwrap() };
    let (first, second) = (connect().await, connect().await);
    let body = |stream: &TlsStream<TcpStream>| {
        let exporter = stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None).unwrap();
        let secret = secret_digest(&SECRET);
        let proof = prove(secret, &exporter, invitation.pin, newcomer.key_id());
        let proof = data_encoding::BASE64.encode(&proof.0);
        format!(r#"{{"token":"01020304","proof":"{proof}","server":"STORE-012","name":"","addresses":[]}}"#)
    };
    let (of_first, of_second) = (body(&first), body(&second));
    let (mut first, mut second) = (Http1::over(first).await, Http1::over(second).await);
    let replayed = second.send("POST", "/v1/pair", &[], of_first.as_bytes()).await;
    assert_eq!((replayed.status.as_u16(), &replayed.json()["code"]), (403, &"BL-E0311".into()));
    assert!(rig.reception.joined.lock().unwrap().is_empty());
    let honest = second.send("POST", "/v1/pair", &[], of_second.as_bytes()).await;
    assert_eq!(honest.status.as_u16(), 200);
    assert_eq!(first.send("POST", "/v1/pair", &[], of_first.as_bytes()).await.status.as_u16(), 200);
}

#[tokio::test]
async fn each_protocol_has_its_own_requests_and_not_the_others() {
    let (rig, newcomer, _) = inviting().await;
    let mut ordinary = Http1::of_store(&rig).await;
    assert_eq!(ordinary.send("POST", "/v1/pair", &[], b"{}").await.status.as_u16(), 404);
    for keys in [&newcomer, &rig.store] {
        let stream = tls(&rig, eager_config(certified(keys, keys), ALPN)).await.unwrap();
        let mut pairing = Http1::over(stream).await;
        for (method, path) in
            [("GET", "/v1/hello"), ("GET", "/v1/status"), ("GET", "/v1/pair"), ("POST", "/v1/uploads")]
        {
            assert_eq!(pairing.send(method, path, &[], b"").await.status.as_u16(), 404, "{path}");
        }
        assert_eq!(pairing.send("POST", "/v1/pair", &[], b"not json").await.status.as_u16(), 400);
    }
    assert!(rig.reception.steps.borrow().is_empty());
}

#[tokio::test]
async fn an_open_invitation_lets_no_unknown_key_into_the_ordinary_protocol() {
    let (rig, newcomer, _) = inviting().await;
    assert_eq!(rig.link_of(&newcomer).hello().await.unwrap_err().code(), Code::NOT_PAIRED);
    assert_eq!(rig.reception.requests(), 0);
}
