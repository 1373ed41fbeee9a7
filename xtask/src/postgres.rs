//! A private PostgreSQL cluster for one command: made, started, and always taken away again.
//!
//! Its files are in the target folder, its socket in a short folder under `/tmp` (a socket's path has a limit of
//! about 100 bytes), its TCP port is a free one on loopback. The socket asks for no password (its folder lets only
//! this user in); TCP asks for a random one by SCRAM.
//!
//! Invariant: a shell outside our process group holds the other end of a pipe to us. When the pipe closes, for
//! whatever reason (the command ended, Ctrl-C, `kill -9`), it stops the server and removes the files. What even that
//! leaves behind (a machine that lost power) is swept by the next start.

mod server;
mod session;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::failure::{Doing, Failure};
use crate::install;
use crate::program::{self, target_dir};

pub(crate) use server::{Server, newest_server};
pub(crate) use session::Session;

/// What is written to `postgresql.conf` for tests: fast, and worthless after a power cut.
const FAST: &str = "\
fsync = off
synchronous_commit = off
full_page_writes = off
";

/// Stops the server whose files are in `$1` and removes `$1` and the socket folder `$2`.
const TAKE_AWAY: &str = r#"
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -QUIT "$pid" 2>/dev/null
  for _ in $(seq 100); do
    [ -e "$1/data/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
fi
rm -rf "$1" "$2"
"#;

/// Whether commits must survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// For tests.
    Off,
    /// For measurements: the server's defaults, like a shop's.
    Defaults,
}

/// A running cluster; it stops when this is dropped.
pub(crate) struct Cluster {
    server: Server,
    folder: PathBuf,
    socket_dir: PathBuf,
    port: u16,
    password: String,
    watchdog: Child,
}

/// `cargo xtask postgres -- COMMAND`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let arguments = match arguments.split_first() {
        Some((dashes, rest)) if dashes == "--" => rest,
        _ => arguments,
    };
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::new("there is no command to run").next("cargo xtask postgres -- psql"));
    };
    install::test_needs()?;
    let cluster = Cluster::start(Durability::Off)?;
    let mut command = Command::new(name);
    command
        .args(rest)
        .envs(cluster.test_environment())
        .env("PGHOST", &cluster.socket_dir)
        .env("PGPORT", cluster.port.to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "postgres");
    let result = program::run(&mut command);
    cluster.stop();
    result
}

impl Cluster {
    /// Makes and starts one on the newest server found (or the one in `BRANCHLINE_PG_BIN`).
    pub(crate) fn start(durability: Durability) -> Result<Self, Failure> {
        Self::start_with(durability, "")
    }

    /// The same, with further lines for `postgresql.conf`.
    pub(crate) fn start_with(durability: Durability, settings: &str) -> Result<Self, Failure> {
        let server = Server::choose()?;
        sweep(&server);
        let id = std::process::id();
        let (folder, socket_dir) = folders(&server, id)?;
        let watchdog = watch(&folder, &socket_dir)?;
        let mut cluster =
            Self { password: random_password()?, server, folder, socket_dir, port: 0, watchdog };
        cluster.init()?;
        cluster.boot(durability, settings)?;
        Ok(cluster)
    }

    /// Stops it and removes its files; dropping does the same.
    pub(crate) fn stop(self) {
        drop(self);
    }

    /// Such as `15.18`.
    pub(crate) fn version(&self) -> &str {
        self.server.version()
    }

    /// A connection string to `database` through the socket, as superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_of("postgres", database)
    }

    /// A connection string to `database` through the socket as `role`.
    pub(crate) fn url_of(&self, role: &str, database: &str) -> String {
        let host = self.socket_dir.to_string_lossy().replace('/', "%2F");
        format!("postgresql://{role}@{host}:{}/{database}", self.port)
    }

    /// What the tests look for.
    pub(crate) fn test_environment(&self) -> [(&'static str, String); 2] {
        let tcp = format!("postgresql://postgres:{}@127.0.0.1:{}/postgres", self.password, self.port);
        [("BRANCHLINE_TEST_POSTGRES", self.url("postgres")), ("BRANCHLINE_TEST_POSTGRES_TCP", tcp)]
    }

    /// A client program of the same version (`psql`, `pg_dump`), run by us.
    pub(crate) fn client(&self, name: &str) -> PathBuf {
        self.server.client(name)
    }

    /// `psql` on a connection string, quiet, that ends with a failure at the first error.
    pub(crate) fn psql(&self, url: &str) -> Command {
        let mut command = Command::new(self.client("psql"));
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]).args([
            "--set=ON_ERROR_STOP=1",
            "--dbname",
            url,
        ]);
        command
    }

    /// What a statement answers, as superuser: a row a line.
    pub(crate) fn query(&self, database: &str, statement: &str) -> Result<String, Failure> {
        program::read(self.psql(&self.url(database)).arg("--command").arg(statement))
    }

    /// A connection to `database` that stays, as superuser.
    pub(crate) fn session(&self, database: &str) -> Result<Session, Failure> {
        Session::start(self.psql(&self.url(database)))
    }

    /// How the server itself connects to one of its databases, as superuser.
    pub(crate) fn own_connection(&self, database: &str) -> String {
        let host = self.server.inside(&self.socket_dir);
        format!("host={} port={} user=postgres dbname={database}", host.display(), self.port)
    }

    /// A file that is removed with the cluster.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn init(&self) -> Result<(), Failure> {
        let password_file = self.folder.join("password");
        fs::write(&password_file, &self.password).doing(|| "write the password file".into())?;
        self.server.give(&password_file)?;
        let mut initdb = self.server.command("initdb");
        initdb
            .args(["--no-sync", "--encoding=UTF8", "--locale=C"])
            .args(["--username=postgres", "--auth-local=trust"])
            .args(["--auth-host=scram-sha-256"])
            .arg("--pwfile")
            .arg(self.server.inside(&password_file))
            .arg("--pgdata")
            .arg(self.server.inside(&self.folder.join("data")));
        program::read(&mut initdb).map(drop)
    }

    /// A port that was free may be taken a moment later, so it tries a few.
    fn boot(&mut self, durability: Durability, further: &str) -> Result<(), Failure> {
        let data = self.folder.join("data");
        let shipped =
            fs::read_to_string(data.join("postgresql.conf")).doing(|| "read postgresql.conf".into())?;
        let mut last = Failure::new("no port to try");
        for _ in 0..3 {
            self.port = free_port()?;
            let mut settings = format!(
                "{shipped}\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n{further}\n",
                self.port,
                self.server.inside(&self.socket_dir).display()
            );
            if durability == Durability::Off {
                settings.push_str(FAST);
                settings.push_str("max_connections = 200\n");
            }
            fs::write(data.join("postgresql.conf"), settings).doing(|| "write postgresql.conf".into())?;
            let log = self.server.inside(&self.folder.join("log"));
            let mut start = self.server.command("pg_ctl");
            start
                .args(["start", "--wait", "--timeout=60", "--silent", "--log"])
                .arg(&log)
                .arg("--pgdata")
                .arg(self.server.inside(&data));
            match program::read(&mut start) {
                Ok(_) => return Ok(()),
                Err(failure) => {
                    let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                    last = Failure::new(format!("PostgreSQL does not start: {failure}\n{log}"));
                }
            }
        }
        Err(last)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // Nothing can be done about a failure here, and the next start sweeps.
        let _ = self.watchdog.wait();
    }
}

/// A port on loopback that is free now.
pub(crate) fn free_port() -> Result<u16, Failure> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .doing(|| "find a free port on loopback".into())
}

fn clusters_dir() -> PathBuf {
    target_dir().join("postgres")
}

/// The data and socket folders, owned by the user that the server runs as.
fn folders(server: &Server, id: u32) -> Result<(PathBuf, PathBuf), Failure> {
    let name = format!("cluster-{id}");
    let short = format!("bl-{id}");
    if let Some(root) = server.root() {
        let folder = make(server, &root.join("var/tmp").join(name))?;
        return Ok((folder, make(server, &root.join("tmp").join(short))?));
    }
    let mut folder = make(server, &clusters_dir().join(&name))?;
    if !server.can_enter(&folder) {
        // We are root and the checkout is in a folder that only root may enter.
        let _ = fs::remove_dir_all(&folder);
        folder = make(server, &std::env::temp_dir().join(format!("branchline-{name}")))?;
    }
    let temp = if Path::new("/tmp").is_dir() { PathBuf::from("/tmp") } else { std::env::temp_dir() };
    Ok((folder, make(server, &temp.join(short))?))
}

fn make(server: &Server, folder: &Path) -> Result<PathBuf, Failure> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).doing(|| format!("make {}", folder.display()))?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(folder, private).doing(|| format!("protect {}", folder.display()))?;
    server.give(folder)?;
    Ok(folder.to_path_buf())
}

/// Starts the shell that takes the cluster away when we are gone.
fn watch(folder: &Path, socket_dir: &Path) -> Result<Child, Failure> {
    let script = format!("trap '' INT TERM HUP\nread -r _\n{TAKE_AWAY}");
    Command::new("sh")
        .args(["-c", &script, "sh"])
        .args([folder, socket_dir])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .doing(|| "start the shell that stops PostgreSQL".into())
}

/// Removes clusters whose command is no longer alive.
fn sweep(server: &Server) {
    let (folders, sockets) = match server.root() {
        Some(root) => (root.join("var/tmp"), root.join("tmp")),
        None => (clusters_dir(), PathBuf::from("/tmp")),
    };
    let Ok(entries) = fs::read_dir(folders) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_prefix("cluster-") else {
            continue;
        };
        if !is_alive(id) {
            let socket_dir = sockets.join(format!("bl-{id}"));
            let _ =
                Command::new("sh").args(["-c", TAKE_AWAY, "sh"]).args([entry.path(), socket_dir]).status();
        }
    }
}

fn is_alive(process: &str) -> bool {
    Command::new("kill")
        .args(["-0", process])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn random_password() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .doing(|| "read random bytes".into())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Gives a path to another user; only root can, and only root needs to.
fn give_to(path: &Path, user: u32, group: u32) -> Result<(), Failure> {
    chown(path, Some(user), Some(group)).doing(|| format!("give {} away", path.display()))
}
