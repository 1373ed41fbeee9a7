//! What PostgreSQL reports, as what it means for the work: by SQLSTATE, never by the wording of a message.
//!
//! Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".

use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use super::ident::Ident;

/// What is needed to name things in an error as the rest of the program names them.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// Where the server is, without a password.
    pub(crate) address: String,
    /// Our role.
    pub(crate) role: String,
    /// Our database.
    pub(crate) database: String,
    /// The schema whose tables go by their bare names.
    pub(crate) default_schema: String,
}

impl Names {
    /// The name in a backup of a relation.
    pub(crate) fn wire(&self, schema: &str, relation: &str) -> String {
        if schema == self.default_schema { relation.to_owned() } else { format!("{schema}.{relation}") }
    }

    /// What an error of the driver means.
    pub(crate) fn fault(&self, error: &Error) -> DatabaseError {
        match error.as_db_error() {
            Some(report) => self.reported(report),
            None => DatabaseError::Unreachable { address: self.address.clone(), message: causes(error) },
        }
    }

    fn reported(&self, report: &DbError) -> DatabaseError {
        let state = report.code();
        let table = || self.wire(report.schema().unwrap_or_default(), report.table().unwrap_or("?"));
        let constraint = || report.constraint().unwrap_or("?").to_owned();
        let detail = || report.detail().unwrap_or(report.message()).to_owned();
        let message = || report.message().to_owned();
        if *state == SqlState::UNIQUE_VIOLATION {
            DatabaseError::Unique { table: table(), constraint: constraint(), detail: detail() }
        } else if *state == SqlState::FOREIGN_KEY_VIOLATION || *state == SqlState::RESTRICT_VIOLATION {
            DatabaseError::ForeignKey { table: table(), constraint: constraint(), detail: detail() }
        } else if *state == SqlState::NOT_NULL_VIOLATION {
            let constraint = format!("NOT NULL of {}", report.column().unwrap_or("?"));
            DatabaseError::Constraint { table: table(), constraint, detail: message() }
        } else if *state == SqlState::CHECK_VIOLATION || *state == SqlState::EXCLUSION_VIOLATION {
            DatabaseError::Constraint { table: table(), constraint: constraint(), detail: message() }
        } else if *state == SqlState::INSUFFICIENT_PRIVILEGE {
            self.privilege(report)
        } else if *state == SqlState::READ_ONLY_SQL_TRANSACTION {
            DatabaseError::ReadOnly
        } else if is_contention(state) {
            DatabaseError::Busy { message: message() }
        } else if is_connection(state) {
            DatabaseError::Unreachable { address: self.address.clone(), message: message() }
        } else {
            DatabaseError::Failed { sqlstate: state.code().to_owned(), message: message() }
        }
    }

    /// Rights are asked for before they are needed; what still ends here is said in the database's words.
    fn privilege(&self, report: &DbError) -> DatabaseError {
        let role = Ident::new(&self.role);
        let by_policy = report.routine() == Some("get_row_security_policies")
            || report.message().contains("row-level security")
            || report.routine() == Some("check_enable_rls");
        if by_policy {
            let action = "see all rows: a row-level security policy hides some".to_owned();
            return DatabaseError::PrivilegeMissing { action, grant: format!("ALTER ROLE {role} BYPASSRLS") };
        }
        let action = format!("do what it must ({})", report.message());
        DatabaseError::PrivilegeMissing { action, grant: format!("GRANT the right that is named TO {role}") }
    }
}

/// Whether a statement lost against another session, and may win when it is tried again.
pub(crate) fn is_contention(state: &SqlState) -> bool {
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE]
        .contains(state)
}

/// Whether the error is that of a connection, or of getting one.
fn is_connection(state: &SqlState) -> bool {
    let code = state.code();
    let shut_down = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    let refused =
        [SqlState::TOO_MANY_CONNECTIONS, SqlState::INVALID_CATALOG_NAME, SqlState::UNDEFINED_DATABASE];
    code.starts_with("08") || code.starts_with("28") || shut_down.contains(state) || refused.contains(state)
}

/// An error's message with those of its causes: the driver's own say only "error connecting to server".
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
}

/// The row and the column that a failed COPY points at: `COPY relation, line 12, column price: "abc"`.
///
/// The words are translated on a server with another language, their order is not: after the relation's name the
/// first number is the line. A column is one of `columns`.
pub(crate) fn copy_place<'a>(
    report: &DbError,
    relation: &str,
    columns: &[&'a str],
) -> Option<(u64, Option<&'a str>)> {
    let context = report.where_()?;
    let line = context.lines().find(|line| line.contains(relation))?;
    let rest = &line[line.find(relation)? + relation.len()..];
    let start = rest.find(|c: char| c.is_ascii_digit())?;
    let digits: String = rest[start..].chars().take_while(char::is_ascii_digit).collect();
    let after = &rest[start + digits.len()..];
    let named = |column: &&&str| after.contains(&format!(" {column}:"));
    let column = columns.iter().filter(named).max_by_key(|column| column.len());
    Some((digits.parse().ok()?, column.copied()))
}

/// A name that the catalogue gave, for an error about it.
pub(crate) fn table_not_syncable(table: &TableName, reason: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::TableNotSyncable { table: table.clone(), reason: reason.to_string() }
}
