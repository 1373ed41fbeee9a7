//! The checks of columns that stay here: `database.except_columns`.
//!
//! Whether they are there, and may stay, is not a matter of the settings: the database says so when it is looked at.

use branchline_core::day::DayTable;
use branchline_core::schema::{ColumnName, TableName};

use super::Check;

const KEY: &str = "database.except_columns";

impl Check<'_> {
    /// Columns that stay here, as `table.column`. A table of another schema has a point in its own name, so the last
    /// one counts.
    pub(super) fn except_columns(&mut self) -> Vec<(TableName, ColumnName)> {
        self.list(KEY, |text| {
            let (table, column) = text.rsplit_once('.').ok_or("a column is written table.column")?;
            let table = TableName::new(table).map_err(|_| "that cannot be the name of a table")?;
            let column = ColumnName::new(column).map_err(|_| "that cannot be the name of a column")?;
            Ok::<_, &str>((table, column))
        })
    }

    /// What the close of a day comes to is told to others.
    pub(super) fn counted_and_kept(&mut self, kept: &[(TableName, ColumnName)], day: &[DayTable]) {
        let Some(value) = self.raw.get(KEY) else { return };
        let is_counted = |(table, column): &&(TableName, ColumnName)| {
            let counts = |day: &DayTable| {
                let only = day.only.iter().map(|(column, _)| column);
                day.table == *table
                    && std::iter::once(&day.date)
                        .chain(&day.money)
                        .chain(only)
                        .any(|counted| counted == column)
            };
            day.iter().any(counts)
        };
        for (table, column) in kept.iter().filter(is_counted) {
            let message = format!("{table}.{column} is counted by a [[day]]");
            self.fault(KEY, message, "keep one of the two", &value.place);
        }
    }
}
