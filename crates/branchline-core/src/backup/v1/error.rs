//! What is wrong with a document, and with a row of it.

use crate::code::{Code, Explain};
use crate::limits::{METADATA_BYTES_MAX, TABLE_COLUMNS_MAX, TABLES_MAX};
use crate::schema::{ColumnName, NameError, TableName};

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub enum FormatError {
    /// It is not of this format.
    #[error("the document is not a backup: {what}")]
    Malformed { what: &'static str },
    /// It ends too early.
    #[error("the document ends too early")]
    Truncated,
    /// The compressed bytes are damaged, or need more memory than is given.
    #[error("the document cannot be decompressed")]
    Compression,
    /// M is over its bound.
    #[error("the metadata are larger than {METADATA_BYTES_MAX} bytes")]
    MetadataTooLarge,
    /// M is not what it must be.
    #[error("the metadata cannot be read: {reason}")]
    Metadata { reason: String },
    /// An object has two members of one name.
    #[error("{place} has two members of one name")]
    DuplicateMember { place: &'static str },
    /// JSON is nested too deep.
    #[error("{place} is nested too deep")]
    TooDeep { place: &'static str },
    /// A newer reader is needed.
    #[error("the document needs a reader of format {needed}")]
    VersionTooNew { needed: u32 },
    /// Too many tables.
    #[error("the backup has {tables} tables, more than {TABLES_MAX}")]
    TooManyTables { tables: usize },
    /// Too many columns.
    #[error("table {table} has {columns} columns, more than {TABLE_COLUMNS_MAX}")]
    TooManyColumns { table: TableName, columns: usize },
    /// A name that cannot be one.
    #[error("a table or column cannot have such a name: {0}")]
    Name(#[from] NameError),
    /// A logical type that is not known.
    #[error("column {column} of table {table} has the unknown type {found:?}")]
    UnknownType { table: TableName, column: ColumnName, found: String },
    /// More data than was signed, or than is granted.
    #[error("the data are larger than {bytes_max} bytes")]
    DataTooLarge { bytes_max: u64 },
    /// A table has more or fewer rows than was said.
    #[error("table {table} has {found} rows where {said} were said")]
    RowCount { table: TableName, said: u64, found: u64 },
    /// The whole has another number of rows than its tables.
    #[error("the metadata say {said} rows, and their tables have {found}")]
    RecordCount { said: u64, found: u64 },
    /// A row is over its bound.
    #[error("a row of table {table} is larger than 16 MiB")]
    RowTooLarge { table: TableName },
}

impl Explain for FormatError {
    fn code(&self) -> Code {
        match self {
            Self::Malformed { .. } | Self::Metadata { .. } => Code::MALFORMED,
            Self::Truncated => Code::TRUNCATED,
            Self::Compression => Code::COMPRESSION_INVALID,
            Self::MetadataTooLarge => Code::METADATA_TOO_LARGE,
            Self::DuplicateMember { .. } => Code::DUPLICATE_MEMBER,
            Self::TooDeep { .. } => Code::DEPTH_EXCEEDED,
            Self::VersionTooNew { .. } => Code::VERSION_TOO_NEW,
            Self::TooManyTables { .. } => Code::TOO_MANY_TABLES,
            Self::TooManyColumns { .. } => Code::TOO_MANY_COLUMNS,
            Self::Name(_) => Code::NAME_INVALID,
            Self::UnknownType { .. } => Code::UNKNOWN_TYPE,
            Self::DataTooLarge { .. } => Code::DATA_TOO_LARGE,
            Self::RowCount { .. } | Self::RecordCount { .. } => Code::ROW_COUNT_MISMATCH,
            Self::RowTooLarge { .. } => Code::ROW_TOO_LARGE,
        }
    }
}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row}, column {}: {fault}", column.as_ref().map_or("?", |name| name.as_str()))]
pub struct RowError {
    /// The row's number in its table, from 1.
    pub row: u64,
    /// The column, where it is one column's fault.
    pub column: Option<ColumnName>,
    /// What is wrong.
    pub fault: RowFault,
}

impl Explain for RowError {
    fn code(&self) -> Code {
        match self.fault {
            RowFault::DuplicateMember => Code::DUPLICATE_MEMBER,
            RowFault::TooDeep => Code::DEPTH_EXCEEDED,
            RowFault::UnknownColumn => Code::COLUMN_UNKNOWN,
            RowFault::TooLarge => Code::ROW_TOO_LARGE,
            RowFault::Malformed | RowFault::MissingColumn | RowFault::WrongType | RowFault::NotEncodable => {
                Code::MALFORMED
            }
        }
    }
}

/// What can be wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// It is not the JSON of a row.
    #[error("it is not a row's JSON")]
    Malformed,
    /// Two members have one name.
    #[error("two members have one name")]
    DuplicateMember,
    /// It is nested too deep.
    #[error("it is nested deeper than 32")]
    TooDeep,
    /// A member is not one of the table's columns.
    #[error("a member is not one of the table's columns")]
    UnknownColumn,
    /// A column is missing.
    #[error("a column is missing")]
    MissingColumn,
    /// A value is not of its column's type.
    #[error("the value is not of the column's type")]
    WrongType,
    /// The row is over its bound.
    #[error("the row is larger than 16 MiB")]
    TooLarge,
    /// The value has no form in a backup.
    #[error("the value cannot be written")]
    NotEncodable,
}
