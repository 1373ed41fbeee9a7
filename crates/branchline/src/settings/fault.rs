//! What is wrong with a setting, and where it stands, so that a person finds it at once.
//!
//! ```text
//! /etc/branchline/config.toml:14:11
//!  14 | address = 8443
//!     |           ^^^^ listen.address: expected text, found a number
//! help: write it in quotes
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFault {
    /// Its key, as in `listen.address`; empty where the file cannot be read as TOML at all.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where it was set.
    pub place: Place,
}

/// Where a setting was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file.
    File {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// How many characters of the line are meant.
        width: usize,
        /// The line itself, without what may be secret.
        text: String,
    },
    /// In the environment.
    Environment {
        /// The variable.
        variable: String,
    },
    /// On the command line.
    Flag {
        /// The flag.
        flag: String,
    },
    /// Nowhere, though it must be somewhere.
    Missing {
        /// The file in which it is missing.
        file: PathBuf,
    },
}

impl fmt::Display for SettingsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.key.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.key, self.message)
        };
        match &self.place {
            Place::File { file, line, column, width, text } => {
                writeln!(f, "{}:{line}:{column}", file.display())?;
                let margin = line.to_string().len().max(3);
                writeln!(f, "{line:>margin$} | {text}")?;
                let (before, carets) = (" ".repeat(column - 1), "^".repeat(*width));
                write!(f, "{:>margin$} | {before}{carets} {said}", "")?;
            }
            Place::Environment { variable } => write!(f, "{variable} in the environment\n  {said}")?,
            Place::Flag { flag } => write!(f, "{flag} on the command line\n  {said}")?,
            Place::Missing { file } => write!(f, "{}\n  {said}", file.display())?,
        }
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

/// A file's text, in which places are found.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceText<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl SourceText<'_> {
    /// The place of a span of bytes; of its first line, where it goes over several.
    pub(super) fn place(&self, span: std::ops::Range<usize>, secret: bool) -> Place {
        const WIDTH_MAX: usize = 60;
        let start = floor_boundary(self.text, span.start);
        let end = floor_boundary(self.text, span.end).max(start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let column = self.text[line_start..start].chars().count() + 1;
        let shown = if secret { line_without_value(line) } else { line_without_secrets(line) };
        let width = self.text[start..end.min(line_end)].trim_end().chars().count();
        let room = shown.chars().count().saturating_sub(column - 1);
        Place::File {
            file: self.file.to_owned(),
            line: self.text[..line_start].matches('\n').count() + 1,
            column,
            width: width.min(room).clamp(1, WIDTH_MAX),
            text: shown.replace('\t', " "),
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

/// `url = "…`: what is before the value.
fn line_without_value(line: &str) -> String {
    line.split_once('=').map_or_else(|| "…".to_owned(), |(before, _)| format!("{before}= …"))
}

/// A line that is shown for another reason may hold a URL all the same.
fn line_without_secrets(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let secret =
        ["://", "password"].iter().filter_map(|word| lower.find(word).map(|at| at + word.len())).min();
    secret.map_or_else(|| line.to_owned(), |end| format!("{}…", &line[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: std::ops::Range<usize>, secret: bool) -> String {
        let place = SourceText { file: Path::new("c.toml"), text }.place(span, secret);
        SettingsFault { key: "a.b".into(), message: "wrong".into(), help: Some("mend it".into()), place }
            .to_string()
    }

    #[test]
    fn the_caret_stands_under_the_value() {
        let text = "one = 1\nzwölf = 12\r\n";
        let at = text.find("12").unwrap();
        let expected = "c.toml:2:9\n  2 | zwölf = 12\n    |         ^^ a.b: wrong\nhelp: mend it";
        assert_eq!(shown(text, at..at + 2, false), expected);
    }

    #[test]
    fn a_place_past_the_end_or_inside_a_character_is_still_a_place() {
        for text in ["", "\n", "é", "a = \""] {
            for start in 0..8 {
                assert!(shown(text, start..start + 3, false).contains('^'), "{text:?} {start}");
            }
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for line in ["url = \"postgresql://till:geheim@db/shop\" x", "url = \"host=db password=geheim\""] {
            assert!(!shown(line, 0..3, false).contains("geheim"), "{line}");
            assert!(!shown(line, 6..40, true).contains("geheim"), "{line}");
        }
    }
}
