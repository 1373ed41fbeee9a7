//! The table `peers`: whom this server knows, and what each may do here.
//!
//! Lists stand in one column, a line each, in their order: neither an address nor a table's name can hold a line
//! break. A grant's bound on bytes is kept bit for bit, so that `u64::MAX` reads back as itself.

use std::fmt::Display;

use branchline_core::id::{KeyId, ServerId};
use branchline_core::peer::{Activity, Grant, Peer, PeerAddress};
use branchline_core::ports::{StateConflict, StateError};
use branchline_core::schema::TableName;
use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};

use crate::table::{self, Fields, InTable, is_taken};

const TABLE: table::Table = "peers";

const ADD: &str = "
    INSERT INTO peers (id, name, key, addresses, relay, activity, grant_write, grant_tables, grant_mirror,
                       grant_data_bytes_max, added_at, last_seen)
    VALUES (:id, :name, :key, :addresses, :relay, :activity, :grant_write, :grant_tables, :grant_mirror,
            :grant_data_bytes_max, :added_at, :last_seen)";
const CHANGE: &str = "
    UPDATE peers SET name = :name, key = :key, addresses = :addresses, relay = :relay, activity = :activity,
           grant_write = :grant_write, grant_tables = :grant_tables, grant_mirror = :grant_mirror,
           grant_data_bytes_max = :grant_data_bytes_max, added_at = :added_at, last_seen = :last_seen
    WHERE id = :id";
const REMOVE: &str = "DELETE FROM peers WHERE id = ?1";
const SET_ACTIVITY: &str = "UPDATE peers SET activity = ?2 WHERE id = ?1";
const SEEN: &str = "UPDATE peers SET last_seen = ?2 WHERE id = ?1";
const ALL: &str = "SELECT * FROM peers ORDER BY id";
const BY_ID: &str = "SELECT * FROM peers WHERE id = ?1";
const BY_KEY: &str = "SELECT * FROM peers WHERE key = ?1";

/// Adds a peer.
pub(crate) fn add(connection: &Connection, peer: &Peer) -> Result<(), StateError> {
    write(connection, ADD, peer).map(|_| ())
}

/// Replaces a peer.
pub(crate) fn change(connection: &Connection, peer: &Peer) -> Result<(), StateError> {
    known(write(connection, CHANGE, peer)?)
}

/// Removes a peer; its outbox and inbox go with it by their foreign keys.
pub(crate) fn remove(connection: &Connection, peer: &ServerId) -> Result<(), StateError> {
    known(connection.execute(REMOVE, params![peer.as_str()]).in_table(TABLE)?)
}

/// Pauses or resumes a peer.
pub(crate) fn set_activity(
    connection: &Connection,
    peer: &ServerId,
    activity: Activity,
) -> Result<(), StateError> {
    let parameters = params![peer.as_str(), activity_text(activity)];
    known(connection.execute(SET_ACTIVITY, parameters).in_table(TABLE)?)
}

/// Notes that a peer was heard of, where it is still here.
pub(crate) fn seen(connection: &Connection, peer: &ServerId, at: Timestamp) -> Result<(), StateError> {
    connection.execute(SEEN, params![peer.as_str(), at.as_microsecond()]).in_table(TABLE).map(|_| ())
}

/// All peers, by id.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Peer>, StateError> {
    table::all(connection, TABLE, ALL, [], read)
}

/// The peer of that id.
pub(crate) fn by_id(connection: &Connection, id: &ServerId) -> Result<Option<Peer>, StateError> {
    table::first(connection, TABLE, BY_ID, params![id.as_str()], read)
}

/// The peer with that key.
pub(crate) fn by_key(connection: &Connection, key: KeyId) -> Result<Option<Peer>, StateError> {
    table::first(connection, TABLE, BY_KEY, params![key.digest().as_bytes()], read)
}

fn write(connection: &Connection, sql: &str, peer: &Peer) -> Result<usize, StateError> {
    let written = connection.execute(
        sql,
        named_params! {
            ":id": peer.id.as_str(),
            ":name": peer.name,
            ":key": peer.key.digest().as_bytes(),
            ":addresses": lines(&peer.addresses),
            ":relay": peer.relay,
            ":activity": activity_text(peer.activity),
            ":grant_write": peer.grant.write,
            ":grant_tables": lines(&peer.grant.tables),
            ":grant_mirror": peer.grant.mirror,
            ":grant_data_bytes_max": peer.grant.data_bytes_max.cast_signed(),
            ":added_at": peer.added_at.as_microsecond(),
            ":last_seen": peer.last_seen.map(Timestamp::as_microsecond),
        },
    );
    match written {
        Err(error) if is_taken(&error) => Err(StateError::Conflict(StateConflict::PeerExists)),
        written => written.in_table(TABLE),
    }
}

fn read(fields: &Fields<'_>) -> Result<Peer, StateError> {
    let addresses = split(fields, "addresses", |line| line.parse::<PeerAddress>())?;
    let tables = split(fields, "grant_tables", |line| TableName::new(line))?;
    let data_bytes_max: i64 = fields.value("grant_data_bytes_max")?;
    Ok(Peer {
        id: fields.parsed("id")?,
        name: fields.value("name")?,
        key: KeyId::from_digest(fields.digest("key")?),
        addresses,
        grant: Grant {
            write: fields.value("grant_write")?,
            tables,
            mirror: fields.value("grant_mirror")?,
            data_bytes_max: data_bytes_max.cast_unsigned(),
        },
        relay: fields.value("relay")?,
        activity: fields.choice("activity", &[Activity::Active, Activity::Paused], activity_text)?,
        added_at: fields.time("added_at")?,
        last_seen: fields.time_or_none("last_seen")?,
    })
}

fn known(rows: usize) -> Result<(), StateError> {
    if rows == 0 { Err(StateError::Conflict(StateConflict::PeerUnknown)) } else { Ok(()) }
}

fn lines<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

fn split<T, E: Display>(
    fields: &Fields<'_>,
    column: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, StateError> {
    let text: String = fields.value(column)?;
    text.lines().map(|line| parse(line).map_err(|error| fields.broken(column, error))).collect()
}

const fn activity_text(activity: Activity) -> &'static str {
    match activity {
        Activity::Active => "active",
        Activity::Paused => "paused",
    }
}
