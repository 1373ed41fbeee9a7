//! `tables`: which tables can sync and why the others cannot, which are captured, and who does not get them whole.

use branchline_core::code::Code;

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::text;
use crate::api::v1::{Answer, Command, Problem, TableAnswer};

/// What `tables` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Show this table's columns
    #[arg(value_name = "TABLE")]
    table: Option<String>,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.read(Command::Tables).await?;
    let Answer::Tables(tables) = answer else { return Err(Failure::unexpected_answer()) };
    if let Some(name) = &arguments.table {
        let table = tables.tables.iter().find(|table| table.name == *name).ok_or_else(|| {
            Problem::new(Code::NOT_FOUND, format!("the database has no table {name}"))
                .with_help("branchline tables")
        })?;
        return Ok(Done::new(super::json::of(table), one(table)));
    }
    if tables.tables.is_empty() {
        let said = format!("The {} database has no tables yet.", tables.engine);
        return Ok(Done::new(data, said).next("branchline config show   # is this the right database?"));
    }
    let syncing = tables.tables.iter().filter(|table| table.syncs).count();
    let rows = tables.tables.iter().map(|table| {
        let verdict = match &table.reason {
            None if table.in_part_for.is_empty() => "yes".to_owned(),
            None => format!("in part for {}", table.in_part_for.join(", ")),
            Some(reason) => format!("no: {reason}"),
        };
        let captured = match (table.captured, table.compare_due, tables.attached && table.syncs) {
            (true, false, _) => "yes",
            (true, true, _) => "yes, and a compare is due",
            (false, _, true) => "not yet: branchline attach",
            (false, _, false) => "no",
        };
        [
            table.name.clone(),
            format!("~{}", text::number(table.rows_estimated)),
            table.key.join(", "),
            verdict,
            captured.to_owned(),
        ]
    });
    let listed = text::table(["table", "rows", "key", "syncs", "captured"], rows);
    let said = format!(
        "{listed}\n{} of {} can sync ({}).",
        syncing,
        text::count(tables.tables.len() as u64, "table", "tables"),
        tables.engine
    );
    let next = match tables.attached {
        true => "branchline sync --dry-run   # what would be sent",
        false => "branchline attach   # captures changes, so that only they travel",
    };
    Ok(Done::new(data, said).next(next))
}

fn one(table: &TableAnswer) -> String {
    let rows = table.columns.iter().map(|column| {
        let key = if table.key.contains(&column.name) { "key" } else { "" };
        let generated = if column.generated { "computed, not written" } else { "" };
        let omitted = if column.omitted { "stays here, and is not written" } else { "" };
        let remark = [key, generated, omitted]
            .into_iter()
            .filter(|remark| !remark.is_empty())
            .collect::<Vec<_>>()
            .join(", ");
        [column.name.clone(), column.native_type.clone(), column.logical_type.clone(), remark]
    });
    let verdict =
        table.reason.as_ref().map_or_else(|| "syncs".to_owned(), |reason| format!("does not sync: {reason}"));
    let in_part = match table.in_part_for.is_empty() || table.reason.is_some() {
        true => String::new(),
        false => format!(", and filters keep rows of it from {}", table.in_part_for.join(", ")),
    };
    format!(
        "{} {verdict}{in_part}\n\n{}",
        table.name,
        text::table(["column", "type", "travels as", ""], rows)
    )
}
