//! `attach`: captures the changes of this database from now on, or brings what captures them in step with its tables.

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::{confirm, text};
use crate::api::v1::{Answer, AttachAnswer, Command, IdAnswer};

/// What `attach` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The database was restored from a copy, cloned or handed over: let it go on as another than it was
    #[arg(long)]
    new_life: bool,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    let Arguments { new_life } = arguments;
    if new_life {
        confirm_new_life(session).await?;
    }
    let Reply { answer, data, .. } = session.change(Command::Attach { new_life }).await?;
    let Answer::Attach(attached) = answer else { return Err(Failure::unexpected_answer()) };
    let next = match attached.mended.is_empty() {
        true => "branchline sync",
        false => "branchline compare PEER   # finds what was missed",
    };
    Ok(Done::new(data, described(&attached)).next(next))
}

async fn confirm_new_life(session: &Session) -> Result<(), Failure> {
    confirm::can_ask(session, "attach --new-life cannot be taken back, so it")?;
    let Reply { answer, .. } = session.read(Command::Id).await?;
    let Answer::Id(IdAnswer { server, .. }) = answer else { return Err(Failure::unexpected_answer()) };
    let what = format!(
        "The database of {server} will go on as another than it was. If another copy of it is in use, stop that one first."
    );
    session.output.note(&format!("{what}\n"));
    confirm::ask(session, &what, &server).await
}

fn described(attached: &AttachAnswer) -> String {
    let tables = text::count(attached.captured, "table is captured", "tables are captured");
    let life = if attached.new_life { "a new life, " } else { "" };
    let mut said = format!("{tables} for {} ({life}epoch {}).\n", attached.server, attached.epoch);
    let lists = [
        ("new", &attached.added),
        ("mended, and a compare is due", &attached.mended),
        ("captured no more", &attached.removed),
    ];
    for (what, tables) in lists.into_iter().filter(|(_, tables)| !tables.is_empty()) {
        said.push_str(&format!("  {what}: {}\n", tables.join(", ")));
    }
    said
}
