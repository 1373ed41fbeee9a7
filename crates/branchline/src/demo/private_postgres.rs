//! A PostgreSQL server for the demo alone: its own files, its own port on loopback, a random password.
//!
//! It is stopped and its files are removed when this is dropped. Nothing of a server that runs already is touched.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use branchline_core::code::Code;
use data_encoding::HEXLOWER;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::api::v1::Problem;
use crate::node::clock::entropy;

/// A running server.
pub(super) struct PrivatePostgres {
    programs: Programs,
    folder: TempDir,
    port: u16,
    password: String,
}

/// Where the server's programs are, and as whom they run.
struct Programs {
    folder: PathBuf,
    /// PostgreSQL refuses to run as root: there it runs as this user.
    user: Option<&'static str>,
}

impl PrivatePostgres {
    /// Makes and starts a server. Its files lie in a folder of their own, because another user may
    /// have to reach them.
    pub(super) async fn start() -> Result<Self, Problem> {
        let password = HEXLOWER.encode(&entropy::<16>()?);
        let starting = tokio::task::spawn_blocking(move || Self::start_now(password));
        starting
            .await
            .map_err(|_| Problem::new(Code::INTERRUPTED, "the start of PostgreSQL was interrupted"))?
    }

    fn start_now(password: String) -> Result<Self, Problem> {
        let programs = Programs::find()?;
        let folder = tempfile::Builder::new()
            .prefix("branchline-demo-")
            .tempdir()
            .map_err(|error| failed("make a folder", &error))?;
        let password_file = folder.path().join("password");
        fs::write(&password_file, &password).map_err(|error| failed("write the password", &error))?;
        if let Some(user) = programs.user {
            run(Command::new("chown").arg("-R").arg(user).arg(folder.path()))?;
        }
        let data = folder.path().join("data");
        run(programs
            .command("initdb")
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--username=postgres",
                "--auth=scram-sha-256",
            ])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(&data))?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| failed("find a free port", &error))?.port();
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
        );
        let server = Self { programs, folder, port, password };
        run(server
            .programs
            .command("pg_ctl")
            .args(["start", "--wait", "--silent", "--timeout=60", "--options", &options, "--log"])
            .arg(server.folder.path().join("log"))
            .arg("--pgdata")
            .arg(&data))?;
        Ok(server)
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Makes a database and answers its URL.
    pub(super) async fn create_database(&self, name: &str) -> Result<String, Problem> {
        self.execute(&self.url("postgres"), &format!("CREATE DATABASE {name}")).await?;
        Ok(self.url(name))
    }

    /// Runs a script.
    pub(super) async fn execute(&self, url: &str, script: &str) -> Result<(), Problem> {
        let database = |error: tokio_postgres::Error| Problem::new(Code::DATABASE_FAILED, error.to_string());
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(database)?;
        tokio::select! {
            // Safe to drop: both are done with once the script is.
            done = client.batch_execute(script) => done.map_err(database),
            ended = connection => Err(ended.err().map_or_else(closed, database)),
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let stop = self
            .programs
            .command("pg_ctl")
            .args(["stop", "--mode=immediate", "--silent", "--pgdata"])
            .arg(data)
            .output();
        if let Err(error) = stop {
            tracing::warn!(%error, "the demo's PostgreSQL could not be stopped");
        }
    }
}

impl Programs {
    fn find() -> Result<Self, Problem> {
        let missing = || {
            Problem::new(Code::DATABASE_UNREACHABLE, "no PostgreSQL server is installed on this machine")
                .with_help("install it (apt install postgresql), or run the demo on SQLite: branchline demo")
        };
        let folder = candidates().into_iter().find(|folder| exists(folder, "initdb")).ok_or_else(missing)?;
        Ok(Self { folder, user: user_to_run_as()? })
    }

    fn command(&self, program: &str) -> Command {
        let path = self.folder.join(program);
        let mut command = match self.user {
            None => Command::new(path),
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(path);
                command
            }
        };
        command.stdin(Stdio::null()).current_dir(std::env::temp_dir());
        command
    }
}

/// Folders that may hold the server's programs, the newest version first.
fn candidates() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for parent in ["/usr/lib/postgresql", "/usr/pgsql", r"C:\Program Files\PostgreSQL", "/opt/homebrew/opt"] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        versions.extend(entries.filter_map(|entry| {
            let version =
                entry.file_name().to_string_lossy().trim_start_matches("postgresql@").parse().ok()?;
            Some((version, entry.path().join("bin")))
        }));
    }
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    versions.into_iter().map(|(_, folder)| folder).chain(std::env::split_paths(&on_path)).collect()
}

fn exists(folder: &Path, program: &str) -> bool {
    folder.join(program).is_file() || folder.join(format!("{program}.exe")).is_file()
}

#[cfg(unix)]
fn user_to_run_as() -> Result<Option<&'static str>, Problem> {
    let id = |arguments: &[&str]| {
        Command::new("id").args(arguments).output().map_err(|error| failed("run id", &error))
    };
    if id(&["-u"])?.stdout.trim_ascii() != b"0" {
        return Ok(None);
    }
    match id(&["-u", "postgres"])?.status.success() {
        true => Ok(Some("postgres")),
        false => Err(Problem::new(
            Code::DATABASE_UNREACHABLE,
            "PostgreSQL does not run as root, and there is no user postgres",
        )
        .with_help("run the demo as another user")),
    }
}

#[cfg(not(unix))]
fn user_to_run_as() -> Result<Option<&'static str>, Problem> {
    // pg_ctl drops an administrator's rights by itself.
    Ok(None)
}

/// Runs a program to its end. What it says is not read: a server that it leaves behind would keep the
/// pipe open.
fn run(command: &mut Command) -> Result<(), Problem> {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or(OsStr::new("?"))
        .to_string_lossy()
        .into_owned();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.map_err(|error| failed(&format!("run {name}"), &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Problem::new(
        Code::DATABASE_UNREACHABLE,
        format!("{name} failed ({status}) while a private PostgreSQL was made"),
    ))
}

fn failed(what: &str, error: &std::io::Error) -> Problem {
    Problem::new(Code::DATABASE_UNREACHABLE, format!("could not {what} for a private PostgreSQL: {error}"))
}

fn closed() -> Problem {
    Problem::new(Code::DATABASE_UNREACHABLE, "the private PostgreSQL closed the connection")
}
