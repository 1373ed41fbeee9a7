//! `join`: pairs with the server that made an invitation.

use branchline_core::code::Code;
use branchline_core::pairing::{Invitation, InvitationError};

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::text;
use crate::api::v1::{Answer, Command, Problem};

/// What `join` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The line that `branchline invite` printed on the other server
    #[arg(value_name = "INVITATION")]
    invitation: String,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    // A typing error is told before anything is opened or dialled.
    arguments.invitation.parse::<Invitation>().map_err(|error: InvitationError| {
        Problem::new(Code::INVITATION_MISTYPED, error.to_string())
            .with_data("Nothing was changed on either server.")
    })?;
    let Reply { answer, data, .. } =
        session.change(Command::Join { invitation: arguments.invitation }).await?;
    let Answer::Join(joined) = answer else { return Err(Failure::unexpected_answer()) };
    let lines = [
        ("peer", format!("{} ({})", joined.peer, joined.name)),
        ("address", joined.address.clone()),
        ("key id", joined.key_id.clone()),
        ("words", joined.words.clone()),
    ];
    let said = format!(
        "Paired with {}. Its owner sees the same four words: {}\n\n{}",
        joined.peer,
        joined.words,
        text::pairs(lines)
    );
    Ok(Done::new(data, said)
        .next(format!("branchline sync {} --dry-run   # what would be sent", joined.peer))
        .next(format!("branchline sync {}", joined.peer)))
}
