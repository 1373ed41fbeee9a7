//! Merging: one statement for each group of tables that reach each other by foreign keys.
//!
//! The statement has, for each table, a part that updates the rows that are here and differ, and a part that
//! inserts those that are missing; updates come first, so that a unique value they give up can be taken. The
//! parts see one moment, and PostgreSQL checks foreign keys that are not deferred when the whole statement is
//! done: self-references and cycles need no second pass. Rows that will change are locked beforehand in the order
//! of their keys, where they are not too many.

use branchline_core::ports::{DatabaseError, TableMerge};
use branchline_core::schema::TableGroup;

use super::Target;
use super::triggers::Triggers;
use crate::postgres::ident::{Ident, list};
use crate::postgres::schema::{Identity, Sameness};
use crate::postgres::session::Session;

/// Staged rows up to which the rows here are locked in key order; a larger load has been told to come at night.
const LOCKED_IN_ORDER_MAX: u64 = 100_000;

/// A table of a group, with its place in the request.
pub(crate) type Member<'a> = (usize, &'a Target, &'a str);

/// The staged tables of a group.
pub(crate) fn members<'a>(tables: &'a [Target], group: &TableGroup) -> Vec<Member<'a>> {
    let member = |(place, target): (usize, &'a Target)| {
        let stage = target.staged().filter(|_| group.tables.contains(&target.table.name))?;
        Some((place, target, stage))
    };
    tables.iter().enumerate().filter_map(member).collect()
}

/// Brings the staged rows of a group in.
pub(crate) async fn group(
    session: &Session,
    members: &[Member<'_>],
    triggers: &Triggers,
    counts: &mut [TableMerge],
) -> Result<(), DatabaseError> {
    let members: Vec<_> = members.iter().filter(|(place, ..)| counts[*place].unchanged > 0).collect();
    if members.is_empty() {
        return Ok(());
    }
    let mut awaited = Vec::with_capacity(members.len());
    for (place, target, stage) in &members {
        check_identities(session, target, stage).await?;
        if counts[*place].unchanged <= LOCKED_IN_ORDER_MAX {
            lock_rows(session, target, stage).await?;
        }
        awaited.push(triggers.awaited(session, target, stage).await?);
    }
    let parts = members.iter().map(|(place, target, stage)| {
        let update = update(target, stage).unwrap_or_else(|| "SELECT WHERE false".to_owned());
        format!("u{place} AS ({update}), i{place} AS ({})", insert(target, stage))
    });
    let counted = members.iter().map(|(place, ..)| {
        format!("(SELECT pg_catalog.count(*) FROM u{place}), (SELECT pg_catalog.count(*) FROM i{place})")
    });
    let sql = format!("WITH {} SELECT {}", list(parts), list(counted));
    session.as_shop().await?;
    let row = session.row(&sql, &[]).await?;
    session.as_ourselves().await?;
    for (number, (place, target, stage)) in members.iter().enumerate() {
        let count = |column: usize| row.get::<_, i64>(column).unsigned_abs();
        let (updated, inserted) = (count(number * 2), count(number * 2 + 1));
        triggers.check(session, (target, stage), awaited[number], updated).await?;
        let merged = &mut counts[*place];
        merged.updated += updated;
        merged.inserted += inserted;
        merged.unchanged = merged.unchanged.saturating_sub(updated + inserted);
    }
    Ok(())
}

/// Brings in those staged rows of one table that have these numbers.
pub(crate) async fn some(
    session: &Session,
    (_, target, stage): &Member<'_>,
    first: i64,
    last: i64,
) -> Result<(), DatabaseError> {
    let some = format!("(SELECT * FROM {stage} WHERE branchline_number BETWEEN {first} AND {last})");
    let update = update(target, &some).unwrap_or_else(|| "SELECT WHERE false".to_owned());
    let sql = format!("WITH u AS ({update}), i AS ({}) SELECT FROM u, i", insert(target, &some));
    session.as_shop().await?;
    session.run(&sql).await?;
    session.as_ourselves().await
}

/// `t` is the table, `s` its staged rows; nothing where no column but the key travels.
fn update(target: &Target, stage: &str) -> Option<String> {
    let places = settable(target);
    if places.is_empty() {
        return None;
    }
    let ident = |place: &usize| &target.relation.columns[*place].ident;
    let set = list(places.iter().map(|place| format!("{0} = s.{0}", ident(place))));
    let (only, key, differs) = (target.relation.only(), same_key(target, "t", "s"), differs(target, &places));
    Some(format!("UPDATE {only} AS t SET {set} FROM {stage} AS s WHERE {key} AND ({differs}) RETURNING 1"))
}

fn insert(target: &Target, stage: &str) -> String {
    let ident = |place: &usize| &target.relation.columns[*place].ident;
    let columns = list(target.places.iter().map(ident));
    let values = list(target.places.iter().map(|place| format!("s.{}", ident(place))));
    format!(
        "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {stage} AS s
          WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {}) RETURNING 1",
        target.relation.name,
        target.relation.only(),
        same_key(target, "t", "s"),
    )
}

/// The columns that an update sets: all that travel but the key, whose values are equal, unless its type calls
/// some values equal that are not the same, and but those that only the database may number.
pub(crate) fn settable(target: &Target) -> Vec<usize> {
    let settable = |place: &&usize| {
        let detail = &target.relation.columns[**place];
        let lax_key = detail.sameness != Sameness::Equal && !detail.key_by_text;
        detail.identity != Identity::Always && (!target.table.key.contains(place) || lax_key)
    };
    target.places.iter().filter(settable).copied().collect()
}

/// Whether the keys of two aliases are equal.
pub(crate) fn same_key(target: &Target, a: &str, b: &str) -> String {
    let part = |place: &usize| {
        let detail = &target.relation.columns[*place];
        let cast = detail.cast();
        format!("{a}.{0}{cast} OPERATOR(pg_catalog.=) {b}.{0}{cast}", detail.ident)
    };
    target.table.key.iter().map(part).collect::<Vec<_>>().join(" AND ")
}

/// Whether any of these columns differs between `t` and `s`. Not IS DISTINCT FROM, which looks its `=` up along the
/// search path.
pub(crate) fn differs(target: &Target, places: &[usize]) -> String {
    let part = |place: &usize| {
        let detail = &target.relation.columns[*place];
        let cast = match detail.sameness {
            Sameness::Equal => detail.cast(),
            Sameness::Collated => " COLLATE pg_catalog.\"C\"",
            Sameness::Text => "::pg_catalog.text",
        };
        format!(
            "(t.{0}{cast} OPERATOR(pg_catalog.=) s.{0}{cast}) IS NOT TRUE AND NOT (t.{0} IS NULL AND s.{0} IS NULL)",
            detail.ident
        )
    };
    places.iter().map(part).collect::<Vec<_>>().join(" OR ")
}

/// Locks the rows that will change in the order of their keys: two servers that apply at once then wait for each
/// other and never deadlock.
async fn lock_rows(session: &Session, target: &Target, stage: &str) -> Result<(), DatabaseError> {
    let places = settable(target);
    if places.is_empty() {
        return Ok(());
    }
    let key =
        list(target.table.key.iter().map(|&place| format!("t.{}", target.relation.columns[place].ident)));
    let sql = format!(
        "SELECT count(*) FROM (
           SELECT FROM {} AS t JOIN {stage} AS s ON {} WHERE {} ORDER BY {key} FOR NO KEY UPDATE OF t) AS locked",
        target.relation.only(),
        same_key(target, "t", "s"),
        differs(target, &places),
    );
    session.rows(&sql, &[]).await.map(drop)
}

/// A column that is GENERATED ALWAYS AS IDENTITY takes a value with its row and never another one later.
async fn check_identities(session: &Session, target: &Target, stage: &str) -> Result<(), DatabaseError> {
    let fixed = |place: &&usize| {
        target.relation.columns[**place].identity == Identity::Always && !target.table.key.contains(place)
    };
    for place in target.places.iter().filter(fixed) {
        let sql = format!(
            "SELECT s.number FROM (SELECT *, row_number() OVER (ORDER BY ctid) AS number FROM {stage}) AS s
               JOIN {} AS t ON {} WHERE {} ORDER BY s.number LIMIT 1",
            target.relation.only(),
            same_key(target, "t", "s"),
            differs(target, &[*place]),
        );
        if let Some(row) = session.rows(&sql, &[]).await?.first() {
            let ident: &Ident = &target.relation.columns[*place].ident;
            return Err(DatabaseError::ValueNotHeld {
                table: target.table.name.clone(),
                column: ident.as_str().to_owned(),
                row: row.get::<_, i64>(0).unsigned_abs(),
                reason: "the row is here with another value, and the column is GENERATED ALWAYS AS IDENTITY"
                    .to_owned(),
            });
        }
    }
    Ok(())
}
