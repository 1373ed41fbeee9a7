//! Uploads that are open in this process. What must outlive it is in the inbox and in the spool.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, PoisonError};

use branchline_core::id::{BackupId, ServerId};
use tokio::sync::{Mutex, watch};

use crate::stages::receive::Receiving;

/// Which upload: who sends it, and its name (or the one it has until its metadata are here).
pub(super) type UploadKey = (ServerId, BackupId);

/// A place for one upload. It is empty where the upload is not open in this process.
pub(super) type Slot = Arc<Mutex<Option<Receiving>>>;

/// Uploads that are open.
pub(super) struct Uploads {
    slots: std::sync::Mutex<HashMap<UploadKey, Slot>>,
    /// Documents that came without being announced: the name they were given, and their own.
    names: std::sync::Mutex<HashMap<UploadKey, BackupId>>,
    /// Uploads that are complete and being dealt with in this process.
    processing: Arc<std::sync::Mutex<HashSet<UploadKey>>>,
    /// Peers that something is being sent to.
    sending: Arc<std::sync::Mutex<HashSet<ServerId>>>,
    /// Goes up whenever a backup was dealt with, so that those who wait for a receipt look again.
    dealt_with: watch::Sender<u64>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            slots: std::sync::Mutex::default(),
            names: std::sync::Mutex::default(),
            processing: Arc::default(),
            sending: Arc::default(),
            dealt_with: watch::Sender::new(0),
        }
    }
}

impl Uploads {
    pub(super) fn slot(&self, key: &UploadKey) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    pub(super) fn forget(&self, key: &UploadKey) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Takes a peer's uploads away, also from those who are writing to them.
    pub(super) async fn forget_peer(&self, peer: &ServerId) {
        let gone: Vec<Slot> = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let keys: Vec<UploadKey> = slots.keys().filter(|key| key.0 == *peer).cloned().collect();
            keys.iter().filter_map(|key| slots.remove(key)).collect()
        };
        for slot in gone {
            *slot.lock().await = None;
        }
    }

    pub(super) fn name(&self, given: &UploadKey, own: BackupId) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(given.clone(), own);
    }

    /// The backup's own name, where `backup` is one that it was given.
    pub(super) fn own_name(&self, peer: &ServerId, backup: BackupId) -> BackupId {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&(peer.clone(), backup)).copied().unwrap_or(backup)
    }

    /// The turn to deal with an upload; nothing where somebody has it.
    pub(super) fn begin_processing(&self, key: &UploadKey) -> Option<Turn<UploadKey>> {
        Turn::take(&self.processing, key)
    }

    /// Whether somebody has the turn to deal with an upload.
    pub(super) fn is_processing(&self, key: &UploadKey) -> bool {
        self.processing.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// The turn to send to a peer; nothing where somebody has it.
    pub(super) fn begin_sending(&self, peer: &ServerId) -> Option<Turn<ServerId>> {
        Turn::take(&self.sending, peer)
    }

    /// A backup was dealt with: those who wait for its receipt look again.
    pub(super) fn dealt_with(&self) {
        self.dealt_with.send_modify(|count| *count += 1);
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.dealt_with.subscribe()
    }
}

/// A turn that ends when it is dropped, also where the task that has it is cancelled.
pub(super) struct Turn<K: Eq + Hash> {
    key: K,
    taken: Arc<std::sync::Mutex<HashSet<K>>>,
}

impl<K: Eq + Hash + Clone> Turn<K> {
    fn take(taken: &Arc<std::sync::Mutex<HashSet<K>>>, key: &K) -> Option<Self> {
        let free = taken.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        free.then(|| Self { key: key.clone(), taken: Arc::clone(taken) })
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
