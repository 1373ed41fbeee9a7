//! Reading and writing rows, so that whatever is wrong is said with the table and column where it stands.
//!
//! How values are kept: times as whole microseconds since 1970 (finer parts are cut off), enums as text, ids and
//! addresses as text, digests as 32 bytes, counts as integers below 2^63, knowledge a line for each life. A row that does not read back is
//! [`StateError::Broken`] and names its table; it is never a panic and never passed over.

use std::fmt::Display;
use std::str::FromStr;

use branchline_core::code::Code;
use branchline_core::digest::Digest;
use branchline_core::id::{Epoch, Generation};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::StateError;
use branchline_core::scope::ScopeMark;
use branchline_core::version::Life;
use jiff::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, ErrorCode, Params, Row, ffi};

/// The name of a table, for messages.
pub(crate) type Table = &'static str;

/// Turns the engine's errors into the port's.
pub(crate) trait InTable<T> {
    /// Names the table that was being read or written.
    fn in_table(self, table: Table) -> Result<T, StateError>;
}

impl<T> InTable<T> for Result<T, rusqlite::Error> {
    fn in_table(self, table: Table) -> Result<T, StateError> {
        self.map_err(|error| state_error(table, &error))
    }
}

/// The port's error for an engine's error.
pub(crate) fn state_error(table: Table, error: &rusqlite::Error) -> StateError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StateError::DiskFull,
        _ => broken(table, error),
    }
}

/// An error that names the table.
pub(crate) fn broken(table: Table, what: impl Display) -> StateError {
    StateError::Broken { message: format!("table {table}: {what}") }
}

/// Whether a row was refused because its name or another unique value is taken.
pub(crate) fn is_taken(error: &rusqlite::Error) -> bool {
    matches!(extended_code(error), Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE))
}

/// Whether a row was refused because what it points at is not there.
pub(crate) fn points_nowhere(error: &rusqlite::Error) -> bool {
    extended_code(error) == Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}

fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

/// All rows of a query.
pub(crate) fn all<T>(
    connection: &Connection,
    table: Table,
    sql: &str,
    parameters: impl Params,
    read: fn(&Fields<'_>) -> Result<T, StateError>,
) -> Result<Vec<T>, StateError> {
    let mut statement = connection.prepare(sql).in_table(table)?;
    let mut rows = statement.query(parameters).in_table(table)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().in_table(table)? {
        found.push(read(&Fields { table, row })?);
    }
    Ok(found)
}

/// The first row of a query.
pub(crate) fn first<T>(
    connection: &Connection,
    table: Table,
    sql: &str,
    parameters: impl Params,
    read: fn(&Fields<'_>) -> Result<T, StateError>,
) -> Result<Option<T>, StateError> {
    let mut statement = connection.prepare(sql).in_table(table)?;
    let mut rows = statement.query(parameters).in_table(table)?;
    match rows.next().in_table(table)? {
        Some(row) => read(&Fields { table, row }).map(Some),
        None => Ok(None),
    }
}

/// The columns of one row.
pub(crate) struct Fields<'row> {
    table: Table,
    row: &'row Row<'row>,
}

impl Fields<'_> {
    /// A value that SQLite keeps as it is.
    pub(crate) fn value<T: FromSql>(&self, column: &'static str) -> Result<T, StateError> {
        self.row.get(column).in_table(self.table)
    }

    /// A text that one of core's types reads.
    pub(crate) fn parsed<T>(&self, column: &'static str) -> Result<T, StateError>
    where
        T: FromStr<Err: Display>,
    {
        let text: String = self.value(column)?;
        text.parse().map_err(|error| self.broken(column, error))
    }

    /// The same, where there may be none.
    pub(crate) fn parsed_or_none<T>(&self, column: &'static str) -> Result<Option<T>, StateError>
    where
        T: FromStr<Err: Display>,
    {
        let text: Option<String> = self.value(column)?;
        text.map(|text| text.parse()).transpose().map_err(|error| self.broken(column, error))
    }

    /// One of an enum's values, by its text.
    pub(crate) fn choice<T: Copy>(
        &self,
        column: &'static str,
        all: &[T],
        text_of: fn(T) -> &'static str,
    ) -> Result<T, StateError> {
        let text: String = self.value(column)?;
        let found = all.iter().copied().find(|value| text_of(*value) == text);
        found.ok_or_else(|| self.broken(column, format_args!("{text:?} is not one of its values")))
    }

    /// A digest.
    pub(crate) fn digest(&self, column: &'static str) -> Result<Digest, StateError> {
        self.value(column).map(Digest::from_bytes)
    }

    /// A time.
    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, StateError> {
        self.time_of(column, self.value(column)?)
    }

    /// A time, where there may be none.
    pub(crate) fn time_or_none(&self, column: &'static str) -> Result<Option<Timestamp>, StateError> {
        let micros: Option<i64> = self.value(column)?;
        micros.map(|micros| self.time_of(column, micros)).transpose()
    }

    /// A count or a length.
    pub(crate) fn number(&self, column: &'static str) -> Result<u64, StateError> {
        let number: i64 = self.value(column)?;
        u64::try_from(number).map_err(|error| self.broken(column, error))
    }

    /// The same, where there may be none.
    pub(crate) fn number_or_none(&self, column: &'static str) -> Result<Option<u64>, StateError> {
        let number: Option<i64> = self.value(column)?;
        number.map(u64::try_from).transpose().map_err(|error| self.broken(column, error))
    }

    /// Knowledge, as [`known_lines`] wrote it.
    pub(crate) fn knowledge(&self, column: &'static str) -> Result<Knowledge, StateError> {
        let text: String = self.value(column)?;
        let known = |line: &str| {
            let mut words = line.split(' ');
            let server = words.next()?.parse().ok()?;
            let epoch = words.next()?.parse().ok()?;
            let generation = words.next()?.parse().ok()?;
            Some((Life::new(server, Epoch::new(epoch)), Generation::new(generation)))
        };
        let wrong = |line: &str| self.broken(column, format_args!("{line:?} is not a life and a generation"));
        text.lines().map(|line| known(line).ok_or_else(|| wrong(line))).collect()
    }

    /// A scope, as it writes itself.
    pub(crate) fn scope(&self, column: &'static str) -> Result<ScopeMark, StateError> {
        let text: String = self.value(column)?;
        ScopeMark::from_lines(&text).ok_or_else(|| self.broken(column, "it is not the mark of a scope"))
    }

    /// Why something failed, from the columns `error_code` and `error_message`. A code of another version, which
    /// this one does not know, becomes the one for whatever has no code; its message stays.
    pub(crate) fn error(&self) -> Result<Option<(Code, String)>, StateError> {
        let code: Option<String> = self.value("error_code")?;
        let Some(code) = code else { return Ok(None) };
        Ok(Some((Code::parse(&code).unwrap_or(Code::INTERNAL), self.value("error_message")?)))
    }

    /// What to say of a column that does not read back.
    pub(crate) fn broken(&self, column: &'static str, what: impl Display) -> StateError {
        broken(self.table, format_args!("column {column}: {what}"))
    }

    fn time_of(&self, column: &'static str, micros: i64) -> Result<Timestamp, StateError> {
        Timestamp::from_microsecond(micros).map_err(|error| self.broken(column, error))
    }
}

/// Knowledge, a line for each life: server, epoch, generation.
pub(crate) fn known_lines(knowledge: &Knowledge) -> String {
    let line =
        |(life, generation): (&Life, Generation)| format!("{} {} {generation}", life.server, life.epoch);
    knowledge.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A count or a length, as SQLite keeps it.
pub(crate) fn integer(table: Table, number: u64) -> Result<i64, StateError> {
    i64::try_from(number).map_err(|_| broken(table, format_args!("{number} is too large a number")))
}
