//! Debian systems in folders, for what this machine's own system does not have. Needs root.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::failure::{Doing, Failure};
use crate::install;
use crate::program::{self, find};

/// Makes a Debian folder of `suite` with `packages`, unless an earlier run did.
pub(crate) fn folder(folder: &Path, suite: &str, packages: &str) -> Result<(), Failure> {
    let ready = folder.join("branchline-ready");
    if fs::read_to_string(&ready).is_ok_and(|made| made == packages) {
        return Ok(());
    }
    if find("debootstrap").is_none() {
        install::packages_by_apt(&["debootstrap"])?;
    }
    println!("Making a Debian {suite} folder in {}.", folder.display());
    fs::create_dir_all(folder).doing(|| format!("make {}", folder.display()))?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap
        .args(["--variant=minbase", &format!("--include={packages}"), suite])
        .arg(folder)
        .args(mirror());
    program::run(&mut debootstrap)?;
    fs::write(&ready, packages).doing(|| format!("write {}", ready.display()))
}

/// The mirror that this machine's own apt uses; debootstrap knows one where there is none.
fn mirror() -> Option<String> {
    if !fs::read_to_string("/etc/os-release").is_ok_and(|text| text.contains("ID=debian")) {
        return None;
    }
    let places = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    places
        .iter()
        .filter_map(|place| fs::read_to_string(place).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.starts_with("URIs:") || line.starts_with("deb "))
        .find_map(|line| line.split_whitespace().find(|word| word.contains("://")).map(str::to_owned))
}
