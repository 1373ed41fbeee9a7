//! Who gets in, and what the others see: nothing.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use branchline_core::code::{Code, Explain};
use branchline_core::id::KeyId;
use branchline_core::ports::{LinkError, PeerLink};
use branchline_net::deadlines::ServerBounds;
use branchline_net::listener::{ListenError, Listener};
use branchline_net::pins::{PinDirectory, Pins};
use branchline_net::v1::client::HttpLink;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::client::{certified, eager_config, store_tls, tls};
use crate::rig::{HQ, Keys, Rig};

#[tokio::test]
async fn a_server_with_another_key_gets_no_request() {
    let rig = Rig::start().await;
    let pinned = Keys::new();
    let context = rig.context(&rig.store);
    let link =
        HttpLink::new(HQ.parse().unwrap(), pinned.key_id(), vec![rig.peer_address()], &context).unwrap();
    let error = link.hello().await.unwrap_err();
    let found = rig.hq.key_id().to_string();
    assert_eq!(error, LinkError::WrongKey { address: rig.address.to_string(), found });
    assert_eq!(error.code(), Code::WRONG_KEY);
    assert_eq!(rig.reception.requests(), 0);
}

#[tokio::test]
async fn the_stores_certificate_without_its_key_does_not_get_in() {
    let rig = Rig::start().await;
    let attacker = Keys::new();
    let config = eager_config(certified(&rig.store, &attacker), b"http/1.1");
    assert_eq!(first_words(&rig, config, "/v1/hello").await, Err(Some(AlertDescription::DecryptError)));
    assert_eq!(rig.reception.requests(), 0);
}

#[tokio::test]
async fn the_head_offices_certificate_without_its_key_gets_no_request() {
    let rig = Rig::start().await;
    let attacker = Keys::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified(&rig.hq, &attacker))));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(socket).await.err().map(|error| error.to_string())
    });
    let context = rig.context(&rig.store);
    let addresses = vec![address.to_string().parse().unwrap()];
    let link = HttpLink::new(HQ.parse().unwrap(), rig.hq.key_id(), addresses, &context).unwrap();
    let error = link.hello().await.unwrap_err();
    assert_eq!(error.code(), Code::TLS_FAILED, "{error}");
    assert!(error.to_string().contains("BadSignature"), "{error}");
    let seen = server.await.unwrap().unwrap();
    assert!(seen.contains("DecryptError"), "{seen}");
}

#[tokio::test]
async fn an_unknown_key_gets_the_same_refusal_everywhere_and_no_byte_of_http() {
    let rig = Rig::start().await;
    let stranger = Keys::new();
    for path in ["/", "/v1/hello", "/v1/status", "/v1/uploads", "/v1/pair", "/../../etc/passwd"] {
        let config = eager_config(certified(&stranger, &stranger), b"http/1.1");
        let seen = first_words(&rig, config, path).await;
        assert_eq!(seen, Err(Some(AlertDescription::AccessDenied)), "{path}");
    }
    assert_eq!(rig.reception.requests(), 0);
    let error = rig.link_of(&stranger).hello().await.unwrap_err();
    assert_eq!(error, LinkError::NotPaired { peer: HQ.parse().unwrap() });
}

#[tokio::test]
async fn a_known_key_is_answered() {
    let rig = Rig::start().await;
    let config = eager_config(certified(&rig.store, &rig.store), b"http/1.1");
    let answer = first_words(&rig, config, "/v1/status").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(rig.reception.requests(), 1);
}

#[tokio::test]
async fn nothing_is_resumed_and_the_directory_is_asked_each_time() {
    struct Counting(Arc<Pins>, AtomicUsize);
    impl PinDirectory for Counting {
        fn is_pinned(&self, key: KeyId) -> bool {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.is_pinned(key)
        }
        fn is_pairing_open(&self) -> bool {
            self.0.is_pairing_open()
        }
    }
    let mut counting = None;
    let rig = Rig::build(ServerBounds::default(), |pins| {
        let directory = Arc::new(Counting(pins, AtomicUsize::new(0)));
        counting = Some(Arc::clone(&directory));
        directory
    });
    let rig = rig.await;
    let config = eager_config(certified(&rig.store, &rig.store), b"http/1.1");
    for _ in 0..3 {
        let mut stream = tls(&rig, Arc::clone(&config)).await.unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
    assert_eq!(counting.unwrap().1.load(Ordering::SeqCst), 3);
    rig.pins.replace([]);
    let seen = first_words(&rig, config, "/v1/status").await;
    assert_eq!(seen, Err(Some(AlertDescription::AccessDenied)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_and_clients_without_a_certificate_get_an_alert() {
    let rig = Rig::start().await;
    let with_tls12 = s_client(&rig, &["-tls1_2"]);
    assert!(with_tls12.contains("alert number 70"), "{with_tls12}");
    let without_certificate = s_client(&rig, &["-tls1_3"]);
    assert!(without_certificate.contains("alert number 116"), "{without_certificate}");
    assert!(!without_certificate.contains("HTTP/1.1"), "{without_certificate}");
    let (key, certificate) = (&rig.store.key_file, &rig.store.certificate_file);
    let files = ["-key", key.to_str().unwrap(), "-cert", certificate.to_str().unwrap()];
    let welcome = s_client(&rig, &files);
    assert!(welcome.contains("HTTP/1.1 200 OK"), "{welcome}");
    assert!(!welcome.contains("New Session Ticket"), "{welcome}");
    assert_eq!(rig.reception.requests(), 1);
}

#[tokio::test]
async fn the_handshake_names_nobody() {
    let rig = Rig::start().await;
    let stream = store_tls(&rig, b"http/1.1").await;
    let certificate = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let text = String::from_utf8_lossy(certificate).into_owned();
    assert!(text.contains("server.invalid"));
    assert!(!text.to_lowercase().contains("branchline") && !text.contains(HQ));
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_to_be() {
    let rig = Rig::start().await;
    let error = Listener::bind(rig.address).await.unwrap_err();
    assert!(matches!(error, ListenError::PortInUse { address } if address == rig.address));
    assert_eq!(error.code(), Code::PORT_IN_USE);
}

/// What a client sees that speaks first: the answer's first bytes, or the alert.
async fn first_words(
    rig: &Rig,
    config: Arc<rustls::ClientConfig>,
    path: &str,
) -> Result<String, Option<AlertDescription>> {
    let alert =
        |error: std::io::Error| match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        };
    let mut stream = tls(rig, config).await.map_err(alert)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    // The server may have gone already; then reading says why.
    let _sent = stream.write_all(request.as_bytes()).await;
    let mut bytes = vec![0; 4_096];
    let read = stream.read(&mut bytes).await.map_err(alert)?;
    Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

fn s_client(rig: &Rig, arguments: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &rig.address.to_string(), "-alpn", "http/1.1"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    // A client that was refused may be gone before it has read this.
    let _written = client.stdin.take().unwrap().write_all(request);
    let output = client.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
