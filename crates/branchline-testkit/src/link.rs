//! The conformance suites for links: what every [`Reception`] and every [`PeerLink`] must do about uploads.
//!
//! Both are the same contract seen from its two sides, and both are checked with a document that the reception takes: a
//! reception that looks at what it is given refuses anything else. The trial says which.

#![allow(clippy::unwrap_used, reason = "a suite fails by panicking, at the line that says what was expected")]

use std::time::Duration;

use branchline_core::code::{Code, Explain};
use branchline_core::id::{BackupId, ServerId};
use branchline_core::limits::UPLOADS_PER_PEER_MAX;
use branchline_core::ports::{
    LinkError, Offer, OfferAnswer, PeerLink, Reception, ReceptionError, UploadStatus, UploadStep,
};
use branchline_core::signing::PublicKey;

/// A document to try uploads with.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Who sends it.
    pub peer: ServerId,
    /// Its name.
    pub backup: BackupId,
    /// Other names, with which nothing else is open.
    pub others: Vec<BackupId>,
    /// The signature that travels ahead.
    pub signature: String,
    /// The document; two bytes at least.
    pub document: Vec<u8>,
}

impl Trial {
    fn offer(&self) -> Offer {
        self.offer_of(self.backup)
    }

    fn offer_of(&self, backup: BackupId) -> Offer {
        let document_bytes = self.document.len() as u64;
        Offer { backup, document_bytes, signature: self.signature.clone() }
    }

    fn halves(&self) -> (Vec<u8>, Vec<u8>, u64) {
        let (first, second) = self.document.split_at(self.document.len() / 2);
        (first.to_vec(), second.to_vec(), first.len() as u64)
    }
}

/// An unknown key is nobody.
pub async fn an_unknown_key_is_not_paired(reception: &dyn Reception) {
    let error = reception.authenticate(PublicKey::from_bytes([0x5a; 32])).await.unwrap_err();
    assert_eq!(error.code, Code::NOT_PAIRED);
}

/// Bytes count once they are settled, wherever an upload is asked for; a part must begin at its end.
pub async fn an_upload_goes_on_from_what_is_lasting(reception: &dyn Reception, trial: &Trial) {
    let (first, second, half) = trial.halves();
    let backup = trial.backup;
    let whole = trial.document.len() as u64;
    let offered = step(reception, trial, UploadStep::Offer(trial.offer())).await.unwrap();
    assert_eq!((offered.offset, offered.document_bytes), (0, whole));
    step(reception, trial, UploadStep::Append { backup, offset: 0, bytes: first }).await.unwrap();
    let settled = step(reception, trial, UploadStep::Settle { backup }).await.unwrap();
    assert_eq!(settled.offset, half);
    assert_eq!(step(reception, trial, UploadStep::Status { backup }).await.unwrap().offset, half);
    assert_eq!(step(reception, trial, UploadStep::Offer(trial.offer())).await.unwrap().offset, half);

    let again = UploadStep::Append { backup, offset: 0, bytes: second.clone() };
    let error = step(reception, trial, again).await.unwrap_err();
    assert_eq!((error.code, error.offset), (Code::OFFSET_MISMATCH, Some(half)));
    let early = reception.receipt(trial.peer.clone(), backup, Duration::ZERO).await;
    assert_eq!(early, Ok(None));

    step(reception, trial, UploadStep::Append { backup, offset: half, bytes: second }).await.unwrap();
    let done = step(reception, trial, UploadStep::Settle { backup }).await.unwrap();
    assert_eq!((done.offset, done.document_bytes), (whole, whole));
    let receipt = reception.receipt(trial.peer.clone(), backup, Duration::from_secs(30)).await;
    assert!(receipt.unwrap().is_some(), "a receipt within its wait");
}

/// What was cancelled is gone.
pub async fn a_cancelled_upload_is_gone(reception: &dyn Reception, trial: &Trial) {
    let backup = trial.backup;
    step(reception, trial, UploadStep::Offer(trial.offer())).await.unwrap();
    step(reception, trial, UploadStep::Cancel { backup }).await.unwrap();
    let error = step(reception, trial, UploadStep::Status { backup }).await.unwrap_err();
    assert!(matches!(error.code, Code::NOT_FOUND | Code::UPLOAD_EXPIRED), "{error:?}");
}

/// A peer has two uploads open at most, and one that is open already does not count again.
pub async fn uploads_of_one_peer_are_bounded(reception: &dyn Reception, trial: &Trial) {
    assert!(trial.others.len() > UPLOADS_PER_PEER_MAX, "the trial has names enough");
    for backup in &trial.others[..UPLOADS_PER_PEER_MAX] {
        step(reception, trial, UploadStep::Offer(trial.offer_of(*backup))).await.unwrap();
    }
    step(reception, trial, UploadStep::Offer(trial.offer_of(trial.others[0]))).await.unwrap();
    let one_more = UploadStep::Offer(trial.offer_of(trial.others[UPLOADS_PER_PEER_MAX]));
    assert_eq!(step(reception, trial, one_more).await.unwrap_err().code, Code::TOO_MANY_UPLOADS);
    for backup in &trial.others[..UPLOADS_PER_PEER_MAX] {
        step(reception, trial, UploadStep::Cancel { backup: *backup }).await.unwrap();
    }
}

/// The same contract over a link.
pub async fn a_link_carries_a_backup(link: &dyn PeerLink, trial: &Trial) {
    let (first, second, half) = trial.halves();
    let (offer, whole) = (trial.offer(), trial.document.len() as u64);
    assert_eq!(link.offer(&offer).await, Ok(OfferAnswer::Continue { offset: 0 }));
    assert_eq!(link.send(offer.backup, 0, first).await, Ok(half));
    assert_eq!(link.offer(&offer).await, Ok(OfferAnswer::Continue { offset: half }));
    let error = link.send(offer.backup, 0, second.clone()).await.unwrap_err();
    assert_eq!(error.code(), Code::OFFSET_MISMATCH);
    assert_eq!(link.receipt(offer.backup, Duration::ZERO).await, Ok(None));
    assert_eq!(link.send(offer.backup, half, second).await, Ok(whole));
    assert_eq!(link.offer(&offer).await, Ok(OfferAnswer::Complete));
    let receipt = link.receipt(offer.backup, Duration::from_secs(30)).await.unwrap();
    assert!(receipt.is_some(), "a receipt within its wait");
}

/// Ending an upload twice does no harm, and nothing can be added to it afterwards.
pub async fn a_link_ends_an_upload(link: &dyn PeerLink, trial: &Trial) {
    let offer = trial.offer();
    link.offer(&offer).await.unwrap();
    assert_eq!(link.cancel(offer.backup).await, Ok(()));
    assert_eq!(link.cancel(offer.backup).await, Ok(()));
    let error = link.send(offer.backup, 0, trial.document.clone()).await.unwrap_err();
    let gone = matches!(error, LinkError::Problem { code: Code::NOT_FOUND | Code::UPLOAD_EXPIRED, .. });
    assert!(gone, "{error:?}");
}

async fn step(
    reception: &dyn Reception,
    trial: &Trial,
    step: UploadStep,
) -> Result<UploadStatus, ReceptionError> {
    reception.upload(trial.peer.clone(), step).await
}
