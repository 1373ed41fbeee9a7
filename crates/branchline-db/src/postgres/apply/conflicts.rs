//! Conflicts on record: both images of each, before the one that loses is overruled.
//!
//! Images are the rows as they stand in backups, written here and not by the database. They are read some at a time,
//! because what is read cannot be written on the same connection meanwhile.

use branchline_core::backup::v1::RowWriter;
use branchline_core::backup::{ColumnSummary, TableSummary};
use branchline_core::ports::DatabaseError;
use branchline_core::value::Value;
use futures_util::StreamExt;

use super::facts::Subject;
use super::merge::same_key;
use super::pass::Origin;
use crate::postgres::copy::{RowFields, recycle};
use crate::postgres::ident::list;
use crate::postgres::session::Session;
use crate::postgres::text::Form;

/// Conflicts that are read in one go.
const AT_ONCE: usize = 256;

/// Fields of a line that are not columns: the row's number, its key, whether each side is there, the versions, and
/// whether the incoming row was taken.
const FIELDS: usize = 7;

const RECORD: &str = "
    INSERT INTO branchline.conflict
      (table_name, key, backup, source, taken, ours, our_version, theirs, their_version)
    SELECT $1, c.key, $2::text::uuid, $3, c.taken, c.ours, c.our_version, c.theirs, c.their_version
      FROM unnest($4::text[], $5::bool[], $6::text[], $7::text[], $8::text[], $9::text[])
        AS c (key, taken, ours, our_version, theirs, their_version)";

/// Records all conflicts of the staged tables.
pub(crate) async fn record(
    session: &Session,
    origin: &Origin,
    subjects: &[Subject<'_>],
) -> Result<(), DatabaseError> {
    for subject in subjects {
        let mut after = 0;
        loop {
            let found = subject.read(session, after).await?;
            let Some(last) = found.last else { break };
            found.write(session, origin, subject).await?;
            after = last;
        }
    }
    Ok(())
}

/// Some conflicts of one table.
#[derive(Debug, Default)]
struct Found {
    last: Option<i64>,
    keys: Vec<String>,
    taken: Vec<bool>,
    ours: Vec<Option<String>>,
    our_versions: Vec<String>,
    theirs: Vec<Option<String>>,
    their_versions: Vec<String>,
}

impl Found {
    async fn write(
        &self,
        session: &Session,
        origin: &Origin,
        subject: &Subject<'_>,
    ) -> Result<(), DatabaseError> {
        let (table, backup) = (subject.target.table.name.as_str(), origin.backup.to_string());
        let Self { keys, taken, ours, our_versions, theirs, their_versions, .. } = self;
        let source = origin.source.as_str();
        session
            .rows_kept(
                RECORD,
                &[&table, &backup, &source, keys, taken, ours, our_versions, theirs, their_versions],
            )
            .await
            .map(drop)
    }

    fn take(&mut self, values: &[Value<'_>], writer: &Writer) -> Result<(), DatabaseError> {
        let text = |place: usize| match values.get(place) {
            Some(Value::Text(text)) => text.to_string(),
            _ => String::new(),
        };
        let is = |place: usize| matches!(values.get(place), Some(Value::Boolean(true)));
        let columns = values.get(FIELDS..).unwrap_or_default();
        let (theirs, ours) = columns.split_at(columns.len() / 2);
        if let Some(Value::Integer(number)) = values.first() {
            self.last = Some(*number);
        }
        self.keys.push(text(1));
        self.theirs.push(if is(2) { Some(writer.line(theirs)?) } else { None });
        self.ours.push(if is(3) { Some(writer.line(ours)?) } else { None });
        self.their_versions.push(text(4));
        self.our_versions.push(text(5));
        self.taken.push(is(6));
        Ok(())
    }
}

/// Writes images: the columns that the backup brings, in the table's own types.
struct Writer {
    summary: TableSummary,
    columns: Vec<ColumnSummary>,
}

impl Writer {
    fn of(subject: &Subject<'_>) -> Self {
        let column = |&place: &usize| {
            let column = &subject.target.table.columns[place];
            ColumnSummary { name: column.name.clone(), logical_type: column.logical_type.clone() }
        };
        let columns = subject.target.places.iter().map(column).collect();
        Self { summary: TableSummary::of(&subject.target.table), columns }
    }

    fn forms(&self) -> Vec<Form> {
        let mut forms = vec![
            Form::Integer,
            Form::Text,
            Form::Boolean,
            Form::Boolean,
            Form::Text,
            Form::Text,
            Form::Boolean,
        ];
        for _ in 0..2 {
            forms.extend(self.columns.iter().map(|column| Form::of(&column.logical_type)));
        }
        forms
    }

    fn line(&self, values: &[Value<'_>]) -> Result<String, DatabaseError> {
        let mut writer = RowWriter::new(&self.summary.name, &self.columns);
        writer.row(values).map_err(|error| DatabaseError::Row { table: self.summary.name.clone(), error })?;
        let batch = writer.take();
        let line = batch.objects().next().unwrap_or_default();
        Ok(String::from_utf8_lossy(line).into_owned())
    }
}

impl Subject<'_> {
    async fn read(&self, session: &Session, after: i64) -> Result<Found, DatabaseError> {
        let writer = Writer::of(self);
        let mut fields = RowFields::new(writer.forms());
        let mut stream = Box::pin(session.copy_out(&self.conflicts(after)).await?);
        let mut found = Found::default();
        let mut spare: Vec<Value<'static>> = Vec::new();
        while let Some(line) = stream.next().await {
            let line = line.map_err(|error| session.fault(&error))?;
            let mut values = recycle(spare);
            fields.read(&line, &mut values).map_err(|_| DatabaseError::RowNotEncodable {
                table: self.target.table.name.clone(),
                row: "?".to_owned(),
                reason: "its text is not what PostgreSQL writes, or not UTF-8".to_owned(),
            })?;
            found.take(&values, &writer)?;
            spare = recycle(values);
        }
        Ok(found)
    }

    fn conflicts(&self, after: i64) -> String {
        let Self { target, stage, .. } = self;
        let slot = target.slot;
        let column = |alias: &str| {
            list(
                target
                    .places
                    .iter()
                    .map(|&place| format!("{alias}.{}", target.relation.columns[place].ident)),
            )
        };
        let version = |life: &str, generation: &str, time: &str| {
            format!(
                "(SELECT concat(l.server, '/', l.epoch, '/', {generation}, '@', {time})
                    FROM branchline.life AS l WHERE l.id = {life})"
            )
        };
        let own_life = "coalesce(f.own_life, f.base)";
        let own = version(own_life, "coalesce(f.own_generation, 0)", "coalesce(f.own_time, 0)");
        format!(
            "COPY (SELECT f.number, f.key, NOT f.deleted, f.present, coalesce({}, 'of a source that captures nothing'),
                          CASE WHEN f.pending_time IS NULL THEN {own} ELSE concat('here, not packed yet@', f.pending_time) END,
                          d.verdict <> 4, {}, {}
                     FROM pg_temp.branchline_fact AS f JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
                     JOIN {stage} AS s ON s.branchline_number = f.number
                     LEFT JOIN {} AS t ON {}
                    WHERE f.place = {slot} AND f.number > {after}
                      AND (d.verdict IN (3, 4) OR d.verdict = 5 AND f.present AND f.life IS NOT NULL)
                    ORDER BY f.number LIMIT {AT_ONCE}) TO STDOUT",
            version("f.life", "f.generation", "f.time"),
            column("s"),
            column("t"),
            target.relation.only(),
            same_key(target, "t", "s"),
        )
    }
}
