//! Staging: rows of the backup, read, checked against what the columns can hold, and copied.
//!
//! While the server takes in one batch the next is decoded, so that both cores work. A row that a column cannot
//! hold is refused here by table, column and number, before it is sent; what only PostgreSQL can judge (a label of
//! an enum, a date) is refused by its COPY, which names line and column too. COPY numbers lines from 1 as rows
//! are numbered, because each table is one COPY.

use std::pin::Pin;

use branchline_core::backup::v1::{Deletion, RowError, RowFault, RowMark, RowReader};
use branchline_core::backup::{ColumnSummary, RowBatch, TableSummary};
use branchline_core::ports::{DatabaseError, TableMerge};
use branchline_core::schema::{ColumnName, TableName};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::CopyInSink;

use super::column::Column;
use super::mark::{self, StagedLives};
use super::{Load, Target, native};
use crate::postgres::copy::RowLines;
use crate::postgres::error::copy_place;
use crate::postgres::ident::list;
use crate::postgres::session::Session;

/// Queries over one table each that are asked as one.
pub(crate) const QUERIES_AT_ONCE: usize = 100;

/// Makes the temporary tables. A staged column has the type of its column here, and no rule.
pub(crate) async fn create(session: &Session, tables: &[Target]) -> Result<(), DatabaseError> {
    let mut sql = String::new();
    for target in tables {
        let Load::Staged(name) = &target.load else { continue };
        let column = |&place: &usize| {
            let detail = &target.relation.columns[place];
            // Keys that the table takes for one are one here too.
            let collation =
                detail.lax_collation.as_ref().map_or_else(String::new, |name| format!(" COLLATE {name}"));
            let text = if native::is_proved(target, place) {
                format!(", {} text", native::text_column(place))
            } else {
                String::new()
            };
            format!("{} {}{collation}{text}", detail.ident, detail.stage_type)
        };
        let columns = target.places.iter().map(column);
        let leaving = target.tells_leaving().then(|| format!("{} bool", mark::LEAVING));
        let columns = list(columns.chain(target.marked.then(|| mark::COLUMNS.to_owned())).chain(leaving));
        sql.push_str(&format!("CREATE TABLE {name} ({columns}) ON COMMIT DROP;\n"));
    }
    session.run(&sql.replace("CREATE TABLE pg_temp.", "CREATE TEMPORARY TABLE ")).await
}

/// Tells the planner how much is staged. Tables that were filled directly are left to autovacuum: an index build
/// has counted their rows already.
pub(crate) async fn analyse(session: &Session, tables: &[Target]) -> Result<(), DatabaseError> {
    let staged = tables.iter().filter_map(Target::staged);
    let sql: String = staged.map(|name| format!("ANALYZE {name};\n")).collect();
    session.run(&sql).await
}

/// Refuses where two staged rows have one key: of two such rows one would vanish in the merge. They may differ in
/// writing (`1.0` and `1.00`, or letters that a collation does not tell apart).
pub(crate) async fn check_keys(session: &Session, tables: &[Target]) -> Result<(), DatabaseError> {
    let part = |(place, target): (usize, &Target)| {
        let stage = target.staged()?;
        let detail = |&place: &usize| &target.relation.columns[place];
        let key = target.table.key.iter().map(detail);
        let compared = list(key.clone().map(|detail| format!("{}{}", detail.ident, detail.cast())));
        let shown = list(key.map(|detail| format!("min({}::text)", detail.ident)));
        Some(format!(
            "(SELECT {place}, concat_ws(', ', {shown}) FROM {stage} GROUP BY {compared} HAVING count(*) > 1 LIMIT 1)"
        ))
    };
    let parts: Vec<String> = tables.iter().enumerate().filter_map(part).collect();
    for some in parts.chunks(QUERIES_AT_ONCE) {
        if let Some(row) = session.rows(&some.join(" UNION ALL "), &[]).await?.first() {
            let place = usize::try_from(row.get::<_, i32>(0)).unwrap_or_default();
            return Err(DatabaseError::Unique {
                table: tables[place].table.name.to_string(),
                constraint: "the primary key".to_owned(),
                detail: format!("two rows of the backup have the key ({})", row.get::<_, String>(1)),
            });
        }
    }
    Ok(())
}

/// What is being copied, and what was.
#[derive(Debug)]
pub(crate) struct Staging {
    columns: Vec<TableColumns>,
    copied: Vec<u64>,
    open: Option<OpenCopy>,
    lives: StagedLives,
}

/// The columns of one table as the backup brings them.
#[derive(Debug)]
struct TableColumns {
    table: TableName,
    summaries: Vec<ColumnSummary>,
    /// The places of the key's columns.
    key: Vec<usize>,
    /// Whether any row says more of itself than its values.
    has_marks: bool,
}

impl TableColumns {
    fn of(summary: &TableSummary) -> Self {
        let place = |name: &ColumnName| summary.columns.iter().position(|column| column.name == *name);
        Self {
            table: summary.name.clone(),
            summaries: summary.columns.clone(),
            key: summary.key.iter().filter_map(place).collect(),
            has_marks: summary.versioned || summary.deletions > 0,
        }
    }
}

/// A COPY that is under way.
struct OpenCopy {
    place: usize,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    reader: RowReader,
    lines: RowLines,
    rows: u64,
}

impl std::fmt::Debug for OpenCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenCopy")
            .field("place", &self.place)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Staging {
    pub(crate) fn of<'a>(tables: impl IntoIterator<Item = &'a TableSummary>) -> Self {
        let columns: Vec<_> = tables.into_iter().map(TableColumns::of).collect();
        Self { copied: vec![0; columns.len()], columns, open: None, lives: StagedLives::default() }
    }

    /// The lives that staged versions name.
    pub(crate) fn lives(&self) -> &StagedLives {
        &self.lives
    }

    /// What is known of a table before it is merged: rows that went in directly are inserted, staged ones are
    /// unchanged until the merge says otherwise.
    pub(crate) fn counted(&self, place: usize, target: &Target) -> TableMerge {
        match target.load {
            Load::Direct => TableMerge { inserted: self.copied[place], ..TableMerge::default() },
            Load::Staged(_) => TableMerge { unchanged: self.copied[place], ..TableMerge::default() },
        }
    }

    /// Takes rows of the table at `place`.
    pub(crate) async fn take(
        &mut self,
        session: &Session,
        tables: &[Target],
        place: usize,
        batch: &RowBatch,
    ) -> Result<(), DatabaseError> {
        if self.open.as_ref().is_none_or(|open| open.place != place) {
            self.finish(session, tables).await?;
            self.open = Some(self.start(session, tables, place).await?);
        }
        let (Some(open), Some(target)) = (&mut self.open, tables.get(place)) else { return Ok(()) };
        let chunk = open.encode(target, &self.columns[place], &mut self.lives, batch)?;
        if open.sink.send(Bytes::from(chunk)).await.is_err() {
            // Why the server hung up is what it answers at the end.
            self.finish(session, tables).await?;
        }
        Ok(())
    }

    async fn start(
        &self,
        session: &Session,
        tables: &[Target],
        place: usize,
    ) -> Result<OpenCopy, DatabaseError> {
        let out_of_order = || DatabaseError::Failed {
            sqlstate: "08P01".to_owned(),
            message: format!("rows came for table {place} of the backup, which is done or not there"),
        };
        let target = tables.get(place).filter(|_| self.copied[place] == 0).ok_or_else(out_of_order)?;
        let column = |&place: &usize| {
            let ident = &target.relation.columns[place].ident;
            if native::is_proved(target, place) {
                format!("{ident}, {}", native::text_column(place))
            } else {
                ident.to_string()
            }
        };
        let marks = (target.marked && target.load != Load::Direct).then(|| mark::NAMES.to_owned());
        let leaving = target.tells_leaving().then(|| mark::LEAVING.to_owned());
        let columns = list(target.places.iter().map(column).chain(marks).chain(leaving));
        let into = target.filled();
        if target.load == Load::Direct {
            session.as_shop_in_utc().await?;
        }
        let sink = session.copy_in(&format!("COPY {into} ({columns}) FROM STDIN")).await?;
        let TableColumns { table, summaries, .. } = &self.columns[place];
        let (reader, lines) = (RowReader::new(table, summaries), RowLines::default());
        Ok(OpenCopy { place, sink: Box::pin(sink), reader, lines, rows: 0 })
    }

    /// Ends the COPY that is under way, if one is.
    pub(crate) async fn finish(&mut self, session: &Session, tables: &[Target]) -> Result<(), DatabaseError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        match open.sink.as_mut().finish().await {
            Ok(rows) => {
                self.copied[open.place] = rows;
                if tables[open.place].load == Load::Direct { session.as_ourselves().await } else { Ok(()) }
            }
            Err(error) => Err(copy_fault(session, &tables[open.place], &error)),
        }
    }
}

impl OpenCopy {
    /// The batch's rows as COPY takes them.
    fn encode(
        &mut self,
        target: &Target,
        columns: &TableColumns,
        lives: &mut StagedLives,
        batch: &RowBatch,
    ) -> Result<Vec<u8>, DatabaseError> {
        let mut out = Vec::with_capacity(batch.lines.len());
        let mut values = Vec::with_capacity(columns.summaries.len());
        for object in batch.objects() {
            self.rows += 1;
            let read = if columns.has_marks {
                self.reader.read_marked(object, self.rows, &columns.key, &mut values)
            } else {
                self.reader.read(object, self.rows, &mut values).map(|()| RowMark::default())
            };
            let mark = read.map_err(|error| DatabaseError::Row { table: columns.table.clone(), error })?;
            if mark.deletion == Some(Deletion::OutOfScope) && !target.came.filtered {
                // It must not be taken for a deletion, which would be passed on.
                return Err(malformed(columns, self.rows));
            }
            let mut fault = None;
            let mut first = true;
            for (number, value) in values.drain(..).enumerate() {
                let written = Column {
                    target,
                    table: &columns.table,
                    summary: &columns.summaries[number],
                    number,
                    row: self.rows,
                    lines: &mut self.lines,
                }
                .write(value, first, &mut fault, &mut out)?;
                first &= !written;
            }
            if target.marked && target.load != Load::Direct {
                mark::write(&mark, self.rows, lives, &mut out);
                let written = mark::write_fault(fault.as_ref(), object, &mut self.lines, &mut out);
                written.map_err(|_| malformed(columns, self.rows))?;
                if target.tells_leaving() {
                    mark::write_leaving(&mark, &mut out);
                }
            }
            RowLines::end(&mut out);
        }
        Ok(out)
    }
}

fn malformed(columns: &TableColumns, row: u64) -> DatabaseError {
    let error = RowError { row, column: None, fault: RowFault::Malformed };
    DatabaseError::Row { table: columns.table.clone(), error }
}

/// What a COPY that failed means: a value of a row, or whatever else the server says.
fn copy_fault(session: &Session, target: &Target, error: &tokio_postgres::Error) -> DatabaseError {
    let Some(report) = error.as_db_error().filter(|report| report.code().code().starts_with("22")) else {
        return session.fault(error);
    };
    let relation = match &target.load {
        Load::Staged(name) => name.trim_start_matches("pg_temp."),
        Load::Direct => target.relation.name.name().as_str(),
    };
    let columns: Vec<_> =
        target.places.iter().map(|&place| target.relation.columns[place].ident.as_str()).collect();
    let (row, column) = copy_place(report, relation, &columns).unwrap_or((0, None));
    DatabaseError::ValueNotHeld {
        table: target.table.name.clone(),
        column: column.unwrap_or("?").to_owned(),
        row,
        reason: report.message().to_owned(),
    }
}
