//! Backups made by hand, validly signed or not: what an honest server never sends.

use std::path::PathBuf;

use branchline_core::backup::v1::compression::compress;
use branchline_core::backup::v1::{
    AFTER_SIGNATURE, BEFORE_DATA, BEFORE_METADATA, BEFORE_SIGNATURE, DataEncoder, write_metadata,
};
use branchline_core::backup::{BackupType, Codec, Metadata};
use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, Epoch, Generation, Sequence};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::Signer;
use branchline_core::signing::SignedKind;
use branchline_testkit::database::TestBackup;
use serde_json::Value;

use super::{Home, Server};

/// Metadata and data that fit each other, not sealed yet.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) metadata: Metadata,
    pub(crate) data: Vec<u8>,
}

impl Draft {
    /// All rows of a server, for another.
    pub(crate) async fn of(source: &Server, target: &Home) -> Self {
        let rows = TestBackup::of(&*source.shop.port()).await;
        Self::of_rows(&source.home, target, &rows)
    }

    /// Rows of the test's own, as if they were the source's.
    pub(crate) fn of_rows(source: &Home, target: &Home, rows: &TestBackup) -> Self {
        let mut encoder = DataEncoder::default();
        let mut data = Vec::new();
        for (place, table) in rows.tables.iter().enumerate() {
            encoder.table(&table.name, &mut data);
            for (_, batch) in rows.batches.iter().filter(|(of, _)| *of == place) {
                encoder.rows(batch, &mut data).unwrap();
            }
        }
        let totals = encoder.finish(&mut data);
        let metadata = Metadata {
            source: source.id.clone(),
            source_key: source.identity.public_key(),
            target: target.id.clone(),
            backup_type: BackupType::Full,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            data_range: None,
            day: None,
            record_count: rows.tables.iter().map(|table| table.rows).sum(),
            checksum: totals.checksum,
            backup_id: new_id(),
            epoch: Epoch::new(1),
            generation: Generation::new(0),
            sequence: Sequence::new(1),
            previous: None,
            target_epoch: None,
            knowledge: Knowledge::new(),
            covers: Knowledge::new(),
            purged: Knowledge::new(),
            clock: None,
            data_bytes: totals.data_bytes,
            tables: rows.tables.clone(),
            mirror: rows.mirror,
            producer: "branchline-test/1".to_owned(),
            min_reader: 1,
        };
        Self { metadata, data }
    }

    /// The same under another name.
    pub(crate) fn renamed(mut self) -> Self {
        self.metadata.backup_id = new_id();
        self
    }

    /// With other data, which the metadata's checksum and length follow.
    pub(crate) fn with_data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self.metadata.checksum = Digest::of(&self.data);
        self.metadata.data_bytes = self.data.len() as u64;
        self
    }

    /// With the first `from` in the data replaced.
    pub(crate) fn with_data_replaced(self, from: &str, to: &str) -> Self {
        let data = String::from_utf8(self.data.clone()).unwrap();
        assert!(data.contains(from), "{data}");
        self.with_data(data.replacen(from, to, 1))
    }

    /// Seals it with that key.
    pub(crate) fn seal(&self, signer: &dyn Signer) -> Document {
        let metadata = write_metadata(&self.metadata).unwrap();
        self.seal_written(metadata, signer)
    }

    /// Seals it with metadata of which the first `from` is replaced: what our own writer would not write.
    pub(crate) fn seal_replaced(&self, from: &str, to: &str, signer: &dyn Signer) -> Document {
        let metadata = String::from_utf8(write_metadata(&self.metadata).unwrap()).unwrap();
        assert!(metadata.contains(from), "{metadata}");
        self.seal_written(metadata.replacen(from, to, 1), signer)
    }

    /// Seals it with metadata that were changed as JSON.
    pub(crate) fn seal_edited(&self, edit: impl FnOnce(&mut Value), signer: &dyn Signer) -> Document {
        let mut metadata = serde_json::from_slice(&write_metadata(&self.metadata).unwrap()).unwrap();
        edit(&mut metadata);
        self.seal_written(serde_json::to_vec(&metadata).unwrap(), signer)
    }

    /// Seals metadata of any form.
    pub(crate) fn seal_written(&self, metadata: impl Into<Vec<u8>>, signer: &dyn Signer) -> Document {
        let metadata = metadata.into();
        let signature = signer.sign(SignedKind::BackupMetadata, &metadata).unwrap().to_text();
        Document { backup: self.metadata.backup_id, metadata, data: self.data.clone(), signature }
    }
}

/// A sealed backup, in its parts.
#[derive(Clone)]
pub(crate) struct Document {
    pub(crate) backup: BackupId,
    pub(crate) metadata: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) signature: String,
}

impl Document {
    /// The three frames.
    pub(crate) fn frames(&self, codec: Codec) -> [Vec<u8>; 3] {
        let head = [BEFORE_METADATA, &self.metadata, BEFORE_DATA].concat();
        let tail = [BEFORE_SIGNATURE, self.signature.as_bytes(), AFTER_SIGNATURE].concat();
        [&head, &self.data, &tail].map(|part| compress(codec, part).unwrap())
    }

    /// The whole, as it travels.
    pub(crate) fn bytes(&self, codec: Codec) -> Vec<u8> {
        self.frames(codec).concat()
    }

    /// The whole in a file of a folder that the test keeps.
    pub(crate) fn write_to(&self, folder: &tempfile::TempDir, codec: Codec) -> PathBuf {
        let path = folder.path().join(format!("{}.{}", self.backup, codec.extension()));
        std::fs::write(&path, self.bytes(codec)).unwrap();
        path
    }
}

fn new_id() -> BackupId {
    branchline::node::clock::backup_id().unwrap()
}
