//! A store and a head office as real processes, each with a fresh home, the head office serving on loopback.
//!
//! The store is a home that commands are run in; [`Pair::serve_store`] makes it a process of its own too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::machine::resident_peak_kib;
use super::serving::{LISTEN, Serving};
use crate::failure::{Doing, Failure};
use crate::program;

/// How often the memory of a running command is looked at. The kernel keeps the peak, so only what grows in the last
/// moment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Whether changes are captured in the databases.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Capture {
    On,
    Off,
}

/// A paired store and head office.
pub(super) struct Pair {
    binary: PathBuf,
    store: PathBuf,
    office: Serving,
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
        capture: Capture,
    ) -> Result<Self, Failure> {
        let _ = fs::remove_dir_all(folder);
        let (store, office) = (folder.join("store"), folder.join("office"));
        for (home, id, database) in
            [(&store, "STORE-001", store_database), (&office, "CENTRAL-HQ", office_database)]
        {
            init(binary, home, id, database)?;
            if capture == Capture::On {
                attach(binary, home)?;
            }
        }
        let serving = Serving::start(binary, &office)?;
        let mut invite = branchline(binary, &office);
        invite.env(LISTEN, serving.address());
        invite.args(["invite", "STORE-001", "--address", serving.address(), "--json"]);
        let invitation = answer(&mut invite)?;
        let invitation = invitation["data"]["invitation"]
            .as_str()
            .ok_or_else(|| Failure::new("invite --json gives no data.invitation"))?
            .to_owned();
        answer(branchline(binary, &store).args(["join", &invitation, "--json"]))?;
        Ok(Self { binary: binary.to_path_buf(), store, office: serving })
    }

    /// One backup of that type to the head office, from the start of the command to its end.
    pub(super) fn sync(&self, kind: &str) -> Result<Synced, Failure> {
        let mut command = branchline(&self.binary, &self.store);
        command.args(["sync", "CENTRAL-HQ", "--type", kind, "--json"]);
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
            let said = format!("{}the head office says:\n{}", program::tail(&output), self.office.says());
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
            office_peak_kib: resident_peak_kib(self.office.process()).unwrap_or(0),
        })
    }

    /// Adds lines to the store's settings and lets it serve.
    pub(super) fn serve_store(&self, settings: &str) -> Result<Serving, Failure> {
        let file = self.store.join("config.toml");
        let before = fs::read_to_string(&file).doing(|| format!("read {}", file.display()))?;
        fs::write(&file, format!("{before}\n{settings}")).doing(|| format!("write {}", file.display()))?;
        Serving::start(&self.binary, &self.store)
    }

    /// The end of the head office's log.
    pub(super) fn office_says(&self) -> String {
        self.office.says()
    }
}

/// A home for a server of that name.
pub(super) fn init(binary: &Path, home: &Path, id: &str, database: &str) -> Result<(), Failure> {
    fs::create_dir_all(home).doing(|| format!("make {}", home.display()))?;
    program::read(branchline(binary, home).args(["init", "--id", id, "--database", database])).map(drop)
}

/// Installs capture in a home's database.
pub(super) fn attach(binary: &Path, home: &Path) -> Result<(), Failure> {
    answer(branchline(binary, home).args(["attach", "--json"])).map(drop)
}

/// Takes capture out of a home's database, with all that it noted.
pub(super) fn detach(binary: &Path, home: &Path) -> Result<(), Failure> {
    answer(branchline(binary, home).args(["detach", "--yes", "--json"])).map(drop)
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
