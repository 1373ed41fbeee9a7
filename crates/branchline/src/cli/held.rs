//! `held`: rows that came in and could not go in yet.

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::text;
use crate::api::v1::{Answer, Command};
use crate::node::clock::now;

/// What can be done with held rows.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// All of them, each with its reason
    List,
}

impl Verb {
    pub(crate) fn schema(&self) -> &'static str {
        match self {
            Self::List => "branchline.held.list/1",
        }
    }
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Done, Failure> {
    let Verb::List = verb;
    let Reply { answer, data, .. } = session.read(Command::HeldList).await?;
    let Answer::Held(held) = answer else { return Err(Failure::unexpected_answer()) };
    if held.rows.is_empty() {
        return Ok(Done::new(data, "No row is held.").next("branchline status"));
    }
    let now = now();
    let rows = held.rows.iter().map(|row| {
        let since = text::ago(&row.since, now);
        [
            row.table.clone(),
            row.key.clone(),
            row.source.clone(),
            since,
            format!("{} {}", row.code, row.reason),
        ]
    });
    let listed = text::table(["table", "key", "from", "since", "why"], rows);
    let held = text::count(held.rows.len() as u64, "row is held", "rows are held");
    let said = format!("{listed}\n{held}, and tried again with each backup that comes in.");
    Ok(Done::new(data, said).next("branchline status"))
}
