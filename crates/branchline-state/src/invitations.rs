//! The table `invitations`: each is good for one join, until its time is over or wrong proofs have burnt it.
//!
//! Whether one is burnt is kept beside the count, since the bound is the caller's: what is burnt stays burnt,
//! whatever bound a later version has. Using one up is one `UPDATE` with all its conditions, so that exactly one of many wins.

use branchline_core::id::ServerId;
use branchline_core::ports::{InvitationRecord, StateConflict, StateError};
use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};

use crate::table::{self, Fields, InTable, is_taken};

const TABLE: table::Table = "invitations";

const ADD: &str = "
    INSERT INTO invitations (token, secret_digest, for_server, name, created_at, expires_at, relay, wrong_proofs,
                             used_by, used_from, used_at)
    VALUES (:token, :secret_digest, :for_server, :name, :created_at, :expires_at, :relay, :wrong_proofs,
            :used_by, :used_from, :used_at)";
const COUNT_WRONG_PROOF: &str = "
    UPDATE invitations SET wrong_proofs = wrong_proofs + 1, burnt = wrong_proofs + 1 >= ?2
    WHERE token = ?1 AND used_at IS NULL AND NOT burnt";
const USE_UP: &str = "
    UPDATE invitations SET used_by = ?2, used_from = ?3, used_at = ?4
    WHERE token = ?1 AND used_at IS NULL AND NOT burnt AND expires_at > ?4";
const IS_SPENT: &str = "SELECT used_at IS NOT NULL OR burnt AS spent FROM invitations WHERE token = ?1";
const ALL: &str = "SELECT * FROM invitations ORDER BY created_at, token";
const ONE: &str = "SELECT * FROM invitations WHERE token = ?1";

/// Adds an invitation. A token that is taken is a conflict: the caller draws another.
pub(crate) fn add(connection: &Connection, invitation: &InvitationRecord) -> Result<(), StateError> {
    let used = invitation.used.as_ref();
    let added = connection.execute(
        ADD,
        named_params! {
            ":token": invitation.token,
            ":secret_digest": invitation.secret_digest.as_bytes(),
            ":for_server": invitation.for_server.as_ref().map(ServerId::as_str),
            ":name": invitation.name,
            ":created_at": invitation.created_at.as_microsecond(),
            ":expires_at": invitation.expires_at.as_microsecond(),
            ":relay": invitation.relay,
            ":wrong_proofs": invitation.wrong_proofs,
            ":used_by": used.map(|(by, _, _)| by.as_str()),
            ":used_from": used.map(|(_, from, _)| from),
            ":used_at": used.map(|(_, _, at)| at.as_microsecond()),
        },
    );
    match added {
        Err(error) if is_taken(&error) => Err(StateError::Conflict(StateConflict::InvitationUsed)),
        added => added.in_table(TABLE).map(|_| ()),
    }
}

/// Counts a wrong proof; at the bound the invitation is burnt.
pub(crate) fn count_wrong_proof(
    connection: &Connection,
    token: [u8; 4],
    attempts_max: u32,
) -> Result<(), StateError> {
    let counted = connection.execute(COUNT_WRONG_PROOF, params![token, attempts_max]).in_table(TABLE)?;
    if counted == 0 { Err(refusal(connection, token)?) } else { Ok(()) }
}

/// Uses an invitation up.
pub(crate) fn use_up(
    connection: &Connection,
    token: [u8; 4],
    by: &ServerId,
    from: &str,
    at: Timestamp,
) -> Result<(), StateError> {
    let parameters = params![token, by.as_str(), from, at.as_microsecond()];
    let used = connection.execute(USE_UP, parameters).in_table(TABLE)?;
    if used == 0 { Err(refusal(connection, token)?) } else { Ok(()) }
}

/// All invitations, the oldest first.
pub(crate) fn all(connection: &Connection) -> Result<Vec<InvitationRecord>, StateError> {
    table::all(connection, TABLE, ALL, [], read)
}

/// One invitation, in whatever state it is.
pub(crate) fn one(connection: &Connection, token: [u8; 4]) -> Result<Option<InvitationRecord>, StateError> {
    table::first(connection, TABLE, ONE, params![token], read)
}

/// Why an invitation cannot be used: only its end is left where it is neither gone nor spent.
fn refusal(connection: &Connection, token: [u8; 4]) -> Result<StateError, StateError> {
    let spent = table::first(connection, TABLE, IS_SPENT, params![token], |fields| fields.value("spent"))?;
    Ok(StateError::Conflict(match spent {
        None => StateConflict::InvitationUnknown,
        Some(true) => StateConflict::InvitationUsed,
        Some(false) => StateConflict::InvitationExpired,
    }))
}

fn read(fields: &Fields<'_>) -> Result<InvitationRecord, StateError> {
    let used = match fields.parsed_or_none("used_by")? {
        Some(by) => Some((by, fields.value("used_from")?, fields.time("used_at")?)),
        None => None,
    };
    Ok(InvitationRecord {
        token: fields.value("token")?,
        secret_digest: fields.digest("secret_digest")?,
        for_server: fields.parsed_or_none("for_server")?,
        name: fields.value("name")?,
        created_at: fields.time("created_at")?,
        expires_at: fields.time("expires_at")?,
        relay: fields.value("relay")?,
        wrong_proofs: fields.value("wrong_proofs")?,
        used,
    })
}
