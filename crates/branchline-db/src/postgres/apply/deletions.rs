//! Deletions that a backup brings: their keys leave the stage for a list of each table, and their rows go last.
//!
//! Children go before parents, group by group, so that a row that hangs on a deleted one is gone before it where the
//! backup deletes both, and has moved to another parent where the backup says so.

use branchline_core::ports::{DatabaseError, TableMerge};

use super::Target;
use super::merge::{Member, same_key};
use super::unique_swap::Leaving;
use crate::postgres::ident::list;
use crate::postgres::session::Session;

/// The temporary table with the keys of the rows of a table that go.
pub(crate) fn gone_table(slot: usize) -> String {
    format!("pg_temp.branchline_gone_{slot}")
}

/// Makes the lists, moves the deletions that are staged into them, and answers which rows of each table go.
pub(crate) async fn list_staged(
    session: &Session,
    tables: &[Target],
    is_whole: impl Fn(usize) -> bool,
) -> Result<Vec<Leaving>, DatabaseError> {
    let (mut sql, mut leaving) = (String::new(), Vec::new());
    for (place, target) in tables.iter().enumerate() {
        let Some(stage) =
            target.staged().filter(|_| target.marked && (target.deletions > 0 || is_whole(place)))
        else {
            leaving.push(Leaving::Nobody);
            continue;
        };
        sql.push_str(&format!(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT * FROM {stage} WHERE branchline_deleted;\n",
            gone_table(target.slot).trim_start_matches("pg_temp."),
        ));
        if target.deletions > 0 {
            sql.push_str(&format!("DELETE FROM {stage} WHERE branchline_deleted;\n"));
        }
        leaving.push(Leaving::Listed(gone_table(target.slot)));
    }
    session.run(&sql).await?;
    Ok(leaving)
}

/// Counts what goes as what it is: the staged deletions are none of the rows that the merge is about to find unchanged.
pub(crate) async fn count(
    session: &Session,
    leaving: &[Leaving],
    tables: &[Target],
    counts: &mut [TableMerge],
) -> Result<Vec<u64>, DatabaseError> {
    let with_deletions = |place: &usize| tables[*place].deletions > 0;
    let listed: Vec<usize> = (0..leaving.len())
        .filter(|&place| leaving[place] != Leaving::Nobody)
        .filter(with_deletions)
        .collect();
    let mut staged = vec![0; leaving.len()];
    if listed.is_empty() {
        return Ok(staged);
    }
    let part = |place: &usize| {
        let gone = gone_table(tables[*place].slot);
        format!("(SELECT count(*) FROM {gone} WHERE branchline_number IS NOT NULL)")
    };
    let row = session.row(&format!("SELECT {}", list(listed.iter().map(part))), &[]).await?;
    for (number, &place) in listed.iter().enumerate() {
        staged[place] = row.get::<_, i64>(number).unsigned_abs();
        counts[place].unchanged = counts[place].unchanged.saturating_sub(staged[place]);
    }
    Ok(staged)
}

/// Removes the listed rows of one group. `staged` says how many of a table's list the backup itself brought: those
/// that were gone already are unchanged.
pub(crate) async fn remove(
    session: &Session,
    members: &[Member<'_>],
    leaving: &[Leaving],
    staged: &[u64],
    counts: &mut [TableMerge],
) -> Result<(), DatabaseError> {
    let mut listed = Vec::new();
    for (place, target, _) in members {
        if let Leaving::Listed(gone) = &leaving[*place] {
            listed.push((*place, *target, gone.as_str()));
        }
    }
    let members = listed;
    if members.is_empty() {
        return Ok(());
    }
    let part = |(place, target, gone): &(usize, &Target, &str)| {
        format!(
            "d{place} AS (DELETE FROM {} AS t USING {gone} AS g WHERE {} RETURNING 1)",
            target.relation.only(),
            same_key(target, "t", "g"),
        )
    };
    let counted = members.iter().map(|(place, ..)| format!("(SELECT pg_catalog.count(*) FROM d{place})"));
    let sql = format!("WITH {} SELECT {}", list(members.iter().map(part)), list(counted));
    session.as_shop().await?;
    let row = session.row(&sql, &[]).await?;
    session.as_ourselves().await?;
    for (number, (place, ..)) in members.iter().enumerate() {
        let deleted = row.get::<_, i64>(number).unsigned_abs();
        counts[*place].deleted += deleted;
        counts[*place].unchanged += staged[*place].saturating_sub(deleted);
    }
    Ok(())
}
