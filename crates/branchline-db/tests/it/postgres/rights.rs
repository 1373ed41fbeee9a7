//! Rights: no superuser is needed, and what is missing is named with the statement that gives it.

use branchline_core::code::{Code, Explain};
use branchline_core::ports::ForeignKeyCheck;
use branchline_core::schema::Exclusion;
use branchline_testkit::database::{TestBackup, assert_refused, hashes_of, worked};

use super::database::{TestDatabase, open};

const SHOP: &str = "CREATE TABLE shops (id serial PRIMARY KEY, name text);
                    CREATE TABLE orders (id bigserial PRIMARY KEY, shop int NOT NULL REFERENCES shops, at timestamptz)";

async fn source() -> TestDatabase {
    let source = TestDatabase::with(SHOP).await;
    source.execute("INSERT INTO shops (name) SELECT 'Shop ' || g FROM generate_series(1, 10) AS g").await;
    source
        .execute("INSERT INTO orders (shop, at) SELECT 1 + g % 10, now() FROM generate_series(1, 30000) AS g")
        .await;
    source
}

/// The statement that an error asks for.
fn grant_of(error: &dyn Explain) -> String {
    error.hint()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_only_write_restores_row_by_row_once_it_has_every_grant_that_was_named() {
    let (source, mut target) = (source().await, TestDatabase::with(SHOP).await);
    let (role, url) = target.role().await;
    target.execute(&format!("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC", target.name)).await;
    let backup = TestBackup::of(&*source.open().await).await;
    let port = open(&url).await;
    let mut granted = Vec::new();
    let report = loop {
        let error = match backup.apply(&*port).await {
            Ok(report) => break report,
            Err(error) => error,
        };
        // A table that cannot be read says so in the catalogue.
        let grant = match error.code() {
            Code::PRIVILEGE_MISSING => grant_of(&error),
            Code::TABLE_NOT_SYNCABLE => {
                let schema = worked(port.schema().await);
                let reason = schema.tables().find_map(|table| match &table.excluded {
                    Some(Exclusion::NotReadable { grant }) => Some(grant.clone()),
                    _ => None,
                });
                reason.expect("a reason")
            }
            _ => panic!("{error:?}"),
        };
        target.execute(&grant).await;
        granted.push(grant);
        assert!(granted.len() < 20, "{granted:?}");
    };
    let expected = [
        format!("GRANT CREATE ON DATABASE \"{}\" TO \"{role}\"", target.name),
        format!("GRANT SELECT ON TABLE \"public\".\"orders\" TO \"{role}\""),
        format!("GRANT SELECT ON TABLE \"public\".\"shops\" TO \"{role}\""),
        format!("GRANT INSERT, UPDATE ON TABLE \"public\".\"shops\" TO \"{role}\""),
        format!("GRANT INSERT, UPDATE ON TABLE \"public\".\"orders\" TO \"{role}\""),
        format!("GRANT TEMPORARY ON DATABASE \"{}\" TO \"{role}\"", target.name),
        format!("GRANT SELECT, UPDATE ON SEQUENCE \"public\".\"orders_id_seq\" TO \"{role}\""),
        format!("GRANT SELECT, UPDATE ON SEQUENCE \"public\".\"shops_id_seq\" TO \"{role}\""),
    ];
    assert_eq!(granted, expected);
    assert_eq!(report.foreign_keys, ForeignKeyCheck::RowByRow);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*port).await);
    target.execute("INSERT INTO orders (shop) VALUES (1)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_of_a_sequence_is_enough_to_advance_it() {
    let (source, mut target) = (source().await, TestDatabase::with(SHOP).await);
    let (role, url) = target.role().await;
    let grants = "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO ROLE; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ROLE";
    target
        .execute(&format!(
            "{}; GRANT CREATE ON DATABASE {} TO {role}",
            grants.replace("ROLE", &role),
            target.name
        ))
        .await;
    worked(TestBackup::of(&*source.open().await).await.apply(&*open(&url).await).await);
    assert_eq!(target.query("SELECT last_value FROM orders_id_seq").await, ["30000"]);
    target.execute("INSERT INTO orders (shop) VALUES (1)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_needs_delete() {
    let (source, mut target) = (source().await, TestDatabase::with(SHOP).await);
    let (role, url) = target.role().await;
    let grants = "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO ROLE; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ROLE";
    target
        .execute(&format!(
            "{}; GRANT CREATE ON DATABASE {} TO {role}",
            grants.replace("ROLE", &role),
            target.name
        ))
        .await;
    let backup = TestBackup::of(&*source.open().await).await.mirrored();
    let error = assert_refused(backup.apply(&*open(&url).await).await, Code::PRIVILEGE_MISSING);
    assert_eq!(grant_of(&error), format!("GRANT DELETE ON TABLE \"public\".\"shops\" TO \"{role}\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_the_owner_made_can_be_used_by_another_role() {
    let mut database = TestDatabase::with(SHOP).await;
    let first = worked(database.open().await.ledger().await);
    let (role, url) = database.role().await;
    let port = open(&url).await;
    let error = assert_refused(port.ledger().await, Code::PRIVILEGE_MISSING);
    assert_eq!(grant_of(&error), format!("GRANT USAGE ON SCHEMA branchline TO \"{role}\""));
    database.execute(&grant_of(&error)).await;
    let error = assert_refused(port.ledger().await, Code::PRIVILEGE_MISSING);
    database.execute(&grant_of(&error)).await;
    assert_eq!(worked(port.ledger().await), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_policy_hides_are_never_silently_left_out() {
    let mut database = TestDatabase::with(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
         CREATE POLICY first_only ON t USING (id = 1); ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    )
    .await;
    let (role, url) = database.role().await;
    database.execute(&format!("GRANT SELECT ON t TO {role}")).await;
    let schema = worked(open(&url).await.schema().await);
    let excluded = schema.tables().next().unwrap().excluded.clone();
    assert_eq!(excluded, Some(Exclusion::NotReadable { grant: format!("ALTER ROLE \"{role}\" BYPASSRLS") }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_a_column_that_may_not_be_read_cannot_sync() {
    let mut database = TestDatabase::with("CREATE TABLE t (id int PRIMARY KEY, secret text)").await;
    let (role, url) = database.role().await;
    database.execute(&format!("GRANT SELECT (id) ON t TO {role}")).await;
    let port = open(&url).await;
    let excluded = worked(port.schema().await).tables().next().unwrap().excluded.clone();
    let grant = format!("GRANT SELECT ON TABLE \"public\".\"t\" TO \"{role}\"");
    assert_eq!(excluded, Some(Exclusion::NotReadable { grant }));
    database.execute(&format!("GRANT SELECT (secret) ON t TO {role}")).await;
    assert_eq!(TestBackup::of(&*port).await.tables.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_are_checked_even_where_a_role_has_switched_them_off() {
    let (source, mut target) = (
        TestDatabase::with("CREATE TABLE orders (id bigint PRIMARY KEY, shop int, at timestamptz)").await,
        TestDatabase::with(SHOP).await,
    );
    source.execute("INSERT INTO orders VALUES (1, 99)").await;
    target.execute(&format!("ALTER DATABASE {} SET session_replication_role = replica", target.name)).await;
    let backup = TestBackup::of(&*source.open().await).await;
    assert_refused(backup.apply(&*target.open().await).await, Code::FOREIGN_KEY_BROKEN);
    let (role, url) = target.role().await;
    let all = format!(
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; DROP SCHEMA branchline CASCADE; GRANT CREATE ON DATABASE {} TO {role}",
        target.name
    );
    target.execute(&all).await;
    let error = assert_refused(backup.apply(&*open(&url).await).await, Code::PRIVILEGE_MISSING);
    assert_eq!(grant_of(&error), format!("ALTER ROLE \"{role}\" RESET session_replication_role"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_in_a_schema_that_is_there_needs_no_right_on_the_database() {
    let mut database = TestDatabase::with("CREATE SCHEMA branchline").await;
    let (role, url) = database.role().await;
    let port = open(&url).await;
    database.execute(&format!("GRANT USAGE ON SCHEMA branchline TO {role}")).await;
    let error = assert_refused(port.ledger().await, Code::PRIVILEGE_MISSING);
    assert_eq!(grant_of(&error), format!("GRANT USAGE, CREATE ON SCHEMA branchline TO \"{role}\""));
    database.execute(&grant_of(&error)).await;
    worked(port.ledger().await);
}
