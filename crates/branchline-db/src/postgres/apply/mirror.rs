//! Mirror: rows of the backup's tables that the backup does not hold are removed, children first.
//!
//! Before that, every foreign key from a table outside the backup that would delete or change rows along with
//! them is asked whether it would: rows that the sender knows nothing of are never touched.

use branchline_core::ports::{DatabaseError, TableMerge};
use branchline_core::schema::ForeignKey;

use super::Target;
use super::merge::{Member, same_key};
use crate::postgres::ident::{Ident, list};
use crate::postgres::schema::Catalogue;
use crate::postgres::session::Session;

/// Refuses where a removal would reach rows of other tables.
pub(crate) async fn check(
    session: &Session,
    catalogue: &Catalogue,
    tables: &[Target],
) -> Result<(), DatabaseError> {
    let covered =
        |name: &branchline_core::schema::TableName| tables.iter().any(|target| target.table.name == *name);
    for child in catalogue.schema().tables().filter(|table| !covered(&table.name)) {
        for key in child.foreign_keys.iter().filter(|key| key.cascades) {
            let Some(target) = tables.iter().find(|target| target.table.name == key.target) else { continue };
            let Some((_, relation)) = catalogue.relations().find(|(name, _)| **name == child.name) else {
                continue;
            };
            let Some(stage) = target.staged() else { continue };
            let columns: Vec<_> = key.columns.iter().map(|&place| &relation.columns[place].ident).collect();
            let sql = format!(
                "SELECT EXISTS (SELECT FROM {} AS c JOIN {} AS t ON {} WHERE {})",
                relation.only(),
                target.relation.only(),
                reference(key, &columns),
                absent(target, stage),
            );
            if session.row(&sql, &[]).await?.get(0) {
                return Err(DatabaseError::MirrorCascade {
                    table: key.target.clone(),
                    child: child.name.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Removes what the backup does not hold from the tables of one group.
pub(crate) async fn remove(
    session: &Session,
    members: &[Member<'_>],
    counts: &mut [TableMerge],
) -> Result<(), DatabaseError> {
    if members.is_empty() {
        return Ok(());
    }
    let part = |(place, target, stage): &Member<'_>| {
        format!(
            "d{place} AS (DELETE FROM {} AS t WHERE {} RETURNING 1)",
            target.relation.only(),
            absent(target, stage)
        )
    };
    let counted = members.iter().map(|(place, ..)| format!("(SELECT pg_catalog.count(*) FROM d{place})"));
    let sql = format!("WITH {} SELECT {}", list(members.iter().map(part)), list(counted));
    session.as_shop().await?;
    let row = session.row(&sql, &[]).await?;
    session.as_ourselves().await?;
    for (number, (place, ..)) in members.iter().enumerate() {
        counts[*place].deleted = row.get::<_, i64>(number).unsigned_abs();
    }
    Ok(())
}

fn absent(target: &Target, stage: &str) -> String {
    format!("NOT EXISTS (SELECT FROM {stage} AS s WHERE {})", same_key(target, "t", "s"))
}

fn reference(key: &ForeignKey, columns: &[&Ident]) -> String {
    let part = |(own, other): (&&Ident, &branchline_core::schema::ColumnName)| {
        format!("c.{own} = t.{}", Ident::new(other.as_str()))
    };
    columns.iter().zip(&key.target_columns).map(part).collect::<Vec<_>>().join(" AND ")
}
