//! Every setting there is: its key, what form it has, and what it is where nobody sets it.
//!
//! A further setting is one more line here and one more check in `check`; reading, the environment, suggestions,
//! `config show` and the test of `docs/settings.md` follow this table. A setting that is a list of sections has the keys of
//! its sections in [`ENTRY_KEYS`].

use std::path::Path;

/// What form a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One text.
    Text,
    /// A list of texts.
    List,
    /// A whole number.
    Number,
    /// Sections of one name in double brackets, one for each entry; only the file can say it.
    Entries,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    /// Section and key, as in `server.id`.
    pub(super) path: &'static str,
    /// What form it has.
    pub(super) form: Form,
    /// What it is where nobody sets it, in words.
    pub(super) unset: &'static str,
}

/// All settings, in the order in which they are shown.
pub(super) const KEYS: &[Key] = &[
    Key { path: "config_version", form: Form::Number, unset: "1" },
    Key { path: "server.id", form: Form::Text, unset: "(none)" },
    Key { path: "server.name", form: Form::Text, unset: "(the id)" },
    Key { path: "server.profile", form: Form::Text, unset: "internet" },
    Key { path: "server.time_zone", form: Form::Text, unset: "(the system's)" },
    Key { path: "database.url", form: Form::Text, unset: "(none)" },
    Key { path: "database.url_file", form: Form::Text, unset: "(none)" },
    Key { path: "database.tables", form: Form::List, unset: "(all that can sync)" },
    Key { path: "database.except", form: Form::List, unset: "(none)" },
    Key { path: "database.except_columns", form: Form::List, unset: "(none)" },
    Key { path: "listen.address", form: Form::Text, unset: "(nowhere: this server only calls)" },
    Key { path: "listen.advertise", form: Form::List, unset: "(none)" },
    Key { path: "backup.compression", form: Form::Text, unset: "zstd" },
    Key { path: "capture.budget_mib", form: Form::Number, unset: "2048" },
    Key { path: "log.level", form: Form::Text, unset: "info" },
    Key { path: "schedule", form: Form::Entries, unset: "(none)" },
    Key { path: "filter", form: Form::Entries, unset: "(none)" },
    Key { path: "day", form: Form::Entries, unset: "(none)" },
];

/// What may stand in each section of a setting that is a list of sections.
pub(super) const ENTRY_KEYS: &[Key] = &[
    Key { path: "schedule.name", form: Form::Text, unset: "(none)" },
    Key { path: "schedule.kind", form: Form::Text, unset: "(none)" },
    Key { path: "schedule.at", form: Form::Text, unset: "(none)" },
    Key { path: "schedule.peers", form: Form::List, unset: "(all)" },
    Key { path: "filter.table", form: Form::Text, unset: "(none)" },
    Key { path: "filter.where", form: Form::Text, unset: "(none)" },
    Key { path: "filter.peers", form: Form::List, unset: "(all)" },
    Key { path: "filter.follow", form: Form::Text, unset: "yes" },
    Key { path: "day.table", form: Form::Text, unset: "(none)" },
    Key { path: "day.date", form: Form::Text, unset: "(none)" },
    Key { path: "day.money", form: Form::List, unset: "(none)" },
    Key { path: "day.only", form: Form::List, unset: "(all rows)" },
];

/// The setting of that path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key of that path in a section of a list.
pub(super) fn find_in_entry(path: &str) -> Option<&'static Key> {
    ENTRY_KEYS.iter().find(|key| key.path == path)
}

/// Whether keys stand in that section.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.split_once('.').is_some_and(|(section, _)| section == path))
}

/// What may stand inside `section`, or outside of all where it is empty: names of keys, then of sections.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    let of_entries = ENTRY_KEYS.iter().filter(|_| !section.is_empty());
    for key in KEYS.iter().chain(of_entries) {
        let name = match (section.is_empty(), key.path.split_once('.')) {
            (true, Some((name, _))) => name,
            (true, None) => key.path,
            (false, Some((own, name))) if own == section => name,
            (false, _) => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The known word that was probably meant: at most one wrong character in three, swapped neighbours being one.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const WORD_CHARACTERS_MAX: usize = 64;
    if word.chars().count() > WORD_CHARACTERS_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Insertions, removals, changes and swaps of neighbours that turn one word into the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let changed = usize::from(one[i - 1] != other[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

/// A path as it is meant where `folder` is where one stands.
pub(super) fn beside(folder: &Path, path: &str) -> std::path::PathBuf {
    let bytes = path.as_bytes();
    let has_drive = bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    if has_drive { path.into() } else { folder.join(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        for (typed, meant) in [("adress", "address"), ("advertice", "advertise"), ("Address", "address")] {
            assert_eq!(nearest(typed, names_in("listen")), Some(meant));
        }
        assert_eq!(nearest("sever", names_in("")), Some("server"));
        assert_eq!(nearest("lsiten", names_in("")), Some("listen"));
        assert_eq!(nearest("colour", names_in("listen")), None);
        assert_eq!(nearest(&"x".repeat(100_000), names_in("")), None);
    }

    #[test]
    fn names_are_those_of_their_section() {
        assert_eq!(names_in("log"), ["level"]);
        assert_eq!(
            names_in(""),
            [
                "config_version",
                "server",
                "database",
                "listen",
                "backup",
                "capture",
                "log",
                "schedule",
                "filter",
                "day"
            ]
        );
        assert_eq!(names_in("schedule"), ["name", "kind", "at", "peers"]);
    }

    #[test]
    fn every_setting_is_documented() {
        let document = include_str!("../../../../docs/settings.md");
        for key in KEYS.iter().chain(ENTRY_KEYS) {
            assert!(document.contains(&format!("`{}`", key.path)), "{} is not in docs/settings.md", key.path);
        }
    }
}
