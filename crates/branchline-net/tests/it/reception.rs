//! A reception in memory: peers, uploads, one invitation; it counts and records what it is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use branchline_core::code::Code;
use branchline_core::compare::{BucketHash, CompareAnswer, CompareRequest, RowDigest, TableHashes};
use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, KeyId, ServerId};
use branchline_core::limits::UPLOADS_PER_PEER_MAX;
use branchline_core::pairing::{PairAnswer, PairRequest, check_words, verify_proof};
use branchline_core::ports::{BoxFuture, PeerHello, Reception, ReceptionError, UploadStatus, UploadStep};
use branchline_core::schema::Schema;
use branchline_core::signing::PublicKey;
use jiff::Timestamp;
use tokio::sync::watch;

pub(crate) struct InMemory {
    id: ServerId,
    key: KeyId,
    schema: Mutex<Schema>,
    peers: Mutex<HashMap<KeyId, (ServerId, bool)>>,
    uploads: Mutex<BTreeMap<(ServerId, BackupId), Upload>>,
    refused_at: Mutex<Option<(u64, Code)>>,
    failing_receipts: Mutex<bool>,
    invitation: Mutex<Option<Digest>>,
    pub(crate) joined: Mutex<Vec<PairRequest>>,
    pub(crate) authenticated: AtomicUsize,
    pub(crate) steps: watch::Sender<Vec<String>>,
    pub(crate) receipts_allowed: watch::Sender<bool>,
}

#[derive(Default)]
struct Upload {
    document_bytes: u64,
    bytes: Vec<u8>,
    settled: usize,
}

impl InMemory {
    pub(crate) fn new(id: &str, key: KeyId) -> Self {
        Self {
            id: id.parse().unwrap(),
            key,
            schema: Mutex::default(),
            peers: Mutex::default(),
            uploads: Mutex::default(),
            refused_at: Mutex::default(),
            failing_receipts: Mutex::default(),
            invitation: Mutex::default(),
            joined: Mutex::default(),
            authenticated: AtomicUsize::new(0),
            steps: watch::Sender::new(Vec::new()),
            receipts_allowed: watch::Sender::new(true),
        }
    }

    pub(crate) fn knows(&self, key: KeyId, id: &str) {
        self.peers.lock().unwrap().insert(key, (id.parse().unwrap(), true));
    }

    pub(crate) fn pauses(&self, key: KeyId) {
        self.peers.lock().unwrap().get_mut(&key).unwrap().1 = false;
    }

    pub(crate) fn forgets(&self, key: KeyId) {
        self.peers.lock().unwrap().remove(&key);
    }

    pub(crate) fn has_schema(&self, schema: Schema) {
        *self.schema.lock().unwrap() = schema;
    }

    pub(crate) fn refuses_at(&self, offset: u64, code: Code) {
        *self.refused_at.lock().unwrap() = Some((offset, code));
    }

    pub(crate) fn receipts_say_failure(&self) {
        *self.failing_receipts.lock().unwrap() = true;
    }

    pub(crate) fn invites(&self, secret: Digest) {
        *self.invitation.lock().unwrap() = Some(secret);
    }

    pub(crate) fn requests(&self) -> usize {
        self.authenticated.load(Ordering::SeqCst)
    }

    pub(crate) fn bytes_of(&self, peer: &str, backup: BackupId) -> Vec<u8> {
        self.uploads.lock().unwrap()[&(peer.parse().unwrap(), backup)].bytes.clone()
    }

    pub(crate) fn only_upload(&self) -> Vec<u8> {
        let uploads = self.uploads.lock().unwrap();
        assert_eq!(uploads.len(), 1);
        uploads.values().next().unwrap().bytes.clone()
    }

    pub(crate) fn upload_count(&self) -> usize {
        self.uploads.lock().unwrap().len()
    }

    /// Waits until a step of that kind was taken so often.
    pub(crate) async fn saw(&self, kind: &str, times: usize) {
        let count = |steps: &Vec<String>| steps.iter().filter(|step| *step == kind).count() >= times;
        self.steps.subscribe().wait_for(count).await.unwrap();
    }

    fn step(&self, peer: ServerId, step: UploadStep) -> Result<UploadStatus, ReceptionError> {
        let mut uploads = self.uploads.lock().unwrap();
        let name = |backup: BackupId| (peer.clone(), backup);
        let absent = || ReceptionError::of(Code::NOT_FOUND);
        let (kind, upload) = match step {
            UploadStep::Offer(offer) => {
                if !uploads.contains_key(&name(offer.backup)) && uploads.len() >= UPLOADS_PER_PEER_MAX {
                    return Err(ReceptionError::of(Code::TOO_MANY_UPLOADS));
                }
                let upload = uploads.entry(name(offer.backup)).or_default();
                upload.document_bytes = offer.document_bytes;
                ("offer", upload)
            }
            UploadStep::Begin { backup, document_bytes } => {
                let upload = uploads.entry(name(backup)).or_default();
                upload.document_bytes = document_bytes;
                ("begin", upload)
            }
            UploadStep::Append { backup, offset, bytes } => {
                let upload = uploads.get_mut(&name(backup)).ok_or_else(absent)?;
                let end = upload.bytes.len() as u64;
                if offset != end {
                    return Err(ReceptionError {
                        offset: Some(end),
                        ..ReceptionError::of(Code::OFFSET_MISMATCH)
                    });
                }
                upload.bytes.extend_from_slice(&bytes);
                if let Some((at, code)) = *self.refused_at.lock().unwrap()
                    && upload.bytes.len() as u64 > at
                {
                    return Err(ReceptionError::of(code));
                }
                ("append", upload)
            }
            UploadStep::Settle { backup } => {
                let upload = uploads.get_mut(&name(backup)).ok_or_else(absent)?;
                upload.settled = upload.bytes.len();
                ("settle", upload)
            }
            UploadStep::Status { backup } => ("status", uploads.get_mut(&name(backup)).ok_or_else(absent)?),
            UploadStep::Cancel { backup } => {
                let upload = uploads.remove(&name(backup)).ok_or_else(absent)?;
                let status = upload.status();
                drop(uploads);
                self.steps.send_modify(|steps| steps.push("cancel".into()));
                return Ok(status);
            }
        };
        let status = upload.status();
        drop(uploads);
        self.steps.send_modify(|steps| steps.push(kind.into()));
        Ok(status)
    }

    fn is_complete(&self, peer: &ServerId, backup: BackupId) -> Result<bool, ReceptionError> {
        let uploads = self.uploads.lock().unwrap();
        let upload =
            uploads.get(&(peer.clone(), backup)).ok_or_else(|| ReceptionError::of(Code::NOT_FOUND))?;
        Ok(upload.settled as u64 == upload.document_bytes)
    }
}

impl Upload {
    fn status(&self) -> UploadStatus {
        UploadStatus {
            offset: self.settled as u64,
            document_bytes: self.document_bytes,
            expires_at: Timestamp::from_second(784_111_777).unwrap(),
        }
    }
}

impl Reception for InMemory {
    fn authenticate(&self, key: PublicKey) -> BoxFuture<'_, Result<ServerId, ReceptionError>> {
        self.authenticated.fetch_add(1, Ordering::SeqCst);
        let found = self.peers.lock().unwrap().get(&key.key_id()).cloned();
        Box::pin(async move {
            match found {
                None => Err(ReceptionError::of(Code::NOT_PAIRED)),
                Some((_, false)) => Err(ReceptionError::of(Code::PEER_PAUSED)),
                Some((id, true)) => Ok(id),
            }
        })
    }

    fn hello(&self, _peer: ServerId) -> BoxFuture<'_, Result<PeerHello, ReceptionError>> {
        Box::pin(async move {
            Ok(PeerHello {
                server: self.id.clone(),
                producer: "branchline test".into(),
                protocol: (0, 0),
                features: Vec::new(),
                time: Timestamp::UNIX_EPOCH,
                schema: self.schema.lock().unwrap().clone(),
                last_applied: None,
                standing: None,
                path: String::new(),
            })
        })
    }

    fn upload(
        &self,
        peer: ServerId,
        step: UploadStep,
    ) -> BoxFuture<'_, Result<UploadStatus, ReceptionError>> {
        Box::pin(async move { self.step(peer, step) })
    }

    fn receipt(
        &self,
        peer: ServerId,
        backup: BackupId,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, ReceptionError>> {
        Box::pin(async move {
            self.steps.send_modify(|steps| steps.push("receipt".into()));
            let mut allowed = self.receipts_allowed.subscribe();
            let is_allowed = tokio::time::timeout(wait, allowed.wait_for(|allowed| *allowed)).await.is_ok();
            if !self.is_complete(&peer, backup)? || !is_allowed {
                return Ok(None);
            }
            let success = !*self.failing_receipts.lock().unwrap();
            Ok(Some(format!("{{\"success\":{success},\"backupId\":\"{backup}\"}}").into_bytes()))
        })
    }

    fn compare(
        &self,
        _peer: ServerId,
        request: CompareRequest,
    ) -> BoxFuture<'_, Result<CompareAnswer, ReceptionError>> {
        Box::pin(async move {
            Ok(match request {
                CompareRequest::Hashes(spec) => {
                    let buckets = vec![BucketHash { rows: 1, sum: [7; 32] }; spec.buckets as usize];
                    CompareAnswer::Hashes(TableHashes { rows: spec.buckets.into(), buckets })
                }
                CompareRequest::Rows { buckets, .. } => {
                    let row =
                        |bucket: &u32| RowDigest { key: format!("{bucket:08}"), digest: Digest::of(b"row") };
                    CompareAnswer::Rows(buckets.iter().map(row).collect())
                }
            })
        })
    }

    fn pair(&self, request: PairRequest) -> BoxFuture<'_, Result<PairAnswer, ReceptionError>> {
        Box::pin(async move {
            let secret = *self.invitation.lock().unwrap();
            let secret = secret.ok_or_else(|| ReceptionError::of(Code::INVITATION_UNKNOWN))?;
            if !verify_proof(request.proof, secret, &request.exporter, self.key, request.key.key_id()) {
                return Err(ReceptionError::of(Code::INVITATION_UNKNOWN));
            }
            let words = check_words(request.proof, &self.id, &request.server);
            self.knows(request.key.key_id(), request.server.as_str());
            self.joined.lock().unwrap().push(request);
            let addresses = vec!["hq.example:8443".parse().unwrap()];
            Ok(PairAnswer { server: self.id.clone(), name: "Head office".into(), addresses, words })
        })
    }
}
