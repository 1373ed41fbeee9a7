//! The state as its callers see it: the testkit's suites over SQLite and a folder, and what only these have.

#![allow(clippy::unwrap_used, reason = "what tests call fails the test too")]

mod files;
mod full_disk;
mod home_lock;
mod lasting;
mod leftovers;

use std::sync::Arc;

use branchline_state::{FolderSpool, SqliteState};
use branchline_testkit::spool::SharedSpool;
use branchline_testkit::state::SharedStore;
use tempfile::TempDir;

fn fresh_store() -> (SharedStore, TempDir) {
    let home = tempfile::tempdir().unwrap();
    (Arc::new(SqliteState::open(home.path()).unwrap()), home)
}

fn fresh_spool() -> (SharedSpool, TempDir) {
    let home = tempfile::tempdir().unwrap();
    (Arc::new(FolderSpool::open(home.path()).unwrap()), home)
}

mod sqlite_state {
    branchline_testkit::state_store_suite!(super::fresh_store);
}

mod folder_spool {
    branchline_testkit::spool_suite!(super::fresh_spool);
}
