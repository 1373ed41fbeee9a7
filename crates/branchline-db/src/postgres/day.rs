//! What a business day comes to in the tables that its close counts.
//!
//! The database is asked for the rows of three days around it, and for those of the store alone where columns tell
//! them; which rows are of the day, and what their money adds up to, the core decides. Names come from the catalogue;
//! values of the settings, or of a peer, are compared as texts and never cast, so that none of them is an error.

use branchline_core::day::{BusinessDay, DayCheck, DayClose, DayTable, DayTotals, Tally};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ColumnName, LogicalType, ScopeError};
use branchline_core::value::Value;
use futures_util::StreamExt;

use super::copy::RowFields;
use super::error::table_not_syncable;
use super::ident::{list, literal};
use super::schema::Catalogue;
use super::session::Session;
use super::text::Form;

/// What the day comes to here.
///
/// # Errors
/// Where a table or column is not here, or holds money that cannot be added up.
pub(crate) async fn totals(
    session: &Session,
    catalogue: &Catalogue,
    day: &BusinessDay,
    tables: &[DayTable],
) -> Result<Vec<DayTotals>, DatabaseError> {
    let mut totals = Vec::with_capacity(tables.len());
    for table in tables {
        totals.push(count(session, catalogue, day, table).await?);
    }
    Ok(totals)
}

/// Holds what a source said of its day against what is here.
pub(crate) async fn check(
    session: &Session,
    catalogue: &Catalogue,
    close: &DayClose,
) -> Result<Vec<DayCheck>, DatabaseError> {
    let mut checks = Vec::with_capacity(close.totals.len());
    for there in &close.totals {
        let here = match count(session, catalogue, &close.day, &there.table).await {
            Ok(here) => Some(here),
            Err(
                DatabaseError::TableUnknown { .. }
                | DatabaseError::TableNotSyncable { .. }
                | DatabaseError::Scope(_),
            ) => None,
            Err(error) => return Err(error),
        };
        checks.push(DayCheck { there: there.clone(), here });
    }
    Ok(checks)
}

async fn count(
    session: &Session,
    catalogue: &Catalogue,
    day: &BusinessDay,
    wanted: &DayTable,
) -> Result<DayTotals, DatabaseError> {
    let (table, relation) = catalogue.syncable(&wanted.table)?;
    let place = |name: &ColumnName| {
        let missing = || ScopeError::ColumnMissing { table: table.name.clone(), column: name.clone() };
        // A peer that counts one that is left out here would be told what it holds.
        table.position(name).filter(|&place| !table.columns[place].omitted).ok_or_else(missing)
    };
    let ident = |place: usize| &relation.columns[place].ident;
    let date = place(&wanted.date)?;
    let read: Vec<usize> =
        std::iter::once(Ok(date)).chain(wanted.money.iter().map(place)).collect::<Result<_, _>>()?;
    let near = near(day, &ident(date).to_string(), &table.columns[date].logical_type)
        .ok_or_else(|| table_not_syncable(&table.name, format!("column {} holds no dates", wanted.date)))?;
    let mut conditions = vec![near];
    for (name, value) in &wanted.only {
        let column = ident(place(name)?);
        conditions.push(format!("{column}::pg_catalog.text OPERATOR(pg_catalog.=) {}", literal(value)));
    }
    let columns = list(read.iter().map(|&place| ident(place)));
    let sql = format!(
        "COPY (SELECT {columns} FROM {} WHERE {}) TO STDOUT",
        relation.only(),
        conditions.join(" AND ")
    );
    let types: Vec<&LogicalType> = read.iter().map(|&place| &table.columns[place].logical_type).collect();
    let mut fields = RowFields::new(types.iter().map(|logical| Form::of(logical)).collect());
    let mut tally = Tally::new(day, wanted);
    let mut rows = std::pin::pin!(session.copy_out(&sql).await?);
    while let Some(line) = rows.next().await {
        let line = line.map_err(|error| session.fault(&error))?;
        let mut values: Vec<Value<'_>> = Vec::with_capacity(types.len());
        let unreadable = || table_not_syncable(&table.name, "its texts are not UTF-8");
        fields.read(&line, &mut values).map_err(|_| unreadable())?;
        tally
            .add((&values[0], types[0]), &values[1..])
            .map_err(|error| table_not_syncable(&table.name, error))?;
    }
    Ok(tally.finish())
}

/// A condition that no row of the day fails; nothing where the column cannot hold dates.
fn near(day: &BusinessDay, column: &str, logical_type: &LogicalType) -> Option<String> {
    let cast = match logical_type {
        LogicalType::Date => "date",
        LogicalType::Timestamp => "timestamp",
        LogicalType::TimestampWithZone => "timestamptz",
        LogicalType::Text => {
            return Some(format!(
                "pg_catalog.starts_with({column}::pg_catalog.text, {})",
                literal(&day.date().to_string())
            ));
        }
        _ => return None,
    };
    let first = day.date().yesterday().ok()?;
    let last = day.date().tomorrow().and_then(|date| date.tomorrow()).ok()?;
    Some(format!("{column} >= {cast} '{first}' AND {column} < {cast} '{last}'"))
}
