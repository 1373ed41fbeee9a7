//! `cargo xtask demo`: the demo, built for release.

use std::process::Command;

use crate::failure::Failure;
use crate::program;

/// Builds and runs it; `arguments` go to `branchline demo`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let binary = program::release_binary()?;
    program::run(Command::new(binary).arg("demo").args(arguments))
}

/// Runs it for a machine to read: it must end well and say so.
pub(crate) fn check() -> Result<(), Failure> {
    let binary = program::release_binary()?;
    let answer = program::read(Command::new(binary).args(["demo", "--json"]))?;
    let last = answer.trim().lines().last().unwrap_or_default();
    let parsed: serde_json::Value =
        serde_json::from_str(answer.trim()).or_else(|_| serde_json::from_str(last)).map_err(|error| {
            Failure::new(format!("the demo's --json answer is not JSON: {error}"))
                .next("cargo xtask demo --json")
        })?;
    if parsed["ok"] == serde_json::Value::Bool(true) {
        println!("The demo ended well.");
        return Ok(());
    }
    Err(Failure::new(format!("the demo does not say \"ok\":true but: {last}")).next("cargo xtask demo"))
}
