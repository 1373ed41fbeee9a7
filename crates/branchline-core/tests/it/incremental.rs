//! The golden increment: versions, what a version was in the life before, deletions. It must read, and be written, for
//! ever.

use branchline_core::backup::v1::{
    DataEncoder, DataEvent, Deletion, RowMark, RowReader, RowWriter, VerifiedReader, VerifyError,
    write_metadata,
};
use branchline_core::backup::{BackupType, Codec, Metadata, TableSummary};
use branchline_core::digest::Digest;
use branchline_core::id::{Epoch, Generation, Sequence};
use branchline_core::knowledge::Knowledge;
use branchline_core::value::Value;
use branchline_core::version::{ChangeTime, Dot, Life, Version};

use crate::document::{blessing, folder, metadata, signed, summary, verify};

/// The files, one for each compression.
const FILES: [(&str, Codec); 3] = [
    ("incremental.json", Codec::Plain),
    ("incremental.json.zst", Codec::Zstd),
    ("incremental.json.gz", Codec::Gzip),
];

/// A row: its mark, and the values of `id`, `name`, `price`.
type Line = (RowMark, [Value<'static>; 3]);

fn life(server: &str, epoch: u64) -> Life {
    Life::new(server.parse().unwrap(), Epoch::new(epoch))
}

fn version(life: Life, generation: u64, micros: u64, was: Option<Dot>) -> Option<Version> {
    let dot = Dot::new(life, Generation::new(generation));
    Some(Version { dot, time: ChangeTime::from_micros(micros), was })
}

fn knowledge(known: [(Life, u64); 3]) -> Knowledge {
    known.into_iter().map(|(life, generation)| (life, Generation::new(generation))).collect()
}

/// One line of each kind.
fn lines() -> Vec<Line> {
    let text = |text: &'static str| Value::Text(text.into());
    let store = || life("STORE-001", 2);
    let before = Dot::new(life("STORE-001", 1), Generation::new(40));
    let change = |version| RowMark { version, deletion: None };
    vec![
        (RowMark::default(), [Value::Integer(1), text("there before changes were captured"), text("1.10")]),
        (
            change(version(store(), 7, 1_764_286_854_123_456, None)),
            [Value::Integer(2), text("changed"), Value::Null],
        ),
        (
            change(version(store(), 3, 1_764_286_000_000_000, Some(before))),
            [Value::Integer(3), text("packed in the life before"), text("0.00")],
        ),
        (
            change(version(life("STORE-002", 1), 12, 1_764_280_000_000_001, None)),
            [Value::Integer(4), text("made elsewhere, passed on"), text("99.99")],
        ),
        (
            RowMark {
                version: version(store(), 7, 1_764_286_854_123_457, None),
                deletion: Some(Deletion::Deleted),
            },
            [Value::Integer(5), Value::Null, Value::Null],
        ),
        (
            RowMark {
                version: version(store(), 6, 1_764_286_800_000_000, None),
                deletion: Some(Deletion::OutOfScope),
            },
            [Value::Integer(6), Value::Null, Value::Null],
        ),
    ]
}

fn table() -> TableSummary {
    let columns = [("id", "int64"), ("name", "text"), ("price", "decimal(12,2)")];
    TableSummary {
        deletions: 2,
        base: Some(life("STORE-001", 1)),
        versioned: true,
        ..summary("products", &columns, "id", 4)
    }
}

fn increment(data: &[u8]) -> Metadata {
    let known = |own| [(life("STORE-001", 1), 41), (life("STORE-001", 2), own), (life("STORE-002", 1), 12)];
    Metadata {
        backup_type: BackupType::Incremental,
        data_range: None,
        backup_id: "019a2f4e-0000-7000-8000-000000000001".parse().unwrap(),
        epoch: Epoch::new(2),
        generation: Generation::new(7),
        sequence: Sequence::new(9),
        previous: Some(Digest::of(b"the metadata of number 8")),
        target_epoch: Some(Epoch::new(1)),
        knowledge: knowledge(known(7)),
        covers: knowledge(known(7)),
        purged: knowledge(known(5)),
        clock: Some(ChangeTime::from_micros(1_764_286_854_123_457)),
        ..metadata(vec![table()], data)
    }
}

fn data() -> Vec<u8> {
    let table = table();
    let (mut encoder, mut data) = (DataEncoder::default(), Vec::new());
    encoder.table(&table.name, &mut data);
    let mut writer = RowWriter::new(&table.name, &table.columns);
    for (mark, values) in lines() {
        writer.marked(&mark, &values).unwrap();
    }
    let batch = writer.take();
    assert_eq!((batch.rows, batch.deletions, batch.versioned), (6, 2, 5));
    encoder.rows(&batch, &mut data).unwrap();
    assert_eq!(encoder.finish(&mut data).checksum, Digest::of(&data));
    data
}

fn golden(codec: Codec) -> Vec<u8> {
    let data = data();
    signed(&write_metadata(&increment(&data)).unwrap(), &data, codec)
}

/// Reads the lines of a document as a receiver does; the values as text, since they borrow from it.
fn read(document: &[u8]) -> Vec<(RowMark, String)> {
    let backup = verify(document).unwrap();
    assert_eq!(*backup.metadata(), increment(&data()));
    let table = table();
    let row_reader = RowReader::new(&table.name, &table.columns);
    let mut found = Vec::new();
    let mut sink = |event: DataEvent| {
        if let DataEvent::Rows { batch, .. } = event {
            for object in batch.objects() {
                let mut values = Vec::new();
                let mark = row_reader.read_marked(object, 1, &[0], &mut values).unwrap();
                found.push((mark, format!("{values:?}")));
            }
        }
        Ok::<_, VerifyError>(())
    };
    let mut reader = VerifiedReader::new(&backup);
    reader.push(document, &mut sink).unwrap();
    reader.finish(&mut sink).unwrap();
    found
}

#[test]
fn the_golden_increment_is_written_byte_for_byte() {
    let path = folder().join(FILES[0].0);
    if !path.exists() && blessing() {
        std::fs::write(&path, golden(Codec::Plain)).unwrap();
    }
    let frozen = std::fs::read(&path).unwrap();
    assert_eq!(String::from_utf8(golden(Codec::Plain)).unwrap(), String::from_utf8(frozen).unwrap());
}

#[test]
fn the_golden_increment_reads_in_every_compression() {
    for (name, codec) in FILES {
        let path = folder().join(name);
        if !path.exists() && blessing() {
            std::fs::write(&path, golden(codec)).unwrap();
        }
        let expected: Vec<_> =
            lines().into_iter().map(|(mark, values)| (mark, format!("{values:?}"))).collect();
        assert_eq!(read(&std::fs::read(&path).unwrap()), expected, "{name}");
    }
}
