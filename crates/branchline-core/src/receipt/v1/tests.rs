//! A receipt reads back for the one who pinned its key, and for nobody else.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::*;
use crate::backup::BackupType;
use crate::digest::Digest;
use crate::id::Sequence;
use crate::signing::pre_authentication_encoding;

struct TestSigner(Ed25519KeyPair);

impl Signer for TestSigner {
    fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.public_key().as_ref().try_into().unwrap())
    }

    fn sign(&self, kind: SignedKind, body: &[u8]) -> Result<Signature, SignerError> {
        let signature = self.0.sign(&pre_authentication_encoding(kind, body));
        Ok(Signature::from_bytes(signature.as_ref().try_into().unwrap()))
    }
}

fn signer(seed: u8) -> TestSigner {
    TestSigner(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
}

fn receipt(signer: &TestSigner) -> Receipt {
    Receipt {
        success: true,
        server: "CENTRAL-HQ".parse().unwrap(),
        server_key: signer.public_key(),
        processed_at: "2025-12-07T00:15:30Z".parse().unwrap(),
        backup: "019a2f4e-0000-7000-8000-000000000000".parse().unwrap(),
        source: "STORE-001".parse().unwrap(),
        backup_type: BackupType::Full,
        records_processed: 3,
        checksum: Digest::of(b"{}"),
        errors: vec![ReceiptFault { code: Code::UNIQUE_CONFLICT, message: "a \"quote\"".into() }],
        warnings: vec!["Some records were duplicates and skipped".into()],
        tables: vec![TableReceipt {
            table: TableName::new("orders").unwrap(),
            inserted: 1,
            updated: 1,
            deleted: 0,
            unchanged: 1,
            superseded: 0,
            merged: 0,
            held: 0,
        }],
        held: Vec::new(),
        released: 0,
        day: None,
        standing: None,
        foreign_keys: "row by row".into(),
        locked_for: Duration::from_millis(12),
        stages: vec![StageTime { stage: "merge".into(), took: Duration::from_millis(40) }],
    }
}

#[test]
fn a_receipt_reads_back_for_the_pinned_key() {
    let signer = signer(1);
    let document = seal_receipt(&receipt(&signer), &signer).unwrap();
    assert_eq!(open_receipt(&document, signer.public_key().key_id()).unwrap(), receipt(&signer));
    let text = String::from_utf8(document).unwrap();
    let first = r#"{"success":true,"serverId":"CENTRAL-HQ","processedAt":"2025-12-07T00:15:30Z","recordsProcessed":3,"errors":["#;
    assert!(text.starts_with(first), "{text}");
}

#[test]
fn what_is_held_superseded_and_known_reads_back() {
    let signer = signer(1);
    let mut full = receipt(&signer);
    full.success = false;
    full.tables[0] = TableReceipt { superseded: 4, merged: 3, held: 2, ..full.tables[0].clone() };
    full.held = vec![HeldReport {
        table: TableName::new("orders").unwrap(),
        key: "7".into(),
        code: Code::FOREIGN_KEY_BROKEN,
        reason: "customer 9 is not here".into(),
    }];
    full.released = 1;
    let life = Life::new("CENTRAL-HQ".parse().unwrap(), Epoch::new(2));
    let knowledge = [(life.clone(), Generation::new(5))].into_iter().collect();
    full.standing = Some(Standing { life, knowledge, sealed: Sequence::new(6) });
    assert!(full.is_applied() && !full.success);
    let document = seal_receipt(&full, &signer).unwrap();
    assert_eq!(open_receipt(&document, signer.public_key().key_id()).unwrap(), full);
}

/// As it was written before there were versions.
#[test]
fn a_receipt_without_the_members_that_came_later_is_written_and_read_as_before() {
    let signer = signer(1);
    let document = seal_receipt(&receipt(&signer), &signer).unwrap();
    let text = String::from_utf8(document).unwrap();
    let middle = concat!(
        r#""inserted":1,"updated":1,"deleted":0,"unchanged":1,"merged":0,"superseded":0,"held":0,"#,
        r#""tables":[{"name":"orders","inserted":1,"updated":1,"deleted":0,"unchanged":1}],"foreignKeys":"#
    );
    assert!(text.contains(middle), "{text}");
    let parsed = parse(text.as_bytes()).unwrap();
    assert_eq!((parsed.standing, parsed.held, parsed.released), (None, Vec::new(), 0));
}

#[test]
fn another_key_is_refused() {
    let (ours, other) = (signer(1), signer(2));
    let document = seal_receipt(&receipt(&ours), &ours).unwrap();
    assert_eq!(open_receipt(&document, other.public_key().key_id()), Err(ReceiptError::WrongKey));
    let forged = seal_receipt(&receipt(&ours), &other).unwrap();
    assert_eq!(open_receipt(&forged, ours.public_key().key_id()), Err(ReceiptError::Signature));
}

#[test]
fn every_changed_byte_is_refused() {
    let signer = signer(1);
    let document = seal_receipt(&receipt(&signer), &signer).unwrap();
    for place in 0..document.len() {
        let mut changed = document.clone();
        changed[place] ^= 1;
        assert!(open_receipt(&changed, signer.public_key().key_id()).is_err(), "{place}");
    }
    for end in 0..document.len() {
        assert!(open_receipt(&document[..end], signer.public_key().key_id()).is_err(), "{end}");
    }
}
