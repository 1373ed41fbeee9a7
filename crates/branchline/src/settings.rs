//! Settings, checked: what the rest of the program may rely on.
//!
//! They come from `config.toml` in the home folder (or `--config FILE`), then `BRANCHLINE_SECTION__KEY`, then
//! flags. Reading and checking reports every fault at once, with key path, line and caret.

mod check;
mod environment;
mod fault;
mod home;
mod keys;
mod raw;
mod sources;
mod template;

use std::path::{Path, PathBuf};

use branchline_core::backup::Codec;
use branchline_core::day::DayTable;
use branchline_core::id::ServerId;
use branchline_core::peer::PeerAddress;
use branchline_core::schedule::ScheduleEntry;
use branchline_core::schema::{ColumnName, TableName};
use branchline_core::scope::Filter;
use jiff::tz::TimeZone;

pub use fault::{Place, SettingsFault};
pub use home::{default_config_file, default_home};
pub use sources::{
    FlagSetting, Origin, ShownSetting, Sources, absolute_database_url, load, load_with_origins,
};
pub use template::{Template, expose_template};

/// Everything that a node needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder with keys, state and spool.
    pub home: PathBuf,
    /// Who this server is.
    pub server: ServerId,
    /// What people call it.
    pub name: String,
    /// What is assumed of the network.
    pub profile: Profile,
    /// The application database.
    pub database: DatabaseSettings,
    /// Where peers are listened for, such as `0.0.0.0:8443`; nothing, where this server only calls.
    pub listen: Option<String>,
    /// Where peers may find this server; said in invitations.
    pub advertise: Vec<PeerAddress>,
    /// How backups are compressed.
    pub compression: Codec,
    /// Bytes of the ledger above which a peer that is far behind no longer keeps deletions for it.
    pub ledger_bytes_max: u64,
    /// What is logged, as `tracing` filters say it.
    pub log: String,
    /// The shop's time zone: in it the times of the schedule are meant.
    pub time_zone: TimeZone,
    /// What is done by itself, and when.
    pub schedule: Vec<ScheduleEntry>,
    /// Which rows leave this database, and for whom; all, where it is empty.
    pub filters: Vec<Filter>,
    /// The tables that the close of a business day counts.
    pub day: Vec<DayTable>,
}

/// The application database.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// Where it is. It may hold a password.
    pub url: DatabaseUrl,
    /// The tables that sync; all that can, where it is empty.
    pub tables: Vec<TableName>,
    /// Tables that stay at home.
    pub except: Vec<TableName>,
    /// Columns that stay at home.
    pub except_columns: Vec<(TableName, ColumnName)>,
}

/// A database URL: hidden in every output, because it may hold a password.
#[derive(Clone)]
pub struct DatabaseUrl(String);

/// What is assumed of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Anybody may knock.
    #[default]
    Internet,
    /// A private network.
    Lan,
}

impl Profile {
    /// The profile as it stands in the settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internet => "internet",
            Self::Lan => "lan",
        }
    }
}

impl DatabaseUrl {
    /// Wraps a URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL with everything in it, for the driver alone.
    #[must_use]
    pub fn expose_url(&self) -> &str {
        &self.0
    }

    /// The URL without user, password and parameters, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return self.0.split('?').next().unwrap_or_default().to_owned();
        };
        let rest = rest.split('?').next().unwrap_or_default();
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://{place}")
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DatabaseUrl({})", self.shown())
    }
}

impl std::fmt::Debug for DatabaseSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSettings").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Settings {
    /// The file of this server's key.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.home.join("keys").join("identity.pem")
    }

    /// The folder of the state.
    #[must_use]
    pub fn state_folder(&self) -> &Path {
        &self.home
    }

    /// The folder of spool files.
    #[must_use]
    pub fn spool_folder(&self) -> PathBuf {
        self.home.join("spool")
    }
}

#[cfg(test)]
mod tests;
