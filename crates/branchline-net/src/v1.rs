//! Protocol version 1: HTTP over pinned TLS.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/hello` | who the server is, its tables, the last of the caller's backups that it applied |
//! | `GET /v1/status` | the same without tables: small |
//! | `POST /v1/backups` | takes a whole document, waits, answers its receipt |
//! | `OPTIONS`, `POST /v1/uploads` | tus 1.0: abilities; begins an upload, or says how far it is |
//! | `HEAD`, `PATCH`, `DELETE /v1/uploads/{backupId}` | tus 1.0: offset; one part; ends it |
//! | `GET /v1/backups/{backupId}?wait=SECONDS` | the receipt, or 202 and how far it is |
//! | `POST /v1/compare` | counts, hashes or row digests |
//! | `POST /v1/pair` | uses an invitation; on the pairing protocol, and nothing else there |
//!
//! Refusals are `application/problem+json` (RFC 9457). Every request is authenticated anew. Ids in paths are parsed
//! before anything else is done with them and stand in one written form; nothing is percent-decoded.

mod bodies;
pub mod client;
mod problem;
pub(crate) mod server;

/// Lowest and highest minor version of protocol 1 that this crate speaks.
pub const PROTOCOL_MINOR: (u32, u32) = (0, 0);

/// Bytes of an answer to `GET /v1/hello`: some 40,000 columns. A schema of 295 tables with 13 columns takes 0.5 MiB.
pub const HELLO_BYTES_MAX: usize = 16 << 20;

/// Bytes of an answer to `POST /v1/compare`: 65,536 buckets take 3.5 MiB, 5,000 row digests about 0.7 MiB.
pub const COMPARE_BYTES_MAX: usize = 8 << 20;

/// Bytes of a receipt: 10,000 tables at 800 bytes each.
pub const RECEIPT_BYTES_MAX: usize = 8 << 20;

/// Seconds for which one request waits for a receipt at most.
pub const RECEIPT_WAIT_SECONDS_MAX: u64 = 60;

mod names {
    //! Header names and media types that http does not have.

    use http::HeaderName;

    pub(super) const TUS_VERSION_SPOKEN: &str = "1.0.0";
    pub(super) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
    pub(super) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
    pub(super) const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
    pub(super) const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
    pub(super) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
    pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
    pub(super) const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
    pub(super) const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");

    pub(super) const JSON: &str = "application/json";
    pub(super) const PROBLEM: &str = "application/problem+json";
    pub(super) const PART: &str = "application/offset+octet-stream";
}
