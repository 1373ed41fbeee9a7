//! `completions`: the script that lets a shell complete our verbs and flags.

use clap_complete::Shell;

use super::arguments;
use super::done::{Done, Failure};
use super::json;
use super::run::Session;

/// What `completions` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, session: &Session) -> Result<Done, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut arguments::command(), "branchline", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::internal(error.to_string()))?;
    if session.output.is_json() {
        return Ok(Done::new(json::object([("script", script.into())]), ""));
    }
    session.output.print_exact(&script);
    Ok(Done::default())
}
