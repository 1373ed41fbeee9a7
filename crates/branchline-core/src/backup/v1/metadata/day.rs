//! The close of a day in metadata.
//!
//! ```json
//! "day":{"date":"2026-11-27","tables":[
//!   {"table":"orders","dateColumn":"business_date","only":[{"column":"store","value":"S1"}],"rows":214,
//!    "money":[{"column":"total","sum":"3214.5"}]}]}
//! ```
//! Its first and last moment are the metadata's `dataRange`.

use serde::{Deserialize, Serialize};

use super::{FormatError, field};
use crate::backup::DataRange;
use crate::day::{BusinessDay, DayClose, DayTable, DayTotals};
use crate::schema::{ColumnName, TableName};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawDay {
    date: String,
    tables: Vec<RawTotals>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTotals {
    table: String,
    date_column: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    only: Vec<RawOnly>,
    rows: u64,
    money: Vec<RawSum>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RawOnly {
    column: String,
    value: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct RawSum {
    column: String,
    sum: String,
}

pub(super) fn to_raw(close: &DayClose) -> RawDay {
    let totals = |totals: &DayTotals| RawTotals {
        table: totals.table.table.to_string(),
        date_column: totals.table.date.to_string(),
        only: only_to_raw(&totals.table.only),
        rows: totals.rows,
        money: totals.table.money.iter().zip(&totals.sums).map(sum_to_raw).collect(),
    };
    RawDay { date: close.day.date().to_string(), tables: close.totals.iter().map(totals).collect() }
}

fn only_to_raw(only: &[(ColumnName, String)]) -> Vec<RawOnly> {
    only.iter().map(|(column, value)| RawOnly { column: column.to_string(), value: value.clone() }).collect()
}

fn sum_to_raw((column, sum): (&ColumnName, &String)) -> RawSum {
    RawSum { column: column.to_string(), sum: sum.clone() }
}

pub(super) fn from_raw(raw: RawDay, range: Option<DataRange>) -> Result<DayClose, FormatError> {
    let missing = || FormatError::Metadata { reason: "a day has no dataRange".to_owned() };
    let day = BusinessDay::of_range(field(&raw.date, "day.date")?, range.ok_or_else(missing)?);
    let totals = raw.tables.into_iter().map(totals_from_raw).collect::<Result<_, _>>()?;
    Ok(DayClose { day, totals })
}

fn totals_from_raw(raw: RawTotals) -> Result<DayTotals, FormatError> {
    let (money, sums): (Vec<_>, Vec<_>) = raw.money.into_iter().map(|sum| (sum.column, sum.sum)).unzip();
    let only = raw.only.into_iter().map(|only| Ok((ColumnName::new(only.column)?, only.value)));
    let table = DayTable {
        table: TableName::new(raw.table)?,
        date: ColumnName::new(raw.date_column)?,
        money: money.into_iter().map(ColumnName::new).collect::<Result<_, _>>()?,
        only: only.collect::<Result<_, FormatError>>()?,
    };
    Ok(DayTotals { table, rows: raw.rows, sums })
}
