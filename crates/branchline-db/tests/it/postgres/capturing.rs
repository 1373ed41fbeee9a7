//! Capture as only PostgreSQL has it: partitions, tables that inherit, rights, keys of odd types, and what goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use branchline_core::code::Code;
use branchline_core::id::Epoch;
use branchline_core::pack::{PackPlan, PackRequest, Selection};
use branchline_core::ports::{AttachReport, AttachRequest, CaptureState, Database, DatabaseError};
use branchline_testkit::database::{assert_refused, table_name, worked};
use branchline_testkit::state::server_id;

use super::database::{TestDatabase, client, open};

fn request() -> AttachRequest {
    AttachRequest { server: server_id("STORE-001"), epoch: Epoch::new(1), except: Vec::new() }
}

async fn attach(database: &TestDatabase) -> (Arc<dyn Database>, AttachReport) {
    let port = database.open().await;
    let report = worked(port.capture().attach(request()).await);
    (port, report)
}

async fn state(port: &dyn Database) -> CaptureState {
    worked(port.capture().look().await).expect("changes are captured")
}

/// What a pack brings to somebody who has everything that was there before: lines of each table, sorted.
async fn changes(port: &dyn Database) -> BTreeMap<String, Vec<String>> {
    let mut changes = worked(port.capture().pack(PackRequest::default()).await);
    let generation = changes.position().generation;
    let floor = branchline_core::pack::Floor {
        life: changes.position().own.clone(),
        above: Some(branchline_core::id::Generation::new(generation.value().saturating_sub(1))),
    };
    let plan = PackPlan {
        selection: Selection::Above(vec![floor]),
        covers: changes.position().knowledge.clone(),
        acknowledged: changes.position().knowledge.clone(),
        scope: None,
    };
    let mut found = BTreeMap::new();
    for with in worked(changes.tables(&plan).await) {
        worked(changes.open(&with.table, &plan).await);
        let mut lines = Vec::new();
        while let Some(batch) = worked(changes.next().await) {
            lines.extend(batch.objects().map(|line| {
                let text = String::from_utf8(line.to_vec()).expect("UTF-8");
                let mark_end = text.find(']').map_or(0, |end| end + 2);
                format!("{{{}", &text[mark_end..])
            }));
        }
        lines.sort();
        found.insert(with.table.to_string(), lines);
    }
    worked(changes.close().await);
    found
}

fn lines(table: &str, lines: &[&str]) -> BTreeMap<String, Vec<String>> {
    [(table.to_owned(), lines.iter().map(|line| (*line).to_owned()).collect())].into_iter().collect()
}

const PARTITIONED: &str = "
    CREATE TABLE sale (id int, at date, v int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (id);
    CREATE TABLE sale_2_a PARTITION OF sale_2 FOR VALUES IN (1, 2, 3);
    CREATE TABLE sale_2_b PARTITION OF sale_2 DEFAULT;
    CREATE TABLE base (id int PRIMARY KEY, v int);
    CREATE TABLE heir (w int, PRIMARY KEY (id)) INHERITS (base);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detach_leaves_the_dump_equal() {
    let database = TestDatabase::with(&format!(
        "{PARTITIONED} CREATE TABLE \"Odd \"\"name\" (\"the key\" numeric(5,2) PRIMARY KEY);
         CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
         CREATE TRIGGER shouting AFTER INSERT ON base FOR EACH ROW EXECUTE FUNCTION shout()"
    ))
    .await;
    let before = database.dump_all();
    let (port, report) = attach(&database).await;
    assert_eq!(report.captured, 4);
    assert_ne!(database.dump_all(), before);
    database.execute("INSERT INTO base VALUES (1, 1); INSERT INTO sale VALUES (1, '2026-01-05', 1)").await;
    changes(&*port).await;
    worked(port.capture().detach().await);
    assert_eq!(database.dump_all(), before);
    assert_eq!(worked(port.capture().look().await), None);
    assert!(!worked(port.capture().has_changes().await));
    worked(port.capture().detach().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_a_root_and_to_its_partitions_are_both_noted() {
    let database = TestDatabase::with(PARTITIONED).await;
    let (port, _) = attach(&database).await;
    database
        .execute(
            "INSERT INTO sale VALUES (1, '2026-01-05', 1), (2, '2026-02-05', 2);
             INSERT INTO sale_1 VALUES (3, '2026-01-06', 3); INSERT INTO sale_2_b VALUES (9, '2026-02-06', 9)",
        )
        .await;
    let all = [
        r#"{"id":1,"at":"2026-01-05","v":1}"#,
        r#"{"id":2,"at":"2026-02-05","v":2}"#,
        r#"{"id":3,"at":"2026-01-06","v":3}"#,
        r#"{"id":9,"at":"2026-02-06","v":9}"#,
    ];
    assert_eq!(changes(&*port).await, lines("sale", &all));
    // A row that moves to another partition is a row that is gone and one that is new.
    database.execute("UPDATE sale SET at = '2026-02-07' WHERE id = 1; TRUNCATE sale_2_b").await;
    let moved = [
        r#"{"$deleted":true,"id":1,"at":"2026-01-05"}"#,
        r#"{"$deleted":true,"id":9,"at":"2026-02-06"}"#,
        r#"{"id":1,"at":"2026-02-07","v":1}"#,
    ];
    assert_eq!(changes(&*port).await, lines("sale", &moved));
    database.execute("TRUNCATE sale").await;
    assert_eq!(state(&*port).await.pending, 3);
    assert_eq!(changes(&*port).await["sale"].len(), 3);
    assert!(!state(&*port).await.tables[&table_name("sale")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_partitions_are_captured_from_their_first_row_on() {
    let database = TestDatabase::with(PARTITIONED).await;
    let (port, _) = attach(&database).await;
    database
        .execute(
            "CREATE TABLE sale_3 PARTITION OF sale FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
             INSERT INTO sale_3 VALUES (1, '2026-03-05', 1);
             CREATE TABLE sale_4 (id int, at date, v int, PRIMARY KEY (id, at)); INSERT INTO sale_4 VALUES (4, '2026-04-04', 4);
             ALTER TABLE sale ATTACH PARTITION sale_4 FOR VALUES FROM ('2026-04-01') TO ('2026-05-01')",
        )
        .await;
    let rows = [r#"{"id":1,"at":"2026-03-05","v":1}"#, r#"{"id":4,"at":"2026-04-04","v":4}"#];
    // The one that had become part of it is no table of its own any more.
    assert_eq!(changes(&*port).await, lines("sale", &rows));
    assert!(!state(&*port).await.tables[&table_name("sale")]);
    database.execute("TRUNCATE sale_3; DELETE FROM sale_4").await;
    assert_eq!(changes(&*port).await["sale"].len(), 2);
    // What went with a partition left no trace.
    database.execute("DROP TABLE sale_4").await;
    changes(&*port).await;
    assert!(state(&*port).await.tables[&table_name("sale")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_tables_that_inherit_are_noted_where_they_are() {
    let database = TestDatabase::with(PARTITIONED).await;
    database.execute("INSERT INTO base VALUES (1, 1); INSERT INTO heir VALUES (2, 2, 2)").await;
    let (port, _) = attach(&database).await;
    database.execute("UPDATE base SET v = v + 10").await;
    let found = changes(&*port).await;
    assert_eq!(found["base"], [r#"{"id":1,"v":11}"#]);
    assert_eq!(found["heir"], [r#"{"id":2,"v":12,"w":2}"#]);
    database.execute("TRUNCATE base").await;
    let found = changes(&*port).await;
    assert_eq!(found["base"], [r#"{"$deleted":true,"id":1}"#]);
    assert_eq!(found["heir"], [r#"{"$deleted":true,"id":2}"#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_of_the_shop_without_rights_on_the_ledger_writes_and_makes_partitions() {
    let mut database = TestDatabase::with("").await;
    let (shop, url) = database.role().await;
    database
        .execute(&format!("GRANT CREATE ON SCHEMA public TO {shop}; SET ROLE {shop}; {PARTITIONED}"))
        .await;
    let (port, _) = attach(&database).await;
    let session = client(&url).await;
    session
        .batch_execute(
            "CREATE TABLE sale_5 PARTITION OF sale FOR VALUES FROM ('2026-05-01') TO ('2026-06-01');
             INSERT INTO sale_5 VALUES (1, '2026-05-05', 1); INSERT INTO base VALUES (1, 1)",
        )
        .await
        .unwrap();
    for statement in [
        "SELECT * FROM branchline.change",
        "INSERT INTO branchline.change VALUES (1, NULL, 1, NULL, '1')",
        "CREATE TABLE own (id int); CREATE TRIGGER mine AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION branchline.capture_1()",
    ] {
        let error = session.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code().map(|state| state.code()), Some("42501"), "{statement}");
    }
    let found = changes(&*port).await;
    assert_eq!((found["sale"].len(), found["base"].len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named_for_all_tables_at_once() {
    let mut database = TestDatabase::with(PARTITIONED).await;
    let (role, url) = database.role().await;
    database
        .execute(&format!(
            "GRANT CREATE ON DATABASE {} TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
             GRANT TRIGGER ON heir TO {role}",
            database.name
        ))
        .await;
    let port = open(&url).await;
    let error = assert_refused(port.capture().attach(request()).await, Code::PRIVILEGE_MISSING);
    let DatabaseError::PrivilegeMissing { grant, .. } = error else { panic!("{error:?}") };
    for table in ["base", "sale", "sale_1", "sale_2_a", "sale_2_b"] {
        assert!(grant.contains(&format!("\"public\".\"{table}\"")), "{grant}");
    }
    assert!(!grant.contains("heir"), "{grant}");
    assert_eq!(worked(port.schema().await).syncable().count(), 3);
    assert_eq!(worked(port.capture().look().await), None);
    // A partition that holds no rows itself has triggers as well.
    database.execute(&format!("{grant}; GRANT TRIGGER ON sale_2 TO {role}")).await;
    assert_eq!(worked(port.capture().attach(request()).await).captured, 3);
    database
        .execute(
            "INSERT INTO base VALUES (1, 1); INSERT INTO sale VALUES (1, '2026-01-01', 1); TRUNCATE sale_1",
        )
        .await;
    assert_eq!(changes(&*port).await["base"].len(), 1);
    // A table that comes without the right is not captured, and holds up nothing.
    database.execute("CREATE TABLE later (id int PRIMARY KEY); INSERT INTO base VALUES (2, 2)").await;
    assert_eq!(changes(&*port).await["base"].len(), 1);
    let before = database.dump_schema();
    worked(port.capture().detach().await);
    assert_ne!(database.dump_schema(), before);
    assert_eq!(database.query("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_to_note_never_fails_the_write() {
    let database = TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    let (port, _) = attach(&database).await;
    database.execute("ALTER TABLE t RENAME id TO number; INSERT INTO t VALUES (1, 1)").await;
    assert!(state(&*port).await.tables[&table_name("t")], "no compare is due");
    assert!(worked(port.capture().has_changes().await));
    changes(&*port).await;
    assert!(!worked(port.capture().has_changes().await));
    database.execute("INSERT INTO t VALUES (2, 2)").await;
    assert_eq!(changes(&*port).await["t"], [r#"{"number":2,"v":2}"#]);
    database.execute("DROP TABLE branchline.change, branchline.missed; INSERT INTO t VALUES (3, 3)").await;
    assert_eq!(database.query("SELECT count(*) FROM t").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_one_text_however_a_session_writes_them() {
    let database = TestDatabase::with(
        "CREATE DOMAIN amount AS numeric; CREATE TYPE colour AS ENUM ('red', 'a b');
         CREATE TABLE n (id numeric PRIMARY KEY, v int); CREATE TABLE d (id amount PRIMARY KEY);
         CREATE TABLE f (id float8 PRIMARY KEY, v int); CREATE TABLE b (id bytea PRIMARY KEY);
         CREATE TABLE z (id timestamptz, c colour, PRIMARY KEY (id, c)); CREATE TABLE x (a text, b char(4), PRIMARY KEY (a, b));
         CREATE TABLE g (id text COLLATE \"C\" PRIMARY KEY); CREATE TABLE u (id uuid[] PRIMARY KEY)",
    )
    .await;
    let (port, report) = attach(&database).await;
    assert_eq!(report.captured, 8);
    database
        .execute(
            "SET datestyle = 'German'; SET timezone = 'Asia/Kathmandu'; SET bytea_output = 'escape'; SET extra_float_digits = -10;
             INSERT INTO n VALUES (1.0, 1); UPDATE n SET id = 1.00, v = 2; INSERT INTO d VALUES (10.500);
             INSERT INTO f VALUES ('-0', 1), (0.1, 2); UPDATE f SET id = 0, v = 3 WHERE v = 1; INSERT INTO b VALUES ('\\x00ff');
             INSERT INTO z VALUES ('2026-01-02 03:04:05.678901+00', 'a b'); INSERT INTO x VALUES ('{\"\\', 'a'), (',', 'b');
             INSERT INTO g VALUES ('ü'); INSERT INTO u VALUES ('{00000000-0000-4000-8000-000000000001}')",
        )
        .await;
    let keys = "SELECT DISTINCT key FROM branchline.change ORDER BY 1";
    assert_eq!(
        database.query(&format!("SET datestyle = 'ISO'; {keys}")).await,
        [
            "0",
            "0.1",
            "1",
            "10.5",
            "\\x00ff",
            "{\",\",b}",
            "{\"2026-01-02 03:04:05.678901+00\",\"a b\"}",
            "{\"{\\\"\\\\\",a}",
            "{00000000-0000-4000-8000-000000000001}",
            "ü"
        ]
    );
    let found = changes(&*port).await;
    assert_eq!(found["n"], [r#"{"id":"1.00","v":2}"#]);
    assert_eq!(found["f"], [r#"{"id":0.0,"v":3}"#, r#"{"id":0.1,"v":2}"#]);
    assert!(found.values().flatten().all(|line| !line.contains("$deleted")), "{found:?}");
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), 10);
    database
        .execute("DELETE FROM n; DELETE FROM d; DELETE FROM b; DELETE FROM z; DELETE FROM x; DELETE FROM g; DELETE FROM u")
        .await;
    let found = changes(&*port).await;
    assert_eq!(found["z"], [r#"{"$deleted":true,"id":"2026-01-02T03:04:05.678901Z","c":"a b"}"#]);
    assert_eq!(found["b"], [r#"{"$deleted":true,"id":"AP8="}"#]);
    assert!(found.values().flatten().all(|line| line.contains("$deleted")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_whose_equal_keys_differ_in_writing_are_left_out() {
    let database = TestDatabase::with(
        "CREATE COLLATION lax (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE c (id text COLLATE lax PRIMARY KEY); CREATE TABLE i (id interval PRIMARY KEY);
         CREATE TABLE j (id jsonb PRIMARY KEY); CREATE TABLE ok (id int PRIMARY KEY)",
    )
    .await;
    let (port, report) = attach(&database).await;
    assert_eq!((report.captured, report.added), (1, vec![table_name("ok")]));
    assert_eq!(worked(port.schema().await).syncable().count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_too_long_makes_a_compare_due() {
    let database = TestDatabase::with("CREATE TABLE t (id text PRIMARY KEY)").await;
    let (port, _) = attach(&database).await;
    database.execute("INSERT INTO t VALUES (repeat('x', 2001)), ('short')").await;
    assert_eq!(changes(&*port).await["t"], [r#"{"id":"short"}"#]);
    assert!(state(&*port).await.tables[&table_name("t")]);
    assert!(!worked(port.capture().has_changes().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_in_use_makes_attach_busy_and_a_second_one_goes_on() {
    let database =
        TestDatabase::with("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)").await;
    database.execute(&format!("ALTER DATABASE {} SET deadlock_timeout = '20ms'", database.name)).await;
    let till = client(&database.url()).await;
    till.batch_execute("BEGIN; INSERT INTO b VALUES (1)").await.unwrap();
    let port = database.open().await;
    let error = assert_refused(port.capture().attach(request()).await, Code::DATABASE_BUSY);
    assert!(matches!(&error, DatabaseError::Busy { message } if message.contains("table b")), "{error:?}");
    till.batch_execute("COMMIT").await.unwrap();
    let report = worked(port.capture().attach(request()).await);
    assert_eq!((report.captured, report.added), (2, vec![table_name("b")]));
    assert_eq!(
        worked(port.capture().attach(request()).await),
        AttachReport { captured: 2, ..AttachReport::default() }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_that_were_switched_off_or_taken_off_are_mended() {
    for damage in [
        "ALTER TABLE t DISABLE TRIGGER branchline_update",
        "DROP TRIGGER branchline_truncate ON t",
        "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (id, w)",
    ] {
        let database = TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY, w int NOT NULL)").await;
        let (port, _) = attach(&database).await;
        database.execute(damage).await;
        let report = worked(port.capture().attach(request()).await);
        assert_eq!(report.mended, [table_name("t")], "{damage}");
        assert!(state(&*port).await.tables[&table_name("t")], "{damage}");
        database.execute("INSERT INTO t VALUES (1, 1); UPDATE t SET w = 2; TRUNCATE t").await;
        let found = changes(&*port).await;
        assert!(
            found["t"].contains(&r#"{"$deleted":true,"id":1}"#.to_owned()) || found["t"].len() == 2,
            "{found:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_renamed_goes_on_under_its_new_name() {
    let database = TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY)").await;
    let (port, _) = attach(&database).await;
    database.execute("INSERT INTO t VALUES (1); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (2)").await;
    assert_eq!(changes(&*port).await, lines("u", &[r#"{"id":1}"#, r#"{"id":2}"#]));
    let tables = state(&*port).await.tables;
    assert_eq!(tables.into_iter().collect::<Vec<_>>(), [(table_name("u"), false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_that_was_put_aside_and_the_one_in_its_place_are_told_apart() {
    let database = TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let (port, _) = attach(&database).await;
    database
        .execute("ALTER TABLE t RENAME TO t_old; CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)")
        .await;
    let found = changes(&*port).await;
    assert_eq!(found, lines("t_old", &[r#"{"id":1}"#]));
    assert!(state(&*port).await.tables[&table_name("t")]);
    database.execute("INSERT INTO t VALUES (2, 2); INSERT INTO t_old VALUES (3)").await;
    let found = changes(&*port).await;
    assert_eq!((found["t"].len(), found["t_old"].len()), (1, 1));
}

/// The clock of whoever deleted the row was ahead; its tombstone is gone. Made anew, the row has to outrank the deletion,
/// which a server that has not heard of either may still bring.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_made_anew_is_later_than_a_deletion_that_is_forgotten() {
    let database = TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let (port, _) = attach(&database).await;
    database.execute("DELETE FROM t").await;
    changes(&*port).await;
    let ahead = 9_000_000_000_000_000_i64;
    database.execute(&format!("UPDATE branchline.version SET time = {ahead}")).await;
    let known_to_all = state(&*port).await.knowledge;
    let purged = port.capture().amend(branchline_core::ports::Amendment::Purge { known_to_all }).await;
    assert_eq!(purged.unwrap(), 1);
    database.execute("INSERT INTO t VALUES (1), (2)").await;
    let lines = changes(&*port).await;
    assert_eq!(lines["t"].len(), 2);
    let times = database.query("SELECT DISTINCT time FROM branchline.version").await;
    assert_eq!(times, [(ahead + 1).to_string()]);
    database.execute("UPDATE t SET id = id + 10; UPDATE branchline.meta SET forgotten = 0").await;
    changes(&*port).await;
    let later = format!("SELECT count(*) FROM branchline.version WHERE deleted AND time = {}", ahead + 2);
    assert_eq!(database.query(&later).await, ["2"]);
}
