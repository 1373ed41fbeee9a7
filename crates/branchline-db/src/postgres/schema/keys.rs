//! Primary keys, unique keys, foreign keys.

use std::collections::HashMap;

use branchline_core::ports::DatabaseError;

use crate::postgres::session::Session;

/// Unique indexes over plain columns, whole-table, whose check is not deferred. The columns that a covering index
/// only includes are not part of its key.
const UNIQUE: &str = "
    SELECT i.indrelid, c.relname::text, i.indisprimary,
           (string_to_array(i.indkey::text, ' ')::int2[])[1:i.indnkeyatts]
      FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
      JOIN pg_class AS t ON t.oid = i.indrelid
     WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
       AND (i.indimmediate OR i.indisprimary) AND NOT t.relispartition AND t.relkind IN ('r', 'p')
     ORDER BY i.indrelid, c.relname";

/// Foreign keys as they were declared: those that PostgreSQL made for partitions have a parent. One that was declared
/// on a partition, or points at one, counts as the whole table's; columns have other numbers there.
const FOREIGN: &str = "
    SELECT own.relation, f.conname::text,
           (SELECT array_agg(r.attnum ORDER BY u.place)
              FROM unnest(f.conkey) WITH ORDINALITY AS u (number, place)
              JOIN pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = u.number
              JOIN pg_attribute AS r ON r.attrelid = own.relation AND r.attname = a.attname),
           coalesce(pg_partition_root(f.confrelid)::oid, f.confrelid),
           (SELECT array_agg(a.attname::text ORDER BY u.place)
              FROM unnest(f.confkey) WITH ORDINALITY AS u (number, place)
              JOIN pg_attribute AS a ON a.attrelid = f.confrelid AND a.attnum = u.number),
           f.condeferrable, f.confdeltype IN ('c', 'n', 'd')
      FROM pg_constraint AS f
     CROSS JOIN LATERAL (SELECT coalesce(pg_partition_root(f.conrelid)::oid, f.conrelid)) AS own (relation)
     WHERE f.contype = 'f' AND f.conparentid = 0
     ORDER BY own.relation, f.conname";

#[derive(Debug)]
pub(super) struct UniqueRow {
    pub(super) name: String,
    pub(super) primary: bool,
    pub(super) columns: Vec<i16>,
}

#[derive(Debug)]
pub(super) struct ForeignKeyRow {
    pub(super) name: String,
    pub(super) columns: Vec<i16>,
    pub(super) target: u32,
    pub(super) target_columns: Vec<String>,
    pub(super) deferrable: bool,
    pub(super) cascades: bool,
}

/// The keys of all relations, by the relation's oid.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) unique: HashMap<u32, Vec<UniqueRow>>,
    pub(super) foreign: HashMap<u32, Vec<ForeignKeyRow>>,
}

pub(super) async fn read(session: &Session) -> Result<Keys, DatabaseError> {
    let mut keys = Keys::default();
    for row in session.rows(UNIQUE, &[]).await? {
        let unique = UniqueRow { name: row.get(1), primary: row.get(2), columns: row.get(3) };
        keys.unique.entry(row.get(0)).or_default().push(unique);
    }
    for row in session.rows(FOREIGN, &[]).await? {
        let foreign = ForeignKeyRow {
            name: row.get(1),
            columns: row.get::<_, Option<_>>(2).unwrap_or_default(),
            target: row.get(3),
            target_columns: row.get::<_, Option<_>>(4).unwrap_or_default(),
            deferrable: row.get(5),
            cascades: row.get(6),
        };
        keys.foreign.entry(row.get(0)).or_default().push(foreign);
    }
    Ok(keys)
}
