//! The conformance suite for [`Database`]: what every engine must do.
//!
//! Each claim is one function over a [`Fixture`], which makes databases of engine-neutral [`Shape`]s;
//! [`database_suite!`](crate::database_suite) makes a test of each. Wherever something is refused, the exact code is
//! asserted, and that the target's hashes are what they were.
//!
//! | module | claims about |
//! |---|---|
//! | `restoring` | rows that arrive, counts, triggers, keys that go on numbering |
//! | `refusing` | what does not fit, and that nothing of it stays |
//! | `swapping` | unique values that change hands, cycles, self-references |
//! | `mirroring` | rows that the backup does not hold |
//! | `proving` | snapshots, hashes, digests |
//! | `remembering` | the ledger: repeats, forks, sessions that end early |
//! | `capturing` | changes: noted, packed, merged by versions; a suite of its own |

pub mod backup;
pub mod capturing;
pub mod mirroring;
mod postgres;
pub mod proving;
pub mod refusing;
pub mod remembering;
pub mod restoring;
mod shape;
mod sqlite;
pub mod swapping;

pub use backup::{TestBackup, hashes_of, table_name};
pub use postgres::PostgresFixture;
pub use shape::{Engine, Shape};
pub use sqlite::SqliteFixture;

use std::sync::Arc;

use branchline_core::code::{Code, Explain};
use branchline_core::ports::{BoxFuture, Database, DatabaseError};

/// Makes databases for tests.
pub trait Fixture: Send + Sync {
    /// A new database with the tables of `shape`, and no rows.
    fn create(&self, shape: Shape) -> BoxFuture<'_, Box<dyn TestDatabase>>;
}

/// One database, and a way past the port: what the shop's own program would do.
pub trait TestDatabase: Send + Sync {
    /// The port.
    fn database(&self) -> Arc<dyn Database>;

    /// Runs statements.
    fn execute<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, ()>;

    /// The first column of each row, as text.
    fn query<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Vec<String>>;

    /// A session of the shop's own program that stays open.
    fn session(&self) -> BoxFuture<'_, Box<dyn TestSession>>;

    /// A session of a role that may write the rows of the shop's tables, and nothing else. SQLite knows no roles: there
    /// it is a session like any other.
    fn clerk(&self) -> BoxFuture<'_, Box<dyn TestSession>>;

    /// The engine.
    fn engine(&self) -> Engine;
}

/// A session of the shop's own program: a transaction that it begins is open until it ends it. It waits for a lock for
/// ten seconds at most, so that a claim about what waits for nothing fails and does not hang.
pub trait TestSession: Send {
    /// Runs statements.
    ///
    /// # Errors
    /// What the database said; a transaction that was begun is still to be ended.
    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), String>>;
}

/// Runs statements that must work.
///
/// # Panics
/// Where they do not.
pub async fn run_in(session: &mut dyn TestSession, sql: &str) {
    session.run(sql).await.unwrap_or_else(|message| panic!("{sql}: {message}"));
}

/// How a fixture reaches the adapter under test, which the testkit must not know.
pub type Connect =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Arc<dyn Database>, DatabaseError>> + Send + Sync>;

/// Makes a test of each claim. `$fixture` names a function that answers a [`Fixture`].
#[macro_export]
macro_rules! database_suite {
    ($fixture:path) => {
        $crate::database_suite!(@module $fixture; restoring;
            a_full_backup_restores_into_an_empty_database
            rows_that_are_equal_are_left_alone_and_counted
            rows_that_differ_are_updated_and_counted
            rows_that_the_backup_lacks_stay
            columns_that_the_backup_lacks_are_kept
            a_table_larger_than_a_batch_arrives_whole
            values_at_their_edges_arrive_unchanged
            texts_that_differ_in_case_alone_are_updated
            names_that_try_to_be_sql_are_only_names
            generated_columns_are_compared_and_not_written
            a_restored_table_goes_on_numbering
            members_in_another_order_are_read
            staging_locks_nothing
        );
        $crate::database_suite!(@module $fixture; swapping;
            swapped_unique_values_are_restored
            a_ring_of_unique_values_is_restored
            unique_values_that_are_null_are_swapped
            a_unique_value_moves_to_a_new_row
            a_self_reference_is_restored
            a_cycle_of_foreign_keys_is_restored
        );
        $crate::database_suite!(@module $fixture; refusing;
            an_unknown_table_is_refused
            a_table_without_a_key_is_refused
            an_unknown_column_is_refused
            a_column_that_is_needed_is_missed
            a_type_that_is_not_held_is_refused
            a_value_that_does_not_fit_is_refused
            another_key_is_refused
            a_generated_column_in_a_backup_is_refused
            a_row_that_is_no_json_is_refused
            a_member_that_stands_twice_is_refused
            an_orphan_is_refused
            a_unique_clash_is_refused
            two_rows_of_one_key_are_refused
            a_missing_value_is_refused
            a_broken_check_is_refused
            a_failure_on_the_last_row_leaves_nothing
        );
        $crate::database_suite!(@module $fixture; mirroring;
            a_mirror_removes_what_the_backup_lacks
            a_mirror_keeps_children_that_moved
            a_mirror_frees_unique_values
            a_mirror_of_a_cycle_removes_it
            a_mirror_that_would_cascade_outside_is_refused
            a_mirror_that_leaves_an_orphan_outside_is_refused
        );
        $crate::database_suite!(@module $fixture; proving;
            a_snapshot_does_not_see_later_writes
            a_snapshot_holds_up_nobody
            hashes_are_equal_after_a_restore
            hashes_do_not_depend_on_the_order_of_rows
            row_digests_name_what_differs
            a_batch_is_bounded
            the_ledger_is_no_table_of_the_shop
        );
        $crate::database_suite!(@module $fixture; remembering;
            a_repeat_is_known
            the_last_backup_of_a_source_is_known
            a_fork_is_refused
            the_ledger_names_the_database_once
            an_aborted_session_leaves_nothing
            a_dropped_session_leaves_nothing
            two_sessions_do_not_mix
        );
    };
    (@module $fixture:path; $module:ident; $($claim:ident)+) => {
        mod $module {
            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let fixture = $fixture();
                    $crate::database::$module::$claim(&fixture).await;
                }
            )+
        }
    };
}

/// The value, or a panic that says what the database said.
#[track_caller]
pub fn worked<T>(result: Result<T, DatabaseError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{} {}: {error}", error.code(), error.code().name()),
    }
}

/// Asserts that the result is an error of that code.
#[track_caller]
pub fn assert_refused<T>(result: Result<T, DatabaseError>, code: Code) -> DatabaseError {
    match result {
        Ok(_) => panic!("{} was expected, and it worked", code.name()),
        Err(error) => {
            assert_eq!(error.code(), code, "{} was expected, and it was {error:?}", code.name());
            error
        }
    }
}
