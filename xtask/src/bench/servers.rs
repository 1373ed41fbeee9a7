//! A store and a head office as real processes, each with a fresh home, the head office serving on loopback.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::machine::resident_peak_kib;
use crate::failure::{Doing, Failure};
use crate::postgres::free_port;
use crate::program;

/// How long `serve` may take until its port answers.
const READY_IN: Duration = Duration::from_secs(30);

/// How often the memory of a running command is looked at. The kernel keeps the peak, so only what grows in the last
/// moment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A paired store and head office.
pub(super) struct Pair {
    binary: PathBuf,
    store: PathBuf,
    office: Child,
    office_log: PathBuf,
}

/// What one `sync` did.
pub(super) struct Synced {
    pub(super) took: Duration,
    /// The part of the answer that is about the head office.
    pub(super) peer: Value,
    pub(super) store_peak_kib: u64,
    pub(super) office_peak_kib: u64,
}

impl Pair {
    /// Makes both homes under `folder`, starts the head office and joins the store to it.
    pub(super) fn start(
        binary: &Path,
        folder: &Path,
        store_database: &str,
        office_database: &str,
    ) -> Result<Self, Failure> {
        let _ = fs::remove_dir_all(folder);
        let (store, office) = (folder.join("store"), folder.join("office"));
        for (home, id, database) in
            [(&store, "STORE-001", store_database), (&office, "CENTRAL-HQ", office_database)]
        {
            fs::create_dir_all(home).doing(|| format!("make {}", home.display()))?;
            program::read(branchline(binary, home).args(["init", "--id", id, "--database", database]))?;
        }
        let address = format!("127.0.0.1:{}", free_port()?);
        let office_log = folder.join("office.log");
        let log = fs::File::create(&office_log).doing(|| "make office.log".into())?;
        let serving = branchline(binary, &office)
            .arg("serve")
            .env("BRANCHLINE_LISTEN__ADDRESS", &address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .doing(|| "start branchline serve".into())?;
        let mut pair = Self { binary: binary.to_path_buf(), store, office: serving, office_log };
        pair.wait_for(&address)?;
        let invitation =
            answer(branchline(binary, &office).env("BRANCHLINE_LISTEN__ADDRESS", &address).args([
                "invite",
                "STORE-001",
                "--address",
                &address,
                "--json",
            ]))?;
        let invitation = invitation["data"]["invitation"]
            .as_str()
            .ok_or_else(|| Failure::new("invite --json gives no data.invitation"))?
            .to_owned();
        answer(branchline(binary, &pair.store).args(["join", &invitation, "--json"]))?;
        Ok(pair)
    }

    /// One full backup to the head office, from the start of the command to its end.
    pub(super) fn sync_full(&self) -> Result<Synced, Failure> {
        let mut command = branchline(&self.binary, &self.store);
        command.args(["sync", "CENTRAL-HQ", "--type", "full", "--json"]);
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| "start branchline sync".into())?;
        let mut store_peak_kib = 0;
        while child.try_wait().doing(|| "wait for branchline sync".into())?.is_none() {
            store_peak_kib = resident_peak_kib(child.id()).unwrap_or(0).max(store_peak_kib);
            sleep(LOOK_EVERY);
        }
        let took = start.elapsed();
        let output = child.wait_with_output().doing(|| "read what sync said".into())?;
        if !output.status.success() {
            let said = format!("{}the head office says:\n{}", program::tail(&output), self.office_says());
            return Err(Failure::new(format!("branchline sync ended with {}\n{said}", output.status)));
        }
        let said: Value =
            serde_json::from_slice(&output.stdout).doing(|| "read the JSON that sync printed".into())?;
        let peer = said["data"]["peers"][0].clone();
        if peer["receipt"]["success"] != Value::Bool(true) {
            return Err(Failure::new(format!("the receipt does not say success: {peer}")));
        }
        Ok(Synced {
            took,
            peer,
            store_peak_kib,
            office_peak_kib: resident_peak_kib(self.office.id()).unwrap_or(0),
        })
    }

    /// The end of the head office's log.
    fn office_says(&self) -> String {
        let text = fs::read_to_string(&self.office_log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn wait_for(&mut self, address: &str) -> Result<(), Failure> {
        let start = Instant::now();
        while start.elapsed() < READY_IN {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.office.try_wait() {
                let said = self.office_says();
                return Err(Failure::new(format!("branchline serve ended with {status}\n{said}")));
            }
            sleep(Duration::from_millis(20));
        }
        Err(Failure::new(format!(
            "branchline serve does not listen on {address} after {} s",
            READY_IN.as_secs()
        )))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // The head office is asked to stop as an operator would, and made to if it does not listen.
        let _ = Command::new("kill").arg(self.office.id().to_string()).status();
        for _ in 0..500 {
            if matches!(self.office.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = self.office.kill();
        let _ = self.office.wait();
    }
}

fn branchline(binary: &Path, home: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("--home").arg(home);
    command
}

fn answer(command: &mut Command) -> Result<Value, Failure> {
    let said = program::read(command)?;
    let value: Value = serde_json::from_str(said.trim())
        .doing(|| format!("read as JSON what branchline printed: {said}"))?;
    if value["ok"] == Value::Bool(true) {
        return Ok(value);
    }
    Err(Failure::new(format!("branchline does not say ok: {said}")))
}
