//! `cargo xtask test`: everything that can be tested here, on a private PostgreSQL.
//!
//! cargo-nextest is used where it is installed; plain `cargo test` does as well. Arguments choose tests, and then the
//! documentation's examples are left out.

use crate::failure::Failure;
use crate::install;
use crate::postgres::{Cluster, Durability};
use crate::program::{self, cargo, find};

/// Runs the tests; `arguments` go to the runner.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    install::test_needs()?;
    let cluster = Cluster::start(Durability::Off)?;
    println!("PostgreSQL {} is ready for the tests.", cluster.version());
    let result = run_on(&cluster, arguments);
    cluster.stop();
    result
}

/// Compiles the tests without running them, so that building and testing are timed apart.
pub(crate) fn build() -> Result<(), Failure> {
    let mut command = cargo();
    if has_nextest() {
        command.args(["nextest", "run", "--workspace", "--no-run"]);
    } else {
        command.args(["test", "--workspace", "--no-run"]);
    }
    program::run(&mut command)
}

fn run_on(cluster: &Cluster, arguments: &[String]) -> Result<(), Failure> {
    let mut tests = cargo();
    if has_nextest() {
        tests.args(["nextest", "run"]);
    } else {
        println!("cargo-nextest is not installed: using cargo test.");
        tests.args(["test", "--lib", "--bins", "--tests"]);
    }
    if !chooses_crates(arguments) {
        tests.arg("--workspace");
    }
    tests.args(arguments).envs(cluster.test_environment());
    program::run(&mut tests)?;
    if !arguments.is_empty() {
        return Ok(());
    }
    let mut examples = cargo();
    examples.args(["test", "--doc", "--workspace"]).envs(cluster.test_environment());
    program::run(&mut examples)
}

/// Cargo would take `--workspace` before `-p`.
fn chooses_crates(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}

fn has_nextest() -> bool {
    find("cargo-nextest").is_some()
}
