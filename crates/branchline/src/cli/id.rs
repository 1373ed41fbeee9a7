//! `id`: who this server is.

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::text;
use crate::api::v1::{Answer, Command};

pub(crate) async fn run(session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.read(Command::Id).await?;
    let Answer::Id(id) = answer else { return Err(Failure::unexpected_answer()) };
    let addresses =
        if id.addresses.is_empty() { "(none advertised)".to_owned() } else { id.addresses.join(", ") };
    let add = format!("branchline peers add {} {}   # on another server", id.server, id.key_id);
    let lines = [
        ("server", id.server),
        ("name", id.name),
        ("key id", id.key_id),
        ("pin", format!("sha256//{}     (for curl --pinnedpubkey)", id.pin)),
        ("addresses", addresses),
    ];
    Ok(Done::new(data, text::pairs(lines)).next(add))
}
