//! What a receipt says of the business day that its backup closed.

use jiff::civil::Date;

use crate::day::{DayCheck, DayClose};
use crate::schema::{ColumnName, TableName};

/// A closed day, as the receiver found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayReceipt {
    /// Its date.
    pub date: Date,
    /// The tables that its close counts.
    pub tables: Vec<DayTableReceipt>,
}

/// One table of a closed day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayTableReceipt {
    /// The table.
    pub table: TableName,
    /// Rows of the day at the source.
    pub rows: u64,
    /// The same rows here; nothing where the table, or a column that its close needs, is not here.
    pub rows_here: Option<u64>,
    /// What its money comes to.
    pub money: Vec<DaySum>,
}

/// What one money column comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaySum {
    /// The column.
    pub column: ColumnName,
    /// Its sum at the source.
    pub sum: String,
    /// Its sum here.
    pub sum_here: Option<String>,
}

impl DayReceipt {
    /// What the checks of a close came to.
    #[must_use]
    pub fn of(close: &DayClose, checks: &[DayCheck]) -> Self {
        Self { date: close.day.date(), tables: checks.iter().map(DayTableReceipt::of).collect() }
    }

    /// Whether all tables came to the same. A close that counts nothing proves nothing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.tables.is_empty() && self.tables.iter().all(DayTableReceipt::agrees)
    }
}

impl DayTableReceipt {
    fn of(check: &DayCheck) -> Self {
        let sum_here = |place: usize| check.here.as_ref().and_then(|here| here.sums.get(place).cloned());
        let there = &check.there;
        let sum = |(place, (column, sum)): (usize, (&ColumnName, &String))| DaySum {
            column: column.clone(),
            sum: sum.clone(),
            sum_here: sum_here(place),
        };
        Self {
            table: there.table.table.clone(),
            rows: there.rows,
            rows_here: check.here.as_ref().map(|here| here.rows),
            money: there.table.money.iter().zip(&there.sums).enumerate().map(sum).collect(),
        }
    }

    /// Whether both sides came to the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.rows_here == Some(self.rows)
            && self.money.iter().all(|money| money.sum_here.as_ref() == Some(&money.sum))
    }
}
