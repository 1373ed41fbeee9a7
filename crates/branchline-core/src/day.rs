//! The close of a business day: what a store says that its day came to, and whether the head office has just that.
//!
//! A store declares its day tables: for each the column with the business date, the columns that hold money, and, where
//! the head office holds the rows of several stores in one table, the columns and values that tell its own rows. With
//! a `daily_transactions` backup it says how many rows of the day each table has and what each money column sums up to,
//! in the backup's own snapshot. The receiver counts and adds up the same rows of its own, in the transaction that
//! applies the backup: where all agree, the day is complete.
//!
//! | the date column is | a row is of the day where |
//! |---|---|
//! | a date | it is that date |
//! | a timestamp without zone | its date is that date: a wall clock in the shop |
//! | a timestamp with zone | it lies between two midnights of the shop's zone |
//! | a text | it begins with that date |
//!
//! Sums are exact: decimals of any scale, added as integers. Floats are added by their shortest decimal form.

mod sum;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::backup::DataRange;
use crate::schema::{ColumnName, LogicalType, TableName};
use crate::value::Value;

pub use sum::{Sum, SumError};

/// One day of business in a shop's own time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusinessDay {
    date: Date,
    start: Timestamp,
    end: Timestamp,
}

/// A date without a place on the time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such day")]
pub struct NoSuchDay;

impl BusinessDay {
    /// The day of that date in that zone: from its first moment to the first of the next, whatever the clocks do.
    ///
    /// # Errors
    /// At the ends of time.
    pub fn new(date: Date, zone: &TimeZone) -> Result<Self, NoSuchDay> {
        let next = date.tomorrow().map_err(|_| NoSuchDay)?;
        let first_moment = |date: Date| {
            zone.to_zoned(date.at(0, 0, 0, 0)).map(|moment| moment.timestamp()).map_err(|_| NoSuchDay)
        };
        Ok(Self { date, start: first_moment(date)?, end: first_moment(next)? })
    }

    /// The day between two moments, as a backup says it.
    #[must_use]
    pub fn of_range(date: Date, range: DataRange) -> Self {
        let end = range.end.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(range.end);
        Self { date, start: range.start, end }
    }

    /// Its date.
    #[must_use]
    pub fn date(&self) -> Date {
        self.date
    }

    /// Its first moment.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The first moment of the next.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// The span as a backup's metadata say it, both ends included.
    #[must_use]
    pub fn range(&self) -> DataRange {
        let end = self.end.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(self.end);
        DataRange { start: self.start, end }
    }

    /// Whether a row whose date column has that value is of the day.
    #[must_use]
    pub fn holds(&self, value: &Value<'_>, logical_type: &LogicalType) -> bool {
        let Value::Text(text) = value else { return false };
        match logical_type {
            LogicalType::TimestampWithZone => {
                let moment = text.parse::<Timestamp>();
                moment.is_ok_and(|moment| self.start <= moment && moment < self.end)
            }
            _ => text
                .strip_prefix(self.date.to_string().as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('T') || rest.starts_with(' ')),
        }
    }
}

/// Which day a close by the clock is about: from noon on the day itself, before noon the one before, because a close that
/// was missed in the evening is made up for in the morning.
#[must_use]
pub fn closing_date(moment: &Zoned) -> Date {
    let date = moment.date();
    if moment.hour() < 12 { date.yesterday().unwrap_or(date) } else { date }
}

/// A table that the close of a day counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayTable {
    /// The table.
    pub table: TableName,
    /// The column with the business date.
    pub date: ColumnName,
    /// The columns that hold money.
    pub money: Vec<ColumnName>,
    /// The columns, and their values as text, that tell the store's own rows; empty where all are.
    pub only: Vec<(ColumnName, String)>,
}

/// What a day came to in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayTotals {
    /// Which table, and how it is counted.
    pub table: DayTable,
    /// Rows of the day.
    pub rows: u64,
    /// For each money column, its sum as a plain decimal.
    pub sums: Vec<String>,
}

/// The day that a backup closes, and what it came to at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayClose {
    /// The day.
    pub day: BusinessDay,
    /// What it came to.
    pub totals: Vec<DayTotals>,
}

/// One table of a closed day, at its source and here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayCheck {
    /// What the source said.
    pub there: DayTotals,
    /// What is here; nothing where the table or one of its columns is not here.
    pub here: Option<DayTotals>,
}

impl DayCheck {
    /// Whether both came to the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.here.as_ref().is_some_and(|here| here.rows == self.there.rows && here.sums == self.there.sums)
    }
}

/// Counts and adds up the rows of one table that are of a day.
#[derive(Debug)]
pub struct Tally<'a> {
    day: &'a BusinessDay,
    table: &'a DayTable,
    rows: u64,
    sums: Vec<Sum>,
}

impl<'a> Tally<'a> {
    /// A tally of nothing yet.
    #[must_use]
    pub fn new(day: &'a BusinessDay, table: &'a DayTable) -> Self {
        Self { day, table, rows: 0, sums: vec![Sum::default(); table.money.len()] }
    }

    /// Takes a row in, if it is of the day: its date, and the values of the money columns in their order.
    ///
    /// # Errors
    /// Where a money column holds what cannot be added up.
    pub fn add(&mut self, date: (&Value<'_>, &LogicalType), money: &[Value<'_>]) -> Result<(), SumError> {
        if !self.day.holds(date.0, date.1) {
            return Ok(());
        }
        self.rows += 1;
        for (sum, value) in self.sums.iter_mut().zip(money) {
            sum.add(value)?;
        }
        Ok(())
    }

    /// What it came to.
    #[must_use]
    pub fn finish(self) -> DayTotals {
        DayTotals {
            table: self.table.clone(),
            rows: self.rows,
            sums: self.sums.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
