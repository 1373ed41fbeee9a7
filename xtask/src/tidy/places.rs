//! Rules about what may stand where: clocks, tasks, I/O in core, serde and SQL.

use super::Finding;
use super::source::Source;

/// What core must not name.
const CORE_IO: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "SystemTime",
    "Instant::now",
];

/// Calls that read a clock.
const CLOCKS: &[&str] = &["Instant::now(", "SystemTime::now(", "Timestamp::now(", "Zoned::now("];

/// Where serde may be used: where a format is read or written. Each is a folder, or the file of the same name.
const SERDE_PLACES: &[&str] = &[
    "crates/branchline-core/src/backup/v1",
    "crates/branchline-core/src/receipt/v1",
    "crates/branchline-core/src/wire/v1",
    "crates/branchline-net/src/v1",
    "crates/branchline/src/settings/raw",
    "crates/branchline/src/cli/json",
    "crates/branchline/src/api/v1",
];

/// Where SQL may be written.
const SQL_PLACES: &[&str] = &[
    "crates/branchline-db/",
    "crates/branchline-state/",
    "crates/branchline-testkit/",
    "crates/branchline/src/demo",
    "xtask/",
];

/// What gives SQL in a literal away.
const SQL_WORDS: &[&str] = &["SELECT ", "INSERT INTO", "CREATE TABLE", "DELETE FROM"];

pub(super) fn check(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let mut add = |line: usize, rule: &'static str, what: String| {
        findings.push(Finding { path: source.path.to_owned(), line, rule, what });
    };
    let path = source.path;
    let core = path.starts_with("crates/branchline-core/");
    let adapter =
        ["db", "state", "net"].iter().any(|name| path.starts_with(&format!("crates/branchline-{name}/")));
    let product = path.starts_with("crates/");
    for (number, line) in source.product_lines() {
        if core && let Some(word) = outside_word(line) {
            add(number, "core-io", format!("core names {word}"));
        } else if adapter && let Some(word) = CLOCKS.iter().find(|word| line.contains(**word)) {
            add(number, "clock", format!("{word}) is for the node's clock: take the time as an argument"));
        }
        if product && !is_in(path, &["crates/branchline/src/node"]) && line.contains("tokio::spawn(") {
            add(number, "spawn", "tasks are started through the node's handle".into());
        }
        if product && !is_in(path, SERDE_PLACES) && uses_serde(line) {
            add(number, "serde", "serde is only for the modules that hold a format".into());
        }
    }
    if is_in(path, SQL_PLACES) {
        return;
    }
    for (line, literal) in &source.strings {
        if !source.is_test_line(*line) && is_sql(literal) {
            add(*line, "sql", "SQL is only for the crates that own a database".into());
        }
    }
}

fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| {
        path.strip_prefix(place)
            .is_some_and(|rest| place.ends_with('/') || rest == ".rs" || rest.starts_with('/'))
    })
}

/// Whether a line names a path, as whole words.
fn has_path(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let joins = |next: char| next.is_alphanumeric() || next == '_';
        let before = line[..at].chars().next_back().is_some_and(joins);
        let after = line[at + word.len()..].chars().next().is_some_and(joins);
        !before && !after
    })
}

/// What a line of core names of the outside world. Addresses are only numbers: their types open nothing.
fn outside_word(line: &str) -> Option<&'static str> {
    let mut line = line.to_owned();
    for address in ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr"] {
        line = line.replace(&format!("std::net::{address}"), address);
    }
    CORE_IO.iter().find(|word| has_path(&line, word)).copied()
}

fn uses_serde(line: &str) -> bool {
    let derives = line.contains("derive(") && (has_path(line, "Serialize") || has_path(line, "Deserialize"));
    derives || has_path(line, "serde")
}

fn is_sql(literal: &str) -> bool {
    SQL_WORDS.iter().any(|word| literal.contains(word)) && !literal.contains("GRANT ")
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
    fn core_that_touches_the_world_is_found() {
        let core = "crates/branchline-core/src/a.rs";
        assert_eq!(rules(core, "//! d\nuse std::fs::File;\n"), ["core-io"]);
        assert_eq!(rules(core, "//! d\nlet now = Instant::now();\n"), ["core-io"]);
        assert!(rules(core, "//! d\nlet a: std::net::IpAddr = b;\n").is_empty());
        assert!(rules(core, "//! tokio is not used here\nlet tokio_like = 1;\n").is_empty());
        assert!(rules(core, "//! d\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n").is_empty());
    }

    #[test]
    fn an_adapter_that_reads_a_clock_is_found() {
        let text = "//! d\nlet now = SystemTime::now();\n";
        assert_eq!(rules("crates/branchline-db/src/a.rs", text), ["clock"]);
        assert!(rules("crates/branchline/src/node/clock.rs", text).is_empty());
    }

    #[test]
    fn a_task_started_outside_the_node_is_found() {
        let text = "//! d\ntokio::spawn(async {});\n";
        assert_eq!(rules("crates/branchline/src/cli/a.rs", text), ["spawn"]);
        assert!(rules("crates/branchline/src/node/tasks.rs", text).is_empty());
    }

    #[test]
    fn serde_outside_the_formats_is_found() {
        let text = "//! d\n#[derive(Debug, Serialize)]\nstruct A;\n";
        assert_eq!(rules("crates/branchline/src/a.rs", text), ["serde"]);
        assert!(rules("crates/branchline/src/cli/json.rs", text).is_empty());
        assert!(rules("crates/branchline-core/src/backup/v1/metadata.rs", text).is_empty());
        assert_eq!(rules("crates/branchline-net/src/a.rs", "//! d\nuse serde::de;\n"), ["serde"]);
    }

    #[test]
    fn sql_outside_the_database_crates_is_found() {
        let text = "//! d\nconst A: &str = \"SELECT 1\";\n";
        assert_eq!(rules("crates/branchline/src/a.rs", text), ["sql"]);
        assert!(rules("crates/branchline/src/demo/shop.rs", text).is_empty());
        assert!(rules("crates/branchline-db/src/a.rs", text).is_empty());
        let hint = "//! d\nconst A: &str = \"GRANT SELECT ON shop TO branchline\";\n";
        assert!(rules("crates/branchline/src/a.rs", hint).is_empty());
    }
}
