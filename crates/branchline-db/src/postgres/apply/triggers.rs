//! What the shop's triggers and rules did to the rows that were merged.
//!
//! A trigger may change what it is given (a time of the last change, a search text): that is the shop's business.
//! It may not drop a row of the backup or give it another key without anybody noticing: a row counts as arrived
//! only where it is found afterwards. Tables without triggers and rules are asked nothing.

use std::collections::BTreeMap;

use branchline_core::ports::DatabaseError;

use super::Target;
use super::merge::{differs, same_key, settable};
use crate::postgres::session::Session;

/// Tables with triggers or rules that are neither PostgreSQL's own nor ours, on themselves or on a partition, with
/// the names of those.
const TRIGGERS: &str = "
    SELECT wanted.oid, string_agg(DISTINCT named.name, ', ' ORDER BY named.name)
      FROM unnest($1::oid[]) AS wanted (oid)
     CROSS JOIN LATERAL (SELECT wanted.oid UNION SELECT tree.relid FROM pg_partition_tree(wanted.oid) AS tree) AS part (oid)
     CROSS JOIN LATERAL (
       SELECT g.tgname::text
         FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE g.tgrelid = part.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND n.nspname <> 'branchline'
       UNION ALL
       SELECT r.rulename::text FROM pg_rewrite AS r WHERE r.ev_class = part.oid AND r.ev_enabled <> 'D') AS named (name)
     GROUP BY wanted.oid";

/// The triggers and rules of tables, by the table's oid.
#[derive(Debug, Default)]
pub(crate) struct Triggers(BTreeMap<u32, String>);

impl Triggers {
    pub(crate) async fn read(session: &Session, relations: &[u32]) -> Result<Self, DatabaseError> {
        let rows = session.rows_kept(TRIGGERS, &[&relations]).await?;
        Ok(Self(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
    }

    pub(crate) fn on(&self, relation: u32) -> bool {
        self.0.contains_key(&relation)
    }

    /// How many rows the merge will update; nothing where no trigger could stop it.
    pub(crate) async fn awaited(
        &self,
        session: &Session,
        target: &Target,
        stage: &str,
    ) -> Result<u64, DatabaseError> {
        let places = settable(target);
        if !self.on(target.relation.oid) || places.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "SELECT count(*) FROM {} AS t JOIN {stage} AS s ON {} WHERE {}",
            target.relation.only(),
            same_key(target, "t", "s"),
            differs(target, &places),
        );
        Ok(session.row(&sql, &[]).await?.get::<_, i64>(0).unsigned_abs())
    }

    /// Refuses where a row was not updated that should have been, or is not there. More updates than awaited are
    /// those of rows that the shop changed in between.
    pub(crate) async fn check(
        &self,
        session: &Session,
        (target, stage): (&Target, &str),
        awaited: u64,
        updated: u64,
    ) -> Result<(), DatabaseError> {
        let Some(names) = self.0.get(&target.relation.oid) else { return Ok(()) };
        let sql = format!(
            "SELECT count(*) FROM {stage} AS s WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {})",
            target.relation.only(),
            same_key(target, "t", "s"),
        );
        let missing = session.row(&sql, &[]).await?.get::<_, i64>(0).unsigned_abs();
        let lost = missing + awaited.saturating_sub(updated);
        if lost == 0 {
            return Ok(());
        }
        Err(DatabaseError::Constraint {
            table: target.table.name.to_string(),
            constraint: names.clone(),
            detail: format!("a trigger or rule changed or dropped {lost} of the rows that the backup brings"),
        })
    }
}
