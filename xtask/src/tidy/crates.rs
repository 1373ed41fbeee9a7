//! Rules about crates: which may depend on which, and which must not be in the build at all.

use crate::failure::Failure;
use crate::program::{self, cargo};

use super::Finding;

/// A second crypto or TLS library would mean two sets of bugs and of updates.
const BANNED: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

/// The crates of this workspace that each may depend on. `branchline-testkit` is added for tests only.
const DIRECTION: &[(&str, &[&str])] = &[
    ("branchline-core", &[]),
    ("branchline-db", &["branchline-core"]),
    ("branchline-state", &["branchline-core"]),
    ("branchline-net", &["branchline-core"]),
    ("branchline-ddns", &["branchline-core"]),
    ("xtask", &[]),
];

pub(super) fn check_manifest(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let name = path.trim_end_matches("/Cargo.toml");
    let name = name.rsplit('/').next().unwrap_or(name);
    let mut section = "";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let dependency: String =
            line.chars().take_while(|next| next.is_alphanumeric() || *next == '-' || *next == '_').collect();
        let dependency = dependency.replace('_', "-");
        if !dependency.starts_with("branchline") || !section.contains("dependencies]") {
            continue;
        }
        if let Some(what) = breach(name, section, &dependency) {
            findings.push(Finding { path: path.to_owned(), line: index + 1, rule: "direction", what });
        }
    }
}

fn breach(name: &str, section: &str, dependency: &str) -> Option<String> {
    if section.contains("workspace.") {
        return None;
    }
    let for_tests = section.contains("dev-dependencies");
    if dependency == "branchline-testkit" {
        return (!for_tests).then(|| "the testkit is for tests: [dev-dependencies]".to_owned());
    }
    let (_, allowed) = DIRECTION.iter().find(|(krate, _)| *krate == name)?;
    (!allowed.contains(&dependency)).then(|| format!("{name} must not depend on {dependency}"))
}

/// The packages of the whole build, one `name vVERSION` a line, for every target and with the tests' too.
///
/// `Cargo.lock` will not do: it lists optional dependencies of dependencies that no build uses.
pub(super) fn packages() -> Result<String, Failure> {
    program::read(
        cargo()
            .args(["tree", "--workspace", "--target", "all", "--edges", "all"])
            .args(["--prefix", "none", "--format", "{p}"]),
    )
}

pub(super) fn check_packages(packages: &str, findings: &mut Vec<Finding>) {
    for name in BANNED {
        if packages.lines().any(|line| line.split(' ').next() == Some(name)) {
            findings.push(Finding {
                path: "Cargo.toml".into(),
                line: 1,
                rule: "banned-crate",
                what: format!(
                    "{name} came into the build: cargo tree --target all --invert {name} says through whom"
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{check_manifest, check_packages};

    fn found(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check_manifest(path, text, &mut findings);
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        let text = "[dependencies]\nbranchline-core.workspace = true\nbranchline-db.workspace = true\n";
        let path = "crates/branchline-net/Cargo.toml";
        assert_eq!(found(path, text), ["branchline-net must not depend on branchline-db"]);
        let path = "crates/branchline-core/Cargo.toml";
        assert_eq!(found(path, "[dependencies]\nbranchline-core = {}\n").len(), 1);
        assert!(found("crates/branchline/Cargo.toml", text).is_empty());
    }

    #[test]
    fn the_testkit_is_found_outside_tests() {
        let path = "crates/branchline/Cargo.toml";
        assert_eq!(found(path, "[dependencies]\nbranchline-testkit = {}\n").len(), 1);
        assert!(found(path, "[dev-dependencies]\nbranchline-testkit = {}\n").is_empty());
    }

    #[test]
    fn a_banned_crate_is_found_in_the_build() {
        let mut findings = Vec::new();
        check_packages("rustls v0.23.46\nring v0.17.14 (*)\nstring v1.0.0\n", &mut findings);
        assert_eq!(findings.len(), 1);
    }
}
