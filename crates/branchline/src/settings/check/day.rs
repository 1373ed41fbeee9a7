//! The checks of what the close of a day counts: `[[day]]`.
//!
//! Whether tables and columns are there is not a matter of the settings: the database says so when it is looked at.

use branchline_core::day::DayTable;
use branchline_core::schema::{ColumnName, TableName};

use super::Check;
use crate::settings::raw::{Content, RawEntry};

impl Check<'_> {
    /// The day's tables without fault.
    pub(super) fn day(&mut self) -> Vec<DayTable> {
        self.each_entry("day", |check, entry| check.day_table(entry))
    }

    fn each_entry<T>(&mut self, key: &str, read: impl Fn(&mut Check<'_>, &RawEntry) -> Option<T>) -> Vec<T> {
        let Some(Content::Entries(entries)) = self.raw.get(key).map(|value| &value.content) else {
            return Vec::new();
        };
        let mut checked = Vec::new();
        for entry in entries {
            let mut check = Check { raw: &entry.values, file: self.file, faults: &mut *self.faults };
            checked.extend(read(&mut check, entry));
        }
        checked
    }

    fn day_table(&mut self, entry: &RawEntry) -> Option<DayTable> {
        self.must_be_set(entry, "day.table", "for example  table = \"orders\"");
        self.must_be_set(entry, "day.date", "for example  date = \"business_date\"");
        let table = self.table_name("day.table");
        let date: Option<ColumnName> = match self.text("day.date") {
            Some((text, place)) => match ColumnName::new(text) {
                Ok(date) => Some(date),
                Err(error) => {
                    self.fault("day.date", error.to_string(), "", place);
                    None
                }
            },
            None => None,
        };
        let money = self.list("day.money", |text| ColumnName::new(text));
        let only = self.list("day.only", |text| {
            let (column, value) = text.split_once('=').ok_or("it is written column=value")?;
            let column = ColumnName::new(column.trim()).map_err(|_| "that cannot be the name of a column")?;
            Ok::<_, &str>((column, value.trim().to_owned()))
        });
        Some(DayTable { table: table?, date: date?, money, only })
    }

    fn table_name(&mut self, key: &str) -> Option<TableName> {
        let (text, place) = self.text(key)?;
        match TableName::new(text) {
            Ok(table) => Some(table),
            Err(error) => {
                self.fault(key, error.to_string(), "", place);
                None
            }
        }
    }
}
