//! `docs/errors.md` lists every code, in the words of the table that the program itself uses.
//!
//! What stands between the two marks is made here; `BRANCHLINE_BLESS=1` writes it anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use branchline_core::code::{CODES, CodeEntry, Retry};

use crate::document::blessing;

const BEGIN: &str = "<!-- codes: made from the table in the code, see the end of this page -->\n";
const END: &str = "<!-- end of codes -->\n";

/// Hundreds of codes, with what they are about.
const GROUPS: [(u16, &str); 5] = [
    (0, "Anything"),
    (1, "This server: command line, settings, folder, key"),
    (2, "Backups and receipts"),
    (3, "Peers, pairing and the way between"),
    (4, "The application database"),
];

fn group(entry: &CodeEntry) -> u16 {
    let code = entry.code.to_string();
    let number: u16 =
        code.trim_start_matches("BL-E").parse().expect("invariant: a code ends with its number");
    number / 100
}

fn line(entry: &CodeEntry) -> String {
    let again = match entry.retry {
        Retry::Never => "no",
        Retry::Later => "later",
        Retry::Now => "at once",
    };
    let CodeEntry { code, name, meaning, hint, http_status, .. } = entry;
    let line = format!("| {code} | {name} | {meaning} | {hint} | {again} | {http_status} |\n");
    assert_eq!(line.matches('|').count(), 7, "a word of {code} would break the table");
    line
}

fn rendered() -> String {
    let mut text = String::new();
    for (hundreds, title) in GROUPS {
        let _ = writeln!(text, "\n## {title}\n");
        text.push_str("| code | name | what it means | what to do | try again | HTTP |\n");
        text.push_str("|---|---|---|---|---|---|\n");
        CODES.iter().filter(|entry| group(entry) == hundreds).map(line).for_each(|line| text.push_str(&line));
    }
    text.push('\n');
    text
}

#[test]
fn errors_document_lists_every_code() {
    let known = |entry: &CodeEntry| GROUPS.iter().any(|(hundreds, _)| *hundreds == group(entry));
    assert!(CODES.iter().all(known), "a group of codes has no title here");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the mark where the codes begin");
    let (listed, after) = rest.split_once(END).expect("the mark where the codes end");
    let wanted = rendered();
    if blessing() && listed != wanted {
        std::fs::write(&path, [before, BEGIN, &wanted, END, after].concat()).unwrap();
        return;
    }
    assert_eq!(listed, wanted, "write it anew: BRANCHLINE_BLESS=1 cargo test -p branchline-core --test it");
}
