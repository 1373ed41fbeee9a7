//! `POST /v1/compare`: what of a table is hashed, and the hashes.
//!
//! ```json
//! {"table":"orders","columns":[["id","int64"],["total","decimal(12,2)"]],"key":["id"],"bucketCount":1024}
//! {"table":…,"inBuckets":[3,17]}
//!
//! {"rows":1780104,"buckets":"base64 of 40 bytes each: rows (little-endian), sum (32 bytes)"}
//! {"digests":[["\"A-1\"","base64 of 32 bytes"],…]}
//! ```
//! Keys are data: they are compared byte by byte with our own, so they are not cleaned as words for people are. They
//! are JSON, and so hold no raw control character; one that does is refused.

use branchline_core::compare::{BucketHash, CompareAnswer, CompareRequest, RowDigest, TableHashes};
use branchline_core::digest::Digest;
use branchline_core::limits::TABLE_COLUMNS_MAX;
use branchline_core::ports::HashSpec;
use branchline_core::schema::{ColumnName, TableName};
use branchline_core::scope::PeerScope;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{BodyError, read, write};

/// Buckets of a table at the most; core asks for no more.
const BUCKETS_MAX: u32 = 65_536;
/// Bytes of one bucket: its rows and its sum.
const BUCKET_BYTES: usize = 8 + 32;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestBody {
    table: String,
    columns: Vec<(String, String)>,
    key: Vec<String>,
    bucket_count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_buckets: Option<Vec<u32>>,
}

#[derive(Serialize, Deserialize)]
struct HashesBody {
    rows: u64,
    buckets: String,
}

#[derive(Serialize, Deserialize)]
struct RowsBody {
    digests: Vec<(String, String)>,
}

pub(in crate::v1) fn write_compare_request(request: &CompareRequest) -> Vec<u8> {
    let (spec, in_buckets) = match request {
        CompareRequest::Hashes(spec) => (spec, None),
        CompareRequest::Rows { spec, buckets } => (spec, Some(buckets.clone())),
    };
    write(&RequestBody {
        table: spec.table.to_string(),
        columns: spec.columns.iter().map(|(name, kind)| (name.to_string(), kind.to_string())).collect(),
        key: spec.key.iter().map(ToString::to_string).collect(),
        bucket_count: spec.buckets,
        in_buckets,
    })
}

pub(in crate::v1) fn read_compare_request(body: &[u8]) -> Result<CompareRequest, BodyError> {
    let body: RequestBody = read(body)?;
    if body.columns.len() > TABLE_COLUMNS_MAX {
        return Err(BodyError::member("columns"));
    }
    if !body.bucket_count.is_power_of_two() || body.bucket_count > BUCKETS_MAX {
        return Err(BodyError::member("bucketCount"));
    }
    let mut columns = Vec::with_capacity(body.columns.len());
    for (name, kind) in body.columns {
        columns.push((ColumnName::new(name)?, kind.parse()?));
    }
    if !columns.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return Err(BodyError::member("columns"));
    }
    let key: Vec<_> = body.key.into_iter().map(ColumnName::new).collect::<Result<_, _>>()?;
    if key.is_empty() || !key.iter().all(|name| columns.iter().any(|(column, _)| column == name)) {
        return Err(BodyError::member("key"));
    }
    let spec = HashSpec {
        table: TableName::new(body.table)?,
        columns,
        key,
        buckets: body.bucket_count,
        scope: PeerScope::default(),
    };
    match body.in_buckets {
        None => Ok(CompareRequest::Hashes(spec)),
        Some(buckets) if buckets.iter().all(|bucket| *bucket < spec.buckets) => {
            Ok(CompareRequest::Rows { spec, buckets })
        }
        Some(_) => Err(BodyError::member("inBuckets")),
    }
}

pub(in crate::v1) fn write_compare_answer(answer: &CompareAnswer) -> Vec<u8> {
    match answer {
        CompareAnswer::Hashes(hashes) => {
            let mut bytes = Vec::with_capacity(hashes.buckets.len() * BUCKET_BYTES);
            for bucket in &hashes.buckets {
                bytes.extend_from_slice(&bucket.rows.to_le_bytes());
                bytes.extend_from_slice(&bucket.sum);
            }
            write(&HashesBody { rows: hashes.rows, buckets: BASE64.encode(&bytes) })
        }
        CompareAnswer::Rows(rows) => {
            let digest = |row: &RowDigest| (row.key.clone(), BASE64.encode(row.digest.as_bytes()));
            write(&RowsBody { digests: rows.iter().map(digest).collect() })
        }
    }
}

/// Reads the answer to `request`.
pub(in crate::v1) fn read_compare_answer(
    request: &CompareRequest,
    body: &[u8],
) -> Result<CompareAnswer, BodyError> {
    match request {
        CompareRequest::Hashes(spec) => read_hashes(spec, read(body)?).map(CompareAnswer::Hashes),
        CompareRequest::Rows { .. } => {
            let body: RowsBody = read(body)?;
            let rows: Vec<_> = body.digests.into_iter().map(row_of).collect::<Result<_, _>>()?;
            if !rows.windows(2).all(|pair| pair[0].key <= pair[1].key) {
                return Err(BodyError::member("digests"));
            }
            Ok(CompareAnswer::Rows(rows))
        }
    }
}

fn read_hashes(spec: &HashSpec, body: HashesBody) -> Result<TableHashes, BodyError> {
    let bytes = BASE64.decode(body.buckets.as_bytes()).map_err(|_| BodyError::member("buckets"))?;
    let (buckets, rest) = bytes.as_chunks::<BUCKET_BYTES>();
    if !rest.is_empty() || u32::try_from(buckets.len()) != Ok(spec.buckets) {
        return Err(BodyError::member("buckets"));
    }
    let bucket = |bytes: &[u8; BUCKET_BYTES]| {
        let (mut rows, mut sum) = ([0; 8], [0; 32]);
        rows.copy_from_slice(&bytes[..8]);
        sum.copy_from_slice(&bytes[8..]);
        BucketHash { rows: u64::from_le_bytes(rows), sum }
    };
    Ok(TableHashes { rows: body.rows, buckets: buckets.iter().map(bucket).collect() })
}

fn row_of((key, digest): (String, String)) -> Result<RowDigest, BodyError> {
    let bytes = BASE64.decode(digest.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    match bytes {
        Some(bytes) if !key.chars().any(|character| character < ' ') => {
            Ok(RowDigest { key, digest: Digest::from_bytes(bytes) })
        }
        _ => Err(BodyError::member("digests")),
    }
}

#[cfg(test)]
mod tests {
    use branchline_core::schema::LogicalType;

    use super::*;
    use crate::v1::COMPARE_BYTES_MAX;

    fn spec(buckets: u32) -> HashSpec {
        let name = |text: &str| ColumnName::new(text).unwrap();
        HashSpec {
            table: TableName::new("orders").unwrap(),
            columns: vec![
                (name("id"), LogicalType::Int64),
                (name("total"), LogicalType::Decimal(Some((12, 2)))),
            ],
            key: vec![name("id")],
            buckets,
            scope: PeerScope::default(),
        }
    }

    #[test]
    fn questions_and_answers_read_back() {
        let hashes = CompareRequest::Hashes(spec(16));
        let rows = CompareRequest::Rows { spec: spec(16), buckets: vec![0, 15] };
        for request in [&hashes, &rows] {
            assert_eq!(read_compare_request(&write_compare_request(request)).unwrap(), *request);
        }
        let digest = |key: &str| RowDigest { key: key.into(), digest: Digest::of(key.as_bytes()) };
        let answer = CompareAnswer::Rows(vec![digest("1"), digest("\"ö\",2")].into_iter().rev().collect());
        let sorted = CompareAnswer::Rows(vec![digest("\"ö\",2"), digest("1")]);
        assert_eq!(answer, sorted);
        assert_eq!(read_compare_answer(&rows, &write_compare_answer(&sorted)).unwrap(), sorted);
    }

    #[test]
    fn the_largest_table_of_hashes_fits_and_another_number_of_buckets_is_refused() {
        let bucket = BucketHash { rows: u64::MAX, sum: [0xff; 32] };
        let hashes = TableHashes { rows: u64::MAX, buckets: vec![bucket; BUCKETS_MAX as usize] };
        let body = write_compare_answer(&CompareAnswer::Hashes(hashes.clone()));
        assert!(body.len() < COMPARE_BYTES_MAX, "{}", body.len());
        let read = |buckets| read_compare_answer(&CompareRequest::Hashes(spec(buckets)), &body);
        assert_eq!(read(BUCKETS_MAX).unwrap(), CompareAnswer::Hashes(hashes));
        assert!(read(16).is_err());
    }

    #[test]
    fn questions_that_make_no_sense_are_refused() {
        let text = String::from_utf8(write_compare_request(&CompareRequest::Rows {
            spec: spec(16),
            buckets: vec![3],
        }));
        let text = text.unwrap();
        for (from, to) in [
            ("\"bucketCount\":16", "\"bucketCount\":17"),
            ("\"bucketCount\":16", "\"bucketCount\":131072"),
            ("\"bucketCount\":16", "\"bucketCount\":0"),
            ("[3]", "[16]"),
            ("\"key\":[\"id\"]", "\"key\":[]"),
            ("\"key\":[\"id\"]", "\"key\":[\"nowhere\"]"),
            ("int64", "money"),
            ("orders", ""),
            ("[\"id\",\"int64\"],", "[\"id\",\"int64\"],[\"id\",\"int64\"],"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(read_compare_request(text.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }
}
