//! The name of one backup: a UUID of version 7, so that names sort by the time they were made.
//!
//! Source: RFC 9562, section 5.7. Time and entropy are passed in.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

/// The name of one backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(uuid::Uuid);

/// Why a text is not a backup id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a backup id is a UUID of version 7 in lower case, such as 019a2f4e-0000-7000-8000-000000000000")]
pub struct BackupIdError;

impl BackupId {
    /// Makes an id from the time and 10 bytes of entropy.
    #[must_use]
    pub fn from_parts(now: Timestamp, entropy: [u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &entropy).into_uuid())
    }
}

impl FromStr for BackupId {
    type Err = BackupIdError;

    fn from_str(text: &str) -> Result<Self, BackupIdError> {
        let uuid = uuid::Uuid::try_parse(text).map_err(|_| BackupIdError)?;
        let id = Self(uuid);
        // One written form only: the id is a file name and the end of a URL.
        if uuid.get_version_num() != 7 || id.to_string() != text {
            return Err(BackupIdError);
        }
        Ok(id)
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_by_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let early = BackupId::from_parts(at(1_764_000_000), [0xff; 10]);
        let late = BackupId::from_parts(at(1_764_000_001), [0; 10]);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse::<BackupId>().unwrap(), early);
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "019A2F4E-0000-7000-8000-000000000000",
            "{019a2f4e-0000-7000-8000-000000000000}",
            "019a2f4e000070008000000000000000",
            "019a2f4e-0000-4000-8000-000000000000",
            "../../etc/passwd",
        ] {
            assert_eq!(text.parse::<BackupId>(), Err(BackupIdError), "{text:?}");
        }
    }
}
