//! `POST /v1/backups`: what `curl` can do with the store's key.

use std::process::{Command, Output};

use branchline_core::code::Code;
use branchline_core::ports::Signer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Http1, store_tls};
use crate::rig::Rig;

/// Posts a document as the guide tells a person to.
fn curl(rig: &Rig, document: &[u8], arguments: &[&str]) -> Output {
    let file = rig.store.key_file.with_file_name("backup.json.zst");
    std::fs::write(&file, document).unwrap();
    let spki = rig.hq.identity.public_key().key_id().digest();
    let pin = format!("sha256//{}", data_encoding::BASE64.encode(spki.as_bytes()));
    Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--insecure",
            "--pinnedpubkey",
            &pin,
            "--write-out",
            "\n%{http_code}",
        ])
        .arg("--cert")
        .arg(&rig.store.certificate_file)
        .arg("--key")
        .arg(&rig.store.key_file)
        .arg("--data-binary")
        .arg(format!("@{}", file.display()))
        .args(arguments)
        .arg(format!("https://{}/v1/backups", rig.address))
        .output()
        .unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", &text));
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    (status.to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_posts_a_whole_document_and_gets_the_receipt() {
    for protocol in ["--http1.1", "--http2"] {
        let rig = Rig::start().await;
        let document: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
        let (status, body) = said(&curl(&rig, &document, &[protocol]));
        assert_eq!(status, "200", "{body}");
        assert!(body.starts_with("{\"success\":true,"), "{body}");
        assert!(rig.reception.only_upload() == document);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_with_another_pin_sends_nothing() {
    let rig = Rig::start().await;
    let pin = format!("sha256//{}", data_encoding::BASE64.encode(&[7; 32]));
    let output = curl(&rig, b"document", &["--pinnedpubkey", &pin]);
    assert_eq!(output.status.code(), Some(90));
    assert_eq!(rig.reception.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_document_is_a_problem_and_a_failure_is_not_a_200() {
    let rig = Rig::start().await;
    rig.reception.refuses_at(500_000, Code::SIGNATURE_INVALID);
    let (status, body) = said(&curl(&rig, &vec![1; 2_000_000], &["--http1.1"]));
    assert_eq!(status, "422", "{body}");
    assert!(body.contains("\"code\":\"BL-E0203\"") && body.contains("\"retryable\":false"), "{body}");

    let rig = Rig::start().await;
    rig.reception.receipts_say_failure();
    let (status, body) = said(&curl(&rig, b"document", &[]));
    assert_eq!(status, "422");
    assert!(body.starts_with("{\"success\":false,"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_without_its_length_is_refused() {
    let rig = Rig::start().await;
    let (status, body) =
        said(&curl(&rig, b"document", &["--http1.1", "--header", "Transfer-Encoding: chunked"]));
    assert_eq!(status, "411", "{body}");
    assert!(rig.reception.steps.borrow().is_empty());
}

#[tokio::test]
async fn a_document_that_breaks_off_leaves_nothing() {
    let rig = Rig::start().await;
    let mut stream = store_tls(&rig, b"http/1.1").await;
    stream
        .write_all(b"POST /v1/backups HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf")
        .await
        .unwrap();
    stream.flush().await.unwrap();
    rig.reception.saw("begin", 1).await;
    drop(stream);
    rig.reception.saw("cancel", 1).await;
    assert_eq!(rig.reception.upload_count(), 0);
}

#[tokio::test]
async fn documents_past_any_limit_are_refused_by_their_length_alone() {
    let rig = Rig::start().await;
    let mut stream = store_tls(&rig, b"http/1.1").await;
    let head = format!("POST /v1/backups HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert!(rig.reception.steps.borrow().is_empty());
}

#[tokio::test]
async fn unknown_places_are_nowhere_and_other_methods_are_told_which() {
    let rig = Rig::start().await;
    let mut http = Http1::of_store(&rig).await;
    for path in ["/", "/v1", "/v2/hello", "/v1/outbox/../hello", "/admin"] {
        let answer = http.send("GET", path, &[], b"").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (404, &"BL-E0315".into()), "{path}");
    }
    let answer = http.send("DELETE", "/v1/hello", &[], b"").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET"));
    let status = http.send("GET", "/v1/status", &[], b"").await;
    assert_eq!((status.status.as_u16(), &status.json()["server"]), (200, &"HQ".into()));
    assert!(status.json().get("tables").is_none());
}
