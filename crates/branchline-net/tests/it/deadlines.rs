//! Clients that are slow, silent, or too many.

use std::time::Duration;

use branchline_core::ports::PeerLink;
use branchline_net::deadlines::ServerBounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::store_tls;
use crate::rig::Rig;

/// Far more than any deadline here: a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn silent_sockets_are_dropped_at_the_deadline_while_a_peer_is_served() {
    let rig = Rig::with(ServerBounds { handshake: SHORT, ..ServerBounds::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(TcpStream::connect(rig.address).await.unwrap());
    }
    let link = rig.link();
    link.hello().await.unwrap();
    for socket in &mut silent {
        let read = timeout(LONG, socket.read(&mut [0; 16])).await.expect("dropped at the deadline");
        assert_eq!(read.unwrap(), 0);
    }
    link.hello().await.unwrap();
}

#[tokio::test]
async fn half_a_client_hello_is_dropped_at_the_deadline() {
    let rig = Rig::with(ServerBounds { handshake: SHORT, ..ServerBounds::default() }).await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
    let read = timeout(LONG, socket.read(&mut [0; 16])).await.expect("dropped at the deadline");
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn silent_sockets_that_take_every_place_give_way_to_a_peer() {
    let bounds = ServerBounds { connections_max: 4, handshake: LONG, ..ServerBounds::default() };
    let rig = Rig::with(bounds).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(rig.address).await.unwrap());
    }
    rig.link().hello().await.unwrap();
    // The oldest had to go, long before its deadline.
    assert_eq!(timeout(LONG, silent[0].read(&mut [0; 16])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn connections_past_the_cap_are_closed_at_once() {
    let bounds = ServerBounds { connections_max: 2, handshake: LONG, ..ServerBounds::default() };
    let rig = Rig::with(bounds).await;
    let (first, second) = (rig.link(), rig.link());
    first.hello().await.unwrap();
    second.hello().await.unwrap();
    let mut third = TcpStream::connect(rig.address).await.unwrap();
    assert_eq!(timeout(LONG, third.read(&mut [0; 16])).await.unwrap().unwrap(), 0);
    first.hello().await.unwrap();
    second.hello().await.unwrap();
}

#[tokio::test]
async fn half_a_header_is_closed_at_the_deadline() {
    let rig = Rig::with(ServerBounds { header: SHORT, ..ServerBounds::default() }).await;
    for said in ["", "G", "GET /v1/hello HTTP/1.1\r\nhost: x\r\nx-half: "] {
        let mut stream = store_tls(&rig, b"http/1.1").await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // An end in order or not, but an end.
        let _end = timeout(LONG, stream.read_to_end(&mut rest)).await.expect("closed at the deadline");
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{said:?}");
    }
    assert_eq!(rig.reception.requests(), 0);
}

#[tokio::test]
async fn http_2_without_its_preface_is_closed_at_the_deadline() {
    let rig = Rig::with(ServerBounds { header: SHORT, ..ServerBounds::default() }).await;
    let mut stream = store_tls(&rig, b"h2").await;
    stream.write_all(b"PRI * HTTP").await.unwrap();
    let mut rest = Vec::new();
    let _end = timeout(LONG, stream.read_to_end(&mut rest)).await.expect("closed at the deadline");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_ended_and_what_came_is_kept() {
    let rig = Rig::with(ServerBounds { body_piece: SHORT, ..ServerBounds::default() }).await;
    let mut stream = store_tls(&rig, b"http/1.1").await;
    let create = "POST /v1/uploads HTTP/1.1\r\nhost: x\r\ntus-resumable: 1.0.0\r\nupload-length: 100\r\n\
        content-length: 0\r\nupload-metadata: backup MDE5YTJmNGUtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAw,signature QQ==\r\n\r\n";
    let part = "PATCH /v1/uploads/019a2f4e-0000-7000-8000-000000000000 HTTP/1.1\r\nhost: x\r\ntus-resumable: 1.0.0\r\n\
        content-type: application/offset+octet-stream\r\nupload-offset: 0\r\ncontent-length: 100\r\n\r\nhalf";
    stream.write_all(create.as_bytes()).await.unwrap();
    stream.write_all(part.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    let _end = timeout(LONG, stream.read_to_end(&mut answers)).await.expect("ended");
    let answers = String::from_utf8(answers).unwrap();
    assert!(answers.contains("HTTP/1.1 201") && answers.contains("HTTP/1.1 408"), "{answers}");
    assert!(answers.contains("upload-offset: 4\r\n") && answers.contains("BL-E0321"), "{answers}");
    let backup = crate::rig::BACKUP.parse().unwrap();
    assert_eq!(rig.reception.bytes_of(crate::rig::STORE, backup), b"half");
}
