//! How each table of a backup fits into the target's: decided from the two descriptions alone.

use branchline_core::backup::{ColumnSummary, TableSummary};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ColumnName, LogicalType, ScopeError, Table, TableName, fit};
use branchline_core::value::common_type;

use super::super::affinity::{Affinity, ColumnForm};
use super::super::schema::{Catalogue, TableForm};

/// What is done with one table of the backup.
#[derive(Debug)]
pub(super) struct TablePlan {
    /// Its place in the request, which names its table on the stage.
    pub(super) place: usize,
    pub(super) name: TableName,
    /// The columns that the backup brings, in its order: `c0`, `c1` … on the stage.
    pub(super) columns: Vec<PlannedColumn>,
    /// The backup's description of them, for its reader.
    pub(super) summaries: Vec<ColumnSummary>,
    /// The key's columns, as places in `columns`.
    pub(super) key: Vec<usize>,
    /// The key's columns, as places in `summaries`.
    pub(super) source_key: Vec<usize>,
    /// For each column of `summaries`, its place in `columns`; nothing where it is missing here.
    pub(super) reads: Vec<Option<usize>>,
    /// The places in `summaries` of columns that the settings leave out here.
    pub(super) omitted: Vec<usize>,
    /// Whether rows that cannot go in are held.
    pub(super) holds: bool,
    /// Whose rows these are: a place in the merge's list of origins, the backup itself being the first.
    pub(super) origin: usize,
    /// Whether rows carry marks: their versions stand on the stage beside their values.
    pub(super) marked: bool,
    /// For each of them, the collation under which the target tells keys apart.
    pub(super) key_collations: Vec<Option<String>>,
    /// The declaration has conflict clauses of its own, which must be overruled.
    pub(super) overrule_conflicts: bool,
    /// Rows that were staged.
    pub(super) rows: u64,
    /// Whether triggers of ours noted what was written.
    pub(super) is_noted: bool,
}

/// One column on its way from the backup into the target.
#[derive(Debug, Clone)]
pub(super) struct PlannedColumn {
    pub(super) name: ColumnName,
    /// Its place in the target's table.
    pub(super) target: usize,
    pub(super) from: LogicalType,
    pub(super) to: LogicalType,
    pub(super) form: ColumnForm,
    pub(super) nullable: bool,
    /// The type under which the pair compares the column, where values that are equal under it may be spelled
    /// differently here.
    pub(super) typed: Option<LogicalType>,
}

impl TablePlan {
    /// The place, in `columns`, of a column of the target's table.
    pub(super) fn staged(&self, target: usize) -> Option<usize> {
        self.columns.iter().position(|column| column.target == target)
    }

    /// A plan for keys alone, of rows that are to be removed.
    pub(super) fn of_removals(&self, place: usize) -> Self {
        Self {
            place,
            name: self.name.clone(),
            columns: self.key.iter().map(|&column| self.columns[column].clone()).collect(),
            summaries: Vec::new(),
            key: (0..self.key.len()).collect(),
            source_key: Vec::new(),
            reads: Vec::new(),
            omitted: Vec::new(),
            holds: self.holds,
            origin: self.origin,
            marked: true,
            key_collations: self.key_collations.clone(),
            overrule_conflicts: self.overrule_conflicts,
            rows: 0,
            is_noted: true,
        }
    }

    /// Whether two keys that are the same to the target may still be written differently.
    pub(super) fn key_may_differ(&self, at: usize) -> bool {
        let collation = self.key_collations[at].as_deref();
        let is_binary = collation.is_none_or(|collation| collation.eq_ignore_ascii_case("BINARY"));
        !is_binary || (collation.is_some() && self.columns[self.key[at]].form.affinity == Affinity::Blob)
    }
}

/// How rows of a backup are staged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Staged {
    /// Whether they carry marks.
    pub(super) marked: bool,
    /// Whether those that cannot go in are held. Columns that are missing here are left to that.
    pub(super) holds: bool,
}

/// Fits a table of the backup; `place` names its table on the stage.
///
/// # Errors
/// Where it is unknown or excluded here, or its columns, types or key do not fit.
pub(super) fn of_table(
    catalogue: &Catalogue,
    place: usize,
    summary: &TableSummary,
    staged: Staged,
) -> Result<TablePlan, DatabaseError> {
    let unknown = || DatabaseError::TableUnknown { table: summary.name.clone() };
    let table = catalogue.schema.table(&summary.name).ok_or_else(unknown)?;
    if let Some(exclusion) = &table.excluded {
        return Err(DatabaseError::TableNotSyncable {
            table: table.name.clone(),
            reason: exclusion.to_string(),
        });
    }
    let (_, form) = catalogue.find(&summary.name).ok_or_else(unknown)?;
    check_foreign_keys(catalogue, table)?;
    // What comes for a column that the settings leave out here is passed over.
    let is_missing =
        |name: &ColumnName| table.omits(name) || (staged.holds && table.position(name).is_none());
    let there = summary.columns.iter().filter(|column| !is_missing(&column.name));
    let columns: Vec<_> = there.map(|column| (column.name.clone(), column.logical_type.clone())).collect();
    let scope = fit(table, &columns, &summary.key)?;
    let columns = plan_columns(table, form, columns, &scope.places)?;
    let position = |name: &ColumnName| columns.iter().position(|column| column.name == *name);
    let in_plan = |name: &ColumnName| {
        let needed = || ScopeError::ColumnNeeded { table: table.name.clone(), column: name.clone() };
        position(name).ok_or_else(needed)
    };
    let key = summary.key.iter().map(in_plan).collect::<Result<_, _>>()?;
    let reads: Vec<_> = summary.columns.iter().map(|column| position(&column.name)).collect();
    let is_omitted = |place: &usize| table.omits(&summary.columns[*place].name);
    let omitted = (0..summary.columns.len()).filter(is_omitted).collect();
    let in_summary = |name: &ColumnName| summary.columns.iter().position(|column| column.name == *name);
    let source_key = summary.key.iter().filter_map(in_summary).collect();
    Ok(TablePlan {
        place,
        name: table.name.clone(),
        columns,
        summaries: summary.columns.clone(),
        key,
        source_key,
        reads,
        omitted,
        holds: staged.holds,
        origin: 0,
        marked: staged.marked,
        key_collations: form.key_collations.clone(),
        overrule_conflicts: form.has_conflict_clause,
        rows: 0,
        is_noted: true,
    })
}

/// SQLite writes to no table that points at a table which is not there; said here by name, and before anything.
fn check_foreign_keys(catalogue: &Catalogue, table: &Table) -> Result<(), DatabaseError> {
    match table.foreign_keys.iter().find(|key| catalogue.find(&key.target).is_none()) {
        None => Ok(()),
        Some(key) => Err(DatabaseError::ForeignKey {
            table: table.name.to_string(),
            constraint: key.name.clone(),
            detail: format!("there is no table {} here", key.target),
        }),
    }
}

/// Whether SQLite holds a value of this type as a text, and equal ones may be other texts.
fn has_spellings(shared: &LogicalType) -> bool {
    use LogicalType as T;
    match shared {
        T::JsonBinary | T::Array(_) => true,
        T::Text | T::Enumeration | T::Native(_) => false,
        shared => shared.is_textual(),
    }
}

fn plan_columns(
    table: &Table,
    form: &TableForm,
    columns: Vec<(ColumnName, LogicalType)>,
    places: &[usize],
) -> Result<Vec<PlannedColumn>, DatabaseError> {
    let plan = |((name, from), &target): ((ColumnName, LogicalType), &usize)| {
        let here = &table.columns[target];
        if form.columns[target].refuses_all_of(&from) {
            let (table, to) = (table.name.clone(), here.native_type.clone());
            return Err(ScopeError::TypeNotHeld { table, column: name, from, to }.into());
        }
        Ok(PlannedColumn {
            name,
            target,
            typed: common_type(&from, &here.logical_type).filter(has_spellings),
            from,
            to: here.logical_type.clone(),
            form: form.columns[target],
            nullable: here.nullable,
        })
    };
    columns.into_iter().zip(places).map(plan).collect()
}
