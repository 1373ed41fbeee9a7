//! One server of the demo: a folder such as `init` makes, and a node that serves from it in this process.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use branchline_core::code::Code;
use branchline_core::id::ServerId;
use branchline_state::HomeLock;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::v1::{Answer, Command, Problem};
use crate::cli::init::{NewServer, initialise};
use crate::node::Node;
use crate::node::progress::silent;
use crate::settings::{DatabaseUrl, Profile, Sources, load};

/// A server that listens.
pub(super) struct RunningServer {
    pub(super) id: String,
    pub(super) key_id: String,
    pub(super) shown_url: String,
    pub(super) url: DatabaseUrl,
    node: Arc<Node>,
    serving: Mutex<Option<JoinHandle<()>>>,
    _lock: HomeLock,
}

impl RunningServer {
    pub(super) async fn start(
        folder: &Path,
        id: &str,
        name: &str,
        url: DatabaseUrl,
        further_settings: &str,
        shutdown: &CancellationToken,
    ) -> Result<Self, Problem> {
        let home = folder.join(id);
        let server: ServerId = id.parse().map_err(|_| Problem::new(Code::ID_INVALID, id))?;
        let address = free_address()?;
        let advertise = [crate::node::parse_address(&address)?];
        let config_file = home.join("config.toml");
        let new = NewServer {
            home: &home,
            config_file: &config_file,
            server: &server,
            name: Some(name),
            database: &url,
            profile: Profile::Lan,
            listen: Some(&address),
            advertise: &advertise,
        };
        let made = initialise(&new).await?;
        add_settings(&config_file, further_settings)?;
        let sources =
            Sources { home: &home, config_file: &config_file, environment: Vec::new(), flags: Vec::new() };
        let settings = load(&sources).map_err(|faults| {
            let faults: Vec<String> =
                faults.iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
            Problem::new(Code::SETTINGS_INVALID, faults.join("; "))
        })?;
        let lock = branchline_state::lock(&home)?;
        let node = Node::open(settings).await?;
        let serving = node.start_serving(shutdown.clone()).await?;
        Ok(Self {
            id: id.to_owned(),
            key_id: made.key_id,
            shown_url: url.shown(),
            url,
            node,
            serving: Mutex::new(Some(serving)),
            _lock: lock,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> String {
        self.node.listening().map(|address| address.to_string()).unwrap_or_default()
    }

    /// The first group of its key id.
    pub(super) fn short_key(&self) -> &str {
        self.key_id.split('-').next().unwrap_or_default()
    }

    pub(super) async fn ask(&self, command: Command) -> Result<Answer, Problem> {
        self.node.execute(command, silent()).await
    }

    /// Waits until it has stopped.
    pub(super) async fn stopped(&self) {
        if let Some(serving) = self.serving.lock().await.take()
            && let Err(error) = serving.await
        {
            tracing::error!(server = %self.id, %error, "a server of the demo ended before its time");
        }
    }
}

/// Adds settings to those that `init` wrote. The demo's days are those of UTC, wherever it is shown.
fn add_settings(file: &Path, text: &str) -> Result<(), Problem> {
    let written = std::fs::read_to_string(file).and_then(|settings| {
        let settings = settings.replace("# time_zone = \"Europe/Vienna\"", "time_zone = \"UTC\"");
        std::fs::write(file, settings + text)
    });
    written.map_err(|error| Problem::new(Code::FILE_UNREADABLE, format!("{}: {error}", file.display())))
}

/// A port of the loopback interface that was free a moment ago. It stands in the settings, so that a demo that is kept
/// can be started again.
fn free_address() -> Result<String, Problem> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address =
        address.map_err(|error| Problem::new(Code::PORT_IN_USE, format!("no port is free: {error}")))?;
    Ok(address.to_string())
}
