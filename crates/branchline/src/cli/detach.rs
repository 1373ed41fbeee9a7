//! `detach`: takes capture and everything else of ours out of the database.

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::{confirm, text};
use crate::api::v1::{Answer, Command};

pub(crate) async fn run(session: &Session) -> Result<Done, Failure> {
    confirm::can_ask(session, "detach")?;
    let Reply { answer, .. } = session.read(Command::Status).await?;
    let Answer::Status(status) = answer else { return Err(Failure::unexpected_answer()) };
    let what = match &status.capture {
        Some(capture) => format!(
            "Changes of {} will be captured no more. {}, {} and {} on record will be forgotten; the shop's rows stay.",
            status.server,
            text::count(capture.pending, "change that was not sent", "changes that were not sent"),
            text::count(capture.held, "held row", "held rows"),
            text::count(capture.conflicts, "conflict", "conflicts"),
        ),
        None => format!("Everything of branchline will be taken out of the database of {}.", status.server),
    };
    session.output.note(&format!("{what}\n"));
    confirm::ask(session, &what, &status.server).await?;
    let Reply { answer, data, .. } = session.change(Command::Detach).await?;
    let Answer::Changed(changed) = answer else { return Err(Failure::unexpected_answer()) };
    Ok(Done::new(data, changed.message).next("branchline attach   # captures them again, from then on"))
}
