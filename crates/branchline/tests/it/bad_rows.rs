//! Honest backups that do not fit into the target: the sender is told why, nothing is written, and once it is mended the
//! next sync goes through.

use branchline::api::v1::{Answer, Command};
use branchline_core::code::Code;
use branchline_testkit::database::Engine;

use crate::world::{Scene, Server, Shop, counts, delivered, ended, introduce, on_both_engines};

on_both_engines! {
    a_table_that_the_target_lacks_is_refused_until_it_is_there
    a_column_that_the_target_lacks_is_refused
    a_column_that_the_target_needs_is_missed
    a_type_that_the_target_cannot_hold_is_refused
    a_value_that_the_target_cannot_hold_is_refused
    another_key_is_refused
    a_row_that_points_at_nothing_is_refused
    a_row_that_breaks_a_rule_is_refused
    a_restore_that_fails_on_its_last_row_leaves_nothing
}

/// Syncs, and asserts that the peer applied nothing for that reason; answers the message.
async fn assert_refused(scene: &Scene, code: Code) -> String {
    let outcome = scene.store.sync().await;
    let problem = ended(&outcome, "refused", code);
    assert!(
        !problem.retryable && problem.data.as_deref() == Some("Nothing was changed at the peer."),
        "{problem:?}"
    );
    assert_eq!(outcome.receipt.expect("a receipt")["success"], false);
    scene.assert_untouched().await;
    // A backup that can never be applied does not wait in front of the next one.
    let Ok(Answer::Backups(backups)) = scene.store.ask(Command::BackupsList).await else { panic!() };
    assert!(backups.waiting.is_empty(), "{backups:?}");
    assert_eq!((scene.store.home.spool_files(""), scene.headquarters.home.spool_files("")), (0, 0));
    problem.message
}

async fn a_table_that_the_target_lacks_is_refused_until_it_is_there(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let suppliers = "CREATE TABLE suppliers (id BIGINT PRIMARY KEY, name TEXT);";
    scene.store.shop.execute(suppliers).await;
    scene.store.shop.execute("INSERT INTO suppliers VALUES (1, 'Ada')").await;
    let message = assert_refused(&scene, Code::TABLE_UNKNOWN).await;
    assert_eq!(message, "CENTRAL-HQ applied nothing: there is no table suppliers here");
    scene.headquarters.shop.execute(suppliers).await;
    assert_eq!(counts(&delivered(&scene.store.sync().await)), (10, 1, 0, 0));
}

async fn a_column_that_the_target_lacks_is_refused(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    scene.store.shop.execute("ALTER TABLE customers ADD COLUMN nickname TEXT").await;
    let message = assert_refused(&scene, Code::COLUMN_UNKNOWN).await;
    assert!(message.ends_with("table customers here has no column nickname"), "{message}");
}

async fn a_column_that_the_target_needs_is_missed(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    scene.store.shop.execute(r#"ALTER TABLE customers DROP COLUMN "fullName""#).await;
    let message = assert_refused(&scene, Code::COLUMN_UNKNOWN).await;
    assert!(
        message.ends_with("table customers here needs column fullName, which the backup does not bring"),
        "{message}"
    );
}

async fn of_tables(engine: Engine, store: &str, headquarters: &str) -> Scene {
    Scene::of(Shop::with(engine, store).await, Shop::with(engine, headquarters).await).await
}

async fn a_type_that_the_target_cannot_hold_is_refused(engine: Engine) {
    let bytes = if engine == Engine::Sqlite { "BLOB" } else { "BYTEA" };
    let store = format!("CREATE TABLE t (id BIGINT PRIMARY KEY, odd {bytes})");
    let scene = of_tables(engine, &store, "CREATE TABLE t (id BIGINT PRIMARY KEY, odd BIGINT)").await;
    let message = assert_refused(&scene, Code::TYPE_NOT_HELD).await;
    assert!(
        message.contains("column odd of table t is BIGINT here")
            || message.contains("column odd of table t is bigint here"),
        "{message}"
    );
}

async fn a_value_that_the_target_cannot_hold_is_refused(engine: Engine) {
    let store =
        "CREATE TABLE t (id BIGINT PRIMARY KEY, odd BIGINT); INSERT INTO t VALUES (1, 1), (2, 7), (3, 0)";
    let headquarters = "CREATE TABLE t (id BIGINT PRIMARY KEY, odd BOOLEAN); INSERT INTO t VALUES (1, NULL)";
    let scene = of_tables(engine, store, headquarters).await;
    let message = assert_refused(&scene, Code::VALUE_NOT_HELD).await;
    assert!(message.contains("column odd of table t cannot hold a value of row 2"), "{message}");
}

async fn another_key_is_refused(engine: Engine) {
    let store = "CREATE TABLE t (id BIGINT NOT NULL, line BIGINT NOT NULL, PRIMARY KEY (id))";
    let headquarters = "CREATE TABLE t (id BIGINT NOT NULL, line BIGINT NOT NULL, PRIMARY KEY (id, line))";
    let scene = of_tables(engine, store, headquarters).await;
    assert_refused(&scene, Code::KEY_DIFFERS).await;
}

async fn a_row_that_points_at_nothing_is_refused(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let draft = scene.draft().await.with_data_replaced("\"product_id\":3", "\"product_id\":33");
    let message = scene.fails(&scene.seal(&draft), Code::FOREIGN_KEY_BROKEN).await;
    assert!(message.contains("order_items"), "{message}");
}

async fn a_row_that_breaks_a_rule_is_refused(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let draft = scene.draft().await;
    let negative = draft.clone().with_data_replaced("\"quantity\":2", "\"quantity\":-2");
    scene.fails(&scene.seal(&negative), Code::CONSTRAINT_BROKEN).await;
    let missing = draft.with_data_replaced("\"fullName\":\"Ada\"", "\"fullName\":null").renamed();
    scene.fails(&scene.seal(&missing), Code::CONSTRAINT_BROKEN).await;
}

async fn a_restore_that_fails_on_its_last_row_leaves_nothing(engine: Engine) {
    let table = "CREATE TABLE codes (id BIGINT PRIMARY KEY, code TEXT NOT NULL UNIQUE);";
    let headquarters = format!("{table} INSERT INTO codes VALUES (100000, 'code 5000'), (100001, 'own')");
    let scene = of_tables(engine, table, &headquarters).await;
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO codes SELECT i, 'code ' || CAST(i AS TEXT) FROM n";
    scene.store.shop.execute(many).await;
    assert_refused(&scene, Code::UNIQUE_CONFLICT).await;
    scene.headquarters.shop.execute("DELETE FROM codes WHERE id = 100000").await;
    assert_eq!(counts(&delivered(&scene.store.sync().await)), (5000, 0, 0, 0));
}

/// The row that the store's own database cannot send is named there, and nothing is sealed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_carried_is_refused_at_its_source() {
    let store = Shop::with(Engine::Sqlite, "CREATE TABLE t (id INTEGER PRIMARY KEY, odd TEXT)").await;
    store.execute("INSERT INTO t VALUES (1, 'good'), (2, CAST(x'ff' AS TEXT))").await;
    let store = Server::start("STORE-001", store).await;
    let headquarters = Server::start(
        "CENTRAL-HQ",
        Shop::with(Engine::Sqlite, "CREATE TABLE t (id INTEGER PRIMARY KEY, odd TEXT)").await,
    )
    .await;
    introduce(&store, &headquarters).await;
    let all = branchline::api::v1::SyncCommand::default();
    let problem = crate::world::refused(store.ask(Command::Sync(all)).await, Code::ROW_NOT_ENCODABLE);
    assert!(problem.message.starts_with("row 2 of table t cannot be carried"), "{problem}");
    let Ok(Answer::Backups(backups)) = store.ask(Command::BackupsList).await else { panic!() };
    assert!(backups.waiting.is_empty());
    assert_eq!(store.home.spool_files(""), 0);
}
