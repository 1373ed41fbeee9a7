//! The command line: one file a verb, and what they share.
//!
//! ```text
//! arguments > session (home, settings) > running serve, or a node in this process > text or JSON > exit code
//! ```
//! A verb's result goes to stdout; progress, logs and errors go to stderr, except that with `--json` the one
//! document on stdout holds the error too. `docs/cli.md` lists verbs, exit codes and the JSON envelope.

mod arguments;
mod confirm;
mod done;
mod json;
mod logs;
mod output;
mod problem_text;
mod progress;
mod run;
mod signals;
mod text;

mod attach;
mod backups;
mod compare;
mod completions;
mod config;
mod days;
mod demo;
mod detach;
mod explain;
mod held;
mod id;
pub mod init;
mod invite;
mod join;
mod peers;
mod schedule;
mod serve;
mod status;
mod sync;
mod tables;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use arguments::{Arguments, Verb};
use done::{Done, Failure};
use output::Output;
use run::Session;

/// How long tasks that are left over when a command ends may take to notice.
const RUNTIME_STOP: Duration = Duration::from_secs(1);

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let raw: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(&raw) {
        Ok(arguments) => arguments,
        Err(error) => return arguments::answer_error(&error, &raw),
    };
    let output = Output::new(&arguments.global);
    let schema = arguments.verb.schema();
    let outcome = run_verb(arguments, &output);
    match outcome {
        Ok(done) => output.done(schema, &done),
        Err(failure) => output.failed(schema, &failure),
    }
}

fn run_verb(arguments: Arguments, output: &Output) -> Result<Done, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("the runtime cannot be started: {error}")))?;
    let session = Session::new(arguments.global, output.clone());
    logs::start(&session, &arguments.verb)?;
    let outcome = runtime.block_on(async {
        // `serve` ends by itself when it is told to; anything else is dropped where it is.
        if let Verb::Serve(serve) = arguments.verb {
            return Box::pin(serve::run(serve, &session)).await;
        }
        tokio::select! {
            outcome = Box::pin(dispatch(arguments.verb, &session)) => outcome,
            signal = signals::first() => Err(Failure::interrupted(signal)),
        }
    });
    runtime.shutdown_timeout(RUNTIME_STOP);
    output.end_progress();
    outcome
}

async fn dispatch(verb: Verb, session: &Session) -> Result<Done, Failure> {
    match verb {
        Verb::Init(arguments) => init::run(arguments, session).await,
        Verb::Serve(arguments) => serve::run(arguments, session).await,
        Verb::Invite(arguments) => invite::run(arguments, session).await,
        Verb::Join(arguments) => join::run(arguments, session).await,
        Verb::Id => id::run(session).await,
        Verb::Peers(verb) => peers::run(verb, session).await,
        Verb::Tables(arguments) => tables::run(arguments, session).await,
        Verb::Attach(arguments) => attach::run(arguments, session).await,
        Verb::Detach => detach::run(session).await,
        Verb::Days(arguments) => days::run(arguments, session).await,
        Verb::Held(verb) => held::run(verb, session).await,
        Verb::Sync(arguments) => sync::run(arguments, session).await,
        Verb::Status => status::run(session).await,
        Verb::Backups(verb) => backups::run(verb, session).await,
        Verb::Compare(arguments) => compare::run(arguments, session).await,
        Verb::Schedule(verb) => schedule::run(&verb, session).await,
        Verb::Config(verb) => config::run(&verb, session),
        Verb::Demo(arguments) => demo::run(arguments, session).await,
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Completions(arguments) => completions::run(&arguments, session),
    }
}
