//! The tables, by version. A version's text is frozen once released: a change is a new entry at the end.
//!
//! The version is SQLite's `user_version`; `application_id` tells our file from any other database. Each version
//! is its own transaction, so that a crash in between leaves a whole older version.

use branchline_core::ports::StateError;
use rusqlite::{Connection, TransactionBehavior};

use crate::connection::WHOLE;
use crate::table::InTable;

/// The version that this program reads and writes.
pub const STATE_VERSION: u32 = MIGRATIONS.len() as u32;

/// `BLST`, in ASCII.
const APPLICATION_ID: i32 = 0x424c_5354;

/// Entry n brings version n to version n + 1.
const MIGRATIONS: [&str; 4] = [VERSION_1, ADD_SCHEDULE, ADD_CAPTURE, ADD_SCOPE];

/// Chains and receipts outlive their peer on purpose: a peer that is paired again goes on in its chain, since
/// its ledger remembers which places were used.
const VERSION_1: &str = "
CREATE TABLE peers (
    id                   TEXT PRIMARY KEY,
    name                 TEXT NOT NULL,
    key                  BLOB NOT NULL UNIQUE,
    addresses            TEXT NOT NULL,
    activity             TEXT NOT NULL,
    grant_write          INTEGER NOT NULL,
    grant_tables         TEXT NOT NULL,
    grant_mirror         INTEGER NOT NULL,
    grant_data_bytes_max INTEGER NOT NULL,
    added_at             INTEGER NOT NULL,
    last_seen            INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE invitations (
    token         BLOB PRIMARY KEY,
    secret_digest BLOB NOT NULL,
    for_server    TEXT,
    name          TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    wrong_proofs  INTEGER NOT NULL,
    burnt         INTEGER NOT NULL DEFAULT 0,
    used_by       TEXT,
    used_from     TEXT,
    used_at       INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    backup           TEXT PRIMARY KEY,
    peer             TEXT NOT NULL REFERENCES peers (id) ON DELETE CASCADE,
    backup_type      TEXT NOT NULL,
    sequence         INTEGER NOT NULL,
    codec            TEXT NOT NULL,
    head             BLOB NOT NULL,
    data_file        TEXT NOT NULL,
    data_frame_bytes INTEGER NOT NULL,
    tail             BLOB NOT NULL,
    signature        TEXT NOT NULL,
    metadata         BLOB NOT NULL,
    checksum         BLOB NOT NULL,
    record_count     INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    state            TEXT NOT NULL,
    attempts         INTEGER NOT NULL,
    not_before       INTEGER,
    error_code       TEXT,
    error_message    TEXT,
    claimed_by       TEXT,
    claimed_until    INTEGER
) STRICT;
CREATE INDEX outbox_by_place ON outbox (peer, state, sequence);

CREATE TABLE inbox (
    peer           TEXT NOT NULL REFERENCES peers (id) ON DELETE CASCADE,
    backup         TEXT NOT NULL,
    document_bytes INTEGER NOT NULL,
    signature      TEXT NOT NULL,
    state          TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    error_code     TEXT,
    error_message  TEXT,
    PRIMARY KEY (peer, backup)
) STRICT, WITHOUT ROWID;

CREATE TABLE receipts (
    backup       TEXT PRIMARY KEY,
    source       TEXT NOT NULL,
    server       TEXT NOT NULL,
    processed_at INTEGER NOT NULL,
    success      INTEGER NOT NULL,
    document     BLOB NOT NULL
) STRICT;
CREATE INDEX receipts_by_time ON receipts (processed_at);

CREATE TABLE chains (
    peer     TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    metadata BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What is remembered of each entry of the schedule, so that a missed run is caught up after a restart.
const ADD_SCHEDULE: &str = "
CREATE TABLE schedule (
    name          TEXT PRIMARY KEY,
    definition    TEXT NOT NULL,
    served_until  INTEGER NOT NULL,
    due_at        INTEGER,
    started_at    INTEGER,
    ended_at      INTEGER,
    outcome       TEXT,
    error_code    TEXT,
    remark        TEXT,
    owed          TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What is known of peers and of the database once changes are captured. Unlike its chain, what a peer acknowledged
/// goes with it: one that is paired again begins with a full backup.
const ADD_CAPTURE: &str = "
ALTER TABLE peers ADD COLUMN relay INTEGER NOT NULL DEFAULT 0;
ALTER TABLE invitations ADD COLUMN relay INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN packed_epoch INTEGER;
ALTER TABLE outbox ADD COLUMN packed_covers TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN packed_seen TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN packed_full INTEGER NOT NULL DEFAULT 0;

CREATE TABLE acknowledged (
    peer           TEXT PRIMARY KEY REFERENCES peers (id) ON DELETE CASCADE,
    met_own        INTEGER,
    met_peer       INTEGER,
    knowledge      TEXT NOT NULL,
    lent           TEXT NOT NULL,
    owed           TEXT NOT NULL,
    sealed         INTEGER NOT NULL,
    chain_epoch    INTEGER,
    chain_sequence INTEGER,
    chain_metadata BLOB,
    past_budget    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE remembered (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    database   TEXT,
    epoch      INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    clock      INTEGER NOT NULL,
    packed_at  INTEGER NOT NULL
) STRICT;
";

/// Under which filters a peer's backups were packed.
const ADD_SCOPE: &str = "
ALTER TABLE outbox ADD COLUMN packed_scope TEXT NOT NULL DEFAULT '';
ALTER TABLE acknowledged ADD COLUMN scope TEXT NOT NULL DEFAULT '';
";

/// Refuses a file that is of a newer version, or not ours at all.
pub(crate) fn refuse_foreign(connection: &Connection) -> Result<(), StateError> {
    let found = version(connection)?;
    let application = pragma(connection, "application_id")?;
    let empty = found == 0 && application == 0 && tables(connection)? == 0;
    if !empty && application != i64::from(APPLICATION_ID) {
        return Err(refused("state.db is a database of another program".to_owned()));
    }
    if found > i64::from(STATE_VERSION) {
        return Err(refused(format!(
            "state.db has version {found}, and this branchline knows none after {STATE_VERSION}; \
             run the newer branchline that wrote it"
        )));
    }
    Ok(())
}

/// Refuses any version but the current one: a reader cannot bring the tables forward.
pub(crate) fn refuse_other_version(connection: &Connection) -> Result<(), StateError> {
    refuse_foreign(connection)?;
    let found = version(connection)?;
    if found < i64::from(STATE_VERSION) {
        return Err(refused(format!(
            "state.db has version {found} and is brought to version {STATE_VERSION} when branchline serve starts"
        )));
    }
    Ok(())
}

/// Brings the tables to the current version.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StateError> {
    loop {
        // The version is read inside the transaction: two processes may start at once.
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).in_table(WHOLE)?;
        refuse_foreign(&transaction)?;
        let found = version(&transaction)?;
        let Some(step) = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found)) else {
            return Ok(());
        };
        transaction.execute_batch(step).in_table(WHOLE)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).in_table(WHOLE)?;
        transaction.pragma_update(None, "user_version", found + 1).in_table(WHOLE)?;
        transaction.commit().in_table(WHOLE)?;
    }
}

fn version(connection: &Connection) -> Result<i64, StateError> {
    pragma(connection, "user_version")
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, StateError> {
    connection.pragma_query_value(None, name, |row| row.get(0)).in_table(WHOLE)
}

fn tables(connection: &Connection) -> Result<i64, StateError> {
    const COUNT_TABLES: &str = "SELECT count(*) FROM sqlite_schema";
    connection.query_row(COUNT_TABLES, [], |row| row.get(0)).in_table(WHOLE)
}

fn refused(message: String) -> StateError {
    StateError::Broken { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_state_is_refused_by_its_number() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", STATE_VERSION + 1).unwrap();
        let error = migrate(&mut connection).unwrap_err().to_string();
        assert!(error.contains(&format!("version {}", STATE_VERSION + 1)), "{error}");
        assert!(error.contains("newer branchline"), "{error}");
    }

    #[test]
    fn another_programs_database_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY)").unwrap();
        let error = migrate(&mut connection).unwrap_err().to_string();
        assert!(error.contains("another program"), "{error}");
    }

    #[test]
    fn migrating_again_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), i64::from(STATE_VERSION));
    }

    #[test]
    fn a_state_of_the_first_version_is_brought_forward_and_keeps_what_it_has() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(VERSION_1).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection.execute_batch("INSERT INTO chains VALUES ('STORE-001', 7, x'00')").unwrap();
        assert!(refuse_other_version(&connection).unwrap_err().to_string().contains("has version 1"));
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), i64::from(STATE_VERSION));
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT sequence FROM chains"), 7);
        assert_eq!(count("SELECT count(*) FROM schedule"), 0);
    }
}
