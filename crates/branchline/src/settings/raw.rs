//! What stands in `config.toml`, by key, with the place of each value: read, and not yet checked.
//!
//! The file is walked by hand instead of by derived readers, because those stop at the first fault and this must
//! name them all. Unknown keys are faults. Limits: 1 MiB of text.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Place, SettingsFault, SourceText};
use super::keys::{self, Form, Key};

/// Bytes of a file that are read at most.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Keys whose values may hold a password.
const SECRET_KEYS: [&str; 1] = ["database.url"];

/// Values by key.
pub(super) type RawSettings = BTreeMap<&'static str, RawValue>;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawValue {
    pub(super) content: Content,
    pub(super) place: Place,
}

/// A value of one of the forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Text(String),
    /// The texts, each with its own place.
    List(Vec<(String, Place)>),
    Number(i64),
    Entries(Vec<RawEntry>),
}

/// One section of a list of sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawEntry {
    /// Where it begins.
    pub(super) place: Place,
    pub(super) values: RawSettings,
    /// Keys that are there with a value of the wrong form, which was named already.
    pub(super) misread: Vec<&'static str>,
}

/// Reads a file's text. Where it is not TOML, only that is said: the rest of it could be anything.
pub(super) fn read(file: &Path, text: &str, faults: &mut Vec<SettingsFault>) -> RawSettings {
    let source = SourceText { file, text };
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut lines_named = Vec::new();
    for error in &errors {
        let place = source.place(error.span().unwrap_or(0..0), false);
        if let Place::File { line, .. } = place {
            // One slip often breaks what follows on its line too.
            if lines_named.contains(&line) {
                continue;
            }
            lines_named.push(line);
        }
        let message = error.message().to_owned();
        faults.push(SettingsFault { key: String::new(), message, help: None, place });
    }
    let mut walk = Walk { source, faults, values: RawSettings::new() };
    if errors.is_empty() {
        walk.table("", document.get_ref());
    }
    walk.values
}

struct Walk<'a> {
    source: SourceText<'a>,
    faults: &'a mut Vec<SettingsFault>,
    values: RawSettings,
}

impl Walk<'_> {
    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = if section.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{section}.{}", name.get_ref())
            };
            if let Some(key) = keys::find(&path) {
                let read = self.value(key, value);
                self.values.extend(read.map(|read| (key.path, read)));
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) if keys::is_section(&path) => self.table(&path, inner),
                found if keys::is_section(&path) => {
                    let message = format!("expected a section, found {}", described(found));
                    self.fault(
                        &path,
                        message,
                        Some(format!("write [{path}] on a line of its own")),
                        value.span(),
                    );
                }
                found => self.unknown(section, name, matches!(found, DeValue::Table(_))),
            }
        }
    }

    fn value(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>) -> Option<RawValue> {
        let secret = SECRET_KEYS.contains(&key.path);
        let content = match (key.form, value.get_ref()) {
            (Form::Text, DeValue::String(text)) => Content::Text(text.to_string()),
            (Form::Number, DeValue::Integer(number)) => Content::Number(number.as_str().parse().ok()?),
            (Form::List, DeValue::Array(items)) => self.list(key, items.iter())?,
            (Form::Entries, DeValue::Array(items)) => self.entries(key, items.iter())?,
            _ => {
                self.wrong_form(key, value, secret);
                return None;
            }
        };
        Some(RawValue { content, place: self.source.place(value.span(), secret) })
    }

    fn wrong_form(&mut self, key: &Key, value: &Spanned<DeValue<'_>>, secret: bool) {
        let (expected, help) = match key.form {
            Form::Text => ("text", "write it in quotes".to_owned()),
            Form::List => ("a list of texts", "write it as [\"one\", \"two\"]".to_owned()),
            Form::Number => ("a whole number", "write it without quotes".to_owned()),
            Form::Entries => {
                let help = format!("write [[{}]] on a line of its own, once for each entry", key.path);
                ("sections in double brackets", help)
            }
        };
        let message = format!("expected {expected}, found {}", described(value.get_ref()));
        let place = self.source.place(value.span(), secret);
        self.faults.push(SettingsFault { key: key.path.to_owned(), message, help: Some(help), place });
    }

    /// The sections of a list: what is wrong with one keeps no other from being read.
    fn entries<'v, 'd: 'v>(
        &mut self,
        key: &'static Key,
        items: impl Iterator<Item = &'v Spanned<DeValue<'d>>>,
    ) -> Option<Content> {
        let mut entries = Some(Vec::new());
        for item in items {
            let DeValue::Table(table) = item.get_ref() else {
                self.wrong_form(key, item, false);
                entries = None;
                continue;
            };
            let (mut values, mut misread) = (RawSettings::new(), Vec::new());
            for (name, value) in table {
                match keys::find_in_entry(&format!("{}.{}", key.path, name.get_ref())) {
                    Some(inner) => match self.value(inner, value) {
                        Some(read) => drop(values.insert(inner.path, read)),
                        None => misread.push(inner.path),
                    },
                    None => self.unknown(key.path, name, matches!(value.get_ref(), DeValue::Table(_))),
                }
            }
            let place = self.source.place(item.span(), false);
            if let Some(entries) = &mut entries {
                entries.push(RawEntry { place, values, misread });
            }
        }
        entries.map(Content::Entries)
    }

    fn list<'v, 'd: 'v>(
        &mut self,
        key: &Key,
        items: impl Iterator<Item = &'v Spanned<DeValue<'d>>>,
    ) -> Option<Content> {
        let mut texts = Some(Vec::new());
        for item in items {
            if let DeValue::String(text) = item.get_ref() {
                let place = self.source.place(item.span(), false);
                if let Some(texts) = &mut texts {
                    texts.push((text.to_string(), place));
                }
            } else {
                let message = format!("expected text, found {}", described(item.get_ref()));
                self.fault(key.path, message, Some("write it in quotes".into()), item.span());
                texts = None;
            }
        }
        texts.map(Content::List)
    }

    fn unknown(&mut self, section: &str, name: &Spanned<std::borrow::Cow<'_, str>>, is_table: bool) {
        let known = keys::names_in(section);
        let meant = keys::nearest(name.get_ref(), known.iter().copied());
        let help = match meant {
            Some(meant) => format!("did you mean  {meant}"),
            None => format!("known here: {}", known.join(", ")),
        };
        let what = if is_table { "section" } else { "key" };
        let path = if section.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{section}.{}", name.get_ref())
        };
        self.fault(&path, format!("there is no such {what}"), Some(help), name.span());
    }

    fn fault(&mut self, path: &str, message: String, help: Option<String>, span: std::ops::Range<usize>) {
        let place = self.source.place(span, false);
        self.faults.push(SettingsFault { key: path.to_owned(), message, help, place });
    }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
