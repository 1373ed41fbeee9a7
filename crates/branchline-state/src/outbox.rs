//! The table `outbox`: sealed backups on their way out, and who is sending which at present.
//!
//! A claim is one `UPDATE`. Due is an entry that waits, whose time has come (or that a person asked for early),
//! and that nobody holds by an unexpired lease. A peer gets its backups in the order of its chain: while an
//! earlier one waits or is being sent, no later one of that peer is claimed, since it would arrive as a gap.
//! Among peers the entry that was made first goes first, so that no peer is starved.
//!
//! A claim ends with its lease, or when the entry is settled, deferred or put anew.

use branchline_core::backup::{BackupType, Codec};
use branchline_core::code::Code;
use branchline_core::id::{BackupId, Epoch, Sequence, ServerId};
use branchline_core::ports::{Claim, OutboxEntry, OutboxState, StateConflict, StateError};
use branchline_core::standing::Packed;
use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};

use crate::table::{self, Fields, InTable, integer, known_lines, points_nowhere};

const TABLE: table::Table = "outbox";

const PUT: &str = "
    INSERT INTO outbox (backup, peer, backup_type, sequence, codec, head, data_file, data_frame_bytes, tail,
                        signature, metadata, checksum, record_count, packed_epoch, packed_covers, packed_seen,
                        packed_full, packed_scope, created_at, state, attempts, not_before, error_code, error_message)
    VALUES (:backup, :peer, :backup_type, :sequence, :codec, :head, :data_file, :data_frame_bytes, :tail,
            :signature, :metadata, :checksum, :record_count, :packed_epoch, :packed_covers, :packed_seen,
            :packed_full, :packed_scope, :created_at, :state, :attempts, :not_before, :error_code, :error_message)
    ON CONFLICT (backup) DO UPDATE SET
        peer = excluded.peer, backup_type = excluded.backup_type, sequence = excluded.sequence,
        codec = excluded.codec, head = excluded.head, data_file = excluded.data_file,
        data_frame_bytes = excluded.data_frame_bytes, tail = excluded.tail, signature = excluded.signature,
        metadata = excluded.metadata, checksum = excluded.checksum, record_count = excluded.record_count,
        packed_epoch = excluded.packed_epoch, packed_covers = excluded.packed_covers,
        packed_seen = excluded.packed_seen, packed_full = excluded.packed_full,
        packed_scope = excluded.packed_scope,
        created_at = excluded.created_at, state = excluded.state, attempts = excluded.attempts,
        not_before = excluded.not_before, error_code = excluded.error_code,
        error_message = excluded.error_message, claimed_by = NULL, claimed_until = NULL";
const CLAIM: &str = "
    UPDATE outbox SET claimed_by = :holder, claimed_until = :until
    WHERE backup = (
        SELECT entry.backup FROM outbox AS entry
        WHERE entry.state = 'waiting'
          AND (:peer IS NULL OR entry.peer = :peer)
          AND (:early OR entry.not_before IS NULL OR entry.not_before <= :now)
          AND (entry.claimed_until IS NULL OR entry.claimed_until <= :now)
          AND NOT EXISTS (
              SELECT 1 FROM outbox AS earlier
              WHERE earlier.peer = entry.peer AND earlier.state = 'waiting' AND earlier.sequence < entry.sequence)
        ORDER BY entry.created_at, entry.backup
        LIMIT 1)
    RETURNING *";
const SETTLE: &str = "
    UPDATE outbox SET state = ?2, not_before = NULL, claimed_by = NULL, claimed_until = NULL WHERE backup = ?1";
const DEFER: &str = "
    UPDATE outbox SET attempts = attempts + 1, not_before = ?2, error_code = ?3, error_message = ?4,
           claimed_by = NULL, claimed_until = NULL
    WHERE backup = ?1";
const REMOVE: &str = "DELETE FROM outbox WHERE backup = ?1";
const ALL: &str = "SELECT * FROM outbox ORDER BY peer, sequence, backup";
const OF: &str = "SELECT * FROM outbox WHERE peer = ?1 ORDER BY sequence, backup";
const ONE: &str = "SELECT * FROM outbox WHERE backup = ?1";

/// Puts an entry, replacing one of its name and freeing that one's claim.
pub(crate) fn put(connection: &Connection, entry: &OutboxEntry) -> Result<(), StateError> {
    let error = entry.last_error.as_ref();
    let packed = entry.packed.as_ref();
    let packed_epoch = packed.map(|packed| integer(TABLE, packed.epoch.value())).transpose()?;
    let put = connection.execute(
        PUT,
        named_params! {
            ":backup": entry.backup.to_string(),
            ":peer": entry.peer.as_str(),
            ":backup_type": entry.backup_type.as_str(),
            ":sequence": integer(TABLE, entry.sequence.value())?,
            ":codec": codec_text(entry.codec),
            ":head": entry.head,
            ":data_file": entry.data_file.to_string(),
            ":data_frame_bytes": integer(TABLE, entry.data_frame_bytes)?,
            ":tail": entry.tail,
            ":signature": entry.signature,
            ":metadata": entry.metadata.as_bytes(),
            ":checksum": entry.checksum.as_bytes(),
            ":record_count": integer(TABLE, entry.record_count)?,
            ":packed_epoch": packed_epoch,
            ":packed_covers": packed.map(|packed| known_lines(&packed.covers)).unwrap_or_default(),
            ":packed_seen": packed.map(|packed| known_lines(&packed.seen)).unwrap_or_default(),
            ":packed_full": packed.is_some_and(|packed| packed.full),
            ":packed_scope": packed.map(|packed| packed.scope.to_lines()).unwrap_or_default(),
            ":created_at": entry.created_at.as_microsecond(),
            ":state": state_text(entry.state),
            ":attempts": entry.attempts,
            ":not_before": entry.not_before.map(Timestamp::as_microsecond),
            ":error_code": error.map(|(code, _)| code.to_string()),
            ":error_message": error.map(|(_, message)| message),
        },
    );
    match put {
        Err(error) if points_nowhere(&error) => Err(StateError::Conflict(StateConflict::PeerUnknown)),
        put => put.in_table(TABLE).map(|_| ()),
    }
}

/// Claims the next entry that is due.
pub(crate) fn claim(connection: &Connection, claim: &Claim) -> Result<Option<OutboxEntry>, StateError> {
    let now = claim.now.as_microsecond();
    let length = i64::try_from(claim.lease.length.as_micros()).unwrap_or(i64::MAX);
    let parameters = named_params! {
        ":peer": claim.peer.as_ref().map(ServerId::as_str),
        ":now": now,
        ":early": claim.early,
        ":holder": claim.lease.holder,
        ":until": now.saturating_add(length),
    };
    table::first(connection, TABLE, CLAIM, parameters, read)
}

/// Writes what became of an entry.
pub(crate) fn settle(
    connection: &Connection,
    backup: BackupId,
    state: OutboxState,
) -> Result<(), StateError> {
    known(connection.execute(SETTLE, params![backup.to_string(), state_text(state)]).in_table(TABLE)?)
}

/// Counts an attempt that failed, and lets the entry wait.
pub(crate) fn defer(
    connection: &Connection,
    backup: BackupId,
    not_before: Timestamp,
    code: Code,
    message: &str,
) -> Result<(), StateError> {
    let parameters = params![backup.to_string(), not_before.as_microsecond(), code.to_string(), message];
    known(connection.execute(DEFER, parameters).in_table(TABLE)?)
}

/// Removes an entry; one that is not there is removed already.
pub(crate) fn remove(connection: &Connection, backup: BackupId) -> Result<(), StateError> {
    connection.execute(REMOVE, params![backup.to_string()]).in_table(TABLE).map(|_| ())
}

/// All entries, by peer and place.
pub(crate) fn all(connection: &Connection) -> Result<Vec<OutboxEntry>, StateError> {
    table::all(connection, TABLE, ALL, [], read)
}

/// One peer's entries, by place.
pub(crate) fn of(connection: &Connection, peer: &ServerId) -> Result<Vec<OutboxEntry>, StateError> {
    table::all(connection, TABLE, OF, params![peer.as_str()], read)
}

/// One entry.
pub(crate) fn one(connection: &Connection, backup: BackupId) -> Result<Option<OutboxEntry>, StateError> {
    table::first(connection, TABLE, ONE, params![backup.to_string()], read)
}

fn read(fields: &Fields<'_>) -> Result<OutboxEntry, StateError> {
    Ok(OutboxEntry {
        backup: fields.parsed("backup")?,
        peer: fields.parsed("peer")?,
        backup_type: fields.parsed::<BackupType>("backup_type")?,
        sequence: Sequence::new(fields.number("sequence")?),
        codec: fields.choice("codec", &[Codec::Zstd, Codec::Gzip, Codec::Plain], codec_text)?,
        head: fields.value("head")?,
        data_file: fields.parsed("data_file")?,
        data_frame_bytes: fields.number("data_frame_bytes")?,
        tail: fields.value("tail")?,
        signature: fields.value("signature")?,
        metadata: fields.digest("metadata")?,
        checksum: fields.digest("checksum")?,
        record_count: fields.number("record_count")?,
        packed: packed(fields)?,
        created_at: fields.time("created_at")?,
        state: fields.choice("state", &STATES, state_text)?,
        attempts: fields.value("attempts")?,
        not_before: fields.time_or_none("not_before")?,
        last_error: fields.error()?,
    })
}

fn packed(fields: &Fields<'_>) -> Result<Option<Packed>, StateError> {
    let Some(epoch) = fields.number_or_none("packed_epoch")? else { return Ok(None) };
    Ok(Some(Packed {
        epoch: Epoch::new(epoch),
        covers: fields.knowledge("packed_covers")?,
        seen: fields.knowledge("packed_seen")?,
        full: fields.value("packed_full")?,
        scope: fields.scope("packed_scope")?,
    }))
}

fn known(rows: usize) -> Result<(), StateError> {
    if rows == 0 { Err(StateError::Conflict(StateConflict::EntryUnknown)) } else { Ok(()) }
}

const STATES: [OutboxState; 3] = [OutboxState::Waiting, OutboxState::Delivered, OutboxState::Refused];

const fn state_text(state: OutboxState) -> &'static str {
    match state {
        OutboxState::Waiting => "waiting",
        OutboxState::Delivered => "delivered",
        OutboxState::Refused => "refused",
    }
}

const fn codec_text(codec: Codec) -> &'static str {
    match codec {
        Codec::Zstd => "zstd",
        Codec::Gzip => "gzip",
        Codec::Plain => "plain",
    }
}
