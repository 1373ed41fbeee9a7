//! Asks before something is done that cannot be taken back: the id has to be typed.

use std::io::{BufRead, IsTerminal};

use super::done::Failure;
use super::run::Session;

/// Characters of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 256;

/// Fails where nobody can be asked and nobody said yes ahead; to be called before anything is begun.
pub(crate) fn can_ask(session: &Session, what: &str) -> Result<(), Failure> {
    if session.global.yes || (std::io::stdin().is_terminal() && !session.output.is_json()) {
        return Ok(());
    }
    Err(Failure::usage(format!("{what} needs a yes, and nobody can be asked here"), "add --yes"))
}

/// Asks for `expected` to be typed, unless `--yes` was. What will be done was said already.
pub(crate) async fn ask(session: &Session, what: &str, expected: &str) -> Result<(), Failure> {
    if session.global.yes {
        return Ok(());
    }
    can_ask(session, what)?;
    session.output.end_progress();
    session.output.note(&format!("Type {expected} to go on: "));
    // On a thread of its own, so that Ctrl-C is heard while it waits.
    let answer = tokio::task::spawn_blocking(read_line).await.unwrap_or_default();
    if answer.trim() == expected {
        return Ok(());
    }
    Err(Failure::usage(
        format!("{expected} was not typed, so nothing was done"),
        "run it again, or add --yes",
    ))
}

fn read_line() -> String {
    let mut answer = String::new();
    let mut input = std::io::Read::take(std::io::stdin().lock(), ANSWER_BYTES_MAX);
    match input.read_line(&mut answer) {
        Ok(_) => answer,
        Err(_) => String::new(),
    }
}
