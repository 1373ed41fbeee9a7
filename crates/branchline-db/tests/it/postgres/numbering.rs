//! Sequences after an apply: never set back, never moved into another series, never used up by a foreign number.

use branchline_testkit::database::{TestBackup, worked};

use super::database::TestDatabase;

/// Applies rows with these numbers to a table that is numbered as declared; answers the number that the target
/// gives out next.
async fn next_after(declared: &str, target_has: &str, numbers: &str) -> String {
    let source = TestDatabase::with("CREATE TABLE t (id bigint PRIMARY KEY)").await;
    source.execute(&format!("INSERT INTO t SELECT unnest('{numbers}'::bigint[])")).await;
    let target = TestDatabase::with(&format!(
        "CREATE SEQUENCE numbers {declared}; CREATE TABLE t (id bigint PRIMARY KEY DEFAULT nextval('numbers')); {target_has}"
    ))
    .await;
    worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    target.query("SELECT nextval('numbers')").await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_that_begins_beyond_the_rows_is_not_set_back() {
    assert_eq!(next_after("START 2000000", "", "{1,50}").await, "2000000");
    assert_eq!(next_after("", "SELECT setval('numbers', 500, false)", "{1,50}").await, "500");
    assert_eq!(next_after("", "SELECT setval('numbers', 50)", "{1,50}").await, "51");
    assert_eq!(next_after("", "SELECT setval('numbers', 50, false)", "{1,50}").await, "51");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_outside_a_sequences_bounds_do_not_use_it_up() {
    assert_eq!(next_after("MAXVALUE 1000", "", "{7,5000}").await, "8");
    assert_eq!(next_after("MAXVALUE 1000", "", "{5000}").await, "1");
    assert_eq!(next_after("INCREMENT -1 MINVALUE -1000 MAXVALUE -1", "", "{-7,-5000,12}").await, "-8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_keeps_to_its_own_series() {
    assert_eq!(next_after("INCREMENT 10 START 1", "", "{1,11,1002}").await, "1011");
    assert_eq!(next_after("INCREMENT 10 START 1", "", "{1001}").await, "1011");
    assert_eq!(next_after("INCREMENT 10 START 3", "SELECT nextval('numbers')", "{4}").await, "13");
    assert_eq!(next_after("INCREMENT -10 START -1 MAXVALUE -1", "", "{-1002}").await, "-1011");
}
