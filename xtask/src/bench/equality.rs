//! The proof that two databases hold the same rows: of each table the number of rows and the sum of a 64-bit hash of
//! each row's text, computed by SQL on both sides. It shares no code with what it checks.

use crate::failure::Failure;
use crate::postgres::{Cluster, Session};

/// Fails unless the tables of the default schema are equal; gives the number of rows in all of them.
pub(super) fn prove(cluster: &Cluster, left: &str, right: &str) -> Result<u64, Failure> {
    let (mut left_session, mut right_session) = (cluster.session(left)?, cluster.session(right)?);
    // Both at once: they are about as long.
    ask(&mut left_session)?;
    ask(&mut right_session)?;
    let (ours, theirs) = (left_session.receive()?, right_session.receive()?);
    if ours != theirs {
        let lines = ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs);
        let differing: Vec<String> =
            lines.map(|(ours, theirs)| format!("{ours}, and not {theirs}")).collect();
        return Err(Failure::new(format!(
            "{left} and {right} are not equal (table|rows|hash):\n{}",
            differing.join("\n")
        )));
    }
    let rows = |line: &str| line.split('|').nth(1).and_then(|rows| rows.parse::<u64>().ok());
    let rows: Option<u64> = ours.lines().map(rows).sum();
    rows.filter(|rows| *rows > 0)
        .ok_or_else(|| Failure::new(format!("{left} has no rows to compare: {ours}")))
}

fn ask(session: &mut Session) -> Result<(), Failure> {
    let tables = session.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1",
    )?;
    let of_each = tables.lines().map(|table| {
        format!(
            "SELECT '{table}', count(*), coalesce(sum(hashtextextended(row::text, 0)), 0) FROM public.\"{table}\" row"
        )
    });
    // Several processes may work on it, each answering when it can.
    session.send(&format!("{} ORDER BY 1", of_each.collect::<Vec<_>>().join(" UNION ALL ")))
}
