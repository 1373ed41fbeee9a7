//! The queries that read a table at a position, and which versions a plan takes.

use branchline_core::id::Generation;
use branchline_core::pack::{PackPlan, Selection};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::Table;

use crate::postgres::capture::KEY_BYTES_MAX;
use crate::postgres::capture::key::Key;
use crate::postgres::ident::list;
use crate::postgres::ledger::{Lives, signed};
use crate::postgres::schema::{ColumnDetail, Relation};

/// Which versions a plan takes, in numbers of the ledger.
#[derive(Debug)]
pub(crate) struct Picked {
    /// Of each life the generation above which rows are taken; nothing where all rows are.
    floors: Option<Vec<(i32, i64)>>,
}

impl Picked {
    pub(crate) fn of(plan: &PackPlan, lives: &Lives) -> Result<Self, DatabaseError> {
        let Selection::Above(floors) = &plan.selection else {
            return Ok(Self { floors: None });
        };
        let floor = |floor: &branchline_core::pack::Floor| {
            let above = floor.above.map_or(-1, |above| signed(above.value()));
            Ok((lives.known(&floor.life)?, above))
        };
        Ok(Self { floors: Some(floors.iter().map(floor).collect::<Result<_, DatabaseError>>()?) })
    }

    /// Whether the version of a row is taken, in SQL; nothing where none is.
    pub(crate) fn versions(&self, alias: &str) -> Option<String> {
        let Some(floors) = &self.floors else { return Some("true".to_owned()) };
        if floors.is_empty() {
            return None;
        }
        let floor =
            |(life, above): &(i32, i64)| format!("{alias}.life = {life} AND {alias}.generation > {above}");
        let floors = floors.iter().map(floor).collect::<Vec<_>>().join(" OR ");
        Some(format!("({floors})"))
    }
}

/// The query that reads a table.
pub(super) struct Query<'a> {
    pub(super) id: i32,
    pub(super) own: i32,
    pub(super) generation: Generation,
    /// Whether rows that the log names are taken.
    pub(super) logged: bool,
    /// Whether rows of the base are taken.
    pub(super) base: bool,
    pub(super) picked: Picked,
    pub(super) table: &'a Table,
    pub(super) relation: &'a Relation,
    pub(super) key: Key,
}

impl Query<'_> {
    pub(super) fn sql(&self) -> String {
        let id = self.id;
        let mut parts = Vec::new();
        if self.logged {
            parts.push(format!(
                "SELECT l.key, {}, {}::int8, greatest(l.at, (SELECT v.time + 1 FROM branchline.version AS v
                          WHERE v.table_id = {id} AND v.key = l.key)), l.was_life, l.was_generation, NULL::bool
                   FROM logged AS l",
                self.own,
                signed(self.generation.value()),
            ));
        }
        if let Some(versions) = self.picked.versions("v") {
            parts.push(format!(
                "SELECT v.key, v.life, v.generation, v.time, v.was_life, v.was_generation, v.deleted
                   FROM branchline.version AS v
                  WHERE v.table_id = {id} AND {versions} AND NOT EXISTS (SELECT FROM logged AS l WHERE l.key = v.key)"
            ));
        }
        if parts.is_empty() {
            parts.push("SELECT NULL::text, 0, 0::int8, 0::int8, 0, 0::int8, false WHERE false".to_owned());
        }
        let mut sql = format!(
            "WITH {},
             picked (key, life, generation, time, was_life, was_generation, deleted) AS ({})
             SELECT p.life, p.generation, p.time, p.was_life, p.was_generation,
                    coalesce(p.deleted, r.is_there IS NULL), {}
               FROM picked AS p
               LEFT JOIN LATERAL (SELECT true AS is_there, t.* FROM {} AS t WHERE {} LIMIT 1) AS r ON true
              WHERE r.is_there OR p.deleted IS NOT false",
            logged(id),
            parts.join(" UNION ALL "),
            columns(self.table, self.relation, &self.key, "coalesce(p.deleted, r.is_there IS NULL)", "p.key"),
            self.relation.only(),
            self.key.is("t", "p.key"),
        );
        if self.base {
            sql.push_str(&self.of_the_base());
        }
        sql
    }

    fn of_the_base(&self) -> String {
        let key = self.key.text("t");
        format!(
            " UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, false, {} FROM {} AS t
               WHERE NOT EXISTS (SELECT FROM branchline.version AS v WHERE v.table_id = {} AND v.key = {key})
                 AND NOT EXISTS (SELECT FROM logged AS l WHERE l.key = {key})",
            list(
                self.relation
                    .columns
                    .iter()
                    .zip(&self.table.columns)
                    .filter(|(_, column)| !column.generated)
                    .map(|(detail, _)| format!("t.{}", detail.ident))
            ),
            self.relation.only(),
            self.id,
        )
    }
}

/// What the log names of a table, in SQL: `logged`.
pub(crate) fn logged(id: i32) -> String {
    format!(
        "logged AS MATERIALIZED (
           SELECT c.key, max(c.at) AS at,
                  CASE WHEN bool_and(c.was_life IS NOT NULL) THEN max(c.was_life) END AS was_life,
                  CASE WHEN bool_and(c.was_life IS NOT NULL) THEN max(c.was_generation) END AS was_generation
             FROM branchline.change AS c
            WHERE c.table_id = {id} AND octet_length(c.key) <= {KEY_BYTES_MAX} GROUP BY c.key)"
    )
}

/// The columns that travel of the row `r`: where it is `gone` only the key's, from the text of the key.
pub(super) fn columns(table: &Table, relation: &Relation, key: &Key, gone: &str, text: &str) -> String {
    let values = key.values(text);
    let column = |(place, detail): (usize, &ColumnDetail)| {
        let of_key = table.key.iter().position(|&key| key == place);
        let otherwise = of_key.map_or("NULL", |number| values[number].as_str());
        format!("CASE WHEN {gone} THEN {otherwise} ELSE r.{} END", detail.ident)
    };
    let details = relation.columns.iter().enumerate();
    list(details.filter(|(place, _)| !table.columns[*place].generated).map(column))
}

/// The query that reads what was decided of a table ([`super::super::in_scope`]).
pub(super) fn of_scoped(id: i32, table: &Table, relation: &Relation, key: &Key) -> String {
    format!(
        "SELECT c.life, c.generation, c.time, c.was_life, c.was_generation, c.line > 1, c.line = 3, {}
           FROM pg_temp.branchline_scoped AS c
           LEFT JOIN LATERAL (SELECT t.* FROM {} AS t WHERE {} LIMIT 1) AS r ON c.line = 1
          WHERE c.table_id = {id} AND c.line > 0",
        columns(table, relation, key, "c.line > 1", "c.key"),
        relation.only(),
        key.is("t", "c.key"),
    )
}
