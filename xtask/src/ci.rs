//! `cargo xtask ci`: all that CI runs, each stage timed and held to a budget.
//!
//! A stage that fails ends the run; a stage that is over its budget is said at the end, and fails it then.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::program::{self, cargo, find};
use crate::{demo, test, tidy};

/// A named part of CI and the time that it may take on two cores.
struct Stage {
    name: &'static str,
    budget: Duration,
    work: fn() -> Result<(), Failure>,
}

const STAGES: &[Stage] = &[
    Stage { name: "build and clippy", budget: Duration::from_secs(10 * 60), work: build_and_clippy },
    Stage { name: "tests", budget: Duration::from_secs(12 * 60), work: || test::run(&[]) },
    Stage { name: "docs", budget: Duration::from_secs(3 * 60), work: docs },
    Stage { name: "release and demo", budget: Duration::from_secs(9 * 60), work: demo::check },
];

/// Runs every stage.
pub(crate) fn run() -> Result<(), Failure> {
    let mut report = String::new();
    let mut late = Vec::new();
    for stage in STAGES {
        println!("\n== {} ==", stage.name);
        let start = Instant::now();
        let result = (stage.work)();
        let took = start.elapsed();
        let line = format!("{:<18} {:>5} s of {:>4} s", stage.name, took.as_secs(), stage.budget.as_secs());
        println!("{line}");
        report.push_str(&line);
        report.push('\n');
        result?;
        if took > stage.budget {
            late.push(stage.name);
        }
    }
    println!("\n== ci ==\n{report}");
    if late.is_empty() {
        println!("ci passed");
        return Ok(());
    }
    Err(Failure::new(format!("all stages passed, but over their time: {}", late.join(", ")))
        .next("find what became slow, or argue for a larger budget in xtask/src/ci.rs"))
}

fn build_and_clippy() -> Result<(), Failure> {
    program::run(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    program::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    if find("cargo-deny").is_some() {
        program::run(cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    } else {
        println!(
            "cargo-deny is not installed, so deny.toml was not checked; tidy checked the banned crates."
        );
    }
    test::build()
}

fn docs() -> Result<(), Failure> {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    program::run(&mut command)
}
