//! The closed day in a receipt.
//!
//! ```json
//! "day":{"date":"2026-11-27","complete":true,"tables":[
//!   {"table":"orders","rows":214,"rowsHere":214,"money":[{"column":"total","sum":"3214.5","sumHere":"3214.5"}]}]}
//! ```

use serde::{Deserialize, Serialize};

use super::{ReceiptError, field, malformed};
use crate::receipt::{DayReceipt, DaySum, DayTableReceipt};
use crate::schema::{ColumnName, TableName};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RawDay {
    date: String,
    complete: bool,
    tables: Vec<RawDayTable>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDayTable {
    table: String,
    rows: u64,
    rows_here: Option<u64>,
    money: Vec<RawDaySum>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDaySum {
    column: String,
    sum: String,
    sum_here: Option<String>,
}

pub(super) fn to_raw(day: &DayReceipt) -> RawDay {
    let sum = |sum: &DaySum| RawDaySum {
        column: sum.column.to_string(),
        sum: sum.sum.clone(),
        sum_here: sum.sum_here.clone(),
    };
    let table = |table: &DayTableReceipt| RawDayTable {
        table: table.table.to_string(),
        rows: table.rows,
        rows_here: table.rows_here,
        money: table.money.iter().map(sum).collect(),
    };
    RawDay {
        date: day.date.to_string(),
        complete: day.is_complete(),
        tables: day.tables.iter().map(table).collect(),
    }
}

pub(super) fn from_raw(raw: RawDay) -> Result<DayReceipt, ReceiptError> {
    let sum = |sum: RawDaySum| {
        let column = ColumnName::new(sum.column).map_err(|error| malformed(error.to_string()))?;
        Ok(DaySum { column, sum: sum.sum, sum_here: sum.sum_here })
    };
    let table = |table: RawDayTable| {
        Ok(DayTableReceipt {
            table: TableName::new(table.table).map_err(|error| malformed(error.to_string()))?,
            rows: table.rows,
            rows_here: table.rows_here,
            money: table.money.into_iter().map(sum).collect::<Result<_, ReceiptError>>()?,
        })
    };
    let day = DayReceipt {
        date: field(&raw.date, "day.date")?,
        tables: raw.tables.into_iter().map(table).collect::<Result<_, ReceiptError>>()?,
    };
    if day.is_complete() == raw.complete {
        Ok(day)
    } else {
        Err(malformed("day.complete is not what its tables say"))
    }
}
