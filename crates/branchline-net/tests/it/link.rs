//! Our own client: one connection, several addresses, and what a peer's standing means for it.

use std::time::Duration;

use branchline_core::code::{Code, Explain, Retry};
use branchline_core::compare::{CompareAnswer, CompareRequest};
use branchline_core::limits::UPLOAD_PART_BYTES;
use branchline_core::ports::{HashSpec, LinkError, Offer, OfferAnswer, PeerLink};
use branchline_core::schema::{Column, ColumnName, LogicalType, Schema, Table, TableName};
use branchline_core::scope::PeerScope;
use branchline_net::deadlines::ClientBounds;
use branchline_net::v1::client::{HttpLink, LinkContext};
use branchline_testkit::link::{self as suite, Trial};
use tokio::net::{TcpListener, TcpSocket};

use crate::rig::{BACKUP, HQ, Rig, STORE};

fn offer(document_bytes: u64) -> Offer {
    Offer { backup: BACKUP.parse().unwrap(), document_bytes, signature: "A".repeat(88) }
}

fn shop() -> Schema {
    let column = |number| Column {
        name: ColumnName::new(format!("column_{number}")).unwrap(),
        logical_type: LogicalType::Decimal(Some((12, 2))),
        native_type: "numeric(12,2)".into(),
        nullable: false,
        has_default: false,
        generated: false,
        omitted: number == 2,
    };
    let table = |number| Table {
        name: TableName::new(format!("table_{number}")).unwrap(),
        columns: (0..13).map(column).collect(),
        key: vec![0],
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        rows_estimated: number,
        excluded: None,
    };
    Schema::new((0..295).map(table))
}

#[tokio::test]
async fn a_hello_brings_the_whole_schema_and_the_path() {
    let rig = Rig::start().await;
    rig.reception.has_schema(shop());
    let hello = rig.link().hello().await.unwrap();
    assert_eq!(hello.server.as_str(), HQ);
    assert_eq!(hello.schema, shop());
    assert_eq!(hello.path, rig.address.to_string());
}

#[tokio::test]
async fn a_backup_travels_in_parts_and_its_receipt_comes_back() {
    let rig = Rig::start().await;
    let link = rig.link();
    let document: Vec<u8> = (0..UPLOAD_PART_BYTES + 300_000).map(|at| (at % 251) as u8).collect();
    let offer = offer(document.len() as u64);
    assert_eq!(link.offer(&offer).await.unwrap(), OfferAnswer::Continue { offset: 0 });
    rig.reception.saw("offer", 1).await;
    let first = document[..UPLOAD_PART_BYTES].to_vec();
    assert_eq!(link.send(offer.backup, 0, first).await.unwrap(), UPLOAD_PART_BYTES as u64);
    assert_eq!(link.receipt(offer.backup, Duration::ZERO).await.unwrap(), None);
    let offset = UPLOAD_PART_BYTES as u64;
    assert_eq!(link.offer(&offer).await.unwrap(), OfferAnswer::Continue { offset });
    let last = document[UPLOAD_PART_BYTES..].to_vec();
    assert_eq!(link.send(offer.backup, offset, last).await.unwrap(), document.len() as u64);
    assert_eq!(link.offer(&offer).await.unwrap(), OfferAnswer::Complete);
    let receipt = link.receipt(offer.backup, Duration::from_secs(5)).await.unwrap().unwrap();
    assert_eq!(receipt, format!("{{\"success\":true,\"backupId\":\"{BACKUP}\"}}").into_bytes());
    assert!(rig.reception.bytes_of(STORE, offer.backup) == document);
}

#[tokio::test]
async fn link_and_reception_keep_their_contract() {
    let id = |number: u8| format!("019a2f4e-0000-7000-8000-0000000000{number:02}").parse().unwrap();
    let rig = Rig::start().await;
    let trial = Trial {
        peer: STORE.parse().unwrap(),
        backup: id(0),
        others: (1..4).map(id).collect(),
        signature: "A".repeat(88),
        document: vec![7; 300_001],
    };
    suite::an_unknown_key_is_not_paired(&*rig.reception).await;
    suite::a_cancelled_upload_is_gone(&*rig.reception, &trial).await;
    suite::uploads_of_one_peer_are_bounded(&*rig.reception, &trial).await;
    suite::an_upload_goes_on_from_what_is_lasting(&*rig.reception, &trial).await;
    let trial = Trial { backup: id(9), ..trial };
    suite::a_link_ends_an_upload(&rig.link(), &trial).await;
    suite::a_link_carries_a_backup(&rig.link(), &trial).await;
}

#[tokio::test]
async fn a_part_at_the_wrong_offset_is_told_so_and_can_go_on_at_once() {
    let rig = Rig::start().await;
    let link = rig.link();
    link.offer(&offer(10)).await.unwrap();
    let error = link.send(offer(10).backup, 3, vec![1]).await.unwrap_err();
    assert_eq!(error.code(), Code::OFFSET_MISMATCH);
    assert_eq!(link.send(offer(10).backup, 0, vec![1]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_part_arrives_with_its_code() {
    let rig = Rig::start().await;
    rig.reception.refuses_at(1 << 20, Code::SIGNATURE_INVALID);
    let link = rig.link();
    link.offer(&offer(8 << 20)).await.unwrap();
    let error = link.send(offer(8).backup, 0, vec![0; 8 << 20]).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), (Code::SIGNATURE_INVALID, Retry::Never));
    link.hello().await.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_not_wanted_is_gone_and_ending_it_twice_does_no_harm() {
    let rig = Rig::start().await;
    let link = rig.link();
    link.offer(&offer(10)).await.unwrap();
    link.cancel(offer(10).backup).await.unwrap();
    assert_eq!(rig.reception.upload_count(), 0);
    link.cancel(offer(10).backup).await.unwrap();
}

#[tokio::test]
async fn the_largest_comparison_fits() {
    let rig = Rig::start().await;
    let link = rig.link();
    let name = |text: &str| ColumnName::new(text).unwrap();
    let columns = vec![(name("id"), LogicalType::Int64)];
    let table = TableName::new("orders").unwrap();
    let spec =
        HashSpec { table, columns, key: vec![name("id")], buckets: 65_536, scope: PeerScope::default() };
    let CompareAnswer::Hashes(hashes) = link.compare(&CompareRequest::Hashes(spec.clone())).await.unwrap()
    else {
        panic!("hashes were asked for");
    };
    assert_eq!((hashes.rows, hashes.buckets.len()), (65_536, 65_536));
    let rows = CompareRequest::Rows { spec, buckets: (0..5_000).collect() };
    let CompareAnswer::Rows(rows) = link.compare(&rows).await.unwrap() else {
        panic!("rows were asked for");
    };
    assert_eq!(rows.len(), 5_000);
}

#[tokio::test]
async fn a_paused_or_removed_peer_is_out_at_the_next_request() {
    let rig = Rig::start().await;
    let link = rig.link();
    link.hello().await.unwrap();
    rig.reception.pauses(rig.store.key_id());
    let error = link.hello().await.unwrap_err();
    assert!(
        matches!(&error, LinkError::Problem { code: Code::PEER_PAUSED, retryable: true, .. }),
        "{error:?}"
    );
    rig.reception.forgets(rig.store.key_id());
    assert_eq!(link.hello().await.unwrap_err(), LinkError::NotPaired { peer: HQ.parse().unwrap() });
    assert_eq!(link.offer(&offer(1)).await.unwrap_err(), LinkError::NotPaired { peer: HQ.parse().unwrap() });
    assert_eq!(rig.reception.upload_count(), 0);
}

#[tokio::test]
async fn a_peer_removed_during_a_part_completes_nothing() {
    let rig = Rig::start().await;
    let link = rig.link();
    link.offer(&offer(8 << 20)).await.unwrap();
    let sending = link.send(offer(8).backup, 0, vec![7; 8 << 20]);
    let removing = async {
        rig.reception.saw("append", 1).await;
        rig.reception.forgets(rig.store.key_id());
    };
    let (sent, ()) = tokio::join!(sending, removing);
    assert_eq!(sent.unwrap_err(), LinkError::NotPaired { peer: HQ.parse().unwrap() });
    assert!(!rig.reception.steps.borrow().contains(&"settle".to_owned()));
}

#[tokio::test]
async fn a_wrong_key_at_one_address_does_not_stop_the_others() {
    let (rig, impostor) = (Rig::start().await, Rig::start().await);
    let context = rig.context(&rig.store);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().to_string().parse().unwrap();
    let addresses = vec![impostor.peer_address(), silent, rig.peer_address()];
    let link = HttpLink::new(HQ.parse().unwrap(), rig.hq.key_id(), addresses, &context).unwrap();
    assert_eq!(link.hello().await.unwrap().path, rig.address.to_string());
    assert_eq!(impostor.reception.requests(), 0);
}

#[tokio::test]
async fn a_peer_that_answers_nowhere_is_unreachable_with_every_address_named() {
    let rig = Rig::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Bound, so that nobody else gets it, and not listened on, so that it refuses.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = closed.local_addr().unwrap();
    let bounds = ClientBounds { connect: Duration::from_millis(300), ..ClientBounds::default() };
    let context = LinkContext { bounds, ..rig.context(&rig.store) };
    let addresses =
        [silent.local_addr().unwrap(), closed].map(|address| address.to_string().parse().unwrap());
    let link = HttpLink::new(HQ.parse().unwrap(), rig.hq.key_id(), addresses.to_vec(), &context).unwrap();
    let error = link.hello().await.unwrap_err();
    assert_eq!((error.code(), error.retry()), (Code::UNREACHABLE, Retry::Later));
    for address in addresses {
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_calls_itself_otherwise_is_not_believed() {
    let rig = Rig::start().await;
    let context = rig.context(&rig.store);
    let link = HttpLink::new("OTHER".parse().unwrap(), rig.hq.key_id(), vec![rig.peer_address()], &context);
    let error = link.unwrap().hello().await.unwrap_err();
    assert_eq!(error.code(), Code::PROTOCOL_MISMATCH);
}

#[tokio::test]
async fn a_link_comes_back_after_its_server_was_restarted() {
    let mut first = Rig::start().await;
    let link = first.link();
    link.hello().await.unwrap();
    first.shutdown.cancel();
    first.tracker.close();
    // The link's own connection ends too, since the server has closed it.
    first.tracker.wait().await;
    let error = link.hello().await.unwrap_err();
    assert_eq!(error.code(), Code::UNREACHABLE);
    first.restart().await;
    link.hello().await.unwrap();
}

#[tokio::test]
async fn requests_that_run_at_shutdown_may_end() {
    let rig = Rig::start().await;
    let link = rig.link();
    link.offer(&offer(1)).await.unwrap();
    link.send(offer(1).backup, 0, vec![1]).await.unwrap();
    rig.reception.receipts_allowed.send_replace(false);
    let asking = link.receipt(offer(1).backup, Duration::from_secs(30));
    let stopping = async {
        rig.reception.saw("receipt", 1).await;
        rig.shutdown.cancel();
        rig.reception.receipts_allowed.send_replace(true);
    };
    let (receipt, ()) = tokio::join!(asking, stopping);
    assert!(receipt.unwrap().is_some());
    drop(link);
    rig.tracker.close();
    rig.tracker.wait().await;
}
