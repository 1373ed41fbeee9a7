//! What a column here can hold: each value of the backup is checked before it is sent.
//!
//! A value that the column would refuse without naming it well, or would store as another, is refused here by table,
//! column and row; where rows may be held, it is a fault of its row.

use std::borrow::Cow;

use branchline_core::backup::ColumnSummary;
use branchline_core::code::Code;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{LogicalType, TableName};
use branchline_core::value::{Value, ValueKind, convert, text};

use super::mark::Fault;
use super::{Target, native};
use crate::postgres::copy::RowLines;
use crate::postgres::schema::{Limit, Relation};
use crate::postgres::text::{Form, array};

/// One column of a row on its way into the stage.
pub(crate) struct Column<'a> {
    pub(crate) target: &'a Target,
    /// The table, and the column as the backup describes it.
    pub(crate) table: &'a TableName,
    pub(crate) summary: &'a ColumnSummary,
    /// Its place among the backup's columns.
    pub(crate) number: usize,
    /// The row's number.
    pub(crate) row: u64,
    pub(crate) lines: &'a mut RowLines,
}

impl Column<'_> {
    /// Writes a value; answers whether the stage has a column for it. Where rows may be held, one that cannot go in is a
    /// fault of its row, and NULL stands in its place.
    pub(crate) fn write(
        self,
        value: Value<'_>,
        first: bool,
        fault: &mut Option<Fault>,
        out: &mut Vec<u8>,
    ) -> Result<bool, DatabaseError> {
        let Self { target, table, summary, number, row, lines } = self;
        let Some(place) = target.brought[number] else {
            if !matches!(value, Value::Null) && !target.table.omits(&summary.name) {
                let reason = format!("it has a value in column {}, which is missing here", summary.name);
                fault.get_or_insert(Fault { code: Code::COLUMN_UNKNOWN, reason });
            }
            return Ok(false);
        };
        let proved = native::is_proved(target, place);
        let held = Held { relation: &target.relation, place, to: &target.table.columns[place].logical_type };
        let start = out.len();
        let written = held.check(value, &summary.logical_type).and_then(|value| {
            let mut written = lines.field(&value, first, out);
            if proved {
                written = written.and_then(|()| lines.field(&value, false, out));
            }
            written.map_err(|_| "PostgreSQL has no array of empty arrays".to_owned())
        });
        let Err(reason) = written else { return Ok(true) };
        if !target.holds || target.table.key.contains(&place) {
            let (table, column) = (table.clone(), summary.name.to_string());
            return Err(DatabaseError::ValueNotHeld { table, column, row, reason });
        }
        let reason = format!("column {} cannot hold its value: {reason}", summary.name);
        fault.get_or_insert(Fault { code: Code::VALUE_NOT_HELD, reason });
        out.truncate(start);
        out.extend_from_slice(if first { b"\\N" } else { b"\t\\N" });
        if proved {
            out.extend_from_slice(b"\t\\N");
        }
        Ok(true)
    }
}

/// What a column here can hold.
struct Held<'t> {
    relation: &'t Relation,
    place: usize,
    to: &'t LogicalType,
}

impl Held<'_> {
    /// The value as the column takes it, or why it does not.
    fn check<'a>(&self, value: Value<'a>, from: &LogicalType) -> Result<Value<'a>, String> {
        if matches!(value, Value::Null) {
            return Ok(value);
        }
        let value = convert(value, from, self.to).map_err(|not_held| not_held.to_string())?;
        self.check_kind(&value)?;
        let value = canonical(value, self.to)
            .ok_or_else(|| format!("it is not written as a value of type {}", self.to))?;
        check_value(&value, self.relation.columns[self.place].limit, self.to)?;
        Ok(value)
    }

    fn check_kind(&self, value: &Value<'_>) -> Result<(), String> {
        let (kind, natural) = (value.kind(), self.to.natural_kind());
        let array_text = |value: &Value<'_>| matches!(value, Value::Text(text) if text.starts_with('['));
        if kind == natural || (natural == ValueKind::Array && array_text(value)) {
            return Ok(());
        }
        Err(format!("a value of kind {kind:?} is not a value of type {}", self.to).to_lowercase())
    }
}

/// The value as it is carried between servers; nothing where its text is not in that form. PostgreSQL would guess
/// (`tomorrow`, `01-02-03`, a time without its offset), and SQLite declares types without checking their texts.
fn canonical<'a>(value: Value<'a>, to: &LogicalType) -> Option<Value<'a>> {
    use LogicalType as T;
    match (value, to) {
        (
            Value::Text(text),
            T::Decimal(_)
            | T::Uuid
            | T::Date
            | T::Time
            | T::TimeWithZone
            | T::Timestamp
            | T::TimestampWithZone
            | T::Interval,
        ) => {
            let changed = match text::canonical(&text, to)? {
                Cow::Borrowed(_) => None,
                Cow::Owned(changed) => Some(changed),
            };
            Some(Value::Text(changed.map_or(text, Cow::Owned)))
        }
        (Value::Array(items), to) => {
            let element = match to {
                T::Array(element) => element,
                other => other,
            };
            let items = items.into_iter().map(|item| canonical(item, element));
            items.collect::<Option<_>>().map(Value::Array)
        }
        (value, _) => Some(value),
    }
}

/// Finds what PostgreSQL would refuse without naming it well, or store as another value.
fn check_value(value: &Value<'_>, limit: Limit, to: &LogicalType) -> Result<(), String> {
    match value {
        Value::Integer(number) => {
            let fits = match to {
                LogicalType::Int16 => i16::try_from(*number).is_ok(),
                LogicalType::Int32 => i32::try_from(*number).is_ok(),
                _ => true,
            };
            if fits { Ok(()) } else { Err(format!("it is out of the range of {to}")) }
        }
        Value::Text(text) | Value::Json(text) => {
            if memchr::memchr(0, text.as_bytes()).is_some() {
                return Err("PostgreSQL has no text with a NUL character".to_owned());
            }
            check_limit(text, limit, to)
        }
        Value::Array(items) => {
            let element = match to {
                LogicalType::Array(element) => element,
                other => other,
            };
            items.iter().try_for_each(|item| check_value(item, limit, element))
        }
        _ => Ok(()),
    }
}

/// An array with bounds of its own is carried as PostgreSQL writes it, `[0:1]={1.10,2.20}`: each element counts.
fn check_limit(text: &str, limit: Limit, to: &LogicalType) -> Result<(), String> {
    let changes = |text: &str| limit.changes(text).map_or(Ok(()), Err);
    let LogicalType::Array(element) = to else { return changes(text) };
    let Some((_, elements)) = text.split_once('=') else { return changes(text) };
    let elements = array::read(elements, &Form::of(element)).map_err(|_| "it is not an array".to_owned())?;
    check_value(&elements, limit, element)
}
