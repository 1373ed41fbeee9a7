//! Rules of the shop's schema: conflict clauses, triggers, collations, foreign keys that were off.

use branchline_core::code::{Code, Explain};
use branchline_testkit::database::{TestBackup, hashes_of, refusing::assert_backup_refused, worked};

use super::with_tables;

#[tokio::test]
async fn a_conflict_clause_replaces_no_row() {
    let plain = "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE);";
    let replacing = "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE ON CONFLICT REPLACE);";
    let (source, target) = (with_tables(plain).await, with_tables(replacing).await);
    source.execute("INSERT INTO t VALUES (1, 'a')").await;
    target.execute("INSERT INTO t VALUES (2, 'a')").await;
    let backup = TestBackup::of(&*source.database()).await;
    assert_backup_refused(&*target, &backup, Code::UNIQUE_CONFLICT).await;
}

#[tokio::test]
async fn triggers_of_the_shop_fire_with_their_own_conflict_clauses() {
    let tables = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE sums (one INTEGER PRIMARY KEY, n INTEGER);";
    let trigger = "CREATE TRIGGER counted AFTER INSERT ON t BEGIN
        INSERT OR REPLACE INTO sums VALUES (1, (SELECT count(*) FROM t)); END;";
    let (source, target) = (with_tables(tables).await, with_tables(tables).await);
    source.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
    target.execute(trigger).await;
    let backup = TestBackup::of_tables(&*source.database(), &["t"]).await;
    assert_eq!(worked(backup.apply(&*target.database()).await).tables[0].inserted, 3);
    assert_eq!(target.query("SELECT n FROM sums").await, ["3"]);
}

#[tokio::test]
async fn a_trigger_that_leaves_out_rows_is_found_out() {
    let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);";
    let (source, target) = (with_tables(table).await, with_tables(table).await);
    source.execute("INSERT INTO t VALUES (1, 'a'), (2, 'skip')").await;
    target
        .execute(
            "CREATE TRIGGER left_out BEFORE INSERT ON t WHEN new.v = 'skip' BEGIN SELECT raise(IGNORE); END;",
        )
        .await;
    let backup = TestBackup::of(&*source.database()).await;
    assert_backup_refused(&*target, &backup, Code::CONSTRAINT_BROKEN).await;
    target.execute("INSERT INTO t VALUES (2, 'keep')").await;
    target
        .execute(
            "CREATE TRIGGER kept BEFORE UPDATE ON t WHEN old.v = 'keep' BEGIN SELECT raise(IGNORE); END;",
        )
        .await;
    assert_backup_refused(&*target, &backup, Code::CONSTRAINT_BROKEN).await;
}

#[tokio::test]
async fn a_trigger_that_touches_what_was_written_refuses_nothing() {
    let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, touched TEXT);";
    let (source, target) = (with_tables(table).await, with_tables(table).await);
    source.execute("INSERT INTO t VALUES (1, 'new', NULL)").await;
    target.execute("INSERT INTO t VALUES (1, 'old', NULL)").await;
    target
        .execute("CREATE TRIGGER touch AFTER UPDATE OF v ON t BEGIN UPDATE t SET touched = 'yes' WHERE id = new.id; END;")
        .await;
    let report = worked(TestBackup::of(&*source.database()).await.apply(&*target.database()).await);
    assert_eq!(report.tables[0].updated, 1);
    assert_eq!(target.query("SELECT v || touched FROM t").await, ["newyes"]);
}

#[tokio::test]
async fn a_key_without_case_is_matched_and_rewritten() {
    let table = "CREATE TABLE t (name TEXT PRIMARY KEY COLLATE NOCASE, v INTEGER);";
    let (source, target) = (with_tables(table).await, with_tables(table).await);
    source.execute("INSERT INTO t VALUES ('TEA', 1)").await;
    target.execute("INSERT INTO t VALUES ('tea', 1)").await;
    let report = worked(TestBackup::of(&*source.database()).await.apply(&*target.database()).await);
    assert_eq!((report.tables[0].updated, report.tables[0].inserted), (1, 0));
    assert_eq!(target.query("SELECT name FROM t").await, ["TEA"]);
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}

#[tokio::test]
async fn two_keys_that_are_one_here_are_refused() {
    let (source, target) = (
        with_tables("CREATE TABLE t (name TEXT PRIMARY KEY);").await,
        with_tables("CREATE TABLE t (name TEXT PRIMARY KEY COLLATE NOCASE);").await,
    );
    source.execute("INSERT INTO t VALUES ('TEA'), ('tea')").await;
    target.execute("INSERT INTO t VALUES ('Tea')").await;
    let backup = TestBackup::of(&*source.database()).await;
    assert_backup_refused(&*target, &backup, Code::UNIQUE_CONFLICT).await;
}

#[tokio::test]
async fn what_was_broken_before_is_left_alone() {
    let tables = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);";
    let (source, target) = (with_tables(tables).await, with_tables(tables).await);
    source.execute("INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1)").await;
    target.execute("PRAGMA foreign_keys = OFF; INSERT INTO c VALUES (7, 99), (8, 1)").await;
    worked(TestBackup::of(&*source.database()).await.apply(&*target.database()).await);
    assert_eq!(target.query("SELECT id FROM c ORDER BY id").await, ["1", "7", "8"]);
}

#[tokio::test]
async fn rows_broken_at_the_source_are_refused_though_the_shop_never_checks() {
    let tables = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);";
    let (source, target) = (with_tables(tables).await, with_tables(tables).await);
    source.execute("PRAGMA foreign_keys = OFF; INSERT INTO c VALUES (7, 99)").await;
    let backup = TestBackup::of(&*source.database()).await;
    assert_backup_refused(&*target, &backup, Code::FOREIGN_KEY_BROKEN).await;
    // The same row is there already, broken: the backup's must hold all the same.
    target.execute("PRAGMA foreign_keys = OFF; INSERT INTO c VALUES (7, 99)").await;
    assert_backup_refused(&*target, &backup, Code::FOREIGN_KEY_BROKEN).await;
}

#[tokio::test]
async fn a_foreign_key_that_cannot_be_checked_is_refused_by_name() {
    let nowhere = "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES nowhere);";
    let no_key = "CREATE TABLE p (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE c (id INTEGER PRIMARY KEY, p TEXT REFERENCES p (v));";
    for tables in [nowhere, no_key] {
        let (source, target) = (with_tables(tables).await, with_tables(tables).await);
        source.execute("PRAGMA foreign_keys = OFF; INSERT INTO c VALUES (1, NULL)").await;
        let backup = TestBackup::of(&*source.database()).await;
        assert_backup_refused(&*target, &backup, Code::FOREIGN_KEY_BROKEN).await;
    }
}

#[tokio::test]
async fn swaps_work_in_strict_tables_of_composite_keys_and_without_rowid() {
    let table = "CREATE TABLE t (a TEXT, b INTEGER, place INTEGER NOT NULL, shelf TEXT NOT NULL,
        PRIMARY KEY (a, b), UNIQUE (place), UNIQUE (shelf, place)) STRICT, WITHOUT ROWID;";
    let (source, target) = (with_tables(table).await, with_tables(table).await);
    source.execute("INSERT INTO t VALUES ('x', 1, 10, 's'), ('x', 2, 20, 's')").await;
    target.execute("INSERT INTO t VALUES ('x', 1, 20, 's'), ('x', 2, 10, 's')").await;
    let report = worked(TestBackup::of(&*source.database()).await.apply(&*target.database()).await);
    assert_eq!(report.tables[0].updated, 2);
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}

#[tokio::test]
async fn a_swap_that_a_rule_forbids_or_children_would_follow_is_refused() {
    let checked =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE CHECK (length(code) = 1));";
    let followed = "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE);
        CREATE TABLE c (id INTEGER PRIMARY KEY, code TEXT REFERENCES t (code) ON UPDATE CASCADE);";
    for tables in [checked, followed] {
        let (source, target) = (with_tables(tables).await, with_tables(tables).await);
        source.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
        target.execute("INSERT INTO t VALUES (1, 'b'), (2, 'a')").await;
        let backup = TestBackup::of(&*source.database()).await;
        assert_backup_refused(&*target, &backup, Code::GROUP_NOT_MERGEABLE).await;
    }
}

#[tokio::test]
async fn a_partial_or_computed_unique_index_is_mapped_by_its_name() {
    let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); CREATE UNIQUE INDEX by_lower ON t (lower(name));";
    let (source, target) = (with_tables(table).await, with_tables(table).await);
    source.execute("INSERT INTO t VALUES (1, 'TEA')").await;
    target.execute("INSERT INTO t VALUES (2, 'tea')").await;
    let error = TestBackup::of(&*source.database()).await.apply(&*target.database()).await.unwrap_err();
    assert_eq!(error.code(), Code::UNIQUE_CONFLICT);
    assert_eq!(error.to_string(), "unique key by_lower of table t: another row has the same by_lower");
}

#[tokio::test]
async fn sixteen_hundred_columns_are_merged_and_one_more_is_excluded() {
    let columns = |count: usize| (1..count).map(|n| format!(", c{n} INTEGER")).collect::<String>();
    let widest = format!("CREATE TABLE t (id INTEGER PRIMARY KEY{});", columns(1_600));
    let (source, target) = (with_tables(&widest).await, with_tables(&widest).await);
    source.execute("INSERT INTO t (id, c1599) VALUES (1, 7), (2, 8)").await;
    target.execute("INSERT INTO t (id, c1599) VALUES (1, 6)").await;
    let report = worked(TestBackup::of(&*source.database()).await.apply(&*target.database()).await);
    assert_eq!((report.tables[0].updated, report.tables[0].inserted), (1, 1));
    let wider = with_tables(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY{});", columns(1_601))).await;
    let schema = worked(wider.database().schema().await);
    assert_eq!(schema.syncable().count(), 0);
}

#[tokio::test]
async fn a_mirror_counts_what_its_own_cascades_remove() {
    let tables = "CREATE TABLE t (id INTEGER PRIMARY KEY, up INTEGER REFERENCES t ON DELETE CASCADE);
        CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b ON DELETE CASCADE);
        CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a ON DELETE CASCADE);";
    let (source, target) = (with_tables(tables).await, with_tables(tables).await);
    source.execute("INSERT INTO t VALUES (9, NULL); INSERT INTO a VALUES (9, NULL)").await;
    target.execute("INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2), (9, NULL)").await;
    target
        .execute("INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1), (2, 1); UPDATE a SET b = 1")
        .await;
    let backup = TestBackup::of(&*source.database()).await.mirrored();
    let report = worked(backup.apply(&*target.database()).await);
    for (table, deleted) in [("t", 3), ("a", 1), ("b", 2)] {
        assert_eq!(backup.merged(&report, table).deleted, deleted, "{table}");
    }
    assert_eq!(target.query("SELECT id FROM t").await, ["9"]);
}
