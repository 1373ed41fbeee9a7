//! New backups of a sync: what each peer gets, packed once for all that get the same.
//!
//! Where changes are captured:
//!
//! 1. The database is held against what is remembered of it and what the peers hold of it (`attach`).
//! 2. A position is taken: all changes that it shows get this server's next generation.
//! 3. For each peer the core plans what it lacks. It is everything where its chain starts anew, where a person wants that,
//!    or where it may lack a deletion that is gone; it is nothing where it is in step.
//! 4. Each plan is packed once, sealed for each of its peers, and queued together with what the database was.

use branchline_core::backup::BackupType;
use branchline_core::code::{Code, Explain};
use branchline_core::day::BusinessDay;
use branchline_core::id::{Epoch, Sequence};
use branchline_core::lineage::Remembered;
use branchline_core::pack::{PackPlan, Position, ScopedPeer, Selection, plan_pack};
use branchline_core::peer::Peer;
use branchline_core::ports::{Changes, Ledger, OutboxEntry, OutboxState};
use branchline_core::schema::Schema;
use branchline_core::standing::ChainEnd;

use super::outcome::{outcome, stage};
use super::{Target, Wish};
use crate::api::v1::Problem;
use crate::node::Node;
use crate::node::attach::{Heard, Taken};
use crate::node::clock::{Stopwatch, backup_id, now, wall_clock};
use crate::node::progress::{ProgressSink, Reporter};
use crate::stages::pack::{Destination, Draft, pack, pack_changes};
use crate::stages::queue::queue;
use crate::stages::seal::{Addressed, Sealed, seal};

/// How far beyond our own memory a peer's word about our chain is believed: a lost state must not lose its place.
const SEQUENCES_BELIEVED: u64 = 1_000_000;

/// What a peer gets.
struct Planned {
    plan: PackPlan,
    /// The backup that an increment follows.
    previous: Option<ChainEnd>,
    /// The epoch of its database, where it captures changes.
    target_epoch: Option<Epoch>,
    /// Whether its filters are others than when it last acknowledged a backup: then there may be something for it though
    /// no version is new to it. A parent that comes into scope or leaves it has a new version itself.
    is_rescoped: bool,
}

/// The moment of a position.
struct At {
    position: Position,
    schema: Schema,
}

impl At {
    fn of(changes: &dyn Changes) -> Self {
        Self { position: changes.position().clone(), schema: changes.schema().clone() }
    }
}

/// What of a backup depends on its peer.
struct Place {
    last_applied: Option<(Epoch, Sequence)>,
    previous: Option<ChainEnd>,
    target_epoch: Option<Epoch>,
    mirror: bool,
    day: Option<BusinessDay>,
}

impl Node {
    /// Packs, seals and queues for each peer that has nothing waiting.
    pub(super) async fn queue_new(
        &self,
        targets: &mut [Target],
        wish: Wish,
        progress: &ProgressSink,
    ) -> Result<(), Problem> {
        if let Some(target) = targets.iter().find(|target| wish.mirror && target.resumed) {
            let message = format!(
                "a backup waits for {} already, and it asks for nothing to be removed",
                target.peer.id
            );
            return Err(Problem::new(Code::USAGE, message)
                .with_help("send that first, or put a new one in its place: --mirror --fresh"));
        }
        if targets.iter().all(|target| target.resumed) {
            return Ok(());
        }
        let _turn = self.queue_turn.lock().await;
        let heard = targets.iter().map(Target::heard);
        let taken = self.take_position(heard, self.pack_request(wish.day)).await;
        if let Err(problem) = &taken
            && targets.iter().any(|target| target.resumed)
        {
            // What waits was sealed while all was well, and goes all the same: it may hold what is nowhere else.
            targets.iter_mut().filter(|target| !target.resumed).for_each(|target| target.give_up(problem));
            return Ok(());
        }
        match taken? {
            Some(taken) => {
                self.find_waiting(targets).await?;
                self.queue_changes(taken, targets, wish, progress).await
            }
            None => self.queue_all_rows(targets, wish, progress).await,
        }
    }

    /// A new backup for one peer, to be carried as a file.
    pub(in crate::node) async fn queue_for_export(
        &self,
        peer: &Peer,
        codec: Option<branchline_core::backup::Codec>,
        wish: Wish,
        progress: &ProgressSink,
    ) -> Result<OutboxEntry, Problem> {
        let reporter = Reporter::begin(progress, "pack", Some(peer.id.as_str()));
        let codec = codec.unwrap_or(self.settings.compression);
        let destination = Destination { spool: self.spool.as_ref(), data_file: backup_id()?, codec };
        let restrict = |schema| self.restrict(schema);
        let _turn = self.queue_turn.lock().await;
        let mut place = Place {
            last_applied: None,
            previous: None,
            target_epoch: None,
            mirror: wish.mirror,
            day: wish.day,
        };
        let (draft, ledger, remembered) =
            match self.take_position(std::iter::empty(), self.pack_request(wish.day)).await? {
                None => {
                    self.refuse_unfiltered(&peer.id).await?;
                    let database = self.database().await?;
                    let draft = pack(database.as_ref(), &restrict, destination, reporter).await?;
                    (draft, database.ledger().await?, None)
                }
                Some(Taken { mut changes, ledger }) => {
                    let planned = self.plan_for(peer, &At::of(changes.as_ref()), wish).await?;
                    if planned.brings_nothing() {
                        changes.close().await?;
                        let message = format!("there is nothing new for {}", peer.id);
                        let help = format!("branchline backups export {} --type full", peer.id);
                        return Err(Problem::new(Code::NOT_FOUND, message).with_help(help));
                    }
                    (place.previous, place.target_epoch) = (planned.previous, planned.target_epoch);
                    let draft =
                        pack_changes(changes.as_mut(), &planned.plan, &restrict, destination, reporter)
                            .await?;
                    let remembered = remembered_at(changes.position(), &ledger);
                    changes.close().await?;
                    (draft, ledger, Some(remembered))
                }
            };
        let sealed = self.seal_for(peer, &place, &draft, &ledger).await?;
        let mut entries = queue(self.memory.store(), vec![sealed], remembered).await?;
        entries.pop().ok_or_else(|| Problem::new(Code::INTERNAL, "nothing was queued"))
    }

    /// Another sync may have queued something since the peers were greeted.
    async fn find_waiting(&self, targets: &mut [Target]) -> Result<(), Problem> {
        let outbox = self.memory.outbox().await?;
        for target in targets {
            let waits =
                |entry: &OutboxEntry| entry.peer == target.peer.id && entry.state == OutboxState::Waiting;
            target.resumed |= outbox.iter().any(waits);
        }
        Ok(())
    }

    async fn queue_all_rows(
        &self,
        targets: &mut [Target],
        wish: Wish,
        progress: &ProgressSink,
    ) -> Result<(), Problem> {
        if matches!(wish.backup_type, Some(BackupType::Incremental | BackupType::DailyTransactions)) {
            return Err(branchline_core::ports::DatabaseError::NotAttached.into());
        }
        for target in targets.iter_mut().filter(|target| !target.resumed) {
            if let Err(problem) = self.refuse_unfiltered(&target.peer.id).await {
                target.verdict = Some(outcome(target, None, "refused", Some(problem)));
            }
        }
        if targets.iter().all(|target| target.resumed || target.verdict.is_some()) {
            return Ok(());
        }
        let database = self.database().await?;
        let destination = self.new_destination()?;
        let reporter = Reporter::begin(progress, "pack", None);
        let draft = pack(database.as_ref(), &|schema| self.restrict(schema), destination, reporter).await?;
        let ledger = &database.ledger().await?;
        let watch = Stopwatch::start();
        let mut sealed = Vec::new();
        let is_sent = |target: &&mut Target| !target.resumed && target.verdict.is_none();
        for target in targets.iter_mut().filter(is_sent) {
            target.note_packed(&draft);
            let place = Place {
                last_applied: target.last_applied(),
                previous: None,
                target_epoch: None,
                mirror: wish.mirror,
                day: wish.day,
            };
            sealed.push(self.seal_for(&target.peer, &place, &draft, ledger).await?);
        }
        queue(self.memory.store(), sealed, None).await?;
        for target in targets.iter_mut().filter(is_sent) {
            target.stages.push(stage("seal", watch.millis()));
        }
        Ok(())
    }

    async fn queue_changes(
        &self,
        taken: Taken,
        targets: &mut [Target],
        wish: Wish,
        progress: &ProgressSink,
    ) -> Result<(), Problem> {
        let Taken { mut changes, ledger } = taken;
        let at_position = At::of(changes.as_ref());
        let mut groups: Vec<(PackPlan, Vec<(usize, Planned)>)> = Vec::new();
        for (at, target) in targets.iter_mut().enumerate().filter(|(_, target)| !target.resumed) {
            let planned = match self.plan_for(&target.peer, &at_position, wish).await {
                // A day is closed also where nothing happened since the last backup.
                Ok(planned) if planned.brings_nothing() && wish.day.is_none() => {
                    target.verdict = Some(outcome(target, None, "in_step", None));
                    continue;
                }
                Ok(planned) => planned,
                Err(problem) => {
                    target.verdict = Some(outcome(target, None, "refused", Some(problem)));
                    continue;
                }
            };
            match groups.iter_mut().find(|(plan, _)| is_packed_alike(plan, &planned.plan)) {
                Some((_, members)) => members.push((at, planned)),
                None => groups.push((planned.plan.clone(), vec![(at, planned)])),
            }
        }
        let mut packed = Vec::new();
        for (plan, members) in groups {
            let reporter = Reporter::begin(progress, "pack", None);
            let destination = self.new_destination()?;
            let restrict = |schema| self.restrict(schema);
            match pack_changes(changes.as_mut(), &plan, &restrict, destination, reporter).await {
                Ok(draft) => packed.push((draft, members)),
                // One peer's filter is nothing to the others.
                Err(error) if error.code() == Code::FILTER_INVALID => {
                    let problem = Problem::of(&error).with_data("Nothing was packed for it.");
                    for (at, _) in members {
                        let target = &mut targets[at];
                        target.verdict = Some(outcome(target, None, "refused", Some(problem.clone())));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        // Before anything is sealed: which rows a peer was sent is on record only after this.
        changes.close().await?;
        let mut sealed = Vec::new();
        for (draft, members) in packed {
            for (at, planned) in members {
                let target = &mut targets[at];
                target.note_packed(&draft);
                let place = Place {
                    last_applied: target.last_applied(),
                    previous: planned.previous,
                    target_epoch: planned.target_epoch,
                    mirror: wish.mirror,
                    day: wish.day,
                };
                sealed.push(self.seal_for(&target.peer, &place, &draft, &ledger).await?);
            }
        }
        if !sealed.is_empty() {
            queue(self.memory.store(), sealed, Some(remembered_at(&at_position.position, &ledger))).await?;
        }
        Ok(())
    }

    /// Decides what a peer gets.
    async fn plan_for(&self, peer: &Peer, at: &At, wish: Wish) -> Result<Planned, Problem> {
        let acknowledged = self.memory.acknowledged(&peer.id).await?;
        let scope = self.scope_for(&at.schema, &peer.id);
        if wish.day.is_some() {
            self.refuse_filtered_day(&peer.id, &scope)?;
        }
        let (mark, mark_before) = (scope.mark(), &acknowledged.scope);
        let previous = acknowledged.previous(at.position.own.epoch);
        let audience = acknowledged.audience(peer.relay);
        let wanted_full = wish.mirror
            || wish.backup_type == Some(BackupType::Full)
            || previous.is_none()
            || mark_before.frees(&mark);
        let mut plan = plan_pack(&at.position, &audience, wanted_full);
        let is_rescoped = *mark_before != mark;
        // A peer that gets all rows from now on and did not before has a scope once more, an empty one: what was kept
        // of it is forgotten.
        if is_rescoped || !mark.is_whole() {
            plan.scope = Some(ScopedPeer { peer: peer.id.clone(), scope });
        }
        let full = plan.selection == Selection::Full;
        if full && wish.backup_type == Some(BackupType::Incremental) {
            let message =
                format!("an increment cannot go to {}: it has to begin with a full backup", peer.id);
            let help = format!("branchline sync {} --type full", peer.id);
            return Err(Problem::new(Code::CHAIN_GAP, message).with_help(help));
        }
        Ok(Planned {
            plan,
            previous: previous.filter(|_| !full),
            target_epoch: acknowledged.target_epoch(),
            is_rescoped,
        })
    }

    fn new_destination(&self) -> Result<Destination<'_>, Problem> {
        let codec = self.settings.compression;
        Ok(Destination { spool: self.spool.as_ref(), data_file: backup_id()?, codec })
    }

    /// Seals a draft for one peer. The place in the chain is behind all that either side remembers.
    async fn seal_for(
        &self,
        peer: &Peer,
        place: &Place,
        draft: &Draft,
        ledger: &Ledger,
    ) -> Result<Sealed, Problem> {
        let remembered =
            self.memory.chain(&peer.id).await?.map_or(Sequence::new(0), |(sequence, _)| sequence);
        // A claim far beyond our own chain is not believed: it would use the chain up.
        let believed = |(epoch, sequence): &(Epoch, Sequence)| {
            *epoch == ledger.epoch && sequence.value() <= remembered.value() + SEQUENCES_BELIEVED
        };
        let applied = place.last_applied.filter(believed).map_or(Sequence::new(0), |(_, sequence)| sequence);
        let addressed = Addressed {
            backup: backup_id()?,
            target: peer.id.clone(),
            sequence: remembered.max(applied).next(),
            previous: place.previous.map(|previous| previous.metadata),
            mirror: place.mirror,
            target_epoch: place.target_epoch,
            day: place.day,
        };
        let sealed = seal(draft, &self.settings.server, ledger, &addressed, now(), self.signer());
        sealed.map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))
    }
}

/// What is to be remembered of the database once what was packed at that position is queued.
fn remembered_at(position: &Position, ledger: &Ledger) -> Remembered {
    Remembered {
        database: Some(ledger.database_id.clone()),
        epoch: position.own.epoch,
        generation: position.generation,
        clock: position.clock,
        packed_at: wall_clock(),
    }
}

impl Planned {
    /// Whether the peer has all that it would get, and knows that it does.
    fn brings_nothing(&self) -> bool {
        !self.is_rescoped && matches!(&self.plan.selection, Selection::Above(floors) if floors.is_empty())
    }
}

/// Whether two plans come to the same bytes. A full backup holds every row, whatever its peer knows; what is for a peer that
/// filters keep rows from is for no other.
fn is_packed_alike(one: &PackPlan, other: &PackPlan) -> bool {
    let full = |plan: &PackPlan| {
        plan.selection == Selection::Full && plan.scope.is_none() && plan.covers == one.covers
    };
    one == other || (full(one) && full(other))
}

impl Target {
    fn heard(&self) -> Heard<'_> {
        let hello = self.hello.as_ref().ok();
        Heard {
            peer: self.peer.id.as_str(),
            standing: hello.and_then(|hello| hello.standing.as_ref()),
            last_applied: self.last_applied(),
        }
    }

    fn last_applied(&self) -> Option<(Epoch, Sequence)> {
        self.hello.as_ref().ok().and_then(|hello| hello.last_applied)
    }

    fn note_packed(&mut self, draft: &Draft) {
        self.data_bytes = draft.totals.data_bytes;
        self.stages.push(stage("pack", u64::try_from(draft.took.as_millis()).unwrap_or(u64::MAX)));
    }
}
