//! Unique values that change hands: row A takes the value of row B, which takes another.
//!
//! PostgreSQL checks a unique index row by row, so that even a statement that ends well would fail half way.
//! Rows whose value another row of the backup takes, and that give it up themselves (or are going away),
//! are parked before the merge: one column of the key gets NULL where it may, else a value that nobody has. Keys
//! that can be deferred need none of it. Partial indexes and indexes over expressions are not covered: a swap
//! under one of those is refused by the database, and nothing is written.

use branchline_core::ports::{DatabaseError, TableMerge};
use branchline_core::schema::{LogicalType, UniqueKey};

use super::Target;
use super::merge::{Member, differs, same_key, settable};
use crate::postgres::schema::{Identity, Limit};
use crate::postgres::session::Session;

/// Characters of a UUID: what a text column must hold to take a placeholder.
const UUID_CHARACTERS: usize = 36;

/// Columns whose new values foreign keys carry on to the rows that point at them. A key may point at a partition.
const FOLLOWED: &str = "
    SELECT DISTINCT a.attname::text
      FROM pg_constraint AS f JOIN pg_attribute AS a ON a.attrelid = f.confrelid AND a.attnum = ANY (f.confkey)
     WHERE f.contype = 'f' AND f.confupdtype IN ('c', 'n', 'd')
       AND (f.confrelid = $1 OR f.confrelid IN (SELECT relid FROM pg_partition_tree($1)))";

/// The rows of a table that go away after the merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// None does.
    Nobody,
    /// Those that the backup does not hold.
    Absent,
    /// Those whose keys are in this temporary table.
    Listed(String),
}

/// Parks what must be parked in the tables of a group.
/// A row that is as the backup has it once it is parked counts as updated: the merge will find nothing to do.
pub(crate) async fn park(
    session: &Session,
    members: &[Member<'_>],
    leaving: &[Leaving],
    counts: &mut [TableMerge],
) -> Result<(), DatabaseError> {
    for (place, target, stage) in members {
        for key in &target.table.unique_keys {
            let written = key.columns.iter().any(|place| target.places.contains(place));
            let fixed = key.columns.iter().all(|place| target.table.key.contains(place));
            if written && !fixed {
                let done = park_key(session, target, stage, key, &leaving[*place]).await?;
                counts[*place].updated += done;
                counts[*place].unchanged = counts[*place].unchanged.saturating_sub(done);
            }
        }
    }
    Ok(())
}

/// Parks the rows that one key needs parked; answers how many are done with that.
async fn park_key(
    session: &Session,
    target: &Target,
    stage: &str,
    key: &UniqueKey,
    leaving: &Leaving,
) -> Result<u64, DatabaseError> {
    let moving = moving(target, stage, key, leaving);
    let swapped = format!("WITH moving AS MATERIALIZED ({moving}) SELECT EXISTS (SELECT FROM moving)");
    if !session.row(&swapped, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let refused =
        || DatabaseError::UniqueSwap { table: target.table.name.clone(), constraint: key.name.clone() };
    // A value that stands there only meanwhile must not reach other rows: they would keep it.
    let followed: Vec<String> =
        session.rows_kept(FOLLOWED, &[&target.relation.oid]).await?.iter().map(|row| row.get(0)).collect();
    let Some((place, placeholder)) = placeholder(target, stage, key, &followed) else {
        return Err(refused());
    };
    let column = &target.relation.columns[place].ident;
    let sql = format!(
        "WITH moving AS MATERIALIZED ({moving}),
              numbered AS MATERIALIZED (SELECT *, pg_catalog.row_number() OVER () AS number FROM moving),
              parked AS (UPDATE {} AS t SET {column} = {placeholder} FROM numbered AS m WHERE {} RETURNING t.*)
         SELECT pg_catalog.count(*) FROM parked AS t JOIN {stage} AS s ON {} WHERE NOT ({})",
        target.relation.only(),
        same_key(target, "t", "m"),
        same_key(target, "t", "s"),
        differs(target, &settable(target)),
    );
    session.as_shop().await?;
    match session.row_raw(&sql, &[]).await {
        Ok(row) => session.as_ourselves().await.map(|()| row.get::<_, i64>(0).unsigned_abs()),
        // A rule of the table refuses the placeholder.
        Err(error) if error.code().is_some_and(|state| state.code().starts_with("23")) => Err(refused()),
        Err(error) => Err(session.fault(&error)),
    }
}

/// The keys of the rows that give a value up which another row of the backup takes.
fn moving(target: &Target, stage: &str, key: &UniqueKey, leaving: &Leaving) -> String {
    let only = target.relation.only();
    let ident = |place: &usize| &target.relation.columns[*place].ident;
    let columns =
        target.table.key.iter().map(|place| format!("t.{}", ident(place))).collect::<Vec<_>>().join(", ");
    let written: Vec<usize> =
        key.columns.iter().filter(|place| target.places.contains(place)).copied().collect();
    let taken = |place: &usize| {
        let column = ident(place);
        // A column that does not travel keeps its value, which the other row then has as well as its own.
        if written.contains(place) {
            let cast = target.relation.columns[*place].cast();
            format!("o.{column}{cast} OPERATOR(pg_catalog.=) t.{column}{cast}")
        } else {
            format!("t.{column} IS NOT NULL")
        }
    };
    let taken = key.columns.iter().map(taken).collect::<Vec<_>>().join(" AND ");
    let other =
        format!("EXISTS (SELECT FROM {stage} AS o WHERE {taken} AND NOT ({}))", same_key(target, "t", "o"));
    let changed = format!(
        "SELECT {columns} FROM {only} AS t JOIN {stage} AS s ON {} WHERE ({}) AND {other}",
        same_key(target, "t", "s"),
        differs(target, &written),
    );
    let leaving = match leaving {
        Leaving::Nobody => return changed,
        Leaving::Absent => {
            format!("NOT EXISTS (SELECT FROM {stage} AS s WHERE {})", same_key(target, "t", "s"))
        }
        Leaving::Listed(gone) => {
            format!("EXISTS (SELECT FROM {gone} AS g WHERE {})", same_key(target, "t", "g"))
        }
    };
    format!("{changed} UNION ALL SELECT {columns} FROM {only} AS t WHERE {leaving} AND {other}")
}

/// A column of the key and what it is set to meanwhile: an expression over `m.number`, from 1.
fn placeholder(
    target: &Target,
    stage: &str,
    key: &UniqueKey,
    followed: &[String],
) -> Option<(usize, String)> {
    let in_foreign_key =
        |place: usize| target.table.foreign_keys.iter().any(|key| key.columns.contains(&place));
    let usable = |place: &&usize| {
        target.places.contains(place)
            && !target.table.key.contains(place)
            && target.relation.columns[**place].identity != Identity::Always
            && !followed.iter().any(|name| name == target.relation.columns[**place].ident.as_str())
    };
    let columns: Vec<usize> = key.columns.iter().filter(usable).copied().collect();
    if let Some(place) = columns.iter().find(|&&place| target.table.columns[place].nullable) {
        return Some((*place, "NULL".to_owned()));
    }
    columns.into_iter().filter(|&place| !in_foreign_key(place)).find_map(|place| {
        let detail = &target.relation.columns[place];
        let column = &detail.ident;
        let below = |number: &str| {
            format!(
                "least((SELECT pg_catalog.min({column}) FROM {}), (SELECT pg_catalog.min({column}) FROM {stage}))
                   OPERATOR(pg_catalog.-) {number}",
                target.relation.only(),
            )
        };
        let value = match (&target.table.columns[place].logical_type, detail.limit) {
            (LogicalType::Text, Limit::None) => "pg_catalog.gen_random_uuid()::pg_catalog.text".to_owned(),
            (LogicalType::Text, Limit::Characters(max)) if max >= UUID_CHARACTERS => "pg_catalog.gen_random_uuid()::pg_catalog.text".to_owned(),
            (LogicalType::Uuid, _) => "pg_catalog.gen_random_uuid()".to_owned(),
            (LogicalType::Int16, _) => format!("({})::pg_catalog.int2", below("m.number")),
            (LogicalType::Int32, _) => format!("({})::pg_catalog.int4", below("m.number")),
            (LogicalType::Int64, _) => below("m.number"),
            (LogicalType::Decimal(_), _) => below("m.number::pg_catalog.numeric"),
            (LogicalType::Date, _) => below("m.number::pg_catalog.int4"),
            (LogicalType::Timestamp | LogicalType::TimestampWithZone, _) => below("pg_catalog.make_interval(secs => m.number)"),
            _ => return None,
        };
        Some((place, value))
    })
}
