//! An error for people, in four parts: what failed and why, what it means for the data, what to do.
//!
//! ```text
//! Error: BL-E0306  HQ does not answer at any of its addresses
//!   Your data is safe: 4 backups wait.
//!   help: branchline peers ping HQ
//! ```

use super::done::Failure;
use super::text::{clean, indent};
use crate::api::v1::Problem;

const RED: &str = "\u{1b}[1;31m";
const PLAIN: &str = "\u{1b}[0m";

pub(crate) fn failure(failure: &Failure, colour: bool) -> String {
    let problem = &failure.problem;
    if failure.faults.is_empty() {
        return problem_text(problem, colour);
    }
    let faults: Vec<String> =
        failure.faults.iter().map(|fault| indent(&clean(&fault.to_string()), 2)).collect();
    format!(
        "{}{}\n  help: check again with  {}\n",
        head(problem, colour),
        faults.join("\n"),
        clean(&problem.help)
    )
}

/// One problem of several, or the only one.
pub(crate) fn problem_text(problem: &Problem, colour: bool) -> String {
    let mut text = head(problem, colour);
    if let Some(data) = &problem.data {
        text.push_str(&indent(&clean(data), 2));
        text.push('\n');
    }
    text.push_str("  help: ");
    text.push_str(indent(&clean(&problem.help), 8).trim_start());
    text.push('\n');
    text
}

fn head(problem: &Problem, colour: bool) -> String {
    let message = indent(&clean(&problem.message), 2);
    let code = clean(&problem.code);
    let (red, plain) = if colour { (RED, PLAIN) } else { ("", "") };
    format!("{red}Error:{plain} {code}  {}\n", message.trim_start())
}

#[cfg(test)]
mod tests {
    use branchline_core::code::Code;

    use super::*;

    #[test]
    fn an_error_has_four_parts() {
        let problem = Problem::new(Code::UNREACHABLE, "HQ does not answer\nError: BL-E9999 forged")
            .with_data("Your data is safe: 4 backups wait.")
            .with_help("branchline peers ping HQ\nbranchline status");
        assert_eq!(
            problem_text(&problem, false),
            "Error: BL-E0306  HQ does not answer\n  Error: BL-E9999 forged\n  Your data is safe: 4 backups wait.\n  \
             help: branchline peers ping HQ\n        branchline status\n"
        );
    }

    #[test]
    fn a_peer_cannot_speak_to_the_terminal() {
        let problem = Problem::new(Code::REFUSED_BY_PEER, "no\u{1b}]0;owned\u{7}");
        assert!(!problem_text(&problem, false).contains('\u{1b}'));
    }
}
