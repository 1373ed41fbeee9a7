//! Held rows that a full backup lacks: where its source knew them, it deleted them, and what is held from now on is the
//! deletion.
//!
//! It must not simply be dropped: what is here of the row, if anything is, has yet to go.

use branchline_core::backup::v1::{Deletion, RowMark, RowReader, RowWriter, UnfitReader};
use branchline_core::backup::{ColumnSummary, TableSummary};
use branchline_core::id::ServerId;
use branchline_core::merge::{Absence, LocalRow, decide_absent};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ColumnName, LogicalType, TableName};
use branchline_core::value::Value;
use branchline_core::version::Version;
use tokio_postgres::Row;

use super::record::Columns;
use crate::postgres::apply::facts::Subject;
use crate::postgres::apply::standing::Standing;
use crate::postgres::capture::version_of;
use crate::postgres::ledger::{broken, knowledge};
use crate::postgres::session::Session;

const LACKED: &str = "
    SELECT h.life, h.generation, h.time, h.was_life, h.was_generation, h.key, h.line, h.columns, h.types, h.key_columns,
           h.known_lives, h.known_generations
      FROM branchline.held AS h
     WHERE h.table_name = $1 AND NOT h.unfit
       AND NOT EXISTS (SELECT FROM pg_temp.branchline_fact AS f WHERE f.place = $2 AND f.key = h.key)";
/// Rows of a table that does not fit, as the same source described it.
const LACKED_UNFIT: &str = "
    SELECT h.life, h.generation, h.time, h.was_life, h.was_generation, h.key, h.line, h.columns, h.types, h.key_columns,
           h.known_lives, h.known_generations
      FROM branchline.held AS h
     WHERE h.table_name = $1 AND h.unfit AND h.source = $3 AND h.columns = $4 AND h.types = $5 AND h.key_columns = $6
       AND NOT EXISTS (SELECT FROM pg_temp.branchline_unfit AS u WHERE u.place = $2 AND u.key = h.key)";
const TURN: &str = "
    UPDATE branchline.held SET line = $3, known_lives = $4, known_generations = $5
     WHERE table_name = $1 AND unfit = $6 AND md5(key) = md5($2) AND key = $2";

/// Turns those into deletions.
pub(crate) async fn turn_into_deletions(
    session: &Session,
    standing: &Standing,
    subjects: &[Subject<'_>],
) -> Result<(), DatabaseError> {
    let whole: Vec<_> = subjects.iter().filter(|subject| subject.watched.is_whole).collect();
    if whole.is_empty() || !super::beside::any_held(session).await? {
        return Ok(());
    }
    for subject in whole {
        let table = subject.target.table.name.as_str();
        let slot = i32::try_from(subject.target.slot).unwrap_or(i32::MAX);
        for row in session.rows_kept(LACKED, &[&table, &slot]).await? {
            turn(session, standing, &subject.target.table.name, &row, false).await?;
        }
    }
    Ok(())
}

/// The same for a table that does not fit. What is held of it and came from another source, or with other columns, may
/// write the same key in another way, and stays as it is.
pub(crate) async fn turn_unfit_into_deletions(
    session: &Session,
    standing: &Standing,
    source: &ServerId,
    place: i32,
    summary: &TableSummary,
) -> Result<(), DatabaseError> {
    let Columns { names, types, key } = Columns::of(summary);
    let (table, source) = (summary.name.as_str(), source.as_str());
    let mut reader = UnfitReader::new(summary);
    for row in session.rows(LACKED_UNFIT, &[&table, &place, &source, &names, &types, &key]).await? {
        let is_as_it_came = reader
            .read(row.get::<_, &str>(6).as_bytes(), 1)
            .is_ok_and(|read| read.key == row.get::<_, &str>(5));
        if is_as_it_came {
            turn(session, standing, &summary.name, &row, true).await?;
        }
    }
    Ok(())
}

/// Turns one into its deletion, where its source knew it.
async fn turn(
    session: &Session,
    standing: &Standing,
    table: &TableName,
    row: &Row,
    unfit: bool,
) -> Result<(), DatabaseError> {
    let version = version_of(row, 0, &standing.lives)?.ok_or_else(|| broken("a row without a version"))?;
    let local = LocalRow { present: true, version: Some(version.clone()), ..LocalRow::default() };
    // The base does not matter for a row that has a version.
    if decide_absent(&local, &standing.parties.own, &standing.parties) != Absence::Remove {
        return Ok(());
    }
    let line = deletion(row, table, version)?;
    let mut theirs = knowledge::of_columns(&standing.lives, row.get(10), row.get(11))?;
    theirs.join(&standing.parties.theirs);
    let (lives, generations) = knowledge::columns(&standing.lives, &theirs)?;
    let key: String = row.get(5);
    session.rows_kept(TURN, &[&table.as_str(), &key, &line, &lives, &generations, &unfit]).await.map(drop)
}

/// The line of the deletion of a held row.
fn deletion(row: &Row, table: &TableName, version: Version) -> Result<String, DatabaseError> {
    let (names, types, key): (Vec<String>, Vec<String>, Vec<String>) = (row.get(7), row.get(8), row.get(9));
    let column = |(name, logical): (&String, String)| {
        Ok(ColumnSummary {
            name: ColumnName::new(name.as_str()).map_err(|_| broken("the name of a column"))?,
            logical_type: logical.parse::<LogicalType>().map_err(|_| broken("a logical type"))?,
        })
    };
    let columns: Vec<ColumnSummary> =
        names.iter().zip(types).map(column).collect::<Result<_, DatabaseError>>()?;
    let key: Vec<usize> = (0..names.len()).filter(|&place| key.contains(&names[place])).collect();
    let refused = |error| DatabaseError::Row { table: table.clone(), error };
    let (line, mut values) = (row.get::<_, &str>(6), Vec::new());
    RowReader::new(table, &columns).read_marked(line.as_bytes(), 1, &key, &mut values).map_err(refused)?;
    for (place, value) in values.iter_mut().enumerate() {
        if !key.contains(&place) {
            *value = Value::Null;
        }
    }
    let mark = RowMark { version: Some(version), deletion: Some(Deletion::Deleted) };
    let mut writer = RowWriter::new(table, &columns);
    writer.marked(&mark, &values).map_err(refused)?;
    let batch = writer.take();
    Ok(String::from_utf8_lossy(batch.objects().next().unwrap_or_default()).into_owned())
}
