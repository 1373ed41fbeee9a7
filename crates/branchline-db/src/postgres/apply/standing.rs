//! What the ledger says when a merge by versions begins: who we are, what we hold, and how the backup's tables stand.
//!
//! Read under the ledger lock, so that it holds until the commit. The lives that the backup names get their numbers here.

use branchline_core::backup::{BackupType, TableSummary};
use branchline_core::id::ServerId;
use branchline_core::knowledge::Knowledge;
use branchline_core::merge::{LocalRow, Parties, Verdict, decide};
use branchline_core::ports::{ApplyRequest, DatabaseError, MergeContext};
use branchline_core::version::{Life, Version};

use super::Target;
use super::mark::StagedLives;
use crate::postgres::capture::key::Key;
use crate::postgres::ledger::captured::Captured;
use crate::postgres::ledger::{Lives, Meta, captured, knowledge};
use crate::postgres::session::Session;

const UNTOUCHED: &str = "
    SELECT NOT EXISTS (SELECT FROM branchline.version WHERE table_id = $1)
       AND NOT EXISTS (SELECT FROM branchline.change WHERE table_id = $1)";

/// How this database stands to a backup.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) meta: Meta,
    pub(crate) parties: Parties,
    pub(crate) context: MergeContext,
    pub(crate) lives: Lives,
    /// All tables whose changes are captured here.
    pub(crate) captured: Vec<Captured>,
    /// Tells the classes of this pass from those of others.
    pub(crate) pass: usize,
    /// For each table of the pass, in its order: how it is captured here, where it is.
    pub(crate) tables: Vec<Option<Watched>>,
}

/// A table of the backup whose changes are captured here.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) id: i32,
    pub(crate) key: Key,
    /// The life whose base our unversioned rows are.
    pub(crate) base: Life,
    /// The life whose base the backup's unversioned rows are; nothing where the source does not capture the table.
    pub(crate) theirs: Option<Life>,
    /// Whether rows that are absent from the backup were deleted at its source, or never there.
    pub(crate) is_whole: bool,
    /// Whether a filter keeps rows of it back where they come from, now or before.
    pub(crate) in_part: bool,
    /// Whether filters here keep rows of it from the source.
    pub(crate) is_kept_back: bool,
}

impl Standing {
    /// Reads it; nothing where no changes are captured here, or the backup has no versions.
    pub(crate) async fn read(
        session: &Session,
        request: &ApplyRequest,
        tables: &[Target],
    ) -> Result<Option<Self>, DatabaseError> {
        let Some(context) = request.context.clone() else { return Ok(None) };
        let meta = Meta::read(session).await?;
        let Some(own) = meta.own() else { return Ok(None) };
        let mut lives = Lives::read(session).await?;
        let mut named: Vec<Life> = request.tables.iter().filter_map(|summary| summary.base.clone()).collect();
        for knowledge in [&context.knowledge, &context.covers, &context.purged] {
            named.extend(knowledge.iter().map(|(life, _)| life.clone()));
        }
        lives.add(session, &named).await?;
        let captured = captured::read(session, &lives).await?;
        let watched = |(target, summary): (&Target, &TableSummary)| {
            let known = captured.iter().find(|known| known.name == target.table.name)?;
            Watched::of(known, target, summary, request.backup_type, &request.source)
        };
        let ours = knowledge::held(session, &lives).await?;
        let purged = knowledge::purged(session, &lives).await?;
        let parties = Parties::new(own, ours, context.knowledge.clone(), &purged, &context.purged);
        let tables = tables.iter().zip(&request.tables).map(watched).collect();
        Ok(Some(Self { meta, parties, context, lives, captured, pass: 0, tables }))
    }

    /// Turns to the tables of another pass.
    pub(crate) fn watch(&mut self, tables: &[Target], source: &ServerId) -> Result<(), DatabaseError> {
        self.pass = tables.first().map_or(0, |target| target.slot);
        let mut watched = Vec::with_capacity(tables.len());
        for target in tables {
            let known = self.captured.iter().find(|known| known.name == target.table.name);
            let increment = BackupType::Incremental;
            watched.push(known.and_then(|known| Watched::of(known, target, &target.came, increment, source)));
        }
        self.tables = watched;
        Ok(())
    }

    /// Gives numbers to the lives that staged versions name; answers them in the order of the stage.
    pub(crate) async fn number(
        &mut self,
        session: &Session,
        staged: &StagedLives,
    ) -> Result<Vec<i32>, DatabaseError> {
        self.lives.add(session, staged.all()).await?;
        staged.all().iter().map(|life| self.lives.known(life)).collect()
    }

    /// Whether all rows of a table may simply be filled in, where it is empty: they are of a base that goes in whole.
    pub(crate) async fn takes_all(
        &self,
        session: &Session,
        place: usize,
        summary: &TableSummary,
    ) -> Result<bool, DatabaseError> {
        let Some(Some(watched)) = self.tables.get(place) else { return Ok(summary.deletions == 0) };
        if watched.is_kept_back {
            // What the source has is put on record row by row.
            return Ok(false);
        }
        let (Some(base), false, 0) = (&watched.theirs, summary.versioned, summary.deletions) else {
            return Ok(false);
        };
        let incoming = Version::base(base.clone());
        let verdict = decide(&incoming, &LocalRow::default(), &watched.base, &self.parties);
        Ok(verdict == Verdict::Take && session.row_kept(UNTOUCHED, &[&watched.id]).await?.get::<_, bool>(0))
    }
}

/// All that is held here, where changes are captured.
pub(crate) async fn knowledge_here(session: &Session) -> Result<Option<Knowledge>, DatabaseError> {
    if Meta::read(session).await?.server.is_none() {
        return Ok(None);
    }
    let lives = Lives::read(session).await?;
    knowledge::held(session, &lives).await.map(Some)
}

impl Watched {
    fn of(
        known: &Captured,
        target: &Target,
        summary: &TableSummary,
        backup_type: BackupType,
        source: &ServerId,
    ) -> Option<Self> {
        let is_kept_back = known.kept_from.iter().any(|peer| peer == source.as_str());
        Some(Self {
            id: known.id,
            key: Key::of(&target.table, &target.relation).ok()?,
            base: known.base.clone(),
            theirs: summary.base.clone(),
            // What was kept from the source it cannot have deleted, whatever it says.
            is_whole: backup_type == BackupType::Full
                && !summary.filtered
                && !is_kept_back
                && summary.base.is_some(),
            in_part: known.in_part || summary.filtered,
            is_kept_back,
        })
    }
}
