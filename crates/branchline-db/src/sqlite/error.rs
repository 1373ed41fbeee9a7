//! What SQLite's errors mean.
//!
//! SQLite names the columns of a broken rule in its message (`UNIQUE constraint failed: t.a, t.b`) and nothing of
//! the row. The messages' forms are part of its tests and have not changed since 3.8; what does not have the form
//! is passed on whole.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;
use rusqlite::ffi;

/// A failure that is no rule of the shop's schema.
pub(super) fn failed(error: rusqlite::Error) -> DatabaseError {
    let (code, message) = match &error {
        rusqlite::Error::SqliteFailure(code, message) => (*code, message.clone()),
        other => {
            return DatabaseError::Failed { sqlstate: "RUSQLITE".to_owned(), message: other.to_string() };
        }
    };
    let message = message.unwrap_or_else(|| code.to_string());
    match code.extended_code & 0xff {
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => DatabaseError::Busy { message },
        ffi::SQLITE_READONLY => DatabaseError::ReadOnly,
        ffi::SQLITE_INTERRUPT => DatabaseError::Interrupted,
        ffi::SQLITE_FULL => DatabaseError::Failed {
            sqlstate: "SQLITE_FULL".to_owned(),
            message: format!("the disk is full, nothing was written ({message})"),
        },
        _ => DatabaseError::Failed { sqlstate: format!("SQLITE_{}", code.extended_code), message },
    }
}

/// A failure of a statement that writes rows of `table`: mostly a rule of the shop's schema.
pub(super) fn refused(error: rusqlite::Error, table: &TableName) -> DatabaseError {
    let rusqlite::Error::SqliteFailure(code, Some(message)) = &error else { return failed(error) };
    if code.extended_code & 0xff != ffi::SQLITE_CONSTRAINT {
        return mismatch(message, table).unwrap_or_else(|| failed(error));
    }
    let (broken, rule) = broken_rule(message, table);
    match code.extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            let detail = format!("another row has the same {rule}");
            DatabaseError::Unique { table: broken, constraint: rule, detail }
        }
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => DatabaseError::ForeignKey {
            table: broken,
            constraint: "FOREIGN KEY".to_owned(),
            detail: "a row would point at nothing".to_owned(),
        },
        // STRICT tables; the values were checked before, so this is what a trigger of the shop wrote.
        ffi::SQLITE_CONSTRAINT_DATATYPE => DatabaseError::Constraint {
            table: broken,
            constraint: "STRICT".to_owned(),
            detail: message.clone(),
        },
        _ => DatabaseError::Constraint { table: broken, constraint: rule, detail: message.clone() },
    }
}

/// A foreign key that SQLite cannot check, because what it points at is no unique key.
fn mismatch(message: &str, table: &TableName) -> Option<DatabaseError> {
    let what = message.strip_prefix("foreign key mismatch - ")?;
    Some(DatabaseError::ForeignKey {
        table: table.to_string(),
        constraint: "FOREIGN KEY".to_owned(),
        detail: format!("{what}, by columns that are no unique key there"),
    })
}

/// Whether a rule of the shop's schema was in the way.
pub(super) fn is_constraint(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

/// The table and the rule of a message such as `NOT NULL constraint failed: orders.total`.
fn broken_rule(message: &str, table: &TableName) -> (String, String) {
    let unknown = || (table.to_string(), message.to_owned());
    let Some((_, what)) = message.split_once("constraint failed: ") else { return unknown() };
    if let Some(index) = what.strip_prefix("index '").and_then(|rest| rest.strip_suffix('\'')) {
        return (table.to_string(), index.to_owned());
    }
    // The table may be another one than we wrote to: a trigger of the shop writes where it wants.
    let parts: Vec<_> = what.split(", ").map(|part| part.split_once('.')).collect();
    match parts.first() {
        Some(Some((broken, _))) => {
            let columns: Vec<_> = parts.iter().flatten().map(|(_, column)| *column).collect();
            ((*broken).to_owned(), columns.join(", "))
        }
        _ => (table.to_string(), what.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_so() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (v BLOB); PRAGMA max_page_count = 2").unwrap();
        let error = connection.execute("INSERT INTO t VALUES (zeroblob(100000))", []).unwrap_err();
        let DatabaseError::Failed { sqlstate, message } = refused(error, &TableName::new("t").unwrap())
        else {
            panic!("another error");
        };
        assert_eq!(sqlstate, "SQLITE_FULL");
        assert!(message.starts_with("the disk is full"), "{message}");
    }

    #[test]
    fn the_rule_and_its_table_are_read_from_the_message() {
        let table = TableName::new("orders").unwrap();
        for (message, expected) in [
            ("UNIQUE constraint failed: users.email, users.shop", ("users", "email, shop")),
            ("UNIQUE constraint failed: index 'by_lower_email'", ("orders", "by_lower_email")),
            ("NOT NULL constraint failed: orders.total", ("orders", "total")),
            ("CHECK constraint failed: total_is_positive", ("orders", "total_is_positive")),
            ("the till is closed", ("orders", "the till is closed")),
        ] {
            let (broken, rule) = broken_rule(message, &table);
            assert_eq!((broken.as_str(), rule.as_str()), expected);
        }
    }
}
