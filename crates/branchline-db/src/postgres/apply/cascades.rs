//! Whether our triggers are to note what an apply writes.
//!
//! They are not, as long as nothing follows from it but what deeper triggers do: those note it themselves. What a foreign
//! key carries on (ON DELETE CASCADE, ON UPDATE SET NULL) is no deeper than what it follows from, because PostgreSQL
//! fires its triggers with those of the statement. So where a table is pointed at by such a key everything is noted, and
//! what the backup itself brought is taken out of the log again ([`super::versions::clean_log`]).

use std::collections::BTreeSet;

use branchline_core::ports::DatabaseError;

use super::merge::Member;
use crate::postgres::session::Session;

/// Says to our triggers that what this transaction writes itself is no change made here.
pub(crate) const APPLYING: &str = "SET LOCAL branchline.applying = 'on'";
const NOTING: &str = "SET LOCAL branchline.applying = 'off'";

/// Those of some tables that a foreign key points at which carries changes on; also by a partition.
const FOLLOWED: &str = "
    SELECT DISTINCT coalesce(pg_partition_root(f.confrelid)::oid, f.confrelid)
      FROM pg_constraint AS f
     WHERE f.contype = 'f' AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))
       AND coalesce(pg_partition_root(f.confrelid)::oid, f.confrelid) = ANY ($1)";

/// The tables whose changes are carried on.
#[derive(Debug, Default)]
pub(crate) struct Cascades(BTreeSet<u32>);

/// Looks which of these tables have changes that are carried on.
pub(crate) async fn read(session: &Session, relations: &[u32]) -> Result<Cascades, DatabaseError> {
    let rows = session.rows_kept(FOLLOWED, &[&relations]).await?;
    Ok(Cascades(rows.iter().map(|row| row.get(0)).collect()))
}

impl Cascades {
    /// Says to our triggers what to do while a group is written.
    pub(crate) async fn announce(
        &self,
        session: &Session,
        members: &[Member<'_>],
    ) -> Result<(), DatabaseError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let carried_on = members.iter().any(|(_, target, _)| self.0.contains(&target.relation.oid));
        session.run(if carried_on { NOTING } else { APPLYING }).await
    }
}
