//! One pass: staged rows of one source, decided, held or brought in.
//!
//! A backup is one pass; rows that were held before and are tried again are passes of their own after it, one for each
//! backup that brought them ([`super::releases`]). All passes of an apply share the tables of facts and verdicts; the
//! slot of a table tells its rows apart there.

use branchline_core::id::{BackupId, ServerId};
use branchline_core::ports::{DatabaseError, HeldReport, OnError, TableMerge};
use branchline_core::schema::{TableGroup, parents_first};

use super::cascades::{self, Cascades};
use super::facts::{self, Subject};
use super::mark::StagedLives;
use super::standing::Standing;
use super::triggers::Triggers;
use super::unique_swap::Leaving;
use super::{Target, absence, conflicts, deletions, holds, merge, mirror, unique_swap, verdicts, versions};
use crate::postgres::ledger::scope;
use crate::postgres::schema::Catalogue;
use crate::postgres::session::Session;

/// What is merged, and whose it is.
pub(crate) struct Pass<'a> {
    pub(crate) session: &'a Session,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) tables: &'a [Target],
    pub(crate) origin: Origin,
    pub(crate) lives: &'a StagedLives,
    pub(crate) care: Care,
}

/// Which backup brought the rows.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) backup: BackupId,
    pub(crate) source: ServerId,
    pub(crate) mirror: bool,
    pub(crate) on_error: OnError,
    /// Whether these rows were held before.
    pub(crate) held_before: bool,
}

/// How much is looked up before rows go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Care {
    /// Only what would not end in an error: the database finds the rest.
    Trusting,
    /// Whatever a row could break of foreign and unique keys.
    Looking,
}

impl Pass<'_> {
    /// Runs it. `counts` are of its tables; what is held of them is answered.
    pub(crate) async fn run(
        &self,
        mut standing: Option<&mut Standing>,
        counts: &mut [TableMerge],
    ) -> Result<Vec<HeldReport>, DatabaseError> {
        let Self { session, tables, .. } = self;
        let mut held = Vec::new();
        let leaving = match standing.as_deref_mut() {
            Some(standing) => self.decide(standing, counts, &mut held).await?,
            None => {
                let leaving = deletions::list_staged(session, tables, |_| false).await?;
                // A mirror removes what the stage does not hold, deletions of the backup among it.
                if self.origin.mirror { vec![Leaving::Absent; tables.len()] } else { leaving }
            }
        };
        let staged_deletions = deletions::count(session, &leaving, tables, counts).await?;
        let groups = parents_first(
            tables.iter().filter(|target| target.staged().is_some()).map(|target| &target.table),
        );
        let followed = self.upsert(&groups, &leaving, standing.is_some(), counts).await?;
        for group in groups.iter().rev() {
            let members = merge::members(tables, group);
            followed.announce(session, &members).await?;
            deletions::remove(session, &members, &leaving, &staged_deletions, counts).await?;
        }
        if self.origin.mirror && standing.is_none() {
            mirror::check(session, self.catalogue, tables).await?;
            for group in groups.iter().rev() {
                mirror::remove(session, &merge::members(tables, group), counts).await?;
            }
        }
        if let Some(standing) = standing {
            versions::write(session, tables).await?;
            if standing.tables.iter().flatten().any(|watched| watched.is_kept_back) {
                scope::note_source(session, &self.origin.source, tables).await?;
            }
        }
        Ok(held)
    }

    async fn upsert(
        &self,
        groups: &[TableGroup],
        leaving: &[Leaving],
        by_versions: bool,
        counts: &mut [TableMerge],
    ) -> Result<Cascades, DatabaseError> {
        let Self { session, tables, .. } = self;
        let oids: Vec<u32> = tables.iter().map(|target| target.relation.oid).collect();
        let triggers = Triggers::read(session, &oids).await?;
        let followed = if by_versions { cascades::read(session, &oids).await? } else { Cascades::default() };
        for group in groups {
            let members = merge::members(tables, group);
            followed.announce(session, &members).await?;
            unique_swap::park(session, &members, leaving, counts).await?;
            merge::group(session, &members, &triggers, counts).await?;
        }
        Ok(followed)
    }

    /// Decides what of the stage goes in, where versions decide; answers which rows of each table go away.
    async fn decide(
        &self,
        standing: &mut Standing,
        counts: &mut [TableMerge],
        held: &mut Vec<HeldReport>,
    ) -> Result<Vec<Leaving>, DatabaseError> {
        let Self { session, tables, .. } = self;
        if self.origin.mirror {
            mirror::check(session, self.catalogue, tables).await?;
        }
        if !self.origin.held_before {
            let empty = versions::empty_tables(session, tables).await?;
            versions::adopt_bases(session, standing, &empty).await?;
            versions::mark_parts(session, standing).await?;
        }
        let lives = standing.number(session, self.lives).await?;
        let subjects = facts::subjects(standing, tables);
        facts::gather(session, standing, &subjects, &lives).await?;
        verdicts::decide_all(session, standing, &subjects, self.origin.held_before).await?;
        if !self.origin.held_before {
            holds::decide_beside(session, standing, &subjects, &self.origin).await?;
            holds::turn_into_deletions(session, standing, &subjects).await?;
        }
        let conflicts = verdicts::count(session, tables, counts).await?;
        if conflicts > 0 {
            conflicts::record(session, &self.origin, &subjects).await?;
        }
        verdicts::drop_losers(session, &subjects).await?;
        let leaving = deletions::list_staged(session, tables, |place| is_whole(&subjects, place)).await?;
        absence::list_removals(session, standing, &subjects, self.origin.mirror).await?;
        if self.origin.on_error == OnError::Hold {
            *held = holds::hold(self, standing, &subjects, &leaving, counts).await?;
        }
        Ok(leaving)
    }
}

fn is_whole(subjects: &[Subject<'_>], place: usize) -> bool {
    subjects.iter().any(|subject| subject.place == place && subject.watched.is_whole)
}
