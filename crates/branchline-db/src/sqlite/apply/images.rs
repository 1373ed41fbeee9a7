//! A staged row as it would stand in a backup of this database: for the record of a conflict, and to be held.

use branchline_core::backup::ColumnSummary;
use branchline_core::backup::v1::{Deletion, RowMark, RowWriter, value_text};
use branchline_core::ports::DatabaseError;
use branchline_core::value::Value;
use branchline_core::version::Version;
use rusqlite::Row;

use super::super::error::failed;
use super::super::stored::Stored;
use super::plan::TablePlan;

/// The columns of a plan in the types of the table here.
pub(super) fn columns(plan: &TablePlan) -> Vec<ColumnSummary> {
    let column = |column: &super::plan::PlannedColumn| ColumnSummary {
        name: column.name.clone(),
        logical_type: column.to.clone(),
    };
    plan.columns.iter().map(column).collect()
}

/// The staged values in a row of a query, from `first` on.
pub(super) fn values<'r>(
    plan: &TablePlan,
    row: &'r Row<'_>,
    first: usize,
) -> Result<Vec<Value<'r>>, DatabaseError> {
    let mut values = Vec::with_capacity(plan.columns.len());
    for (place, column) in plan.columns.iter().enumerate() {
        let stored = Stored::of(row.get_ref(first + place).map_err(failed)?);
        let stored = stored.map_err(|_| not_encodable(plan, "it holds text that is not UTF-8"))?;
        values.push(stored.into_value(&column.to, column.form));
    }
    Ok(values)
}

/// The values of all columns of a table's `rows`, where of a removal only those of the key are staged.
pub(super) fn whole<'v>(rows: &TablePlan, staged: Vec<Value<'v>>, is_removal: bool) -> Vec<Value<'v>> {
    if !is_removal {
        return staged;
    }
    let mut values = vec![Value::Null; rows.columns.len()];
    for (value, &place) in staged.into_iter().zip(&rows.key) {
        values[place] = value;
    }
    values
}

/// The line of a row with these values of the plan's columns.
pub(super) fn line(
    plan: &TablePlan,
    version: Version,
    deletion: Option<Deletion>,
    values: &[Value<'_>],
) -> Result<Vec<u8>, DatabaseError> {
    let mut writer = RowWriter::new(&plan.name, &columns(plan));
    let mark = RowMark { version: Some(version), deletion };
    writer.marked(&mark, values).map_err(|error| not_encodable(plan, &error.to_string()))?;
    Ok(only_line(&mut writer))
}

/// The one row that was written, without comma and line end.
pub(super) fn only_line(writer: &mut RowWriter) -> Vec<u8> {
    writer.take().objects().next().unwrap_or_default().to_vec()
}

/// The key of a row, as people read it.
pub(super) fn readable_key(plan: &TablePlan, values: &[Value<'_>]) -> String {
    let text = |&place: &usize| value_text(&values[place], &plan.columns[place].to);
    plan.key.iter().map(text).collect::<Vec<_>>().join(",")
}

fn not_encodable(plan: &TablePlan, reason: &str) -> DatabaseError {
    DatabaseError::RowNotEncodable {
        table: plan.name.clone(),
        row: "of the backup".to_owned(),
        reason: reason.to_owned(),
    }
}
