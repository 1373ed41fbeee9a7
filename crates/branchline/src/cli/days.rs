//! `days`: which business days are complete here, and what is missing from the others.

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::text;
use crate::api::v1::{Answer, ClosedDay, Command, DayTableAnswer};

/// What `days` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this day, and which peers have not closed it
    #[arg(long, value_name = "DATE")]
    day: Option<String>,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.read(Command::Days { day: arguments.day }).await?;
    let Answer::Days(answer) = answer else { return Err(Failure::unexpected_answer()) };
    let mut said: Vec<String> = Vec::new();
    if answer.days.is_empty() {
        said.push("No day was closed.".to_owned());
    } else {
        let rows = answer.days.iter().map(|day| {
            let verdict = if day.complete { "complete" } else { "NOT complete" };
            [day.date.clone(), day.store.clone(), day.at.clone(), verdict.to_owned(), counted(day)]
        });
        said.push(text::table(["day", "store", "counted by", "", "what it came to"], rows));
    }
    said.extend(answer.not_closed.iter().map(|peer| format!("{peer} has not closed this day.")));
    let next = "branchline sync --type daily_transactions";
    Ok(Done::new(data, said.join("\n")).next(next))
}

fn counted(day: &ClosedDay) -> String {
    day.tables.iter().map(table).collect::<Vec<_>>().join("; ")
}

fn table(table: &DayTableAnswer) -> String {
    let money = |money: &crate::api::v1::DaySumAnswer| match &money.here {
        Some(here) if *here == money.store => format!(", {} {here}", money.column),
        Some(here) => format!(", {} {here} of {}", money.column, money.store),
        None => format!(", {} ? of {}", money.column, money.store),
    };
    let rows = match table.rows_here {
        Some(here) if here == table.rows_store => text::count(here, "row", "rows"),
        Some(here) => format!("{here} of {} rows", table.rows_store),
        None => format!("? of {} rows", table.rows_store),
    };
    let sums: String = table.money.iter().map(money).collect();
    format!("{} {rows}{sums}", table.table)
}
