//! The catalogue: every table of every schema but the system's and our own, as the core describes tables, and
//! beside each what only PostgreSQL needs to know of it.
//!
//! A partitioned table is one table; its partitions are not listed. A table goes by its bare name in the default
//! schema (the first of the role's own search path, most often `public`), else by `schema.table`. Where two would
//! have one name, neither can sync. What cannot sync is listed with its reason, the GRANT where one would help.

mod columns;
mod keys;
mod limit;
mod relations;
mod types;

pub(crate) use columns::{ColumnDetail, Identity, Sameness};
pub(crate) use limit::Limit;

use std::collections::{BTreeMap, HashMap};

use branchline_core::limits::TABLE_COLUMNS_MAX;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{Exclusion, Schema, Table, TableName};

use super::error::Names;
use super::ident::Qualified;
use super::session::Session;
use crate::Omitted;
use columns::Columns;
use keys::{ForeignKeyRow, Keys};
use relations::RelationRow;
use types::Types;

/// What the catalogue says.
#[derive(Debug)]
pub(crate) struct Catalogue {
    schema: Schema,
    relations: BTreeMap<TableName, Relation>,
}

/// What only PostgreSQL needs to know of a table.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) name: Qualified,
    /// Whether its rows are in partitions.
    pub(crate) partitioned: bool,
    /// For each column of the table, in its order.
    pub(crate) columns: Vec<ColumnDetail>,
    /// What our role may do with it.
    pub(crate) rights: Rights,
}

/// What our role may do with a table.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "four independent rights, as the database has them")]
pub(crate) struct Rights {
    pub(crate) owner: bool,
    pub(crate) insert: bool,
    pub(crate) update: bool,
    pub(crate) delete: bool,
}

impl Catalogue {
    /// Reads it, without the columns that the settings leave out.
    pub(crate) async fn read(session: &Session, omitted: &[Omitted]) -> Result<Self, DatabaseError> {
        let relations = relations::read(session).await?;
        let types = types::read(session).await?;
        let mut columns = columns::read(session).await?;
        let mut keys = keys::read(session).await?;
        let wire = wire_names(&relations, session.names());
        let mut tables = Vec::new();
        let mut details = BTreeMap::new();
        for row in relations {
            let Some((name, ambiguous)) = wire.get(&row.oid).cloned() else {
                tracing::warn!(relation = ?row.name.name().as_str(), "a table's name cannot be carried; the table is left out");
                continue;
            };
            let mut table = describe(&row, name.clone(), columns.take(row.oid), &mut keys, &types, &wire);
            if ambiguous {
                table.0.excluded = Some(Exclusion::AmbiguousName);
            }
            details.entry(name).or_insert(table.1);
            tables.push(table.0);
        }
        Ok(Self { schema: Schema::new(tables).omitting(omitted)?, relations: details })
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The description of a table and its details, where it can sync.
    pub(crate) fn syncable(&self, name: &TableName) -> Result<(&Table, &Relation), DatabaseError> {
        let unknown = || DatabaseError::TableUnknown { table: name.clone() };
        let table = self.schema.table(name).ok_or_else(unknown)?;
        if let Some(reason) = &table.excluded {
            return Err(super::error::table_not_syncable(name, reason));
        }
        Ok((table, self.relations.get(name).ok_or_else(unknown)?))
    }

    /// What only PostgreSQL needs to know of a table.
    pub(crate) fn relation(&self, name: &TableName) -> Option<&Relation> {
        self.relations.get(name)
    }

    /// All relations, by their names in backups.
    pub(crate) fn relations(&self) -> impl Iterator<Item = (&TableName, &Relation)> {
        self.relations.iter()
    }
}

impl Relation {
    /// The relation as it stands in FROM, UPDATE and DELETE: without the rows of tables that inherit from it,
    /// which are listed by themselves; with those of its partitions, which are not.
    pub(crate) fn only(&self) -> String {
        if self.partitioned { self.name.to_string() } else { format!("ONLY {}", self.name) }
    }
}

/// The name in a backup of each relation, and whether another has the same.
fn wire_names(relations: &[RelationRow], names: &Names) -> HashMap<u32, (TableName, bool)> {
    let mut count: HashMap<String, usize> = HashMap::new();
    let wire = |row: &RelationRow| names.wire(row.name.schema().as_str(), row.name.name().as_str());
    for row in relations {
        *count.entry(wire(row)).or_default() += 1;
    }
    relations
        .iter()
        .filter_map(|row| {
            let text = wire(row);
            let ambiguous = count[&text] > 1;
            Some((row.oid, (TableName::new(text).ok()?, ambiguous)))
        })
        .collect()
}

fn describe(
    row: &RelationRow,
    name: TableName,
    columns: Columns,
    keys: &mut Keys,
    types: &Types,
    wire: &HashMap<u32, (TableName, bool)>,
) -> (Table, Relation) {
    let (described, mut excluded) = columns.describe(types);
    let (described, details): (Vec<_>, Vec<_>) = described.into_iter().unzip();
    let place = |number: &i16| details.iter().position(|detail: &ColumnDetail| detail.number == *number);
    let places = |numbers: &[i16]| numbers.iter().map(place).collect::<Option<Vec<_>>>();
    let indexes = keys.unique.remove(&row.oid).unwrap_or_default();
    let key = indexes
        .iter()
        .find(|index| index.primary)
        .and_then(|index| places(&index.columns))
        .unwrap_or_default();
    let unique = |index: &keys::UniqueRow| {
        let columns = places(&index.columns)?;
        Some(branchline_core::schema::UniqueKey { name: index.name.clone(), columns })
    };
    let foreign = |key: &ForeignKeyRow| {
        let (target, _) = wire.get(&key.target)?.clone();
        let target_columns =
            key.target_columns.iter().map(|name| branchline_core::schema::ColumnName::new(name.as_str()));
        Some(branchline_core::schema::ForeignKey {
            name: key.name.clone(),
            columns: places(&key.columns)?,
            target,
            target_columns: target_columns.collect::<Result<_, _>>().ok()?,
            deferrable: key.deferrable,
            cascades: key.cascades,
        })
    };
    if details.len() > TABLE_COLUMNS_MAX {
        excluded = Some(Exclusion::TooManyColumns { columns: details.len() });
    }
    let excluded = row
        .excluded(columns_readable(&details))
        .or(excluded)
        .or(key.is_empty().then_some(Exclusion::NoPrimaryKey));
    let table = Table {
        name,
        columns: described,
        key,
        unique_keys: indexes.iter().filter(|index| !index.primary).filter_map(unique).collect(),
        foreign_keys: keys.foreign.remove(&row.oid).unwrap_or_default().iter().filter_map(foreign).collect(),
        rows_estimated: row.rows_estimated,
        excluded,
    };
    let relation = Relation {
        oid: row.oid,
        name: row.name.clone(),
        partitioned: row.kind == 'p',
        columns: details,
        rights: row.rights,
    };
    (table, relation)
}

fn columns_readable(details: &[ColumnDetail]) -> bool {
    details.iter().all(|detail| detail.readable)
}
