//! Answers about closed business days.

use serde::{Deserialize, Serialize};

/// The days that were closed, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaysAnswer {
    /// Each day of each store.
    pub days: Vec<ClosedDay>,
    /// Active peers that have not closed the day that was asked for; empty where none was.
    pub not_closed: Vec<String>,
}

/// One day of one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedDay {
    /// Its date.
    pub date: String,
    /// The store that closed it.
    pub store: String,
    /// The server that counted.
    pub at: String,
    /// Whether that server has all of the day.
    pub complete: bool,
    /// When it counted.
    pub closed_at: String,
    /// The backup that closed it.
    pub backup: String,
    /// Table by table.
    pub tables: Vec<DayTableAnswer>,
}

/// One table of a closed day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayTableAnswer {
    /// The table.
    pub table: String,
    /// Whether both sides came to the same.
    pub agrees: bool,
    /// Rows of the day at the store.
    pub rows_store: u64,
    /// Rows of the day at the server that counted; nothing where it could not count them.
    pub rows_here: Option<u64>,
    /// What the money comes to.
    pub money: Vec<DaySumAnswer>,
}

/// One money column of a closed day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaySumAnswer {
    /// The column.
    pub column: String,
    /// Its sum at the store.
    pub store: String,
    /// Its sum at the server that counted.
    pub here: Option<String>,
}
