//! The one way in which a name reaches SQL.

use std::fmt;

/// A name in quotes, its own quotes doubled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ident<'a>(pub(super) &'a str);

impl fmt::Display for Ident<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// ` COLLATE "NAME"`, or nothing.
pub(super) fn collate(collation: Option<&str>) -> String {
    collation.map(|collation| format!(" COLLATE {}", Ident(collation))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_quotes() {
        assert_eq!(Ident("orderItems").to_string(), "\"orderItems\"");
        assert_eq!(Ident("\"; DROP TABLE x; --").to_string(), "\"\"\"; DROP TABLE x; --\"");
    }
}
