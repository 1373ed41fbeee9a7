//! Filters as only PostgreSQL has them: conditions in the shop's own words, partitions, old ledgers.

use std::sync::Arc;

use branchline_core::code::Code;
use branchline_core::id::{Epoch, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::pack::{Audience, PackPlan, PackRequest, plan_pack};
use branchline_core::ports::{Amendment, AttachRequest, Changes, Database, HashSpec};
use branchline_core::scope::{Filter, PeerScope};
use branchline_testkit::database::backup::specs_of;
use branchline_testkit::database::capturing::filter;
use branchline_testkit::database::{assert_refused, table_name, worked};
use branchline_testkit::state::server_id;

use super::database::TestDatabase;

async fn attached(sql: &str) -> (TestDatabase, Arc<dyn Database>) {
    let database = TestDatabase::with(sql).await;
    let port = database.open().await;
    let request = AttachRequest { server: server_id("HQ"), epoch: Epoch::new(1), except: Vec::new() };
    worked(port.capture().attach(request).await);
    (database, port)
}

fn peer() -> ServerId {
    server_id("STORE-001")
}

/// A plan for the peer: of everything, for one that has nothing; or of what it lacks that has all up to the pack before.
fn plan(changes: &dyn Changes, filters: &[Filter], full: bool) -> PackPlan {
    let position = changes.position();
    let mut acknowledged = Knowledge::new();
    for (life, generation) in position.knowledge.iter().filter(|_| !full) {
        let before = branchline_core::id::Generation::new(generation.value().saturating_sub(1));
        acknowledged.add(branchline_core::version::Dot::new(life.clone(), before));
    }
    let audience = Audience { acknowledged, lent: Knowledge::new(), relay: false };
    let scope = PeerScope::derive(changes.schema(), filters, &peer());
    plan_pack(position, &audience, full).scoped(peer(), scope)
}

/// The lines of a table that a pack brings, without their versions, sorted; the peer has them then.
async fn lines(port: &dyn Database, filters: &[Filter], table: &str, full: bool) -> Vec<String> {
    let mut changes = worked(port.capture().pack(PackRequest::default()).await);
    let plan = plan(&*changes, filters, full);
    let found = worked(changes.tables(&plan).await);
    let mut lines = Vec::new();
    if found.iter().any(|with| with.table.as_str() == table) {
        worked(changes.open(&table_name(table), &plan).await);
        while let Some(batch) = worked(changes.next().await) {
            lines.extend(batch.objects().map(|line| {
                let text = String::from_utf8(line.to_vec()).expect("UTF-8");
                text.split_once("],").map_or(text.clone(), |(_, rest)| format!("{{{rest}"))
            }));
        }
    }
    worked(changes.close().await);
    worked(port.capture().amend(Amendment::ConfirmScope { peer: peer() }).await);
    lines.sort();
    lines
}

const IN_WORDS: &str = "
    CREATE TYPE stage AS ENUM ('draft', 'sent', 'paid');
    CREATE TABLE invoice (id int PRIMARY KEY, stage stage, at timestamptz, \"odd \"\"name\" text);
    CREATE FUNCTION is_open(stage) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1 <> 'paid' $$;
    INSERT INTO invoice VALUES (1, 'draft', '2026-01-01 00:30Z', 'x'), (2, 'paid', '2026-01-01', 'y'),
      (3, 'sent', '2025-12-31 23:30Z', ')');";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_in_the_words_of_the_shop() {
    let (_database, port) = attached(IN_WORDS).await;
    for (condition, expected) in [
        ("is_open(stage)", vec![1, 3]),
        ("stage = 'paid'::stage OR public.is_open(invoice.stage) IS NULL", vec![2]),
        // A time without a zone is in UTC, wherever the role is.
        ("at >= '2026-01-01 00:00'", vec![1, 2]),
        ("\"odd \"\"name\" = ')' -- (", vec![3]),
        ("id IN (SELECT max(id) FROM invoice)", vec![3]),
        ("'t'", vec![1, 2, 3]),
    ] {
        let found = lines(&*port, &[filter("invoice", condition)], "invoice", true).await;
        let ids: Vec<_> = found
            .iter()
            .filter(|line| !line.contains("$deleted"))
            .map(|line| line[6..7].to_owned())
            .collect();
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(ids, expected, "{condition}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_without_an_answer_for_a_row_spoils_no_other_pack() {
    let (database, port) = attached(IN_WORDS).await;
    database.execute("UPDATE invoice SET stage = 'sent' WHERE id = 2").await;
    let broken = [filter("invoice", "6 / (id - 2) > 0")];
    let mut changes = worked(port.capture().pack(PackRequest::default()).await);
    let (bad, good) = (plan(&*changes, &broken, true), plan(&*changes, &[filter("invoice", "id = 2")], true));
    let error = assert_refused(changes.tables(&bad).await.map(drop), Code::FILTER_INVALID);
    assert!(error.to_string().contains("division by zero"), "{error}");
    assert_eq!(worked(changes.tables(&good).await).len(), 1);
    worked(changes.open(&table_name("invoice"), &good).await);
    assert_eq!(worked(changes.next().await).expect("a row").rows, 1);
    let parameter = plan(&*changes, &[filter("invoice", "id = $1")], true);
    assert_refused(changes.tables(&parameter).await.map(drop), Code::FILTER_INVALID);
    worked(changes.close().await);
    let mut snapshot = worked(port.snapshot().await);
    let scope = PeerScope::derive(snapshot.schema(), &broken, &peer());
    let spec = HashSpec { scope, ..specs_of(snapshot.schema()).remove(0) };
    assert_refused(snapshot.hashes(&spec).await, Code::FILTER_INVALID);
}

const PARTED: &str = "
    CREATE TABLE shop (region int, id int, name text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
    CREATE TABLE shop_1 PARTITION OF shop FOR VALUES IN (1);
    CREATE TABLE shop_2 PARTITION OF shop FOR VALUES IN (2, 3);
    CREATE TABLE sale (id int PRIMARY KEY, region int, shop int, FOREIGN KEY (region, shop) REFERENCES shop);
    INSERT INTO shop VALUES (1, 1, 'ours'), (2, 1, 'theirs'), (3, 9, 'ours');
    INSERT INTO sale VALUES (1, 1, 1), (2, 2, 1), (3, NULL, 1), (4, 3, 9);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_several_columns_is_followed_into_partitions() {
    let (database, port) = attached(PARTED).await;
    let ours = [Filter { follow: true, ..filter("shop", "name = 'ours'") }];
    let all = lines(&*port, &ours, "sale", true).await;
    assert_eq!(all.len(), 3, "{all:?}");
    database.execute("UPDATE shop SET name = CASE region WHEN 1 THEN 'sold' ELSE 'ours' END").await;
    let moved = lines(&*port, &ours, "sale", false).await;
    assert_eq!(moved, [r#"{"$deleted":"scope","id":1}"#, r#"{"id":2,"region":2,"shop":1}"#]);
    assert!(lines(&*port, &ours, "sale", false).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_from_before_filters_takes_them_up() {
    let (database, port) =
        attached("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2)").await;
    drop(port);
    database
        .execute(
            "DROP TABLE branchline.in_scope, branchline.scope; ALTER TABLE branchline.captured DROP in_part;
             DELETE FROM branchline.migration WHERE version = 3",
        )
        .await;
    let port = database.open().await;
    assert!(worked(port.capture().look().await).is_some());
    assert_eq!(lines(&*port, &[filter("t", "v = 1")], "t", true).await, [r#"{"id":1,"v":1}"#]);
    worked(port.capture().detach().await);
    assert!(!database.dump_all().contains("branchline"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_dropped_takes_its_record_along() {
    let (database, port) = attached("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let all = [filter("t", "id > 0")];
    assert_eq!(lines(&*port, &all, "t", true).await.len(), 1);
    database.execute("DROP TABLE t").await;
    worked(worked(port.capture().pack(PackRequest::default()).await).close().await);
    let none = "DO $$ BEGIN
        ASSERT NOT EXISTS (SELECT FROM branchline.scope) AND NOT EXISTS (SELECT FROM branchline.in_scope);
      END $$";
    database.execute(none).await;
}
