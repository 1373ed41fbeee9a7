//! Version 1 of the backup document, byte for byte.
//!
//! ```text
//! document   {"metadata":M,"data":D,"signature":"S"}        nothing between the parts
//! frames     1: {"metadata":M,"data":      2: D      3: ,"signature":"S"}
//! D          {"table":[ LF row, LF … row LF ],"table":[ LF … ]}    or {} where there is no table
//! row        {"column":value,…}      perhaps with "$version" and "$deleted" before the columns (`row_mark`); one line, no raw LF in it; every row of a table but its last ends with a comma
//! checksum   SHA-256 of D
//! S          base64 of Ed25519 over DSSE's encoding of M: 88 characters, always
//! ```
//! The order of work when reading: M is found by its braces and its bound, the signature is checked, the rest is
//! hashed without being parsed, and only then are rows read. Nothing here allocates more than one row and one
//! batch, whatever the document says of itself.

pub mod compression;
mod decoder;
mod document;
mod encoder;
mod error;
pub mod json;
mod metadata;
mod row_mark;
mod row_reader;
mod row_value;
mod row_writer;
mod seal;
mod unfit_row;
mod verified_reader;
mod verify;

pub use decoder::{DataDecoder, DataEvent};
pub use document::{DocumentEvent, DocumentReader};
pub use encoder::{DataEncoder, DataTotals};
pub use error::{FormatError, RowError, RowFault};
pub use metadata::{parse_metadata, write_metadata};
pub use row_mark::{Deletion, RowMark};
pub use row_reader::RowReader;
pub use row_value::{array_of_text, array_text, value_text};
pub use row_writer::RowWriter;
pub use seal::{SealError, SealedHead, seal_head};
pub use unfit_row::{UnfitReader, UnfitRow, with_version};
pub use verified_reader::VerifiedReader;
pub use verify::{CheckedHead, Expectation, VerifiedBackup, Verifier, VerifyError};

/// The version that this module writes.
pub const FORMAT_VERSION: u32 = 1;

/// What stands before M.
pub const BEFORE_METADATA: &[u8] = b"{\"metadata\":";
/// What stands between M and D.
pub const BEFORE_DATA: &[u8] = b",\"data\":";
/// What stands between D and S.
pub const BEFORE_SIGNATURE: &[u8] = b",\"signature\":\"";
/// What stands after S.
pub const AFTER_SIGNATURE: &[u8] = b"\"}";
/// Bytes after D.
pub const TAIL_BYTES: usize =
    BEFORE_SIGNATURE.len() + crate::signing::Signature::TEXT_BYTES + AFTER_SIGNATURE.len();
