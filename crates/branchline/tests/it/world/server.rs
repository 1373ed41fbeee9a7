//! A server: a folder such as `init` makes, and a node that serves from it in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use branchline::api::v1::{
    Answer, AttachAnswer, CaptureAnswer, ChangedAnswer, Command, CompareAnswer, FileAnswer, HeldRowAnswer,
    ImportAnswer, InviteAnswer, JoinAnswer, Problem, StatusAnswer, SyncCommand, SyncOutcome,
};
use branchline::node::Node;
use branchline::node::clock::Clock;
use branchline::node::progress::silent;
use branchline::settings::{DatabaseUrl, Profile, Settings, Sources, Template, expose_template, load};
use branchline_core::id::ServerId;
use branchline_core::ports::{Signer, Spool};
use branchline_net::identity::Identity;
use branchline_state::{FolderSpool, SqliteState};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shop;

/// A server's folder: its key and its settings.
pub(crate) struct Home {
    pub(crate) id: ServerId,
    pub(crate) identity: Identity,
    folder: PathBuf,
    _kept: TempDir,
}

impl Home {
    pub(crate) fn make(id: &str, database: &str) -> Self {
        let kept = tempfile::tempdir().unwrap();
        Self::make_in(&kept.path().join("home"), kept, id, database)
    }

    /// In a folder of the test's choice; `kept` goes when the home goes.
    pub(crate) fn make_in(folder: &Path, kept: TempDir, id: &str, database: &str) -> Self {
        std::fs::create_dir_all(folder.join("keys")).unwrap();
        let identity = Identity::create(&folder.join("keys").join("identity.pem")).unwrap();
        let id: ServerId = id.parse().unwrap();
        let template = Template {
            server: &id,
            name: None,
            profile: Profile::Lan,
            database: &DatabaseUrl::new(database),
            listen: Some("127.0.0.1:0"),
            advertise: &[],
        };
        std::fs::write(folder.join("config.toml"), expose_template(&template)).unwrap();
        Self { id, identity, folder: folder.to_owned(), _kept: kept }
    }

    /// A copy of a server's folder, with its key and its memory; nothing may work on it meanwhile.
    pub(crate) fn copy(&self) -> Self {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().join("home");
        copy_folder(&self.folder, &folder);
        Self { id: self.id.clone(), identity: self.identity.clone(), folder, _kept: kept }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.join("keys").join("identity.pem")
    }

    pub(crate) fn key_id(&self) -> String {
        self.identity.public_key().key_id().to_string()
    }

    /// A certificate around its key, as `openssl` makes it for those who have no branchline.
    pub(crate) fn certificate_file(&self) -> PathBuf {
        let certificate = self.folder.join("certificate.pem");
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-new", "-batch", "-subj", "/CN=server.invalid", "-days", "2", "-key"])
            .arg(self.key_file())
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        certificate
    }

    /// How many files of the spool have names that begin so: `data-` for what goes out, `in-` for what comes in.
    pub(crate) fn spool_files(&self, beginning: &str) -> usize {
        let files = std::fs::read_dir(self.folder.join("spool")).unwrap();
        files
            .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with(beginning))
            .count()
    }

    /// The settings, with some set by the environment, such as `BRANCHLINE_BACKUP__COMPRESSION`.
    pub(crate) fn settings(&self, environment: &[(&str, &str)]) -> Settings {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config_file = self.folder.join("config.toml");
        let sources = Sources {
            home: &self.folder,
            config_file: &config_file,
            environment: environment.collect(),
            flags: Vec::new(),
        };
        load(&sources).unwrap()
    }

    /// Writes more settings behind those that are there, such as a schedule.
    pub(crate) fn add_settings(&self, text: &str) {
        let config_file = self.folder.join("config.toml");
        let settings = std::fs::read_to_string(&config_file).unwrap();
        std::fs::write(config_file, settings + "\n" + text).unwrap();
    }

    /// A node that does not listen.
    pub(crate) async fn open(&self) -> Result<Arc<Node>, Problem> {
        Node::open(self.settings(&[])).await
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A server that listens.
pub(crate) struct Server {
    pub(crate) home: Home,
    pub(crate) shop: Shop,
    pub(crate) node: Arc<Node>,
    /// Stops it when this goes.
    shutdown: Option<DropGuard>,
    stopping: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start(id: &str, shop: Shop) -> Self {
        let home = Home::make(id, &shop.url);
        Self::start_with(home, shop, &[], |spool| spool).await
    }

    /// With settings from the environment, and another spool around or in the place of its own.
    pub(crate) async fn start_with(
        home: Home,
        shop: Shop,
        environment: &[(&str, &str)],
        spool: impl FnOnce(Arc<dyn Spool>) -> Arc<dyn Spool>,
    ) -> Self {
        let node = build(&home, environment, spool);
        let stopping = CancellationToken::new();
        let serving = node.start_serving(stopping.clone()).await.unwrap();
        let shutdown = Some(stopping.clone().drop_guard());
        Self { home, shop, node, shutdown, stopping, serving: Some(serving) }
    }

    /// From now on it sends what waits and keeps its schedule by itself, by that clock, as `serve` does.
    pub(crate) fn works_by_itself(&self, clock: Clock) {
        self.node.work_by_itself(clock, &self.stopping);
    }

    /// Stops, and starts again from what is on disk, at the same address.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(&[], |spool| spool).await;
    }

    pub(crate) async fn restart_with(
        &mut self,
        environment: &[(&str, &str)],
        spool: impl FnOnce(Arc<dyn Spool>) -> Arc<dyn Spool>,
    ) {
        let address = self.address();
        self.stop().await;
        let environment = [&[("BRANCHLINE_LISTEN__ADDRESS", address.as_str())], environment].concat();
        self.node = build(&self.home, &environment, spool);
        self.stopping = CancellationToken::new();
        self.serving = Some(self.node.start_serving(self.stopping.clone()).await.unwrap());
        self.shutdown = Some(self.stopping.clone().drop_guard());
    }

    /// Stops listening, and waits until all that runs has ended.
    pub(crate) async fn stop(&mut self) {
        self.shutdown = None;
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
    }

    pub(crate) fn id(&self) -> &str {
        self.home.id.as_str()
    }

    pub(crate) fn address(&self) -> String {
        self.node.listening().unwrap().to_string()
    }

    pub(crate) async fn ask(&self, command: Command) -> Result<Answer, Problem> {
        self.node.execute(command, silent()).await
    }

    pub(crate) async fn change(&self, command: Command) -> ChangedAnswer {
        match self.ask(command).await {
            Ok(Answer::Changed(changed)) => changed,
            other => panic!("{other:?}"),
        }
    }

    /// Knows another server from now on, at that address.
    pub(crate) async fn add_peer(&self, peer: &Server, address: String) {
        let (peer, key_id) = (peer.id().to_owned(), peer.home.key_id());
        let add = Command::PeersAdd {
            peer,
            key_id,
            name: None,
            addresses: vec![address],
            mirror: false,
            relay: false,
        };
        self.change(add).await;
    }

    /// Captures its changes from now on.
    pub(crate) async fn attach(&self) -> AttachAnswer {
        self.attach_as(false).await.unwrap()
    }

    pub(crate) async fn attach_as(&self, new_life: bool) -> Result<AttachAnswer, Problem> {
        match self.ask(Command::Attach { new_life }).await? {
            Answer::Attach(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn status(&self) -> StatusAnswer {
        match self.ask(Command::Status).await {
            Ok(Answer::Status(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Codes of the status's warnings.
    pub(crate) async fn warnings(&self) -> Vec<String> {
        self.status().await.warnings.into_iter().map(|warning| warning.code).collect()
    }

    pub(crate) async fn capture(&self) -> CaptureAnswer {
        self.status().await.capture.expect("its changes are captured")
    }

    pub(crate) async fn held(&self) -> Vec<HeldRowAnswer> {
        match self.ask(Command::HeldList).await {
            Ok(Answer::Held(held)) => held.rows,
            other => panic!("{other:?}"),
        }
    }

    /// Passes on to a peer what others made, or does not.
    pub(crate) async fn relay_to(&self, peer: &Self, relay: bool) {
        let (peer, relay) = (peer.id().to_owned(), Some(relay));
        self.change(Command::PeersGrant { peer, write: None, mirror: None, relay, tables: None }).await;
    }

    /// Sends one peer of several what it lacks.
    pub(crate) async fn sync_to(&self, peer: &Self) -> SyncOutcome {
        self.sync_as(SyncCommand { peers: vec![peer.id().to_owned()], ..SyncCommand::default() }).await
    }

    pub(crate) async fn export(&self, peer: &Self, folder: &Path) -> Result<FileAnswer, Problem> {
        let (peer, path) = (peer.id().to_owned(), folder.to_string_lossy().into_owned());
        let export =
            Command::BackupsExport { peer, path, compression: None, backup_type: None, mirror: false };
        match self.ask(export).await? {
            Answer::File(file) => Ok(file),
            other => panic!("{other:?}"),
        }
    }

    /// Sends all it has to its one active peer.
    pub(crate) async fn sync(&self) -> SyncOutcome {
        self.sync_as(SyncCommand::default()).await
    }

    pub(crate) async fn sync_as(&self, command: SyncCommand) -> SyncOutcome {
        match self.ask(Command::Sync(command)).await {
            Ok(Answer::Sync(answer)) => {
                assert_eq!(answer.peers.len(), 1, "{answer:?}");
                answer.peers.into_iter().next().unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn compare(&self, peer: &Server) -> CompareAnswer {
        match self
            .ask(Command::Compare { peer: peer.id().to_owned(), tables: Vec::new(), repair: false })
            .await
        {
            Ok(Answer::Compare(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn invite(&self) -> InviteAnswer {
        let address = Some(self.address());
        match self
            .ask(Command::Invite { server: None, name: None, address, valid_seconds: None, relay: false })
            .await
        {
            Ok(Answer::Invite(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn join(&self, invitation: &str) -> Result<JoinAnswer, Problem> {
        match self.ask(Command::Join { invitation: invitation.to_owned() }).await? {
            Answer::Join(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn import(&self, path: &Path) -> Result<ImportAnswer, Problem> {
        let path = path.to_string_lossy().into_owned();
        match self.ask(Command::BackupsImport { path, dry_run: false, mirror: false }).await? {
            Answer::Import(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }
}

fn build(
    home: &Home,
    environment: &[(&str, &str)],
    spool: impl FnOnce(Arc<dyn Spool>) -> Arc<dyn Spool>,
) -> Arc<Node> {
    let settings = home.settings(environment);
    let identity = Identity::load(&settings.key_file()).unwrap();
    let state = SqliteState::open(settings.state_folder()).unwrap();
    let own: Arc<dyn Spool> = Arc::new(FolderSpool::open(&settings.home).unwrap());
    Node::build(settings, identity, Arc::new(state), spool(own))
}

/// Makes two servers know each other by key id and address, the manual way.
pub(crate) async fn introduce(one: &Server, other: &Server) {
    one.add_peer(other, other.address()).await;
    other.add_peer(one, one.address()).await;
}

/// Makes two servers know each other by an invitation.
pub(crate) async fn pair(inviting: &Server, joining: &Server) -> JoinAnswer {
    let invited = inviting.invite().await;
    joining.join(&invited.invitation).await.unwrap()
}
