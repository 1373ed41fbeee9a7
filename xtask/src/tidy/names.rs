//! The rule about names: a file, module or type is named for what it is.

use super::Finding;
use super::source::Source;

/// Words that say nothing about what a thing is.
const BANNED: &[&str] = &["util", "common", "helper", "manager", "handler", "misc"];

pub(super) fn check(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let mut add = |line: usize, kind: &str, name: &str| {
        if let Some(word) = banned_word(name) {
            findings.push(Finding {
                path: source.path.to_owned(),
                line,
                rule: "name",
                what: format!("the {kind} {name} is named with the word {word:?}"),
            });
        }
    };
    for part in source.path.split('/') {
        add(1, "path", part.trim_end_matches(".rs"));
    }
    for (index, line) in source.code.iter().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            if matches!(pair[0], "mod" | "struct" | "enum" | "trait" | "type" | "union") {
                let name = pair[1]
                    .split(|next: char| !next.is_alphanumeric() && next != '_')
                    .next()
                    .unwrap_or_default();
                add(index + 1, pair[0], name);
            }
        }
    }
}

/// The banned word in a name, singular or plural, in `snake_case` or `CamelCase`.
fn banned_word(name: &str) -> Option<&'static str> {
    let mut words = vec![String::new()];
    for character in name.chars() {
        if character == '_' || character == '-' || character.is_uppercase() {
            words.push(String::new());
        }
        if character.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
    }
    BANNED
        .iter()
        .find(|banned| words.iter().any(|word| word == *banned || word.strip_suffix('s') == Some(**banned)))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::check;

    fn found(path: &str, text: &str) -> usize {
        let source = Source::new(path, text);
        let mut findings = Vec::new();
        check(&source, &mut findings);
        findings.len()
    }

    #[test]
    fn empty_names_are_found_in_files_modules_and_types() {
        assert_eq!(found("crates/a/src/utils.rs", "//! d\n"), 1);
        assert_eq!(found("a.rs", "//! d\npub mod misc {}\n"), 1);
        assert_eq!(found("a.rs", "//! d\nstruct PeerManager;\n"), 1);
        assert_eq!(found("a.rs", "//! d\ntrait BackupHandler<T> {}\n"), 1);
    }

    #[test]
    fn names_that_only_contain_the_letters_are_not() {
        assert_eq!(found("crates/a/src/utility_bill.rs", "//! d\n"), 0);
        assert_eq!(found("a.rs", "//! d\nstruct Commonwealth;\n// mod util\n"), 0);
    }
}
