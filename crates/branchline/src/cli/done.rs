//! What a verb comes to: something done, or a failure; each with its exit code.

use branchline_core::code::{Code, Explain};

use super::signals::Signal;
use crate::api::v1::{Problem, WarningAnswer};
use crate::settings::SettingsFault;

/// Something was done, perhaps not all of it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The answer for programs.
    pub(crate) data: serde_json::Value,
    /// The answer for people.
    pub(crate) text: String,
    /// What to run next.
    pub(crate) next: Vec<String>,
    /// What a person should know besides.
    pub(crate) warnings: Vec<WarningAnswer>,
    /// What kept the rest from being done.
    pub(crate) problem: Option<Problem>,
    /// What the process ends with.
    pub(crate) exit_code: u8,
}

impl Done {
    pub(crate) fn new(data: serde_json::Value, text: impl Into<String>) -> Self {
        Self { data, text: text.into(), ..Self::default() }
    }

    /// The same, with a command to run next.
    pub(crate) fn next(mut self, command: impl Into<String>) -> Self {
        self.next.push(command.into());
        self
    }
}

/// Nothing was done.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) problem: Problem,
    /// What is wrong with the settings, where that is why.
    pub(crate) faults: Vec<SettingsFault>,
    exit_code: Option<u8>,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Problem::new(Code::USAGE, message).with_help(help).into()
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Problem::new(Code::INTERNAL, message).into()
    }

    /// The node answered another question than was asked.
    pub(crate) fn unexpected_answer() -> Self {
        Problem::new(Code::PROTOCOL_MISMATCH, "the answer is not one to what was asked")
            .with_help("the running serve is of another version: restart it")
            .into()
    }

    pub(crate) fn interrupted(signal: Signal) -> Self {
        let problem = Problem::new(Code::INTERRUPTED, format!("stopped by {}", signal.name())).with_data(
            "Nothing was left half done: what was queued waits, what was being applied was taken back.",
        );
        Self { exit_code: Some(signal.exit_code()), ..Self::from(problem) }
    }

    pub(crate) fn settings(faults: Vec<SettingsFault>) -> Self {
        let message = match faults.len() {
            1 => "the settings are not valid".to_owned(),
            count => format!("the settings are not valid: {count} faults"),
        };
        Self { faults, ..Self::from(Problem::new(Code::SETTINGS_INVALID, message)) }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code.unwrap_or_else(|| self.problem.exit_code())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem, faults: Vec::new(), exit_code: None }
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Problem::of(&error).into()
    }
}
