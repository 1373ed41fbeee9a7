//! Proof of equality: rows are read by COPY and hashed here, so that every engine hashes the same.

use branchline_core::compare::{BucketHash, RowDigest, RowHasher, TableHashes};
use branchline_core::ports::{DatabaseError, HashSpec};
use branchline_core::value::Value;
use futures_util::StreamExt;

use super::copy::{RowFields, recycle};
use super::error::table_not_syncable;
use super::ident::list;
use super::row_scope::{self, ScopeSql};
use super::schema::Catalogue;
use super::session::Session;
use super::snapshot::copy_statement;
use super::text::Form;

/// Counts and hashes all rows of a table.
pub(crate) async fn hashes(
    session: &Session,
    catalogue: &Catalogue,
    spec: &HashSpec,
) -> Result<TableHashes, DatabaseError> {
    let mut buckets = vec![BucketHash::default(); usize::try_from(spec.buckets).unwrap_or(0)];
    let mut rows = 0;
    each_row(session, catalogue, spec, |hasher, values| {
        let hashed = hasher.row(values);
        rows += 1;
        if let Some(bucket) = usize::try_from(hashed.bucket).ok().and_then(|place| buckets.get_mut(place)) {
            bucket.add(hashed.digest);
        }
    })
    .await?;
    Ok(TableHashes { rows, buckets })
}

/// The keys and digests of the rows in some buckets, sorted by key.
pub(crate) async fn row_digests(
    session: &Session,
    catalogue: &Catalogue,
    spec: &HashSpec,
    buckets: &[u32],
) -> Result<Vec<RowDigest>, DatabaseError> {
    let wanted: std::collections::HashSet<u32> = buckets.iter().copied().collect();
    let mut digests = Vec::new();
    each_row(session, catalogue, spec, |hasher, values| {
        let hashed = hasher.row(values);
        if wanted.contains(&hashed.bucket) {
            digests.push(hasher.describe(values, hashed.digest));
        }
    })
    .await?;
    digests.sort();
    Ok(digests)
}

async fn each_row(
    session: &Session,
    catalogue: &Catalogue,
    spec: &HashSpec,
    mut take: impl FnMut(&mut RowHasher, &[Value<'_>]),
) -> Result<(), DatabaseError> {
    let (table, relation) = catalogue.syncable(&spec.table)?;
    let mut hasher = RowHasher::new(spec, table)
        .ok_or_else(|| table_not_syncable(&spec.table, "it lacks a column that is to be compared"))?;
    let places: Vec<usize> = hasher.columns().filter_map(|name| table.position(name)).collect();
    let forms = places.iter().map(|&place| Form::of(&table.columns[place].logical_type)).collect();
    let columns = list(places.iter().map(|&place| &relation.columns[place].ident));
    let generated = places.iter().any(|&place| table.columns[place].generated);
    let mut fields = RowFields::new(forms);
    let scope = ScopeSql { catalogue, scope: &spec.scope };
    let is_whole = spec.scope.of(&spec.table).is_none();
    let statement = if is_whole {
        copy_statement(relation, &columns, generated)
    } else {
        let names = scope.with_parents(&spec.table);
        scope.check(session, &names.iter().collect::<Vec<_>>()).await?;
        session.as_shop_in_utc().await?;
        format!("COPY (SELECT {columns} FROM {}) TO STDOUT", scope.rows_in_scope(&spec.table)?)
    };
    let mut stream = Box::pin(session.copy_out(&statement).await?);
    let mut spare: Vec<Value<'static>> = Vec::with_capacity(places.len());
    while let Some(line) = stream.next().await {
        let line = line.map_err(|error| match is_whole {
            true => session.fault(&error),
            false => row_scope::fault(session, &spec.table, &error),
        })?;
        let mut values = recycle(spare);
        fields.read(&line, &mut values).map_err(|_| {
            let reason = "its text is not what PostgreSQL writes, or not UTF-8".to_owned();
            DatabaseError::RowNotEncodable { table: spec.table.clone(), row: "?".to_owned(), reason }
        })?;
        take(&mut hasher, &values);
        spare = recycle(values);
    }
    if is_whole { Ok(()) } else { session.as_ourselves().await }
}
