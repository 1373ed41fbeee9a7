//! Large loads: what is taken off comes back as it was, and nothing is let through that would not be otherwise.

use branchline_core::code::Code;
use branchline_core::ports::{DatabaseError, ForeignKeyCheck};
use branchline_testkit::database::{TestBackup, assert_refused, hashes_of, worked};

use super::database::{TestDatabase, open};

/// Rows of a load that counts as large.
const LARGE: u32 = 20_100;

/// Tables with everything that must come back.
const SHOP: &str = r#"
    CREATE TABLE shops (id int PRIMARY KEY, name text);
    CREATE TABLE "Orders" (
      id bigint CONSTRAINT "Orders pk" PRIMARY KEY, shop int NOT NULL, code text, note text, previous bigint,
      CONSTRAINT "one Code" UNIQUE (shop, code) DEFERRABLE INITIALLY DEFERRED,
      CONSTRAINT "of Shop" FOREIGN KEY (shop) REFERENCES shops ON UPDATE CASCADE ON DELETE RESTRICT,
      CONSTRAINT before FOREIGN KEY (previous) REFERENCES "Orders" DEFERRABLE);
    CREATE TABLE lines ("order" bigint REFERENCES "Orders" ON DELETE CASCADE, line int, PRIMARY KEY ("order", line)) WITH (fillfactor = 80);
    CREATE INDEX by_line ON lines (line); 
    CREATE TABLE remarks (id int PRIMARY KEY, "order" bigint REFERENCES "Orders");
    CREATE INDEX by_note ON "Orders" USING hash (note);
    CREATE INDEX filled ON "Orders" (code DESC NULLS LAST, lower(note) text_pattern_ops) INCLUDE (shop) WITH (fillfactor = 70) WHERE shop > 0;
    CREATE UNIQUE INDEX identity ON "Orders" (id) ;
    CREATE INDEX counted ON "Orders" ((shop + 1)); ALTER INDEX counted ALTER COLUMN 1 SET STATISTICS 500;
    ALTER TABLE lines CLUSTER ON by_line; ALTER TABLE "Orders" REPLICA IDENTITY USING INDEX identity;
    COMMENT ON INDEX by_note IS 'it''s by note'; COMMENT ON CONSTRAINT "of Shop" ON "Orders" IS 'the shop';
    COMMENT ON CONSTRAINT "Orders pk" ON "Orders" IS 'the key'; COMMENT ON INDEX "Orders pk" IS 'its index';
    CREATE VIEW seen AS SELECT * FROM "Orders";"#;

fn rows() -> String {
    format!(
        r#"INSERT INTO shops SELECT g, 'Shop ' || g FROM generate_series(1, 10) AS g;
           INSERT INTO "Orders" SELECT g, 1 + g % 10, 'C' || g, 'note ' || g % 100, CASE WHEN g > 5 THEN g - 5 END FROM generate_series(1, {LARGE}) AS g;
           INSERT INTO lines SELECT g, 1 FROM generate_series(1, {LARGE}) AS g;
           INSERT INTO remarks VALUES (1, 7);"#
    )
}

async fn source() -> TestDatabase {
    let source = TestDatabase::with(SHOP).await;
    source.execute(&rows()).await;
    source
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_load_into_empty_tables_puts_back_all_that_it_took_off() {
    let (source, target) = (source().await, TestDatabase::with(SHOP).await);
    let before = target.dump_schema();
    let backup = TestBackup::of(&*source.open().await).await;
    let report = worked(backup.apply(&*target.open().await).await);
    assert_eq!(report.foreign_keys, ForeignKeyCheck::ByJoin);
    assert_eq!(backup.merged(&report, "Orders").inserted, u64::from(LARGE));
    assert_eq!(backup.merged(&report, "lines").inserted, u64::from(LARGE));
    assert_eq!(target.dump_schema(), before);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
    assert_eq!(target.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid").await, ["0"]);
    assert_eq!(target.query("SELECT count(*) FROM pg_constraint WHERE NOT convalidated").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_load_into_tables_with_rows_takes_foreign_keys_off_and_puts_them_back() {
    let (source, target) = (source().await, TestDatabase::with(SHOP).await);
    target.execute(r#"INSERT INTO shops VALUES (1); INSERT INTO "Orders" VALUES (1, 1, 'other'); INSERT INTO lines VALUES (1, 1)"#).await;
    let before = target.dump_schema();
    let backup = TestBackup::of(&*source.open().await).await;
    let report = worked(backup.apply(&*target.open().await).await);
    assert_eq!(report.foreign_keys, ForeignKeyCheck::ByJoin);
    let orders = backup.merged(&report, "Orders");
    assert_eq!((orders.inserted, orders.updated), (u64::from(LARGE) - 1, 1));
    assert_eq!(target.dump_schema(), before);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
    let again = worked(backup.at(2).apply(&*target.open().await).await);
    assert_eq!(again.foreign_keys, ForeignKeyCheck::RowByRow, "nothing is missing, so no lock is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_load_takes_no_heavy_lock() {
    let (source, target) = (TestDatabase::with(SHOP).await, TestDatabase::with(SHOP).await);
    source.execute("INSERT INTO shops VALUES (1, 'One')").await;
    let reader = super::database::client(&target.url()).await;
    reader.batch_execute(r#"BEGIN; LOCK TABLE shops, "Orders", lines IN ACCESS SHARE MODE"#).await.unwrap();
    let report = worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    assert_eq!(report.foreign_keys, ForeignKeyCheck::RowByRow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_load_beside_a_reader_is_checked_row_by_row() {
    let (source, target) = (source().await, TestDatabase::with(SHOP).await);
    let reader = super::database::client(&target.url()).await;
    reader.batch_execute(r#"BEGIN; SELECT count(*) FROM "Orders", lines"#).await.unwrap();
    let report = worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    assert_eq!(report.foreign_keys, ForeignKeyCheck::RowByRow);
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
}

/// Applies what `spoil` makes of the source, and asserts that nothing of the target changed.
async fn refused(spoil: &str, prepare: &str, code: Code) -> DatabaseError {
    let target = TestDatabase::with(SHOP).await;
    target.execute(prepare).await;
    let source = TestDatabase::with(
        &SHOP.replace("UNIQUE (shop, code) DEFERRABLE INITIALLY DEFERRED", "CHECK (true)"),
    )
    .await;
    source.execute(&rows()).await;
    source.execute(spoil).await;
    let port = target.open().await;
    worked(port.ledger().await);
    let before = (target.dump_schema(), hashes_of(&*port).await);
    let backup = TestBackup::of(&*source.open().await).await;
    let error = assert_refused(backup.apply(&*port).await, code);
    assert_eq!((target.dump_schema(), hashes_of(&*port).await), before);
    error
}

/// What makes the target's tables not empty, so that rows are staged.
const NOT_EMPTY: &str = r#"INSERT INTO shops VALUES (77); INSERT INTO "Orders" VALUES (0, 77, 'x'); INSERT INTO lines VALUES (0, 1)"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_on_the_last_row_is_refused_both_ways() {
    let spoil = format!(
        r#"ALTER TABLE "Orders" DROP CONSTRAINT "of Shop"; UPDATE "Orders" SET shop = 99 WHERE id = {LARGE}"#
    );
    for prepare in ["", NOT_EMPTY] {
        let error = refused(&spoil, prepare, Code::FOREIGN_KEY_BROKEN).await;
        let DatabaseError::ForeignKey { table, constraint, detail } = &error else { panic!("{error:?}") };
        assert_eq!((table.as_str(), constraint.as_str()), ("Orders", "of Shop"));
        assert!(detail.contains("(99)"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_value_that_two_rows_have_is_refused_both_ways() {
    let spoil = format!(r#"UPDATE "Orders" SET code = 'C{}', shop = {} WHERE id = 1"#, LARGE, 1 + LARGE % 10);
    for prepare in ["", NOT_EMPTY] {
        let error = refused(&spoil, prepare, Code::UNIQUE_CONFLICT).await;
        assert!(
            matches!(&error, DatabaseError::Unique { constraint, .. } if constraint == "one Code"),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_does_not_fit_on_the_last_row_is_refused_both_ways() {
    let narrow = r#"ALTER TABLE lines ALTER line TYPE smallint"#;
    let spoil = format!(r#"UPDATE lines SET line = 40000 WHERE "order" = {LARGE}"#);
    for prepare in [narrow.to_owned(), format!("{narrow}; {NOT_EMPTY}")] {
        let error = refused(&spoil, &prepare, Code::VALUE_NOT_HELD).await;
        let DatabaseError::ValueNotHeld { column, row, .. } = &error else { panic!("{error:?}") };
        assert_eq!((column.as_str(), *row), ("line", LARGE.into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_check_on_the_last_row_is_refused_both_ways() {
    let rule = "ALTER TABLE lines ADD CONSTRAINT low CHECK (line < 9)";
    let spoil = format!(r#"UPDATE lines SET line = 9 WHERE "order" = {LARGE}"#);
    for prepare in [rule.to_owned(), format!("{rule}; {NOT_EMPTY}")] {
        let error = refused(&spoil, &prepare, Code::CONSTRAINT_BROKEN).await;
        assert!(
            matches!(&error, DatabaseError::Constraint { constraint, .. } if constraint == "low"),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_triggers_of_the_shop_is_not_filled_past_them() {
    let trigger = "CREATE TABLE seen_lines (n bigint); INSERT INTO seen_lines VALUES (0);
        CREATE FUNCTION count_line() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN UPDATE seen_lines SET n = n + 1; RETURN NEW; END $$;
        CREATE TRIGGER counting AFTER INSERT ON lines FOR EACH STATEMENT EXECUTE FUNCTION count_line();";
    let (source, target) = (source().await, TestDatabase::with(&format!("{SHOP}{trigger}")).await);
    let before = target.dump_schema();
    let backup = TestBackup::of(&*source.open().await).await;
    worked(backup.apply(&*target.open().await).await);
    assert_eq!(target.query("SELECT n FROM seen_lines").await, ["1"]);
    assert_eq!(target.dump_schema(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_key_that_a_view_depends_on_stays_on() {
    let view = r#"CREATE VIEW totals AS SELECT o.*, count(*) FROM "Orders" AS o JOIN lines ON "order" = id GROUP BY o.id;"#;
    let (source, target) = (source().await, TestDatabase::with(&format!("{SHOP}{view}")).await);
    let before = target.dump_schema();
    let report = worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    assert_eq!(report.foreign_keys, ForeignKeyCheck::ByJoin);
    assert_eq!(target.dump_schema(), before);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_not_validated_stays_so() {
    let (source, target) = (source().await, TestDatabase::with(SHOP).await);
    target
        .execute("ALTER TABLE lines ADD CONSTRAINT later FOREIGN KEY (line) REFERENCES shops NOT VALID")
        .await;
    let before = target.dump_schema();
    worked(TestBackup::of(&*source.open().await).await.apply(&*target.open().await).await);
    assert_eq!(target.dump_schema(), before);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_without_the_tables_that_point_at_his_keeps_his_keys_on() {
    let (source, mut target) = (source().await, TestDatabase::with(SHOP).await);
    let (role, url) = target.role().await;
    target
        .execute(&format!(
            r#"ALTER TABLE shops OWNER TO {role}; ALTER TABLE "Orders" OWNER TO {role}; ALTER TABLE lines OWNER TO {role};
               GRANT SELECT, INSERT, UPDATE ON remarks TO {role}; GRANT CREATE ON DATABASE {} TO {role}"#,
            target.name
        ))
        .await;
    let before = target.dump_schema();
    let backup = TestBackup::of(&*source.open().await).await;
    let report = worked(backup.apply(&*open(&url).await).await);
    assert_eq!(report.foreign_keys, ForeignKeyCheck::ByJoin);
    assert_eq!(target.dump_schema(), before);
    assert_eq!(hashes_of(&*source.open().await).await, hashes_of(&*target.open().await).await);
}
