//! Limits, at the limit and one past it: what is past is refused by name, and costs no more than what is not.

use branchline_core::backup::Codec;
use branchline_core::backup::v1::compression::compress;
use branchline_core::code::Code;
use branchline_core::limits::{
    DATA_BYTES_MAX, JSON_DEPTH_MAX, METADATA_BYTES_MAX, NAME_BYTES_MAX, ROW_BYTES_MAX, TABLE_COLUMNS_MAX,
    TABLES_MAX,
};
use branchline_core::schema::LogicalType as T;
use branchline_core::value::Value;
use branchline_testkit::database::{Engine, Shape, TestBackup};

use crate::world::{Draft, Scene, Shop, on_both_engines};

on_both_engines! {
    a_row_nested_as_deep_as_the_limit_is_taken_and_one_deeper_is_refused
    a_row_as_large_as_the_limit_is_taken_and_one_larger_is_refused
}

/// A scene with one wide table, and a draft of one row of it.
async fn wide(engine: Engine, column: &str, logical_type: T) -> (Scene, Draft) {
    let scene = Scene::of(Shop::of(engine, Shape::Wide).await, Shop::of(engine, Shape::Wide).await).await;
    let row = [Value::Integer(1), Value::Null];
    let rows = TestBackup::of_rows("wide", &["id"], &[("id", T::Int64), (column, logical_type)], &[&row]);
    let draft = Draft::of_rows(&scene.store.home, &scene.headquarters.home, &rows);
    (scene, draft)
}

async fn a_row_nested_as_deep_as_the_limit_is_taken_and_one_deeper_is_refused(engine: Engine) {
    let (scene, draft) = wide(engine, "document", T::JsonBinary).await;
    // The row itself is one of the levels.
    let nested = |levels: usize| format!("\"document\":{}{}", "[".repeat(levels), "]".repeat(levels));
    let deeper = draft.clone().with_data_replaced("\"document\":null", &nested(JSON_DEPTH_MAX));
    scene.fails(&scene.seal(&deeper.renamed()), Code::DEPTH_EXCEEDED).await;
    let at_limit = draft.with_data_replaced("\"document\":null", &nested(JSON_DEPTH_MAX - 1));
    scene.courier.deliver(&scene.seal(&at_limit)).await.applied();
}

async fn a_row_as_large_as_the_limit_is_taken_and_one_larger_is_refused(engine: Engine) {
    let (scene, draft) = wide(engine, "words", T::Text).await;
    let around = "{\"id\":1,\"words\":\"\"}".len();
    let of_bytes = |bytes: usize| {
        let words = format!("\"words\":\"{}\"", "x".repeat(bytes - around));
        draft.clone().with_data_replaced("\"words\":null", &words).renamed()
    };
    scene.fails(&scene.seal(&of_bytes(ROW_BYTES_MAX + 2)), Code::ROW_TOO_LARGE).await;
    scene.courier.deliver(&scene.seal(&of_bytes(ROW_BYTES_MAX))).await.applied();
    let length = scene.headquarters.shop.query("SELECT length(words) FROM wide").await;
    assert_eq!(length, [(ROW_BYTES_MAX - around).to_string()]);
}

/// What a source packs no target refuses for its size: rows around the limit, before another row and as the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_its_source_can_send_is_not_too_large_for_its_target() {
    let around = "{\"id\":1,\"words\":\"\"}".len();
    for bytes in [ROW_BYTES_MAX - 1, ROW_BYTES_MAX, ROW_BYTES_MAX + 1, ROW_BYTES_MAX + 2] {
        let shop = Shop::with(Engine::Sqlite, "CREATE TABLE t (id INTEGER PRIMARY KEY, words TEXT)").await;
        let words = bytes - around;
        shop.execute(&format!("INSERT INTO t VALUES (1, printf('%.*c', {words}, 'x')), (2, 'y')")).await;
        let scene = Scene::of(
            shop,
            Shop::with(Engine::Sqlite, "CREATE TABLE t (id INTEGER PRIMARY KEY, words TEXT)").await,
        )
        .await;
        let all = branchline::api::v1::SyncCommand::default();
        match scene.store.ask(branchline::api::v1::Command::Sync(all)).await {
            Ok(branchline::api::v1::Answer::Sync(answer)) => {
                assert!(answer.peers[0].problem.is_none(), "{bytes}: {:?}", answer.peers[0].problem);
            }
            other => {
                let problem = crate::world::refused(other, Code::ROW_TOO_LARGE);
                assert!(bytes > ROW_BYTES_MAX && problem.message.contains("table t"), "{bytes}: {problem}");
                scene.assert_untouched().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_nested_deeper_than_the_limit_are_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let draft = scene.draft().await;
    let nested = |levels: usize| {
        let more = format!("\"recordCount\":10,\"more\":{}{},", "[".repeat(levels), "]".repeat(levels));
        draft.seal_replaced("\"recordCount\":10,", &more, &scene.store.home.identity)
    };
    scene.refuses(&nested(JSON_DEPTH_MAX), Code::DEPTH_EXCEEDED).await;
    // What a later version may add is passed over.
    scene.courier.deliver(&nested(JSON_DEPTH_MAX - 1)).await.applied();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_as_large_as_the_limit_are_taken_and_one_byte_more_is_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let draft = scene.draft().await;
    let bytes = scene.seal(&draft).metadata.len();
    let padded = |to: usize| {
        let producer = "x".repeat(to - bytes + "branchline-test/1".len());
        draft.seal_replaced("branchline-test/1", &producer, &scene.store.home.identity)
    };
    let past = padded(METADATA_BYTES_MAX + 1);
    assert_eq!(past.metadata.len(), METADATA_BYTES_MAX + 1);
    scene.refuses(&past, Code::METADATA_TOO_LARGE).await;
    scene.courier.deliver(&padded(METADATA_BYTES_MAX)).await.applied();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_columns_past_their_limits_are_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let draft = scene.draft().await;
    let key = &scene.store.home.identity;
    let tables = |count: usize| {
        draft.clone().renamed().seal_edited(
            |metadata| {
                let list = metadata["tables"].as_array_mut().unwrap();
                let like = list[0].clone();
                for number in list.len()..count {
                    let mut table = like.clone();
                    table["name"] = format!("t{number}").into();
                    table["rows"] = 0.into();
                    list.push(table);
                }
            },
            key,
        )
    };
    scene.refuses(&tables(TABLES_MAX + 1), Code::TOO_MANY_TABLES).await;
    scene.fails(&tables(TABLES_MAX), Code::TABLE_UNKNOWN).await;
    let columns = |count: usize| {
        draft.clone().renamed().seal_edited(
            |metadata| {
                let list = metadata["tables"][0]["columns"].as_array_mut().unwrap();
                let like = list[0].clone();
                for number in list.len()..count {
                    let mut column = like.clone();
                    column["name"] = format!("c{number}").into();
                    list.push(column);
                }
            },
            key,
        )
    };
    scene.refuses(&columns(TABLE_COLUMNS_MAX + 1), Code::TOO_MANY_COLUMNS).await;
    scene.fails(&columns(TABLE_COLUMNS_MAX), Code::COLUMN_UNKNOWN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_past_their_limit_are_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let draft = scene.draft().await;
    let named = |bytes: usize| {
        let name = format!("\"name\":\"{}\"", "n".repeat(bytes));
        draft.clone().renamed().seal_replaced("\"name\":\"products\"", &name, &scene.store.home.identity)
    };
    scene.refuses(&named(NAME_BYTES_MAX + 1), Code::NAME_INVALID).await;
    scene.fails(&named(NAME_BYTES_MAX), Code::TABLE_UNKNOWN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_data_than_is_granted_are_refused_with_the_metadata() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let mut draft = scene.draft().await;
    draft.metadata.data_bytes = DATA_BYTES_MAX + 1;
    scene.refuses(&scene.seal(&draft), Code::DATA_TOO_LARGE).await;
}

/// A valid signature over a length, and far more behind it: a GiB, of which nobody waits for the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_is_refused_at_its_signed_size() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    for codec in [Codec::Zstd, Codec::Gzip] {
        let [head, _, tail] = document.frames(codec);
        let bomb = compress(codec, &SPACES).unwrap().repeat(1024);
        assert!(bomb.len() < 2 << 20, "{codec:?}: {}", bomb.len());
        let bytes = [head, bomb, tail].concat();
        scene.refuses_bytes(&document, &bytes, Code::DATA_TOO_LARGE).await;
        scene.refuses_file(&bytes, Code::DATA_TOO_LARGE).await;
    }
}

/// A bomb in the place of the metadata, which nobody could have signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_before_the_signature_is_refused_at_the_limit_of_metadata() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    for codec in [Codec::Zstd, Codec::Gzip] {
        let opening = compress(codec, b"{\"metadata\":{\"producer\":\"").unwrap();
        let bytes = [opening, compress(codec, &SPACES).unwrap().repeat(1024)].concat();
        scene.refuses_bytes(&document, &bytes, Code::METADATA_TOO_LARGE).await;
        scene.refuses_file(&bytes, Code::METADATA_TOO_LARGE).await;
    }
}

/// A MiB that compresses well.
static SPACES: [u8; 1 << 20] = [b' '; 1 << 20];
