//! What the tests need from the operating system, and getting it by the system's own package manager.
//!
//! It says what it will install before it does. Only apt is driven; on other systems it names the packages, because
//! a wrong guess there costs more than one command typed by hand.

use std::process::Command;

use crate::failure::Failure;
use crate::postgres;
use crate::program::{self, find, is_root};

/// A thing that tests call, and the package that brings it.
struct Need {
    name: &'static str,
    apt: &'static [&'static str],
    present: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need {
        name: "PostgreSQL server",
        apt: &["postgresql", "postgresql-contrib"],
        present: || postgres::newest_server().is_some(),
    },
    Need { name: "zstd", apt: &["zstd"], present: || find("zstd").is_some() },
    Need { name: "jq", apt: &["jq"], present: || find("jq").is_some() },
    Need { name: "curl", apt: &["curl"], present: || find("curl").is_some() },
    Need { name: "openssl", apt: &["openssl"], present: || find("openssl").is_some() },
];

/// Makes sure that all the tests call is there.
pub(crate) fn test_needs() -> Result<(), Failure> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|need| need.name).collect();
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.apt).copied().collect();
    println!("The tests need what this machine lacks: {}.", names.join(", "));
    packages_by_apt(&packages)?;
    match NEEDS.iter().find(|need| !(need.present)()) {
        None => Ok(()),
        Some(need) => Err(Failure::new(format!("{} is still not found after installing it", need.name))),
    }
}

/// Installs Debian packages, or says what to install where there is no apt.
pub(crate) fn packages_by_apt(packages: &[&str]) -> Result<(), Failure> {
    if find("apt-get").is_none() {
        return Err(other_system(packages));
    }
    if !is_root() && find("sudo").is_none() {
        return Err(Failure::new("installing needs root, and there is no sudo here")
            .next(format!("as root: apt-get install {}", packages.join(" "))));
    }
    println!("Installing by apt-get: {}", packages.join(" "));
    let install = |command: &mut Command| {
        program::run(command.args(["install", "--yes", "--no-install-recommends"]).args(packages))
    };
    // A machine that is new has no package lists, one that is old has stale ones: then they are fetched.
    if install(&mut apt()).is_ok() {
        return Ok(());
    }
    program::run(apt().arg("update"))?;
    install(&mut apt())
}

fn apt() -> Command {
    let mut command = if is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    command
}

fn other_system(packages: &[&str]) -> Failure {
    let (tool, postgres) = [
        ("dnf", "postgresql-server postgresql-contrib"),
        ("zypper", "postgresql-server postgresql-contrib"),
        ("pacman", "postgresql"),
        ("apk", "postgresql postgresql-contrib"),
        ("brew", "postgresql@17"),
    ]
    .into_iter()
    .find(|(tool, _)| find(tool).is_some())
    .unwrap_or(("your package manager", "the PostgreSQL server and contrib"));
    let verb = if tool == "pacman" { "-S" } else { "install" };
    let mut named: Vec<&str> =
        packages.iter().copied().filter(|package| !package.starts_with("postgresql")).collect();
    if named.len() != packages.len() {
        named.push(postgres);
    }
    Failure::new("only apt is driven from here, and this system has none")
        .next(format!("{tool} {verb} {}, then this command again", named.join(" ")))
}
