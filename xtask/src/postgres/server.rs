//! The PostgreSQL programs of this machine: finding the newest, and running them as a user that is not root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure};
use crate::program::{self, find, is_root};

/// Programs without which there is no cluster.
const PROGRAMS: &[&str] = &["initdb", "pg_ctl", "postgres"];

/// One installed server, and how to run it.
pub(crate) struct Server {
    bin: PathBuf,
    version: String,
    /// A folder to chroot into, where the programs belong to another system.
    root: Option<PathBuf>,
    /// Set when we are root, which PostgreSQL refuses to run as.
    user: Option<(u32, u32)>,
}

/// The newest server installed, and its version.
pub(crate) fn newest_server() -> Option<(PathBuf, String)> {
    if let Some(chosen) = std::env::var_os("BRANCHLINE_PG_BIN") {
        // Which version it is, and whether it is there, is said when it is started.
        return Some((PathBuf::from(chosen), String::new()));
    }
    candidates()
        .into_iter()
        .filter(|bin| PROGRAMS.iter().all(|program| bin.join(program).is_file()))
        .filter_map(|bin| version_of(Command::new(bin.join("postgres"))).map(|version| (bin, version)))
        .max_by_key(|(_, version)| version_key(version))
}

impl Server {
    /// The server to use, and the user to run it as.
    pub(super) fn choose() -> Result<Self, Failure> {
        let (bin, version) = newest_server().ok_or_else(|| {
            Failure::new("there is no PostgreSQL server on this machine").next("cargo xtask test installs it")
        })?;
        let root = std::env::var_os("BRANCHLINE_PG_ROOT").map(PathBuf::from);
        let user =
            if is_root() { Some(unprivileged(root.as_deref().unwrap_or(Path::new("/")))?) } else { None };
        let mut server = Self { bin, version, root, user };
        if server.version.is_empty() {
            server.version = version_of(server.command("postgres")).ok_or_else(|| {
                Failure::new(format!(
                    "BRANCHLINE_PG_BIN is {}, and no PostgreSQL server runs there",
                    server.bin.display()
                ))
                .next("name the folder that holds initdb, pg_ctl and postgres")
            })?;
        }
        Ok(server)
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// A path as the server sees it.
    pub(super) fn inside(&self, path: &Path) -> PathBuf {
        self.root
            .as_ref()
            .and_then(|root| path.strip_prefix(root).ok())
            .map_or_else(|| path.to_path_buf(), |rest| Path::new("/").join(rest))
    }

    /// A server program, run as the server's user.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = match (&self.root, self.user) {
            (Some(root), Some((user, group))) => {
                let mut chroot = Command::new("chroot");
                chroot
                    .arg(format!("--userspec={user}:{group}"))
                    .arg(root)
                    .arg(self.bin.join(name))
                    .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
                chroot
            }
            _ => self.as_user(self.bin.join(name)),
        };
        command.current_dir("/").env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// A client program, of this server's version where it brought one.
    pub(super) fn client(&self, name: &str) -> PathBuf {
        let own = self.bin.join(name);
        if self.root.is_none() && own.is_file() { own } else { PathBuf::from(name) }
    }

    /// Makes the server's user the owner of a path.
    pub(super) fn give(&self, path: &Path) -> Result<(), Failure> {
        match self.user {
            Some((user, group)) => super::give_to(path, user, group),
            None => Ok(()),
        }
    }

    /// Whether the server's user gets into a folder, through all folders above it.
    pub(super) fn can_enter(&self, folder: &Path) -> bool {
        self.as_user("test".into())
            .arg("-x")
            .arg(folder)
            .current_dir("/")
            .status()
            .is_ok_and(|status| status.success())
    }

    fn as_user(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Folders in which distributions and installers put the server.
fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr/lib64/pgsql", ""),
        ("/usr", "pgsql-"),
        ("/usr/lib", "postgresql"),
        ("/usr/libexec", "postgresql"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
    ] {
        let Ok(entries) = fs::read_dir(parent) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path().join("bin"));
                found.push(entry.path());
            }
        }
    }
    found.push(PathBuf::from("/usr/local/pgsql/bin"));
    found.extend(find("initdb").and_then(|file| file.parent().map(Path::to_path_buf)));
    found
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` gives `15.18`.
fn version_of(mut postgres: Command) -> Option<String> {
    let said = program::read(postgres.arg("--version")).ok()?;
    said.split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .map(str::to_owned)
}

fn version_key(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap_or(0)
        })
        .collect()
}

/// The user and group of `postgres`, or of `nobody`, in the system under `root`.
fn unprivileged(root: &Path) -> Result<(u32, u32), Failure> {
    let file = root.join("etc/passwd");
    let text = fs::read_to_string(&file).doing(|| format!("read {}", file.display()))?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| {
            let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            let user = fields.next()?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            Some((user, group))
        })
        .ok_or_else(|| {
            Failure::new("PostgreSQL does not run as root, and there is no user postgres or nobody")
                .next("run this as an ordinary user")
        })
}

#[cfg(test)]
mod tests {
    use super::version_key;

    #[test]
    fn newer_versions_sort_higher() {
        assert!(version_key("18beta2") > version_key("17.6"));
        assert!(version_key("9.6.1") < version_key("13.1"));
        assert!(version_key("15.10") > version_key("15.9"));
    }
}
