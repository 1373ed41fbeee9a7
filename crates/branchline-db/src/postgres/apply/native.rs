//! Values of types that only PostgreSQL has, and that it may round without a word: a composite with a `numeric(5,2)`,
//! `money`, `"char"`.
//!
//! Each such column is staged twice, as what it is and as the text that came; where the two differ in writing, the
//! value is refused. Tables with one are never filled directly. Arrays of such types are not covered.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::LogicalType;

use super::Target;
use crate::postgres::session::Session;

/// Types that hold, or refuse, every value that is written for them.
const FAITHFUL: [&str; 8] = ["inet", "cidr", "macaddr", "macaddr8", "tsvector", "xml", "oid", "bit varying"];

/// Whether the values of a column are to be proved.
pub(crate) fn is_proved(target: &Target, place: usize) -> bool {
    let logical = &target.table.columns[place].logical_type;
    matches!(logical, LogicalType::Native(name) if !FAITHFUL.contains(&name.as_str()))
}

/// Whether the backup brings any such column of the table.
pub(crate) fn any_proved(target: &Target) -> bool {
    target.places.iter().any(|&place| is_proved(target, place))
}

/// The staged column that holds the text that came.
pub(crate) fn text_column(place: usize) -> String {
    format!("branchline_text_{place}")
}

/// Refuses the first value that is not held as it is written.
pub(crate) async fn check(session: &Session, tables: &[Target]) -> Result<(), DatabaseError> {
    for target in tables {
        let Some(stage) = target.staged() else { continue };
        for &place in target.places.iter().filter(|&&place| is_proved(target, place)) {
            let column = &target.relation.columns[place].ident;
            let text = text_column(place);
            let sql = format!(
                "SELECT s.number FROM (SELECT {column}::text AS held, {text} AS came, row_number() OVER (ORDER BY ctid) AS number
                                         FROM {stage}) AS s
                  WHERE s.held <> s.came ORDER BY s.number LIMIT 1"
            );
            if let Some(row) = session.rows(&sql, &[]).await?.first() {
                return Err(DatabaseError::ValueNotHeld {
                    table: target.table.name.clone(),
                    column: column.as_str().to_owned(),
                    row: row.get::<_, i64>(0).unsigned_abs(),
                    reason: format!(
                        "PostgreSQL would store another value of type {}",
                        target.table.columns[place].native_type
                    ),
                });
            }
        }
    }
    Ok(())
}
