//! What a business day comes to in the tables that its close counts.
//!
//! Dates are texts here, and begin with the date in most shops' files; a moment in UTC may begin with that of the day
//! before or after. So the rows of those three dates are read, and for the store alone where columns tell them; which
//! rows are of the day, and what their money adds up to, the core decides.

use branchline_core::day::{BusinessDay, DayCheck, DayClose, DayTable, DayTotals, Tally};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ColumnName, ScopeError};
use branchline_core::value::Value;
use branchline_core::value::text::canonical;
use rusqlite::{Connection, params_from_iter};

use super::error::failed;
use super::ident::Ident;
use super::schema::Catalogue;
use super::stored::Stored;

/// What the day comes to here.
///
/// # Errors
/// Where a table or column is not here, or holds money that cannot be added up.
pub(super) fn totals(
    connection: &Connection,
    catalogue: &Catalogue,
    day: &BusinessDay,
    tables: &[DayTable],
) -> Result<Vec<DayTotals>, DatabaseError> {
    tables.iter().map(|table| count(connection, catalogue, day, table)).collect()
}

/// Holds what a source said of its day against what is here.
pub(super) fn check(
    connection: &Connection,
    catalogue: &Catalogue,
    close: &DayClose,
) -> Result<Vec<DayCheck>, DatabaseError> {
    let check = |there: &DayTotals| {
        let here = match count(connection, catalogue, &close.day, &there.table) {
            Ok(here) => Some(here),
            Err(
                DatabaseError::TableUnknown { .. }
                | DatabaseError::TableNotSyncable { .. }
                | DatabaseError::Scope(_),
            ) => None,
            Err(error) => return Err(error),
        };
        Ok(DayCheck { there: there.clone(), here })
    };
    close.totals.iter().map(check).collect()
}

fn count(
    connection: &Connection,
    catalogue: &Catalogue,
    day: &BusinessDay,
    wanted: &DayTable,
) -> Result<DayTotals, DatabaseError> {
    let unknown = || DatabaseError::TableUnknown { table: wanted.table.clone() };
    let (table, form) = catalogue.find(&wanted.table).ok_or_else(unknown)?;
    let refused = |reason: String| DatabaseError::TableNotSyncable { table: table.name.clone(), reason };
    if let Some(exclusion) = &table.excluded {
        return Err(refused(exclusion.to_string()));
    }
    let place = |name: &ColumnName| {
        let missing = || ScopeError::ColumnMissing { table: table.name.clone(), column: name.clone() };
        // A peer that counts one that is left out here would be told what it holds.
        table.position(name).filter(|&place| !table.columns[place].omitted).ok_or_else(missing)
    };
    let read: Vec<usize> = std::iter::once(place(&wanted.date))
        .chain(wanted.money.iter().map(place))
        .collect::<Result<_, _>>()?;
    let ident = |place: usize| Ident(table.columns[place].name.as_str()).to_string();
    let mut parameters = dates_around(day).ok_or_else(|| refused("there is no such day".to_owned()))?;
    let date = ident(read[0]);
    let mut sql = format!(
        "SELECT {} FROM main.{} WHERE substr({date}, 1, 10) IN (?1, ?2, ?3)",
        read.iter().map(|&place| ident(place)).collect::<Vec<_>>().join(", "),
        Ident(table.name.as_str()),
    );
    for (name, value) in &wanted.only {
        parameters.push(value.clone());
        sql.push_str(&format!(" AND CAST({} AS TEXT) = ?{}", ident(place(name)?), parameters.len()));
    }
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let mut rows = statement.query(params_from_iter(parameters)).map_err(failed)?;
    let mut tally = Tally::new(day, wanted);
    while let Some(row) = rows.next().map_err(failed)? {
        let mut values = Vec::with_capacity(read.len());
        for (number, &place) in read.iter().enumerate() {
            let stored = Stored::of(row.get_ref(number).map_err(failed)?);
            let stored = stored.map_err(|_| refused("its texts are not UTF-8".to_owned()))?;
            values.push(stored.into_value(&table.columns[place].logical_type, form.columns[place]));
        }
        let logical = &table.columns[read[0]].logical_type;
        // As it would travel: SQLite's own functions write a space where others write a T.
        let date = match &values[0] {
            Value::Text(text) => Value::Text(canonical(text, logical).unwrap_or_else(|| text.clone())),
            other => other.clone(),
        };
        tally.add((&date, logical), &values[1..]).map_err(|error| refused(error.to_string()))?;
    }
    Ok(tally.finish())
}

fn dates_around(day: &BusinessDay) -> Option<Vec<String>> {
    let (before, after) = (day.date().yesterday().ok()?, day.date().tomorrow().ok()?);
    Some([before, day.date(), after].map(|date| date.to_string()).into())
}
