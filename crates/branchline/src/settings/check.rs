//! Turns what was read into [`Settings`], and names every fault at once.
//!
//! Each setting has one function, or one line where a type of the core says all. A value that is faulty is left
//! out, and the checks of the others go on.

use std::path::Path;
use std::str::FromStr;

use branchline_core::backup::Codec;
use branchline_core::id::ServerId;
use branchline_core::peer::PeerAddress;
use branchline_core::schema::TableName;

use super::fault::{Place, SettingsFault};
use super::keys;
use super::raw::{Content, RawEntry, RawSettings};
use super::sources::Sources;
use super::{DatabaseSettings, DatabaseUrl, Profile, Settings};

mod columns;
mod day;
mod filter;
mod schedule;

/// The version of the file's form that this program reads.
const CONFIG_VERSION: i64 = 1;
/// Bytes of a file with a database URL that are read at most.
const URL_FILE_BYTES_MAX: u64 = 16 << 10;
/// MiB of the ledger above which a peer that is far behind no longer keeps deletions for it: room for some 20 million
/// versions, and small beside a shop's disk.
const BUDGET_MIB: u64 = 2_048;
/// The largest budget: 1 PiB.
const BUDGET_MIB_MAX: u64 = 1 << 30;
/// Characters of a server's name.
const NAME_CHARACTERS_MAX: usize = 64;
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(super) fn check(
    sources: &Sources<'_>,
    raw: &RawSettings,
    faults: &mut Vec<SettingsFault>,
) -> Option<Settings> {
    let mut check = Check { raw, file: sources.config_file, faults };
    check.version();
    let id: Option<ServerId> = check.parsed("server.id", "for example  id = \"STORE-001\"");
    if check.raw.get("server.id").is_none() {
        check.missing("server.id", "for example  id = \"STORE-001\"");
    }
    let name = check.name(id.as_ref());
    let profile = check.one_of("server.profile", &[("internet", Profile::Internet), ("lan", Profile::Lan)]);
    let url = check.database_url();
    let tables = check.list("database.tables", |text| TableName::new(text));
    let except = check.list("database.except", |text| TableName::new(text));
    check.both_listed(&tables, &except);
    let listen = check.listen();
    let advertise = check.list("listen.advertise", PeerAddress::from_str);
    let codecs = [("zstd", Codec::Zstd), ("gzip", Codec::Gzip), ("none", Codec::Plain)];
    let compression = check.one_of("backup.compression", &codecs);
    let ledger_bytes_max = check.budget();
    let log = check.log_level();
    let filters = check.filters();
    let day = check.day();
    let except_columns = check.except_columns();
    check.counted_and_kept(&except_columns, &day);
    let time_zone = check.time_zone();
    let schedule = check.schedule();
    Some(Settings {
        home: sources.home.to_owned(),
        server: id?,
        name,
        profile: profile.unwrap_or_default(),
        database: DatabaseSettings { url: url?, tables, except, except_columns },
        filters,
        day,
        listen,
        advertise,
        compression: compression.unwrap_or_default(),
        ledger_bytes_max,
        log,
        time_zone,
        schedule,
    })
}

struct Check<'a> {
    raw: &'a RawSettings,
    file: &'a Path,
    faults: &'a mut Vec<SettingsFault>,
}

impl<'a> Check<'a> {
    fn text(&self, key: &str) -> Option<(&'a str, &'a Place)> {
        match self.raw.get(key) {
            Some(value) => match &value.content {
                Content::Text(text) => Some((text.as_str(), &value.place)),
                _ => None,
            },
            None => None,
        }
    }

    fn fault(&mut self, key: &str, message: impl Into<String>, help: &str, place: &Place) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.faults.push(SettingsFault {
            key: key.to_owned(),
            message: message.into(),
            help,
            place: place.clone(),
        });
    }

    fn missing(&mut self, key: &str, help: &str) {
        // A value of the wrong form was named already.
        if !self.faults.iter().any(|fault| fault.key == key || fault.key.is_empty()) {
            self.fault(key, "it must be set", help, &Place::Missing { file: self.file.to_owned() });
        }
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, key: &str, help: &str) -> Option<T> {
        let (text, place) = self.text(key)?;
        text.parse().map_err(|error: T::Err| self.fault(key, error.to_string(), help, place)).ok()
    }

    fn list<T, E: std::fmt::Display>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let Some(Content::List(items)) = self.raw.get(key).map(|value| &value.content) else {
            return Vec::new();
        };
        let mut parsed = Vec::with_capacity(items.len());
        for (text, place) in items {
            match parse(text) {
                Ok(item) => parsed.push(item),
                Err(error) => self.fault(key, error.to_string(), "", place),
            }
        }
        parsed
    }

    /// What the sections of a setting that is a list of sections come to, as far as they are without fault.
    fn each_entry<T>(&mut self, key: &str, read: impl Fn(&mut Check<'_>, &RawEntry) -> Option<T>) -> Vec<T> {
        let Some(Content::Entries(entries)) = self.raw.get(key).map(|value| &value.content) else {
            return Vec::new();
        };
        let mut checked = Vec::new();
        for entry in entries {
            let mut check = Check { raw: &entry.values, file: self.file, faults: &mut *self.faults };
            checked.extend(read(&mut check, entry));
        }
        checked
    }

    fn table_name(&mut self, key: &str) -> Option<TableName> {
        let (text, place) = self.text(key)?;
        TableName::new(text).map_err(|error| self.fault(key, error.to_string(), "", place)).ok()
    }

    fn one_of<T: Copy>(&mut self, key: &str, known: &[(&str, T)]) -> Option<T> {
        let (text, place) = self.text(key)?;
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let help = match keys::nearest(text, names.iter().copied()) {
            Some(meant) => format!("did you mean  {meant}"),
            None => String::new(),
        };
        self.fault(key, format!("expected one of {}", names.join(", ")), &help, place);
        None
    }

    fn version(&mut self) {
        let Some(value) = self.raw.get("config_version") else { return };
        if value.content != Content::Number(CONFIG_VERSION) {
            let message = format!("this branchline reads version {CONFIG_VERSION} of the file");
            let help = "upgrade branchline, or write  config_version = 1";
            self.fault("config_version", message, help, &value.place);
        }
    }

    fn name(&mut self, id: Option<&ServerId>) -> String {
        let fallback = || id.map_or_else(String::new, ToString::to_string);
        let Some((text, place)) = self.text("server.name") else { return fallback() };
        if text.trim().is_empty()
            || text.chars().count() > NAME_CHARACTERS_MAX
            || text.chars().any(char::is_control)
        {
            let message = format!("a name is 1 to {NAME_CHARACTERS_MAX} characters of one line");
            self.fault("server.name", message, "", place);
            return fallback();
        }
        text.trim().to_owned()
    }

    /// Checked only as far as its scheme: what the engine says of the rest, it says when it connects.
    fn database_url(&mut self) -> Option<DatabaseUrl> {
        let (key, text, place) = match (self.text("database.url"), self.text("database.url_file")) {
            (Some((_, place)), Some(_)) if self.same_layer("database.url", "database.url_file") => {
                self.fault("database.url", "database.url_file is set as well", "keep one of the two", place);
                return None;
            }
            (Some((text, place)), other)
                if other.is_none() || !self.outranks("database.url_file", "database.url") =>
            {
                ("database.url", text.to_owned(), place)
            }
            (_, Some((path, place))) => ("database.url_file", self.read_url_file(path, place)?, place),
            _ => {
                self.missing(
                    "database.url",
                    "for example  url = \"sqlite:shop.db\"  or  url_file = \"database-url\"",
                );
                return None;
            }
        };
        if ["postgresql://", "postgres://", "sqlite:"].iter().any(|scheme| text.starts_with(scheme)) {
            return Some(DatabaseUrl::new(beside_file(&text, self.file)));
        }
        let help = "postgresql://user@host/name or sqlite:path/to/file.db";
        self.fault(key, "it begins with neither postgresql:// nor sqlite:", help, place);
        None
    }

    fn same_layer(&self, one: &str, other: &str) -> bool {
        self.layer(one) == self.layer(other)
    }

    fn outranks(&self, one: &str, other: &str) -> bool {
        self.layer(one) > self.layer(other)
    }

    fn layer(&self, key: &str) -> u8 {
        match self.raw.get(key).map(|value| &value.place) {
            Some(Place::Flag { .. }) => 3,
            Some(Place::Environment { .. }) => 2,
            Some(Place::File { .. } | Place::Missing { .. }) => 1,
            None => 0,
        }
    }

    fn read_url_file(&mut self, path: &str, place: &Place) -> Option<String> {
        let path = keys::beside(folder_of(self.file), path);
        match super::sources::read_text(&path, URL_FILE_BYTES_MAX) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) => {
                let message = format!("{} cannot be read: {error}", path.display());
                self.fault("database.url_file", message, "check its path and rights", place);
                None
            }
        }
    }

    fn both_listed(&mut self, tables: &[TableName], except: &[TableName]) {
        let Some(value) = self.raw.get("database.except") else { return };
        for table in except.iter().filter(|table| tables.contains(table)) {
            let message = format!("{table} stands in database.tables as well");
            self.fault("database.except", message, "keep one of the two", &value.place);
        }
    }

    fn listen(&mut self) -> Option<String> {
        let (text, place) = self.text("listen.address")?;
        if text.is_empty() {
            return None;
        }
        let named =
            || text.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        // Port 0 takes a free one: tests do that.
        if text.parse::<std::net::SocketAddr>().is_ok()
            || named().is_some_and(|(host, _)| !host.contains(':'))
        {
            return Some(text.to_owned());
        }
        let message = "an address to listen on is IP:port, such as 0.0.0.0:8443 or [::]:8443";
        self.fault("listen.address", message, "write \"\" where this server only calls others", place);
        None
    }

    fn budget(&mut self) -> u64 {
        const KEY: &str = "capture.budget_mib";
        let Some(value) = self.raw.get(KEY) else { return BUDGET_MIB << 20 };
        if let Content::Number(mib) = value.content
            && let Some(mib) = u64::try_from(mib).ok().filter(|mib| (1..=BUDGET_MIB_MAX).contains(mib))
        {
            return mib << 20;
        }
        let message = format!("a budget is a whole number of MiB from 1 to {BUDGET_MIB_MAX}");
        self.fault(KEY, message, "for example  budget_mib = 2048", &value.place);
        BUDGET_MIB << 20
    }

    fn log_level(&mut self) -> String {
        let default = || "info".to_owned();
        let Some((text, place)) = self.text("log.level") else { return default() };
        let directives =
            text.split(',').map(|part| part.trim().rsplit_once('=').map_or(part.trim(), |(_, level)| level));
        for level in directives {
            if !LOG_LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
                let help = match keys::nearest(level, LOG_LEVELS) {
                    Some(meant) => format!("did you mean  {meant}"),
                    None => {
                        "for example  level = \"info\"  or  level = \"info,branchline_net=debug\"".to_owned()
                    }
                };
                let message = format!("{level:?} is none of {}", LOG_LEVELS.join(", "));
                self.fault("log.level", message, &help, place);
                return default();
            }
        }
        text.to_owned()
    }
}

/// A SQLite path is relative to the folder of the configuration file, wherever the process was started.
fn beside_file(url: &str, file: &Path) -> String {
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with('/') && !path.starts_with(":memory:") => {
            format!("sqlite:{}", keys::beside(folder_of(file), path).display())
        }
        _ => url.to_owned(),
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
