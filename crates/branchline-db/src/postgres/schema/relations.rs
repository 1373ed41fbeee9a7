//! The relations of the shop: tables, partitioned tables, and what looks like a table and is none.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::Exclusion;

use super::Rights;
use crate::postgres::error::Names;
use crate::postgres::ident::{Ident, Qualified};
use crate::postgres::ledger;
use crate::postgres::session::Session;

/// Temporary relations and partitions are not among them. Functions answer NULL for a table that is dropped
/// meanwhile. A table that was never analysed is taken by its size.
const RELATIONS: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind,
           CASE
             WHEN c.relkind = 'p' THEN
               (SELECT coalesce(sum(greatest(leaf.reltuples, 0)), 0)
                  FROM pg_partition_tree(c.oid) AS part JOIN pg_class AS leaf ON leaf.oid = part.relid
                 WHERE part.isleaf)::int8
             WHEN c.relkind = 'r' AND c.reltuples <= 0 THEN coalesce(pg_relation_size(c.oid), 0) / 96
             ELSE greatest(c.reltuples, 0)::int8
           END,
           coalesce(pg_has_role(c.relowner, 'USAGE'), false),
           coalesce(has_table_privilege(c.oid, 'INSERT'), false),
           coalesce(has_table_privilege(c.oid, 'UPDATE'), false),
           coalesce(has_table_privilege(c.oid, 'DELETE'), false),
           coalesce(has_table_privilege(c.oid, 'SELECT'), false),
           coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
           coalesce(c.relrowsecurity AND row_security_active(c.oid), false),
           EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', $1)
     ORDER BY n.nspname, c.relname";

/// One relation.
#[derive(Debug)]
pub(crate) struct RelationRow {
    pub(crate) oid: u32,
    pub(crate) name: Qualified,
    pub(crate) kind: char,
    pub(crate) rows_estimated: u64,
    pub(crate) rights: Rights,
    select: bool,
    schema_usage: bool,
    hidden_by_policy: bool,
    of_extension: bool,
    role: Ident,
}

pub(super) async fn read(session: &Session) -> Result<Vec<RelationRow>, DatabaseError> {
    let names: &Names = session.names();
    let rows = session.rows(RELATIONS, &[&ledger::SCHEMA]).await?;
    let relation = |row: tokio_postgres::Row| RelationRow {
        oid: row.get(0),
        name: Qualified::new(row.get::<_, String>(1), row.get::<_, String>(2)),
        kind: char::from(row.get::<_, i8>(3).unsigned_abs()),
        rows_estimated: row.get::<_, i64>(4).unsigned_abs(),
        rights: Rights { owner: row.get(5), insert: row.get(6), update: row.get(7), delete: row.get(8) },
        select: row.get(9),
        schema_usage: row.get(10),
        hidden_by_policy: row.get(11),
        of_extension: row.get(12),
        role: Ident::new(&names.role),
    };
    Ok(rows.into_iter().map(relation).collect())
}

impl RelationRow {
    /// Why the relation itself cannot sync, where it cannot.
    pub(super) fn excluded(&self, columns_readable: bool) -> Option<Exclusion> {
        let what = match self.kind {
            'v' => Some("a view"),
            'm' => Some("a materialized view"),
            'f' => Some("a foreign table"),
            _ if self.of_extension => Some("part of an extension"),
            _ => None,
        };
        if let Some(what) = what {
            return Some(Exclusion::NotATable { what: what.to_owned() });
        }
        let grant = if !self.schema_usage {
            format!("GRANT USAGE ON SCHEMA {} TO {}", self.name.schema(), self.role)
        } else if !self.select && !columns_readable {
            format!("GRANT SELECT ON TABLE {} TO {}", self.name, self.role)
        } else if self.hidden_by_policy {
            format!("ALTER ROLE {} BYPASSRLS", self.role)
        } else {
            return None;
        };
        Some(Exclusion::NotReadable { grant })
    }
}
