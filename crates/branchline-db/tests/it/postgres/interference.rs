//! What a shop's own triggers, cascades and changes of tables would do to a backup: refused, waited for, or seen.

use branchline_core::code::Code;
use branchline_core::ports::{DatabaseError, Snapshot};
use branchline_testkit::database::{TestBackup, assert_refused, hashes_of, table_name, worked};

use super::database::{TestDatabase, client};

async fn pair(sql: &str) -> (TestDatabase, TestDatabase) {
    (TestDatabase::with(sql).await, TestDatabase::with(sql).await)
}

/// A target whose trigger does `body` before each row of `t` of one kind of statement.
async fn with_trigger(statement: &str, body: &str) -> (TestDatabase, TestDatabase) {
    let (source, target) = pair("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    source.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
    target
        .execute(&format!(
            "INSERT INTO t VALUES (1, 'old');
             CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
             CREATE TRIGGER meddling BEFORE {statement} ON t FOR EACH ROW EXECUTE FUNCTION meddle()"
        ))
        .await;
    (source, target)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_trigger_drops_or_gives_another_key_are_refused() {
    for (statement, body) in [
        ("INSERT", "RETURN CASE WHEN NEW.id <> 2 THEN NEW END;"),
        ("INSERT", "NEW.id := NEW.id + 100; RETURN NEW;"),
        ("UPDATE", "RETURN NULL;"),
        ("UPDATE", "NEW.id := 100; RETURN NEW;"),
    ] {
        let (source, target) = with_trigger(statement, body).await;
        let backup = TestBackup::of(&*source.open().await).await;
        let error = assert_refused(backup.apply(&*target.open().await).await, Code::CONSTRAINT_BROKEN);
        let DatabaseError::Constraint { table, constraint, .. } = &error else { panic!("{error:?}") };
        assert_eq!((table.as_str(), constraint.as_str()), ("t", "meddling"), "{body}");
        assert_eq!(target.query("SELECT id || v FROM t").await, ["1old"], "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_fills_a_column_is_no_fault() {
    let (source, target) = with_trigger("INSERT OR UPDATE", "NEW.v := upper(NEW.v); RETURN NEW;").await;
    let backup = TestBackup::of(&*source.open().await).await;
    let report = worked(backup.apply(&*target.open().await).await);
    assert_eq!((report.tables[0].updated, report.tables[0].inserted), (1, 2));
    assert_eq!(target.query("SELECT v FROM t ORDER BY id").await, ["A", "B", "C"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_is_refused_where_other_rows_would_follow_the_parked_value() {
    for action in ["CASCADE", "SET NULL"] {
        let (source, target) = pair(&format!(
            "CREATE TABLE dept (id int PRIMARY KEY, code text UNIQUE);
             CREATE TABLE emp (id int PRIMARY KEY, code text REFERENCES dept (code) ON UPDATE {action})"
        ))
        .await;
        source.execute("INSERT INTO dept VALUES (1, 'B'), (2, 'A')").await;
        target.execute("INSERT INTO dept VALUES (1, 'A'), (2, 'B'); INSERT INTO emp VALUES (1, 'A')").await;
        let backup = TestBackup::of_tables(&*source.open().await, &["dept"]).await;
        assert_refused(backup.apply(&*target.open().await).await, Code::GROUP_NOT_MERGEABLE);
        assert_eq!(target.query("SELECT code FROM emp").await, ["A"], "{action}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_would_cascade_to_rows_of_the_backup_is_refused() {
    for action in ["CASCADE", "SET NULL"] {
        let columns =
            "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, parent int";
        // The source checks nothing: its child points at a parent that only the target has.
        let source = TestDatabase::with(&format!("{columns})")).await;
        let target = TestDatabase::with(&format!("{columns} REFERENCES parent ON DELETE {action})")).await;
        source.execute("INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1), (2, 9)").await;
        target.execute("INSERT INTO parent VALUES (9)").await;
        let backup = TestBackup::of(&*source.open().await).await.mirrored();
        assert_refused(backup.apply(&*target.open().await).await, Code::MIRROR_CASCADE);
        assert_eq!(target.query("SELECT id FROM parent").await, ["9"], "{action}");
    }
}

async fn rows_of(snapshot: &mut dyn Snapshot, table: &str) -> u64 {
    worked(snapshot.open(&table_name(table)).await);
    let mut rows = 0;
    while let Some(batch) = worked(snapshot.next().await) {
        rows += batch.rows;
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_not_emptied_or_rebuilt_while_a_snapshot_is_open() {
    let database = TestDatabase::with(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g FROM generate_series(1, 1000) AS g;
         CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (100); INSERT INTO p VALUES (1), (2)",
    )
    .await;
    let mut snapshot = worked(database.open().await.snapshot().await);
    let shop = client(&database.url()).await;
    shop.batch_execute("SET lock_timeout = 100").await.unwrap();
    for statement in ["TRUNCATE t", "ALTER TABLE t ALTER v TYPE bigint", "TRUNCATE p1", "DROP TABLE p1"] {
        let error = shop.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code().map(|state| state.code()), Some("55P03"), "{statement}");
    }
    assert_eq!(rows_of(&mut *snapshot, "t").await, 1000);
    assert_eq!(rows_of(&mut *snapshot, "p").await, 2);
}

/// Returns when a session of the database waits for a lock.
async fn until_someone_waits(database: &TestDatabase) {
    let waiting = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                    WHERE NOT l.granted AND d.datname = current_database()";
    while database.query(waiting).await == ["0"] {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_began_before_a_table_was_rebuilt_begins_again() {
    let database = TestDatabase::with(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g FROM generate_series(1, 1000) AS g",
    )
    .await;
    // The snapshot gives way before the deadlock check, so leave it time.
    database.execute(&format!("ALTER DATABASE {} SET deadlock_timeout = '60s'", database.name)).await;
    let port = database.open().await;
    let shop = client(&database.url()).await;
    // Takes the lock that a rebuild ends with, and makes another file.
    shop.batch_execute("BEGIN; ALTER TABLE t ALTER v TYPE bigint").await.unwrap();
    let snapshot = tokio::spawn(async move { worked(port.snapshot().await) });
    until_someone_waits(&database).await;
    shop.batch_execute("COMMIT").await.unwrap();
    let mut snapshot = snapshot.await.unwrap();
    assert_eq!(rows_of(&mut *snapshot, "t").await, 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_altered_since_it_was_fitted_makes_the_apply_busy() {
    for change in [
        "ALTER TABLE t ALTER v TYPE varchar(1)",
        "ALTER TABLE t ADD w int NOT NULL DEFAULT 0",
        "ALTER TABLE t DROP v; ALTER TABLE t ADD v text",
        "DROP TABLE t",
        "ALTER TABLE t RENAME TO u; CREATE TABLE t (id int PRIMARY KEY, v text)",
    ] {
        let (source, target) = pair("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
        source.execute("INSERT INTO t VALUES (1, 'a')").await;
        let backup = TestBackup::of(&*source.open().await).await;
        let mut apply = worked(backup.staged(&*target.open().await).await);
        target.execute(change).await;
        let error = assert_refused(apply.merge().await, Code::DATABASE_BUSY);
        assert!(
            matches!(&error, DatabaseError::Busy { message } if message.contains("altered")),
            "{change}: {error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_commits_durably_even_where_the_database_does_not() {
    let (source, target) = pair("CREATE TABLE t (id int PRIMARY KEY)").await;
    source.execute("INSERT INTO t VALUES (1)").await;
    target
        .execute(&format!(
            "ALTER DATABASE {} SET synchronous_commit = off; CREATE TABLE seen (setting text);
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
             CREATE TRIGGER seeing AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION see()",
            target.name
        ))
        .await;
    worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    assert_eq!(target.query("SELECT setting FROM seen").await, ["on"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_can_rely_on_unique_keys_of_tables_that_were_filled_directly() {
    let sql = "CREATE TABLE big (id int PRIMARY KEY, code text); CREATE FUNCTION coded(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
                 $$ BEGIN RETURN shorten($1); END $$;
               CREATE SCHEMA shop; CREATE FUNCTION shop.shorten(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT left($1, 5)';
               CREATE TABLE small (id int PRIMARY KEY);";
    let (source, target) = pair(sql).await;
    source
        .execute("INSERT INTO big SELECT g, 'c' || g FROM generate_series(1, 20100) AS g; INSERT INTO small VALUES (1), (99999)")
        .await;
    target
        .execute(&format!(
            "ALTER DATABASE {} SET search_path = public, shop; SET search_path = public, shop;
             CREATE INDEX by_code ON big (coded(code));
             CREATE FUNCTION know() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO big VALUES (NEW.id, 'new') ON CONFLICT (id) DO NOTHING; RETURN NEW; END $$;
             CREATE TRIGGER knowing AFTER INSERT ON small FOR EACH ROW EXECUTE FUNCTION know()",
            target.name
        ))
        .await;
    let port = target.open().await;
    worked(TestBackup::of(&*source.open().await).await.apply(&*port).await);
    assert_eq!(target.query("SELECT count(*) FROM big").await, ["20101"]);
    assert_eq!(
        hashes_of(&*port).await[&table_name("small")],
        hashes_of(&*source.open().await).await[&table_name("small")]
    );
}
