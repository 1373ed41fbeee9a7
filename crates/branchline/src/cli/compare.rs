//! `compare`: proves that this database and a peer's are equal, or names what differs. Exit code 3: they differ.

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::text;
use crate::api::v1::{Answer, Command, CompareAnswer, TableComparison};

/// The databases differ.
const DIFFERS: u8 = 3;
/// Rows of a table that are named in text; JSON has all that were named.
const ROWS_SHOWN: usize = 10;

/// What `compare` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The peer
    #[arg(value_name = "PEER")]
    peer: String,
    /// Only this table; may be repeated
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<String>,
    /// Once both sides have synced: rows here that differ or are missing there count as changed now, so that the next
    /// sync sends them, and they win
    #[arg(long)]
    repair: bool,
}

pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Done, Failure> {
    let Arguments { peer, tables, repair } = arguments;
    let Reply { answer, data, .. } = session.read(Command::Compare { peer, tables, repair }).await?;
    let Answer::Compare(compared) = answer else { return Err(Failure::unexpected_answer()) };
    session.output.end_progress();
    let mut done = Done::new(data, described(&compared));
    done.exit_code = if compared.equal { 0 } else { DIFFERS };
    Ok(done.next(match compared.equal {
        true => "branchline status".to_owned(),
        false if compared.counted_as_changed > 0 => format!("branchline sync {}", compared.peer),
        false => format!("branchline sync {} --dry-run   # what would bring it in step", compared.peer),
    }))
}

fn described(compared: &CompareAnswer) -> String {
    let rows = compared.tables.iter().map(|table| {
        let verdict = if table.equal { "equal" } else { "DIFFERENT" };
        let counts = [table.missing_here, table.missing_there, table.different].map(text::number);
        let [here, there, different] = counts;
        [
            table.table.clone(),
            text::number(table.rows_here),
            text::number(table.rows_there),
            here,
            there,
            different,
            verdict.to_owned(),
        ]
    });
    let head = ["table", "rows here", "there", "missing here", "missing there", "different", ""];
    let mut said = text::table(head, rows);
    for table in compared.tables.iter().filter(|table| !table.named.is_empty()) {
        said.push_str(&named(table));
    }
    for table in compared.tables.iter().filter(|table| !table.columns_not_shared.is_empty()) {
        let columns = table.columns_not_shared.join(", ");
        said.push_str(&format!("\n! {}: only one side has {columns}; not compared\n", table.table));
    }
    for table in &compared.not_shared {
        let why = table.obstacle.as_deref().unwrap_or("only one side has it");
        said.push_str(&format!("\n! {}: not compared: {why}\n", table.table));
    }
    let took = text::millis(compared.millis);
    said.push_str(&match compared.equal {
        true => format!(
            "\nEqual: {} here and at {}, compared in {took}.\n",
            text::count(compared.rows_here, "row", "rows"),
            compared.peer
        ),
        false => format!(
            "\nDIFFERENT: {} missing here, {} missing at {}, {} different; compared in {took}.\n",
            text::number(compared.missing_here),
            text::number(compared.missing_there),
            compared.peer,
            text::number(compared.different)
        ),
    });
    if compared.counted_as_changed > 0 {
        let rows = text::count(compared.counted_as_changed, "row here counts", "rows here count");
        said.push_str(&format!("{rows} as changed from now on: the next sync sends them, and they win.\n"));
    }
    said
}

fn named(table: &TableComparison) -> String {
    let mut said = format!("\n{}\n", table.table);
    for row in table.named.iter().take(ROWS_SHOWN) {
        said.push_str(&format!("  {:<14} {}\n", row.how.replace('_', " "), row.key));
    }
    let differing = table.missing_here + table.missing_there + table.different;
    let rest = differing.saturating_sub(table.named.len().min(ROWS_SHOWN) as u64);
    if rest > 0 {
        said.push_str(&format!("  and {} more\n", text::number(rest)));
    }
    said
}
