//! tus 1.0 as any client sees it, and paths that try to be something else.

use std::convert::Infallible;

use branchline_core::limits::{BATCH_BYTES, UPLOAD_PART_BYTES};
use bytes::Bytes;
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::client::{Answer, Http1, store_tls};
use crate::rig::{BACKUP, Rig, STORE};

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const PART: (&str, &str) = ("content-type", "application/offset+octet-stream");

/// Method, path, headers, body, and the status that is expected.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16);

fn metadata(backup: &str) -> String {
    let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    format!("backup {},signature {}", base64(backup), base64(&"A".repeat(88)))
}

async fn create(http: &mut Http1, backup: &str, length: &str) -> Answer {
    let metadata = metadata(backup);
    let headers = [TUS, ("upload-length", length), ("upload-metadata", metadata.as_str())];
    http.send("POST", "/v1/uploads", &headers, b"").await
}

fn path(backup: &str) -> String {
    format!("/v1/uploads/{backup}")
}

#[tokio::test]
async fn an_upload_is_created_goes_on_where_it_was_and_is_done() {
    let rig = Rig::start().await;
    let mut http = Http1::of_store(&rig).await;
    let created = create(&mut http, BACKUP, "10").await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, path(BACKUP).as_str()));
    assert_eq!((created.header("upload-offset"), created.header("tus-resumable")), ("0", "1.0.0"));
    assert_eq!(created.header("upload-expires"), "Sun, 06 Nov 1994 08:49:37 GMT");

    let first = http.send("PATCH", &path(BACKUP), &[TUS, PART, ("upload-offset", "0")], b"01234").await;
    assert_eq!((first.status.as_u16(), first.header("upload-offset")), (204, "5"));
    assert_eq!(first.header("upload-expires"), "Sun, 06 Nov 1994 08:49:37 GMT");

    let head = http.send("HEAD", &path(BACKUP), &[TUS], b"").await;
    assert_eq!((head.status.as_u16(), head.header("upload-offset")), (200, "5"));
    assert_eq!((head.header("upload-length"), head.header("cache-control")), ("10", "no-store"));

    let again = create(&mut http, BACKUP, "10").await;
    assert_eq!((again.status.as_u16(), again.header("upload-offset")), (201, "5"));

    let pending = http.send("GET", &format!("/v1/backups/{BACKUP}"), &[], b"").await;
    assert_eq!(pending.status.as_u16(), 202);
    assert_eq!(pending.text(), r#"{"state":"receiving","offset":5,"documentBytes":10}"#);

    let last = http.send("PATCH", &path(BACKUP), &[TUS, PART, ("upload-offset", "5")], b"56789").await;
    assert_eq!((last.status.as_u16(), last.header("upload-offset")), (204, "10"));
    assert_eq!(rig.reception.bytes_of(STORE, BACKUP.parse().unwrap()), b"0123456789");

    let receipt = http.send("GET", &format!("/v1/backups/{BACKUP}?wait=5"), &[], b"").await;
    assert_eq!((receipt.status.as_u16(), receipt.json()["success"].as_bool()), (200, Some(true)));
}

#[tokio::test]
async fn what_is_not_tus_is_refused_by_its_own_status() {
    let rig = Rig::start().await;
    let mut http = Http1::of_store(&rig).await;
    create(&mut http, BACKUP, "10").await;
    let too_long = (UPLOAD_PART_BYTES + 1).to_string();
    let elsewhere = path("019a2f4e-0000-7000-8000-00000000ffff");
    let here = path(BACKUP);
    let cases: [Case<'_>; 12] = [
        ("PATCH", &here, &[TUS, PART, ("upload-offset", "3")], b"x", 409),
        ("PATCH", &here, &[TUS, ("upload-offset", "0")], b"x", 415),
        ("PATCH", &here, &[TUS, ("content-type", "text/plain"), ("upload-offset", "0")], b"x", 415),
        ("PATCH", &here, &[PART, ("upload-offset", "0")], b"x", 412),
        ("PATCH", &here, &[("tus-resumable", "0.2.2"), PART, ("upload-offset", "0")], b"x", 412),
        ("PATCH", &here, &[TUS, PART], b"x", 400),
        ("PATCH", &here, &[TUS, PART, ("upload-offset", "+0")], b"x", 400),
        ("PATCH", &here, &[TUS, PART, ("upload-offset", "0")], b"01234567890", 413),
        ("PATCH", &elsewhere, &[TUS, PART, ("upload-offset", "0")], b"x", 404),
        ("HEAD", &elsewhere, &[TUS], b"", 404),
        ("HEAD", &here, &[], b"", 412),
        ("GET", &here, &[TUS], b"", 405),
    ];
    for (method, path, headers, body, status) in cases {
        let mut http = Http1::of_store(&rig).await;
        let answer = http.send(method, path, headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {headers:?}");
        assert_eq!(answer.header("tus-resumable"), "1.0.0");
        let type_of_body = answer.header("content-type");
        assert!(type_of_body == "application/problem+json" || method == "HEAD", "{type_of_body}");
        assert_eq!(answer.header("tus-version") == "1.0.0", status == 412);
    }
    // Nothing but the announced length is needed to refuse a part that is too long.
    let mut stream = store_tls(&rig, b"http/1.1").await;
    let head = format!(
        "PATCH {here} HTTP/1.1\r\nhost: x\r\n{}: {}\r\n{}: {}\r\nupload-offset: 0\r\ncontent-length: {too_long}\r\n\r\n",
        TUS.0, TUS.1, PART.0, PART.1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_eq!(rig.reception.bytes_of(STORE, BACKUP.parse().unwrap()), b"");
}

#[tokio::test]
async fn creations_that_make_no_sense_are_refused() {
    let rig = Rig::start().await;
    let mut http = Http1::of_store(&rig).await;
    let good = metadata(BACKUP);
    let no_signature = good.split(',').next().unwrap();
    let traversal = metadata("../../etc/passwd");
    for (length, metadata, status) in [
        ("10", "", 400),
        ("10", no_signature, 400),
        ("10", "backup !!!,signature QQ==", 400),
        ("10", traversal.as_str(), 400),
        ("-1", good.as_str(), 400),
        ("", good.as_str(), 400),
        ("18446744073709551616", good.as_str(), 400),
        ("18446744073709551615", good.as_str(), 413),
    ] {
        let headers = [TUS, ("upload-length", length), ("upload-metadata", metadata)];
        let answer = http.send("POST", "/v1/uploads", &headers, b"").await;
        assert_eq!(answer.status.as_u16(), status, "{length} {metadata}");
    }
    let deferred = [TUS, ("upload-defer-length", "1"), ("upload-metadata", good.as_str())];
    assert_eq!(http.send("POST", "/v1/uploads", &deferred, b"").await.status.as_u16(), 400);
    assert_eq!(rig.reception.upload_count(), 0);
}

#[tokio::test]
async fn an_upload_is_terminated_and_abilities_are_told() {
    let rig = Rig::start().await;
    let mut http = Http1::of_store(&rig).await;
    let abilities = http.send("OPTIONS", "/v1/uploads", &[], b"").await;
    assert_eq!((abilities.status.as_u16(), abilities.header("tus-version")), (204, "1.0.0"));
    assert_eq!(abilities.header("tus-extension"), "creation,expiration,termination");
    assert!(abilities.header("tus-max-size").parse::<u64>().unwrap() > 1 << 30);
    create(&mut http, BACKUP, "10").await;
    assert_eq!(http.send("DELETE", &path(BACKUP), &[TUS], b"").await.status.as_u16(), 204);
    assert_eq!(http.send("DELETE", &path(BACKUP), &[TUS], b"").await.status.as_u16(), 404);
    assert_eq!(http.send("HEAD", &path(BACKUP), &[TUS], b"").await.status.as_u16(), 404);
}

#[tokio::test]
async fn too_many_uploads_are_a_problem_that_says_when_to_come_back() {
    let rig = Rig::start().await;
    let mut http = Http1::of_store(&rig).await;
    let id = |number: u8| format!("019a2f4e-0000-7000-8000-0000000000{number:02}");
    assert_eq!(create(&mut http, &id(1), "10").await.status.as_u16(), 201);
    assert_eq!(create(&mut http, &id(2), "10").await.status.as_u16(), 201);
    let answer = create(&mut http, &id(3), "10").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "5"));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:branchline:error:too_many_uploads");
    assert_eq!(problem["title"], "The peer has too many uploads open.");
    assert_eq!((&problem["status"], &problem["code"]), (&429.into(), &"BL-E0318".into()));
    assert_eq!((&problem["retryable"], &problem["hint"]), (&true.into(), &"wait until they are done".into()));
    assert!(problem["detail"].is_string() && problem.get("offset").is_none());
}

#[tokio::test]
async fn a_wrong_offset_is_told_the_right_one_twice() {
    let rig = Rig::start().await;
    let mut http = Http1::of_store(&rig).await;
    create(&mut http, BACKUP, "10").await;
    http.send("PATCH", &path(BACKUP), &[TUS, PART, ("upload-offset", "0")], b"0123").await;
    let answer = http.send("PATCH", &path(BACKUP), &[TUS, PART, ("upload-offset", "9")], b"9").await;
    assert_eq!((answer.status.as_u16(), answer.header("upload-offset")), (409, "4"));
    assert_eq!((&answer.json()["offset"], &answer.json()["retryable"]), (&4.into(), &true.into()));
}

#[tokio::test]
async fn a_newer_part_ends_the_older_one_which_keeps_what_it_brought() {
    let rig = Rig::start().await;
    let length = 2 * BATCH_BYTES;
    let (mut older, mut newer) = (Http1::of_store(&rig).await, Http1::of_store(&rig).await);
    create(&mut older, BACKUP, &length.to_string()).await;
    let (bytes, frames) = mpsc::unbounded_channel::<Result<Frame<Bytes>, Infallible>>();
    bytes.send(Ok(Frame::data(Bytes::from(vec![1; BATCH_BYTES])))).unwrap();
    let frames = unfold(frames, |mut frames| async { frames.recv().await.map(|frame| (frame, frames)) });
    let body = BodyExt::boxed(BodyExt::map_err(StreamBody::new(frames), |never| match never {}));
    let announced = length.to_string();
    let headers = [TUS, PART, ("upload-offset", "0"), ("content-length", announced.as_str())];
    let here = path(BACKUP);
    let old_part = older.send_body("PATCH", &here, &headers, body);
    let take_over = async {
        rig.reception.saw("append", 1).await;
        // It asked a moment too early; what the older one brought is on disk by the time of the answer.
        let early = newer.send("PATCH", &here, &[TUS, PART, ("upload-offset", "0")], &[2; 16]).await;
        let offset = early.header("upload-offset").to_owned();
        assert_eq!((early.status.as_u16(), offset.as_str()), (409, BATCH_BYTES.to_string().as_str()));
        newer.send("PATCH", &here, &[TUS, PART, ("upload-offset", &offset)], &vec![2; BATCH_BYTES]).await
    };
    let (old, new) = tokio::join!(old_part, take_over);
    drop(bytes);
    assert_eq!((old.status.as_u16(), &old.json()["code"]), (503, &"BL-E0002".into()));
    assert_eq!(old.header("upload-offset"), BATCH_BYTES.to_string());
    assert_eq!((new.status.as_u16(), new.header("upload-offset")), (204, length.to_string().as_str()));
    let held = rig.reception.bytes_of(STORE, BACKUP.parse().unwrap());
    assert!(
        held[..BATCH_BYTES].iter().all(|byte| *byte == 1)
            && held[BATCH_BYTES..].iter().all(|byte| *byte == 2)
    );
}

#[tokio::test]
async fn what_came_before_the_line_broke_is_kept() {
    let rig = Rig::start().await;
    create(&mut Http1::of_store(&rig).await, BACKUP, "10").await;
    let mut stream = store_tls(&rig, b"http/1.1").await;
    let head = format!(
        "PATCH {} HTTP/1.1\r\nhost: x\r\n{}: {}\r\n{}: {}\r\nupload-offset: 0\r\ncontent-length: 10\r\n\r\n01234",
        path(BACKUP),
        TUS.0,
        TUS.1,
        PART.0,
        PART.1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    rig.reception.saw("status", 1).await;
    drop(stream);
    rig.reception.saw("settle", 1).await;
    let head = Http1::of_store(&rig).await.send("HEAD", &path(BACKUP), &[TUS], b"").await;
    assert_eq!(head.header("upload-offset"), "5");
}

#[tokio::test]
async fn paths_that_try_to_be_something_else_reach_nothing() {
    let rig = Rig::start().await;
    let long = "A".repeat(8_000);
    let upper = BACKUP.to_uppercase();
    let with_suffix =
        [format!("{BACKUP}/.."), format!("{BACKUP}."), format!("{BACKUP}%00"), format!("{{{BACKUP}}}")];
    let mut payloads = vec![
        "..",
        "../..",
        "../../etc/passwd",
        "..\\..\\x",
        "%2e%2e%2f%2e%2e%2fetc/passwd",
        "%2e%2e",
        "%252e%252e",
        "..%5c..%5cwindows",
        "..;/x",
        "....//....//x",
        "/etc/passwd",
        "//",
        "CON",
        "con.json",
        "NUL",
        "COM1",
        "LPT1.txt",
        "x:y",
        "C:\\x",
        "\\\\host\\share",
        "%00",
        "a%00.json",
        "%c0%ae%c0%ae",
        "%ef%bc%8e",
        "~root",
        "$HOME",
        "`id`",
        "';--",
        "%22;%20DROP",
        "*",
        "?",
        "#",
        ".",
        "-",
        "0",
        "null",
        "019a2f4e",
        "file:///etc/passwd",
        "a.",
        ".hidden",
    ];
    payloads.push(&long);
    payloads.push(&upper);
    payloads.extend(with_suffix.iter().map(String::as_str));
    for payload in payloads {
        for (method, place) in [("PATCH", "uploads"), ("DELETE", "uploads"), ("GET", "backups")] {
            let mut stream = store_tls(&rig, b"http/1.1").await;
            let request = format!(
                "{method} /v1/{place}/{payload} HTTP/1.1\r\nhost: x\r\ntus-resumable: 1.0.0\r\nupload-offset: 0\r\n\
                 content-type: application/offset+octet-stream\r\ncontent-length: 0\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            let answer = std::str::from_utf8(&answer).unwrap();
            assert!(matches!(answer, "HTTP/1.1 400" | "HTTP/1.1 404"), "{method} {payload}: {answer}");
        }
    }
    assert!(rig.reception.steps.borrow().is_empty());
}

#[tokio::test]
async fn small_bodies_are_bounded() {
    let rig = Rig::start().await;
    let mut http = Http1::of_store(&rig).await;
    let large = vec![b' '; (1 << 20) + 1];
    let answer = http.send("POST", "/v1/compare", &[], &large).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (413, &"BL-E0314".into()));
    let mut http = Http1::of_store(&rig).await;
    assert_eq!(http.send("POST", "/v1/compare", &[], b"{}").await.status.as_u16(), 400);
    let nested = "[".repeat(100_000);
    assert_eq!(http.send("POST", "/v1/compare", &[], nested.as_bytes()).await.status.as_u16(), 400);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_the_body_arrives() {
    let rig = Rig::start().await;
    create(&mut Http1::of_store(&rig).await, BACKUP, "8388608").await;
    let mut stream = store_tls(&rig, b"http/1.1").await;
    let head = format!(
        "PATCH {} HTTP/1.1\r\nhost: x\r\n{}: {}\r\n{}: {}\r\nupload-offset: 7\r\ncontent-length: 8388608\r\n\r\n",
        path(BACKUP),
        TUS.0,
        TUS.1,
        PART.0,
        PART.1
    );
    // A client that reads nothing before it has said all it had to say.
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![1; 8 << 20]).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 409");
}
