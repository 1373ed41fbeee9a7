//! The command line's end of the control socket.

use std::io;
use std::path::Path;

use branchline_core::code::Code;

use super::line::{LineReader, MESSAGE_BYTES_MAX, write_line};
use super::platform;
use crate::api::v1::{Answer, Command, ControlMessage, Problem};
use crate::node::ProgressSink;

/// Asks a running `serve`; nothing, where none runs on this home.
///
/// Dropping this hangs up, and the server gives the command up.
///
/// # Errors
/// What the server answered, or that it went away before it did.
pub async fn call(
    home: &Path,
    command: &Command,
    progress: &ProgressSink,
) -> Result<Option<Answer>, Problem> {
    let stream = match platform::connect(home).await {
        Ok(Some(stream)) => stream,
        Ok(None) => return Ok(None),
        Err(error) => {
            let message = format!("the running serve cannot be asked: {error}");
            return Err(
                Problem::new(Code::HOME_LOCKED, message).with_help("run this as the user that serve runs as")
            );
        }
    };
    let (reader, mut writer) = tokio::io::split(stream);
    let line = command.to_line().map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))?;
    write_line(&mut writer, &line).await.map_err(|error| gone(&error))?;
    let mut lines = LineReader::new(reader, MESSAGE_BYTES_MAX);
    loop {
        let line = lines.next().await.map_err(|error| gone(&error))?;
        let line = line.ok_or_else(|| gone(&io::ErrorKind::UnexpectedEof.into()))?;
        match ControlMessage::of_line(&line) {
            Ok(ControlMessage::Progress(report)) => progress(report),
            Ok(ControlMessage::Answer(answer)) => return Ok(Some(answer)),
            Ok(ControlMessage::Problem(problem)) => return Err(problem),
            Err(error) => {
                return Err(Problem::new(Code::PROTOCOL_MISMATCH, error.to_string())
                    .with_help("the running serve is of another version: restart it"));
            }
        }
    }
}

fn gone(error: &io::Error) -> Problem {
    Problem::new(Code::INTERRUPTED, format!("the running serve stopped before it answered: {error}"))
        .with_data(
            "Nothing was left half done: what was queued waits, what was being applied was taken back.",
        )
        .with_help("look at its log, then run the same command again")
}
