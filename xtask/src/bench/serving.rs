//! One `branchline serve` as a real process on loopback; it is stopped when this is dropped.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::failure::{Doing, Failure};
use crate::postgres::free_port;

/// How long `serve` may take until its port answers.
const READY_IN: Duration = Duration::from_secs(30);

/// The setting that says where a server listens.
pub(super) const LISTEN: &str = "BRANCHLINE_LISTEN__ADDRESS";

/// A server that answers on its port.
pub(super) struct Serving {
    child: Child,
    address: String,
    log: PathBuf,
}

impl Serving {
    /// Starts `branchline --home HOME serve` on a free port and waits until it answers; its log is `HOME.log`.
    pub(super) fn start(binary: &Path, home: &Path) -> Result<Self, Failure> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let log = home.with_extension("log");
        let file = fs::File::create(&log).doing(|| format!("make {}", log.display()))?;
        let child = Command::new(binary)
            .arg("--home")
            .arg(home)
            .arg("serve")
            .env(LISTEN, &address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .doing(|| "start branchline serve".into())?;
        let mut serving = Self { child, address, log };
        serving.wait()?;
        Ok(serving)
    }

    /// Host and port.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The process.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub(super) fn says(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        while start.elapsed() < READY_IN {
            if TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::new(format!("branchline serve ended with {status}\n{}", self.says())));
            }
            sleep(Duration::from_millis(20));
        }
        Err(Failure::new(format!(
            "branchline serve does not listen on {} after {} s",
            self.address,
            READY_IN.as_secs()
        )))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It is asked to stop as an operator would, and made to if it does not listen.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        for _ in 0..500 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
