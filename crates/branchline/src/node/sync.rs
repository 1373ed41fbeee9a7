//! Sync: what waits is sent first; where nothing waits, a new backup is packed once for all peers that need one, and
//! sealed, queued and sent for each.

use std::sync::Arc;

use branchline_core::backup::TableSummary;
use branchline_core::code::Code;
use branchline_core::id::{Epoch, Sequence, ServerId};
use branchline_core::limits::CLOCK_SKEW_WARNED;
use branchline_core::peer::{Activity, Peer};
use branchline_core::ports::{LinkError, OutboxEntry, OutboxState, PeerHello, PeerLink};
use branchline_core::schema::Schema;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::clock::{Stopwatch, backup_id, now};
use super::deliver::{Delivery, Occasion, cancel_at};
use super::progress::{ProgressSink, Reporter};
use super::{Node, describe};
use crate::api::v1::{PlannedTable, Problem, StageAnswer, SyncAnswer, SyncCommand, SyncOutcome};
use crate::stages::pack::{Draft, pack, tables_in_order};
use crate::stages::plan::fits;
use crate::stages::queue::queue;
use crate::stages::seal::{Addressed, Sealed, seal};

/// Peers that one sync deals with at once; how many are sent to is bounded by the node's places.
const PEERS_AT_ONCE: usize = 16;
/// Peers that are greeted at once.
const GREETINGS_AT_ONCE: usize = 16;
/// How far beyond our own memory a peer's word about our chain is believed: a lost state must not lose its place.
const SEQUENCES_BELIEVED: u64 = 1_000_000;

/// One peer of a sync, with what is known of it by now.
struct Target {
    peer: Peer,
    link: Arc<dyn PeerLink>,
    /// What of its hello is needed; its schema is large, and kept by a rehearsal alone.
    hello: Result<Greeted, LinkError>,
    resumed: bool,
    stages: Vec<StageAnswer>,
    data_bytes: u64,
}

/// What a sync keeps of a peer's hello.
struct Greeted {
    path: String,
    last_applied: Option<(Epoch, Sequence)>,
    schema: Option<Schema>,
}

impl Greeted {
    fn of(hello: PeerHello, with_schema: bool) -> Self {
        let schema = with_schema.then_some(hello.schema);
        Self { path: hello.path, last_applied: hello.last_applied, schema }
    }
}

impl Node {
    pub(super) async fn sync(
        &self,
        sync: SyncCommand,
        progress: &ProgressSink,
    ) -> Result<SyncAnswer, Problem> {
        let peers = self.sync_peers(&sync.peers).await?;
        let _in_hand = self.retries.take_in_hand(peers.iter().map(|peer| peer.id.clone()));
        if sync.fresh && !sync.dry_run {
            self.drop_waiting(&peers).await?;
        }
        let greetings = peers.into_iter().map(|peer| self.greet(peer, sync.dry_run));
        let mut targets: Vec<Target> =
            stream::iter(greetings).buffered(GREETINGS_AT_ONCE).try_collect().await?;
        if sync.dry_run {
            return self.rehearse(targets, sync.mirror, progress).await;
        }
        self.queue_new(&mut targets, sync.mirror, progress).await?;
        let deliveries = targets.into_iter().map(|target| self.deliver_to(target, progress));
        let mut peers: Vec<SyncOutcome> =
            stream::iter(deliveries).buffer_unordered(PEERS_AT_ONCE).collect().await;
        peers.sort_by(|a, b| a.peer.cmp(&b.peer));
        Ok(SyncAnswer { peers })
    }

    async fn greet(&self, peer: Peer, with_schema: bool) -> Result<Target, Problem> {
        let outbox = self.memory.outbox_of(&peer.id).await?;
        let resumed = outbox.iter().any(|entry| entry.state == OutboxState::Waiting);
        let link = self.link(&peer)?;
        let watch = Stopwatch::start();
        let hello = link.hello().await;
        if let Ok(hello) = &hello {
            warn_of_skew(&peer.id, hello.time);
        }
        let hello = hello.map(|hello| Greeted::of(hello, with_schema));
        let stages = vec![stage("hello", watch.millis())];
        Ok(Target { peer, link, hello, resumed, stages, data_bytes: 0 })
    }

    async fn sync_peers(&self, names: &[String]) -> Result<Vec<Peer>, Problem> {
        let mut peers = Vec::new();
        for name in names {
            let peer = self.memory.peer(name).await?;
            if peer.activity == Activity::Paused {
                let help = format!("branchline peers resume {name}");
                return Err(Problem::new(Code::PEER_PAUSED, format!("{name} is paused here")).with_help(help));
            }
            if peer.addresses.is_empty() {
                let message = format!("{name} has no address: it calls this server, and cannot be called");
                return Err(Problem::new(Code::UNREACHABLE, message)
                    .with_help(format!("let it say where it is (listen.advertise) and pair again, or carry a file: branchline backups export {name} FILE")));
            }
            peers.push(peer);
        }
        if names.is_empty() {
            peers = self.memory.peers().await?;
            peers.retain(|peer| peer.activity == Activity::Active && !peer.addresses.is_empty());
        }
        if peers.is_empty() {
            return Err(Problem::new(Code::PEER_UNKNOWN, "there is no active peer to sync with").with_help(
                "on one server: branchline invite STORE-001; on the other: branchline join INVITATION",
            ));
        }
        peers.sort_by(|a, b| a.id.cmp(&b.id));
        peers.dedup_by(|a, b| a.id == b.id);
        Ok(peers)
    }

    async fn drop_waiting(&self, peers: &[Peer]) -> Result<(), Problem> {
        for peer in peers {
            for entry in self.memory.outbox_of(&peer.id).await? {
                if entry.state == OutboxState::Waiting {
                    cancel_at(self.link(peer)?.as_ref(), &entry).await;
                    self.drop_settled(&entry).await?;
                }
            }
        }
        Ok(())
    }

    /// Packs once, and seals and queues for each peer that has nothing waiting.
    async fn queue_new(
        &self,
        targets: &mut [Target],
        mirror: bool,
        progress: &ProgressSink,
    ) -> Result<(), Problem> {
        if let Some(target) = targets.iter().find(|target| mirror && target.resumed) {
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
        let database = self.database().await?;
        let reporter = Reporter::begin(progress, "pack", None);
        let codec = self.settings.compression;
        let restrict = |schema| self.restrict(schema);
        let draft =
            pack(database.as_ref(), &restrict, self.spool.as_ref(), backup_id()?, codec, reporter).await?;
        let watch = Stopwatch::start();
        let mut sealed = Vec::new();
        for target in targets.iter_mut().filter(|target| !target.resumed) {
            target.data_bytes = draft.totals.data_bytes;
            target.stages.push(stage("pack", u64::try_from(draft.took.as_millis()).unwrap_or(u64::MAX)));
            sealed.push(
                self.seal_for(
                    &target.peer,
                    target.hello.as_ref().ok().and_then(|hello| hello.last_applied),
                    &draft,
                    mirror,
                )
                .await?,
            );
        }
        queue(self.memory.store(), sealed).await?;
        for target in targets.iter_mut().filter(|target| !target.resumed) {
            target.stages.push(stage("seal", watch.millis()));
        }
        Ok(())
    }

    /// Seals a draft for one peer. The place in the chain is behind all that either side remembers.
    pub(super) async fn seal_for(
        &self,
        peer: &Peer,
        last_applied: Option<(Epoch, Sequence)>,
        draft: &Draft,
        mirror: bool,
    ) -> Result<Sealed, Problem> {
        let ledger = self.database().await?.ledger().await?;
        let remembered =
            self.memory.chain(&peer.id).await?.map_or(Sequence::new(0), |(sequence, _)| sequence);
        // A claim far beyond our own chain is not believed: it would use the chain up.
        let believed = |(epoch, sequence): &(Epoch, Sequence)| {
            *epoch == ledger.epoch && sequence.value() <= remembered.value() + SEQUENCES_BELIEVED
        };
        let applied = last_applied.filter(believed).map_or(Sequence::new(0), |(_, sequence)| sequence);
        let addressed = Addressed {
            backup: backup_id()?,
            target: peer.id.clone(),
            sequence: remembered.max(applied).next(),
            previous: None,
            mirror,
        };
        let sealed = seal(draft, &self.settings.server, &ledger, &addressed, now(), self.signer());
        sealed.map_err(|error| Problem::new(Code::INTERNAL, error.to_string()))
    }

    /// What goes wrong with one peer is its own outcome: the others go on.
    async fn deliver_to(&self, target: Target, progress: &ProgressSink) -> SyncOutcome {
        match self.deliver(&target.peer, target.link.as_ref(), Occasion::Asked, progress).await {
            Ok(Some((entry, delivery))) => described(&target, &entry, delivery),
            Ok(None) => {
                let busy =
                    Problem::new(Code::HOME_LOCKED, "something is being sent to this peer at this moment");
                outcome(&target, None, "waiting", Some(busy))
            }
            Err(problem) => outcome(&target, None, "waiting", Some(problem)),
        }
    }
    /// Says what would be sent, and what the peers would make of it. For a mirror the rows that would be removed are
    /// counted by comparing.
    async fn rehearse(
        &self,
        targets: Vec<Target>,
        mirror: bool,
        progress: &ProgressSink,
    ) -> Result<SyncAnswer, Problem> {
        let schema = self.restrict(self.database().await?.schema().await?);
        let mut outcomes = Vec::new();
        for target in targets {
            let there = target.hello.as_ref().ok().and_then(|hello| hello.schema.as_ref());
            let mut planned: Vec<_> = planned_tables(&schema, there).collect();
            if mirror && there.is_some() {
                let compared = self.compare(target.peer.id.as_str(), &[], progress).await?;
                for table in &mut planned {
                    let found = compared.tables.iter().find(|compared| compared.table == table.table);
                    table.removed = found.map(|compared| compared.missing_here);
                }
            }
            let unreachable = target.hello.as_ref().err().map(|error| Problem::of(error));
            let problem = unreachable.or_else(|| first_obstacle(&schema, there?));
            let rows = planned.iter().map(|table| table.rows).sum();
            let planned_outcome = outcome(&target, None, "planned", problem);
            outcomes.push(SyncOutcome { planned, rows, ..planned_outcome });
        }
        Ok(SyncAnswer { peers: outcomes })
    }
}

fn described(target: &Target, entry: &OutboxEntry, delivery: Delivery) -> SyncOutcome {
    let mut outcome = match &delivery {
        Delivery::Answered(sent) if sent.receipt.success => outcome(target, Some(entry), "delivered", None),
        Delivery::Answered(sent) => {
            let fault = sent.receipt.errors.first();
            let code = fault.map_or(Code::REFUSED_BY_PEER, |fault| fault.code);
            let message = fault.map_or("the peer applied nothing", |fault| fault.message.as_str());
            let message = format!("{} applied nothing: {message}", target.peer.id);
            let problem = Problem::new(code, message).with_data("Nothing was changed at the peer.");
            outcome(target, Some(entry), "refused", Some(problem))
        }
        Delivery::Refused(problem) => outcome(target, Some(entry), "refused", Some(problem.clone())),
        Delivery::Waiting(problem) => outcome(target, Some(entry), "waiting", Some(problem.clone())),
    };
    if let Delivery::Answered(sent) = delivery {
        outcome.sent_bytes = sent.sent_bytes;
        outcome.receipt = describe::json(&sent.document);
        let millis = |took: std::time::Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        outcome.stages.push(stage("send", millis(sent.upload_took)));
        outcome.stages.push(stage("receipt", millis(sent.receipt_took)));
    }
    outcome
}

/// The first reason for which the peer would refuse the whole backup.
fn first_obstacle(schema: &Schema, there: &Schema) -> Option<Problem> {
    let summaries =
        tables_in_order(schema).into_iter().filter_map(|name| schema.table(&name)).map(TableSummary::of);
    let error = summaries.filter_map(|summary| fits(&summary, there).err()).next()?;
    Some(Problem::of(&error).with_data("Nothing was sent, and the peer would refuse all of it."))
}

fn planned_tables<'a>(
    schema: &'a Schema,
    there: Option<&'a Schema>,
) -> impl Iterator<Item = PlannedTable> + 'a {
    let tables = tables_in_order(schema);
    let sent = tables.into_iter().filter_map(|name| schema.table(&name)).map(move |table| {
        let summary = TableSummary::of(table);
        let obstacle = there.and_then(|there| fits(&summary, there).err()).map(|error| error.to_string());
        PlannedTable { table: table.name.to_string(), rows: table.rows_estimated, removed: None, obstacle }
    });
    let kept = schema.tables().filter_map(|table| {
        let reason = table.excluded.as_ref()?;
        Some(PlannedTable {
            table: table.name.to_string(),
            rows: 0,
            removed: None,
            obstacle: Some(format!("stays here: {reason}")),
        })
    });
    sent.chain(kept)
}

fn warn_of_skew(peer: &ServerId, theirs: Timestamp) {
    let apart = theirs.duration_since(now()).unsigned_abs();
    if apart > CLOCK_SKEW_WARNED {
        tracing::warn!(%peer, seconds = apart.as_secs(), "the clocks of the two servers are far apart");
    }
}

fn stage(name: &str, millis: u64) -> StageAnswer {
    StageAnswer { stage: name.to_owned(), millis }
}

fn outcome(
    target: &Target,
    entry: Option<&OutboxEntry>,
    state: &str,
    problem: Option<Problem>,
) -> SyncOutcome {
    SyncOutcome {
        peer: target.peer.id.to_string(),
        state: state.to_owned(),
        backup: entry.map(|entry| entry.backup.to_string()),
        resumed: target.resumed,
        created_at: entry.map(|entry| entry.created_at.to_string()),
        rows: entry.map_or(0, |entry| entry.record_count),
        document_bytes: entry.map_or(0, OutboxEntry::document_bytes),
        sent_bytes: 0,
        data_bytes: target.data_bytes,
        path: target.hello.as_ref().ok().map(|hello| hello.path.clone()),
        receipt: None,
        stages: target.stages.clone(),
        planned: Vec::new(),
        problem,
    }
}
