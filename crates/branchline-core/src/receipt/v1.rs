//! The receipt as it is written and signed.
//!
//! ```text
//! {"success":true,…,"signature":"S"}
//! ```
//! S is the last member and of fixed length. What is signed is everything before `,"signature":"`, byte for byte,
//! so a receipt is verified before it is parsed, and a stored one stays valid whatever a later version adds.

mod day;
mod raw;

use data_encoding::BASE64;

use super::{Receipt, ReceiptFault, StageTime, TableReceipt};
use crate::backup::v1::{AFTER_SIGNATURE, BEFORE_SIGNATURE, TAIL_BYTES, json};
use crate::code::{Code, Explain};
use crate::id::{BackupId, Epoch, Generation, KeyId, Sequence, ServerId};
use crate::ports::{HeldReport, Signer, SignerError};
use crate::schema::TableName;
use crate::signing::{PublicKey, Signature, SignedKind};
use crate::standing::Standing;
use crate::version::Life;

use raw::{RawFault, RawHeld, RawKnown, RawReceipt, RawStage, RawStanding, RawTable};

/// Why a document is not the receipt that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is not a receipt.
    #[error("the answer is not a receipt: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// It is signed with another key than the peer's.
    #[error("the receipt is signed with a key that is not the one pinned for its server")]
    WrongKey,
    /// The signature does not fit.
    #[error("the receipt's signature does not fit")]
    Signature,
    /// It answers another backup.
    #[error("the receipt answers backup {found}")]
    OtherBackup {
        /// Which.
        found: BackupId,
    },
}

impl Explain for ReceiptError {
    fn code(&self) -> Code {
        Code::RECEIPT_INVALID
    }
}

/// Writes and signs a receipt.
///
/// # Errors
/// Where the key cannot be used.
pub fn seal_receipt(receipt: &Receipt, signer: &dyn Signer) -> Result<Vec<u8>, SignerError> {
    let mut document = serde_json::to_vec(&to_raw(receipt)).map_err(|_| SignerError)?;
    // The object's last brace comes back after the signature.
    document.pop();
    let signature = signer.sign(SignedKind::Receipt, &document)?;
    document.extend_from_slice(BEFORE_SIGNATURE);
    document.extend_from_slice(signature.to_text().as_bytes());
    document.extend_from_slice(AFTER_SIGNATURE);
    Ok(document)
}

/// Verifies a receipt with the key that is pinned for its server, and reads it.
///
/// # Errors
/// Where it is not a receipt that this key signed.
pub fn open_receipt(document: &[u8], pinned: KeyId) -> Result<Receipt, ReceiptError> {
    let (body, signature) = split(document)?;
    let receipt = parse(document)?;
    if receipt.server_key.key_id() != pinned {
        return Err(ReceiptError::WrongKey);
    }
    if receipt.server_key.verifies(SignedKind::Receipt, body, &signature) {
        Ok(receipt)
    } else {
        Err(ReceiptError::Signature)
    }
}

fn malformed(reason: impl Into<String>) -> ReceiptError {
    ReceiptError::Malformed { reason: reason.into() }
}

fn split(document: &[u8]) -> Result<(&[u8], Signature), ReceiptError> {
    let at = document.len().checked_sub(TAIL_BYTES).ok_or_else(|| malformed("it is too short"))?;
    let (body, tail) = document.split_at(at);
    let text = tail.strip_prefix(BEFORE_SIGNATURE).and_then(|rest| rest.strip_suffix(AFTER_SIGNATURE));
    let signature = text.and_then(|text| Signature::from_text(text).ok());
    signature.map(|signature| (body, signature)).ok_or_else(|| malformed("it does not end with a signature"))
}

/// Reads a receipt that was verified when it came in and has been in our own hands since.
///
/// # Errors
/// Where it is not a receipt.
pub fn parse(document: &[u8]) -> Result<Receipt, ReceiptError> {
    match json::check(document) {
        Ok(shape) if !shape.duplicates => {}
        Ok(_) => return Err(malformed("it has two members of one name")),
        Err(_) => return Err(malformed("it is not JSON")),
    }
    let raw: RawReceipt = serde_json::from_slice(document).map_err(|error| malformed(error.to_string()))?;
    from_raw(raw)
}

fn to_raw(receipt: &Receipt) -> RawReceipt {
    let totals = receipt.totals();
    let table = |table: &TableReceipt| RawTable {
        name: table.table.to_string(),
        inserted: table.inserted,
        updated: table.updated,
        deleted: table.deleted,
        unchanged: table.unchanged,
        merged: table.merged,
        superseded: table.superseded,
        held: table.held,
    };
    let stage =
        |stage: &StageTime| RawStage { stage: stage.stage.clone(), millis: stage.took.as_millis() as u64 };
    let fault =
        |fault: &ReceiptFault| RawFault { code: fault.code.to_string(), message: fault.message.clone() };
    RawReceipt {
        receipt_version: 1,
        success: receipt.success,
        server_id: receipt.server.to_string(),
        server_key: BASE64.encode(receipt.server_key.as_bytes()),
        processed_at: receipt.processed_at.to_string(),
        records_processed: receipt.records_processed,
        errors: receipt.errors.iter().map(fault).collect(),
        warnings: receipt.warnings.clone(),
        checksum: receipt.checksum.to_string(),
        backup_id: receipt.backup.to_string(),
        source_server_id: receipt.source.to_string(),
        backup_type: receipt.backup_type.to_string(),
        inserted: totals.inserted,
        updated: totals.updated,
        deleted: totals.deleted,
        unchanged: totals.unchanged,
        merged: totals.merged,
        superseded: totals.superseded,
        held: totals.held,
        released: receipt.released,
        held_rows: receipt.held.iter().map(held_to_raw).collect(),
        day: receipt.day.as_ref().map(day::to_raw),
        standing: receipt.standing.as_ref().map(standing_to_raw),
        tables: receipt.tables.iter().map(table).collect(),
        foreign_keys: receipt.foreign_keys.clone(),
        locked_millis: receipt.locked_for.as_millis() as u64,
        stages: receipt.stages.iter().map(stage).collect(),
        signature: None,
    }
}

fn held_to_raw(held: &HeldReport) -> RawHeld {
    RawHeld {
        table: held.table.to_string(),
        key: held.key.clone(),
        code: held.code.to_string(),
        reason: held.reason.clone(),
    }
}

fn standing_to_raw(standing: &Standing) -> RawStanding {
    let known = |(life, generation): (&Life, Generation)| RawKnown {
        server: life.server.to_string(),
        epoch: life.epoch.value(),
        generation: generation.value(),
    };
    RawStanding {
        epoch: standing.life.epoch.value(),
        sealed: standing.sealed.value(),
        knowledge: standing.knowledge.iter().map(known).collect(),
    }
}

fn field<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, ReceiptError> {
    text.parse().map_err(|_| malformed(format!("{name} is not valid")))
}

fn from_raw(raw: RawReceipt) -> Result<Receipt, ReceiptError> {
    let millis = std::time::Duration::from_millis;
    let key = BASE64.decode(raw.server_key.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    let table = |table: RawTable| {
        let name = TableName::new(table.name).map_err(|error| malformed(error.to_string()))?;
        let RawTable { inserted, updated, deleted, unchanged, merged, superseded, held, .. } = table;
        let counted =
            TableReceipt { table: name, inserted, updated, deleted, unchanged, superseded, merged, held };
        Ok::<_, ReceiptError>(counted)
    };
    // A code of a later version is still an error; its message says the rest.
    let code = |text: &str| Code::parse(text).unwrap_or(Code::REFUSED_BY_PEER);
    let fault = |fault: RawFault| ReceiptFault { code: code(&fault.code), message: fault.message };
    let held = |held: RawHeld| {
        let table = TableName::new(held.table).map_err(|error| malformed(error.to_string()))?;
        Ok::<_, ReceiptError>(HeldReport {
            table,
            key: held.key,
            code: code(&held.code),
            reason: held.reason,
        })
    };
    let server: ServerId = field(&raw.server_id, "serverId")?;
    Ok(Receipt {
        success: raw.success,
        day: raw.day.map(day::from_raw).transpose()?,
        standing: raw.standing.map(|standing| standing_of(standing, &server)).transpose()?,
        server,
        server_key: key.map(PublicKey::from_bytes).ok_or_else(|| malformed("serverKey is not valid"))?,
        processed_at: field(&raw.processed_at, "processedAt")?,
        backup: field(&raw.backup_id, "backupId")?,
        source: field(&raw.source_server_id, "sourceServerId")?,
        backup_type: field(&raw.backup_type, "backupType")?,
        records_processed: raw.records_processed,
        checksum: field(&raw.checksum, "checksum")?,
        errors: raw.errors.into_iter().map(fault).collect(),
        warnings: raw.warnings,
        tables: raw.tables.into_iter().map(table).collect::<Result<_, _>>()?,
        held: raw.held_rows.into_iter().map(held).collect::<Result<_, _>>()?,
        released: raw.released,
        foreign_keys: raw.foreign_keys,
        locked_for: millis(raw.locked_millis),
        stages: raw
            .stages
            .into_iter()
            .map(|s| StageTime { stage: s.stage, took: millis(s.millis) })
            .collect(),
    })
}

fn standing_of(raw: RawStanding, server: &ServerId) -> Result<Standing, ReceiptError> {
    let known = |known: RawKnown| {
        let server = field(&known.server, "a server in knowledge")?;
        Ok::<_, ReceiptError>((Life::new(server, Epoch::new(known.epoch)), Generation::new(known.generation)))
    };
    Ok(Standing {
        life: Life::new(server.clone(), Epoch::new(raw.epoch)),
        knowledge: raw.knowledge.into_iter().map(known).collect::<Result<_, _>>()?,
        sealed: Sequence::new(raw.sealed),
    })
}

#[cfg(test)]
mod tests;
