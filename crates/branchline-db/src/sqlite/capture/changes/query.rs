//! The query that gives the rows of one table at a position.
//!
//! Each of its rows is a version, the key of the ledger's record, and the columns of the shop's row, or NULLs.

use branchline_core::ports::DatabaseError;
use rusqlite::params;

use super::super::super::error::failed;
use super::super::super::ident::Ident;
use super::super::super::ledger::captured::CapturedTable;
use super::super::super::ledger::version;
use super::super::super::rows::TableRows;
use super::scoped::GOES;
use super::{IS_STAMPED, Reader};

/// The place of the key in a query: before it stand life, generation, time, the life and the generation before, and
/// whether it is a deletion.
pub(super) const KEY_PLACE: usize = 6;
/// The place of what says whether it is a deletion.
pub(super) const DELETED_PLACE: usize = 5;

/// Makes the query of one table.
pub(super) struct Query<'a> {
    pub(super) reader: &'a Reader,
    pub(super) table: &'a CapturedTable,
    pub(super) rows: &'a TableRows<'a>,
    pub(super) key_width: usize,
}

impl Query<'_> {
    /// What an increment takes.
    pub(super) fn increment(&self, takes_own: bool, takes_base: bool) -> String {
        let (id, columns) = (self.table.id, self.rows.select("t"));
        let (t, same) = (self.target(), self.table.has_noted_key("t", "v"));
        let mut parts = Vec::new();
        if takes_own {
            parts.push(format!(
                "SELECT {}, {}, {columns} FROM temp.branchline_stamped AS v LEFT JOIN {t} AS t ON {same} WHERE v.table_id = {id}",
                self.stamp(),
                self.key("v"),
            ));
        }
        parts.push(format!(
            "SELECT {VERSION}, {}, {columns} FROM temp.branchline_floor AS f CROSS JOIN main.branchline_version AS v
             LEFT JOIN {t} AS t ON {same}
             WHERE v.table_id = {id} AND v.life = f.life AND v.generation > f.above AND {}",
            self.key("v"),
            self.not_stamped("v.key"),
        ));
        if takes_base {
            let text = self.table.key_text("t");
            parts.push(format!(
                "SELECT {NO_VERSION}, {}, {columns} FROM {t} AS t WHERE {} AND NOT EXISTS
                 (SELECT 1 FROM main.branchline_version AS v WHERE v.table_id = {id} AND v.key = {text})",
                self.no_key(),
                self.not_stamped(&text),
            ));
        }
        parts.join(" UNION ALL ")
    }

    /// What a full backup takes.
    pub(super) fn full(&self) -> Result<String, DatabaseError> {
        let (id, columns, t) = (self.table.id, self.rows.select("t"), self.target());
        let nothing: Vec<_> = (0..self.rows.width()).map(|_| "NULL").collect();
        let nothing = nothing.join(", ");
        let connection = &self.reader.connection;
        let is_stamped: bool =
            connection.query_row(IS_STAMPED, params![id], |row| row.get(0)).map_err(failed)?;
        if !is_stamped && !version::has_table(connection, id)? {
            return Ok(format!("SELECT {NO_VERSION}, {}, {columns} FROM {t} AS t", self.no_key()));
        }
        let text = self.table.key_text("t");
        Ok(format!(
            "SELECT {}, 0, {}, {columns} FROM {t} AS t
                 LEFT JOIN temp.branchline_stamped AS s ON s.table_id = {id} AND s.key = {text}
                 LEFT JOIN main.branchline_version AS v ON v.table_id = {id} AND v.key = {text}
             UNION ALL SELECT {}, {}, {nothing} FROM temp.branchline_stamped AS v WHERE v.table_id = {id} AND v.deleted
             UNION ALL SELECT {VERSION}, {}, {nothing} FROM main.branchline_version AS v
                 WHERE v.table_id = {id} AND v.deleted = 1 AND {}
                     AND NOT EXISTS (SELECT 1 FROM {t} AS t WHERE {})",
            self.newest(),
            self.no_key(),
            self.stamp(),
            self.key("v"),
            self.key("v"),
            self.not_stamped("v.key"),
            self.table.has_noted_key("t", "v"),
        ))
    }

    /// What goes to a peer that does not get the table whole.
    pub(super) fn scoped(&self) -> String {
        let (id, columns, t) = (self.table.id, self.rows.select("t"), self.target());
        format!(
            "SELECT {}, c.kind, {}, {columns} FROM temp.branchline_candidate AS c
                 LEFT JOIN {t} AS t ON c.kind = {GOES} AND {}
                 LEFT JOIN temp.branchline_stamped AS s ON s.table_id = {id} AND s.key = c.key
                 LEFT JOIN main.branchline_version AS v ON v.table_id = {id} AND v.key = c.key
             WHERE c.table_id = {id} AND c.kind <= 2",
            self.newest(),
            self.key("c"),
            self.table.has_noted_key("t", "c"),
        )
    }

    /// The version that this position stamped (`s`), or the one before it (`v`).
    fn newest(&self) -> String {
        let either =
            |stamp: &str, version: &str| format!("CASE WHEN s.key IS NULL THEN v.{version} ELSE {stamp} END");
        let (own, generation) = (self.reader.own, self.reader.begun.position.generation);
        [
            either(&own.to_string(), "life"),
            either(&generation.to_string(), "generation"),
            either("s.time", "time"),
            either("s.was_life", "was_life"),
            either("s.was_generation", "was_generation"),
        ]
        .join(", ")
    }

    fn target(&self) -> String {
        format!("main.{}", Ident(self.table.name.as_str()))
    }

    /// The version that this position stamped.
    fn stamp(&self) -> String {
        let (own, generation) = (self.reader.own, self.reader.begun.position.generation);
        format!("{own}, {generation}, v.time, v.was_life, v.was_generation, v.deleted")
    }

    fn not_stamped(&self, text: &str) -> String {
        format!(
            "NOT EXISTS (SELECT 1 FROM temp.branchline_stamped AS s WHERE s.table_id = {} AND s.key = {text})",
            self.table.id
        )
    }

    fn key(&self, row: &str) -> String {
        let columns: Vec<_> = (0..self.key_width).map(|place| format!("{row}.k{place}")).collect();
        columns.join(", ")
    }

    fn no_key(&self) -> String {
        vec!["NULL"; self.key_width].join(", ")
    }
}

const VERSION: &str = "v.life, v.generation, v.time, v.was_life, v.was_generation, v.deleted";
const NO_VERSION: &str = "NULL, NULL, NULL, NULL, NULL, 0";
