//! Packs: reads every row of the tables that sync, of one moment, and writes D as a compressed frame to the spool.
//!
//! Three things run side by side, joined by short queues, so that the database, the codec and the disk all work:
//! the snapshot gives batches; one thread encodes, hashes and compresses; the frame goes to the spool. Memory is
//! bounded by the queues: 8 batches of 256 KiB, and as much of the frame.

use std::time::Duration;

use branchline_core::backup::v1::compression::Compressor;
use branchline_core::backup::v1::{DataEncoder, DataTotals, FormatError};
use branchline_core::backup::{Codec, RowBatch, TableSummary};
use branchline_core::code::{Code, Explain};
use branchline_core::id::BackupId;
use branchline_core::ports::{Database, DatabaseError, Snapshot, Spool, SpoolError, SpoolFile};
use branchline_core::schema::{Schema, TableName, parents_first};
use tokio::sync::mpsc;

use crate::node::clock::Stopwatch;
use crate::node::progress::Reporter;

/// Batches that may wait between two of the three.
const QUEUE_BATCHES: usize = 8;
/// Bytes of the frame that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// D, in the spool, with what the metadata will say of it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The spool file of the frame.
    pub data_file: BackupId,
    /// Bytes of the frame.
    pub data_frame_bytes: u64,
    /// How it is compressed.
    pub codec: Codec,
    /// The tables in it, in their order, with their rows counted.
    pub tables: Vec<TableSummary>,
    /// Checksum and length of D.
    pub totals: DataTotals,
    /// How long it took.
    pub took: Duration,
}

impl Draft {
    /// Rows of all tables.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

/// Why nothing could be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The database refused or failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The spool failed.
    #[error("the backup cannot be written")]
    Spool(#[from] SpoolError),
    /// The codec failed.
    #[error("the backup cannot be encoded")]
    Format(#[from] FormatError),
    /// The encoding thread ended before its time.
    #[error("the work was stopped")]
    Interrupted,
}

impl Explain for PackError {
    fn code(&self) -> Code {
        match self {
            Self::Database(error) => error.code(),
            Self::Spool(error) => error.code(),
            Self::Format(error) => error.code(),
            Self::Interrupted => Code::INTERRUPTED,
        }
    }
}

/// What the encoding thread is given.
enum Piece {
    Table(TableName),
    Rows(RowBatch),
}

/// The tables of a schema that sync, parents before children, as they will stand in D.
#[must_use]
pub fn tables_in_order(schema: &Schema) -> Vec<TableName> {
    parents_first(schema.syncable()).into_iter().flat_map(|group| group.tables).collect()
}

/// Packs all tables that sync. `restrict` says which ones the settings leave out.
///
/// # Errors
/// Where a row cannot be carried, or database or disk fail. What was written is removed then.
pub async fn pack(
    database: &dyn Database,
    restrict: &(dyn Fn(Schema) -> Schema + Sync),
    spool: &dyn Spool,
    data_file: BackupId,
    codec: Codec,
    mut reporter: Reporter,
) -> Result<Draft, PackError> {
    let watch = Stopwatch::start();
    let file = SpoolFile::Data(data_file);
    let mut snapshot = database.snapshot().await?;
    let schema = restrict(snapshot.schema().clone());
    let estimated = schema.syncable().map(|table| table.rows_estimated).sum();
    reporter = reporter.of_total(Some(estimated), None);
    let (to_encoder, from_reader) = mpsc::channel(QUEUE_BATCHES);
    let (to_writer, from_encoder) = mpsc::channel(QUEUE_BATCHES);
    let encoding = tokio::task::spawn_blocking(move || encode(codec, from_reader, &to_writer));
    let reading = read_tables(snapshot.as_mut(), &schema, to_encoder, &mut reporter);
    let writing = write_frame(spool, &file, from_encoder);
    let (read, encoded, written) = tokio::join!(reading, encoding, writing);
    let finished = finish(read, encoded, written);
    let (tables, totals, data_frame_bytes) = match finished {
        Ok(finished) => finished,
        Err(error) => {
            spool.remove(&file).await?;
            return Err(error);
        }
    };
    snapshot.close().await?;
    let draft = Draft { data_file, data_frame_bytes, codec, tables, totals, took: watch.elapsed() };
    reporter.end(format!("{} rows of {} tables packed", draft.record_count(), draft.tables.len()));
    Ok(draft)
}

/// The first cause: a reader that fails ends the encoder, and a writer that fails ends both.
fn finish(
    read: Result<Vec<TableSummary>, PackError>,
    encoded: Result<Result<DataTotals, PackError>, tokio::task::JoinError>,
    written: Result<u64, PackError>,
) -> Result<(Vec<TableSummary>, DataTotals, u64), PackError> {
    let encoded = encoded.map_err(|_| PackError::Interrupted).and_then(|encoded| encoded);
    match (read, encoded, written) {
        (Ok(tables), Ok(totals), Ok(bytes)) => Ok((tables, totals, bytes)),
        (Err(error), _, _) if !matches!(error, PackError::Interrupted) => Err(error),
        (_, Err(error), _) if !matches!(error, PackError::Interrupted) => Err(error),
        (_, _, Err(error)) => Err(error),
        _ => Err(PackError::Interrupted),
    }
}

async fn read_tables(
    snapshot: &mut dyn Snapshot,
    schema: &Schema,
    to_encoder: mpsc::Sender<Piece>,
    reporter: &mut Reporter,
) -> Result<Vec<TableSummary>, PackError> {
    let mut summaries = Vec::new();
    for name in tables_in_order(schema) {
        let Some(table) = schema.table(&name) else { continue };
        let mut summary = TableSummary::of(table);
        snapshot.open(&name).await?;
        to_encoder.send(Piece::Table(name)).await.map_err(|_| PackError::Interrupted)?;
        while let Some(batch) = snapshot.next().await? {
            summary.rows += batch.rows;
            reporter.add(batch.rows, batch.lines.len() as u64);
            to_encoder.send(Piece::Rows(batch)).await.map_err(|_| PackError::Interrupted)?;
        }
        summaries.push(summary);
    }
    Ok(summaries)
}

/// Runs on a thread of its own; ends when the reader is done, or when nobody takes what it makes.
fn encode(
    codec: Codec,
    mut from_reader: mpsc::Receiver<Piece>,
    to_writer: &mpsc::Sender<Vec<u8>>,
) -> Result<DataTotals, PackError> {
    let mut encoder = DataEncoder::default();
    let mut compressor = Compressor::new(codec)?;
    let (mut plain, mut frame) = (Vec::new(), Vec::new());
    while let Some(piece) = from_reader.blocking_recv() {
        match piece {
            Piece::Table(name) => encoder.table(&name, &mut plain),
            Piece::Rows(batch) => encoder.rows(&batch, &mut plain)?,
        }
        compressor.write(&plain, &mut frame)?;
        plain.clear();
        if frame.len() >= WRITE_BYTES {
            to_writer.blocking_send(std::mem::take(&mut frame)).map_err(|_| PackError::Interrupted)?;
        }
    }
    let totals = encoder.finish(&mut plain);
    compressor.write(&plain, &mut frame)?;
    compressor.finish(&mut frame)?;
    to_writer.blocking_send(frame).map_err(|_| PackError::Interrupted)?;
    Ok(totals)
}

async fn write_frame(
    spool: &dyn Spool,
    file: &SpoolFile,
    mut from_encoder: mpsc::Receiver<Vec<u8>>,
) -> Result<u64, PackError> {
    let mut writer = spool.open_append(file).await?;
    // A name is never used twice, but a torn write of an earlier attempt would be the head of this frame.
    writer.truncate(0).await?;
    while let Some(bytes) = from_encoder.recv().await {
        writer.write(&bytes).await?;
    }
    writer.sync().await?;
    Ok(writer.len())
}
