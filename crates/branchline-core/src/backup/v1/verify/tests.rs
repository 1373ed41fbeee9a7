//! A sealed document is verified; any other is refused with its own reason.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::*;
use crate::backup::v1::compression::compress;
use crate::backup::v1::{DataEncoder, FORMAT_VERSION, seal_head};
use crate::backup::{BackupType, Codec, ColumnSummary, Knowledge, RowBatch, TableSummary};
use crate::id::{Epoch, Generation, Sequence};
use crate::ports::{Signer, SignerError};
use crate::schema::{ColumnName, LogicalType, TableName};
use crate::signing::{PublicKey, pre_authentication_encoding};

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

fn data() -> Vec<u8> {
    let mut data = Vec::new();
    let mut encoder = DataEncoder::default();
    encoder.table(&TableName::new("t").unwrap(), &mut data);
    encoder
        .rows(
            &RowBatch { rows: 2, lines: b"{\"id\":1},\n{\"id\":2},\n".to_vec(), ..RowBatch::default() },
            &mut data,
        )
        .unwrap();
    let _totals = encoder.finish(&mut data);
    data
}

fn metadata(signer: &TestSigner, data: &[u8]) -> Metadata {
    let id = ColumnName::new("id").unwrap();
    Metadata {
        source: "STORE-001".parse().unwrap(),
        source_key: signer.public_key(),
        target: "CENTRAL-HQ".parse().unwrap(),
        backup_type: BackupType::Full,
        created_at: "2025-12-06T23:59:59Z".parse().unwrap(),
        data_range: None,
        day: None,
        record_count: 2,
        checksum: Digest::of(data),
        backup_id: "019a2f4e-0000-7000-8000-000000000000".parse().unwrap(),
        epoch: Epoch::new(1),
        generation: Generation::new(1),
        sequence: Sequence::new(1),
        previous: None,
        target_epoch: None,
        knowledge: Knowledge::new(),
        covers: Knowledge::new(),
        purged: Knowledge::new(),
        clock: None,
        data_bytes: data.len() as u64,
        tables: vec![TableSummary {
            name: TableName::new("t").unwrap(),
            columns: vec![ColumnSummary { name: id.clone(), logical_type: LogicalType::Int64 }],
            key: vec![id],
            fingerprint: Digest::of(b""),
            rows: 2,
            deletions: 0,
            base: None,
            versioned: false,
            filtered: false,
        }],
        mirror: false,
        producer: "test".into(),
        min_reader: FORMAT_VERSION,
    }
}

fn sealed(metadata: &Metadata, data: &[u8], signer: &TestSigner, codec: Codec) -> Vec<u8> {
    let head = seal_head(metadata, codec, signer).unwrap();
    [head.head, compress(codec, data).unwrap(), head.tail].concat()
}

fn expectation(signer: &TestSigner) -> Expectation {
    Expectation {
        target: Some("CENTRAL-HQ".parse().unwrap()),
        source: Some(("STORE-001".parse().unwrap(), signer.public_key().key_id())),
        data_bytes_max: 1 << 20,
        signature: None,
    }
}

fn verify(document: &[u8], expectation: Expectation) -> Result<VerifiedBackup, VerifyError> {
    let mut verifier = Verifier::new(expectation);
    for piece in document.chunks(50) {
        verifier.push(piece)?;
    }
    verifier.finish()
}

#[test]
fn a_sealed_document_is_verified_in_every_codec() {
    let signer = signer(1);
    for codec in [Codec::Zstd, Codec::Gzip, Codec::Plain] {
        let metadata = metadata(&signer, &data());
        let document = sealed(&metadata, &data(), &signer, codec);
        assert_eq!(verify(&document, expectation(&signer)).unwrap().metadata(), &metadata, "{codec:?}");
    }
}

#[test]
fn every_changed_byte_and_every_cut_is_refused() {
    let signer = signer(1);
    let document = sealed(&metadata(&signer, &data()), &data(), &signer, Codec::Plain);
    for place in 0..document.len() {
        let mut changed = document.clone();
        changed[place] ^= 1;
        assert!(verify(&changed, expectation(&signer)).is_err(), "{place}");
        assert!(verify(&document[..place], expectation(&signer)).is_err(), "{place}");
    }
}

#[test]
fn the_reason_is_the_one_that_fits() {
    let (ours, other) = (signer(1), signer(2));
    let good = metadata(&ours, &data());
    let refused = |metadata: &Metadata, data: &[u8], by: &TestSigner| {
        verify(&sealed(metadata, data, by, Codec::Zstd), expectation(&ours)).unwrap_err().code()
    };
    assert_eq!(refused(&good, &data(), &other), Code::SIGNATURE_INVALID);
    assert_eq!(refused(&metadata(&other, &data()), &data(), &other), Code::SIGNATURE_INVALID);
    assert_eq!(refused(&good, b"{\"t\":[\n{\"id\":1},\n{\"id\":3}\n]}", &ours), Code::CHECKSUM_MISMATCH);
    assert_eq!(refused(&good, b"{}", &ours), Code::CHECKSUM_MISMATCH);
    assert_eq!(refused(&good, &data().repeat(2), &ours), Code::DATA_TOO_LARGE);
    let elsewhere = Metadata { target: "STORE-002".parse().unwrap(), ..good.clone() };
    assert_eq!(refused(&elsewhere, &data(), &ours), Code::WRONG_TARGET);
    let somebody = Metadata { source: "STORE-002".parse().unwrap(), ..good.clone() };
    assert_eq!(refused(&somebody, &data(), &ours), Code::WRONG_SOURCE);
    let large = Metadata { data_bytes: (1 << 20) + 1, ..good.clone() };
    assert_eq!(refused(&large, &data(), &ours), Code::DATA_TOO_LARGE);
    let newer = Metadata { min_reader: 2, ..good };
    assert_eq!(refused(&newer, &data(), &ours), Code::VERSION_TOO_NEW);
}

#[test]
fn with_a_signature_ahead_a_document_is_refused_as_soon_as_its_metadata_are_here() {
    let (ours, other) = (signer(1), signer(2));
    let head = seal_head(&metadata(&ours, &data()), Codec::Zstd, &ours).unwrap();
    let forged = seal_head(&metadata(&ours, &data()), Codec::Zstd, &other).unwrap();
    let push = |bytes: &[u8], signature| {
        let mut verifier = Verifier::new(Expectation { signature: Some(signature), ..expectation(&ours) });
        verifier.push(bytes).map(|()| verifier.head().is_some())
    };
    assert_eq!(push(&head.head, head.signature), Ok(true));
    assert_eq!(push(&forged.head, forged.signature), Err(VerifyError::Signature));
    assert_eq!(push(&head.head, forged.signature), Err(VerifyError::Signature));
}

#[test]
fn a_bomb_with_a_valid_signature_stops_at_its_signed_size() {
    let signer = signer(1);
    let small = Metadata { data_bytes: 1000, ..metadata(&signer, &data()) };
    let head = seal_head(&small, Codec::Zstd, &signer).unwrap();
    let bomb = compress(Codec::Zstd, &vec![b' '; 256 << 20]).unwrap();
    let result = verify(&[head.head, bomb, head.tail].concat(), expectation(&signer));
    assert_eq!(result, Err(VerifyError::Format(FormatError::DataTooLarge { bytes_max: 1000 })));
}
