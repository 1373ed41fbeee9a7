//! Brings the sources of settings together: flag before environment before file before default.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::check::check;
use super::fault::{Place, SettingsFault};
use super::keys::{self, Form, KEYS};
use super::raw::{self, Content, RawSettings, RawValue};
use super::{DatabaseUrl, Settings, environment};

/// Where settings come from.
#[derive(Debug, Clone)]
pub struct Sources<'a> {
    /// The folder with keys, state and spool.
    pub home: &'a Path,
    /// The file.
    pub config_file: &'a Path,
    /// The environment; only `BRANCHLINE_*` is looked at.
    pub environment: Vec<(String, String)>,
    /// What the command line says.
    pub flags: Vec<FlagSetting>,
}

/// A setting that a flag sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagSetting {
    /// Its key, such as `listen.address`.
    pub key: &'static str,
    /// The flag, such as `--listen`.
    pub flag: &'static str,
    /// Its value.
    pub value: String,
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A place.
    Place(Place),
}

/// A setting as it is shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSetting {
    /// Its key.
    pub key: &'static str,
    /// Its value, without what is secret.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Place(Place::File { file, line, .. }) => write!(f, "{}:{line}", file.display()),
            Self::Place(Place::Environment { variable }) => f.write_str(variable),
            Self::Place(Place::Flag { flag }) => f.write_str(flag),
            Self::Place(Place::Missing { file }) => write!(f, "{}", file.display()),
        }
    }
}

impl Origin {
    /// The same with the file's name alone.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::Place(Place::File { file, line, .. }) => {
                let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
                format!("{name}:{line}")
            }
            other => other.to_string(),
        }
    }
}

/// Reads and checks settings.
///
/// # Errors
/// Every fault that there is.
pub fn load(sources: &Sources<'_>) -> Result<Settings, Vec<SettingsFault>> {
    load_with_origins(sources).map(|(settings, _)| settings)
}

/// Reads and checks settings, and tells each as people see it.
///
/// # Errors
/// Every fault that there is.
pub fn load_with_origins(sources: &Sources<'_>) -> Result<(Settings, Vec<ShownSetting>), Vec<SettingsFault>> {
    let mut faults = Vec::new();
    let raw = read_all(sources, &mut faults);
    let settings = check(sources, &raw, &mut faults);
    match settings {
        Some(settings) if faults.is_empty() => {
            let shown = KEYS.iter().map(|key| shown(key, raw.get(key.path), &settings)).collect();
            Ok((settings, shown))
        }
        _ => {
            faults.sort_by_key(|fault| in_reading_order(&fault.place));
            Err(faults)
        }
    }
}

/// Down the file, then what is missing in it, then the rest.
fn in_reading_order(place: &Place) -> (u8, usize, usize) {
    match place {
        Place::File { line, column, .. } => (0, *line, *column),
        Place::Missing { .. } => (1, 0, 0),
        Place::Environment { .. } => (2, 0, 0),
        Place::Flag { .. } => (3, 0, 0),
    }
}

fn read_all(sources: &Sources<'_>, faults: &mut Vec<SettingsFault>) -> RawSettings {
    let file = sources.config_file;
    let mut values = match read_text(file, raw::FILE_BYTES_MAX) {
        Ok(text) => raw::read(file, &text, faults),
        Err(error) => {
            let message = format!("the file cannot be read: {error}");
            let place = Place::Missing { file: file.to_owned() };
            faults.push(SettingsFault { key: String::new(), message, help: None, place });
            RawSettings::new()
        }
    };
    values.extend(environment::read(&sources.environment, faults));
    for flag in &sources.flags {
        if let Some(key) = keys::find(flag.key) {
            let place = Place::Flag { flag: flag.flag.to_owned() };
            let content = environment::content(key, &flag.value, &place);
            values.insert(key.path, RawValue { content, place });
        }
    }
    values
}

/// A file's text, where it has no more than `bytes_max`.
pub(super) fn read_text(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if read as u64 > bytes_max {
        return Err(std::io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(text)
}

fn shown(key: &'static keys::Key, value: Option<&RawValue>, settings: &Settings) -> ShownSetting {
    let origin = value.map_or(Origin::Default, |value| Origin::Place(value.place.clone()));
    let text = match value.map(|value| &value.content) {
        _ if key.path == "database.url" && value.is_some() => settings.database.url.shown(),
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Number(number)) => number.to_string(),
        Some(Content::List(items)) if items.is_empty() => "[]".to_owned(),
        Some(Content::List(items)) => {
            items.iter().map(|(item, _)| item.as_str()).collect::<Vec<_>>().join(", ")
        }
        Some(Content::Entries(_)) => {
            let names: Vec<&str> = settings.schedule.iter().map(|entry| entry.name().as_str()).collect();
            names.join(", ")
        }
        None => key.unset.to_owned(),
    };
    debug_assert!(key.form != Form::Number || !text.is_empty());
    ShownSetting { key: key.path, value: text, origin }
}

/// A database URL as a person gave it, with a SQLite path made absolute from where that person stands.
///
/// # Errors
/// Where the working folder cannot be told.
pub fn absolute_database_url(url: &str) -> std::io::Result<DatabaseUrl> {
    let absolute = match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with('/') && !path.starts_with(":memory:") => {
            format!("sqlite:{}", keys::beside(&std::env::current_dir()?, path).display())
        }
        _ => url.to_owned(),
    };
    Ok(DatabaseUrl::new(absolute))
}
