//! Where a server's files are where nobody says so.
//!
//! | who | folder |
//! |---|---|
//! | anybody, by `BRANCHLINE_HOME` | what it says |
//! | root | `/var/lib/branchline` |
//! | a user | `$XDG_STATE_HOME/branchline`, else `~/.local/state/branchline` |
//! | Windows | `%ProgramData%\branchline` |

use std::path::PathBuf;

/// The home folder that is meant where no `--home` is given; nothing, where not even a user's folder is known.
#[must_use]
pub fn default_home() -> Option<PathBuf> {
    variable("BRANCHLINE_HOME").or_else(platform_home)
}

/// The configuration file that is meant where no `--config` is given.
#[must_use]
pub fn default_config_file(home: &std::path::Path) -> PathBuf {
    home.join("config.toml")
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(not(windows))]
fn platform_home() -> Option<PathBuf> {
    let state = variable("XDG_STATE_HOME").filter(|folder| folder.is_absolute());
    if state.is_none() && is_root() {
        return Some("/var/lib/branchline".into());
    }
    let user = || variable("HOME").map(|user| user.join(".local").join("state"));
    Some(state.or_else(user)?.join("branchline"))
}

/// By who owns this process's entry in `/proc`: the standard library does not tell the user's number.
#[cfg(not(windows))]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(windows)]
fn platform_home() -> Option<PathBuf> {
    Some(variable("ProgramData")?.join("branchline"))
}
