//! Data that were encoded read back; data that nobody encoded are refused.

use super::*;
use crate::backup::v1::DataEncoder;
use crate::digest::Digest;
use crate::schema::TableName;

fn summary(name: &str, rows: u64) -> TableSummary {
    let name = TableName::new(name).unwrap();
    TableSummary {
        name,
        columns: vec![],
        key: vec![],
        fingerprint: Digest::of(b""),
        rows,
        deletions: 0,
        base: None,
        versioned: false,
        filtered: false,
    }
}

fn batch(rows: &[&str]) -> RowBatch {
    let lines = rows.iter().map(|row| format!("{row},\n")).collect::<String>().into_bytes();
    RowBatch { rows: rows.len() as u64, lines, ..RowBatch::default() }
}

fn decode(data: &[u8], tables: &[TableSummary], piece: usize) -> Result<Vec<(usize, String)>, FormatError> {
    let mut rows = Vec::new();
    let mut decoder = DataDecoder::new(tables.to_vec());
    let mut sink = |event: DataEvent| {
        if let DataEvent::Rows { table, batch } = event {
            assert!(batch.lines.len() <= BATCH_BYTES || batch.rows == 1);
            assert_eq!(batch.objects().count() as u64, batch.rows);
            rows.extend(batch.objects().map(|row| (table, String::from_utf8(row.to_vec()).unwrap())));
        }
        Ok(())
    };
    for bytes in data.chunks(piece) {
        decoder.push::<FormatError>(bytes, &mut sink)?;
    }
    decoder.finish(&mut sink)?;
    Ok(rows)
}

#[test]
fn tables_and_rows_read_back_whatever_the_pieces() {
    let tables = [summary("a", 3), summary("b", 0), summary("quote\"d", 1)];
    let mut data = Vec::new();
    let mut encoder = DataEncoder::default();
    encoder.table(&tables[0].name, &mut data);
    encoder.rows(&batch(&["{\"x\":1}", "{\"x\":2}"]), &mut data).unwrap();
    encoder.rows(&batch(&["{\"x\":3}"]), &mut data).unwrap();
    encoder.table(&tables[1].name, &mut data);
    encoder.table(&tables[2].name, &mut data);
    encoder.rows(&batch(&["{}"]), &mut data).unwrap();
    let totals = encoder.finish(&mut data);
    let expected = "{\"a\":[\n{\"x\":1},\n{\"x\":2},\n{\"x\":3}\n],\"b\":[\n],\"quote\\\"d\":[\n{}\n]}";
    assert_eq!(String::from_utf8(data.clone()).unwrap(), expected);
    assert_eq!((totals.checksum, totals.data_bytes), (Digest::of(&data), data.len() as u64));
    let rows: Vec<_> = [(0, "{\"x\":1}"), (0, "{\"x\":2}"), (0, "{\"x\":3}"), (2, "{}")]
        .map(|(t, r)| (t, r.to_owned()))
        .into();
    for piece in 1..=data.len() {
        assert_eq!(decode(&data, &tables, piece).unwrap(), rows, "{piece}");
    }
    for end in 0..data.len() {
        assert!(decode(&data[..end], &tables, 16).is_err(), "{end}");
    }
}

#[test]
fn no_tables_are_an_empty_object() {
    let mut data = Vec::new();
    let totals = DataEncoder::default().finish(&mut data);
    assert_eq!((data.as_slice(), totals.data_bytes), (b"{}".as_slice(), 2));
    assert_eq!(decode(&data, &[], 1), Ok(vec![]));
}

#[test]
fn what_the_metadata_did_not_announce_is_refused() {
    let row_count = |found| FormatError::RowCount { table: TableName::new("a").unwrap(), said: 1, found };
    let malformed = |data: &str, tables: &[TableSummary]| {
        matches!(decode(data.as_bytes(), tables, 64), Err(FormatError::Malformed { .. }))
    };
    let one = [summary("a", 1)];
    assert_eq!(decode(b"{\"a\":[\n]}", &one, 64), Err(row_count(0)));
    assert_eq!(decode(b"{\"a\":[\n{},\n{}\n]}", &one, 64), Err(row_count(2)));
    assert_eq!(decode(b"{}", &one, 64), Err(row_count(0)));
    let twice = decode(b"{\"a\":[\n{}\n],\"a\":[\n{}\n]}", &[summary("a", 1), summary("b", 1)], 64);
    assert_eq!(twice, Err(FormatError::DuplicateMember { place: "the data" }));
    for data in [
        "{\"b\":[\n{}\n]}",
        "{\"a\":[\n{}\n],\"c\":[\n]}",
        "{\"a\":[\n{},\n]}",
        "{\"a\":[\n{}\n{}\n]}",
        "{\"a\":[\n{} \n]}",
        "{\"a\":[\n\n]}",
        "{\"a\":[\n[]\n]}",
        "{\"a\": [\n{}\n]}",
        "[\n]",
        "{\"a\":[\n{}\n]}\n",
    ] {
        assert!(malformed(data, &one), "{data:?}");
    }
}

#[test]
fn a_row_is_bounded_before_it_is_whole() {
    let mut data = b"{\"a\":[\n{\"x\":\"".to_vec();
    data.resize(data.len() + LINE_BYTES_MAX, b'x');
    let error = FormatError::RowTooLarge { table: TableName::new("a").unwrap() };
    assert_eq!(decode(&data, &[summary("a", 1)], 65_536), Err(error));
}
