//! The triggers that note changes, as SQL for whatever engine the shop's program has: nothing newer than SQLite 3.8.
//!
//! | trigger | notes |
//! |---|---|
//! | `branchline_N_insert` | after an insert: the new key |
//! | `branchline_N_update` | after an update that changes something: the new key, and the old one where it differs |
//! | `branchline_N_delete` | after a delete: the old key |
//! | `branchline_N_replaced` | before an insert: the keys of rows that hold one of the new row's unique values |
//! | `branchline_N_moved` | before an update of a unique value: the same |
//!
//! `N` is the table's number in the ledger. The last two are there where the table has unique keys besides its primary
//! one: `INSERT OR REPLACE` and `UPDATE OR REPLACE` remove the row that stands in their way without a delete trigger
//! (but with `recursive_triggers` on). Whether they really did is not known before; such an entry is a `victim`, and
//! counts only if the row is gone at the pack. A row that is replaced under its own primary key is noted as inserted.
//!
//! An update that changes nothing is not noted. A column that was added since is not named in the trigger, so while
//! the table's declaration is not the one that the trigger was made for, every update is noted: the declaration is
//! looked up by its rowid in SQLite's own table, and only where nothing else differs.
//!
//! Victims of a unique index that is partial or over expressions are looked up by its own terms, once over the table and
//! once over the new row as a table of one row.
//!
//! Limits: an update without effect is noted where the comparison would be longer than 128 KiB. A row that is replaced
//! for its rowid alone, under another primary key, is not noted.

use std::collections::{BTreeMap, HashMap};

use branchline_core::ports::DatabaseError;
use branchline_core::schema::Table;
use rusqlite::Connection;

use super::super::affinity::Affinity;
use super::super::error::failed;
use super::super::ident::{Ident, collate};
use super::super::key::KeyForm;
use super::super::ledger::captured::CapturedShape;
use super::super::schema::{OddUnique, TableForm};

/// Bytes of a comparison of two rows beyond which it is left out: SQLite takes a million for a statement.
const COMPARISON_BYTES_MAX: usize = 128 << 10;

const INSTALLED: &str = "SELECT name, tbl_name, sql FROM main.sqlite_schema
    WHERE type = 'trigger' AND name LIKE 'branchline\\_%' ESCAPE '\\'";
const DECLARED: &str = "SELECT name, rowid, length(sql) FROM main.sqlite_schema WHERE type = 'table'";

/// Where the declaration of a table stands in SQLite's own table, and how long it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared {
    rowid: i64,
    length: i64,
}

/// A trigger that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct InstalledTrigger {
    pub(super) table: String,
    pub(in super::super) sql: String,
}

/// What of a table the triggers and the names of its rows depend on; nothing where its key has too many columns.
pub(super) fn shape_of(table: &Table, form: &TableForm) -> Option<CapturedShape> {
    let key_columns: Vec<_> = table.key_names().map(|name| name.as_str()).collect();
    let unique_keys = table.unique_keys.iter().map(|key| {
        let columns: Vec<_> = key.columns.iter().map(|&place| table.columns[place].name.as_str()).collect();
        columns.join("\t")
    });
    let odd = form.odd_uniques.iter().map(|odd| odd.name.clone());
    let mut unique_keys: Vec<_> = unique_keys.chain(odd).collect();
    unique_keys.sort();
    Some(CapturedShape {
        key_form: KeyForm::of(table, form)?.as_str().to_owned(),
        key_columns: key_columns.join("\n"),
        unique_keys: unique_keys.join("\n"),
    })
}

/// Where the declarations of tables stand now, by name.
pub(super) fn declared(connection: &Connection) -> Result<HashMap<String, Declared>, DatabaseError> {
    let mut statement = connection.prepare(DECLARED).map_err(failed)?;
    let found = statement
        .query_map([], |row| Ok((row.get(0)?, Declared { rowid: row.get(1)?, length: row.get(2)? })));
    found.and_then(Iterator::collect).map_err(failed)
}

/// All triggers of ours that are there, by name.
pub(in super::super) fn installed(
    connection: &Connection,
) -> Result<BTreeMap<String, InstalledTrigger>, DatabaseError> {
    let mut statement = connection.prepare(INSTALLED).map_err(failed)?;
    let triggers = statement
        .query_map([], |row| Ok((row.get(0)?, InstalledTrigger { table: row.get(1)?, sql: row.get(2)? })));
    triggers.and_then(Iterator::collect).map_err(failed)
}

/// The names of a table's triggers, with and without those for unique keys.
pub(in super::super) fn names(id: i64, has_unique_keys: bool) -> Vec<String> {
    let kinds: &[&str] = if has_unique_keys {
        &["insert", "update", "delete", "replaced", "moved"]
    } else {
        &["insert", "update", "delete"]
    };
    kinds.iter().map(|kind| name(id, kind)).collect()
}

/// The statements that make a table's triggers, by the triggers' names.
pub(super) fn of(id: i64, table: &Table, form: &TableForm, declared: Declared) -> BTreeMap<String, String> {
    let writer = TriggerWriter { id, table, form };
    let mut triggers = BTreeMap::new();
    let mut add = |kind: &str, event: &str, when: &str, body: String| {
        let trigger = name(id, kind);
        let on = Ident(table.name.as_str());
        let sql = format!("CREATE TRIGGER {trigger} {event} ON {on}{when} BEGIN\n{body}END");
        triggers.insert(trigger, sql);
    };
    add("insert", "AFTER INSERT", "", writer.note("NEW", ""));
    add("delete", "AFTER DELETE", "", writer.note("OLD", ""));
    let old_key_too = writer.note("OLD", &format!(" AND {}", writer.differ(&table.key)));
    let changed = writer.note("NEW", "") + &old_key_too;
    add("update", "AFTER UPDATE", &writer.when_changed(declared), changed);
    if !table.unique_keys.is_empty() || !form.odd_uniques.is_empty() {
        add("replaced", "BEFORE INSERT", "", writer.note_victims(false));
        add("moved", "BEFORE UPDATE", &writer.when_moved(), writer.note_victims(true));
    }
    triggers
}

fn name(id: i64, kind: &str) -> String {
    format!("branchline_{id}_{kind}")
}

/// The time of a change, over the row of `branchline_capture` with alias `c`.
const TIME: &str = "max(CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER), c.clock + 1)";

struct TriggerWriter<'a> {
    id: i64,
    table: &'a Table,
    form: &'a TableForm,
}

impl TriggerWriter<'_> {
    fn column(&self, place: usize) -> Ident<'_> {
        Ident(self.table.columns[place].name.as_str())
    }

    fn key(&self, row: &str) -> String {
        let columns: Vec<_> =
            self.table.key.iter().map(|&place| format!("{row}.{}", self.column(place))).collect();
        columns.join(", ")
    }

    fn key_columns(&self) -> String {
        let columns: Vec<_> = (0..self.table.key.len()).map(|place| format!("k{place}")).collect();
        columns.join(", ")
    }

    /// Notes the key of the row `OLD` or `NEW`.
    fn note(&self, row: &str, and: &str) -> String {
        format!(
            "INSERT INTO branchline_change (table_id, at, {}) SELECT {}, {TIME}, {} FROM branchline_capture AS c WHERE c.one = 1{and};\n",
            self.key_columns(),
            self.id,
            self.key(row),
        )
    }

    /// Notes the keys of other rows that hold a unique value of the new row; where `moved`, a value that it takes only
    /// now.
    fn note_victims(&self, moved: bool) -> String {
        let mut body = String::new();
        for (unique, collations) in self.table.unique_keys.iter().zip(&self.form.unique_collations) {
            let same = unique.columns.iter().zip(collations).map(|(&place, collation)| {
                let column = self.column(place);
                format!("t.{column} = NEW.{column}{}", collate(Some(collation)))
            });
            let mut same = same.collect::<Vec<_>>().join(" AND ");
            if moved {
                same.push_str(&format!(
                    " AND {} AND NOT ({})",
                    self.differ(&unique.columns),
                    self.is_old("t")
                ));
            }
            body.push_str(&format!(
                "INSERT INTO branchline_change (table_id, at, {}, victim) SELECT {}, {TIME}, {}, 1 FROM branchline_capture AS c CROSS JOIN {} AS t WHERE c.one = 1 AND {same};\n",
                self.key_columns(),
                self.id,
                self.key("t"),
                Ident(self.table.name.as_str()),
            ));
        }
        for odd in &self.form.odd_uniques {
            body.push_str(&self.note_odd_victims(odd, moved));
        }
        body
    }

    /// The terms are the shop's own text, over names that may be those of columns of ours: so no table of ours stands
    /// beside its own.
    fn note_odd_victims(&self, odd: &OddUnique, moved: bool) -> String {
        let table = Ident(self.table.name.as_str());
        let new: Vec<_> = (0..self.table.columns.len())
            .map(|place| format!("NEW.{column} AS {column}", column = self.column(place)))
            .collect();
        let new = new.join(", ");
        let mut which: Vec<_> = odd
            .terms
            .iter()
            .map(|(term, collation)| {
                let collate = collate(Some(collation));
                format!("({term}) = (SELECT {term} FROM (SELECT {new}) AS {table}){collate}")
            })
            .collect();
        which.extend(odd.condition.as_ref().map(|condition| format!("({condition})")));
        if moved {
            which.push(format!("NOT ({})", self.is_old(&table.to_string())));
        }
        format!(
            "INSERT INTO branchline_change (table_id, at, {}, victim) SELECT {}, (SELECT {TIME} FROM branchline_capture AS c WHERE c.one = 1), {}, 1 FROM {table} WHERE {} AND EXISTS (SELECT 1 FROM branchline_capture);\n",
            self.key_columns(),
            self.id,
            self.key(&table.to_string()),
            which.join(" AND "),
        )
    }

    /// Where a unique value changes. What an expression depends on is not known.
    fn when_moved(&self) -> String {
        if !self.form.odd_uniques.is_empty() {
            return String::new();
        }
        let keys = self.table.unique_keys.iter();
        let mut unique: Vec<usize> = keys.flat_map(|key| key.columns.iter().copied()).collect();
        unique.sort_unstable();
        unique.dedup();
        format!(" WHEN {}", self.differ(&unique))
    }

    fn is_old(&self, row: &str) -> String {
        let same = self.table.key.iter().zip(&self.form.key_collations).map(|(&place, collation)| {
            let column = self.column(place);
            format!("{row}.{column} = OLD.{column}{}", collate(collation.as_deref()))
        });
        same.collect::<Vec<_>>().join(" AND ")
    }

    fn when_changed(&self, declared: Declared) -> String {
        let written: Vec<usize> =
            (0..self.table.columns.len()).filter(|&place| !self.table.columns[place].generated).collect();
        let differ = self.differ(&written);
        if differ.len() > COMPARISON_BYTES_MAX {
            return String::new();
        }
        let Declared { rowid, length } = declared;
        format!(
            " WHEN {differ} OR (SELECT length(sql) FROM sqlite_master WHERE rowid = {rowid}) IS NOT {length}"
        )
    }

    /// That the old and the new row differ in one of these columns: byte by byte, and by storage class.
    fn differ(&self, places: &[usize]) -> String {
        let mut parts = Vec::with_capacity(places.len());
        for &place in places {
            let column = self.column(place);
            parts.push(format!("OLD.{column} IS NOT NEW.{column} COLLATE BINARY"));
            if self.form.columns[place].affinity == Affinity::Blob {
                parts.push(format!("typeof(OLD.{column}) IS NOT typeof(NEW.{column})"));
            }
        }
        any(&parts)
    }
}

/// Joins conditions by OR, in a tree: a chain of 1,000 is deeper than SQLite goes.
fn any(parts: &[String]) -> String {
    match parts {
        [] => "0".to_owned(),
        [one] => format!("({one})"),
        parts => {
            let (left, right) = parts.split_at(parts.len() / 2);
            format!("({} OR {})", any(left), any(right))
        }
    }
}
