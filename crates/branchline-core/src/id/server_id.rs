//! The name of a server, such as `STORE-001`.
//!
//! One to 32 characters of `A-Z`, `0-9` and `-`, beginning and ending with a letter or a digit. The alphabet is
//! this narrow on purpose: the name stands in file names, headers, logs and SQL parameters, and no two names
//! may look alike. Names that Windows reserves for devices are refused for the same reason.

use std::fmt;
use std::str::FromStr;

/// Names that cannot be file names on Windows, with or without an extension.
const DEVICE_NAMES: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];

/// The name of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(String);

/// Why a text is not a server id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a server id is 1 to 32 of A-Z, 0-9 and '-', begins and ends with a letter or digit, and is no device name"
)]
pub struct ServerIdError;

impl ServerId {
    /// The longest id, in bytes.
    pub const BYTES_MAX: usize = 32;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerId {
    type Err = ServerIdError;

    fn from_str(text: &str) -> Result<Self, ServerIdError> {
        let bytes = text.as_bytes();
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let inside = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'-';
        let numbered_device = bytes.len() == 4
            && (text.starts_with("COM") || text.starts_with("LPT"))
            && bytes[3].is_ascii_digit();
        if bytes.len() > Self::BYTES_MAX
            || !edge(bytes.first())
            || !edge(bytes.last())
            || !bytes.iter().all(inside)
            || DEVICE_NAMES.contains(&text)
            || numbered_device
        {
            return Err(ServerIdError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        for name in ["STORE-001", "CENTRAL-HQ", "A", "7", &"X".repeat(32)] {
            assert_eq!(name.parse::<ServerId>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_try_to_be_something_else_are_refused() {
        let long = "X".repeat(33);
        let huge = "A".repeat(65_536);
        for name in [
            "", "-", "-A", "A-", "store", "STORE 1", "..", "..\\X", "../X", "A/B", "CON", "NUL", "COM1",
            "LPT9", "A\0B", "A\n", "\"; DROP", "%2E%2E", "STОRE", "A.", &long, &huge,
        ] {
            assert_eq!(name.parse::<ServerId>(), Err(ServerIdError), "{name:?}");
        }
    }
}
