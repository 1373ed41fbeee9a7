//! Looks equal keys up by the other spellings that can be guessed, each by the key's index.
//!
//! | type | spellings |
//! |---|---|
//! | uuid | all capitals, no capitals |
//! | timestamp, timestamptz | a `T` or a space between date and time |
//!
//! All columns of a key take the first spelling, or all the second. Keys in another spelling (decimals with zeros, a
//! UUID with some capitals) are found by a full backup only; in an increment they are rows of their own, which `compare`
//! will name.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::LogicalType;
use rusqlite::Connection;

use super::super::error::failed;
use super::plan::TablePlan;
use super::statement::stage_table;

/// Gives staged rows (alias `s`) that are `lost` the spelling of the row of `there` (alias `t`) that a variant of their
/// key finds. `columns` are staged columns, each with the one that it is held against.
pub(super) fn respell(
    connection: &Connection,
    plan: &TablePlan,
    columns: &[(usize, &str)],
    there: &str,
    lost: &str,
    and: &str,
) -> Result<(), DatabaseError> {
    for first in [true, false] {
        let same = columns.iter().map(|&(place, name)| {
            let value = variant(&format!("s.c{place}"), plan.columns[place].typed.as_ref(), first);
            format!("t.{name} = {value}")
        });
        let same: Vec<_> = same.collect();
        let found = format!("FROM {there} AS t WHERE {}{and}", same.join(" AND "));
        let sql = format!(
            "UPDATE OR IGNORE {} AS s SET ({}) = (SELECT {} {found} LIMIT 1)
             WHERE {lost} AND EXISTS (SELECT 1 {found})",
            stage_table(plan),
            list(columns, |(place, _)| format!("c{place}")),
            list(columns, |(_, name)| format!("t.{name}")),
        );
        connection.execute(&sql, []).map_err(failed)?;
    }
    Ok(())
}

fn variant(value: &str, typed: Option<&LogicalType>, first: bool) -> String {
    match (typed, first) {
        (Some(LogicalType::Uuid), true) => format!("upper({value})"),
        (Some(LogicalType::Uuid), false) => format!("lower({value})"),
        (Some(LogicalType::Timestamp | LogicalType::TimestampWithZone), true) => {
            format!("replace({value}, 'T', ' ')")
        }
        (Some(LogicalType::Timestamp | LogicalType::TimestampWithZone), false) => {
            format!("replace({value}, ' ', 'T')")
        }
        _ => value.to_owned(),
    }
}

fn list(columns: &[(usize, &str)], write: impl Fn((usize, &str)) -> String) -> String {
    columns.iter().map(|&column| write(column)).collect::<Vec<_>>().join(", ")
}
