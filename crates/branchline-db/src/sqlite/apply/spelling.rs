//! Equal values keep the spelling that the shop's file has.
//!
//! SQLite holds decimals, UUIDs, points in time and JSON as texts, and one value may have several: a shop's
//! `2025-01-01 08:00:00` comes back from PostgreSQL as `2025-01-01T08:00:00`, its `1.1` as `1.10`. Before anything is
//! compared, staged texts of such columns are replaced by the stored ones wherever `compare` calls the two equal. All
//! that follows then works byte by byte, and by index:
//!
//! 1. `keys`: a staged row whose key is nowhere here takes the key of a row here that is not staged and has an equal
//!    one. Staged keys that are here byte for byte are found by the key's index and left alone.
//! 2. `values`: the other typed columns of each row that is here.
//! 3. `pointers`: a foreign key that points at nothing takes the spelling of the parent with an equal key.
//!
//! Tables without typed columns are not looked at. The canonical form of a value is made inside of SQLite, by
//! functions `branchline_form_0` … that are registered on this session alone.
//!
//! An increment brings few rows, and must not cost what its tables weigh: there a key that is nowhere here is looked up in
//! the spellings that can be guessed (`variants`).
//!
//! Limits: a pointer is only respelled after a parent that was here before this backup, and by the kinds of forms
//! that the core knows (an interval has one). What is missed is refused as a broken foreign key, not merged wrongly.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ForeignKey, LogicalType, Table};
use branchline_core::value::write_canonical;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::super::affinity::ColumnForm;
use super::super::error::failed;
use super::super::ident::{Ident, collate};
use super::super::schema::{Catalogue, TableForm};
use super::super::stored::{Stored, for_compare};
use super::plan::{PlannedColumn, TablePlan};
use super::statement::{missing, not_staged, same_key_from_stage, stage_table, target_table};
use super::variants;

/// How hard equal keys are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// In every row of the table: one pass over it for each key.
    AllRows,
    /// By the spellings that can be guessed, each by index (`variants`): what a few changed rows may cost.
    Variants,
}

/// Gives staged values the spelling of equal ones here; answers whether there were columns to look at.
pub(super) fn adopt(
    connection: &Connection,
    catalogue: &Catalogue,
    plans: &[TablePlan],
    search: Search,
) -> Result<bool, DatabaseError> {
    let with_types =
        || plans.iter().filter(|plan| plan.rows > 0 && plan.columns.iter().any(|c| c.typed.is_some()));
    let mut functions = Functions { connection, known: Vec::new(), search };
    for plan in with_types() {
        keys(&mut functions, plan)?;
        values(&mut functions, plan)?;
    }
    for plan in with_types() {
        let Some((table, _)) = catalogue.find(&plan.name) else { continue };
        for key in &table.foreign_keys {
            let Some((parent, form)) = catalogue.find(&key.target) else { continue };
            pointers(&mut functions, plan, key, parent, form)?;
        }
    }
    Ok(!functions.known.is_empty())
}

/// Gives the keys of rows that are to be removed the spelling of equal ones here; answers whether there were columns to
/// look at.
pub(super) fn adopt_keys(
    connection: &Connection,
    removals: &[TablePlan],
    search: Search,
) -> Result<bool, DatabaseError> {
    let mut functions = Functions { connection, known: Vec::new(), search };
    for plan in removals.iter().filter(|plan| plan.rows > 0) {
        keys(&mut functions, plan)?;
    }
    Ok(!functions.known.is_empty())
}

fn keys(functions: &mut Functions<'_>, plan: &TablePlan) -> Result<(), DatabaseError> {
    let mut pairs = Vec::with_capacity(plan.key.len());
    for (&place, collation) in plan.key.iter().zip(&plan.key_collations) {
        let column = &plan.columns[place];
        let here = (&column.to, column.form);
        pairs.push(functions.pair(place, column, column.name.as_str(), here, collation.clone())?);
    }
    let outside = format!(" AND {}", not_staged(plan, "t"));
    respell(functions, plan, &pairs, &target_table(plan), &missing(plan), &outside)
}

fn pointers(
    functions: &mut Functions<'_>,
    plan: &TablePlan,
    key: &ForeignKey,
    parent: &Table,
    form: &TableForm,
) -> Result<(), DatabaseError> {
    let mut pairs = Vec::with_capacity(key.columns.len());
    for (&child, name) in key.columns.iter().zip(&key.target_columns) {
        let (Some(place), Some(target)) = (plan.staged(child), parent.position(name)) else { return Ok(()) };
        let here = (&parent.columns[target].logical_type, form.columns[target]);
        pairs.push(functions.pair(place, &plan.columns[place], name.as_str(), here, None)?);
    }
    let parents = format!("main.{}", Ident(key.target.as_str()));
    let same: Vec<_> = pairs.iter().map(|pair| format!("t.{} = s.c{}", pair.name, pair.place)).collect();
    let set: Vec<_> = pairs.iter().map(|pair| format!("s.c{} IS NOT NULL", pair.place)).collect();
    let nowhere = format!(
        "{} AND NOT EXISTS (SELECT 1 FROM {parents} AS t WHERE {})",
        set.join(" AND "),
        same.join(" AND ")
    );
    respell(functions, plan, &pairs, &parents, &nowhere, "")
}

/// Gives the staged rows (alias `s`) that are `lost` the spelling of those of `there` (alias `t`) whose forms are
/// equal.
///
/// The forms of the lost rows are put into an indexed table first; then `there` is read once, and each of its rows
/// looked up.
fn respell(
    functions: &Functions<'_>,
    plan: &TablePlan,
    pairs: &[Pair],
    there: &str,
    lost: &str,
    and: &str,
) -> Result<(), DatabaseError> {
    if pairs.iter().all(|pair| pair.forms.is_none()) {
        return Ok(());
    }
    if functions.search == Search::Variants {
        let columns: Vec<_> = pairs.iter().map(|pair| (pair.place, pair.name.as_str())).collect();
        return variants::respell(functions.connection, plan, &columns, there, lost, and);
    }
    let stage = stage_table(plan);
    let each = |write: &dyn Fn(usize, &Pair) -> String| -> Vec<String> {
        pairs.iter().enumerate().map(|(at, pair)| write(at, pair)).collect()
    };
    let list = |write: &dyn Fn(usize, &Pair) -> String| each(write).join(", ");
    let declared = list(&|at, pair| format!("k{at} {}", pair.declaration));
    let keys = list(&|at, _| format!("k{at}"));
    let forms = list(&|_, pair| pair.staged());
    let equal = each(&|at, pair| format!("f.k{at} = {}", pair.stored())).join(" AND ");
    let names = list(&|_, pair| format!("t.{}", pair.name));
    let columns = list(&|_, pair| format!("c{}", pair.place));
    let sql = format!(
        "CREATE TABLE branchline_stage.forms (n INTEGER PRIMARY KEY, {declared});
         INSERT INTO branchline_stage.forms SELECT s.n, {forms} FROM {stage} AS s
             WHERE EXISTS (SELECT 1 FROM {there}) AND {lost};
         CREATE INDEX branchline_stage.by_form ON forms ({keys});
         CREATE TABLE branchline_stage.spelled (n INTEGER PRIMARY KEY, {keys});
         INSERT OR IGNORE INTO branchline_stage.spelled SELECT f.n, {names}
             FROM {there} AS t CROSS JOIN branchline_stage.forms AS f
             WHERE EXISTS (SELECT 1 FROM branchline_stage.forms) AND {equal}{and};
         UPDATE OR IGNORE {stage} AS s SET ({columns}) =
             (SELECT {keys} FROM branchline_stage.spelled AS p WHERE p.n = s.n)
             WHERE s.n IN (SELECT n FROM branchline_stage.spelled);
         DROP TABLE branchline_stage.spelled;
         DROP TABLE branchline_stage.forms;"
    );
    functions.connection.execute_batch(&sql).map_err(failed)
}

/// The typed columns outside of the key, where they differ byte by byte and are equal.
fn values(functions: &mut Functions<'_>, plan: &TablePlan) -> Result<(), DatabaseError> {
    let (mut sets, mut here, mut staged) = (Vec::new(), Vec::new(), Vec::new());
    for (place, column) in plan.columns.iter().enumerate() {
        if plan.key.contains(&place) {
            continue;
        }
        let pair = functions.pair(place, column, column.name.as_str(), (&column.to, column.form), None)?;
        if pair.forms.is_none() {
            continue;
        }
        let name = &pair.name;
        let (ours, theirs) = (pair.stored(), pair.staged());
        here.push(format!("t.{name} COLLATE BINARY"));
        staged.push(format!("s.c{place}"));
        sets.push(format!("c{place} = CASE WHEN {ours} = {theirs} THEN t.{name} ELSE s.c{place} END"));
    }
    if sets.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "UPDATE {} AS s SET {} FROM {} AS t WHERE {} AND ({}) IS NOT ({})",
        stage_table(plan),
        sets.join(", "),
        target_table(plan),
        same_key_from_stage(plan, "t", "s"),
        here.join(", "),
        staged.join(", "),
    );
    functions.connection.execute(&sql, []).map(drop).map_err(failed)
}

/// A staged column and the stored one that it is held against.
struct Pair {
    /// The staged column.
    place: usize,
    /// The stored column, quoted.
    name: String,
    /// The functions that make the forms of the staged and of the stored value; nothing where bytes decide.
    forms: Option<(String, String)>,
    /// How a column that takes the form is declared.
    declaration: String,
}

impl Pair {
    fn staged(&self) -> String {
        let column = format!("s.c{}", self.place);
        self.forms.as_ref().map_or_else(|| column.clone(), |(staged, _)| format!("{staged}({column})"))
    }

    fn stored(&self) -> String {
        let column = format!("t.{}", self.name);
        self.forms.as_ref().map_or_else(|| column.clone(), |(_, stored)| format!("{stored}({column})"))
    }
}

/// What a function makes the canonical form of: values of an own type and form, under the type that the pair shares.
type Kind = (LogicalType, ColumnForm, LogicalType);

/// The functions that are registered on the session, named by their places.
struct Functions<'a> {
    connection: &'a Connection,
    known: Vec<Kind>,
    search: Search,
}

impl Functions<'_> {
    fn pair(
        &mut self,
        place: usize,
        column: &PlannedColumn,
        name: &str,
        here: (&LogicalType, ColumnForm),
        collation: Option<String>,
    ) -> Result<Pair, DatabaseError> {
        let name = Ident(name).to_string();
        let Some(shared) = &column.typed else {
            let affinity = column.form.affinity.declaration();
            let declaration = format!("{affinity}{}", collate(collation.as_deref()));
            return Ok(Pair { place, name, forms: None, declaration });
        };
        let staged = self.function((column.to.clone(), column.form, shared.clone()))?;
        let stored = self.function((here.0.clone(), here.1, shared.clone()))?;
        Ok(Pair { place, name, forms: Some((staged, stored)), declaration: String::new() })
    }

    fn function(&mut self, kind: Kind) -> Result<String, DatabaseError> {
        let known = self.known.iter().position(|known| *known == kind);
        let name = format!("branchline_form_{}", known.unwrap_or(self.known.len()));
        if known.is_none() {
            self.known.push(kind.clone());
            let flags = FunctionFlags::SQLITE_UTF8
                | FunctionFlags::SQLITE_DETERMINISTIC
                | FunctionFlags::SQLITE_DIRECTONLY;
            let make = move |context: &rusqlite::functions::Context<'_>| Ok(form(context.get_raw(0), &kind));
            self.connection.create_scalar_function(name.as_str(), 1, flags, make).map_err(failed)?;
        }
        Ok(name)
    }
}

/// The form under which `compare` knows the value; one that has none is equal to its own bytes alone.
fn form(raw: ValueRef<'_>, (own, column, shared): &Kind) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(stored) = Stored::of(raw) {
        let value = for_compare(stored.into_value(own, *column), own);
        if write_canonical(value, own, shared, &mut out).is_ok() {
            return out;
        }
    }
    out.clear();
    out.push(0xff);
    match raw {
        ValueRef::Null => {}
        ValueRef::Integer(integer) => out.extend(integer.to_le_bytes()),
        ValueRef::Real(real) => out.extend(real.to_bits().to_le_bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => out.extend(bytes),
    }
    out.push(raw.data_type() as u8);
    out
}
