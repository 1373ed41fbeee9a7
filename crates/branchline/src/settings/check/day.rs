//! The checks of what the close of a day counts: `[[day]]`.
//!
//! Whether tables and columns are there is not a matter of the settings: the database says so when it is looked at.

use branchline_core::day::DayTable;
use branchline_core::schema::ColumnName;

use super::Check;
use crate::settings::raw::RawEntry;

impl Check<'_> {
    /// The day's tables without fault.
    pub(super) fn day(&mut self) -> Vec<DayTable> {
        self.each_entry("day", |check, entry| check.day_table(entry))
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
}
