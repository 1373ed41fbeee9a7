//! `serve`: listens for peers and for the command line until it is told to stop.
//!
//! The first Ctrl-C or SIGTERM lets what runs come to its end, for 45 s at most; the second ends it at once, which
//! loses nothing either: what was queued waits, and what was being applied is taken back by the database.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use branchline_core::code::Code;
use tokio_util::sync::CancellationToken;

use super::done::{Done, Failure};
use super::run::Session;
use super::{json, signals};
use crate::api::v1::Problem;
use crate::control::{self, ControlSocket};
use crate::node::Node;
use crate::settings::FlagSetting;

/// How long what runs may take to end; systemd's `TimeoutStopSec` in our unit is the same.
const STOP_WITHIN: Duration = Duration::from_secs(45);

/// What `serve` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen, instead of the settings' listen.address
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where peers find it, instead of the settings' listen.advertise; several with commas
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    let mut flags = Vec::new();
    for (key, flag, value) in [
        ("listen.address", "--listen", arguments.listen),
        ("listen.advertise", "--advertise", arguments.advertise),
    ] {
        flags.extend(value.map(|value| FlagSetting { key, flag, value }));
    }
    let settings = session.settings(flags)?;
    let home = session.home()?;
    let _lock = branchline_state::lock(&home)?;
    let server = settings.server.to_string();
    let node = Node::open(settings).await?;
    let socket = control::bind(&home)?;
    let shutdown = CancellationToken::new();
    let mut serving = pin!(serve_both(node, socket, shutdown.clone()));
    // Each of the two is safe to drop: the service ends with the process, a signal only ends this wait.
    let signal = tokio::select! {
        outcome = &mut serving => {
            outcome?;
            return Err(Failure::internal("the listener ended by itself"));
        }
        signal = signals::first() => signal,
    };
    tracing::info!(signal = signal.name(), "stopping: what runs comes to its end first");
    shutdown.cancel();
    tokio::select! {
        outcome = &mut serving => outcome?,
        again = signals::first() => return Err(Failure::interrupted(again)),
        () = tokio::time::sleep(STOP_WITHIN) => {
            let message = format!("what ran did not end within {} s", STOP_WITHIN.as_secs());
            return Err(Problem::new(Code::INTERRUPTED, message)
                .with_data("Nothing was left half done: what was queued waits, what was being applied was taken back.")
                .into());
        }
    }
    let data = json::object([("server", server.clone().into()), ("stopped_by", signal.name().into())]);
    Ok(Done::new(data, format!("{server} has stopped.")))
}

/// Whichever of the two ends takes the other along.
async fn serve_both(
    node: Arc<Node>,
    socket: ControlSocket,
    shutdown: CancellationToken,
) -> Result<(), Problem> {
    let _last = shutdown.clone().drop_guard();
    let peers = async {
        let outcome = node.serve(shutdown.clone()).await;
        shutdown.cancel();
        outcome
    };
    let (outcome, ()) = tokio::join!(peers, socket.serve(Arc::clone(&node), shutdown.clone()));
    outcome
}
