//! Tables as every engine describes them to the core: names, columns with logical types, keys, foreign keys.
//!
//! A schema is read from the application database at each snapshot and each apply; nothing is kept between
//! them. Names that come from a backup are only ever looked up here, and reach SQL as the catalogue spells them.

mod fingerprint;
mod logical_type;
mod name;
mod order;
mod scope;

pub use logical_type::{LogicalType, LogicalTypeError};
pub use name::{ColumnName, NameError, TableName};
pub use order::{TableGroup, parents_first};
pub use scope::{ScopeError, TableScope, fit};

use std::collections::BTreeMap;

use crate::digest::Digest;

/// The tables of one application database, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    tables: BTreeMap<TableName, Table>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name as it stands in backups.
    pub name: TableName,
    /// Its columns, in the order of the catalogue.
    pub columns: Vec<Column>,
    /// The columns of its primary key, as places in `columns`; empty where it has none.
    pub key: Vec<usize>,
    /// Its unique keys besides the primary key: constraints and whole-table unique indexes over plain columns.
    pub unique_keys: Vec<UniqueKey>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// How many rows the catalogue believes it has; for progress only.
    pub rows_estimated: u64,
    /// Why it cannot be part of a backup, where it cannot.
    pub excluded: Option<Exclusion>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: ColumnName,
    /// What its values are.
    pub logical_type: LogicalType,
    /// Its type in the words of its own database, for people.
    pub native_type: String,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Whether a row that leaves it out gets a value: a default, an identity, or NULL.
    pub has_default: bool,
    /// Whether its value is computed by the database: it is compared, and never written.
    pub generated: bool,
    /// Whether the settings leave it out: its values never leave, are not compared, and are not written by what comes in.
    pub omitted: bool,
}

impl Column {
    /// Whether its values are in a backup.
    #[must_use]
    pub fn travels(&self) -> bool {
        !self.generated && !self.omitted
    }
}

/// A unique key besides the primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueKey {
    /// Its name in the catalogue.
    pub name: String,
    /// Its columns, as places in the table's columns.
    pub columns: Vec<usize>,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name in the catalogue.
    pub name: String,
    /// Its columns, as places in the table's columns.
    pub columns: Vec<usize>,
    /// The table it points at.
    pub target: TableName,
    /// The columns it points at.
    pub target_columns: Vec<ColumnName>,
    /// Whether its check can wait until the end of the transaction.
    pub deferrable: bool,
    /// Whether deleting the row it points at deletes or changes the row that points.
    pub cascades: bool,
}

/// Why a table cannot be part of a backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exclusion {
    /// Rows without a key cannot be told apart.
    #[error("it has no primary key")]
    NoPrimaryKey,
    /// A view, a foreign table, or another relation that holds no rows of its own.
    #[error("it is {what}, not a table")]
    NotATable {
        /// What it is.
        what: String,
    },
    /// Two relations would have one name in a backup.
    #[error("another relation has the same name in a backup")]
    AmbiguousName,
    /// We may not read it.
    #[error("the role may not read it: {grant}")]
    NotReadable {
        /// The statement that would allow it.
        grant: String,
    },
    /// A column's values cannot be carried.
    #[error("column {column} has type {native_type}, which cannot be carried")]
    UnsupportedColumn {
        /// The column.
        column: ColumnName,
        /// Its type.
        native_type: String,
    },
    /// It is over a limit.
    #[error("it has {columns} columns, more than 1,600")]
    TooManyColumns {
        /// How many.
        columns: usize,
    },
    /// The settings leave it out.
    #[error("the settings leave it out")]
    ByChoice,
}

impl Schema {
    /// A schema of these tables. Of two with one name the later wins: adapters exclude such pairs before.
    #[must_use]
    pub fn new(tables: impl IntoIterator<Item = Table>) -> Self {
        Self { tables: tables.into_iter().map(|table| (table.name.clone(), table)).collect() }
    }

    /// The table of that name.
    #[must_use]
    pub fn table(&self, name: &TableName) -> Option<&Table> {
        self.tables.get(name)
    }

    /// All tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// The tables that can be part of a backup, by name.
    pub fn syncable(&self) -> impl Iterator<Item = &Table> {
        self.tables.values().filter(|table| table.excluded.is_none())
    }

    /// Marks tables as left out by choice: where `only` is not empty all others, and those of `except`.
    #[must_use]
    pub fn restricted(mut self, only: &[TableName], except: &[TableName]) -> Self {
        for table in self.tables.values_mut() {
            let chosen = (only.is_empty() || only.contains(&table.name)) && !except.contains(&table.name);
            if !chosen && table.excluded.is_none() {
                table.excluded = Some(Exclusion::ByChoice);
            }
        }
        self
    }
}

/// Why columns cannot be left out by choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OmissionError {
    /// Rows are told apart by it.
    #[error("the settings leave out column {column} of table {table}, which its primary key needs")]
    OfTheKey {
        /// The table.
        table: TableName,
        /// The column.
        column: ColumnName,
    },
    /// It is not there: what was meant may leave under another name.
    #[error("the settings leave out column {column} of table {table}, which is not there")]
    Missing {
        /// The table.
        table: TableName,
        /// The column.
        column: ColumnName,
    },
}

impl Schema {
    /// Marks columns as left out by choice. Those of tables that are not here are passed over.
    ///
    /// # Errors
    /// Where one is of its table's key, or its table lacks it.
    pub fn omitting(mut self, columns: &[(TableName, ColumnName)]) -> Result<Self, OmissionError> {
        for (name, column) in columns {
            let Some(table) = self.tables.get_mut(name) else { continue };
            let Some(place) = table.position(column) else {
                return Err(OmissionError::Missing { table: name.clone(), column: column.clone() });
            };
            if table.key.contains(&place) {
                return Err(OmissionError::OfTheKey { table: name.clone(), column: column.clone() });
            }
            table.columns[place].omitted = true;
        }
        Ok(self)
    }
}

impl Table {
    /// The place of a column.
    #[must_use]
    pub fn position(&self, name: &ColumnName) -> Option<usize> {
        self.columns.iter().position(|column| column.name == *name)
    }

    /// Whether a column is here and left out by the settings.
    #[must_use]
    pub fn omits(&self, name: &ColumnName) -> bool {
        self.columns.iter().any(|column| column.omitted && column.name == *name)
    }

    /// The columns that travel: all but those that are generated, and those that are left out.
    pub fn travelling(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.travels())
    }

    /// The names of the primary key's columns, in the key's order.
    pub fn key_names(&self) -> impl Iterator<Item = &ColumnName> {
        self.key.iter().map(|&place| &self.columns[place].name)
    }

    /// A digest of what matters to a peer: the names and types of the columns that travel, and the key.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        fingerprint::of(self)
    }
}
