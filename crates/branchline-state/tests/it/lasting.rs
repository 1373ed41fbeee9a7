//! What outlives the process, and what is refused when it is opened again.

use std::path::Path;
use std::sync::Arc;

use branchline_core::ports::{StateError, StateRead, StateReply, StateStore, StateWrite};
use branchline_state::{STATE_VERSION, SqliteState};
use branchline_testkit::state::{SharedStore, backup_id, commit, outbox_entry, peer, read};
use rusqlite::Connection;

use super::fresh_store;

fn edit(home: &Path, sql: &str) {
    Connection::open(home.join("state.db")).unwrap().execute_batch(sql).unwrap();
}

fn message(result: Result<impl std::fmt::Debug, StateError>) -> String {
    match result {
        Err(StateError::Broken { message }) => message,
        other => panic!("expected a broken state, found {other:?}"),
    }
}

async fn fill(store: &SharedStore) {
    let entry = StateWrite::PutOutbox(outbox_entry("A", 1));
    commit(store, vec![StateWrite::AddPeer(peer("A")), entry]).await;
}

#[tokio::test]
async fn what_was_committed_survives_reopening() {
    let (store, home) = fresh_store();
    fill(&store).await;
    drop(store);
    let store: SharedStore = Arc::new(SqliteState::open(home.path()).unwrap());
    assert_eq!(read(&store, StateRead::Peers).await, StateReply::Peers(vec![peer("A")]));
    assert_eq!(read(&store, StateRead::Outbox).await, StateReply::Outbox(vec![outbox_entry("A", 1)]));
}

#[tokio::test]
async fn a_reader_sees_what_is_committed_beside_it() {
    let (store, home) = fresh_store();
    let reader: SharedStore = Arc::new(SqliteState::read_only(home.path()).unwrap());
    assert_eq!(read(&reader, StateRead::Outbox).await, StateReply::Outbox(Vec::new()));
    fill(&store).await;
    let expected = StateReply::Outbox(vec![outbox_entry("A", 1)]);
    assert_eq!(read(&reader, StateRead::Outbox).await, expected);
    drop(store);
    assert_eq!(read(&reader, StateRead::Outbox).await, expected);
}

#[tokio::test]
async fn a_reader_opens_what_nobody_has_open() {
    let (store, home) = fresh_store();
    fill(&store).await;
    drop(store);
    let reader: SharedStore = Arc::new(SqliteState::read_only(home.path()).unwrap());
    assert_eq!(read(&reader, StateRead::Peers).await, StateReply::Peers(vec![peer("A")]));
}

#[tokio::test]
async fn a_reader_writes_nothing() {
    let (store, home) = fresh_store();
    fill(&store).await;
    let reader = SqliteState::read_only(home.path()).unwrap();
    let found = message(reader.commit(vec![StateWrite::RemoveOutbox(backup_id(1))]).await);
    assert!(found.contains("readonly"), "{found}");
    assert_eq!(read(&store, StateRead::Outbox).await, StateReply::Outbox(vec![outbox_entry("A", 1)]));
}

#[test]
fn a_reader_needs_a_state() {
    let home = tempfile::tempdir().unwrap();
    let found = message(SqliteState::read_only(home.path()));
    assert!(found.contains("state.db"), "{found}");
    assert!(!home.path().join("state.db").exists());
}

#[test]
fn a_newer_state_is_refused_and_left_as_it_is() {
    let (store, home) = fresh_store();
    drop(store);
    let newer = STATE_VERSION + 1;
    edit(home.path(), &format!("PRAGMA user_version = {newer}"));
    for found in [message(SqliteState::open(home.path())), message(SqliteState::read_only(home.path()))] {
        assert!(found.contains(&format!("has version {newer}")), "{found}");
    }
    let connection = Connection::open(home.path().join("state.db")).unwrap();
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, newer);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("state.db"), "not a database, and longer than its header is: ".repeat(9))
        .unwrap();
    let found = message(SqliteState::open(home.path()));
    assert!(found.contains("not a database"), "{found}");
}

#[tokio::test]
async fn a_damaged_row_is_named_by_table_and_column() {
    let damages = [
        ("UPDATE outbox SET state = 'lost'", "table outbox: column state"),
        ("UPDATE outbox SET backup = '../x'", "table outbox: column backup"),
        ("UPDATE outbox SET checksum = x'00'", "table outbox: "),
        ("UPDATE outbox SET record_count = -1", "table outbox: column record_count"),
        ("UPDATE outbox SET attempts = -1", "table outbox: "),
        ("UPDATE outbox SET created_at = 9223372036854775807", "table outbox: column created_at"),
    ];
    for (damage, expected) in damages {
        let (store, home) = fresh_store();
        fill(&store).await;
        edit(home.path(), damage);
        let found = message(store.read(StateRead::Outbox).await);
        assert!(found.starts_with(expected), "{damage}: {found}");
        assert_eq!(read(&store, StateRead::Peers).await, StateReply::Peers(vec![peer("A")]), "{damage}");
    }
}

#[tokio::test]
async fn a_reason_of_a_newer_version_keeps_its_message() {
    let (store, home) = fresh_store();
    fill(&store).await;
    edit(home.path(), "UPDATE outbox SET error_code = 'BL-E9999', error_message = 'why'");
    let StateReply::Outbox(entries) = read(&store, StateRead::Outbox).await else { panic!("another answer") };
    let expected = (branchline_core::code::Code::INTERNAL, "why".to_owned());
    assert_eq!(entries[0].last_error, Some(expected));
}
