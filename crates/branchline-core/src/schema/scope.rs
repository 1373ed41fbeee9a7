//! What of a table two servers share: the columns that both have, in types that lose nothing.
//!
//! Decided before anything is staged, from the two descriptions alone: a column that the target lacks or whose
//! type cannot hold the source's values is refused by name. What becomes of a table that is refused is in
//! [`crate::skew`].

use super::{Column, ColumnName, LogicalType, Table, TableName};
use crate::code::{Code, Explain};
use crate::value::can_convert;

/// The columns of one table that a backup brings, each with its place at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableScope {
    /// The table.
    pub table: TableName,
    /// For each column of the backup, in its order, the column's place in the target's table.
    pub places: Vec<usize>,
}

/// Why a backup's table does not fit into the target's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The target has no such column.
    #[error("table {table} here has no column {column}")]
    ColumnMissing {
        /// The table.
        table: TableName,
        /// The column.
        column: ColumnName,
    },
    /// The target's column is computed there.
    #[error("column {column} of table {table} is generated here and cannot be written")]
    ColumnGenerated {
        /// The table.
        table: TableName,
        /// The column.
        column: ColumnName,
    },
    /// The target's type would change values.
    #[error("column {column} of table {table} is {to} here, which cannot hold {from} without loss")]
    TypeNotHeld {
        /// The table.
        table: TableName,
        /// The column.
        column: ColumnName,
        /// The type in the backup.
        from: LogicalType,
        /// The type at the target.
        to: String,
    },
    /// The target needs a column that the backup does not bring.
    #[error("table {table} here needs column {column}, which the backup does not bring")]
    ColumnNeeded {
        /// The table.
        table: TableName,
        /// The column.
        column: ColumnName,
    },
    /// The target needs a column that its settings leave out.
    #[error("table {table} here needs column {column}, which the settings leave out: give it a default")]
    OmittedNeeded {
        /// The table.
        table: TableName,
        /// The column.
        column: ColumnName,
    },
    /// The keys differ, so rows cannot be matched.
    #[error("table {table} has another primary key here ({here}) than in the backup ({there})")]
    KeyDiffers {
        /// The table.
        table: TableName,
        /// The key here.
        here: String,
        /// The key in the backup.
        there: String,
    },
}

/// Fits a backup's columns (with their types) and key into the target's table. Columns that the settings leave out here
/// must not be among them: nothing is written to those.
///
/// # Errors
/// The first fault, in the order of the backup's columns.
pub fn fit(
    target: &Table,
    columns: &[(ColumnName, LogicalType)],
    key: &[ColumnName],
) -> Result<TableScope, ScopeError> {
    let table = || target.name.clone();
    let mut places = Vec::with_capacity(columns.len());
    for (column, from) in columns {
        let column = || column.clone();
        let place = target
            .position(&column())
            .ok_or_else(|| ScopeError::ColumnMissing { table: table(), column: column() })?;
        let here = &target.columns[place];
        if here.generated {
            return Err(ScopeError::ColumnGenerated { table: table(), column: column() });
        }
        if !can_convert(from, &here.logical_type) {
            let to = here.native_type.clone();
            return Err(ScopeError::TypeNotHeld { table: table(), column: column(), from: from.clone(), to });
        }
        places.push(place);
    }
    for (place, column) in target.columns.iter().enumerate() {
        if !places.contains(&place)
            && let Some(needed) = ScopeError::of_needed(target, column)
        {
            return Err(needed);
        }
    }
    match ScopeError::of_keys(target, key) {
        Some(differ) => Err(differ),
        None => Ok(TableScope { table: table(), places }),
    }
}

impl ScopeError {
    /// That a column which does not come is needed, where it is.
    pub(crate) fn of_needed(target: &Table, column: &Column) -> Option<Self> {
        let (table, name) = (|| target.name.clone(), column.name.clone());
        match (column.generated || column.has_default, column.omitted) {
            (true, _) => None,
            (false, true) => Some(Self::OmittedNeeded { table: table(), column: name }),
            (false, false) => Some(Self::ColumnNeeded { table: table(), column: name }),
        }
    }

    /// That the keys differ, where they do.
    pub(crate) fn of_keys(target: &Table, key: &[ColumnName]) -> Option<Self> {
        if target.key_names().eq(key.iter()) {
            return None;
        }
        let join = |names: Vec<&ColumnName>| names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ");
        let (here, there) = (join(target.key_names().collect()), join(key.iter().collect()));
        Some(Self::KeyDiffers { table: target.name.clone(), here, there })
    }
}

impl Explain for ScopeError {
    fn code(&self) -> Code {
        match self {
            Self::ColumnMissing { .. } | Self::ColumnNeeded { .. } | Self::OmittedNeeded { .. } => {
                Code::COLUMN_UNKNOWN
            }
            Self::ColumnGenerated { .. } | Self::TypeNotHeld { .. } => Code::TYPE_NOT_HELD,
            Self::KeyDiffers { .. } => Code::KEY_DIFFERS,
        }
    }

    fn hint(&self) -> String {
        self.code().entry().hint.to_owned()
    }
}
