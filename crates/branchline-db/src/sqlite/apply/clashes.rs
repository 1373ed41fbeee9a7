//! Staged rows whose unique value another row here has and keeps, found before anything is written.
//!
//! Not found here are two rows of the stage with one value, and keys that are partial or over expressions: where a
//! statement fails for one of these, its rows are tried one by one (`probe`).

use branchline_core::ports::DatabaseError;
use rusqlite::Connection;

use super::super::error::failed;
use super::super::ident::{Ident, collate};
use super::super::schema::Catalogue;
use super::holds::{Cause, Fault};
use super::plan::TablePlan;
use super::statement::{not_staged, same_key, stage_table, target_table};

/// Finds them all.
pub(super) fn find(
    connection: &Connection,
    catalogue: &Catalogue,
    plans: &[TablePlan],
    removals: &[TablePlan],
) -> Result<Vec<Fault>, DatabaseError> {
    let mut faults = Vec::new();
    for (index, plan) in plans.iter().enumerate().filter(|(_, plan)| plan.rows > 0) {
        let Some((table, form)) = catalogue.find(&plan.name) else { continue };
        for (unique, collations) in table.unique_keys.iter().zip(&form.unique_collations) {
            let columns = unique.columns.iter().map(|&place| plan.staged(place)).collect::<Option<Vec<_>>>();
            let Some(columns) = columns else { continue };
            let same = columns.iter().zip(collations).map(|(&column, collation)| {
                let name = Ident(plan.columns[column].name.as_str());
                format!("t.{name} = s.c{column}{}", collate(Some(collation)))
            });
            let same: Vec<_> = same.collect();
            // A row that is staged gets its value from the stage, and one that is to be removed has none.
            let stays = plans.iter().chain(removals).filter(|other| other.name == plan.name);
            let stays: Vec<_> = stays.map(|other| not_staged(other, "t")).collect();
            let sql = format!(
                "SELECT DISTINCT s.n FROM {} AS s CROSS JOIN {} AS t WHERE {} AND NOT ({}) AND {}",
                stage_table(plan),
                target_table(plan),
                same.join(" AND "),
                same_key(plan, "t", "s"),
                stays.join(" AND "),
            );
            let mut statement = connection.prepare(&sql).map_err(failed)?;
            let mut rows = statement.query([]).map_err(failed)?;
            while let Some(row) = rows.next().map_err(failed)? {
                let n: i64 = row.get(0).map_err(failed)?;
                let names = columns.iter().map(|&column| plan.columns[column].name.to_string());
                let constraint = names.collect::<Vec<_>>().join(", ");
                let error = DatabaseError::Unique {
                    table: plan.name.to_string(),
                    detail: format!("another row has the same {constraint}"),
                    constraint,
                };
                faults.push(Fault { index, is_removal: false, n, cause: Cause::Refused(error) });
            }
        }
    }
    Ok(faults)
}
