//! Backups and receipts that this server knows of; and the same path with a file in the place of the wire.
//!
//! An export is queued like any other backup, so whatever comes back first settles it: the receipt over the wire, or
//! the receipt's file from the USB stick. An import writes its signed receipt beside the backup.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use branchline_core::backup::Codec;
use branchline_core::backup::v1::{Expectation, VerifiedBackup};
use branchline_core::code::Code;
use branchline_core::id::BackupId;
use branchline_core::limits::MESSAGE_BYTES_MAX;
use branchline_core::peer::Peer;
use branchline_core::ports::{BoxFuture, OutboxEntry, OutboxState, SpoolError, StateWrite};
use branchline_core::receipt::v1::open_receipt;

use super::inbox::Dealt;
use super::progress::ProgressSink;
use super::sync::Wish;
use super::{Node, describe};
use crate::api::v1::{BackupAnswer, BackupsAnswer, FileAnswer, ImportAnswer, Problem};
use crate::stages::apply::Document;
use crate::stages::receipt::record_of;
use crate::stages::send::part_at;
use crate::stages::verify::verify_file;

/// Receipts that are listed.
const RECEIPTS_LISTED: u32 = 50;

/// A document that lies in a file anywhere on this machine.
struct FileDocument(PathBuf);

impl Document for FileDocument {
    fn read_at(&self, offset: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<u8>, SpoolError>> {
        let path = self.0.clone();
        Box::pin(async move {
            let reading = tokio::task::spawn_blocking(move || {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(offset))?;
                let mut bytes = Vec::new();
                file.take(bytes_max as u64).read_to_end(&mut bytes)?;
                Ok::<_, std::io::Error>(bytes)
            });
            let read = reading.await.map_err(|_| SpoolError::Io(std::io::ErrorKind::Interrupted.into()))?;
            Ok(read?)
        })
    }
}

impl Node {
    pub(super) async fn list_backups(&self) -> Result<BackupsAnswer, Problem> {
        let outbox = self.memory.outbox().await?;
        let waiting =
            outbox.iter().filter(|entry| entry.state == OutboxState::Waiting).map(describe::outbox).collect();
        let settled = self.memory.receipts(RECEIPTS_LISTED).await?;
        Ok(BackupsAnswer {
            waiting,
            settled: settled.iter().map(|record| describe::receipt(record, false)).collect(),
        })
    }

    pub(super) async fn show_backup(&self, text: &str) -> Result<BackupAnswer, Problem> {
        let backup: BackupId = text.parse().map_err(|error: branchline_core::id::BackupIdError| {
            Problem::new(Code::ID_INVALID, error.to_string())
        })?;
        if let Some(record) = self.memory.receipt(backup).await? {
            return Ok(describe::receipt(&record, true));
        }
        match self.memory.outbox_entry(backup).await? {
            Some(entry) => {
                let message = format!("backup {backup} has no receipt yet: it waits for {}", entry.peer);
                let help = format!("branchline sync {}", entry.peer);
                Err(Problem::new(Code::NOT_FOUND, message).with_help(help))
            }
            None => Err(Problem::new(Code::NOT_FOUND, format!("backup {backup} is not known here"))
                .with_help("branchline backups list")),
        }
    }

    pub(super) async fn export(
        &self,
        name: &str,
        path: &str,
        compression: Option<String>,
        wish: Wish,
        progress: &ProgressSink,
    ) -> Result<FileAnswer, Problem> {
        let peer = self.memory.peer(name).await?;
        let codec = compression.as_deref().map(codec_of).transpose()?;
        let (entry, waited) = self.entry_to_export(&peer, codec, wish, progress).await?;
        let target = target_path(Path::new(path), &entry);
        match self.write_and_read_back(&entry, &target).await {
            Ok(verified) => {
                Ok(describe::file(&target.to_string_lossy(), &verified, entry.document_bytes(), Some(true)))
            }
            Err(problem) => {
                // Nobody carries it anywhere, so nothing waits for its receipt.
                if !waited {
                    self.drop_settled(&entry).await?;
                }
                Err(problem)
            }
        }
    }

    /// Where changes are captured, one backup at a time is on its way to a peer: what waits already, or a new one.
    async fn entry_to_export(
        &self,
        peer: &Peer,
        codec: Option<Codec>,
        wish: Wish,
        progress: &ProgressSink,
    ) -> Result<(OutboxEntry, bool), Problem> {
        let mut waits = self.memory.outbox_of(&peer.id).await?.into_iter().rev();
        let waits = waits.find(|entry| entry.state == OutboxState::Waiting && entry.packed.is_some());
        let Some(entry) = waits else {
            return Ok((self.queue_for_export(peer, codec, wish, progress).await?, false));
        };
        if wish.backup_type.is_some_and(|wanted| wanted != entry.backup_type)
            || codec.is_some_and(|wanted| wanted != entry.codec)
            || wish.mirror
        {
            let message = format!(
                "backup {} waits for {} already, and another kind was asked for",
                entry.backup, peer.id
            );
            let help = format!("carry that one first: branchline backups export {}", peer.id);
            return Err(Problem::new(Code::USAGE, message).with_help(help));
        }
        Ok((entry, true))
    }

    /// What lies in the file is read back: a stick that lies is found out before it is carried away.
    async fn write_and_read_back(
        &self,
        entry: &OutboxEntry,
        target: &Path,
    ) -> Result<VerifiedBackup, Problem> {
        self.write_document(entry, target).await?;
        let open = Expectation { target: None, source: None, data_bytes_max: u64::MAX, signature: None };
        Ok(verify_file(target, open).await?)
    }

    async fn write_document(&self, entry: &OutboxEntry, target: &Path) -> Result<(), Problem> {
        let folder =
            target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unwritable = |error: std::io::Error| unwritable(target, &error);
        // Beside its final name, so that a pulled stick never holds half a backup under it.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
        let mut offset = 0;
        while offset < entry.document_bytes() {
            let part = part_at(self.spool.as_ref(), entry, offset).await?;
            offset += part.len() as u64;
            file.write_all(&part).map_err(unwritable)?;
        }
        file.as_file().sync_all().map_err(unwritable)?;
        file.persist_noclobber(target).map_err(|error| unwritable(error.error))?;
        Ok(())
    }

    pub(super) async fn import(
        &self,
        path: &str,
        dry_run: bool,
        mirror: bool,
        progress: &ProgressSink,
    ) -> Result<ImportAnswer, Problem> {
        let path = Path::new(path);
        if let Some(document) = small_json(path)? {
            return self.import_receipt(path, &document).await;
        }
        let open = Expectation { target: None, source: None, data_bytes_max: u64::MAX, signature: None };
        let verified = verify_file(path, open).await?;
        let metadata = verified.metadata();
        let peer = self.memory.peer(metadata.source.as_str()).await.map_err(|_| {
            Problem::new(
                Code::NOT_PAIRED,
                format!("{} made this backup and is not a peer of this server", metadata.source),
            )
        })?;
        let expectation = Expectation {
            target: Some(self.settings.server.clone()),
            source: Some((peer.id.clone(), peer.key)),
            data_bytes_max: peer.grant.data_bytes_max,
            signature: None,
        };
        let verified = verify_file(path, expectation).await?;
        if verified.metadata().mirror && !mirror && !dry_run {
            let message = "the backup asks for rows that it does not hold to be removed here";
            return Err(Problem::new(Code::NOT_GRANTED, message)
                .with_help("see how many with --dry-run, then allow it with --mirror"));
        }
        let bytes = fs::metadata(path).map(|meta| meta.len()).unwrap_or(0);
        let file = describe::file(&path.to_string_lossy(), &verified, bytes, Some(true));
        let document = FileDocument(path.to_owned());
        match self.deal_with(&peer, verified, &document, dry_run, progress).await? {
            Dealt::Later(problem) => Err(problem),
            Dealt::Answered(applied) if dry_run => {
                Ok(ImportAnswer { file, receipt: describe::json(&applied.document), receipt_path: None })
            }
            Dealt::Answered(applied) => {
                self.memory.commit(vec![StateWrite::PutReceipt(applied.record())]).await?;
                let beside = path.with_file_name(format!("{}.receipt.json", applied.receipt.backup));
                fs::write(&beside, &applied.document).map_err(|error| {
                    // It is dealt with all the same, and a second import gives the same receipt.
                    let became = if applied.receipt.is_applied() { "was applied" } else { "was refused" };
                    unwritable(&beside, &error)
                        .with_data(format!("The backup {became}; its receipt is kept here."))
                })?;
                let refused = applied.receipt.errors.first().filter(|_| !applied.receipt.is_applied());
                if let Some(fault) = refused {
                    let message = format!("nothing of the backup was applied: {}", fault.message);
                    return Err(Problem::new(fault.code, message).with_data("The database is as it was."));
                }
                let receipt_path = Some(beside.to_string_lossy().into_owned());
                Ok(ImportAnswer { file, receipt: describe::json(&applied.document), receipt_path })
            }
        }
    }

    /// Takes in a receipt that was carried back, and settles what it answers.
    async fn import_receipt(&self, path: &Path, document: &[u8]) -> Result<ImportAnswer, Problem> {
        let claimed = branchline_core::receipt::v1::parse(document)?;
        let peer: Peer = self.memory.peer(claimed.server.as_str()).await?;
        let receipt = open_receipt(document, peer.key)?;
        let entry = self.memory.outbox_entry(receipt.backup).await?.filter(|entry| entry.peer == peer.id);
        if receipt.source != self.settings.server
            || entry.as_ref().is_some_and(|entry| entry.checksum != receipt.checksum)
        {
            return Err(Problem::new(
                Code::RECEIPT_INVALID,
                "the receipt answers a backup that this server did not make",
            ));
        }
        match &entry {
            Some(entry) => self.close(entry, &receipt, document.to_vec(), Vec::new()).await?,
            None => {
                let record = record_of(&receipt, document.to_vec());
                self.memory.commit(vec![StateWrite::PutReceipt(record)]).await?;
            }
        }
        let file = FileAnswer {
            path: path.to_string_lossy().into_owned(),
            backup: receipt.backup.to_string(),
            source: receipt.source.to_string(),
            source_key_id: receipt.server_key.key_id().to_string(),
            target: receipt.server.to_string(),
            backup_type: receipt.backup_type.to_string(),
            created_at: receipt.processed_at.to_string(),
            rows: receipt.records_processed,
            data_bytes: 0,
            document_bytes: document.len() as u64,
            tables: Vec::new(),
            key_pinned: Some(true),
        };
        Ok(ImportAnswer { file, receipt: describe::json(document), receipt_path: None })
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Problem {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let code = if full { Code::DISK_FULL } else { Code::FILE_UNREADABLE };
    Problem::new(code, format!("{} cannot be written: {error}", path.display()))
}

fn codec_of(text: &str) -> Result<Codec, Problem> {
    match text {
        "zstd" => Ok(Codec::Zstd),
        "gzip" => Ok(Codec::Gzip),
        "none" => Ok(Codec::Plain),
        other => Err(Problem::new(Code::USAGE, format!("{other} is not a compression: zstd, gzip or none"))),
    }
}

/// A folder gets the backup under its own name.
fn target_path(path: &Path, entry: &OutboxEntry) -> PathBuf {
    if path.is_dir() {
        path.join(format!("{}.{}", entry.backup, entry.codec.extension()))
    } else {
        path.to_owned()
    }
}

/// The file's bytes, if it is a receipt and not a backup.
fn small_json(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    let unreadable =
        |error: std::io::Error| Problem::new(Code::FILE_UNREADABLE, format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MESSAGE_BYTES_MAX as u64 * 8).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes.starts_with(b"{\"success\":").then_some(bytes))
}
