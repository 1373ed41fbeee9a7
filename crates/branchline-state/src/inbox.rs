//! The table `inbox`: uploads from peers. How much of one is here is not kept: the spool file's length says it.

use branchline_core::id::{BackupId, ServerId};
use branchline_core::ports::{InboxEntry, InboxState, StateConflict, StateError};
use rusqlite::{Connection, named_params, params};

use crate::table::{self, Fields, InTable, integer, points_nowhere};

const TABLE: table::Table = "inbox";

const PUT: &str = "
    INSERT INTO inbox (peer, backup, document_bytes, signature, state, created_at, expires_at,
                       error_code, error_message)
    VALUES (:peer, :backup, :document_bytes, :signature, :state, :created_at, :expires_at,
            :error_code, :error_message)
    ON CONFLICT (peer, backup) DO UPDATE SET
        document_bytes = excluded.document_bytes, signature = excluded.signature, state = excluded.state,
        created_at = excluded.created_at, expires_at = excluded.expires_at,
        error_code = excluded.error_code, error_message = excluded.error_message";
const REMOVE: &str = "DELETE FROM inbox WHERE peer = ?1 AND backup = ?2";
const ALL: &str = "SELECT * FROM inbox ORDER BY created_at, peer, backup";
const ONE: &str = "SELECT * FROM inbox WHERE peer = ?1 AND backup = ?2";

/// Puts an entry, replacing one of its name.
pub(crate) fn put(connection: &Connection, entry: &InboxEntry) -> Result<(), StateError> {
    let error = entry.error.as_ref();
    let put = connection.execute(
        PUT,
        named_params! {
            ":peer": entry.peer.as_str(),
            ":backup": entry.backup.to_string(),
            ":document_bytes": integer(TABLE, entry.document_bytes)?,
            ":signature": entry.signature,
            ":state": state_text(entry.state),
            ":created_at": entry.created_at.as_microsecond(),
            ":expires_at": entry.expires_at.as_microsecond(),
            ":error_code": error.map(|(code, _)| code.to_string()),
            ":error_message": error.map(|(_, message)| message),
        },
    );
    match put {
        Err(error) if points_nowhere(&error) => Err(StateError::Conflict(StateConflict::PeerUnknown)),
        put => put.in_table(TABLE).map(|_| ()),
    }
}

/// Removes an entry; one that is not there is removed already.
pub(crate) fn remove(connection: &Connection, peer: &ServerId, backup: BackupId) -> Result<(), StateError> {
    connection.execute(REMOVE, params![peer.as_str(), backup.to_string()]).in_table(TABLE).map(|_| ())
}

/// All entries, the oldest first.
pub(crate) fn all(connection: &Connection) -> Result<Vec<InboxEntry>, StateError> {
    table::all(connection, TABLE, ALL, [], read)
}

/// One entry.
pub(crate) fn one(
    connection: &Connection,
    peer: &ServerId,
    backup: BackupId,
) -> Result<Option<InboxEntry>, StateError> {
    table::first(connection, TABLE, ONE, params![peer.as_str(), backup.to_string()], read)
}

fn read(fields: &Fields<'_>) -> Result<InboxEntry, StateError> {
    Ok(InboxEntry {
        peer: fields.parsed("peer")?,
        backup: fields.parsed("backup")?,
        document_bytes: fields.number("document_bytes")?,
        signature: fields.value("signature")?,
        state: fields.choice("state", &STATES, state_text)?,
        created_at: fields.time("created_at")?,
        expires_at: fields.time("expires_at")?,
        error: fields.error()?,
    })
}

const STATES: [InboxState; 4] =
    [InboxState::Receiving, InboxState::Received, InboxState::Applied, InboxState::Refused];

const fn state_text(state: InboxState) -> &'static str {
    match state {
        InboxState::Receiving => "receiving",
        InboxState::Received => "received",
        InboxState::Applied => "applied",
        InboxState::Refused => "refused",
    }
}
