//! What can be wrong around a server: its key file, its port, its folder; and callers that are slow or old.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use branchline_core::code::Code;
use branchline_net::identity::Identity;
use branchline_testkit::database::Engine;
use tokio_util::sync::CancellationToken;

use crate::world::{Home, Server, Shop, delivered, introduce, refused};

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let shop = Shop::stocked(Engine::Sqlite).await;
    let home = Home::make("STORE-001", &shop.url);
    let before = shop.hashes().await;
    for mode in [0o644, 0o640, 0o604, 0o660, 0o666] {
        std::fs::set_permissions(home.key_file(), std::fs::Permissions::from_mode(mode)).unwrap();
        let problem = refused(home.open().await.map(|_| ()), Code::KEY_READABLE_BY_OTHERS);
        assert!(problem.help.starts_with(&format!("chmod 600 {}", home.key_file().display())), "{problem:?}");
    }
    std::fs::set_permissions(home.key_file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    home.open().await.unwrap();
    assert_eq!(shop.hashes().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_file_that_is_gone_or_is_no_key_is_refused() {
    let home = Home::make("STORE-001", "sqlite:/nowhere");
    let key = std::fs::read_to_string(home.key_file()).unwrap();
    std::fs::write(home.key_file(), key.replace("PRIVATE", "PUBLIC")).unwrap();
    refused(home.open().await.map(|_| ()), Code::KEY_UNREADABLE);
    std::fs::remove_file(home.key_file()).unwrap();
    refused(home.open().await.map(|_| ()), Code::KEY_UNREADABLE);
    assert!(Identity::load(&home.key_file()).is_err(), "no new key is made in its place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_refused() {
    let shop = Shop::empty(Engine::Sqlite).await;
    let home = Home::make("STORE-001", &shop.url);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = home.settings(&[("BRANCHLINE_LISTEN__ADDRESS", &address)]);
    let node = branchline::node::Node::open(settings).await.unwrap();
    let problem = refused(node.start_serving(CancellationToken::new()).await.map(|_| ()), Code::PORT_IN_USE);
    assert!(problem.message.contains(&address) && problem.retryable, "{problem}");
    drop(taken);
    node.start_serving(CancellationToken::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_one_servers_at_a_time() {
    let home = Home::make("STORE-001", "sqlite:/nowhere");
    let held = branchline_state::lock(home.path()).unwrap();
    let second = branchline_state::lock(home.path()).map(|_| ()).map_err(branchline::api::v1::Problem::from);
    let problem = refused(second, Code::HOME_LOCKED);
    assert!(problem.message.contains(&format!("process {}", std::process::id())), "{problem}");
    drop(held);
    branchline_state::lock(home.path()).unwrap();
}

/// A client of another make, with the store's own key.
struct Openssl {
    client: Child,
}

impl Openssl {
    fn connect(address: &str, key: &Home, certificate: &PathBuf, arguments: &[&str]) -> Self {
        let client = Process::new("openssl")
            .args(["s_client", "-quiet", "-ign_eof", "-connect", address, "-alpn", "http/1.1"])
            .arg("-key")
            .arg(key.key_file())
            .arg("-cert")
            .arg(certificate)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { client }
    }

    /// Says that, and waits until the server has ended the connection; answers all that was heard.
    fn say(mut self, words: &[u8]) -> String {
        let mut input = self.client.stdin.take().unwrap();
        // A client that was refused may be gone before it has read this.
        let _written = input.write_all(words).and_then(|()| input.flush());
        let (mut heard, mut errors) = (String::new(), String::new());
        self.client.stdout.take().unwrap().read_to_string(&mut heard).unwrap();
        self.client.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        drop(input);
        self.client.wait().unwrap();
        format!("{heard}{errors}")
    }
}

/// A store and a head office that know each other, and a certificate around the store's key as `openssl` makes it.
async fn paired() -> (Server, Server, PathBuf) {
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    let certificate = store.home.certificate_file();
    (store, headquarters, certificate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_is_refused() {
    let (store, headquarters, certificate) = paired().await;
    let before = headquarters.shop.hashes().await;
    let request = b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let address = headquarters.address();
    let old = Openssl::connect(&address, &store.home, &certificate, &["-tls1_2"]).say(request);
    assert!(old.contains("alert number 70") && !old.contains("HTTP/1.1"), "{old}");
    let new = Openssl::connect(&address, &store.home, &certificate, &["-tls1_3"]).say(request);
    assert!(new.contains("HTTP/1.1 200 OK"), "{new}");
    assert_eq!(headquarters.shop.hashes().await, before);
}

/// The deadlines are the real ones, 5 s and 10 s; meanwhile another peer is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_sends_half_a_header_is_dropped_while_others_are_served() {
    let (store, headquarters, certificate) = paired().await;
    let address = headquarters.address();
    let mut silent = TcpStream::connect(&address).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut half_a_hello = TcpStream::connect(&address).unwrap();
    half_a_hello.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
    half_a_hello.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let half = Openssl::connect(&address, &store.home, &certificate, &[]);
    let half =
        tokio::task::spawn_blocking(move || half.say(b"GET /v1/hello HTTP/1.1\r\nhost: x\r\nx-half: "));
    delivered(&store.sync().await);
    let ends = tokio::task::spawn_blocking(move || {
        (silent.read(&mut [0; 16]).unwrap(), half_a_hello.read(&mut [0; 16]).unwrap())
    });
    assert_eq!(ends.await.unwrap(), (0, 0));
    let heard = half.await.unwrap();
    assert!(!heard.contains("HTTP/1.1 200"), "{heard}");
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}
