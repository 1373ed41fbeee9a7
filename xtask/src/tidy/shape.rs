//! Rules about form: lengths, module docs, and nothing left unfinished.

use super::Finding;
use super::source::{Source, block_end};

const FILE_LINES_MAX: usize = 600;
const TEST_FILE_LINES_MAX: usize = 900;
const FUNCTION_LINES_MAX: usize = 70;

/// Placeholders, as they stand in code.
const PLACEHOLDERS: &[&str] = &["todo!(", "unimplemented!(", "#[ignore"];

/// Reminders, as they stand in comments.
const REMINDERS: &[&str] = &["FIXME", "XXX"];

pub(super) fn check(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let mut add = |line: usize, rule: &'static str, what: String| {
        findings.push(Finding { path: source.path.to_owned(), line, rule, what });
    };
    let lines = source.lines.len();
    let max = if source.is_test() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    if lines > max {
        add(1, "file-length", format!("{lines} lines, and {max} are the limit"));
    }
    if !source.lines.first().is_some_and(|line| line.starts_with("//!")) {
        add(1, "module-doc", "the file does not open with //!".into());
    }
    for (line, name, length) in functions(source) {
        if length > FUNCTION_LINES_MAX && !source.is_test_line(line) {
            let what = format!("{name} has {length} lines, and {FUNCTION_LINES_MAX} are the limit");
            add(line, "function-length", what);
        }
    }
    for (line, what) in unfinished(source) {
        add(line, "unfinished", format!("{what} is left"));
    }
}

/// Line, name and length of each function with a body.
fn functions(source: &Source<'_>) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (index, line) in source.code.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        if let Some(end) = block_end(&source.code, index) {
            found.push((index + 1, name, end - index + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let trimmed = line.trim_start();
    let after = match trimmed.strip_prefix("fn ") {
        Some(after) => after,
        None => trimmed.split_once(" fn ").map(|(_, after)| after)?,
    };
    let name: String = after.chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn unfinished(source: &Source<'_>) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (index, code) in source.code.iter().enumerate() {
        let placeholder = PLACEHOLDERS.iter().find(|word| code.contains(**word));
        found.extend(placeholder.map(|word| (index + 1, *word)));
    }
    for (line, comment) in &source.comments {
        let reminder = REMINDERS.iter().find(|word| has_word(comment, word));
        found.extend(reminder.map(|word| (*line, *word)));
    }
    found
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|next: char| !next.is_alphanumeric()).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::check;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let source = Source::new(path, text);
        let mut findings = Vec::new();
        check(&source, &mut findings);
        findings.iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_long_file_is_found_and_a_long_test_file_is_not() {
        let text = format!("//! doc\n{}", "// a line\n".repeat(600));
        assert_eq!(rules("crates/a/src/b.rs", &text), ["file-length"]);
        assert!(rules("crates/a/src/b/tests.rs", &text).is_empty());
    }

    #[test]
    fn a_file_without_module_doc_is_found() {
        assert_eq!(rules("crates/a/src/b.rs", "fn a() {}\n"), ["module-doc"]);
    }

    #[test]
    fn a_long_function_is_found_outside_tests_only() {
        let body = "    let _ = [0; 4];\n".repeat(70);
        let product = format!("//! d\npub(crate) async fn a(b: [u8; 4]) -> u8\n{{\n{body}}}\n");
        assert_eq!(rules("a.rs", &product), ["function-length"]);
        let tests = format!("//! d\n#[cfg(test)]\nmod tests {{\n    fn a() {{\n{body}    }}\n}}\n");
        assert!(rules("a.rs", &tests).is_empty());
    }

    #[test]
    fn placeholders_and_reminders_are_found_and_literals_are_not() {
        let macro_text = "//! d\nfn a() { todo!() }\n";
        assert_eq!(rules("a.rs", macro_text), ["unfinished"]);
        let comment = format!("//! d\n// {}: later\n", concat!("FIX", "ME"));
        assert_eq!(rules("a.rs", &comment), ["unfinished"]);
        let literal = "//! d\nconst A: &str = \"todo!( // XXX\";\n";
        assert!(rules("a.rs", literal).is_empty());
    }
}
