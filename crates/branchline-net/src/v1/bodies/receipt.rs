//! The little that this crate reads and writes about receipts. A receipt itself passes through as the bytes that were
//! signed.

use branchline_core::ports::UploadStatus;
use serde::{Deserialize, Serialize};

use super::write;

#[derive(Deserialize)]
struct Outcome {
    success: bool,
    #[serde(default)]
    held: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pending {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_bytes: Option<u64>,
}

/// Whether a receipt says that the backup was applied, if only in part because rows are held; one that cannot be read
/// does not.
pub(in crate::v1) fn says_applied(receipt: &[u8]) -> bool {
    serde_json::from_slice::<Outcome>(receipt).is_ok_and(|outcome| outcome.success || outcome.held > 0)
}

/// The body of a 202: `receiving` while parts are missing, `applying` after that.
pub(in crate::v1) fn pending(status: Option<&UploadStatus>) -> Vec<u8> {
    let state = match status {
        Some(status) if status.offset < status.document_bytes => "receiving",
        _ => "applying",
    };
    let offset = status.map(|status| status.offset);
    write(&Pending { state, offset, document_bytes: status.map(|status| status.document_bytes) })
}
