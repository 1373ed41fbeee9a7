//! Counts, hashes and digests of a table's rows, under the types that the pair shares.
//!
//! Rows that are out of scope are not there for it. Each is one pass over the table; nothing of it is kept but 40 bytes a bucket, or the digests that were asked for.

use std::collections::{BTreeSet, HashSet};

use branchline_core::compare::{BucketHash, RowDigest, RowHasher, TableHashes};
use branchline_core::digest::Digest;
use branchline_core::ports::{DatabaseError, HashSpec};
use branchline_core::schema::{LogicalType, ScopeError, Table};
use branchline_core::value::{Value, convert};
use rusqlite::{Connection, Row};

use super::affinity::ColumnForm;
use super::error::failed;
use super::ident::Ident;
use super::schema::Catalogue;
use super::scope::ScopeSql;
use super::stored::{Stored, for_compare};

/// Counts and hashes all rows.
pub(super) fn hashes(
    connection: &Connection,
    catalogue: &Catalogue,
    spec: &HashSpec,
) -> Result<TableHashes, DatabaseError> {
    let pass = Pass::new(connection, catalogue, spec)?;
    let mut hasher = pass.hasher(spec)?;
    let buckets = usize::try_from(spec.buckets).unwrap_or(usize::MAX);
    let mut found = TableHashes { rows: 0, buckets: vec![BucketHash::default(); buckets] };
    pass.each_row(connection, |values| {
        let hashed = hasher.row(values);
        found.rows += 1;
        if let Some(bucket) =
            usize::try_from(hashed.bucket).ok().and_then(|place| found.buckets.get_mut(place))
        {
            bucket.add(hashed.digest);
        }
    })?;
    Ok(found)
}

/// Keys and digests of the rows in `buckets`, sorted by key.
pub(super) fn row_digests(
    connection: &Connection,
    catalogue: &Catalogue,
    spec: &HashSpec,
    buckets: &[u32],
) -> Result<Vec<RowDigest>, DatabaseError> {
    let pass = Pass::new(connection, catalogue, spec)?;
    let mut hasher = pass.hasher(spec)?;
    let wanted: HashSet<u32> = buckets.iter().copied().collect();
    let mut found = Vec::new();
    pass.each_row(connection, |values| {
        let hashed = hasher.row(values);
        if wanted.contains(&hashed.bucket) {
            found.push(hasher.describe(&pass.shared(values), hashed.digest));
        }
    })?;
    found.sort();
    Ok(found)
}

/// The values of the keys of some rows, as they are stored, in the key's order; `called` is how a compare calls them.
pub(super) fn stored_keys(
    connection: &Connection,
    catalogue: &Catalogue,
    spec: &HashSpec,
    called: &BTreeSet<String>,
) -> Result<Vec<Vec<rusqlite::types::Value>>, DatabaseError> {
    let pass = Pass::new(connection, catalogue, spec)?;
    let hasher = pass.hasher(spec)?;
    let place = |name| spec.columns.iter().position(|(column, _)| column == name);
    let places: Vec<usize> = spec.key.iter().filter_map(place).collect();
    let mut found = Vec::new();
    pass.each_stored(connection, |row, values| {
        if called.contains(&hasher.describe(&pass.shared(values), Digest::of(&[])).key) {
            let stored = places.iter().map(|&place| row.get(place));
            found.push(stored.collect::<Result<_, _>>().map_err(failed)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// One pass over the columns that a spec names.
struct Pass<'a> {
    table: &'a Table,
    /// In the spec's order, each with the type that the pair shares.
    columns: Vec<(&'a LogicalType, ColumnForm, &'a LogicalType)>,
    sql: String,
}

impl<'a> Pass<'a> {
    fn new(
        connection: &Connection,
        catalogue: &'a Catalogue,
        spec: &'a HashSpec,
    ) -> Result<Self, DatabaseError> {
        let unknown = || DatabaseError::TableUnknown { table: spec.table.clone() };
        let (table, form) = catalogue.find(&spec.table).ok_or_else(unknown)?;
        let mut columns = Vec::with_capacity(spec.columns.len());
        let mut names = Vec::with_capacity(spec.columns.len());
        for (name, shared) in &spec.columns {
            let missing = || ScopeError::ColumnMissing { table: spec.table.clone(), column: name.clone() };
            let place = table.position(name).ok_or_else(missing)?;
            columns.push((&table.columns[place].logical_type, form.columns[place], shared));
            names.push(format!("t.{}", Ident(name.as_str())));
        }
        let mut sql = format!("SELECT {} FROM main.{} AS t", names.join(", "), Ident(table.name.as_str()));
        if spec.scope.of(&table.name).is_some() {
            let scope = ScopeSql { catalogue, scope: &spec.scope };
            scope.check(connection)?;
            sql = format!(
                "SELECT {} FROM {} AS t WHERE {}",
                names.join(", "),
                scope.source(&table.name),
                scope.has_parents(&table.name, "t")?,
            );
        }
        Ok(Self { table, columns, sql })
    }

    fn hasher(&self, spec: &HashSpec) -> Result<RowHasher, DatabaseError> {
        RowHasher::new(spec, self.table).ok_or_else(|| DatabaseError::TableNotSyncable {
            table: self.table.name.clone(),
            reason: "the comparison that is asked for names no key".to_owned(),
        })
    }

    fn each_row(
        &self,
        connection: &Connection,
        mut take: impl FnMut(&[Value<'_>]),
    ) -> Result<(), DatabaseError> {
        self.each_stored(connection, |_, values| {
            take(values);
            Ok(())
        })
    }

    /// Each row as it is stored, and its values.
    fn each_stored(
        &self,
        connection: &Connection,
        mut take: impl FnMut(&Row<'_>, &[Value<'_>]) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let mut statement = connection.prepare(&self.sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let mut values = Vec::with_capacity(self.columns.len());
            for (place, (own, form, _)) in self.columns.iter().enumerate() {
                let stored = Stored::of(row.get_ref(place).map_err(failed)?);
                let stored = stored.map_err(|_| DatabaseError::RowNotEncodable {
                    table: self.table.name.clone(),
                    row: "?".to_owned(),
                    reason: "it holds text that is not UTF-8".to_owned(),
                })?;
                values.push(for_compare(stored.into_value(own, *form), own));
            }
            take(row, &values)?;
        }
        Ok(())
    }

    /// The values as ones of the shared types, so that both sides call a key by one name.
    fn shared<'v>(&self, values: &[Value<'v>]) -> Vec<Value<'v>> {
        let convert_one = |(value, (own, _, shared)): (&Value<'v>, &(&LogicalType, _, &LogicalType))| {
            convert(value.clone(), own, shared).unwrap_or_else(|_| value.clone())
        };
        values.iter().zip(&self.columns).map(convert_one).collect()
    }
}
