//! `explain`: what an error code means.

use branchline_core::code::{CODES, Code, CodeEntry, Fault, Retry};

use super::done::{Done, Failure};
use super::{json, text};

/// What `explain` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The code, such as BL-E0306, E0306 or UNREACHABLE; all, where it is left out
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Done, Failure> {
    let Some(code) = &arguments.code else {
        let data = serde_json::Value::Array(CODES.iter().map(json::of_code).collect());
        let rows = CODES.iter().map(|entry| [entry.code.to_string(), entry.meaning.to_owned()]);
        return Ok(Done::new(data, text::table(["code", "meaning"], rows)).next("branchline explain CODE"));
    };
    let unknown =
        || Failure::usage(format!("{code} is not one of our codes"), "branchline explain  lists them all");
    let entry = find(code).ok_or_else(unknown)?;
    Ok(Done::new(json::of_code(entry), described(entry)))
}

/// By number in any spelling, or by name.
fn find(text: &str) -> Option<&'static CodeEntry> {
    let upper = text.trim().to_ascii_uppercase();
    let digits = upper.trim_start_matches("BL-").trim_start_matches('E');
    let by_number = || {
        let number: u16 = digits.parse().ok()?;
        Code::parse(&format!("BL-E{number:04}")).map(Code::entry)
    };
    CODES.iter().find(|entry| entry.name == upper).or_else(by_number)
}

fn described(entry: &CodeEntry) -> String {
    let retry = match entry.retry {
        Retry::Never => "the same thing fails again until something is changed",
        Retry::Later => "it may work after a while",
        Retry::Now => "it may work at once",
    };
    let fault = match entry.fault {
        Fault::Peer => "with the other server, or the file that it made",
        Fault::Here => "on this machine",
        Fault::Network => "in between",
    };
    let lines = [
        ("meaning", entry.meaning.to_owned()),
        ("cause", fault.to_owned()),
        ("again", retry.to_owned()),
        ("help", entry.hint.to_owned()),
    ];
    format!("{}  {}\n{}", entry.code, entry.name, text::pairs(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_in_any_spelling() {
        for text in ["BL-E0306", "bl-e0306", "E0306", "0306", "306", "unreachable"] {
            assert_eq!(find(text).map(|entry| entry.code), Some(Code::UNREACHABLE), "{text}");
        }
        for text in ["", "E", "BL-E9999", "x", "70000"] {
            assert!(find(text).is_none(), "{text}");
        }
    }
}
