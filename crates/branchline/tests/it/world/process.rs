//! The real binary, to be killed in the middle of its work.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::Home;

/// A process of the binary; killed where a test ends before it.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command on a home, with `--json`.
    pub(crate) fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
        command.arg("--home").arg(home.path()).arg("--json").args(arguments).stdin(Stdio::null());
        for variable in ["BRANCHLINE_HOME", "BRANCHLINE_LOG", "NO_COLOR", "JOURNAL_STREAM"] {
            command.env_remove(variable);
        }
        Self { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }

    /// Starts `serve`, and waits until it listens; answers where.
    pub(crate) async fn serve(home: &Home, address: &str) -> (Self, String) {
        let mut process = Self::start(home, &["serve", "--listen", address]);
        let errors = process.child.stderr.take().unwrap();
        let listening = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(errors).lines();
            let address = lines.by_ref().find_map(|line| {
                let event: Value = serde_json::from_str(&line.unwrap()).ok()?;
                (event["message"] == "listening for peers")
                    .then(|| event["address"].as_str().unwrap().to_owned())
            });
            // What it logs later must not stop it.
            std::thread::spawn(move || lines.for_each(drop));
            address
        });
        (process, listening.await.unwrap().expect("serve ended before it listened"))
    }

    /// `kill -9`: nothing is closed, nothing is written, nobody is told.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn interrupt(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        let ended = tokio::task::spawn_blocking(move || self.child.wait().unwrap());
        assert!(ended.await.unwrap().success());
    }

    /// Waits for its end; answers the exit code and the document that it printed.
    pub(crate) async fn ended(mut self) -> (Option<i32>, Value) {
        let output = self.child.stdout.take().unwrap();
        let printed =
            tokio::task::spawn_blocking(move || std::io::read_to_string(output).unwrap()).await.unwrap();
        let code = self.child.wait().unwrap().code();
        let document = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
        (code, document)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
