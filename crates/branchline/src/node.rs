//! A server: builds the parts together, starts its tasks, and carries out what is asked of it.
//!
//! ```text
//! open      key, state, spool, what was left over; the database only once it is needed
//! execute   one call, from the command line in this process or through the control socket
//! serve     the port for peers, and what it does by itself, until it is told to stop
//! ```
//! Tasks are started here and nowhere else, through one [`Tasks`] handle. Lock order: the queue
//! turn, then the apply turn, then an upload's own lock, then the standing turn; the pins' turn. None is held while a peer
//! is waited for.

mod attach;
mod backups;
mod chain;
pub mod clock;
mod compare;
mod days;
mod deliver;
pub mod describe;
mod filters;
mod inbox;
mod memory;
mod pairing;
pub mod progress;
mod purge;
mod reception;
mod registry;
mod retry;
mod schedule;
mod standing;
mod status;
mod sync;
mod tables;
mod uploads;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use branchline_core::code::Code;
use branchline_core::peer::{Grant, Peer};
use branchline_core::ports::{Database, PeerLink, Signer, Spool, StateStore};
use branchline_net::connection::Endpoint;
use branchline_net::deadlines::ServerBounds;
use branchline_net::identity::Identity;
use branchline_net::listener::{self, Listener};
use branchline_net::pins::Pins;
use branchline_net::tasks::Tasks;
use branchline_net::v1::client::{HttpLink, LinkContext};
use branchline_state::{FolderSpool, SqliteState, reconcile};
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::v1::{Answer, Command, Problem};
use crate::settings::Settings;
use clock::Clock;
use memory::Memory;
pub use progress::ProgressSink;
use retry::Retries;
use schedule::LiveState;
use sync::Wish;
use uploads::Uploads;

/// The program and its version, as documents and peers are told.
pub const PRODUCER: &str = concat!("branchline/", env!("CARGO_PKG_VERSION"));

/// Peers that are sent to at once: each holds one part of 8 MiB in memory.
const PLACES: usize = 3;

/// One server.
pub struct Node {
    settings: Settings,
    identity: Identity,
    memory: Memory,
    spool: Arc<dyn Spool>,
    database: OnceCell<Arc<dyn Database>>,
    pins: Arc<Pins>,
    uploads: Uploads,
    retries: Arc<Retries>,
    live: LiveState,
    places: Semaphore,
    /// Backups are applied one at a time.
    apply_turn: Mutex<()>,
    /// Backups are queued one at a time: a place in a chain is given once.
    queue_turn: Mutex<()>,
    /// How far a peer is, is read and written one at a time.
    standing_turn: Mutex<()>,
    last_purge: purge::LastPurge,
    /// The pins follow the registry one change at a time.
    pins_turn: Mutex<()>,
    tracker: TaskTracker,
    links: LinkContext,
    listening: OnceLock<SocketAddr>,
    /// So that what is asked of it can start tasks that outlive the question.
    itself: Weak<Self>,
}

impl Node {
    /// Opens a server's folder: its key, its state, its spool.
    ///
    /// # Errors
    /// Where one of them cannot be used; the message says which, and what to do.
    pub async fn open(settings: Settings) -> Result<Arc<Self>, Problem> {
        let identity = Identity::load(&settings.key_file())?;
        let state: Arc<dyn StateStore> = Arc::new(SqliteState::open(settings.state_folder())?);
        let spool: Arc<dyn Spool> = Arc::new(FolderSpool::open(&settings.home)?);
        Ok(Self::build(settings, identity, state, spool))
    }

    /// Builds a server from its parts.
    #[must_use]
    pub fn build(
        settings: Settings,
        identity: Identity,
        state: Arc<dyn StateStore>,
        spool: Arc<dyn Spool>,
    ) -> Arc<Self> {
        let tracker = TaskTracker::new();
        let links = LinkContext::new(identity.clone(), Tasks::new(tracker.clone()));
        Arc::new_cyclic(|itself| Self {
            settings,
            identity,
            memory: Memory::new(state),
            spool,
            database: OnceCell::new(),
            pins: Arc::new(Pins::default()),
            uploads: Uploads::default(),
            retries: Arc::default(),
            live: LiveState::default(),
            places: Semaphore::new(PLACES),
            apply_turn: Mutex::new(()),
            queue_turn: Mutex::new(()),
            standing_turn: Mutex::new(()),
            last_purge: purge::LastPurge::default(),
            pins_turn: Mutex::new(()),
            tracker,
            links,
            listening: OnceLock::new(),
            itself: Weak::clone(itself),
        })
    }

    fn itself(&self) -> Option<Arc<Self>> {
        self.itself.upgrade()
    }

    /// Where it listens, once it does.
    #[must_use]
    pub fn listening(&self) -> Option<SocketAddr> {
        self.listening.get().copied()
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Brings files and rows in step after a crash. For the process that holds the folder's lock.
    ///
    /// # Errors
    /// Where the state or the spool fails.
    pub async fn reconcile(&self) -> Result<(), Problem> {
        let mended = reconcile(self.memory.store(), self.spool.as_ref(), clock::now()).await?;
        if mended != branchline_state::Reconciled::default() {
            tracing::warn!(?mended, "leftovers of an earlier run were swept");
        }
        self.drop_all_settled().await
    }

    /// Carries out one call.
    ///
    /// # Errors
    /// Whatever keeps it from being done, as people are told.
    pub async fn execute(
        self: &Arc<Self>,
        command: Command,
        progress: ProgressSink,
    ) -> Result<Answer, Problem> {
        match command {
            Command::Id => Ok(Answer::Id(self.id())),
            Command::Invite { server, name, address, valid_seconds, relay } => {
                self.invite(server, name, address, valid_seconds, relay).await.map(Answer::Invite)
            }
            Command::Join { invitation } => self.join(&invitation).await.map(Answer::Join),
            Command::PeersList => self.peers().await.map(Answer::Peers),
            Command::PeersShow { peer } => self.show_peer(&peer).await.map(Answer::Peer),
            Command::PeersAdd { peer, key_id, name, addresses, mirror, relay } => {
                let grant = Grant { mirror, ..Grant::default() };
                self.add_peer(&peer, &key_id, name, &addresses, grant, relay).await.map(Answer::Changed)
            }
            Command::PeersRemove { peer } => self.remove_peer(&peer).await.map(Answer::Changed),
            Command::PeersPause { peer } => self.pause_peer(&peer).await.map(Answer::Changed),
            Command::PeersResume { peer } => self.resume_peer(&peer).await.map(Answer::Changed),
            Command::PeersGrant { peer, write, mirror, relay, tables } => {
                self.grant_peer(&peer, write, mirror, relay, tables).await.map(Answer::Changed)
            }
            Command::PeersPing { peer } => self.ping(&peer).await.map(Answer::Ping),
            Command::Tables => self.tables().await.map(Answer::Tables),
            Command::Attach { new_life } => self.attach(new_life).await.map(Answer::Attach),
            Command::Detach => self.detach().await.map(Answer::Changed),
            Command::Days { day } => self.days(day.as_deref()).await.map(Answer::Days),
            Command::HeldList => self.list_held().await.map(Answer::Held),
            Command::Sync(sync) => self.sync(sync, &progress).await.map(Answer::Sync),
            Command::Status => self.status().await.map(|status| Answer::Status(Box::new(status))),
            Command::BackupsList => self.list_backups().await.map(Answer::Backups),
            Command::BackupsShow { backup } => {
                self.show_backup(&backup).await.map(|backup| Answer::Backup(Box::new(backup)))
            }
            Command::BackupsExport { peer, path, compression, backup_type, mirror } => {
                let wish = Wish::of(backup_type.as_deref(), mirror)?;
                self.export(&peer, &path, compression, wish, &progress).await.map(Answer::File)
            }
            Command::BackupsImport { path, dry_run, mirror } => {
                self.import(&path, dry_run, mirror, &progress).await.map(Answer::Import)
            }
            Command::ScheduleList => self.list_schedule().await.map(Answer::Schedule),
            Command::Compare { peer, tables, repair } => {
                self.compare(&peer, &tables, repair, &progress).await.map(Answer::Compare)
            }
        }
    }

    /// Listens for peers and does what it does by itself until `shutdown`, then lets what runs come to its end.
    ///
    /// # Errors
    /// Where the port is taken, or what was left over cannot be dealt with.
    pub async fn serve(self: &Arc<Self>, shutdown: CancellationToken) -> Result<(), Problem> {
        let serving = self.start_serving(shutdown.clone()).await?;
        self.work_by_itself(Clock::default(), &shutdown);
        serving.await.map_err(|_| Problem::new(Code::INTERNAL, "the server's task ended before its time"))
    }

    /// Takes the port and serves in a task of its own, which ends after `shutdown`. It does nothing by itself.
    ///
    /// # Errors
    /// Where the port is taken, or what was left over cannot be dealt with.
    pub async fn start_serving(
        self: &Arc<Self>,
        shutdown: CancellationToken,
    ) -> Result<JoinHandle<()>, Problem> {
        let Some(address) = self.settings.listen.clone() else {
            let missing = "this server is not told where to listen for peers";
            return Err(Problem::new(Code::SETTINGS_INVALID, missing)
                .with_help("set listen.address = \"0.0.0.0:8443\""));
        };
        let listener = Listener::bind(resolve(&address).await?).await?;
        self.reconcile().await?;
        self.refresh_pins().await?;
        let reception = Arc::new(reception::NodeReception::new(Arc::clone(self)));
        let tasks = Tasks::new(self.tracker.clone());
        let pins = Arc::clone(&self.pins);
        let endpoint = Endpoint::new(&self.identity, pins, reception, tasks, ServerBounds::default());
        let endpoint = endpoint.map_err(|error| Problem::new(Code::TLS_FAILED, error.to_string()))?;
        if self.listening.set(listener.address()).is_err() {
            return Err(Problem::new(Code::HOME_LOCKED, "this server listens already"));
        }
        tracing::info!(server = %self.settings.server, address = %listener.address(), "listening for peers");
        self.look_at_what_is_there();
        let node = Arc::clone(self);
        // Ends after `shutdown`: the port is free at once, and what runs comes to its end.
        Ok(tokio::spawn(async move {
            listener::serve(listener, endpoint, shutdown).await;
            node.tracker.close();
            node.tracker.wait().await;
            tracing::info!("stopped");
        }))
    }

    /// Begins what this server does by itself until `shutdown`: it sends what waits, and keeps its schedule by that clock.
    pub fn work_by_itself(&self, clock: Clock, shutdown: &CancellationToken) {
        self.start_retries(shutdown);
        self.start_schedule(clock, shutdown);
    }

    /// Looks at the database, which may be away, and goes on with what was received; nobody waits for it.
    fn look_at_what_is_there(&self) {
        let Some(node) = self.itself() else { return };
        // Runs to its end: each upload is one apply.
        self.start(async move {
            match node.database().await {
                Ok(_) => {}
                Err(problem) => tracing::error!(%problem, help = %problem.help, "the database is away; peers are told to wait"),
            }
            if let Err(problem) = node.resume_received().await {
                tracing::error!(%problem, "what was received before cannot be looked at");
            }
        });
    }

    /// Starts a task of the node's: it is waited for at shutdown.
    fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// The application database, connected on first use.
    async fn database(&self) -> Result<&Arc<dyn Database>, Problem> {
        let settings = &self.settings.database;
        let connect = || async {
            branchline_db::connect_omitting(settings.url.expose_url(), settings.except_columns.clone()).await
        };
        Ok(self.database.get_or_try_init(connect).await?)
    }

    /// A link to a peer. Nothing is dialled yet.
    fn link(&self, peer: &Peer) -> Result<Arc<dyn PeerLink>, Problem> {
        let link = HttpLink::new(peer.id.clone(), peer.key, peer.addresses.clone(), &self.links);
        let link = link.map_err(|error| Problem::new(Code::TLS_FAILED, error.to_string()))?;
        Ok(Arc::new(link))
    }

    fn signer(&self) -> &dyn Signer {
        &self.identity
    }
}

async fn resolve(address: &str) -> Result<SocketAddr, Problem> {
    let invalid =
        || Problem::new(Code::SETTINGS_INVALID, format!("{address} is not an address to listen on"));
    tokio::net::lookup_host(address).await.map_err(|_| invalid())?.next().ok_or_else(invalid)
}

/// An address as a person wrote it.
///
/// # Errors
/// Where it is not `host:port`.
pub fn parse_address(text: &str) -> Result<branchline_core::peer::PeerAddress, Problem> {
    registry::address(text)
}
