//! `cargo xtask windows`: builds `branchline.exe` on Linux and runs its demo under Wine.
//!
//! 1. A Debian unstable folder, made once by debootstrap (some 2 GiB, two minutes), has rustc with the sources of the
//!    standard library, the mingw compiler and Wine 10. Older Wine lacks what today's standard library calls.
//! 2. In it, Debian's own cargo builds the standard library and `branchline` for `x86_64-pc-windows-gnu`.
//!    (`rust-toolchain.toml` speaks to rustup only, which is not there.)
//! 3. The demo must end under Wine with the same last lines as here.
//!
//! Invariant: everything is mounted in a mount namespace of its own, so that nothing stays mounted however this ends.
//! What it cannot show: ACLs as Windows enforces them, the service control manager, installers, antivirus, firewall.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::failure::{Doing, Failure};
use crate::program::{self, is_root, root, target_dir};

const PACKAGES: &str = "rustc,cargo,rust-src,gcc-mingw-w64-x86-64,libc6-dev,gcc,ca-certificates,wine,wine64";

const TARGET: &str = "x86_64-pc-windows-gnu";

/// Where the programs built in the Debian folder go, as seen inside it.
const BUILD: &str = "/build";

/// Lines at the end of the demo that must be the same on both systems.
const LAST_LINES: usize = 3;

/// Mounts what the build needs, then runs `$4` in the folder `$1` with the checkout `$2` at `/src` and cargo's home
/// `$3` at `/cargo`.
const ENTER: &str = r#"
set -e
mkdir -p "$1/src" "$1/cargo"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/src"
mount --bind "$3" "$1/cargo"
exec chroot "$1" /bin/sh -c "cd /src && $4"
"#;

/// Makes the folder if it is not there, builds, and runs the demo on both systems.
pub(crate) fn run() -> Result<(), Failure> {
    if !cfg!(target_os = "linux") || !is_root() {
        return Err(Failure::new(
            "building for Windows needs a Debian folder, and making one needs root on Linux",
        )
        .next("sudo cargo xtask windows, or build on Windows itself: cargo build"));
    }
    let folder = std::env::var_os("BRANCHLINE_WINDOWS_ROOT")
        .map_or_else(|| target_dir().join("windows/root"), |set| root().join(PathBuf::from(set)));
    prepare(&folder)?;
    println!("Building for {TARGET}; the first time takes some minutes.");
    program::run(&mut enter(&folder, &build_command())?)?;
    let run_demo = format!("wine {BUILD}/{TARGET}/debug/branchline.exe demo");
    println!("Running the demo under Wine.");
    let there = program::read(&mut enter(&folder, &run_demo)?)?;
    print!("{there}");
    let here = program::read(program::cargo().args(["run", "--quiet", "-p", "branchline", "--", "demo"]))?;
    compare(&here, &there)
}

fn prepare(folder: &Path) -> Result<(), Failure> {
    debian::folder(folder, "sid", PACKAGES)?;
    let copies = [
        (PathBuf::from("/etc/resolv.conf"), "etc/resolv.conf"),
        (certificates(), "etc/ssl/certs/machine.crt"),
    ];
    for (from, to) in copies {
        if from.is_file() {
            fs::copy(&from, folder.join(to)).doing(|| format!("copy {}", from.display()))?;
        }
    }
    Ok(())
}

/// The roots that this machine trusts, which may be its own.
fn certificates() -> PathBuf {
    std::env::var_os("SSL_CERT_FILE")
        .map_or_else(|| PathBuf::from("/etc/ssl/certs/ca-certificates.crt"), PathBuf::from)
}

/// A command that runs `script` in the folder, in the checkout.
fn enter(folder: &Path, script: &str) -> Result<Command, Failure> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
        .ok_or_else(|| Failure::new("neither CARGO_HOME nor HOME is set"))?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"])
        .arg(folder)
        .arg(root())
        .arg(home)
        .arg(script)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("CARGO_HOME", "/cargo")
        .env("CARGO_TARGET_DIR", BUILD)
        .env("WINEDEBUG", "-all");
    if certificates().is_file() {
        for name in ["SSL_CERT_FILE", "CARGO_HTTP_CAINFO"] {
            command.env(name, "/etc/ssl/certs/machine.crt");
        }
    }
    Ok(command)
}

/// Nightly's build-std on Debian's stable compiler, and the assembly of aws-lc that needs no NASM.
fn build_command() -> String {
    format!(
        "RUSTC_BOOTSTRAP=1 AWS_LC_SYS_PREBUILT_NASM=1 \
         cargo build -Zbuild-std=std,panic_unwind --target {TARGET} -p branchline"
    )
}

/// Both demos must end alike, but for numbers that differ from run to run, and paths.
fn compare(here: &str, there: &str) -> Result<(), Failure> {
    let (here, there) = (last_lines(here), last_lines(there));
    if here == there && !here.is_empty() {
        println!("The demo ends alike here and on Windows:\n{}", there.join("\n"));
        return Ok(());
    }
    Err(Failure::new(format!(
        "the demo ends otherwise on Windows\n  here:\n{}\n  there:\n{}",
        here.join("\n"),
        there.join("\n")
    )))
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<String> = text.lines().map(without_what_differs).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
}

/// A line without its digits and without words that are paths, its words one space apart.
fn without_what_differs(line: &str) -> String {
    let words: Vec<String> = line
        .split_whitespace()
        .filter(|word| !word.contains('/') && !word.contains('\\'))
        .map(|word| word.chars().filter(|next| !next.is_ascii_digit()).collect())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn endings_are_compared_without_times_and_paths() {
        let here = "a\nb\n\nfiles in /tmp/x\nall equal after 1.2 s\nnext: branchline\n";
        let there = "c\nfiles in C:\\y\nall equal after 9.8 s\r\nnext: branchline\r\n";
        assert_eq!(last_lines(here), last_lines(there));
        assert_ne!(last_lines(here), last_lines("2 rows differ\n"));
    }
}
