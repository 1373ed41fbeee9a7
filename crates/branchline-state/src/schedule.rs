//! The table `schedule`: of each entry up to when its times are served, how its last run ended, and whom that still owes.
//!
//! The entries themselves are in the settings. A row whose entry is no longer there is removed by the node.

use branchline_core::code::Code;
use branchline_core::ports::StateError;
use branchline_core::schedule::{RunOutcome, ScheduleName, ScheduleRecord, ScheduleRun};
use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};

use crate::table::{self, Fields, InTable};

const TABLE: table::Table = "schedule";

const PUT: &str = "
    INSERT INTO schedule (name, definition, served_until, due_at, started_at, ended_at, outcome, error_code, remark,
                          owed)
    VALUES (:name, :definition, :served_until, :due_at, :started_at, :ended_at, :outcome, :error_code, :remark, :owed)
    ON CONFLICT (name) DO UPDATE SET
        definition = excluded.definition, served_until = excluded.served_until, due_at = excluded.due_at,
        started_at = excluded.started_at, ended_at = excluded.ended_at, outcome = excluded.outcome,
        error_code = excluded.error_code, remark = excluded.remark, owed = excluded.owed";
const REMOVE: &str = "DELETE FROM schedule WHERE name = ?1";
const ALL: &str = "SELECT * FROM schedule ORDER BY name";

/// Puts what is remembered of an entry, replacing what was.
pub(crate) fn put(connection: &Connection, record: &ScheduleRecord) -> Result<(), StateError> {
    let last = record.last.as_ref();
    let remark = last.and_then(|run| run.remark.as_ref());
    let owed: Vec<&str> = record.owed.iter().map(|peer| peer.as_str()).collect();
    let parameters = named_params! {
        ":name": record.name.as_str(),
        ":definition": record.definition,
        ":served_until": record.served_until.as_microsecond(),
        ":due_at": last.map(|run| run.due_at.as_microsecond()),
        ":started_at": last.map(|run| run.started_at.as_microsecond()),
        ":ended_at": last.map(|run| run.ended_at.as_microsecond()),
        ":outcome": last.map(|run| run.outcome.as_str()),
        ":error_code": remark.and_then(|(code, _)| *code).map(|code| code.to_string()),
        ":remark": remark.map(|(_, text)| text),
        ":owed": owed.join("\n"),
    };
    connection.execute(PUT, parameters).in_table(TABLE).map(|_| ())
}

/// Forgets an entry; one that is not there is forgotten already.
pub(crate) fn remove(connection: &Connection, name: &ScheduleName) -> Result<(), StateError> {
    connection.execute(REMOVE, params![name.as_str()]).in_table(TABLE).map(|_| ())
}

/// What is remembered of all entries, by name.
pub(crate) fn all(connection: &Connection) -> Result<Vec<ScheduleRecord>, StateError> {
    table::all(connection, TABLE, ALL, [], read)
}

fn read(fields: &Fields<'_>) -> Result<ScheduleRecord, StateError> {
    let owed: String = fields.value("owed")?;
    let owed = owed.lines().map(|line| line.parse().map_err(|error| fields.broken("owed", error)));
    Ok(ScheduleRecord {
        name: fields.parsed("name")?,
        definition: fields.value("definition")?,
        served_until: fields.time("served_until")?,
        last: fields.time_or_none("due_at")?.map(|due_at| read_run(fields, due_at)).transpose()?,
        owed: owed.collect::<Result<_, _>>()?,
    })
}

fn read_run(fields: &Fields<'_>, due_at: Timestamp) -> Result<ScheduleRun, StateError> {
    let code: Option<String> = fields.value("error_code")?;
    // A code of another version, which this one does not know, becomes the one for whatever has no code.
    let code = code.map(|code| Code::parse(&code).unwrap_or(Code::INTERNAL));
    let remark: Option<String> = fields.value("remark")?;
    Ok(ScheduleRun {
        due_at,
        started_at: fields.time("started_at")?,
        ended_at: fields.time("ended_at")?,
        outcome: fields.choice("outcome", &RunOutcome::ALL, RunOutcome::as_str)?,
        remark: remark.map(|text| (code, text)),
    })
}
