//! What peers have that filters keep rows from: of each table the keys of the rows that they have, or may have.
//!
//! | state | the peer | looked at by each pack |
//! |---|---|---|
//! | [`CONFIRMED`] | has the row, as long as it is in scope | no |
//! | [`OWN`] | made the row what it is, out of its scope, and keeps it until somebody else changes it | no |
//! | [`OPEN`] | may have it: it went into a backup that nobody has said to be applied | yes |
//! | [`CAME`] | sent it, and no pack for it has looked since | yes |
//! | [`LEAVING`] | may have it: a backup takes it out that nobody has said to be applied | yes |
//!
//! A pack writes what it decided as soon as it has decided ([`Decided`]), long before its backup is sealed: what is lost in
//! between is open, and looked at again. What an apply writes meanwhile stays: an entry that has changed since the snapshot
//! of the pack is left alone.

use std::pin::pin;

use branchline_core::id::ServerId;
use branchline_core::ports::DatabaseError;
use futures_util::{SinkExt, StreamExt};

use super::hold;
use crate::postgres::apply::slots;
use crate::postgres::session::Session;
use crate::postgres::sessions::Sessions;

/// It is there.
pub(crate) const CONFIRMED: i16 = 0;
/// It is there, out of scope, by the peer's own doing.
pub(crate) const OWN: i16 = 1;
/// It may be there. From here on every pack for the peer looks at it.
pub(crate) const OPEN: i16 = 2;
/// It is there, and no pack has looked yet.
pub(crate) const CAME: i16 = 3;
/// It may be there, and is being taken out.
pub(crate) const LEAVING: i16 = 4;

const RECORDED: &str = "SELECT table_id, id, filter, told FROM branchline.scope WHERE peer = $1";

const CONFIRM: &str = "
    WITH gone AS (
      DELETE FROM branchline.in_scope AS e USING branchline.scope AS s
       WHERE s.peer = $1 AND e.scope_id = s.id AND e.state = 4 RETURNING 1),
    there AS (
      UPDATE branchline.in_scope AS e SET state = 0 FROM branchline.scope AS s
       WHERE s.peer = $1 AND e.scope_id = s.id AND e.state = 2 RETURNING 1),
    told AS (UPDATE branchline.scope SET told = true WHERE peer = $1 AND NOT told)
    SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM there)";
const DOUBT: &str = "UPDATE branchline.in_scope SET state = 2 WHERE state IN (0, 4)";

const RECORD: &str = "
    INSERT INTO branchline.scope AS s (table_id, peer, filter)
    SELECT d.table_id, $1, d.filter FROM unnest($2::int4[], $3::text[]) AS d (table_id, filter)
     WHERE d.table_id IN (SELECT id FROM branchline.captured)
    ON CONFLICT (table_id, peer) DO UPDATE SET filter = excluded.filter, told = false WHERE s.filter <> excluded.filter";
const FORGET: &str = "DELETE FROM branchline.scope WHERE peer = $1 AND table_id = ANY ($2)";
const DECIDED: &str = "
    CREATE TEMPORARY TABLE branchline_decided (
      table_id int4, key text COLLATE pg_catalog.\"C\", state int2, was text) ON COMMIT DROP";
const FILL: &str = "COPY pg_temp.branchline_decided FROM STDIN";
const TAKE_OUT: &str = "
    DELETE FROM branchline.in_scope AS e USING branchline.scope AS s, pg_temp.branchline_decided AS d
     WHERE s.peer = $1 AND d.table_id = s.table_id AND e.scope_id = s.id AND e.key = d.key
       AND d.state IS NULL AND e.xmin::text = d.was";
const CHANGE: &str = "
    UPDATE branchline.in_scope AS e SET state = d.state
      FROM branchline.scope AS s, pg_temp.branchline_decided AS d
     WHERE s.peer = $1 AND d.table_id = s.table_id AND e.scope_id = s.id AND e.key = d.key
       AND d.state IS NOT NULL AND e.xmin::text = d.was";
const ADD: &str = "
    INSERT INTO branchline.in_scope (scope_id, key, state)
    SELECT s.id, d.key, d.state FROM pg_temp.branchline_decided AS d
      JOIN branchline.scope AS s ON s.peer = $1 AND s.table_id = d.table_id
     WHERE d.was IS NULL AND d.state IS NOT NULL
    ON CONFLICT (scope_id, key) DO NOTHING";

/// Rows of the source that were decided: it has them. One that was here as it came is the same there; what became of the
/// others a pack will see. An old one says something only of a row that nothing is known of. One that is being taken out may
/// stay there: when that was decided nobody here knew of what came now.
const NOTE_CAME: &str = "
    INSERT INTO branchline.in_scope AS e (scope_id, key, state)
    SELECT s.id, f.key, CASE WHEN d.verdict = 1 THEN 0 ELSE 3 END
      FROM pg_temp.branchline_fact AS f JOIN pg_temp.branchline_verdict AS d ON d.class = f.class
      JOIN branchline.scope AS s ON s.table_id = f.table_id AND s.peer = $1
     WHERE f.place = ANY ($2) AND NOT f.deleted
       AND (d.verdict <> 0
            OR NOT EXISTS (SELECT FROM branchline.in_scope AS k WHERE k.scope_id = s.id AND k.key = f.key))
    ON CONFLICT (scope_id, key) DO UPDATE SET state = 3 WHERE excluded.state = 3 OR e.state = 4";

/// A deletion that lost says nothing: the row that it lost against goes there, or is on its way. What left for us by a
/// filter of the source's it has still; but that it is gone here is no news for it, and takes nothing out there.
const NOTE_WENT: &str = "
    DELETE FROM branchline.in_scope AS e
     USING pg_temp.branchline_fact AS f, pg_temp.branchline_verdict AS d, branchline.scope AS s
     WHERE f.place = ANY ($2) AND f.deleted AND d.class = f.class AND d.verdict IN (2, 3)
       AND s.table_id = f.table_id AND s.peer = $1 AND e.scope_id = s.id AND e.key = f.key";

/// A table whose rows were recorded for a peer.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) table: i32,
    /// The number of the record.
    pub(crate) id: i32,
    /// What the filter was.
    pub(crate) filter: String,
    /// Whether a backup was applied that said of the table that rows are kept back.
    pub(crate) told: bool,
}

/// What is on record of a peer.
pub(crate) async fn recorded(session: &Session, peer: &ServerId) -> Result<Vec<Recorded>, DatabaseError> {
    let rows = session.rows_kept(RECORDED, &[&peer.as_str()]).await?;
    Ok(rows
        .iter()
        .map(|row| Recorded { table: row.get(0), id: row.get(1), filter: row.get(2), told: row.get(3) })
        .collect())
}

/// The last backup for a peer was applied there; answers how many entries are settled by that.
pub(crate) async fn confirm(session: &Session, peer: &ServerId) -> Result<u64, DatabaseError> {
    Ok(session.row_kept(CONFIRM, &[&peer.as_str()]).await?.get::<_, i64>(0).unsigned_abs())
}

/// Nobody can say any more what peers have.
pub(crate) async fn doubt(session: &Session) -> Result<(), DatabaseError> {
    session.rows_kept(DOUBT, &[]).await.map(drop)
}

/// What a pack decided for a peer.
pub(crate) struct Decided<'a> {
    pub(crate) peer: &'a ServerId,
    /// The numbers of tables whose filter is another than the one on record, each with what it is now.
    pub(crate) filters: &'a [(i32, String)],
    /// The numbers of tables that the peer gets whole from now on.
    pub(crate) whole: &'a [i32],
    /// What reads the entries that change in the session of the pack: the columns of [`DECIDED`].
    pub(crate) entries: &'a str,
}

impl Decided<'_> {
    /// Writes it, in a transaction of its own; the entries come from the session of the pack.
    pub(crate) async fn write(&self, sessions: &Sessions, reader: &Session) -> Result<(), DatabaseError> {
        let writer = sessions.take().await?;
        let (ids, filters): (Vec<i32>, Vec<&str>) =
            self.filters.iter().map(|(id, filter)| (*id, filter.as_str())).unzip();
        writer.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        writer.commit_durably().await?;
        hold(&writer).await?;
        writer.run(DECIDED).await?;
        copy(reader, self.entries, &writer).await?;
        let peer = self.peer.as_str();
        writer.rows_kept(RECORD, &[&peer, &ids, &filters]).await?;
        writer.rows_kept(FORGET, &[&peer, &self.whole]).await?;
        // Not kept: the temporary table is another one each time.
        for sql in [TAKE_OUT, CHANGE, ADD] {
            writer.rows(sql, &[&peer]).await?;
        }
        writer.run("COMMIT").await?;
        sessions.keep(writer).await;
        Ok(())
    }
}

/// Brings rows from one session to another, a message at a time.
async fn copy(reader: &Session, entries: &str, writer: &Session) -> Result<(), DatabaseError> {
    let mut rows = pin!(reader.copy_out(&format!("COPY ({entries}) TO STDOUT")).await?);
    let mut sink = pin!(writer.copy_in(FILL).await?);
    while let Some(row) = rows.next().await {
        let row = row.map_err(|error| reader.fault(&error))?;
        sink.send(row).await.map_err(|error| writer.fault(&error))?;
    }
    sink.finish().await.map(drop).map_err(|error| writer.fault(&error))
}

/// The source of a backup has the rows of these tables that it brought, and has no more those that it deleted.
pub(crate) async fn note_source(
    session: &Session,
    source: &ServerId,
    tables: &[crate::postgres::apply::Target],
) -> Result<(), DatabaseError> {
    let slots = slots(tables);
    for sql in [NOTE_CAME, NOTE_WENT] {
        session.rows(sql, &[&source.as_str(), &slots]).await?;
    }
    Ok(())
}
