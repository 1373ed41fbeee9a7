//! Sequences: after rows with numbers of their own came in, the next number that the database gives out must be
//! beyond them.
//!
//! A sequence keeps to its own series (a shop may number 1, 11, 21…): it moves to its last number that is not beyond
//! those that came, never outside its bounds, and never back. Numbers outside its bounds are not its own.
//!
//! With UPDATE on the sequence it is set; with USAGE alone it is advanced by taking numbers, up to
//! [`TAKEN_MAX`] of them. With neither, and only where the next number would clash, the apply is refused: the
//! shop's next sale would fail otherwise. A sequence is not part of a transaction: one that was advanced for an
//! apply that then failed stays advanced, which costs numbers and nothing else.

use branchline_core::ports::DatabaseError;

use super::Target;
use crate::postgres::ident::{Ident, Qualified};
use crate::postgres::session::Session;

/// Numbers that are taken one by one where the sequence may not be set.
const TAKEN_MAX: i64 = 1_000_000;

/// Sequences that number columns: those that a column owns (serial, identity), and those in its default.
const SEQUENCES: &str = "
    SELECT numbered.relation, numbered.number, s.oid, n.nspname::text, s.relname::text, q.seqincrement,
           q.seqmin, q.seqmax, q.seqstart,
           has_sequence_privilege(s.oid, 'UPDATE'),
           has_sequence_privilege(s.oid, 'USAGE'),
           has_sequence_privilege(s.oid, 'SELECT')
      FROM (SELECT d.refobjid AS relation, d.refobjsubid::int2 AS number, d.objid AS sequence
              FROM pg_depend AS d
             WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
               AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') AND d.refobjid = ANY ($1)
            UNION
            SELECT a.adrelid, a.adnum, d.refobjid
              FROM pg_depend AS d JOIN pg_attrdef AS a ON a.oid = d.objid
             WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
               AND a.adrelid = ANY ($1)) AS numbered
      JOIN pg_class AS s ON s.oid = numbered.sequence AND s.relkind = 'S'
      JOIN pg_namespace AS n ON n.oid = s.relnamespace
      JOIN pg_sequence AS q ON q.seqrelid = s.oid
     ORDER BY n.nspname, s.relname";

/// Advances every sequence that the written columns are numbered by.
pub(crate) async fn advance(session: &Session, tables: &[Target]) -> Result<(), DatabaseError> {
    let oids: Vec<u32> = tables.iter().map(|target| target.relation.oid).collect();
    for row in session.rows_kept(SEQUENCES, &[&oids]).await? {
        let (relation, number): (u32, i16) = (row.get(0), row.get(1));
        let Some(target) = tables.iter().find(|target| target.relation.oid == relation) else { continue };
        let written = |place: &&usize| target.relation.columns[**place].number == number;
        let Some(&place) = target.places.iter().find(written) else { continue };
        if !target.table.columns[place].logical_type.is_integer() {
            continue;
        }
        let sequence = Sequence {
            oid: row.get(2),
            name: Qualified::new(row.get::<_, String>(3), row.get::<_, String>(4)),
            increment: row.get(5),
            least: row.get(6),
            greatest: row.get(7),
            start: row.get(8),
            may_set: row.get(9),
            may_take: row.get(10),
            may_select: row.get(11),
        };
        sequence.advance(session, target, place).await?;
    }
    Ok(())
}

#[derive(Debug)]
struct Sequence {
    oid: u32,
    name: Qualified,
    increment: i64,
    least: i64,
    greatest: i64,
    start: i64,
    may_set: bool,
    may_take: bool,
    may_select: bool,
}

impl Sequence {
    async fn advance(&self, session: &Session, target: &Target, place: usize) -> Result<(), DatabaseError> {
        let column = &target.relation.columns[place].ident;
        let written = target.filled();
        let furthest = if self.increment > 0 { "max" } else { "min" };
        let sql = format!(
            "SELECT {furthest}({column})::int8 FROM {written} WHERE {column} BETWEEN {} AND {}",
            self.least, self.greatest,
        );
        let Some(furthest) = session.row(&sql, &[]).await?.get::<_, Option<i64>>(0) else { return Ok(()) };
        if !self.may_select && !self.may_take {
            return Err(self.missing(session, "SELECT, UPDATE"));
        }
        let next = self.next(session).await?;
        // In wide numbers: a sequence may end at the last number there is.
        let steps = (i128::from(furthest) - next) / i128::from(self.increment);
        let beyond = if self.increment > 0 { next > furthest.into() } else { next < furthest.into() };
        let (Ok(steps), false) = (i64::try_from(steps), beyond) else { return Ok(()) };
        let Ok(last) = i64::try_from(next + i128::from(steps) * i128::from(self.increment)) else {
            return Ok(());
        };
        if self.may_set {
            return self.set(session, last).await;
        }
        let taken = steps.saturating_add(1);
        if !self.may_take || taken > TAKEN_MAX {
            return Err(self.missing(session, "UPDATE"));
        }
        let take = "SELECT count(nextval($1::oid::regclass)) FROM generate_series(1, $2::int8)";
        session.rows(take, &[&self.oid, &taken]).await.map(drop)
    }

    /// The number that it will give out next; one that is exhausted would be past its bounds. With USAGE alone a
    /// sequence that was never asked is taken to begin where it was declared to.
    async fn next(&self, session: &Session) -> Result<i128, DatabaseError> {
        let (last, called): (i64, bool) = if self.may_select {
            let row = session.row(&format!("SELECT last_value, is_called FROM {}", self.name), &[]).await?;
            (row.get(0), row.get(1))
        } else {
            let row = session.row("SELECT pg_sequence_last_value($1::oid)", &[&self.oid]).await?;
            row.get::<_, Option<i64>>(0).map_or((self.start, false), |last| (last, true))
        };
        Ok(i128::from(last) + if called { i128::from(self.increment) } else { 0 })
    }

    /// Sets it to a number that was given out; not where the shop has gone further meanwhile.
    async fn set(&self, session: &Session, last: i64) -> Result<(), DatabaseError> {
        let further = if self.increment > 0 { "<" } else { ">" };
        let sql = if self.may_select {
            format!(
                "SELECT setval($1::oid::regclass, $2) FROM {} WHERE last_value {further} $2 OR NOT is_called",
                self.name,
            )
        } else {
            "SELECT setval($1::oid::regclass, $2)".to_owned()
        };
        session.rows(&sql, &[&self.oid, &last]).await.map(drop)
    }

    fn missing(&self, session: &Session, right: &str) -> DatabaseError {
        let role = Ident::new(&session.names().role);
        DatabaseError::PrivilegeMissing {
            action: format!("advance sequence {} past the rows it brings", self.name),
            grant: format!("GRANT {right} ON SEQUENCE {} TO {role}", self.name),
        }
    }
}
