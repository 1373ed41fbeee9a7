//! Rules about documents: the paths they name exist, and nothing points outside the checkout.

use std::fs;
use std::path::Path;

use super::Finding;

/// Where a developer's machine keeps things that a checkout does not have. Written in halves, so that this file does
/// not name them.
const OUTSIDE: &[&str] =
    &[concat!("../", "shared"), concat!("/work/", "shared"), concat!("/work/", ".library")];

/// Kinds of files whose whole path in backticks is taken for one of this repository.
const SUFFIXES: &[&str] = &[".rs", ".md", ".toml", ".sql", ".yml"];

/// Finds paths of this repository in backticks and in links that `exists` denies.
pub(super) fn check_paths(
    path: &str,
    text: &str,
    exists: &dyn Fn(&str) -> bool,
    findings: &mut Vec<Finding>,
) {
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        for named in backticked(line).into_iter().chain(linked(line)) {
            if !exists(named) {
                findings.push(Finding {
                    path: path.to_owned(),
                    line: index + 1,
                    rule: "document-path",
                    what: format!("{named} is not in this repository"),
                });
            }
        }
    }
}

/// Finds references to what only the authors' machines have.
pub(super) fn check_checkout(path: &str, text: &str, findings: &mut Vec<Finding>) {
    for (index, line) in text.lines().enumerate() {
        if let Some(word) = OUTSIDE.iter().find(|word| line.contains(**word)) {
            findings.push(Finding {
                path: path.to_owned(),
                line: index + 1,
                rule: "checkout",
                what: format!("{word} is not in a user's checkout"),
            });
        }
    }
}

/// Whether a path that a document names is there: from the root, from the document, or inside a crate.
pub(super) fn exists(root: &Path, document: &str, named: &str) -> bool {
    let named = named.trim_end_matches('/');
    let first = named.split('/').next().unwrap_or_default();
    let beside = root.join(document).parent().map(|folder| folder.join(named));
    if root.join(named).exists() || beside.is_some_and(|path| path.exists()) {
        return true;
    }
    let is_here = root.join(first).exists() || SUFFIXES.iter().any(|suffix| named.ends_with(suffix));
    if !is_here {
        // Not a path of this repository: a URL's, a media type, a fraction.
        return true;
    }
    let Ok(crates) = fs::read_dir(root.join("crates")) else {
        return false;
    };
    crates
        .flatten()
        .any(|entry| entry.path().join(named).exists() || entry.path().join("src").join(named).exists())
}

fn backticked(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).filter(|inside| looks_like_a_path(inside)).collect()
}

fn linked(line: &str) -> Vec<&str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.contains(':') && looks_like_a_path(target))
        .collect()
}

fn looks_like_a_path(text: &str) -> bool {
    text.contains('/')
        && !text.starts_with('/')
        && !text.starts_with('~')
        // What builds make is there or not.
        && !text.starts_with("target/")
        && !text.contains("//")
        && text.chars().all(|next| next.is_ascii_alphanumeric() || matches!(next, '/' | '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::{OUTSIDE, check_checkout, check_paths};

    #[test]
    fn a_path_that_is_gone_is_found() {
        let mut findings = Vec::new();
        let text =
            "see `docs/gone.md`, [this](docs/there.md#part), `a b/c`, `/v1/hello`\n```\n`docs/no.md`\n```\n";
        let exists = |named: &str| named == "docs/there.md";
        check_paths("README.md", text, &exists, &mut findings);
        let found: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(found, ["docs/gone.md is not in this repository"]);
    }

    #[test]
    fn a_reference_outside_the_checkout_is_found() {
        let mut findings = Vec::new();
        let text = format!("ok\nsee {}/notes\n", OUTSIDE[0]);
        check_checkout("README.md", &text, &mut findings);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 2);
    }
}
