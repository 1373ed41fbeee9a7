//! Held rows that a full backup lacks: where its source knew them, it deleted them, and what is held from now on is the
//! deletion.
//!
//! It must not simply be dropped: what is here of the row, if anything is, has yet to go.

use branchline_core::backup::ColumnSummary;
use branchline_core::backup::v1::{Deletion, RowMark, RowReader, RowWriter};
use branchline_core::merge::{Absence, LocalRow, decide_absent};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ColumnName, LogicalType, TableName};
use branchline_core::value::Value;
use branchline_core::version::Version;
use tokio_postgres::Row;

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
const TURN: &str = "
    UPDATE branchline.held SET line = $3, known_lives = $4, known_generations = $5
     WHERE table_name = $1 AND NOT unfit AND md5(key) = md5($2) AND key = $2";

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
            let version =
                version_of(&row, 0, &standing.lives)?.ok_or_else(|| broken("a row without a version"))?;
            let local = LocalRow { present: true, version: Some(version.clone()), ..LocalRow::default() };
            if decide_absent(&local, &subject.watched.base, &standing.parties) != Absence::Remove {
                continue;
            }
            let line = deletion(&row, &subject.target.table.name, version)?;
            let mut theirs = knowledge::of_columns(&standing.lives, row.get(10), row.get(11))?;
            theirs.join(&standing.parties.theirs);
            let (lives, generations) = knowledge::columns(&standing.lives, &theirs)?;
            let key: String = row.get(5);
            session.rows_kept(TURN, &[&table, &key, &line, &lives, &generations]).await?;
        }
    }
    Ok(())
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
