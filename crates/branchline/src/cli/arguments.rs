//! What can be typed: global flags and verbs; and the answer to what cannot be understood.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use branchline_core::code::Code;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use super::done::Failure;
use super::output::Output;
use super::{
    attach, backups, compare, completions, config, days, demo, explain, held, init, invite, join, peers,
    schedule, serve, sync, tables,
};
use crate::api::v1::Problem;

/// Keeps a group of shops and their head office in step, straight from server to server.
#[derive(Debug, Parser)]
#[command(name = "branchline", version, arg_required_else_help = true, max_term_width = 80)]
#[command(
    after_help = "First steps:  branchline demo     or     branchline init --id STORE-001 --database URL"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArguments {
    /// The folder with keys, state and spool [default: $BRANCHLINE_HOME, else the system's place]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) home: Option<PathBuf>,
    /// The settings [default: config.toml in the home folder]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Answer with one JSON document on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no hints
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log more to stderr; twice for all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// No colours (NO_COLOR and TERM=dumb do the same)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Do not ask: yes to everything
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a server here: its key and its settings
    Init(init::Arguments),
    /// Listen for peers until told to stop
    Serve(serve::Arguments),
    /// Make a line that lets another server join this one
    Invite(invite::Arguments),
    /// Pair with the server that made an invitation
    Join(join::Arguments),
    /// Who this server is
    Id,
    /// The other servers
    #[command(subcommand)]
    Peers(peers::Verb),
    /// Which tables can sync, and why the others cannot
    Tables(tables::Arguments),
    /// Capture this database's changes, so that only they travel
    Attach(attach::Arguments),
    /// Capture no more, and leave the database as it was found
    Detach,
    /// Which business days are complete, and what is missing from the others
    Days(days::Arguments),
    /// Rows that came in and could not go in yet
    #[command(subcommand)]
    Held(held::Verb),
    /// Send a backup to peers
    Sync(sync::Arguments),
    /// How everything stands
    Status,
    /// Backups and receipts
    #[command(subcommand)]
    Backups(backups::Verb),
    /// Prove that this database and a peer's are equal
    Compare(compare::Arguments),
    /// What is done by itself, and when
    #[command(subcommand)]
    Schedule(schedule::Verb),
    /// The settings
    #[command(subcommand)]
    Config(config::Verb),
    /// Two stores and a head office on this machine, from nothing to equal
    Demo(demo::Arguments),
    /// What an error code means
    Explain(explain::Arguments),
    /// The completions of a shell
    Completions(completions::Arguments),
}

impl Verb {
    /// What the answer's `schema` says.
    pub(crate) fn schema(&self) -> &'static str {
        match self {
            Self::Init(_) => "branchline.init/1",
            Self::Serve(_) => "branchline.serve/1",
            Self::Invite(_) => "branchline.invite/1",
            Self::Join(_) => "branchline.join/1",
            Self::Id => "branchline.id/1",
            Self::Peers(verb) => verb.schema(),
            Self::Tables(_) => "branchline.tables/1",
            Self::Attach(_) => "branchline.attach/1",
            Self::Detach => "branchline.detach/1",
            Self::Days(_) => "branchline.days/1",
            Self::Held(verb) => verb.schema(),
            Self::Sync(_) => "branchline.sync/1",
            Self::Status => "branchline.status/1",
            Self::Backups(verb) => verb.schema(),
            Self::Compare(_) => "branchline.compare/1",
            Self::Schedule(verb) => verb.schema(),
            Self::Config(verb) => verb.schema(),
            Self::Demo(_) => "branchline.demo/1",
            Self::Explain(_) => "branchline.explain/1",
            Self::Completions(_) => "branchline.completions/1",
        }
    }
}

/// The schema of an answer to a command line that names no verb.
const USAGE_SCHEMA: &str = "branchline.usage/1";

/// Answers a command line that is a question (`--help`, `--version`) or cannot be understood.
pub(crate) fn answer_error(error: &clap::Error, raw: &[OsString]) -> ExitCode {
    let asks = |flag: &str| raw.iter().any(|argument| argument == flag);
    let global =
        GlobalArguments { json: asks("--json"), no_color: asks("--no-color"), ..GlobalArguments::default() };
    let output = Output::new(&global);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output.print(&error.render().to_string());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !global.json => {
            output.note(&error.render().to_string());
            ExitCode::from(2)
        }
        _ => output.failed(USAGE_SCHEMA, &Failure::from(problem_of(error))),
    }
}

/// clap's own words: the first paragraph is what failed; usage is the help.
fn problem_of(error: &clap::Error) -> Problem {
    let rendered = error.render().to_string();
    let text = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    let (said, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let is_tip = |line: &&str| line.trim_start().starts_with("tip: ");
    let tip = rest.lines().find(is_tip).map(|line| line.trim().replacen("tip: ", "", 1));
    let usage = rest.lines().find_map(|line| line.trim().strip_prefix("Usage: "));
    let usage = usage.unwrap_or("branchline help");
    let help = tip.map_or_else(|| usage.to_owned(), |tip| format!("{tip}\n{usage}"));
    Problem::new(Code::USAGE, said.trim()).with_help(help)
}

/// The whole command, for completions.
pub(crate) fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_and_flag_is_documented() {
        let document = include_str!("../../../../docs/cli.md");
        let mut commands = vec![command()];
        while let Some(command) = commands.pop() {
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(document.contains(&format!("--{flag}")), "--{flag} is not in docs/cli.md");
            }
            for verb in command.get_subcommands() {
                assert!(document.contains(verb.get_name()), "{} is not in docs/cli.md", verb.get_name());
                commands.push(verb.clone());
            }
        }
    }
}
