//! Packs: reads rows of one moment, and writes D as a compressed frame to the spool.
//!
//! Where changes are captured, the moment is a position, and a plan says which rows go: those that the peer lacks, or all
//! ([`pack_changes`]). Where they are not, every row of the tables that sync goes ([`pack`]).
//!
//! Three things run side by side, joined by short queues, so that the database, the codec and the disk all work:
//! the snapshot gives batches; one thread encodes, hashes and compresses; the frame goes to the spool. Memory is
//! bounded by the queues: 8 batches of 256 KiB, and as much of the frame.
//!
//! Parents stand before children. In a full backup every table stands, in an increment those that have something, and those of
//! which a peer does not know yet that filters keep rows of them back.

use std::collections::BTreeMap;
use std::time::Duration;

use branchline_core::backup::v1::compression::Compressor;
use branchline_core::backup::v1::{DataEncoder, DataTotals, FormatError};
use branchline_core::backup::{Codec, RowBatch, TableSummary};
use branchline_core::code::{Code, Explain};
use branchline_core::id::BackupId;
use branchline_core::pack::{PackPlan, Position, Selection};
use branchline_core::ports::{
    Changes, Database, DatabaseError, Snapshot, Spool, SpoolError, SpoolFile, TableChanges,
};
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
    /// The position and the plan that it was packed by; nothing where changes are not captured.
    pub packed: Option<(Position, PackPlan)>,
    /// How long it took.
    pub took: Duration,
}

impl Draft {
    /// Rows and deletions of all tables.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.tables.iter().map(|table| table.rows + table.deletions).sum()
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

/// Where a draft goes, and how it is written.
pub struct Destination<'a> {
    /// Where its file is.
    pub spool: &'a dyn Spool,
    /// The file's name.
    pub data_file: BackupId,
    /// How it is compressed.
    pub codec: Codec,
}

/// Packs all tables that sync, of a database whose changes are not captured. `restrict` says which ones the settings
/// leave out.
///
/// # Errors
/// Where a row cannot be carried, or database or disk fail. What was written is removed then.
pub async fn pack(
    database: &dyn Database,
    restrict: &(dyn Fn(Schema) -> Schema + Sync),
    destination: Destination<'_>,
    reporter: Reporter,
) -> Result<Draft, PackError> {
    let mut snapshot = database.snapshot().await?;
    let schema = restrict(snapshot.schema().clone());
    let estimated = schema.syncable().map(|table| table.rows_estimated).sum();
    let summaries: Vec<_> =
        tables_in_order(&schema).iter().filter_map(|name| schema.table(name)).map(TableSummary::of).collect();
    let mut rows = Rows { source: Source::Snapshot(snapshot.as_mut()), tables: summaries, keep_empty: true };
    let draft = write_draft(&mut rows, destination, reporter.of_total(Some(estimated), None)).await?;
    snapshot.close().await?;
    Ok(draft)
}

/// Packs what a plan takes, at a position that was taken.
///
/// # Errors
/// As above.
pub async fn pack_changes(
    changes: &mut dyn Changes,
    plan: &PackPlan,
    restrict: &(dyn Fn(Schema) -> Schema + Sync),
    destination: Destination<'_>,
    mut reporter: Reporter,
) -> Result<Draft, PackError> {
    let position = changes.position().clone();
    let schema = restrict(changes.schema().clone());
    let full = plan.selection == Selection::Full;
    if full {
        let estimated = schema.syncable().map(|table| table.rows_estimated).sum();
        reporter = reporter.of_total(Some(estimated), None);
    }
    let found = changes.tables(plan).await?.into_iter();
    let mut found: BTreeMap<TableName, TableChanges> =
        found.map(|table| (table.table.clone(), table)).collect();
    let summary = |name: &TableName| {
        let TableChanges { base, filtered, .. } = found.remove(name)?;
        Some(TableSummary { base: Some(base), filtered, ..TableSummary::of(schema.table(name)?) })
    };
    let summaries = tables_in_order(&schema).iter().filter_map(summary).collect();
    let mut rows = Rows { source: Source::Changes(changes, plan), tables: summaries, keep_empty: full };
    let draft = write_draft(&mut rows, destination, reporter).await?;
    Ok(Draft { packed: Some((position, plan.clone())), ..draft })
}

/// What is read, table by table.
struct Rows<'a> {
    source: Source<'a>,
    tables: Vec<TableSummary>,
    /// Whether tables without rows stand in D too.
    keep_empty: bool,
}

enum Source<'a> {
    Snapshot(&'a mut dyn Snapshot),
    Changes(&'a mut dyn Changes, &'a PackPlan),
}

impl Source<'_> {
    async fn open(&mut self, table: &TableName) -> Result<(), DatabaseError> {
        match self {
            Self::Snapshot(snapshot) => snapshot.open(table).await,
            Self::Changes(changes, plan) => changes.open(table, plan).await,
        }
    }

    async fn next(&mut self) -> Result<Option<RowBatch>, DatabaseError> {
        match self {
            Self::Snapshot(snapshot) => snapshot.next().await,
            Self::Changes(changes, _) => changes.next().await,
        }
    }
}

async fn write_draft(
    rows: &mut Rows<'_>,
    destination: Destination<'_>,
    mut reporter: Reporter,
) -> Result<Draft, PackError> {
    let watch = Stopwatch::start();
    let Destination { spool, data_file, codec } = destination;
    let file = SpoolFile::Data(data_file);
    let (to_encoder, from_reader) = mpsc::channel(QUEUE_BATCHES);
    let (to_writer, from_encoder) = mpsc::channel(QUEUE_BATCHES);
    let encoding = tokio::task::spawn_blocking(move || encode(codec, from_reader, &to_writer));
    let reading = read_tables(rows, to_encoder, &mut reporter);
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
    let took = watch.elapsed();
    let draft = Draft { data_file, data_frame_bytes, codec, tables, totals, packed: None, took };
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
    rows: &mut Rows<'_>,
    to_encoder: mpsc::Sender<Piece>,
    reporter: &mut Reporter,
) -> Result<Vec<TableSummary>, PackError> {
    let give = async |piece| to_encoder.send(piece).await.map_err(|_| PackError::Interrupted);
    let mut summaries = Vec::new();
    for mut summary in std::mem::take(&mut rows.tables) {
        rows.source.open(&summary.name).await?;
        // That rows of a table are kept back is told also where none of it goes.
        let mut begun = rows.keep_empty || summary.filtered;
        if begun {
            give(Piece::Table(summary.name.clone())).await?;
        }
        while let Some(batch) = rows.source.next().await? {
            if !begun && batch.rows > 0 {
                give(Piece::Table(summary.name.clone())).await?;
                begun = true;
            }
            summary.rows += batch.rows - batch.deletions;
            summary.deletions += batch.deletions;
            summary.versioned |= batch.versioned > 0;
            reporter.add(batch.rows, batch.lines.len() as u64);
            give(Piece::Rows(batch)).await?;
        }
        if begun {
            summaries.push(summary);
        }
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
