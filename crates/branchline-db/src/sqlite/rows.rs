//! The rows of one table as they stand in the file, made ready to be written into a backup.
//!
//! A query gives the columns that travel, in catalogue order, from some place on; this makes values of them, and names
//! the row where something of it cannot travel: text that is not UTF-8, a key that is NULL, a row over its bound.

use branchline_core::backup::TableSummary;
use branchline_core::backup::v1::{RowError, RowFault, RowMark, RowWriter, value_text};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{Column, Table, TableName};
use branchline_core::value::Value;
use rusqlite::Row;

use super::affinity::ColumnForm;
use super::error::failed;
use super::ident::Ident;
use super::schema::Catalogue;
use super::stored::Stored;

/// One table that is being read.
pub(super) struct TableRows<'a> {
    pub(super) table: &'a Table,
    columns: Vec<(&'a Column, ColumnForm)>,
    /// Places of the key in `columns`.
    key: Vec<usize>,
    /// The place of the first of them in the query.
    first: usize,
}

impl<'a> TableRows<'a> {
    /// The rows of that table; `first` is the place of its first column in the query.
    pub(super) fn new(
        catalogue: &'a Catalogue,
        name: &TableName,
        first: usize,
    ) -> Result<Self, DatabaseError> {
        let table = catalogue.schema.table(name);
        let table = table.ok_or_else(|| DatabaseError::TableUnknown { table: name.clone() })?;
        if let Some(exclusion) = &table.excluded {
            return Err(DatabaseError::TableNotSyncable {
                table: name.clone(),
                reason: exclusion.to_string(),
            });
        }
        let form = catalogue.find(name).map(|(_, form)| form);
        let form = form.ok_or_else(|| DatabaseError::TableUnknown { table: name.clone() })?;
        let columns = table.columns.iter().zip(form.columns.iter().copied());
        let columns: Vec<_> = columns.filter(|(column, _)| column.travels()).collect();
        let place = |name: &_| columns.iter().position(|(column, _)| column.name == *name);
        let key = table.key_names().filter_map(place).collect();
        Ok(Self { table, columns, key, first })
    }

    /// The columns that travel, for a query over the alias.
    pub(super) fn select(&self, alias: &str) -> String {
        let names: Vec<_> = self
            .columns
            .iter()
            .map(|(column, _)| format!("{alias}.{}", Ident(column.name.as_str())))
            .collect();
        names.join(", ")
    }

    /// How many columns travel.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Places of the key among the columns that travel.
    pub(super) fn key(&self) -> &[usize] {
        &self.key
    }

    /// A writer of such rows.
    pub(super) fn writer(&self) -> RowWriter {
        RowWriter::new(&self.table.name, &TableSummary::of(self.table).columns)
    }

    /// Writes the row that the query stands at.
    pub(super) fn write(
        &self,
        mark: &RowMark,
        row: &Row<'_>,
        writer: &mut RowWriter,
    ) -> Result<(), DatabaseError> {
        let values = self.values(row)?;
        if self.key.iter().any(|&place| values[place] == Value::Null) {
            let reason = "a column of its primary key is NULL".to_owned();
            return Err(self.not_encodable(self.describe(&values), reason));
        }
        writer.marked(mark, &values).map_err(|error| self.row_error(&error, self.describe(&values)))
    }

    /// Writes a deletion: the key's values stand in the query from `first_key` on.
    pub(super) fn write_deletion(
        &self,
        mark: &RowMark,
        row: &Row<'_>,
        first_key: usize,
        writer: &mut RowWriter,
    ) -> Result<(), DatabaseError> {
        let mut values = vec![Value::Null; self.columns.len()];
        for (at, &place) in self.key.iter().enumerate() {
            let (column, form) = self.columns[place];
            let Ok(stored) = Stored::of(row.get_ref(first_key + at).map_err(failed)?) else {
                let reason = format!("column {} holds text that is not UTF-8", column.name);
                return Err(self.not_encodable("?".to_owned(), reason));
            };
            values[place] = stored.into_value(&column.logical_type, form);
        }
        writer.marked(mark, &values).map_err(|error| self.row_error(&error, self.describe(&values)))
    }

    /// The values of the columns that travel.
    pub(super) fn values<'r>(&self, row: &'r Row<'_>) -> Result<Vec<Value<'r>>, DatabaseError> {
        let mut values = Vec::with_capacity(self.columns.len());
        for (place, (column, form)) in self.columns.iter().enumerate() {
            let Ok(stored) = Stored::of(row.get_ref(self.first + place).map_err(failed)?) else {
                let reason = format!("column {} holds text that is not UTF-8", column.name);
                return Err(self.not_encodable(self.describe_lossy(row), reason));
            };
            values.push(stored.into_value(&column.logical_type, *form));
        }
        Ok(values)
    }

    fn row_error(&self, error: &RowError, row: String) -> DatabaseError {
        if error.fault == RowFault::TooLarge {
            return DatabaseError::RowTooLarge { table: self.table.name.clone(), row };
        }
        let column = error.column.as_ref().map(|column| format!("column {column}: ")).unwrap_or_default();
        self.not_encodable(row, format!("{column}{}", error.fault))
    }

    fn not_encodable(&self, row: String, reason: String) -> DatabaseError {
        DatabaseError::RowNotEncodable { table: self.table.name.clone(), row, reason }
    }

    /// The row's key in words.
    pub(super) fn describe(&self, values: &[Value<'_>]) -> String {
        let text = |&place: &usize| value_text(&values[place], &self.columns[place].0.logical_type);
        self.key.iter().map(text).collect::<Vec<_>>().join(",")
    }

    /// The row's key in words, where some of the row's text cannot be read.
    fn describe_lossy(&self, row: &Row<'_>) -> String {
        let text = |&place: &usize| match row.get_ref(self.first + place).map(Stored::of) {
            Ok(Ok(stored)) => {
                let (column, form) = self.columns[place];
                value_text(&stored.into_value(&column.logical_type, form), &column.logical_type)
            }
            _ => "?".to_owned(),
        };
        self.key.iter().map(text).collect::<Vec<_>>().join(",")
    }
}
