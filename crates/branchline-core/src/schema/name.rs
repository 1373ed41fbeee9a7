//! Names of tables and columns, as they stand in a backup.
//!
//! A table in the default schema goes by its bare name, any other by `schema.table`. The text is never taken
//! apart again: it is looked up in the catalogue that made it. What cannot be a name at all (empty, over
//! [`NAME_BYTES_MAX`], with a control character) is refused before any look-up.

use std::fmt;

use crate::limits::NAME_BYTES_MAX;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("a name is empty")]
    Empty,
    /// It is too long.
    #[error("a name has {bytes} bytes, more than {NAME_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It holds NUL, a line break or another control character.
    #[error("a name holds a control character")]
    ControlCharacter,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Takes a name from a catalogue or a backup.
            ///
            /// # Errors
            /// Where it cannot be a name in any database.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// The name of a table.
    TableName
}
name! {
    /// The name of a column.
    ColumnName
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { bytes: text.len() });
    }
    if text.chars().any(char::is_control) {
        return Err(NameError::ControlCharacter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_allows_is_a_name() {
        for text in [
            "orders",
            "orderItems",
            "a b",
            "\"; DROP TABLE x; --",
            "..\\x",
            "größe",
            &"x".repeat(NAME_BYTES_MAX),
        ] {
            assert_eq!(TableName::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_no_database_allows_is_refused() {
        assert_eq!(TableName::new(""), Err(NameError::Empty));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(TableName::new(long), Err(NameError::TooLong { bytes: NAME_BYTES_MAX + 1 }));
        assert_eq!(ColumnName::new("a\0b"), Err(NameError::ControlCharacter));
        assert_eq!(ColumnName::new("a\nb"), Err(NameError::ControlCharacter));
    }
}
