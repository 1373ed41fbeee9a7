//! Held rows in the ledger: each as a line of a backup, with the columns of that line and what its sender knew.
//!
//! A row that was held under the same key before is replaced, unless it is the later of the two. What its sender knew is kept
//! because it decides at each try whether the row overrules what is here.

use branchline_core::backup::TableSummary;
use branchline_core::code::Code;
use branchline_core::ports::{DatabaseError, HeldReport, TableMerge};
use branchline_core::schema::ColumnName;

use super::{held_table, report};
use crate::postgres::apply::facts::Subject;
use crate::postgres::apply::pass::Pass;
use crate::postgres::apply::standing::Standing;
use crate::postgres::ledger::{broken, knowledge};
use crate::postgres::table_reader::{Marks, TableReader};

/// Held rows of the table are read with what the ledger says of them; `{held}` is the temporary table.
const ABOUT: &str = "
    SELECT f.key, h.branchline_line, h.branchline_code, h.branchline_reason,
           f.life, f.generation, f.time, f.was_life, f.was_generation, f.number
      FROM {held} AS h JOIN pg_temp.branchline_fact AS f ON f.place = {slot} AND f.number = h.branchline_number
     ORDER BY h.branchline_number";

const KEEP: &str = "
    INSERT INTO branchline.held AS h
      (table_name, key, source, backup, columns, types, key_columns, known_lives, known_generations,
       stands_for_lives, stands_for_generations, life, generation, time, was_life, was_generation, line, code, reason)
    SELECT $1, r.key, $2, $3::text::uuid, $4, $5, $6, $7, $8,
           ARRAY(SELECT s.life FROM pg_temp.branchline_stands_for AS s
                  WHERE s.place = $18 AND s.number = r.number ORDER BY s.life, s.generation),
           ARRAY(SELECT s.generation FROM pg_temp.branchline_stands_for AS s
                  WHERE s.place = $18 AND s.number = r.number ORDER BY s.life, s.generation),
           r.life, r.generation, r.time, r.was_life, r.was_generation, r.line, r.code, r.reason
      FROM unnest($9::text[], $10::int4[], $11::int8[], $12::int8[], $13::int4[], $14::int8[], $15::text[],
                  $16::text[], $17::text[], $19::int8[])
        AS r (key, life, generation, time, was_life, was_generation, line, code, reason, number)
    ON CONFLICT (table_name, md5(key)) DO UPDATE
       SET source = excluded.source, backup = excluded.backup, columns = excluded.columns, types = excluded.types,
           key_columns = excluded.key_columns, known_lives = excluded.known_lives,
           known_generations = excluded.known_generations,
           stands_for_lives = h.stands_for_lives || excluded.stands_for_lives,
           stands_for_generations = h.stands_for_generations || excluded.stands_for_generations, life = excluded.life, generation = excluded.generation,
           time = excluded.time, was_life = excluded.was_life, was_generation = excluded.was_generation,
           line = excluded.line, code = excluded.code, reason = excluded.reason,
           since = CASE WHEN h.backup = excluded.backup THEN h.since ELSE excluded.since END
     WHERE h.time <= excluded.time";

const FORGET_CONFLICTS: &str = "
    DELETE FROM branchline.conflict WHERE backup = $1::text::uuid AND table_name = $2 AND key = ANY ($3) AND taken";

/// Held rows that go into the ledger with one statement.
#[derive(Debug, Default)]
struct Rows {
    keys: Vec<String>,
    numbers: Vec<i64>,
    lives: Vec<i32>,
    generations: Vec<i64>,
    times: Vec<i64>,
    was_lives: Vec<Option<i32>>,
    was_generations: Vec<Option<i64>>,
    lines: Vec<String>,
    codes: Vec<String>,
    reasons: Vec<String>,
}

/// The columns of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Columns {
    names: Vec<String>,
    types: Vec<String>,
    key: Vec<String>,
}

/// Writes the held rows of a table; answers its counts without them.
pub(crate) async fn write(
    pass: &Pass<'_>,
    standing: &Standing,
    subject: &Subject<'_>,
    mut counts: TableMerge,
    reports: &mut Vec<HeldReport>,
) -> Result<TableMerge, DatabaseError> {
    let session = pass.session;
    let slot = subject.target.slot;
    let about = ABOUT.replace("{held}", &held_table(slot)).replace("{slot}", &slot.to_string());
    let about = session.rows(&about, &[]).await?;
    let lines = written(pass, standing, subject).await?;
    // Rows that carry what has no place here keep the line that came; others are written as they are staged.
    let (mut ours, mut theirs) = (Rows::default(), Rows::default());
    for (row, line) in about.iter().zip(lines) {
        let code = row.get::<_, &str>(2);
        let named = Code::parse(code).ok_or_else(|| broken("an error code"))?;
        reports.push(report(&subject.target.table.name, row.get(0), named, row.get(3)));
        let came: Option<String> = row.get(1);
        let rows = if came.is_some() { &mut theirs } else { &mut ours };
        rows.keys.push(row.get(0));
        rows.numbers.push(row.get(9));
        rows.lives.push(row.get(4));
        rows.generations.push(row.get(5));
        rows.times.push(row.get(6));
        rows.was_lives.push(row.get(7));
        rows.was_generations.push(row.get(8));
        rows.lines.push(came.unwrap_or(line));
        rows.codes.push(code.to_owned());
        rows.reasons.push(row.get(3));
    }
    let held = about.len() as u64;
    counts.held += held;
    counts.unchanged = counts.unchanged.saturating_sub(held);
    let came = Columns::of(&subject.target.came);
    for (rows, columns) in [(ours, Columns::of(&TableSummary::of(&subject.target.table))), (theirs, came)] {
        if rows.keys.is_empty() {
            continue;
        }
        let forgotten = forget_conflicts(pass, subject, &rows.keys).await?;
        counts.conflicts = counts.conflicts.saturating_sub(forgotten);
        keep(pass, standing, subject, &rows, &columns).await?;
    }
    Ok(counts)
}

/// The lines of the held rows, in the order of their numbers.
async fn written(
    pass: &Pass<'_>,
    standing: &Standing,
    subject: &Subject<'_>,
) -> Result<Vec<String>, DatabaseError> {
    let target = subject.target;
    let column = |(place, detail): (usize, &crate::postgres::schema::ColumnDetail)| {
        if target.places.contains(&place) { format!("h.{}", detail.ident) } else { "NULL".to_owned() }
    };
    let travelling = target
        .relation
        .columns
        .iter()
        .enumerate()
        .filter(|(place, _)| !target.table.columns[*place].generated);
    let columns = crate::postgres::ident::list(travelling.map(column));
    let slot = target.slot;
    let sql = format!(
        "COPY (SELECT f.life, f.generation, f.time, f.was_life, f.was_generation, f.deleted, f.leaving, {columns}
                 FROM {} AS h JOIN pg_temp.branchline_fact AS f ON f.place = {slot} AND f.number = h.branchline_number
                ORDER BY h.branchline_number) TO STDOUT",
        held_table(slot)
    );
    let stream = pass.session.copy_out(&sql).await?;
    let mut reader = TableReader::of(stream, &target.table, Marks::Scoped(standing.lives.clone()));
    let mut lines = Vec::new();
    while let Some(batch) = reader.next_batch(pass.session).await? {
        lines.extend(batch.objects().map(|object| String::from_utf8_lossy(object).into_owned()));
    }
    Ok(lines)
}

async fn forget_conflicts(
    pass: &Pass<'_>,
    subject: &Subject<'_>,
    keys: &[String],
) -> Result<u64, DatabaseError> {
    let (backup, table) = (pass.origin.backup.to_string(), subject.target.table.name.as_str());
    pass.session
        .execute_raw(FORGET_CONFLICTS, &[&backup, &table, &keys])
        .await
        .map_err(|error| pass.session.fault(&error))
}

async fn keep(
    pass: &Pass<'_>,
    standing: &Standing,
    subject: &Subject<'_>,
    rows: &Rows,
    columns: &Columns,
) -> Result<(), DatabaseError> {
    let (known_lives, known_generations) = knowledge::columns(&standing.lives, &standing.parties.theirs)?;
    let (table, source) = (subject.target.table.name.as_str(), pass.origin.source.as_str());
    let backup = pass.origin.backup.to_string();
    let Columns { names, types, key } = columns;
    let slot = i32::try_from(subject.target.slot).unwrap_or(i32::MAX);
    let Rows { keys, numbers, lives, generations, times, was_lives, was_generations, lines, codes, reasons } =
        rows;
    pass.session
        .rows_kept(
            KEEP,
            &[
                &table,
                &source,
                &backup,
                names,
                types,
                key,
                &known_lives,
                &known_generations,
                keys,
                lives,
                generations,
                times,
                was_lives,
                was_generations,
                lines,
                codes,
                reasons,
                &slot,
                numbers,
            ],
        )
        .await
        .map(drop)
}

impl Columns {
    fn of(summary: &TableSummary) -> Self {
        Self {
            names: summary.columns.iter().map(|column| column.name.to_string()).collect(),
            types: summary.columns.iter().map(|column| column.logical_type.to_string()).collect(),
            key: summary.key.iter().map(ColumnName::to_string).collect(),
        }
    }
}
