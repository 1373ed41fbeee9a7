//! `backups verify`: checks a file's signature and checksum, with nothing but the file.
//!
//! The key is the one inside the file, so this proves that the file is whole and who says that he made it; that it
//! was he, only the pinned key at the receiver proves, or two people who compare the key id.

use std::path::Path;

use branchline_core::backup::v1::Expectation;

use super::super::done::{Done, Failure};
use super::super::json;
use crate::node::describe;
use crate::stages::verify::verify_path;

pub(super) fn run(file: &Path) -> Result<Done, Failure> {
    let anybody = Expectation { target: None, source: None, data_bytes_max: u64::MAX, signature: None };
    let verified = verify_path(file, anybody)?;
    let document_bytes = std::fs::metadata(file).map_or(0, |file| file.len());
    let answer = describe::file(&file.display().to_string(), &verified, document_bytes, None);
    let said = format!("The signature and the checksum hold.\n\n{}", super::described_file(&answer));
    let next = format!("branchline backups import {} --dry-run   # on {}", file.display(), answer.target);
    Ok(Done::new(json::of(&answer), said).next(next))
}
