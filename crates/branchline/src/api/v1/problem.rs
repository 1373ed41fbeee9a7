//! An error as people and programs see it: what failed, why, what it means for the data, what to do.

use branchline_core::code::{Code, Explain, Retry};
use serde::{Deserialize, Serialize};

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code} {message}")]
pub struct Problem {
    /// The stable code, such as `BL-E0203`.
    pub code: String,
    /// The code's name, such as `SIGNATURE_INVALID`.
    pub name: String,
    /// What failed, and why.
    pub message: String,
    /// What it means for the data, where that is not plain.
    pub data: Option<String>,
    /// What to do.
    pub help: String,
    /// Whether trying again can help.
    pub retryable: bool,
}

impl Problem {
    /// A problem with words of its own.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let entry = code.entry();
        Self {
            code: code.to_string(),
            name: entry.name.to_owned(),
            message: message.into(),
            data: None,
            help: entry.hint.to_owned(),
            retryable: entry.retry != Retry::Never,
        }
    }

    /// The problem that an error stands for, with its causes.
    #[must_use]
    pub fn of(error: &dyn Explain) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            let text = source.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = source.source();
        }
        let retryable = error.retry() != Retry::Never;
        Self { help: error.hint(), retryable, ..Self::new(error.code(), message) }
    }

    /// The same, saying what it means for the data.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<String>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// The same, with another way out.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The code as one of the table's.
    #[must_use]
    pub fn known_code(&self) -> Code {
        Code::parse(&self.code).unwrap_or(Code::INTERNAL)
    }

    /// What the process ends with; `docs/cli.md` lists them.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.known_code() {
            Code::USAGE
            | Code::SETTINGS_INVALID
            | Code::NOT_INITIALISED
            | Code::ALREADY_INITIALISED
            | Code::ID_INVALID
            | Code::DATABASE_URL_INVALID
            | Code::INVITATION_MISTYPED => 2,
            Code::UNREACHABLE | Code::TIMED_OUT => 5,
            Code::SIGNATURE_INVALID
            | Code::CHECKSUM_MISMATCH
            | Code::WRONG_KEY
            | Code::WRONG_SOURCE
            | Code::WRONG_TARGET
            | Code::NOT_PAIRED
            | Code::PEER_PAUSED
            | Code::RECEIPT_INVALID
            | Code::TLS_FAILED => 6,
            Code::HOME_LOCKED => 7,
            Code::INTERRUPTED => 130,
            _ => 1,
        }
    }
}

impl<E: Explain> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}
