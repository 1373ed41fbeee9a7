//! A backup with versions, held in memory: what one position brought to one peer.
//!
//! Each that is packed is checked by itself: its lines are counted as they are, no key stands twice, no version is
//! later than the position, and each is one that the plan takes.

use std::collections::BTreeSet;

use branchline_core::backup::v1::{Deletion, RowMark, RowReader};
use branchline_core::backup::{BackupType, RowBatch, TableSummary};
use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, Sequence, ServerId};
use branchline_core::limits::BATCH_BYTES;
use branchline_core::pack::{PackPlan, Position, Selection};
use branchline_core::ports::{
    Apply, ApplyRequest, Changes, Database, DatabaseError, MergeContext, MergeReport, OnError, TableMerge,
};
use branchline_core::schema::parents_first;
use branchline_core::version::{ChangeTime, Version};

use super::super::backup::table_name;
use super::super::worked;
use crate::state::at;

/// Changes that one server packed for another.
#[derive(Debug, Clone)]
pub struct CarriedBackup {
    /// What is asked of the target.
    pub request: ApplyRequest,
    /// Rows, each batch with the place of its table.
    pub batches: Vec<(usize, RowBatch)>,
    /// The position it was read at.
    pub position: Position,
}

/// One line of a backup.
#[derive(Debug, Clone, PartialEq)]
pub struct CarriedRow {
    /// Its version, that of the base of its table where it has none of its own.
    pub version: Version,
    /// Whether it is a deletion.
    pub is_deletion: bool,
    /// Whether it is one of a row that left what the two servers share.
    pub is_leaving: bool,
    /// Its key, as text.
    pub key: String,
    /// Its line.
    pub line: String,
}

impl CarriedBackup {
    /// Reads what `plan` takes of a position, tables in the order of their foreign keys.
    pub async fn read(
        mut changes: Box<dyn Changes>,
        plan: &PackPlan,
        source: &ServerId,
        target: &ServerId,
        sequence: u64,
    ) -> Self {
        let position = changes.position().clone();
        let found = worked(changes.tables(plan).await);
        let schema = changes.schema().clone();
        let chosen = found.iter().map(|with| schema.table(&with.table).expect("a table of the catalogue"));
        let order: Vec<_> = parents_first(chosen).into_iter().flat_map(|group| group.tables).collect();
        assert_eq!(order.len(), found.len(), "a table stands twice: {found:?}");
        let (mut tables, mut batches) = (Vec::new(), Vec::new());
        for (place, name) in order.iter().enumerate() {
            let with = found.iter().find(|with| with.table == *name).expect("a table that was named");
            let mut summary = TableSummary::of(schema.table(name).expect("a table of the catalogue"));
            summary.base = Some(with.base.clone());
            summary.filtered = with.filtered;
            worked(changes.open(name, plan).await);
            while let Some(batch) = worked(changes.next().await) {
                summary.rows += batch.rows - batch.deletions;
                summary.deletions += batch.deletions;
                summary.versioned |= batch.versioned > 0;
                batches.push((place, batch));
            }
            tables.push(summary);
        }
        worked(changes.close().await);
        let request = request(&position, plan, source, target, sequence, tables, &batches);
        let backup = Self { request, batches, position };
        backup.check(plan);
        backup
    }

    /// Checks what holds of every pack.
    fn check(&self, plan: &PackPlan) {
        for (_, batch) in &self.batches {
            assert_eq!(batch.objects().count() as u64, batch.rows);
            assert!(batch.lines.len() <= BATCH_BYTES || batch.rows == 1, "{} bytes", batch.lines.len());
        }
        for summary in &self.request.tables {
            let name = summary.name.as_str();
            let rows = self.rows_of(name);
            let deletions = rows.iter().filter(|row| row.is_deletion).count() as u64;
            assert_eq!(
                (rows.len() as u64 - deletions, deletions),
                (summary.rows, summary.deletions),
                "{name}"
            );
            let keys: BTreeSet<_> = rows.iter().map(|row| &row.key).collect();
            assert_eq!(keys.len(), rows.len(), "a key of {name} travels twice");
            let is_in_scope = plan.scope.as_ref().is_some_and(|to| to.scope.of(&summary.name).is_some());
            assert!(summary.filtered || !is_in_scope, "{name} does not say that rows are kept back");
            for row in &rows {
                let version = &row.version;
                let follows = is_in_scope && (row.is_deletion || plan.gets(&version.dot.life));
                let is_taken = follows || (plan.takes(version) && !row.is_leaving);
                assert!(is_taken, "{name} {}: {version:?} is not for this peer", row.line);
                assert!(version.time <= self.position.clock, "{name} {}: later than the clock", row.line);
                let is_ours = version.dot.life == self.position.own;
                assert!(
                    !is_ours || version.dot.generation <= self.position.generation,
                    "{name} {}",
                    row.line
                );
            }
        }
    }

    /// The lines of a table; none where the table is not in it.
    #[must_use]
    pub fn rows_of(&self, table: &str) -> Vec<CarriedRow> {
        let Some(place) = self.place_of(table) else {
            return Vec::new();
        };
        let summary = &self.request.tables[place];
        let reader = RowReader::new(&summary.name, &summary.columns);
        let key: Vec<usize> = summary
            .key
            .iter()
            .map(|name| {
                summary.columns.iter().position(|column| column.name == *name).expect("a key's column")
            })
            .collect();
        let batches = self.batches.iter().filter(|(of, _)| *of == place);
        let mut values = Vec::new();
        let mut rows = Vec::new();
        for object in batches.flat_map(|(_, batch)| batch.objects()) {
            let line = String::from_utf8_lossy(object).into_owned();
            let mark: RowMark = reader
                .read_marked(object, rows.len() as u64 + 1, &key, &mut values)
                .unwrap_or_else(|error| panic!("{line}: {error}"));
            let base = || Version::base(summary.base.clone().expect("the life of the base"));
            rows.push(CarriedRow {
                version: mark.version.clone().unwrap_or_else(base),
                is_deletion: mark.deletion.is_some(),
                is_leaving: mark.deletion == Some(Deletion::OutOfScope),
                key: format!("{:?}", key.iter().map(|&place| &values[place]).collect::<Vec<_>>()),
                line,
            });
        }
        rows
    }

    /// How many rows and how many deletions of a table it brings.
    #[must_use]
    pub fn count(&self, table: &str) -> (u64, u64) {
        let found = self.place_of(table).map(|place| &self.request.tables[place]);
        found.map_or((0, 0), |summary| (summary.rows, summary.deletions))
    }

    /// How many rows of a table it takes out because they left what the two servers share.
    #[must_use]
    pub fn leaving(&self, table: &str) -> usize {
        self.rows_of(table).iter().filter(|row| row.is_leaving).count()
    }

    /// Whether it says of a table that rows may be kept back.
    #[must_use]
    pub fn is_filtered(&self, table: &str) -> bool {
        self.place_of(table).is_some_and(|place| self.request.tables[place].filtered)
    }

    /// How many lines it brings.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.batches.iter().map(|(_, batch)| batch.rows).sum()
    }

    /// What it says of its context.
    ///
    /// # Panics
    /// Never for one that was packed.
    #[must_use]
    pub fn context(&self) -> &MergeContext {
        self.request.context.as_ref().expect("a backup of captured changes")
    }

    /// The same rows, as another backup: a file that comes a second time by another way.
    #[must_use]
    pub fn again(mut self, sequence: u64) -> Self {
        self.request.sequence = Sequence::new(sequence);
        self.request.backup = backup_of(&format!("again {} {sequence}", self.request.source));
        self
    }

    /// As if the source's clock had been ahead by so many microseconds.
    #[must_use]
    pub fn with_clock_ahead(mut self, micros: u64) -> Self {
        let times: BTreeSet<_> = self
            .request
            .tables
            .iter()
            .flat_map(|summary| self.rows_of(summary.name.as_str()))
            .map(|row| row.version.time.micros())
            .filter(|time| *time > 0)
            .collect();
        for (_, batch) in &mut self.batches {
            let mut lines = String::from_utf8_lossy(&batch.lines).into_owned();
            for time in &times {
                lines = lines.replace(&format!(",{time}]"), &format!(",{}]", time + micros));
            }
            batch.lines = lines.into_bytes();
        }
        if let Some(context) = &mut self.request.context {
            context.clock = ChangeTime::from_micros(context.clock.micros() + micros);
        }
        self
    }

    /// To be refused as a whole where a row cannot go in.
    #[must_use]
    pub fn rejecting(mut self) -> Self {
        self.request.on_error = OnError::Reject;
        self
    }

    /// Opens a session and stages all rows.
    ///
    /// # Errors
    /// What the target refuses.
    pub async fn staged(&self, target: &dyn Database) -> Result<Box<dyn Apply>, DatabaseError> {
        let mut apply = target.begin_apply(self.request.clone()).await?;
        for (place, batch) in &self.batches {
            apply.stage(*place, batch.clone()).await?;
        }
        Ok(apply)
    }

    /// Applies it, receipt and commit included.
    ///
    /// # Errors
    /// What the target refuses.
    pub async fn apply(&self, target: &dyn Database) -> Result<MergeReport, DatabaseError> {
        let mut apply = self.staged(target).await?;
        let report = apply.merge().await?;
        apply.record(b"receipt", at(1)).await?;
        apply.commit().await?;
        Ok(report)
    }

    /// What the report says of one table; nothing but zeros where the backup does not hold it.
    #[must_use]
    pub fn merged(&self, report: &MergeReport, table: &str) -> TableMerge {
        self.place_of(table).map_or(TableMerge::default(), |place| report.tables[place])
    }

    /// What the report says of all tables together.
    #[must_use]
    pub fn merged_in_all(&self, report: &MergeReport) -> TableMerge {
        let add = |sum: TableMerge, one: &TableMerge| TableMerge {
            inserted: sum.inserted + one.inserted,
            updated: sum.updated + one.updated,
            unchanged: sum.unchanged + one.unchanged,
            deleted: sum.deleted + one.deleted,
            superseded: sum.superseded + one.superseded,
            conflicts: sum.conflicts + one.conflicts,
            held: sum.held + one.held,
        };
        report.tables.iter().fold(TableMerge::default(), add)
    }

    fn place_of(&self, table: &str) -> Option<usize> {
        let name = table_name(table);
        self.request.tables.iter().position(|summary| summary.name == name)
    }
}

fn request(
    position: &Position,
    plan: &PackPlan,
    source: &ServerId,
    target: &ServerId,
    sequence: u64,
    tables: Vec<TableSummary>,
    batches: &[(usize, RowBatch)],
) -> ApplyRequest {
    let name = format!("{} {target} {sequence}", position.own);
    let mut data = name.clone().into_bytes();
    data.extend(batches.iter().flat_map(|(_, batch)| batch.lines.iter().copied()));
    let full = plan.selection == Selection::Full;
    ApplyRequest {
        backup: backup_of(&name),
        source: source.clone(),
        backup_type: if full { BackupType::Full } else { BackupType::Incremental },
        epoch: position.own.epoch,
        generation: position.generation,
        sequence: Sequence::new(sequence),
        checksum: Digest::of(&data),
        tables,
        mirror: false,
        metadata: Digest::of(name.as_bytes()),
        context: Some(MergeContext {
            knowledge: position.knowledge.clone(),
            covers: plan.covers.clone(),
            purged: position.purged.clone(),
            clock: position.clock,
            day: None,
        }),
        on_error: OnError::Hold,
    }
}

/// The id of a backup that is told from others by that text.
fn backup_of(text: &str) -> BackupId {
    let digest = Digest::of(text.as_bytes());
    let mut entropy = [0; 10];
    entropy.copy_from_slice(&digest.as_bytes()[..10]);
    BackupId::from_parts(at(0), entropy)
}
