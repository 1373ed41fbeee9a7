//! Which rows of a table are in scope, as SQL.
//!
//! A filter's condition is the shop's own SQL over one table. It is asked where that table alone is in `FROM`
//! (`(SELECT * FROM main.t WHERE (…))`), so that its names are that table's. A row that needs parents looks for each of them
//! among the parent's rows that are in scope; a foreign key that holds a NULL points at nobody. Where a condition is NULL,
//! it does not hold.
//!
//! Before any of it is asked, each condition is tried by itself ([`ScopeSql::check`]): it has to be one expression, closed
//! in itself, without parameters. On a session that asks conditions, a text in double quotes is never taken for a value: it
//! would mean another thing inside of a larger query than it does alone.

use branchline_core::digest::Digest;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ForeignKey, Table, TableName};
use branchline_core::scope::PeerScope;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::error::failed;
use super::ident::Ident;
use super::schema::Catalogue;

/// The scope of a peer, over a catalogue.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScopeSql<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) scope: &'a PeerScope,
}

impl ScopeSql<'_> {
    /// Makes a session fit to ask the conditions, and tries each by itself.
    ///
    /// # Errors
    /// [`DatabaseError::FilterInvalid`].
    pub(super) fn check(&self, connection: &Connection) -> Result<(), DatabaseError> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false).map_err(failed)?;
        for (name, rows) in self.scope.tables() {
            for condition in &rows.conditions {
                check(connection, name, condition)?;
            }
        }
        Ok(())
    }

    /// By what the scope of a table is told from another one.
    pub(super) fn digest(&self, name: &TableName) -> Result<String, DatabaseError> {
        let text = format!("{} {}", self.source(name), self.has_parents(name, "t")?);
        Ok(Digest::of(text.as_bytes()).to_string())
    }

    /// The rows of a table for which its own conditions hold, to stand in `FROM`.
    pub(super) fn source(&self, name: &TableName) -> String {
        let table = format!("main.{}", Ident(name.as_str()));
        let conditions = self.scope.of(name).map(|rows| rows.conditions.as_slice()).unwrap_or_default();
        if conditions.is_empty() {
            return table;
        }
        // On lines of their own: a comment at the end of one hides nothing.
        let conditions: Vec<_> = conditions.iter().map(|condition| format!("(\n{condition}\n)")).collect();
        format!("(SELECT * FROM {table} WHERE {})", conditions.join(" AND "))
    }

    /// That the parents that a row needs (alias `row`) are in scope.
    pub(super) fn has_parents(&self, name: &TableName, row: &str) -> Result<String, DatabaseError> {
        self.has_parents_at(name, row, 0)
    }

    fn has_parents_at(&self, name: &TableName, row: &str, depth: usize) -> Result<String, DatabaseError> {
        let unknown = || DatabaseError::TableUnknown { table: name.clone() };
        let table = self.catalogue.schema.table(name).ok_or_else(unknown)?;
        let parents = self.scope.of(name).map(|rows| rows.parents.as_slice()).unwrap_or_default();
        let mut needed = vec!["true".to_owned()];
        for key in parents {
            let parent = format!("branchline_parent_{depth}");
            let is_null = pointers(table, key, row).map(|pointer| format!("{pointer} IS NULL"));
            let is_null: Vec<_> = is_null.collect();
            needed.push(format!(
                "({} OR EXISTS (SELECT 1 FROM {} AS {parent} WHERE {} AND {}))",
                is_null.join(" OR "),
                self.source(&key.target),
                points_at(table, key, row, &parent),
                self.has_parents_at(&key.target, &parent, depth + 1)?,
            ));
        }
        Ok(needed.join(" AND "))
    }
}

/// That a row of a table (alias `row`) points by a foreign key at a row of its target (alias `parent`).
pub(super) fn points_at(table: &Table, key: &ForeignKey, row: &str, parent: &str) -> String {
    let targets = key.target_columns.iter().map(|column| format!("{parent}.{}", Ident(column.as_str())));
    let same =
        targets.zip(pointers(table, key, row)).map(|(target, pointer)| format!("{target} = {pointer}"));
    same.collect::<Vec<_>>().join(" AND ")
}

fn pointers(table: &Table, key: &ForeignKey, row: &str) -> impl Iterator<Item = String> {
    key.columns.iter().map(move |&place| format!("{row}.{}", Ident(table.columns[place].name.as_str())))
}

/// Tries a condition by itself.
fn check(connection: &Connection, table: &TableName, condition: &str) -> Result<(), DatabaseError> {
    let invalid = |message: String| DatabaseError::FilterInvalid { table: table.clone(), message };
    if let Some(slip) = slip(condition) {
        return Err(invalid(slip.to_owned()));
    }
    let name = Ident(table.as_str());
    for sql in [
        format!("SELECT 1 FROM main.{name} WHERE (\n{condition}\n) LIMIT 0"),
        // As one value: a list of several is none.
        format!("SELECT (\n{condition}\n) FROM main.{name} LIMIT 0"),
    ] {
        match connection.prepare(&sql) {
            Ok(statement) if statement.parameter_count() > 0 => {
                return Err(invalid("it has a parameter, which nobody fills in".to_owned()));
            }
            Ok(_) => {}
            Err(rusqlite::Error::SqlInputError { msg, .. }) => return Err(invalid(msg)),
            Err(error) => match failed(error) {
                DatabaseError::Failed { message, .. } => return Err(invalid(message)),
                other => return Err(other),
            },
        }
    }
    Ok(())
}

/// What keeps a text from being one expression that is closed in itself.
fn slip(condition: &str) -> Option<&'static str> {
    let mut open = 0_u32;
    let mut characters = condition.chars().peekable();
    while let Some(character) = characters.next() {
        let end = match character {
            '\'' | '"' | '`' => character,
            '[' => ']',
            '(' => {
                open += 1;
                continue;
            }
            ')' if open == 0 => return Some("a parenthesis is closed that was not opened"),
            ')' => {
                open -= 1;
                continue;
            }
            ';' => return Some("it holds more than one statement"),
            '-' if characters.peek() == Some(&'-') => {
                characters.by_ref().find(|character| *character == '\n');
                continue;
            }
            '/' if characters.peek() == Some(&'*') => {
                if !skip_comment(&mut characters) {
                    return Some("a comment is not closed");
                }
                continue;
            }
            '\0' => return Some("it holds a NUL"),
            _ => continue,
        };
        // A quote that is doubled ends one text and begins the next.
        if !characters.any(|character| character == end) {
            return Some("a quote is not closed");
        }
    }
    (open > 0).then_some("a parenthesis is not closed")
}

/// Goes on behind a comment that has begun with a slash; answers whether it ends.
fn skip_comment(characters: &mut impl Iterator<Item = char>) -> bool {
    characters.next();
    let mut before = ' ';
    characters.any(|character| std::mem::replace(&mut before, character) == '*' && character == '/')
}

#[cfg(test)]
mod tests {
    use branchline_core::code::{Code, Explain};

    use super::*;

    #[test]
    fn a_condition_is_one_expression_that_is_closed_in_itself() {
        for good in [
            "store = 'S1'",
            "(a OR b) AND c",
            "name <> ')' AND \"a;b\" = 1 AND [c--d] = `e'f`",
            "note <> 'it''s; -- /*'",
            "a - -1 = b / 2",
            "a -- ) the rest",
            "a /* ( */ AND b",
        ] {
            assert_eq!(slip(good), None, "{good}");
        }
        for bad in
            ["1=1) OR (1=1", "(a", "a; b", "a) -- b", "a /* b", "a /*/", "a = 'b", "a = \"b", "a = [b", "a)"]
        {
            assert!(slip(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_condition_is_tried_by_itself() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, store TEXT)").unwrap();
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false).unwrap();
        let table = TableName::new("orders").unwrap();
        check(&connection, &table, "store = 'S1' OR store IN (SELECT 'S2')").unwrap();
        for (bad, message) in [
            ("shop = 'S1'", "no such column: shop"),
            ("store = \"S1\"", "no such column: \"S1\" - should this be a string literal in single-quotes?"),
            ("store =", "near \")\": syntax error"),
            ("store = ?1", "it has a parameter, which nobody fills in"),
            ("1=1) OR (1=1", "a parenthesis is closed that was not opened"),
            ("count(*) > 1", "misuse of aggregate function count()"),
        ] {
            let error = check(&connection, &table, bad).unwrap_err();
            let expected = format!("the filter of table orders cannot be used: {message}");
            assert_eq!((error.code(), error.to_string()), (Code::FILTER_INVALID, expected));
        }
    }
}
