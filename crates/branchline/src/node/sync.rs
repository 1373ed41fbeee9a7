//! Sync: what waits is sent first; then a new backup is packed, sealed, queued and sent.
//!
//! Where changes are not captured, a peer for which something waits gets that alone, and all others get every row, packed
//! once. Where they are, each peer gets what it lacks: one sealed backup at a time, and peers that lack the same share
//! what is packed (`packing`). So a sync goes in rounds: what waited, then what is new, and once more, in full, where a peer
//! says that its chain does not go on.

mod outcome;
mod packing;
mod rehearsal;

use std::collections::BTreeMap;
use std::sync::Arc;

use branchline_core::backup::BackupType;
use branchline_core::code::Code;
use branchline_core::day::BusinessDay;
use branchline_core::id::{Epoch, Sequence, ServerId};
use branchline_core::limits::CLOCK_SKEW_WARNED;
use branchline_core::peer::{Activity, Peer};
use branchline_core::ports::{LinkError, OutboxState, PeerHello, PeerLink};
use branchline_core::schema::Schema;
use branchline_core::standing::Standing;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::Node;
use super::clock::{Stopwatch, now};
use super::deliver::{Delivery, Occasion, cancel_at};
use super::progress::ProgressSink;
use crate::api::v1::{Problem, StageAnswer, SyncAnswer, SyncCommand, SyncOutcome};
use outcome::{described, outcome, stage};

/// Peers that one sync deals with at once; how many are sent to is bounded by the node's places.
const PEERS_AT_ONCE: usize = 16;
/// Peers that are greeted at once.
const GREETINGS_AT_ONCE: usize = 16;

/// What waited, what is new, and that in full where the chain does not go on.
const ROUNDS_MAX: usize = 3;

/// What kind of backup is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish {
    /// Full or incremental; what fits the peer, where nothing is said.
    pub(super) backup_type: Option<BackupType>,
    /// Whether the peers are asked to remove rows that are not here.
    pub(super) mirror: bool,
    /// The business day that is closed with it.
    pub(super) day: Option<BusinessDay>,
}

impl Wish {
    pub(super) fn of(backup_type: Option<&str>, mirror: bool) -> Result<Self, Problem> {
        let backup_type = match backup_type {
            None => None,
            Some("full") => Some(BackupType::Full),
            Some("incremental") => Some(BackupType::Incremental),
            Some("daily_transactions") => Some(BackupType::DailyTransactions),
            Some(other) => {
                let message = format!("{other} is not a type of backup that can be asked for");
                return Err(
                    Problem::new(Code::USAGE, message).with_help("full, incremental or daily_transactions")
                );
            }
        };
        Ok(Self { backup_type, mirror, day: None })
    }
}

/// One peer of a sync, with what is known of it by now.
struct Target {
    peer: Peer,
    link: Arc<dyn PeerLink>,
    /// What of its hello is needed; its schema is large, and kept by a rehearsal alone.
    hello: Result<Greeted, LinkError>,
    /// A backup that was queued before waits for it.
    resumed: bool,
    /// Nothing is sent to it, and why.
    verdict: Option<SyncOutcome>,
    stages: Vec<StageAnswer>,
    data_bytes: u64,
}

/// What a sync keeps of a peer's hello.
struct Greeted {
    path: String,
    last_applied: Option<(Epoch, Sequence)>,
    standing: Option<Standing>,
    schema: Option<Schema>,
}

impl Greeted {
    fn of(hello: PeerHello, with_schema: bool) -> Self {
        let schema = with_schema.then_some(hello.schema);
        Self { path: hello.path, last_applied: hello.last_applied, standing: hello.standing, schema }
    }
}

impl Node {
    pub(super) async fn sync(
        &self,
        sync: SyncCommand,
        progress: &ProgressSink,
    ) -> Result<SyncAnswer, Problem> {
        let rehearsed = sync.dry_run;
        let answer = self.exchange(sync, progress).await?;
        if !rehearsed {
            self.purge_and_log().await;
        }
        Ok(answer)
    }

    /// A sync that purges nothing.
    pub(super) async fn exchange(
        &self,
        sync: SyncCommand,
        progress: &ProgressSink,
    ) -> Result<SyncAnswer, Problem> {
        let wish = self.wish(&sync)?;
        let peers = self.sync_peers(&sync.peers).await?;
        let _in_hand = self.retries.take_in_hand(peers.iter().map(|peer| peer.id.clone()));
        if sync.fresh && !sync.dry_run {
            self.drop_waiting(&peers).await?;
        }
        let greetings = peers.into_iter().map(|peer| self.greet(peer, sync.dry_run));
        let targets: Vec<Target> = stream::iter(greetings).buffered(GREETINGS_AT_ONCE).try_collect().await?;
        if sync.dry_run {
            return self.rehearse(targets, wish, progress).await;
        }
        Ok(SyncAnswer { peers: self.send_in_rounds(targets, wish, progress).await? })
    }

    /// A day is closed only where that is asked for.
    fn wish(&self, sync: &SyncCommand) -> Result<Wish, Problem> {
        let wish = Wish::of(sync.backup_type.as_deref(), sync.mirror)?;
        if wish.backup_type != Some(BackupType::DailyTransactions) {
            return match &sync.day {
                None => Ok(wish),
                Some(_) => Err(Problem::new(Code::USAGE, "only a daily backup closes a day")
                    .with_help("branchline sync --type daily_transactions --day 2026-11-27")),
            };
        }
        Ok(Wish { day: Some(self.business_day(sync.day.as_deref())?), ..wish })
    }

    async fn send_in_rounds(
        &self,
        mut targets: Vec<Target>,
        wish: Wish,
        progress: &ProgressSink,
    ) -> Result<Vec<SyncOutcome>, Problem> {
        let mut outcomes: BTreeMap<String, SyncOutcome> = BTreeMap::new();
        for round in 1..=ROUNDS_MAX {
            match self.queue_new(&mut targets, wish, progress).await {
                Ok(()) => {}
                Err(problem) if round == 1 => return Err(problem),
                // What came of the rounds before is told all the same.
                Err(problem) => targets.iter_mut().for_each(|target| target.give_up(&problem)),
            }
            let deliveries = targets.into_iter().map(|target| self.deliver_to(target, progress));
            let delivered: Vec<(Target, SyncOutcome, bool)> =
                stream::iter(deliveries).buffer_unordered(PEERS_AT_ONCE).collect().await;
            targets = Vec::new();
            for (mut target, outcome, again) in delivered {
                let outcome = match outcomes.remove(&outcome.peer) {
                    Some(before) => outcome.after(before),
                    None => outcome,
                };
                outcomes.insert(outcome.peer.clone(), outcome);
                if again && round < ROUNDS_MAX {
                    target.begin_again();
                    targets.push(target);
                }
            }
            if targets.is_empty() {
                break;
            }
        }
        Ok(outcomes.into_values().collect())
    }

    async fn greet(&self, peer: Peer, with_schema: bool) -> Result<Target, Problem> {
        let link = self.link(&peer)?;
        let watch = Stopwatch::start();
        let hello = link.hello().await;
        if let Ok(hello) = &hello {
            warn_of_skew(&peer.id, hello.time);
            self.hear(&peer.id, hello).await?;
        }
        // After the hello: it may tell that what waits is of no use any more.
        let outbox = self.memory.outbox_of(&peer.id).await?;
        let resumed = outbox.iter().any(|entry| entry.state == OutboxState::Waiting);
        let hello = hello.map(|hello| Greeted::of(hello, with_schema));
        let stages = vec![stage("hello", watch.millis())];
        Ok(Target { peer, link, hello, resumed, verdict: None, stages, data_bytes: 0 })
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

    /// What goes wrong with one peer is its own outcome: the others go on. Also says whether there is more to send.
    async fn deliver_to(&self, mut target: Target, progress: &ProgressSink) -> (Target, SyncOutcome, bool) {
        if let Some(verdict) = target.verdict.take() {
            return (target, verdict, false);
        }
        let (outcome, again) = match self
            .deliver(&target.peer, target.link.as_ref(), Occasion::Asked, progress)
            .await
        {
            Ok(Some((entry, delivery))) => {
                let gap = matches!(&delivery, Delivery::Gap(_));
                let delivered = matches!(&delivery, Delivery::Answered(sent) if sent.receipt.is_applied());
                let more = delivered && target.resumed && self.is_attached().await;
                (described(&target, &entry, delivery), gap || more)
            }
            Ok(None) => {
                let busy =
                    Problem::new(Code::HOME_LOCKED, "something is being sent to this peer at this moment");
                (outcome(&target, None, "waiting", Some(busy)), false)
            }
            Err(problem) => (outcome(&target, None, "waiting", Some(problem)), false),
        };
        (target, outcome, again)
    }

    /// Whether this server captures changes, as far as it remembers. A state that cannot be read is found out soon enough.
    async fn is_attached(&self) -> bool {
        let remembered = self.memory.remembered().await.ok().flatten();
        remembered.is_some_and(|remembered| remembered.database.is_some())
    }
}

impl Target {
    fn give_up(&mut self, problem: &Problem) {
        self.verdict = Some(outcome(self, None, "refused", Some(problem.clone())));
    }

    fn begin_again(&mut self) {
        self.resumed = false;
        self.stages = Vec::new();
        self.data_bytes = 0;
    }
}

fn warn_of_skew(peer: &ServerId, theirs: Timestamp) {
    let apart = theirs.duration_since(now()).unsigned_abs();
    if apart > CLOCK_SKEW_WARNED {
        tracing::warn!(%peer, seconds = apart.as_secs(), "the clocks of the two servers are far apart");
    }
}
