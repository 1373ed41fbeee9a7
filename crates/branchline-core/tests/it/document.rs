//! The document of these tests, made by the library and by hand, and the reading of any.

use std::path::PathBuf;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use branchline_core::backup::v1::compression::compress;
use branchline_core::backup::v1::{
    AFTER_SIGNATURE, BEFORE_DATA, BEFORE_METADATA, BEFORE_SIGNATURE, DataEncoder, DataEvent, Expectation,
    RowReader, RowWriter, VerifiedBackup, VerifiedReader, Verifier, VerifyError, write_metadata,
};
use branchline_core::backup::{BackupType, Codec, ColumnSummary, DataRange, Metadata, TableSummary};
use branchline_core::code::{Code, Explain};
use branchline_core::digest::Digest;
use branchline_core::id::{Epoch, Generation, Sequence};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{Signer, SignerError};
use branchline_core::schema::{ColumnName, TableName};
use branchline_core::signing::{PublicKey, Signature, SignedKind, pre_authentication_encoding};
use branchline_core::value::Value;
use branchline_core::version::Life;

/// A key that everybody knows.
pub(crate) struct TestSigner(Ed25519KeyPair);

impl TestSigner {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
    }
}

impl Signer for TestSigner {
    fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.public_key().as_ref().try_into().unwrap())
    }

    fn sign(&self, kind: SignedKind, body: &[u8]) -> Result<Signature, SignerError> {
        let signature = self.0.sign(&pre_authentication_encoding(kind, body));
        Ok(Signature::from_bytes(signature.as_ref().try_into().unwrap()))
    }
}

/// `testdata/backup/v1` of the repository.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/backup/v1")
}

/// Whether files are to be written anew.
pub(crate) fn blessing() -> bool {
    std::env::var_os("BRANCHLINE_BLESS").is_some()
}

fn column(name: &str, logical_type: &str) -> ColumnSummary {
    ColumnSummary { name: ColumnName::new(name).unwrap(), logical_type: logical_type.parse().unwrap() }
}

pub(crate) fn summary(name: &str, columns: &[(&str, &str)], key: &str, rows: u64) -> TableSummary {
    TableSummary {
        name: TableName::new(name).unwrap(),
        columns: columns.iter().map(|(name, logical_type)| column(name, logical_type)).collect(),
        key: vec![ColumnName::new(key).unwrap()],
        fingerprint: Digest::of(name.as_bytes()),
        rows,
        deletions: 0,
        base: None,
        versioned: false,
        filtered: false,
    }
}

/// One column of each kind of value, with its values in both rows.
fn cells() -> Vec<(&'static str, &'static str, [Value<'static>; 2])> {
    let text = |text: &'static str| Value::Text(text.into());
    let json = |text: &'static str| Value::Json(text.into());
    vec![
        ("id", "int64", [Value::Integer(1), Value::Integer(9_007_199_254_740_993)]),
        ("active", "boolean", [Value::Boolean(true), Value::Null]),
        ("small", "int16", [Value::Integer(-32_768), Value::Integer(0)]),
        ("ratio", "float64", [Value::Float(0.1 + 0.2), Value::Float(f64::NAN)]),
        ("single", "float32", [Value::Float32(0.1), Value::Float32(f32::NEG_INFINITY)]),
        ("price", "decimal(12,2)", [text("1.10"), text("NaN")]),
        ("name", "text", [text("Ayşe \"Öztürk\"\n\\ 🍞"), text("")]),
        ("photo", "bytes", [Value::Bytes(vec![0, 1, 254, 255].into()), Value::Bytes(Vec::new().into())]),
        ("ref", "uuid", [text("019a2f4e-0000-7000-8000-00000000000f"), Value::Null]),
        ("day", "date", [text("2025-12-06"), text("0044-03-15 BC")]),
        ("opens", "time", [text("08:00:00"), text("24:00:00")]),
        ("closes", "timetz", [text("20:00:00+02"), text("20:00:00-05:30")]),
        ("madeAt", "timestamp", [text("2025-12-06T23:59:59.5"), text("infinity")]),
        ("soldAt", "timestamptz", [text("2025-12-06T23:59:59Z"), text("-infinity")]),
        ("lasts", "interval", [text("P1Y2M3DT4H5M6.7S"), text("PT0S")]),
        ("settings", "jsonb", [json(r#"{"a": [1, 2.50]}"#), json("null")]),
        ("raw", "json", [json("{\"a\":1,\"a\":2}"), json("{\n}")]),
        ("status", "enum", [text("paid"), text("void")]),
        ("tags", "array<text>", [Value::Array(vec![text("a,\"b\""), Value::Null]), text("[2:3]={x,y}")]),
        ("span", "native:int4range", [text("[1,5)"), text("empty")]),
        ("loose", "any", [Value::Integer(5), Value::Float(1.5)]),
        ("$deleted", "text", [text("a column of the shop's own"), Value::Integer(7)]),
    ]
}

/// The data of the golden documents: one table with every kind of value, one without rows, one with an odd name.
pub(crate) fn data() -> (Vec<TableSummary>, Vec<u8>) {
    let cells = cells();
    let types: Vec<_> = cells.iter().map(|(name, logical_type, _)| (*name, *logical_type)).collect();
    let tables = vec![
        summary("everything", &types, "id", 2),
        summary("nothing", &[("id", "text")], "id", 0),
        summary("stock.odd \"name\"", &[("Id", "text")], "Id", 1),
    ];
    let mut data = Vec::new();
    let mut encoder = DataEncoder::default();
    for table in &tables {
        encoder.table(&table.name, &mut data);
        let mut writer = RowWriter::new(&table.name, &table.columns);
        for row in 0..usize::try_from(table.rows).unwrap() {
            let values: Vec<_> = match table.columns.len() {
                1 => vec![Value::Text("x".into())],
                _ => cells.iter().map(|(_, _, values)| values[row].clone()).collect(),
            };
            writer.row(&values).unwrap();
        }
        encoder.rows(&writer.take(), &mut data).unwrap();
    }
    let totals = encoder.finish(&mut data);
    assert_eq!(totals.checksum, Digest::of(&data));
    (tables, data)
}

pub(crate) fn metadata(tables: Vec<TableSummary>, data: &[u8]) -> Metadata {
    let at = |text: &str| text.parse().unwrap();
    let life = Life::new("STORE-001".parse().unwrap(), Epoch::new(1));
    Metadata {
        source: "STORE-001".parse().unwrap(),
        source_key: TestSigner::new().public_key(),
        target: "CENTRAL-HQ".parse().unwrap(),
        backup_type: BackupType::Full,
        created_at: at("2025-12-06T23:59:59Z"),
        data_range: Some(DataRange { start: at("2025-12-06T00:00:00Z"), end: at("2025-12-06T23:59:59Z") }),
        day: None,
        record_count: tables.iter().map(|table| table.rows + table.deletions).sum(),
        checksum: Digest::of(data),
        backup_id: "019a2f4e-0000-7000-8000-000000000000".parse().unwrap(),
        epoch: Epoch::new(1),
        generation: Generation::new(3),
        sequence: Sequence::new(2),
        previous: None,
        target_epoch: None,
        knowledge: Knowledge::from_iter([(life, Generation::new(3))]),
        covers: Knowledge::new(),
        purged: Knowledge::new(),
        clock: None,
        data_bytes: data.len() as u64,
        tables,
        mirror: false,
        producer: "branchline/0.1.0".into(),
        min_reader: 1,
    }
}

/// A document around any metadata and data, with a signature that fits.
pub(crate) fn signed(metadata: &[u8], data: &[u8], codec: Codec) -> Vec<u8> {
    let signature = TestSigner::new().sign(SignedKind::BackupMetadata, metadata).unwrap().to_text();
    let head = [BEFORE_METADATA, metadata, BEFORE_DATA].concat();
    let tail = [BEFORE_SIGNATURE, signature.as_bytes(), AFTER_SIGNATURE].concat();
    [head.as_slice(), data, &tail].iter().flat_map(|part| compress(codec, part).unwrap()).collect()
}

pub(crate) fn golden(codec: Codec) -> Vec<u8> {
    let (tables, data) = data();
    signed(&write_metadata(&metadata(tables, &data)).unwrap(), &data, codec)
}

/// What a receiver called `CENTRAL-HQ` expects of STORE-001.
fn expectation() -> Expectation {
    Expectation {
        target: Some("CENTRAL-HQ".parse().unwrap()),
        source: Some(("STORE-001".parse().unwrap(), TestSigner::new().public_key().key_id())),
        data_bytes_max: 32 << 20,
        signature: None,
    }
}

/// Verifies a document as that receiver does.
pub(crate) fn verify(document: &[u8]) -> Result<VerifiedBackup, Code> {
    let mut verifier = Verifier::new(expectation());
    document.chunks(10_000).try_for_each(|piece| verifier.push(piece)).map_err(|error| error.code())?;
    verifier.finish().map_err(|error| error.code())
}

/// Reads a document as a receiver called `CENTRAL-HQ` does: verifies it, then reads every row. Answers D as it was
/// given out, line by line.
pub(crate) fn read(document: &[u8]) -> Result<Vec<u8>, Code> {
    let backup = verify(document)?;
    let tables = backup.metadata().tables.clone();
    let (mut lines, mut row_code) = (Vec::new(), None);
    let mut sink = |event: DataEvent| {
        if let DataEvent::Rows { table, batch } = event {
            let reader = RowReader::new(&tables[table].name, &tables[table].columns);
            for object in batch.objects() {
                if let Err(error) = reader.read(object, 1, &mut Vec::new()) {
                    row_code.get_or_insert(error.code());
                }
            }
            lines.extend(batch.lines);
        }
        Ok::<_, VerifyError>(())
    };
    let mut reader = VerifiedReader::new(&backup);
    let read = document.chunks(10_000).try_for_each(|piece| reader.push(piece, &mut sink));
    let read = read.and_then(|()| reader.finish(&mut sink));
    match (read, row_code) {
        (Err(error), _) => Err(error.code()),
        (Ok(()), Some(code)) => Err(code),
        (Ok(()), None) => Ok(lines),
    }
}
