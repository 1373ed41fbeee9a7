//! Names that try to be SQL, a path, or another name: they are only names, and no table or column is called so.

use branchline_core::backup::Codec;
use branchline_core::code::Code;
use branchline_core::schema::LogicalType as T;
use branchline_core::value::Value;
use branchline_testkit::database::{Engine, Shape, TestBackup};

use crate::world::{Draft, Scene, Server, Shop, counts, delivered, introduce, on_both_engines};

/// What can be a name in some database, and is none in the target's.
const UNKNOWN: &[&str] = &[
    "\"; DROP TABLE customers; --",
    "customers\"; DROP TABLE customers; --",
    "customers' OR '1'='1",
    "..\\x",
    "../../etc/passwd",
    "C:\\customers",
    "сustomers",
    "ｃｕｓｔｏｍｅｒｓ",
    "customers\u{200b}",
    "customers\u{301}",
    "\u{202e}sremotsuc",
    "CUSTOMERS",
    " customers",
    "customers ",
    "main.customers",
    "public.customers",
    "sqlite_master",
    "pg_catalog.pg_class",
    "information_schema.tables",
    "branchline.applied",
    "branchline_applied",
    "temp.customers",
    "$version",
    "%s%n",
];

/// What can be a name in no database.
const IMPOSSIBLE: &[&str] = &["", "\0", "customers\0", "cust\nomers", "\u{1b}[2J", "\u{7f}", "\u{85}"];

on_both_engines! {
    a_table_of_no_such_name_is_refused_and_nothing_runs
    a_column_of_no_such_name_is_refused_and_nothing_runs
    a_name_that_can_be_none_is_refused_with_the_metadata
    names_that_look_like_sql_travel_as_names
}

fn draft_of(scene: &Scene, table: &str, column: &str) -> Draft {
    let columns = [("id", T::Int64), (column, T::Text), ("price", T::Decimal(None))];
    let row = [Value::Integer(1), Value::Text("x".into()), Value::Text("1".into())];
    let rows = TestBackup::of_rows(table, &["id"], &columns, &[&row]);
    Draft::of_rows(&scene.store.home, &scene.headquarters.home, &rows)
}

async fn a_table_of_no_such_name_is_refused_and_nothing_runs(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    for name in UNKNOWN {
        let message = scene.fails(&scene.seal(&draft_of(&scene, name, "sku")), Code::TABLE_UNKNOWN).await;
        assert_eq!(message, format!("there is no table {name} here"));
    }
}

async fn a_column_of_no_such_name_is_refused_and_nothing_runs(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    for name in UNKNOWN {
        let message =
            scene.fails(&scene.seal(&draft_of(&scene, "products", name)), Code::COLUMN_UNKNOWN).await;
        let needed = "table products here needs column sku, which the backup does not bring";
        assert_eq!(message, format!("table products here has no column {name}; {needed}"));
    }
}

async fn a_name_that_can_be_none_is_refused_with_the_metadata(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let draft = draft_of(&scene, "products", "sku");
    let key = &scene.store.home.identity;
    let huge = "x".repeat(64 << 10);
    for name in IMPOSSIBLE.iter().copied().chain([huge.as_str()]) {
        let table = |metadata: &mut serde_json::Value| metadata["tables"][0]["name"] = name.into();
        let column =
            |metadata: &mut serde_json::Value| metadata["tables"][0]["columns"][1]["name"] = name.into();
        let key_column = |metadata: &mut serde_json::Value| metadata["tables"][0]["key"][0] = name.into();
        let documents = [
            draft.clone().renamed().seal_edited(table, key),
            draft.clone().renamed().seal_edited(column, key),
            draft.clone().renamed().seal_edited(key_column, key),
        ];
        for document in documents {
            scene.refuses(&document, Code::NAME_INVALID).await;
            scene.refuses_file(&document.bytes(Codec::Gzip), Code::NAME_INVALID).await;
        }
    }
}

async fn names_that_look_like_sql_travel_as_names(engine: Engine) {
    let store = Server::start("STORE-001", Shop::of(engine, Shape::Names).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::of(engine, Shape::Names).await).await;
    introduce(&store, &headquarters).await;
    store.shop.execute(r#"INSERT INTO "orderItems" ("select", "it's ""quoted""", "$version") VALUES (1, '"; DROP', '..')"#).await;
    store.shop.execute(r#"INSERT INTO """; DROP TABLE ""orderItems""; --" VALUES (7)"#).await;
    assert_eq!(counts(&delivered(&store.sync().await)), (2, 0, 0, 0));
    assert!(store.compare(&headquarters).await.equal);
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_or_backup_named_as_a_path_is_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let draft = scene.draft().await;
    let key = &scene.store.home.identity;
    let backup = draft.metadata.backup_id.to_string();
    for (from, to) in [
        ("\"STORE-001\"", "\"..\\\\x\""),
        ("\"STORE-001\"", "\"STORE-001/../CENTRAL-HQ\""),
        ("\"CENTRAL-HQ\"", "\"NUL\""),
        (backup.as_str(), "../../../../tmp/x"),
    ] {
        scene.refuses(&draft.seal_replaced(from, to, key), Code::MALFORMED).await;
    }
}
