//! The checks of what leaves this database and what a day is: `[[filter]]`, `[[day]]`, and columns that stay.
//!
//! Whether tables and columns are there is not a matter of the settings: the database says so when it is looked at.

use branchline_core::day::DayTable;
use branchline_core::id::ServerId;
use branchline_core::schema::{ColumnName, TableName};
use branchline_core::scope::Filter;

use super::Check;
use crate::settings::raw::{Content, RawEntry};

/// Characters of a filter's condition.
const CONDITION_CHARACTERS_MAX: usize = 4_000;

impl Check<'_> {
    /// The filters without fault.
    pub(super) fn filters(&mut self) -> Vec<Filter> {
        self.each_entry("filter", |check, entry| check.filter(entry))
    }

    /// The day's tables without fault.
    pub(super) fn day(&mut self) -> Vec<DayTable> {
        self.each_entry("day", |check, entry| check.day_table(entry))
    }

    /// Columns that stay here, as `table.column`. A table of another schema has a point in its own name, so the last
    /// one counts.
    pub(super) fn except_columns(&mut self) -> Vec<(TableName, ColumnName)> {
        self.list("database.except_columns", |text| {
            let (table, column) = text.rsplit_once('.').ok_or("a column is written table.column")?;
            let table = TableName::new(table).map_err(|_| "that cannot be the name of a table")?;
            let column = ColumnName::new(column).map_err(|_| "that cannot be the name of a column")?;
            Ok::<_, &str>((table, column))
        })
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

    fn filter(&mut self, entry: &RawEntry) -> Option<Filter> {
        self.must_be_set(entry, "filter.table", "for example  table = \"orders\"");
        self.must_be_set(entry, "filter.where", "for example  where = \"store = 'S1'\"");
        let table: Option<TableName> = self.table_name("filter.table");
        let condition = self.condition();
        let peers: Vec<ServerId> = self.list("filter.peers", str::parse);
        let follow = self.one_of("filter.follow", &[("yes", true), ("no", false)]).unwrap_or(false);
        Some(Filter { table: table?, peers, condition: condition?, follow })
    }

    /// One condition: what would end it and begin something else is refused, to catch slips, not attackers: whoever
    /// writes these settings may do anything in this database.
    fn condition(&mut self) -> Option<String> {
        let (text, place) = self.text("filter.where")?;
        let slip = [";", "--", "/*"].into_iter().find(|slip| text.contains(slip));
        let fault = match slip {
            _ if text.trim().is_empty() => Some("a condition cannot be empty".to_owned()),
            _ if text.chars().count() > CONDITION_CHARACTERS_MAX => {
                Some(format!("a condition has {CONDITION_CHARACTERS_MAX} characters at most"))
            }
            Some(slip) => Some(format!("a condition cannot hold {slip}")),
            None => None,
        };
        match fault {
            None => Some(text.trim().to_owned()),
            Some(message) => {
                self.fault("filter.where", message, "for example  where = \"store = 'S1'\"", place);
                None
            }
        }
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
