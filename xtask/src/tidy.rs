//! `cargo xtask tidy`, and a test: the rules of this code base that no other tool checks.
//!
//! | rule | what it asks |
//! |---|---|
//! | `file-length` | at most 600 lines a file, 900 where all of it is tests |
//! | `function-length` | at most 70 lines a function, outside tests |
//! | `module-doc` | every file opens with `//!` |
//! | `name` | no file, module or type named for nothing (the list is in `names`) |
//! | `unfinished` | no placeholder macros, no skipped tests, no reminders left in comments |
//! | `clock` | only the node's clock reads the time; core, db, state and net get it passed in |
//! | `spawn` | tasks are started through the node's handle |
//! | `core-io` | core names no runtime, file, socket, process, environment or clock |
//! | `serde` | only where a format is read or written |
//! | `sql` | only in the crates that own a database |
//! | `direction` | core <- db, state, net <- branchline; those in the middle never see each other |
//! | `banned-crate` | no second TLS or crypto library in any build, for any target |
//! | `document-path` | a repository path named in a document exists |
//! | `checkout` | nothing refers to what a user's checkout does not have |
//!
//! The way out is a comment on the line, or on the line before, with `tidy: allow(rule): reason` after `//`, `#` or
//! `<!--` and a space. For a rule about a whole file it stands in the first 30 lines. Do not split a thing only to
//! please this.
//!
//! It reads text with a small scanner (`source`), not a parser: it is meant to catch drift, not malice.

mod crates;
mod documents;
mod names;
mod places;
mod shape;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure};
use crate::program;

use source::{Source, allows_near};

/// One breach of one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    /// From 1.
    line: usize,
    rule: &'static str,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} (rule {})", self.path, self.line, self.what, self.rule)
    }
}

/// Checks the whole repository.
pub(crate) fn run() -> Result<(), Failure> {
    let (files, findings) = check(&program::root())?;
    if findings.is_empty() {
        println!("tidy: {files} files in order");
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    Err(Failure::new(format!("tidy: {} findings", findings.len()))
        .next("mend them, or allow one in the open: // tidy: allow(rule): reason"))
}

/// The number of files read, and what was found, in order.
fn check(root: &Path) -> Result<(usize, Vec<Finding>), Failure> {
    let mut paths = Vec::new();
    walk(root, root, &mut paths)?;
    paths.sort();
    let mut findings = Vec::new();
    for path in &paths {
        let bytes = fs::read(root.join(path)).doing(|| format!("read {path}"))?;
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        findings.extend(check_file(root, path, &text));
    }
    crates::check_packages(&crates::packages()?, &mut findings);
    findings.sort();
    Ok((paths.len(), findings))
}

fn check_file(root: &Path, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if path.ends_with(".rs") {
        let source = Source::new(path, text);
        shape::check(&source, &mut findings);
        names::check(&source, &mut findings);
        places::check(&source, &mut findings);
        findings.retain(|finding| !source.allows(finding.rule, finding.line));
        documents::check_checkout(path, text, &mut findings);
        return findings;
    } else if path.ends_with("Cargo.toml") {
        crates::check_manifest(path, text, &mut findings);
    } else if path.ends_with(".md") {
        documents::check_paths(path, text, &|named| documents::exists(root, path, named), &mut findings);
    }
    documents::check_checkout(path, text, &mut findings);
    let lines: Vec<&str> = text.lines().collect();
    findings.retain(|finding| !allows_near(&lines, finding.rule, finding.line));
    findings
}

/// Every file that belongs to the repository, relative to its root, with `/` between the parts.
fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) -> Result<(), Failure> {
    let entries = fs::read_dir(folder).doing(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.doing(|| format!("list {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().doing(|| format!("look at {name}"))?;
        if kind.is_dir() {
            if !is_foreign(&name) {
                walk(root, &entry.path(), found)?;
            }
        } else if kind.is_file() {
            found.push(relative(root, &entry.path()));
        }
    }
    Ok(())
}

/// Folders that hold what tools made.
fn is_foreign(folder: &str) -> bool {
    folder == ".git" || folder == "target" || folder.starts_with("target-") || folder == "node_modules"
}

fn relative(root: &Path, path: &Path) -> String {
    let rest: PathBuf = path.strip_prefix(root).unwrap_or(path).into();
    let parts: Vec<String> =
        rest.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        let (files, findings) = super::check(&crate::program::root()).expect("readable");
        assert!(files > 10, "only {files} files were found");
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}\n", shown.join("\n"));
    }
}
