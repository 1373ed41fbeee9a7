//! Whoever has the store's key and no branchline posts a whole document with `curl`, and gets the receipt.

use std::path::Path;
use std::process::Command as Process;
use std::sync::Arc;

use branchline_core::backup::Codec;
use branchline_core::code::Code;
use branchline_core::ports::{Signer, Spool};
use branchline_core::receipt::v1::open_receipt;
use branchline_testkit::database::Engine;
use branchline_testkit::spool::FaultySpool;
use data_encoding::BASE64;
use serde_json::Value;

use crate::world::{Draft, Home, Scene, Server, Shop, introduce, on_both_engines};

/// What `curl` said, with the key of that server.
struct Answered {
    status: String,
    body: String,
}

fn curl(home: &Home, headquarters: &Server, arguments: &[&str], path: &str) -> Result<Answered, String> {
    let pin = BASE64.encode(headquarters.home.identity.public_key().key_id().digest().as_bytes());
    let output = Process::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--max-time", "60", "--write-out", "\n%{http_code}"])
        .args(["--pinnedpubkey", &format!("sha256//{pin}")])
        .arg("--cert")
        .arg(home.certificate_file())
        .arg("--key")
        .arg(home.key_file())
        .args(arguments)
        .arg(format!("https://{}{path}", headquarters.address()))
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    Ok(Answered { status: status.to_owned(), body: body.to_owned() })
}

fn post(home: &Home, headquarters: &Server, file: &Path) -> Result<Answered, String> {
    let data = format!("@{}", file.display());
    curl(home, headquarters, &["--data-binary", &data], "/v1/backups")
}

/// Asserts a problem of that code.
#[track_caller]
fn problem(answered: &Answered, code: Code) -> Value {
    let problem: Value = serde_json::from_str(&answered.body).unwrap();
    assert_eq!(problem["code"], code.to_string(), "{}", answered.body);
    assert_eq!(
        (answered.status.as_str(), &problem["status"]),
        (code.entry().http_status.to_string().as_str(), &code.entry().http_status.into())
    );
    problem
}

on_both_engines! {
    a_document_that_curl_posts_is_applied_and_answered
    a_document_that_does_not_fit_is_answered_with_its_receipt
}

async fn a_document_that_curl_posts_is_applied_and_answered(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let folder = tempfile::tempdir().unwrap();
    let document = scene.seal(&scene.draft().await);
    let mut receipts = Vec::new();
    for codec in [Codec::Zstd, Codec::Gzip, Codec::Plain] {
        let answered =
            post(&scene.store.home, &scene.headquarters, &document.write_to(&folder, codec)).unwrap();
        assert_eq!(answered.status, "200", "{}", answered.body);
        receipts.push(answered.body);
    }
    let key = scene.headquarters.home.identity.public_key().key_id();
    let receipt = open_receipt(receipts[0].as_bytes(), key).unwrap();
    assert!(receipt.success && receipt.backup == document.backup);
    assert_eq!((receipt.totals().inserted, receipt.totals().updated), (9, 1));
    assert!(receipts.iter().all(|again| *again == receipts[0]));
    assert_eq!(scene.headquarters.shop.query("SELECT count(*) FROM order_items").await, ["3"]);
    // The same is to be had by its name later on.
    let path = format!("/v1/backups/{}", document.backup);
    let asked = curl(&scene.store.home, &scene.headquarters, &[], &path).unwrap();
    assert_eq!((asked.status.as_str(), asked.body.as_str()), ("200", receipts[0].as_str()));
    assert_eq!(scene.headquarters.home.spool_files("in-"), 0);
}

async fn a_document_that_does_not_fit_is_answered_with_its_receipt(engine: Engine) {
    let scene = Scene::of_shops(engine).await;
    let folder = tempfile::tempdir().unwrap();
    let draft = scene.draft().await.with_data_replaced("\"product_id\":3", "\"product_id\":33");
    let file = scene.seal(&draft).write_to(&folder, Codec::Zstd);
    let answered = post(&scene.store.home, &scene.headquarters, &file).unwrap();
    assert_eq!(answered.status, "422");
    let receipt: Value = serde_json::from_str(&answered.body).unwrap();
    assert_eq!(
        (&receipt["success"], &receipt["errors"][0]["code"]),
        (&false.into(), &Code::FOREIGN_KEY_BROKEN.to_string().into())
    );
    scene.assert_untouched().await;
}

/// What `POST /v1/backups` refuses it refuses as an upload would, and keeps nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_document_is_a_problem_of_its_own_code() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let draft = scene.draft().await;
    let good = scene.seal(&draft);
    let posted = |bytes: Vec<u8>| {
        let file = folder.path().join("document");
        std::fs::write(&file, bytes).unwrap();
        post(&scene.store.home, &scene.headquarters, &file).unwrap()
    };
    let mut changed = good.clone();
    changed.data[20] ^= 1;
    problem(&posted(changed.bytes(Codec::Zstd)), Code::CHECKSUM_MISMATCH);
    let mut unsigned = good.clone();
    unsigned.signature = BASE64.encode(&[7; 64]);
    problem(&posted(unsigned.bytes(Codec::Gzip)), Code::SIGNATURE_INVALID);
    let cut = good.bytes(Codec::Zstd);
    let truncated = problem(&posted(cut[..cut.len() - 3].to_vec()), Code::TRUNCATED);
    assert_eq!(truncated["retryable"], true);
    problem(&posted(Vec::new()), Code::TRUNCATED);
    problem(&posted(b"hello".to_vec()), Code::MALFORMED);
    let mut elsewhere = draft.clone();
    elsewhere.metadata.target = "STORE-002".parse().unwrap();
    let elsewhere = problem(&posted(scene.seal(&elsewhere).bytes(Codec::Plain)), Code::WRONG_TARGET);
    assert_eq!(elsewhere["retryable"], false);
    scene.assert_untouched().await;
    assert_eq!(scene.headquarters.home.spool_files(""), 0);
    let answered = posted(good.bytes(Codec::Zstd));
    assert_eq!(answered.status, "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_a_507_that_asks_to_try_again() {
    let shop = Shop::empty(Engine::Sqlite).await;
    let home = Home::make("CENTRAL-HQ", &shop.url);
    let full = |inner: Arc<dyn Spool>| Arc::new(FaultySpool::failing_write(inner, 1)) as Arc<dyn Spool>;
    let headquarters = Server::start_with(home, shop, &[], full).await;
    let store = Server::start("STORE-001", Shop::stocked(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    let folder = tempfile::tempdir().unwrap();
    let before = headquarters.shop.hashes().await;
    let file =
        Draft::of(&store, &headquarters.home).await.seal(&store.home.identity).write_to(&folder, Codec::Zstd);
    let said = problem(&post(&store.home, &headquarters, &file).unwrap(), Code::DISK_FULL);
    assert_eq!((&said["status"], &said["retryable"]), (&507.into(), &true.into()));
    assert_eq!(headquarters.shop.hashes().await, before);
    assert_eq!(post(&store.home, &headquarters, &file).unwrap().status, "200");
    assert_eq!(headquarters.home.spool_files(""), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_with_a_key_that_is_not_paired_is_refused_in_the_handshake() {
    let scene = Scene::of_shops(Engine::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let file = scene.seal(&scene.draft().await).write_to(&folder, Codec::Zstd);
    let stranger = Home::make("STORE-001", &scene.store.shop.url);
    let said = post(&stranger, &scene.headquarters, &file).err().expect("no answer at all");
    assert!(said.contains("alert"), "{said}");
    scene.assert_untouched().await;
}
