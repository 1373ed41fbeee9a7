//! Mirror: rows of the backup's tables that the backup does not hold are removed, children first.
//!
//! Before that, every foreign key that would delete or change rows along with them is asked whether it would
//! reach a row of a table outside the backup, which the sender knows nothing of, or a row of the backup itself.

use branchline_core::ports::{DatabaseError, TableMerge};
use branchline_core::schema::ForeignKey;

use super::Target;
use super::merge::{Member, same_key};
use crate::postgres::ident::{Ident, list};
use crate::postgres::schema::{Catalogue, Relation};
use crate::postgres::session::Session;

/// Refuses where a removal would reach rows that stay: those of other tables, and those that the backup brought
/// itself, which may point at a row that is only here.
pub(crate) async fn check(
    session: &Session,
    catalogue: &Catalogue,
    tables: &[Target],
) -> Result<(), DatabaseError> {
    for child in catalogue.schema().tables() {
        let covered = tables.iter().find(|target| target.table.name == child.name);
        let brought = match covered.map(|target| (target, target.staged())) {
            Some((target, Some(stage))) => {
                format!("EXISTS (SELECT FROM {stage} AS b WHERE {})", same_key(target, "c", "b"))
            }
            _ => "true".to_owned(),
        };
        for key in child.foreign_keys.iter().filter(|key| key.cascades) {
            let Some(target) = tables.iter().find(|target| target.table.name == key.target) else { continue };
            let Some((_, relation)) = catalogue.relations().find(|(name, _)| **name == child.name) else {
                continue;
            };
            let Some(stage) = target.staged() else { continue };
            let sql = format!(
                "SELECT EXISTS (SELECT FROM {} AS c JOIN {} AS t ON {} WHERE {} AND {brought})",
                relation.only(),
                target.relation.only(),
                reference(key, relation, "c", &target.relation, "t"),
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

/// Whether the row `a` of a table points at the row `b` of another.
pub(crate) fn reference(key: &ForeignKey, child: &Relation, a: &str, parent: &Relation, b: &str) -> String {
    let part = |(own, other): (&usize, &branchline_core::schema::ColumnName)| {
        let own = &child.columns[*own];
        let other = Ident::new(other.as_str());
        let cast = own.cast();
        // The two may be of different types, of which one has an `=` of its own.
        let detail = parent.columns.iter().find(|column| column.ident == other);
        let cast_other = detail.map_or("", |detail| detail.cast());
        format!("{a}.{}{cast} = {b}.{other}{cast_other}", own.ident)
    };
    key.columns.iter().zip(&key.target_columns).map(part).collect::<Vec<_>>().join(" AND ")
}
