//! Runs the binary in folders of a test's own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A folder with homes and databases, gone at the end.
pub(super) struct Place {
    folder: tempfile::TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A `serve` that runs; killed where a test ends without stopping it.
pub(super) struct Serving {
    child: Child,
    pub(super) address: String,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A SQLite database with a table of items.
    pub(super) fn database(&self, name: &str, items: u32) -> String {
        let path = self.path(name);
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL)").unwrap();
        let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            INSERT INTO item SELECT i, 'item ' || i FROM n WHERE i <= ?1";
        connection.execute(insert, [items]).unwrap();
        format!("sqlite:{}", path.display())
    }

    /// What the shop's own program does to the database of that server.
    pub(super) fn execute(&self, id: &str, statements: &str) {
        let connection = rusqlite::Connection::open(self.path(&format!("{id}.db"))).unwrap();
        connection.execute_batch(statements).unwrap();
    }

    /// The binary, on the home of that name.
    pub(super) fn command(&self, home: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
        command.arg("--home").arg(self.path(home)).current_dir(self.folder.path()).stdin(Stdio::null());
        for variable in ["BRANCHLINE_HOME", "BRANCHLINE_LOG", "NO_COLOR", "JOURNAL_STREAM"] {
            command.env_remove(variable);
        }
        command
    }

    pub(super) fn run(&self, home: &str, arguments: &[&str]) -> Ran {
        finish(self.command(home).args(arguments))
    }

    /// The same with `--json`: its exit code and its document.
    pub(super) fn json(&self, home: &str, arguments: &[&str]) -> (i32, Value) {
        let ran = finish(self.command(home).arg("--json").args(arguments));
        (ran.code, ran.json())
    }

    /// Makes a server with a database of that many items.
    pub(super) fn server(&self, id: &str, items: u32) {
        let database = self.database(&format!("{id}.db"), items);
        let ran = self.run(id, &["init", "--id", id, "--database", &database, "--listen", "127.0.0.1:0"]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// Starts `serve`, and waits until it listens.
    pub(super) fn serve(&self, home: &str) -> Serving {
        let mut command = self.command(home);
        let command = command.arg("serve").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut serving = Serving { child: command.spawn().unwrap(), address: String::new() };
        let mut lines = BufReader::new(serving.child.stderr.take().unwrap());
        let mut line = String::new();
        while serving.address.is_empty() {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "serve ended before it listened");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["message"] == "listening for peers" {
                serving.address = event["address"].as_str().unwrap().to_owned();
            }
        }
        // What it logs later must not stop it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        serving
    }

    /// Pairs `joiner` with `inviter`, which serves at `address`.
    pub(super) fn pair(&self, inviter: &str, joiner: &str, address: &str) {
        let (code, invited) = self.json(inviter, &["invite", joiner, "--address", address]);
        assert_eq!(code, 0, "{invited}");
        let (code, joined) = self.json(joiner, &["join", invited["data"]["invitation"].as_str().unwrap()]);
        assert_eq!(code, 0, "{joined}");
    }
}

impl Ran {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Serving {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, and gives the exit code and what was said on stdout.
    pub(super) fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        send_signal(self.id(), signal);
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn send_signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

pub(super) fn finish(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// All files below a folder with their bytes, to see that nothing was changed.
pub(super) fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}
