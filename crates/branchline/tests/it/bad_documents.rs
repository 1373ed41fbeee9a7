//! Documents that are not what they should be: each is refused with its own code, and nothing is written.

use branchline_core::backup::Codec;
use branchline_core::code::Code;
use branchline_core::ports::Signer;
use branchline_testkit::database::Engine;

use crate::world::{Document, Home, Scene, on_both_engines};

const CODECS: [Codec; 3] = [Codec::Zstd, Codec::Gzip, Codec::Plain];

/// Changes the first `from` in a part of a document.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from) && from.len() == to.len(), "{text}");
    text.replacen(from, to, 1).into_bytes()
}

/// The document, with one byte changed in each of its parts, and what must be said to it.
fn changed(document: &Document) -> Vec<(Document, Code)> {
    let with = |change: &dyn Fn(&mut Document)| {
        let mut changed = document.clone();
        change(&mut changed);
        changed
    };
    let producer = with(&|it| it.metadata = replaced(&it.metadata, "branchline-test/1", "branchline-test/2"));
    let created = with(&|it| it.metadata = replaced(&it.metadata, "1970-01-01", "1970-01-02"));
    let data = with(&|it| it.data = replaced(&it.data, "Ada", "Adb"));
    let first_letter = if document.signature.starts_with('A') { "B" } else { "A" };
    let signature = with(&|it| it.signature.replace_range(..1, first_letter));
    vec![
        (producer, Code::SIGNATURE_INVALID),
        (created, Code::SIGNATURE_INVALID),
        (data, Code::CHECKSUM_MISMATCH),
        (signature, Code::SIGNATURE_INVALID),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_changed_in_metadata_data_or_signature_is_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    for codec in CODECS {
        for (changed, code) in changed(&document) {
            let bytes = changed.bytes(codec);
            scene.refuses_bytes(&changed, &bytes, code).await;
            // The signature that came ahead is the right one: what is in the document counts all the same.
            scene.refuses_bytes(&document, &bytes, code).await;
            scene.refuses_file(&bytes, code).await;
        }
    }
    scene.courier.deliver(&document).await.applied();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_ahead_of_the_document_that_does_not_fit_is_refused_with_the_metadata() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    let other = scene.seal(&scene.draft().await);
    let ahead = Document { signature: other.signature, ..document.clone() };
    scene.refuses_bytes(&ahead, &document.bytes(Codec::Zstd), Code::SIGNATURE_INVALID).await;
    // Nor does any number of them keep the next one out.
    for _ in 0..4 {
        let other = scene.seal(&scene.draft().await);
        let nonsense = Document { signature: "not base64 of 64 bytes".to_owned(), ..other };
        scene.refuses(&nonsense, Code::SIGNATURE_INVALID).await;
    }
    scene.courier.deliver(&document).await.applied();
}

/// Every byte of the document as it lies on disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_a_document_can_be_changed() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    let data_at = document.frames(Codec::Plain)[0].len();
    let tail_at = data_at + document.data.len();
    let bytes = document.bytes(Codec::Plain);
    for place in 0..bytes.len() {
        let problem = scene.import(&with_a_bit_changed(&bytes, place)).await.expect_err("a changed file");
        assert!(problem.code.starts_with("BL-E02"), "byte {place}: {problem}");
        if (data_at..tail_at).contains(&place) {
            assert_eq!(problem.name, Code::CHECKSUM_MISMATCH.name(), "byte {place}");
        }
    }
    scene.assert_untouched().await;
}

/// In the headers of a codec there are bits that mean nothing, such as a file's time: they change nothing either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_a_compressed_document_can_be_changed_to_any_effect() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    scene.courier.deliver(&document).await.applied();
    let applied = scene.headquarters.shop.hashes().await;
    for codec in [Codec::Zstd, Codec::Gzip] {
        let bytes = document.bytes(codec);
        let mut without_effect = 0;
        for place in 0..bytes.len() {
            match scene.import(&with_a_bit_changed(&bytes, place)).await {
                Ok(()) => without_effect += 1,
                Err(problem) => {
                    assert!(problem.code.starts_with("BL-E02"), "{codec:?}, byte {place}: {problem}");
                }
            }
        }
        // Three frames: at most ten bytes of a gzip header each, less of zstd.
        assert!(without_effect <= 30, "{codec:?}: {without_effect}");
    }
    assert_eq!(scene.headquarters.shop.hashes().await, applied);
}

fn with_a_bit_changed(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[place] ^= 1;
    changed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_ends_at_any_byte_is_truncated() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    for codec in CODECS {
        let bytes = document.bytes(codec);
        for end in 0..bytes.len() {
            let problem = scene.import(&bytes[..end]).await.expect_err("a cut file");
            assert_eq!(problem.name, Code::TRUNCATED.name(), "{codec:?}, {end} bytes: {problem}");
            assert!(problem.retryable);
        }
    }
    scene.assert_untouched().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_ends_at_or_between_frames_is_truncated() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    for codec in CODECS {
        let bytes = document.bytes(codec);
        let [head, data, _] = document.frames(codec).map(|frame| frame.len());
        let frames = [head, head + data, bytes.len()];
        let between = [1, head / 2, head + data / 2, bytes.len() - 50];
        let around = frames.into_iter().flat_map(|end| [end - 1, end, end + 1]);
        for end in around.chain(between).filter(|end| *end < bytes.len()) {
            scene.refuses_bytes(&document, &bytes[..end], Code::TRUNCATED).await;
        }
        let nothing = scene.courier.deliver_bytes(&document, &[]).await;
        nothing.refused(Code::TRUNCATED);
    }
    // What was cut off does not stand in the way of the whole.
    scene.courier.deliver(&document).await.applied();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_after_the_end_are_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    for codec in CODECS {
        let bytes = [document.bytes(codec), document.frames(codec)[2].clone()].concat();
        scene.refuses_file(&bytes, Code::DATA_TOO_LARGE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_for_another_server_is_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let mut draft = scene.draft().await;
    draft.metadata.target = "STORE-002".parse().unwrap();
    let document = scene.seal(&draft);
    scene.refuses(&document, Code::WRONG_TARGET).await;
    scene.refuses_file(&document.bytes(Codec::Zstd), Code::WRONG_TARGET).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_under_another_name_than_its_own_is_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    let other = scene.seal(&scene.draft().await);
    let renamed = Document { backup: other.backup, ..document.clone() };
    scene.refuses(&renamed, Code::MALFORMED).await;
    assert_eq!(scene.headquarters.home.spool_files(""), 0);
    scene.courier.deliver(&document).await.applied();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_backup_at_all_is_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let document = scene.seal(&scene.draft().await);
    let json = b"{\"metadata\":5,\"data\":{},\"signature\":\"\"}".as_slice();
    for bytes in
        [b"PK\x03\x04 a zip".as_slice(), b"{\"hello\":\"world\"}", json, b"\x28\xb5\x2f\xfd not zstd"]
    {
        let code = if bytes.starts_with(b"\x28") { Code::COMPRESSION_INVALID } else { Code::MALFORMED };
        scene.refuses_bytes(&document, bytes, code).await;
        scene.refuses_file(bytes, code).await;
    }
}

on_both_engines! {
    more_or_fewer_rows_than_were_said_are_refused
    a_member_that_stands_twice_is_refused
    a_table_that_stands_twice_is_refused
    a_table_out_of_its_order_is_refused
    a_row_that_is_not_json_is_refused
}

async fn more_or_fewer_rows_than_were_said_are_refused(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let draft = scene.draft().await;
    let key = &scene.store.home.identity;
    let last = "{\"id\":3,\"sku\":\"B-1\",\"price\":\"0.05\"}\n";
    let fewer = draft.clone().with_data_replaced(&format!(",\n{last}"), "\n");
    let more = format!("{},\n{}", last.trim_end(), "{\"id\":4,\"sku\":\"B-2\",\"price\":\"0.05\"}\n");
    let more = draft.clone().with_data_replaced(last, &more);
    for wrong in [fewer, more] {
        scene.fails(&wrong.renamed().seal(key), Code::ROW_COUNT_MISMATCH).await;
    }
    // A table that was said, and does not come.
    let data = String::from_utf8(draft.data.clone()).unwrap();
    let cut = data.rfind(",\"order_items\":").expect("the last table");
    let missing = draft.clone().with_data(format!("{}}}", &data[..cut]));
    scene.fails(&missing.renamed().seal(key), Code::ROW_COUNT_MISMATCH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_count_that_is_not_the_sum_of_its_tables_is_refused_with_the_metadata() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let draft = scene.draft().await;
    for count in ["11", "9", "0", "18446744073709551615"] {
        let said = format!("\"recordCount\":{count},");
        let wrong = draft.seal_replaced("\"recordCount\":10,", &said, &scene.store.home.identity);
        scene.refuses(&wrong, Code::ROW_COUNT_MISMATCH).await;
    }
}

async fn a_member_that_stands_twice_is_refused(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let draft = scene.draft().await;
    let key = &scene.store.home.identity;
    for twice in ["\"recordCount\":10,\"recordCount\":10,", "\"recordCount\":10,\"x\":{\"y\":1,\"y\":2},"] {
        scene.refuses(&draft.seal_replaced("\"recordCount\":10,", twice, key), Code::DUPLICATE_MEMBER).await;
    }
    let row = "\"sku\":\"A-1\",\"price\":\"1.10\"";
    for twice in [
        "\"sku\":\"A-1\",\"price\":\"1.10\",\"price\":\"0.01\"",
        "\"sku\":\"A-1\",\"s\\u006bu\":\"X\",\"price\":\"1.10\"",
    ] {
        let draft = draft.clone().with_data_replaced(row, twice).renamed();
        scene.fails(&draft.seal(key), Code::DUPLICATE_MEMBER).await;
    }
}

async fn a_table_that_stands_twice_is_refused(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let draft = scene.draft().await;
    let key = &scene.store.home.identity;
    let twice = |list: &'static str| {
        move |metadata: &mut serde_json::Value| {
            let list = metadata.pointer_mut(list).unwrap().as_array_mut().unwrap();
            let first = list[0].clone();
            list.push(first);
        }
    };
    scene.refuses(&draft.seal_edited(twice("/tables"), key), Code::DUPLICATE_MEMBER).await;
    scene.refuses(&draft.seal_edited(twice("/tables/0/columns"), key), Code::DUPLICATE_MEMBER).await;
    // In the data alone: the table that comes in the place of another was there before.
    let data = String::from_utf8(draft.data.clone()).unwrap();
    let first = data[2..].split('"').next().unwrap();
    let again = draft.clone().with_data_replaced(",\"order_items\":[", &format!(",\"{first}\":["));
    scene.fails(&again.renamed().seal(key), Code::DUPLICATE_MEMBER).await;
}

async fn a_table_out_of_its_order_is_refused(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let draft = scene.draft().await.with_data_replaced("\"order_items\":[", "\"other_items\":[");
    scene.fails(&scene.seal(&draft), Code::MALFORMED).await;
}

async fn a_row_that_is_not_json_is_refused(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let draft = scene.draft().await;
    let row = "{\"id\":3,\"sku\":\"B-1\",\"price\":\"0.05\"}";
    for bad in [
        "{\"id\":3,\"sku\":\"B-1\",\"price\":\"0.05\",}",
        "{\"id\":3,\"sku\":\"B-1\"}",
        "{\"id\":\"three\",\"sku\":\"B-1\",\"price\":\"0.05\"}",
        "{\"id\":3,\"sku\":{\"$eval\":\"x\"},\"price\":\"0.05\"}",
        "{\"id\":3,\"sku\":\"B-1\",\"price\":\"0.05\"}}",
    ] {
        let draft = draft.clone().with_data_replaced(row, bad).renamed();
        scene.fails(&scene.seal(&draft), Code::MALFORMED).await;
    }
    let empty = draft.clone().with_data_replaced(row, "").renamed();
    scene.fails(&scene.seal(&empty), Code::MALFORMED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_and_an_unknown_type_are_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let draft = scene.draft().await;
    let key = &scene.store.home.identity;
    let newer = draft.seal_replaced("\"minReader\":1", "\"minReader\":2", key);
    scene.refuses(&newer, Code::VERSION_TOO_NEW).await;
    let unknown = draft.seal_replaced("\"type\":\"int64\"", "\"type\":\"int128\"", key);
    scene.refuses(&unknown, Code::UNKNOWN_TYPE).await;
    let unheard = draft.seal_replaced("\"backupType\":\"full\"", "\"backupType\":\"half\"", key);
    scene.refuses(&unheard, Code::MALFORMED).await;
    let incremental = draft.seal_replaced("\"backupType\":\"full\"", "\"backupType\":\"incremental\"", key);
    scene.refuses(&incremental, Code::CHAIN_GAP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_with_the_key_of_somebody_else_is_refused() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let stranger = Home::make("STORE-001", &scene.store.shop.url);
    let mut draft = scene.draft().await;
    draft.metadata.source_key = stranger.identity.public_key();
    // Signed by the key that it names, and by the store's own.
    for key in [&stranger.identity, &scene.store.home.identity] {
        let document = draft.clone().renamed().seal(key);
        scene.refuses(&document, Code::SIGNATURE_INVALID).await;
        scene.refuses_file(&document.bytes(Codec::Zstd), Code::SIGNATURE_INVALID).await;
    }
}
