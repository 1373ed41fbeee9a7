//! `demo`: a head office and two stores on this machine, from nothing to equal.

use std::path::PathBuf;
use std::sync::Arc;

use super::done::{Done, Failure};
use super::run::Session;
use super::{json, text};
use crate::api::v1::Progress;
use crate::demo::{DemoDatabase, DemoOptions};
use crate::node::ProgressSink;

/// What `demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Keep everything in this folder afterwards
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// On which database
    #[arg(long, value_name = "KIND", value_parser = ["sqlite", "postgres"], default_value = "sqlite")]
    database: String,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    let database =
        if arguments.database == "postgres" { DemoDatabase::Postgres } else { DemoDatabase::Sqlite };
    let options = DemoOptions { keep: arguments.keep, database };
    let answer = Box::pin(crate::demo::run(options, stages(session))).await?;
    let mut said = String::from("\n");
    if let Some(folder) = &answer.folder {
        said.push_str(&format!("The three servers stay in {folder}\n"));
        said.push_str("Try next:  branchline --home FOLDER/STORE-001 status\n");
    } else {
        said.push_str("Nothing was kept; with  branchline demo --keep FOLDER  you can look at all of it.\n");
    }
    said.push_str("On your own database:  branchline init --id STORE-001 --database URL\n\n");
    let equal = answer.comparisons.iter().filter(|pair| pair.equal).count();
    for pair in &answer.comparisons {
        let verdict = if pair.equal { "equal" } else { "DIFFERENT" };
        said.push_str(&format!("{} and {}: {verdict}, {} rows\n", pair.a, pair.b, text::number(pair.rows)));
    }
    for day in &answer.days {
        let verdict = if day.complete { "day complete" } else { "day NOT complete" };
        said.push_str(&format!("{} {}: {verdict}\n", day.store, day.date));
    }
    // Always in seconds: `cargo xtask windows` compares this line between systems.
    let time = format!("{}.{} s", answer.millis / 1_000, answer.millis % 1_000 / 100);
    said.push_str(&match answer.equal {
        true => format!("All three databases are equal, after {time}.\n"),
        false => format!("Only {equal} of {} pairs are equal, after {time}.\n", answer.comparisons.len()),
    });
    let mut done = Done::new(json::of(&answer), said);
    done.exit_code = if answer.equal { 0 } else { 3 };
    Ok(done)
}

/// The demo's steps are its result, so people see them on stdout as they happen.
fn stages(session: &Session) -> ProgressSink {
    let output = session.output.clone();
    Arc::new(move |report: Progress| match report.message {
        Some(message) if output.is_json() => tracing::info!(stage = report.stage, "{message}"),
        Some(message) => output.print(&format!("{:<9} {message}\n", report.stage)),
        None => {}
    })
}
