//! A server on a free port of loopback, and a store that it knows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use branchline_core::id::KeyId;
use branchline_core::peer::PeerAddress;
use branchline_core::ports::Signer;
use branchline_net::connection::Endpoint;
use branchline_net::deadlines::ServerBounds;
use branchline_net::identity::Identity;
use branchline_net::listener::{Listener, serve};
use branchline_net::pins::{PinDirectory, Pins};
use branchline_net::tasks::Tasks;
use branchline_net::v1::client::{HttpLink, LinkContext};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::reception::InMemory;

pub(crate) const STORE: &str = "STORE-001";
pub(crate) const HQ: &str = "HQ";
pub(crate) const BACKUP: &str = "019a2f4e-0000-7000-8000-000000000000";

/// An identity with its files, as `curl` and `openssl` want them.
pub(crate) struct Keys {
    pub(crate) identity: Identity,
    pub(crate) key_file: PathBuf,
    pub(crate) certificate_file: PathBuf,
    _folder: TempDir,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("identity.pem");
        let certificate_file = folder.path().join("certificate.pem");
        let identity = Identity::create(&key_file).unwrap();
        let base64 = data_encoding::BASE64.encode(identity.certificate());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        // One long line is not PEM to OpenSSL: 64 characters each.
        let lines: Vec<String> =
            base64.as_bytes().chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
        std::fs::write(&certificate_file, pem.replace(&base64, &lines.join("\n"))).unwrap();
        Self { identity, key_file, certificate_file, _folder: folder }
    }

    pub(crate) fn key_id(&self) -> KeyId {
        self.identity.public_key().key_id()
    }
}

pub(crate) struct Rig {
    pub(crate) hq: Keys,
    pub(crate) store: Keys,
    pub(crate) pins: Arc<Pins>,
    pub(crate) reception: Arc<InMemory>,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(ServerBounds::default()).await
    }

    pub(crate) async fn with(bounds: ServerBounds) -> Self {
        Self::build(bounds, |pins| pins).await
    }

    /// With another directory in front of the pins.
    pub(crate) async fn build<D: PinDirectory + 'static>(
        bounds: ServerBounds,
        directory: impl FnOnce(Arc<Pins>) -> Arc<D>,
    ) -> Self {
        let (hq, store) = (Keys::new(), Keys::new());
        let pins = Arc::new(Pins::default());
        pins.replace([store.key_id()]);
        let reception = Arc::new(InMemory::new(HQ, hq.key_id()));
        reception.knows(store.key_id(), STORE);
        let tracker = TaskTracker::new();
        let tasks = Tasks::new(tracker.clone());
        let endpoint = Endpoint::new(
            &hq.identity,
            directory(Arc::clone(&pins)),
            Arc::clone(&reception) as _,
            tasks,
            bounds,
        );
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let shutdown = CancellationToken::new();
        tracker.spawn(serve(listener, endpoint.unwrap(), shutdown.clone()));
        Self { hq, store, pins, reception, address, shutdown, tracker }
    }

    /// Serves again at the same address, with the same key.
    pub(crate) async fn restart(&mut self) {
        let tasks = Tasks::new(self.tracker.clone());
        let (pins, reception) = (Arc::clone(&self.pins), Arc::clone(&self.reception));
        let endpoint =
            Endpoint::new(&self.hq.identity, pins, reception as _, tasks, ServerBounds::default()).unwrap();
        let listener = Listener::bind(self.address).await.unwrap();
        self.shutdown = CancellationToken::new();
        self.tracker.spawn(serve(listener, endpoint, self.shutdown.clone()));
    }

    pub(crate) fn peer_address(&self) -> PeerAddress {
        self.address.to_string().parse().unwrap()
    }

    pub(crate) fn context(&self, keys: &Keys) -> LinkContext {
        LinkContext::new(keys.identity.clone(), Tasks::new(self.tracker.clone()))
    }

    /// The store's link to this server.
    pub(crate) fn link(&self) -> HttpLink {
        self.link_of(&self.store)
    }

    pub(crate) fn link_of(&self, keys: &Keys) -> HttpLink {
        let context = self.context(keys);
        HttpLink::new(HQ.parse().unwrap(), self.hq.key_id(), vec![self.peer_address()], &context).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
