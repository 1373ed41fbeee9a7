//! The demo: a head office and two stores on this machine, with real databases, keys, invitations and TLS.
//!
//! 1. Three databases with a small shop in each: one catalogue for all, and sales of each store's own.
//! 2. Three servers are initialised, and listen on ports of the loopback interface that the system chooses.
//! 3. The head office invites, the stores join.
//! 4. Changes are captured from here on. Both stores send everything to the head office, which then sends everything to
//!    both, and will pass on what each of them makes.
//! 5. A day of trade: both stores sell, correct and take back, and both set one price. At its end each sends what changed,
//!    and closes its day; the head office says whether it has all of it, and passes it on.
//! 6. Every pair is compared.
//!
//! Nothing is faked: the same node as in a shop does all of it, three times in one process. It ends by itself, and
//! leaves nothing unless it is told to keep its folder.

mod private_postgres;
mod server;
mod shop;

use std::path::PathBuf;

use branchline_core::code::Code;
use tokio_util::sync::CancellationToken;

use crate::api::v1::{
    Answer, ClosedDay, Command, CompareAnswer, DemoAnswer, DemoComparison, DemoServer, Problem, SyncCommand,
    SyncOutcome,
};
use crate::node::ProgressSink;
use crate::node::clock::Stopwatch;
use crate::node::progress::Reporter;
use private_postgres::PrivatePostgres;
use server::RunningServer;
use shop::{DAY_OF_TRADE, Shop};

/// What a person can choose.
#[derive(Debug, Clone, Default)]
pub struct DemoOptions {
    /// Where everything is kept afterwards; nowhere, where it is not said.
    pub keep: Option<PathBuf>,
    /// Which database.
    pub database: DemoDatabase,
}

/// Which database the demo runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DemoDatabase {
    /// Three files.
    #[default]
    Sqlite,
    /// Three databases of a PostgreSQL server that is started for the demo and stopped after it.
    Postgres,
}

/// The head office and the stores.
const SERVERS: [(&str, &str); 3] =
    [("CENTRAL-HQ", "Head office"), ("STORE-001", "Store 1"), ("STORE-002", "Store 2")];

/// Runs the demo. What happens is told through `progress`, one message a step.
///
/// # Errors
/// Where anything at all goes wrong; an answer with `equal` false is not an error, and never happens.
pub async fn run(options: DemoOptions, progress: ProgressSink) -> Result<DemoAnswer, Problem> {
    let watch = Stopwatch::start();
    let temporary = tempfile::tempdir().map_err(|error| folder_problem(&error))?;
    let folder = options.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder).map_err(|error| folder_problem(&error))?;
    let postgres = match options.database {
        DemoDatabase::Sqlite => None,
        DemoDatabase::Postgres => {
            say(&progress, "postgres", "starting a private PostgreSQL");
            Some(PrivatePostgres::start().await?)
        }
    };
    let shutdown = CancellationToken::new();
    let mut servers = Vec::new();
    for (index, (id, name)) in SERVERS.into_iter().enumerate() {
        let shop = Shop { store: index };
        let (url, rows) = shop.create(&folder, id, postgres.as_ref()).await?;
        let day = shop::DAY_SETTINGS.replace("{shop}", &format!("shop-{index}"));
        let server = RunningServer::start(&folder, id, name, url, &day, &shutdown).await?;
        let listening = server.address();
        say(
            &progress,
            "servers",
            format!("{id:<10}  {rows:>5} rows  listens on {listening}  key {}", server.short_key()),
        );
        servers.push((server, rows));
    }
    let done = exchange(&servers, postgres.as_ref(), &progress).await;
    shutdown.cancel();
    for (server, _) in &servers {
        server.stopped().await;
    }
    drop(postgres);
    let (servers, days, comparisons) = done?;
    let complete = days.len() == 2 && days.iter().all(|day| day.complete);
    let equal = complete && comparisons.iter().all(|pair| pair.equal);
    Ok(DemoAnswer {
        database: match options.database {
            DemoDatabase::Sqlite => "sqlite".to_owned(),
            DemoDatabase::Postgres => "postgres".to_owned(),
        },
        folder: options.keep.map(|folder| folder.to_string_lossy().into_owned()),
        servers,
        days,
        comparisons,
        equal,
        millis: watch.millis(),
    })
}

type Servers = [(RunningServer, u64)];

async fn exchange(
    servers: &Servers,
    postgres: Option<&PrivatePostgres>,
    progress: &ProgressSink,
) -> Result<(Vec<DemoServer>, Vec<ClosedDay>, Vec<DemoComparison>), Problem> {
    let (headquarters, stores) =
        servers.split_first().ok_or_else(|| Problem::new(Code::INTERNAL, "no servers"))?;
    for (store, _) in stores {
        let words = pair(&headquarters.0, store).await?;
        say(progress, "pairing", format!("CENTRAL-HQ invited {}, which joined; both see: {words}", store.id));
    }
    for (server, _) in servers {
        attach(server, progress).await?;
    }
    let mut outcomes: Vec<Vec<SyncOutcome>> = vec![Vec::new(); servers.len()];
    for (index, (server, _)) in servers.iter().enumerate().skip(1) {
        outcomes[index] = sync(server, SyncCommand::default(), progress).await?;
    }
    outcomes[0] = sync(&headquarters.0, SyncCommand::default(), progress).await?;
    let days = day_of_trade(servers, postgres, &mut outcomes, progress).await?;
    let mut comparisons = Vec::new();
    let mut rows_after = vec![0; servers.len()];
    for (index, (store, _)) in servers.iter().enumerate().skip(1) {
        let compared = compare(store, "CENTRAL-HQ").await?;
        (rows_after[index], rows_after[0]) = (compared.rows_here, compared.rows_there);
        comparisons.push(comparison(store, "CENTRAL-HQ", &compared, progress));
    }
    comparisons.push(compare_stores(stores, progress).await?);
    let described =
        servers.iter().zip(outcomes).zip(rows_after).map(|(((server, rows_before), syncs), rows_after)| {
            DemoServer {
                server: server.id.clone(),
                key_id: server.key_id.clone(),
                database: server.shown_url.clone(),
                rows_before: *rows_before,
                rows_after,
                syncs,
            }
        });
    Ok((described.collect(), days, comparisons))
}

/// The two stores never met: they are introduced by key id, the manual way, only to be compared.
async fn compare_stores(stores: &Servers, progress: &ProgressSink) -> Result<DemoComparison, Problem> {
    let [(first, _), (second, _)] = stores else {
        return Err(Problem::new(Code::INTERNAL, "not two stores"));
    };
    for (here, there) in [(first, second), (second, first)] {
        let add = Command::PeersAdd {
            peer: there.id.clone(),
            key_id: there.key_id.clone(),
            name: None,
            addresses: vec![there.address()],
            mirror: false,
            relay: false,
        };
        here.ask(add).await?;
    }
    let compared = compare(first, &second.id).await?;
    Ok(comparison(first, &second.id, &compared, progress))
}

async fn pair(headquarters: &RunningServer, store: &RunningServer) -> Result<String, Problem> {
    let (server, address) = (Some(store.id.clone()), Some(headquarters.address()));
    let invite = Command::Invite { server, name: None, address, valid_seconds: Some(600), relay: true };
    let Answer::Invite(invited) = headquarters.ask(invite).await? else { return Err(other_answer()) };
    let Answer::Join(joined) = store.ask(Command::Join { invitation: invited.invitation }).await? else {
        return Err(other_answer());
    };
    Ok(joined.words)
}

async fn attach(server: &RunningServer, progress: &ProgressSink) -> Result<(), Problem> {
    let Answer::Attach(attached) = server.ask(Command::Attach { new_life: false }).await? else {
        return Err(other_answer());
    };
    say(progress, "attach", format!("{}: changes of {} tables are captured", server.id, attached.captured));
    Ok(())
}

/// Trade at both stores, and the close of their day.
async fn day_of_trade(
    servers: &Servers,
    postgres: Option<&PrivatePostgres>,
    outcomes: &mut [Vec<SyncOutcome>],
    progress: &ProgressSink,
) -> Result<Vec<ClosedDay>, Problem> {
    let (headquarters, stores) =
        servers.split_first().ok_or_else(|| Problem::new(Code::INTERNAL, "no servers"))?;
    for (index, (store, _)) in stores.iter().enumerate() {
        Shop { store: index + 1 }.trade(&store.url, postgres).await?;
        say(progress, "trade", format!("{}: a day of sales, corrections, and an order taken back", store.id));
    }
    for (index, (store, _)) in stores.iter().enumerate() {
        let close = SyncCommand {
            backup_type: Some("daily_transactions".to_owned()),
            day: Some(DAY_OF_TRADE.to_owned()),
            ..SyncCommand::default()
        };
        outcomes[index + 1].extend(sync(store, close, progress).await?);
    }
    outcomes[0].extend(sync(&headquarters.0, SyncCommand::default(), progress).await?);
    let asked = Command::Days { day: Some(DAY_OF_TRADE.to_owned()) };
    let Answer::Days(answer) = headquarters.0.ask(asked).await? else { return Err(other_answer()) };
    for day in &answer.days {
        let verdict = if day.complete { "day complete" } else { "day NOT complete" };
        let counted = day.tables.iter().map(|table| {
            let sums = table.money.iter().map(|money| format!(", {} {}", money.column, money.store));
            format!("{} {}{}", table.rows_store, table.table, sums.collect::<String>())
        });
        let counted = counted.collect::<Vec<_>>().join("; ");
        say(progress, "day", format!("{} {}: {verdict} at CENTRAL-HQ ({counted})", day.store, day.date));
    }
    Ok(answer.days)
}

async fn sync(
    server: &RunningServer,
    command: SyncCommand,
    progress: &ProgressSink,
) -> Result<Vec<SyncOutcome>, Problem> {
    let Answer::Sync(answer) = server.ask(Command::Sync(command)).await? else {
        return Err(other_answer());
    };
    for outcome in &answer.peers {
        if let Some(problem) = &outcome.problem {
            return Err(problem.clone());
        }
        let count = |name: &str| {
            outcome.receipt.as_ref().and_then(|receipt| receipt.get(name)?.as_u64()).unwrap_or_default()
        };
        let millis: u64 = outcome.stages.iter().map(|stage| stage.millis).sum();
        let message = format!(
            "{} > {}: {} rows, {} KiB; {} new, {} changed, {} there already; receipt signed ({millis} ms)",
            server.id,
            outcome.peer,
            outcome.rows,
            outcome.document_bytes.div_ceil(1024),
            count("inserted"),
            count("updated"),
            count("unchanged"),
        );
        say(progress, "sync", message);
    }
    Ok(answer.peers)
}

async fn compare(server: &RunningServer, peer: &str) -> Result<CompareAnswer, Problem> {
    match server.ask(Command::Compare { peer: peer.to_owned(), tables: Vec::new(), repair: false }).await? {
        Answer::Compare(answer) => Ok(answer),
        _ => Err(other_answer()),
    }
}

fn comparison(
    server: &RunningServer,
    peer: &str,
    compared: &CompareAnswer,
    progress: &ProgressSink,
) -> DemoComparison {
    let differ = compared.missing_here + compared.missing_there + compared.different;
    let tables = compared.tables.len();
    let message =
        format!("{} = {peer}: {} rows of {tables} tables, {differ} differ", server.id, compared.rows_here);
    say(progress, "compare", message);
    DemoComparison {
        a: server.id.clone(),
        b: peer.to_owned(),
        equal: compared.equal,
        rows: compared.rows_here,
    }
}

fn say(progress: &ProgressSink, stage: &str, message: impl Into<String>) {
    Reporter::begin(progress, stage, None).end(message);
}

fn other_answer() -> Problem {
    Problem::new(Code::INTERNAL, "the node answered another question")
}

fn folder_problem(error: &std::io::Error) -> Problem {
    Problem::new(Code::FILE_UNREADABLE, format!("the demo's folder cannot be made: {error}"))
}
