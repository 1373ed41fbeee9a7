//! `init`: makes a server in a home folder.
//!
//! 1. The folder holds none yet.
//! 2. The database answers.
//! 3. Under the home's lock: the key and an empty state, then `config.toml`. The file comes last and whole: a server is there or not.
//!
//! What fails before step 3 leaves nothing behind; a key that an interrupted `init` left is used.

use std::io::Write;
use std::path::Path;

use branchline_core::code::Code;
use branchline_core::id::ServerId;
use branchline_core::peer::{PORT_DEFAULT, PeerAddress};
use branchline_core::ports::Signer;
use branchline_net::identity::Identity;
use branchline_state::{FolderSpool, SqliteState};
use data_encoding::BASE64;

use super::done::{Done, Failure};
use super::run::Session;
use super::{json, text};
use crate::api::v1::{IdAnswer, Problem};
use crate::settings::{DatabaseUrl, Profile, Template, absolute_database_url, expose_template};

/// What `init` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The server's id, such as STORE-001 or CENTRAL-HQ
    #[arg(long, value_name = "ID")]
    id: String,
    /// The application database: postgresql://user@host/name or sqlite:path/to/file.db
    #[arg(long, value_name = "URL")]
    database: String,
    /// What is assumed of the network
    #[arg(long, value_name = "PROFILE", value_parser = ["internet", "lan"], default_value = "internet")]
    profile: String,
    /// What people call it [default: the id]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Where peers may call; "" where this server only calls others [default: 0.0.0.0:8443]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where peers find it from outside, said in invitations; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Vec<PeerAddress>,
}

/// A server that is to be made.
#[derive(Debug, Clone)]
pub struct NewServer<'a> {
    /// The folder with keys, state and spool.
    pub home: &'a Path,
    /// Its settings' file.
    pub config_file: &'a Path,
    /// Its id.
    pub server: &'a ServerId,
    /// What people call it; its id, where nothing is said.
    pub name: Option<&'a str>,
    /// Its database.
    pub database: &'a DatabaseUrl,
    /// What is assumed of the network.
    pub profile: Profile,
    /// Where it listens; nothing, where it only calls.
    pub listen: Option<&'a str>,
    /// Where peers may find it.
    pub advertise: &'a [PeerAddress],
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    let server: ServerId = arguments.id.parse().map_err(|error: branchline_core::id::ServerIdError| {
        Problem::new(Code::ID_INVALID, error.to_string()).with_help("for example  --id STORE-001")
    })?;
    let database = absolute_database_url(&arguments.database)
        .map_err(|error| Failure::internal(format!("the working folder is not known: {error}")))?;
    let anywhere = format!("0.0.0.0:{PORT_DEFAULT}");
    let listen = arguments.listen.as_deref().unwrap_or(&anywhere);
    if !listen.is_empty() && listen.parse::<std::net::SocketAddr>().is_err() {
        return Err(Failure::usage(
            format!("{listen} is not an IP and a port"),
            "for example  --listen 0.0.0.0:8443",
        ));
    }
    let (home, config_file) = (session.home()?, session.config_file()?);
    let new = NewServer {
        home: &home,
        config_file: &config_file,
        server: &server,
        name: arguments.name.as_deref(),
        database: &database,
        profile: if arguments.profile == "lan" { Profile::Lan } else { Profile::Internet },
        listen: (!listen.is_empty()).then_some(listen),
        advertise: &arguments.advertise,
    };
    let answer = initialise(&new).await?;
    let lines = [
        ("server", answer.server.clone()),
        ("key id", answer.key_id.clone()),
        ("database", database.shown()),
        ("home", home.display().to_string()),
        ("settings", config_file.display().to_string()),
    ];
    let said =
        format!("The server is made. Its key never leaves {}.\n\n{}", home.display(), text::pairs(lines));
    Ok(Done::new(json::of(&answer), said)
        .next("branchline tables   # which of them can sync")
        .next("branchline invite ID --address HOST:PORT   # then  branchline serve")
        .next("branchline join INVITATION   # the line that another server printed"))
}

/// Makes a server. A folder that holds one already is left as it is.
///
/// # Errors
/// `ALREADY_INITIALISED` there; whatever the database says where it does not answer; and where the disk refuses.
pub async fn initialise(new: &NewServer<'_>) -> Result<IdAnswer, Problem> {
    refuse_existing(new)?;
    branchline_db::connect(new.database.expose_url()).await?;
    make_home(new.home).map_err(|error| unwritable(new.home, &error))?;
    let _lock = branchline_state::lock(new.home)?;
    refuse_existing(new)?;
    let identity = make_identity(new.home)?;
    // The state is made by who makes the server: another user's first look would own it else.
    SqliteState::open(new.home)?;
    FolderSpool::open(new.home)?;
    write_settings(new)?;
    let key_id = identity.public_key().key_id();
    Ok(IdAnswer {
        server: new.server.to_string(),
        name: new.name.map_or_else(|| new.server.to_string(), str::to_owned),
        key_id: key_id.to_string(),
        pin: BASE64.encode(key_id.digest().as_bytes()),
        addresses: new.advertise.iter().map(ToString::to_string).collect(),
    })
}

fn refuse_existing(new: &NewServer<'_>) -> Result<(), Problem> {
    if !new.config_file.try_exists().unwrap_or(true) {
        return Ok(());
    }
    let message = format!("{} holds a server already; nothing was changed", new.config_file.display());
    Err(Problem::new(Code::ALREADY_INITIALISED, message))
}

/// Makes the folder for its owner alone; one that is there already and empty is made so too.
fn make_home(home: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(home)?;
    if std::fs::read_dir(home)?.next().is_none() {
        restrict(home)?;
    }
    Ok(())
}

#[cfg(unix)]
fn restrict(home: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o700))
}

/// On Windows the files that matter have access lists of their own; see `branchline_net::identity`.
#[cfg(not(unix))]
fn restrict(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn make_identity(home: &Path) -> Result<Identity, Problem> {
    let folder = home.join("keys");
    std::fs::create_dir_all(&folder)
        .and_then(|()| restrict(&folder))
        .map_err(|error| unwritable(&folder, &error))?;
    let file = folder.join("identity.pem");
    if file.try_exists().unwrap_or(false) {
        return Ok(Identity::load(&file)?);
    }
    Ok(Identity::create(&file)?)
}

/// A temporary file is private from the start, and takes its name only if that is still free.
fn write_settings(new: &NewServer<'_>) -> Result<(), Problem> {
    let failed = |error: &std::io::Error| unwritable(new.config_file, error);
    let template = Template {
        server: new.server,
        name: new.name,
        profile: new.profile,
        database: new.database,
        listen: new.listen,
        advertise: new.advertise,
    };
    let folder = new.config_file.parent().unwrap_or(new.home);
    std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(expose_template(&template).as_bytes()).map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    file.persist_noclobber(new.config_file).map_err(|error| failed(&error.error))?;
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(Code::FILE_UNREADABLE, format!("{} cannot be written: {error}", path.display()))
        .with_data("No server was made.")
}
