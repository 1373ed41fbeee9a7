//! What people do often with this repository, as `cargo xtask VERB`: one short file a verb.
//!
//! It is a developer's tool and no part of the product: it may print, start programs, install packages and read the
//! clock. It depends on next to nothing, so that it compiles in seconds on a fresh machine.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool that talks to a developer at a terminal"
)]
#![allow(clippy::disallowed_methods, reason = "it measures real time; the bans are for the product")]

mod bench;
mod ci;
mod dataset;
mod debian;
mod demo;
mod failure;
mod install;
mod pg_versions;
mod postgres;
mod program;
mod test;
mod tidy;
mod windows;

use std::process::ExitCode;

use failure::Failure;

const HELP: &str = "\
cargo xtask VERB

  test [ARGS]            all tests, on a private PostgreSQL; ARGS go to cargo nextest (or cargo test)
  ci                     what CI runs: fmt, clippy, tidy, tests, rustdoc, release build, demo
  tidy                   the rules of this code base that no other tool checks
  demo [ARGS]            the demo, built for release
  postgres -- COMMAND    runs COMMAND with a private PostgreSQL (see the environment it exports)
  bench NAME [OPTIONS] [--json]
    full [--orders N] [--runs N]
                         a full backup, store to head office, beside pg_dump | gzip | gunzip | psql
    incremental [--orders N] [--runs N]
                         a thousand changed rows in a small and a large database, beside logical replication
    capture [--orders N] [--runs N] [--seconds N]
                         what the shop's own writes cost with capture and without
    live [--orders N] [--seconds N]
                         from commit at the store to commit at the head office; the store's cost while idle
  windows                builds for Windows in a Debian folder, and runs the demo under Wine (root only)
  pg-versions [MAJOR…]   the database tests on other PostgreSQL versions in Debian folders (root only)
  help                   this text

Environment:
  BRANCHLINE_BIN         the branchline binary for demo and bench (default: a release build made now)
  BRANCHLINE_PG_BIN      folder of the PostgreSQL programs to use (default: the newest found)
  BRANCHLINE_PG_ROOT     a folder to chroot into for them (root only; pg-versions sets it)
  BRANCHLINE_WINDOWS_ROOT  where `windows` keeps its Debian folder (default: target/windows/root)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let (verb, rest) = match arguments.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", arguments),
    };
    match verb {
        "test" => test::run(rest),
        "ci" => ci::run(),
        "tidy" => tidy::run(),
        "demo" => demo::run(rest),
        "postgres" => postgres::run(rest),
        "bench" => bench::run(rest),
        "windows" => windows::run(),
        "pg-versions" => pg_versions::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Failure::new(format!("there is no verb {other:?}")).next("cargo xtask help")),
    }
}
