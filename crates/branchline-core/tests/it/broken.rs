//! One broken document for each error, in `testdata/backup/v1/broken/`: each is refused with its own code.
//!
//! All that can be are signed with the right key, so that it is the fault itself which is found and not the signature.

use std::collections::BTreeSet;

use branchline_core::backup::Codec;
use branchline_core::backup::v1::write_metadata;
use branchline_core::code::Code;

use crate::document::{blessing, data, folder, golden, metadata, read, signed};

struct Broken {
    name: &'static str,
    code: Code,
    document: Vec<u8>,
}

fn plain_metadata() -> (String, Vec<u8>) {
    let (tables, data) = data();
    let written = write_metadata(&metadata(tables, &data)).unwrap();
    (String::from_utf8(written).unwrap(), data)
}

/// The golden document with other metadata, signed.
fn with_metadata(change: impl Fn(&str) -> String) -> Vec<u8> {
    let (written, data) = plain_metadata();
    let changed = change(&written);
    assert_ne!(changed, written, "the change must change something");
    signed(changed.as_bytes(), &data, Codec::Zstd)
}

/// The golden document with other data, and metadata that fit them, signed.
fn with_data(change: impl Fn(&str) -> String) -> Vec<u8> {
    let (tables, golden) = data();
    let changed = change(std::str::from_utf8(&golden).unwrap());
    assert_ne!(changed.as_bytes(), golden, "the change must change something");
    let written = write_metadata(&metadata(tables, changed.as_bytes())).unwrap();
    signed(&written, changed.as_bytes(), Codec::Zstd)
}

fn replace(from: &str, to: &str) -> impl Fn(&str) -> String {
    move |text| text.replacen(from, to, 1)
}

/// The plain golden document with one byte changed behind `after`.
fn one_byte_changed(after: &[u8]) -> Vec<u8> {
    let mut document = golden(Codec::Plain);
    let at = document.windows(after.len()).position(|window| window == after).unwrap() + after.len();
    document[at] ^= 1;
    document
}

fn broken(name: &'static str, code: Code, document: Vec<u8>) -> Broken {
    Broken { name, code, document }
}

fn documents() -> Vec<Broken> {
    let whole = golden(Codec::Zstd);
    let many_tables = (0..10_001).map(|i| format!(r#"{{"name":"t{i}","rows":0,"deletions":0,"key":["id"],"fingerprint":"sha256:{}","columns":[{{"name":"id","type":"text"}}]}}"#, "0".repeat(64)));
    let many_tables = many_tables.collect::<Vec<_>>().join(",");
    let many_columns: String = (0..1_600).map(|i| format!(r#"{{"name":"c{i}","type":"text"}},"#)).collect();
    let deep = format!("\"settings\":{}{}", "[".repeat(32), "]".repeat(32));
    let large = format!("\"Id\":\"{}\"", "x".repeat(16 << 20));
    let padding = format!("\"producer\":\"{}", "x".repeat(8 << 20));
    let mut document_damaged = whole.clone();
    document_damaged[5] ^= 0xff;
    vec![
        broken("metadata-byte-changed.json", Code::SIGNATURE_INVALID, one_byte_changed(b"\"producer\":\"")),
        broken("data-byte-changed.json", Code::CHECKSUM_MISMATCH, one_byte_changed(b"\"price\":\"")),
        broken(
            "signature-byte-changed.json",
            Code::SIGNATURE_INVALID,
            one_byte_changed(b",\"signature\":\""),
        ),
        broken("cut-in-metadata.json.zst", Code::TRUNCATED, whole[..100].to_vec()),
        broken("cut-before-the-last-byte.json.zst", Code::TRUNCATED, whole[..whole.len() - 1].to_vec()),
        broken("not-compressed-rightly.json.zst", Code::COMPRESSION_INVALID, document_damaged),
        broken("not-a-backup.json", Code::MALFORMED, b"{\"hello\":\"world\"}".to_vec()),
        broken(
            "for-another-server.json.zst",
            Code::WRONG_TARGET,
            with_metadata(replace("CENTRAL-HQ", "CENTRAL-HX")),
        ),
        broken(
            "by-another-server.json.zst",
            Code::WRONG_SOURCE,
            with_metadata(replace("\"sourceServerId\":\"STORE-001\"", "\"sourceServerId\":\"STORE-002\"")),
        ),
        broken(
            "newer-reader-needed.json.zst",
            Code::VERSION_TOO_NEW,
            with_metadata(replace("\"minReader\":1", "\"minReader\":2")),
        ),
        broken(
            "member-twice-in-metadata.json.zst",
            Code::DUPLICATE_MEMBER,
            with_metadata(replace("\"epoch\":1", "\"epoch\":1,\"epoch\":1")),
        ),
        broken(
            "member-twice-in-a-row.json.zst",
            Code::DUPLICATE_MEMBER,
            with_data(replace("{\"Id\":\"x\"}", "{\"Id\":\"x\",\"Id\":\"x\"}")),
        ),
        broken(
            "table-twice.json.zst",
            Code::DUPLICATE_MEMBER,
            with_data(replace("\"nothing\":[\n]", "\"everything\":[\n]")),
        ),
        broken("row-missing.json.zst", Code::ROW_COUNT_MISMATCH, with_data(replace("{\"Id\":\"x\"}\n", ""))),
        broken(
            "row-too-many.json.zst",
            Code::ROW_COUNT_MISMATCH,
            with_data(replace("{\"Id\":\"x\"}\n", "{\"Id\":\"x\"},\n{\"Id\":\"y\"}\n")),
        ),
        broken(
            "column-unknown.json.zst",
            Code::COLUMN_UNKNOWN,
            with_data(replace("{\"Id\":\"x\"}", "{\"Id\":\"x\",\"who\":1}")),
        ),
        broken("column-missing.json.zst", Code::MALFORMED, with_data(replace("{\"Id\":\"x\"}", "{}"))),
        broken(
            "value-of-another-type.json.zst",
            Code::MALFORMED,
            with_data(replace("\"small\":-32768", "\"small\":\"many\"")),
        ),
        broken(
            "too-deep.json.zst",
            Code::DEPTH_EXCEEDED,
            with_data(replace("\"settings\":{\"a\": [1, 2.50]}", &deep)),
        ),
        broken("row-too-large.json.zst", Code::ROW_TOO_LARGE, with_data(replace("\"Id\":\"x\"", &large))),
        broken(
            "metadata-too-large.json.zst",
            Code::METADATA_TOO_LARGE,
            with_metadata(replace("\"producer\":\"", &padding)),
        ),
        broken(
            "too-many-tables.json.zst",
            Code::TOO_MANY_TABLES,
            with_metadata(replace("\"tables\":[", &format!("\"tables\":[{many_tables},"))),
        ),
        broken(
            "too-many-columns.json.zst",
            Code::TOO_MANY_COLUMNS,
            with_metadata(replace("\"columns\":[", &format!("\"columns\":[{many_columns}"))),
        ),
        broken(
            "more-data-than-granted.json.zst",
            Code::DATA_TOO_LARGE,
            with_metadata(replace("\"dataBytes\":", "\"dataBytes\":9999999")),
        ),
        broken("more-data-than-signed.json.zst", Code::DATA_TOO_LARGE, bomb()),
        broken(
            "name-with-a-line-break.json.zst",
            Code::NAME_INVALID,
            with_metadata(replace("\"name\":\"nothing\"", "\"name\":\"no\\nthing\"")),
        ),
        broken(
            "name-with-nul.json.zst",
            Code::NAME_INVALID,
            with_metadata(replace("\"name\":\"nothing\"", "\"name\":\"no\\u0000thing\"")),
        ),
        broken(
            "name-too-long.json.zst",
            Code::NAME_INVALID,
            with_metadata(replace("\"name\":\"nothing\"", &format!("\"name\":\"{}\"", "x".repeat(65_536)))),
        ),
        broken(
            "type-unknown.json.zst",
            Code::UNKNOWN_TYPE,
            with_metadata(replace("\"type\":\"uuid\"", "\"type\":\"guid\"")),
        ),
    ]
}

/// A valid signature over a small size, and 256 MiB behind it.
fn bomb() -> Vec<u8> {
    let (written, _) = plain_metadata();
    signed(written.as_bytes(), &vec![b' '; 256 << 20], Codec::Zstd)
}

#[test]
fn each_broken_document_is_refused_with_its_own_code() {
    let broken_folder = folder().join("broken");
    let mut wrong = Vec::new();
    for Broken { name, code, document } in documents() {
        let path = broken_folder.join(name);
        if !path.exists() && blessing() {
            std::fs::create_dir_all(&broken_folder).unwrap();
            std::fs::write(&path, &document).unwrap();
        }
        let frozen = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        match read(&frozen) {
            Err(found) if found == code => {}
            other => {
                wrong.push(format!(
                    "{name}: {:?} instead of {}",
                    other.map(|lines| lines.len()),
                    code.name()
                ));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_file_of_the_folder_has_its_case() {
    let cases: BTreeSet<String> = documents().iter().map(|broken| broken.name.to_owned()).collect();
    let files = std::fs::read_dir(folder().join("broken")).unwrap();
    let files: BTreeSet<String> =
        files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, cases);
}
