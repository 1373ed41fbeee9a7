//! `peers`: the other servers, and what is allowed to them.

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::{confirm, text};
use crate::api::v1::{Answer, Command, PeerAnswer, PingAnswer};
use crate::node::clock::now;

/// What can be done with peers.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// All of them
    List,
    /// One of them
    Show {
        /// Its id
        #[arg(value_name = "PEER")]
        peer: String,
    },
    /// Add one by its key id, the manual way
    Add {
        /// Its id
        #[arg(value_name = "PEER")]
        peer: String,
        /// The key id that  branchline id  says there
        #[arg(value_name = "KEY-ID")]
        key_id: String,
        /// What people call it
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Where it can be found; may be repeated
        #[arg(long = "address", value_name = "HOST:PORT")]
        addresses: Vec<String>,
        /// Let it remove rows here that it does not have
        #[arg(long)]
        mirror: bool,
        /// Pass on to it what other servers made, too
        #[arg(long)]
        relay: bool,
    },
    /// Remove one, with what waits for it
    Remove {
        /// Its id
        #[arg(value_name = "PEER")]
        peer: String,
    },
    /// Exchange nothing with it for now
    Pause {
        /// Its id
        #[arg(value_name = "PEER")]
        peer: String,
    },
    /// Exchange again
    Resume {
        /// Its id
        #[arg(value_name = "PEER")]
        peer: String,
    },
    /// Change what it may do here, and what it gets
    Grant(Grant),
    /// Try its addresses
    Ping {
        /// Its id
        #[arg(value_name = "PEER")]
        peer: String,
    },
}

/// What a peer may do here; what is not said stays as it is.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Grant {
    /// Its id
    #[arg(value_name = "PEER", required = true)]
    peer: Option<String>,
    /// Whether it may send backups to be applied here
    #[arg(long, value_name = "YES-NO", value_parser = yes_or_no)]
    write: Option<bool>,
    /// Whether it may remove rows here that it does not have
    #[arg(long, value_name = "YES-NO", value_parser = yes_or_no)]
    mirror: Option<bool>,
    /// Whether what other servers made is passed on to it
    #[arg(long, value_name = "YES-NO", value_parser = yes_or_no)]
    relay: Option<bool>,
    /// The tables that it may write, with commas
    #[arg(long, value_name = "TABLES", value_delimiter = ',', conflicts_with = "all_tables")]
    tables: Option<Vec<String>>,
    /// It may write all tables
    #[arg(long)]
    all_tables: bool,
}

impl Verb {
    pub(crate) fn schema(&self) -> &'static str {
        match self {
            Self::List => "branchline.peers.list/1",
            Self::Show { .. } => "branchline.peers.show/1",
            Self::Add { .. } => "branchline.peers.add/1",
            Self::Remove { .. } => "branchline.peers.remove/1",
            Self::Pause { .. } => "branchline.peers.pause/1",
            Self::Resume { .. } => "branchline.peers.resume/1",
            Self::Grant(_) => "branchline.peers.grant/1",
            Self::Ping { .. } => "branchline.peers.ping/1",
        }
    }
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Done, Failure> {
    match verb {
        Verb::List => list(session).await,
        Verb::Show { peer } => show(peer, session).await,
        Verb::Ping { peer } => ping(peer, session).await,
        Verb::Add { peer, key_id, name, addresses, mirror, relay } => {
            let next = format!("branchline peers ping {peer}");
            change(Command::PeersAdd { peer, key_id, name, addresses, mirror, relay }, next, session).await
        }
        Verb::Remove { peer } => remove(peer, session).await,
        Verb::Pause { peer } => {
            let next = format!("branchline peers resume {peer}");
            change(Command::PeersPause { peer }, next, session).await
        }
        Verb::Resume { peer } => {
            let next = format!("branchline sync {peer}");
            change(Command::PeersResume { peer }, next, session).await
        }
        Verb::Grant(Grant { peer, write, mirror, relay, tables, all_tables }) => {
            let peer = peer.unwrap_or_default();
            let tables = if all_tables { Some(Vec::new()) } else { tables };
            if write.is_none() && mirror.is_none() && relay.is_none() && tables.is_none() {
                let help = format!("for example  branchline peers grant {peer} --tables products,orders");
                return Err(Failure::usage("nothing is said that could be granted", help));
            }
            let next = format!("branchline peers show {peer}");
            change(Command::PeersGrant { peer, write, mirror, relay, tables }, next, session).await
        }
    }
}

async fn change(command: Command, next: String, session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.change(command).await?;
    let Answer::Changed(changed) = answer else { return Err(Failure::unexpected_answer()) };
    Ok(Done::new(data, changed.message).next(next))
}

async fn remove(peer: String, session: &Session) -> Result<Done, Failure> {
    confirm::can_ask(session, &format!("removing {peer}"))?;
    let Reply { answer, .. } = session.read(Command::PeersShow { peer: peer.clone() }).await?;
    let Answer::Peer(known) = answer else { return Err(Failure::unexpected_answer()) };
    let what = match known.waiting {
        0 => format!("{} ({}) will be let in no longer.", known.id, known.name),
        waiting => format!(
            "{} ({}) will be let in no longer, and {} for it will be dropped.",
            known.id,
            known.name,
            text::count(waiting, "backup that waits", "backups that wait")
        ),
    };
    session.output.note(&format!("{what}\n"));
    confirm::ask(session, &what, &known.id).await?;
    // What undoes it.
    let address: String = known.addresses.iter().map(|address| format!(" --address {address}")).collect();
    let undo = format!("branchline peers add {} {}{address}   # takes it in again", known.id, known.key_id);
    change(Command::PeersRemove { peer }, undo, session).await
}

async fn list(session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.read(Command::PeersList).await?;
    let Answer::Peers(answer) = answer else { return Err(Failure::unexpected_answer()) };
    if answer.peers.is_empty() {
        let said = "No peers yet. On one server run  branchline invite STORE-001  and on the other paste the line it prints.";
        return Ok(Done::new(data, said).next("branchline invite STORE-001"));
    }
    Ok(Done::new(data, table(&answer.peers)).next("branchline peers ping PEER"))
}

/// The table of peers, which `status` shows as well.
pub(super) fn table(peers: &[PeerAnswer]) -> String {
    let now = now();
    let rows = peers.iter().map(|peer| {
        let seen = peer.last_seen.as_ref().map_or_else(|| "never".to_owned(), |time| text::ago(time, now));
        let address = peer.addresses.first().cloned().unwrap_or_else(|| "(it calls us)".to_owned());
        let waiting = if peer.waiting == 0 { "nothing".to_owned() } else { text::number(peer.waiting) };
        [peer.id.clone(), peer.name.clone(), peer.activity.clone(), seen, waiting, address]
    });
    text::table(["peer", "name", "state", "seen", "waits", "address"], rows)
}

async fn show(peer: String, session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.read(Command::PeersShow { peer }).await?;
    let Answer::Peer(peer) = answer else { return Err(Failure::unexpected_answer()) };
    let now = now();
    let or = |list: &[String], none: &str| if list.is_empty() { none.to_owned() } else { list.join(", ") };
    let lines = [
        ("peer", peer.id.clone()),
        ("name", peer.name.clone()),
        ("state", peer.activity.clone()),
        ("key id", peer.key_id.clone()),
        ("addresses", or(&peer.addresses, "(it calls us)")),
        ("added", text::time(&peer.added_at, now)),
        ("seen", peer.last_seen.as_ref().map_or_else(|| "never".to_owned(), |time| text::time(time, now))),
        ("may write", if peer.write { or(&peer.tables, "all tables") } else { "nothing".to_owned() }),
        ("may remove", if peer.mirror { "yes: rows that it does not have" } else { "no" }.to_owned()),
        (
            "gets",
            if peer.relay { "what this server and others made" } else { "what this server made" }.to_owned(),
        ),
        ("rows", or(&peer.filters, "all")),
        ("waits", text::count(peer.waiting, "backup", "backups")),
    ];
    let next = match peer.activity.as_str() {
        "paused" => format!("branchline peers resume {}", peer.id),
        _ => format!("branchline peers ping {}", peer.id),
    };
    Ok(Done::new(data, text::pairs(lines)).next(next))
}

async fn ping(peer: String, session: &Session) -> Result<Done, Failure> {
    /// A clock that is further off is worth a word.
    const CLOCK_NAMED_MILLIS: u64 = 2_000;
    let Reply { answer, data, .. } = session.read(Command::PeersPing { peer }).await?;
    let Answer::Ping(PingAnswer { peer, path, millis, producer, protocol, clock_ahead_millis, tables }) =
        answer
    else {
        return Err(Failure::unexpected_answer());
    };
    let off = clock_ahead_millis.unsigned_abs();
    let clock = match (off < CLOCK_NAMED_MILLIS, clock_ahead_millis > 0) {
        (true, _) => "as here".to_owned(),
        (false, true) => format!("{} ahead of here", text::millis(off)),
        (false, false) => format!("{} behind here", text::millis(off)),
    };
    let lines = [
        ("path", path),
        ("key", "the pinned one, over TLS 1.3".to_owned()),
        ("program", format!("{producer}, protocol {protocol}")),
        ("clock", clock),
        ("tables", text::number(tables)),
    ];
    let said = format!("{peer} answers after {}.\n\n{}", text::millis(millis), text::pairs(lines));
    Ok(Done::new(data, said).next(format!("branchline sync {peer}")))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("say yes or no".to_owned()),
    }
}
