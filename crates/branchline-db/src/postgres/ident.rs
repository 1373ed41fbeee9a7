//! The one way by which a name reaches SQL: quoted, as the catalogue spells it.

use std::fmt;

/// The name of a schema, relation, column, constraint, role or database, quoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ident {
    name: String,
}

/// A relation, with its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Qualified {
    schema: Ident,
    name: Ident,
}

impl Ident {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// The name itself, not quoted.
    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }
}

impl Qualified {
    pub(crate) fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: Ident::new(schema), name: Ident::new(name) }
    }

    pub(crate) fn schema(&self) -> &Ident {
        &self.schema
    }

    pub(crate) fn name(&self) -> &Ident {
        &self.name
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.name.replace('"', "\"\""))
    }
}

impl fmt::Display for Qualified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A text as a literal, for the statements that take no parameters.
pub(crate) fn literal(text: &str) -> String {
    // `standard_conforming_strings` is pinned, so that only the quote itself needs care.
    format!("'{}'", text.replace('\'', "''"))
}

/// Items, joined by commas.
pub(crate) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_tries_to_be_sql_stays_a_name() {
        assert_eq!(Ident::new("orderItems").to_string(), "\"orderItems\"");
        assert_eq!(Ident::new("\"; DROP TABLE x; --").to_string(), "\"\"\"; DROP TABLE x; --\"");
        assert_eq!(Qualified::new("a.b", "c").to_string(), "\"a.b\".\"c\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
