//! The key file on Windows: an access list that names this process's user and nobody else.
//!
//! The list is set and read with `icacls`, and the user's name and SID with `whoami`, which every Windows has: the
//! alternative is a page of unsafe calls into `advapi32`. The file is empty while the list is set, and gets its first
//! byte afterwards.
//!
//! Limits: `icacls` prints account names in the system's language, so besides the user's own name only the English names
//! below are known as harmless; a file that names anyone else is refused, also where that one is harmless. The owner is
//! not compared. Where the two programs are missing or print nothing (Wine has stubs), the file is taken as it is, with
//! a warning.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Command;

use super::IdentityError;

/// Accounts besides the user's own that may have access: they could take it anyway.
const HARMLESS: [&str; 2] = ["NT AUTHORITY\\SYSTEM", "BUILTIN\\Administrators"];

/// The user as whom this process runs.
#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    sid: String,
}

pub(super) fn create_private(path: &Path) -> Result<File, IdentityError> {
    let failed = |source| IdentityError::Io { path: path.to_owned(), source };
    let file =
        OpenOptions::new().write(true).create_new(true).open(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => IdentityError::Exists { path: path.to_owned() },
            _ => failed(source),
        })?;
    let Some(user) = user() else {
        tracing::warn!(path = %path.display(), "whoami says nothing, so the key file could not be made private");
        return Ok(file);
    };
    // By SID: a name would have to survive the console's code page.
    let grant = format!("*{}:F", user.sid);
    let path_text = path.to_string_lossy();
    if run("icacls.exe", &[&path_text, "/inheritance:r", "/grant:r", &grant]).is_none() {
        return Err(failed(io::Error::other("icacls could not make the key file private")));
    }
    Ok(file)
}

pub(super) fn open_private(path: &Path) -> Result<File, IdentityError> {
    let file = File::open(path).map_err(|source| IdentityError::Io { path: path.to_owned(), source })?;
    let path_text = path.to_string_lossy();
    let listing = run("icacls.exe", &[&path_text]).unwrap_or_default();
    let accounts = accounts_of(&listing, &path_text);
    let (Some(user), false) = (user(), accounts.is_empty()) else {
        tracing::warn!(path = %path.display(), "Windows shows no access list, so who may read the key is not known");
        return Ok(file);
    };
    let others: Vec<_> = accounts.into_iter().filter(|account| !is_harmless(account, &user)).collect();
    if others.is_empty() {
        return Ok(file);
    }
    Err(IdentityError::ReadableByOthers { path: path.to_owned(), who: others.join(", ") })
}

fn user() -> Option<User> {
    user_of(&run("whoami.exe", &["/user", "/fo", "csv", "/nh"])?)
}

/// What a program of Windows prints, where it succeeds.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    // By its full path: a program of that name in the working folder must not be started instead.
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| "C:\\Windows".into());
    let program = Path::new(&root).join("System32").join(program);
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `"domain\user","S-1-5-…"`.
fn user_of(line: &str) -> Option<User> {
    let (name, sid) = line.trim().strip_prefix('"')?.strip_suffix('"')?.split_once("\",\"")?;
    sid.starts_with("S-1-").then(|| User { name: name.to_owned(), sid: sid.to_owned() })
}

/// The accounts of a listing: each line is `account:(rights)`, the first one after the path.
fn accounts_of(listing: &str, path: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| {
            let entry = line.strip_prefix(path).unwrap_or(line).trim();
            let (account, _) = entry.split_once(":(")?;
            Some(account.to_owned())
        })
        .collect()
}

fn is_harmless(account: &str, user: &User) -> bool {
    let own = account.eq_ignore_ascii_case(&user.name) || account == user.sid;
    own || HARMLESS.iter().any(|known| known.eq_ignore_ascii_case(account))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_and_the_accounts_are_read_from_what_windows_prints() {
        let user = user_of("\"shop\\till\",\"S-1-5-21-1-2-3-1001\"\r\n").unwrap();
        assert_eq!((user.name.as_str(), user.sid.as_str()), ("shop\\till", "S-1-5-21-1-2-3-1001"));
        assert_eq!(user_of("shop\\till"), None);
        let listing = "C:\\keys\\identity.pem SHOP\\till:(F)\r\n                     BUILTIN\\Users:(RX)\r\n\r\n\
                       Successfully processed 1 files; Failed processing 0 files\r\n";
        let accounts = accounts_of(listing, "C:\\keys\\identity.pem");
        assert_eq!(accounts, ["SHOP\\till", "BUILTIN\\Users"]);
        assert!(is_harmless(&accounts[0], &user));
        assert!(!is_harmless(&accounts[1], &user));
        assert!(accounts_of("", "C:\\keys\\identity.pem").is_empty());
    }
}
