//! The server's end of the control socket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use branchline_core::code::Code;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::line::{COMMAND_BYTES_MAX, LineReader, write_line};
use super::platform;
use crate::api::v1::{Answer, Command, ControlMessage, Problem, Progress};
use crate::node::{Node, ProgressSink};

/// Calls at once; the next one waits.
const CALLS_MAX: usize = 32;
/// How long a client may take to send its command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
/// Progress that waits for a slow client; what comes on top is dropped.
const PROGRESS_WAITING_MAX: usize = 64;
/// How long nothing is accepted after an accept failed, as it does when no more files can be opened.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Carries out a call.
pub(super) type Execute =
    Arc<dyn Fn(Command, ProgressSink) -> BoxFuture<'static, Result<Answer, Problem>> + Send + Sync>;

/// A control socket that is open.
#[derive(Debug)]
pub struct ControlSocket {
    listener: platform::Listener,
}

/// Opens the control socket of a home. The caller holds the home's lock, so what is there is a leftover.
///
/// # Errors
/// Where it cannot be made.
pub fn bind(home: &Path) -> Result<ControlSocket, Problem> {
    let listener = platform::Listener::bind(home);
    let listener = listener.map_err(|error| {
        let message = format!("the control socket of {} cannot be made: {error}", home.display());
        Problem::new(Code::FILE_UNREADABLE, message)
    })?;
    Ok(ControlSocket { listener })
}

impl ControlSocket {
    /// Answers calls until `shutdown`, then lets those that run come to their end.
    pub async fn serve(self, node: Arc<Node>, shutdown: CancellationToken) {
        let execute: Execute = Arc::new(move |command, progress| {
            let node = Arc::clone(&node);
            Box::pin(async move { node.execute(command, progress).await })
        });
        self.serve_with(execute, shutdown).await;
    }

    /// Each call is a task of this set: dropping this future ends them all, which is what the second Ctrl-C does.
    pub(super) async fn serve_with(mut self, execute: Execute, shutdown: CancellationToken) {
        let mut calls = JoinSet::new();
        loop {
            // All three are safe to drop: nothing was taken off the socket, or the set keeps it.
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = calls.join_next() => {}
                accepted = self.listener.accept(), if calls.len() < CALLS_MAX => match accepted {
                    Ok(stream) => {
                        calls.spawn(converse(stream, Arc::clone(&execute)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket could not accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        while calls.join_next().await.is_some() {}
    }
}

async fn converse<S: AsyncRead + AsyncWrite>(stream: S, execute: Execute) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = LineReader::new(reader, COMMAND_BYTES_MAX);
    let Ok(Ok(Some(line))) = tokio::time::timeout(COMMAND_TIMEOUT, lines.next()).await else { return };
    let outcome = match Command::of_line(&line) {
        Ok(command) => carry_out(command, &execute, &mut lines, &mut writer).await,
        Err(error) => Some(Err(Problem::new(Code::PROTOCOL_MISMATCH, error.to_string())
            .with_help("this command is of another version than the running serve: restart serve"))),
    };
    let message = match outcome {
        Some(Ok(answer)) => ControlMessage::Answer(answer),
        Some(Err(problem)) => ControlMessage::Problem(problem),
        None => return,
    };
    let _ = send(&mut writer, &message).await;
}

/// The outcome; nothing, where the client hung up, and the command was given up with it.
async fn carry_out<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    command: Command,
    execute: &Execute,
    lines: &mut LineReader<R>,
    writer: &mut W,
) -> Option<Result<Answer, Problem>> {
    let (sender, mut reports) = mpsc::channel::<Progress>(PROGRESS_WAITING_MAX);
    let sink: ProgressSink = Arc::new(move |report| {
        let _ = sender.try_send(report);
    });
    let mut work = execute(command, sink);
    let outcome = loop {
        // The work goes on where it was; reports and lines stay where they are until they are taken.
        tokio::select! {
            outcome = &mut work => break outcome,
            Some(report) = reports.recv() => {
                send(writer, &ControlMessage::Progress(report)).await.ok()?;
            }
            _ = lines.next() => {
                tracing::info!("the caller hung up, so its command is given up");
                return None;
            }
        }
    };
    while let Ok(report) = reports.try_recv() {
        send(writer, &ControlMessage::Progress(report)).await.ok()?;
    }
    Some(outcome)
}

async fn send<W: AsyncWrite + Unpin>(writer: &mut W, message: &ControlMessage) -> std::io::Result<()> {
    let line = message.to_line().map_err(std::io::Error::other)?;
    write_line(writer, &line).await
}
