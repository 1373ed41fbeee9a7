//! Skew: what becomes of a table of a backup that is described otherwise here.
//!
//! Shops are upgraded one after the other, so for a while the same table has other columns on the two sides of a pair.
//!
//! | difference | what becomes of the table's rows |
//! |---|---|
//! | the target has a column more, which may be NULL or has a default | all go in; what is there of the column stays |
//! | the target lacks a column | those with NULL in it go in, the others are held |
//! | the target needs a column more | all are held |
//! | a column has a type here that would change values, or is computed here | all are held |
//! | the keys differ | all are held |
//! | the settings here leave a column out | all go in, whatever comes for it; what is there of the column stays |
//! | the settings here leave a column out that is needed and has no default | all are held |
//! | the table is unknown here, or left out | all are held |
//!
//! This is for backups whose rows have versions, for a row is held under its version. Others are refused as a whole.
//! Which of the rows of a table that goes in are held is seen value by value when they are staged, not here.

use crate::code::{Code, Explain};
use crate::schema::{ColumnName, LogicalType, Schema, ScopeError, Table, TableName, fit};
use crate::value::can_convert;

/// Why all rows of a table are held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// There is no such table.
    #[error("there is no table {table} here")]
    TableUnknown {
        /// The table.
        table: TableName,
    },
    /// The table takes no part here.
    #[error("table {table} cannot be part of a backup here: {reason}")]
    TableNotSyncable {
        /// The table.
        table: TableName,
        /// Why.
        reason: String,
    },
    /// Its columns or its key differ; there is at least one difference.
    #[error("{}", joined(.0))]
    Differs(Vec<ScopeError>),
}

impl Misfit {
    /// Why all rows of a table that comes with these columns (with their types) and that key are held in a database of
    /// that schema; nothing where they go in, but for those that have a value in a column which is missing here.
    #[must_use]
    pub fn of(
        schema: &Schema,
        name: &TableName,
        columns: &[(ColumnName, LogicalType)],
        key: &[ColumnName],
    ) -> Option<Self> {
        let Some(table) = schema.table(name) else {
            return Some(Self::TableUnknown { table: name.clone() });
        };
        if let Some(exclusion) = &table.excluded {
            return Some(Self::TableNotSyncable { table: name.clone(), reason: exclusion.to_string() });
        }
        let here: Vec<_> = columns.iter().filter(|(column, _)| is_written(table, column)).cloned().collect();
        fit(table, &here, key).err()?;
        Some(Self::Differs(differences(table, columns, key)))
    }
}

impl Explain for Misfit {
    fn code(&self) -> Code {
        match self {
            Self::TableUnknown { .. } => Code::TABLE_UNKNOWN,
            Self::TableNotSyncable { .. } => Code::TABLE_NOT_SYNCABLE,
            // A column that is missing would alone hold no row that has no value in it.
            Self::Differs(differences) => {
                let alone = |error: &&ScopeError| !matches!(error, ScopeError::ColumnMissing { .. });
                differences.iter().find(alone).map_or(Code::COLUMN_UNKNOWN, ScopeError::code)
            }
        }
    }

    fn hint(&self) -> String {
        self.code().entry().hint.to_owned()
    }
}

/// All that differs, and not the first alone: a column that was renamed is one that is missing and one that is needed.
fn differences(table: &Table, columns: &[(ColumnName, LogicalType)], key: &[ColumnName]) -> Vec<ScopeError> {
    let name = || table.name.clone();
    let mut differences = Vec::new();
    for (column, from) in columns.iter().filter(|(column, _)| !table.omits(column)) {
        let column = || column.clone();
        match table.position(&column()).map(|place| &table.columns[place]) {
            None => differences.push(ScopeError::ColumnMissing { table: name(), column: column() }),
            Some(here) if here.generated => {
                differences.push(ScopeError::ColumnGenerated { table: name(), column: column() });
            }
            Some(here) if !can_convert(from, &here.logical_type) => {
                let (from, to) = (from.clone(), here.native_type.clone());
                differences.push(ScopeError::TypeNotHeld { table: name(), column: column(), from, to });
            }
            Some(_) => {}
        }
    }
    for here in &table.columns {
        if here.omitted || columns.iter().all(|(column, _)| *column != here.name) {
            differences.extend(ScopeError::of_needed(table, here));
        }
    }
    differences.extend(ScopeError::of_keys(table, key));
    differences
}

/// Whether values of a column that comes are written here.
fn is_written(table: &Table, column: &ColumnName) -> bool {
    table.position(column).is_some_and(|place| !table.columns[place].omitted)
}

fn joined(differences: &[ScopeError]) -> String {
    differences.iter().map(ScopeError::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Column, Exclusion};

    fn name(text: &str) -> ColumnName {
        ColumnName::new(text).unwrap()
    }

    fn column(text: &str, logical_type: LogicalType, has_default: bool, generated: bool) -> Column {
        let native_type = logical_type.to_string();
        let (nullable, omitted) = (has_default, false);
        Column { name: name(text), logical_type, native_type, nullable, has_default, generated, omitted }
    }

    /// `id`, `code` (needed), `note` (may be NULL), `twice` (computed).
    fn products() -> Table {
        Table {
            name: TableName::new("products").unwrap(),
            columns: vec![
                column("id", LogicalType::Int64, false, false),
                column("code", LogicalType::Text, false, false),
                column("note", LogicalType::Text, true, false),
                column("twice", LogicalType::Int64, true, true),
            ],
            key: vec![0],
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            rows_estimated: 0,
            excluded: None,
        }
    }

    fn misfit(columns: &[(&str, LogicalType)], key: &[&str]) -> Option<Misfit> {
        let columns: Vec<_> = columns.iter().map(|(text, of)| (name(text), of.clone())).collect();
        let key: Vec<_> = key.iter().map(|text| name(text)).collect();
        Misfit::of(&Schema::new([products()]), &TableName::new("products").unwrap(), &columns, &key)
    }

    fn told(columns: &[(&str, LogicalType)], key: &[&str]) -> (Code, String) {
        let misfit = misfit(columns, key).unwrap();
        (misfit.code(), misfit.to_string())
    }

    const ID: (&str, LogicalType) = ("id", LogicalType::Int64);
    const CODE: (&str, LogicalType) = ("code", LogicalType::Text);

    #[test]
    fn columns_that_only_one_side_has_are_tolerated() {
        assert_eq!(misfit(&[ID, CODE], &["id"]), None);
        assert_eq!(misfit(&[ID, CODE, ("shelf", LogicalType::Text)], &["id"]), None);
    }

    #[test]
    fn a_column_that_is_needed_here_holds_the_table() {
        let needed = "table products here needs column code, which the backup does not bring";
        assert_eq!(told(&[ID], &["id"]), (Code::COLUMN_UNKNOWN, needed.to_owned()));
    }

    #[test]
    fn a_renamed_column_is_told_by_both_its_names() {
        let words = "table products here has no column sku; \
                     table products here needs column code, which the backup does not bring";
        assert_eq!(
            told(&[ID, ("sku", LogicalType::Text)], &["id"]),
            (Code::COLUMN_UNKNOWN, words.to_owned())
        );
    }

    #[test]
    fn a_retyped_or_computed_column_holds_the_table_and_both_types_are_told() {
        let words = "column note of table products is text here, which cannot hold bytes without loss";
        assert_eq!(
            told(&[ID, CODE, ("note", LogicalType::Bytes), ("shelf", LogicalType::Text)], &["id"]),
            (Code::TYPE_NOT_HELD, format!("{words}; table products here has no column shelf"))
        );
        let words = "column twice of table products is generated here and cannot be written";
        assert_eq!(
            told(&[ID, CODE, ("twice", LogicalType::Int64)], &["id"]),
            (Code::TYPE_NOT_HELD, words.to_owned())
        );
    }

    #[test]
    fn another_key_holds_the_table() {
        let words = "table products has another primary key here (id) than in the backup (code)";
        assert_eq!(told(&[ID, CODE], &["code"]), (Code::KEY_DIFFERS, words.to_owned()));
        let (code, words) = told(&[("number", LogicalType::Int64), CODE], &["number"]);
        assert_eq!(code, Code::COLUMN_UNKNOWN);
        assert!(words.contains("no column number") && words.contains("primary key here (id)"), "{words}");
    }

    #[test]
    fn a_column_that_is_left_out_is_passed_over_unless_it_is_needed() {
        let table = TableName::new("products").unwrap();
        let omitting = |column: &str| {
            let schema = Schema::new([products()]).omitting(&[(table.clone(), name(column))]).unwrap();
            let came = [ID, CODE, ("note", LogicalType::Bytes)].map(|(text, of)| (name(text), of));
            Misfit::of(&schema, &table, &came, &[name("id")])
        };
        assert_eq!(omitting("note"), None);
        let needed = omitting("code").unwrap().to_string();
        assert!(needed.contains("needs column code, which the settings leave out"), "{needed}");
    }

    #[test]
    fn columns_of_a_key_and_columns_that_are_not_there_cannot_be_left_out() {
        let table = TableName::new("products").unwrap();
        let refused = |column: &str| {
            Schema::new([products()]).omitting(&[(table.clone(), name(column))]).unwrap_err().to_string()
        };
        assert_eq!(
            refused("id"),
            "the settings leave out column id of table products, which its primary key needs"
        );
        assert_eq!(
            refused("nite"),
            "the settings leave out column nite of table products, which is not there"
        );
        let elsewhere = (TableName::new("clients").unwrap(), name("note"));
        assert!(Schema::new([products()]).omitting(&[elsewhere]).is_ok());
    }

    #[test]
    fn tables_that_are_unknown_or_left_out_hold_all_their_rows() {
        let table = TableName::new("products").unwrap();
        let unknown = Misfit::of(&Schema::default(), &table, &[], &[]).unwrap();
        assert_eq!(
            (unknown.code(), unknown.to_string()),
            (Code::TABLE_UNKNOWN, "there is no table products here".to_owned())
        );
        let left_out = Schema::new([Table { excluded: Some(Exclusion::ByChoice), ..products() }]);
        let left_out = Misfit::of(&left_out, &table, &[], &[]).unwrap();
        assert_eq!(left_out.code(), Code::TABLE_NOT_SYNCABLE);
    }
}
