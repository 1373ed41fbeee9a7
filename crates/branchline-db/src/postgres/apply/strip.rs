//! What can be taken off a table for a large load and put back exactly as it was: foreign keys and indexes.
//!
//! Only what a definition in SQL says in full is ever taken off. Left where it is: a foreign key that is not
//! validated, of a partition, or with triggers somebody switched off; an index in a tablespace, with statistics
//! targets, of an extension, that backs an exclusion constraint, that backs a constraint and has storage
//! parameters, or in a schema where our role may not create. Comments, CLUSTER and REPLICA IDENTITY are put back too.

use branchline_core::ports::DatabaseError;
use tokio_postgres::Row;

use crate::postgres::ident::{Ident, Qualified, literal};
use crate::postgres::session::Session;

/// Foreign keys that start or end at some relations.
const FOREIGN_KEYS: &str = "
    SELECT f.oid, f.conname::text, f.conrelid, rn.nspname::text, r.relname::text,
           f.confrelid, tn.nspname::text, t.relname::text,
           pg_get_constraintdef(f.oid), obj_description(f.oid, 'pg_constraint'),
           f.convalidated AND r.relkind = 'r' AND t.relkind = 'r' AND NOT r.relispartition AND NOT t.relispartition
             AND f.coninhcount = 0 AND pg_has_role(r.relowner, 'USAGE')
             AND has_table_privilege(f.confrelid, 'REFERENCES') AND has_table_privilege(f.confrelid, 'SELECT')
             AND NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgconstraint = f.oid AND g.tgenabled <> 'O')
      FROM pg_constraint AS f
      JOIN pg_class AS r ON r.oid = f.conrelid JOIN pg_namespace AS rn ON rn.oid = r.relnamespace
      JOIN pg_class AS t ON t.oid = f.confrelid JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
     WHERE f.contype = 'f' AND f.conparentid = 0 AND (f.conrelid = ANY ($1) OR f.confrelid = ANY ($1))
     ORDER BY rn.nspname, r.relname, f.conname";

const INDEXES: &str = "
    SELECT c.relname::text, k.contype, pg_get_indexdef(i.indexrelid), pg_get_constraintdef(k.oid),
           i.indisclustered, i.indisreplident, i.indisunique,
           obj_description(i.indexrelid, 'pg_class'), obj_description(k.oid, 'pg_constraint'),
           has_schema_privilege(c.relnamespace, 'CREATE') AND c.reltablespace = 0 AND i.indisvalid AND i.indisready AND k.contype IS DISTINCT FROM 'x'
             AND (k.oid IS NULL OR (c.reloptions IS NULL AND k.conname = c.relname AND k.coninhcount = 0))
             AND NOT EXISTS (SELECT FROM pg_attribute AS a
                              WHERE a.attrelid = i.indexrelid AND coalesce(a.attstattarget, -1) >= 0)
             AND NOT EXISTS (SELECT FROM pg_depend AS d
                              WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                                AND d.deptype IN ('e', 'x'))
      FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
      LEFT JOIN pg_constraint AS k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid
                                  AND k.contype IN ('p', 'u', 'x')
     WHERE i.indrelid = $1
     ORDER BY k.contype = 'p' DESC NULLS LAST, i.indisunique DESC, c.relname";

/// A foreign key, with all that makes it again.
#[derive(Debug, Clone)]
pub(crate) struct ForeignKey {
    pub(crate) oid: u32,
    pub(crate) from_oid: u32,
    pub(crate) from: Qualified,
    pub(crate) to_oid: u32,
    pub(crate) to: Qualified,
    /// Whether it can be taken off and put back.
    pub(crate) removable: bool,
    name: Ident,
    definition: String,
    comment: Option<String>,
}

/// An index, or the constraint that it backs, with all that makes it again.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    /// Whether it can be taken off and put back.
    pub(crate) removable: bool,
    /// Whether a foreign key can depend on it.
    pub(crate) unique: bool,
    table: Qualified,
    name: Ident,
    /// The constraint's definition, where it backs one.
    constraint: Option<String>,
    definition: String,
    clustered: bool,
    replica_identity: bool,
    comment: Option<String>,
    constraint_comment: Option<String>,
}

/// The foreign keys that start or end at these relations.
pub(crate) async fn foreign_keys(
    session: &Session,
    relations: &[u32],
) -> Result<Vec<ForeignKey>, DatabaseError> {
    let rows = session.rows_kept(FOREIGN_KEYS, &[&relations]).await?;
    let foreign_key = |row: &Row| ForeignKey {
        oid: row.get(0),
        name: Ident::new(row.get::<_, String>(1)),
        from_oid: row.get(2),
        from: Qualified::new(row.get::<_, String>(3), row.get::<_, String>(4)),
        to_oid: row.get(5),
        to: Qualified::new(row.get::<_, String>(6), row.get::<_, String>(7)),
        definition: row.get(8),
        comment: row.get(9),
        removable: row.get(10),
    };
    Ok(rows.iter().map(foreign_key).collect())
}

/// The indexes of a table: the primary key, other unique ones, the rest.
pub(crate) async fn indexes(
    session: &Session,
    oid: u32,
    table: &Qualified,
) -> Result<Vec<Index>, DatabaseError> {
    let rows = session.rows_kept(INDEXES, &[&oid]).await?;
    let index = |row: &Row| Index {
        table: table.clone(),
        name: Ident::new(row.get::<_, String>(0)),
        definition: row.get(2),
        constraint: row.get::<_, Option<i8>>(1).and_then(|_| row.get(3)),
        clustered: row.get(4),
        replica_identity: row.get(5),
        unique: row.get(6),
        comment: row.get(7),
        constraint_comment: row.get(8),
        removable: row.get(9),
    };
    Ok(rows.iter().map(index).collect())
}

impl ForeignKey {
    pub(crate) fn remove(&self) -> String {
        format!("ALTER TABLE {} DROP CONSTRAINT {};\n", self.from, self.name)
    }

    /// Puts it back, which joins the two tables once to check every row.
    pub(crate) fn restore(&self) -> String {
        let add = format!("ALTER TABLE {} ADD CONSTRAINT {} {};\n", self.from, self.name, self.definition);
        add + &comment_on(&format!("CONSTRAINT {} ON {}", self.name, self.from), self.comment.as_deref())
    }
}

impl Index {
    pub(crate) fn remove(&self) -> String {
        match self.constraint {
            Some(_) => format!("ALTER TABLE {} DROP CONSTRAINT {};\n", self.table, self.name),
            None => format!("DROP INDEX {}.{};\n", self.table.schema(), self.name),
        }
    }

    pub(crate) fn restore(&self) -> String {
        let Self { table, name, .. } = self;
        let mut sql = match &self.constraint {
            Some(definition) => format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition};\n"),
            None => format!("{};\n", self.definition),
        };
        if self.clustered {
            sql.push_str(&format!("ALTER TABLE {table} CLUSTER ON {name};\n"));
        }
        if self.replica_identity {
            sql.push_str(&format!("ALTER TABLE {table} REPLICA IDENTITY USING INDEX {name};\n"));
        }
        sql.push_str(&comment_on(&format!("INDEX {}.{name}", table.schema()), self.comment.as_deref()));
        sql + &comment_on(&format!("CONSTRAINT {name} ON {table}"), self.constraint_comment.as_deref())
    }
}

fn comment_on(what: &str, comment: Option<&str>) -> String {
    comment.map_or_else(String::new, |text| format!("COMMENT ON {what} IS {};\n", literal(text)))
}
