//! A server: a database, and the state beside it, which a restore of the database leaves alone.

use std::collections::BTreeMap;
use std::rc::Rc;

use branchline_core::id::{Epoch, Generation, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::pack::{Acknowledgement, Audience, Selection, plan_pack, purgeable};
use branchline_core::restore::RememberedLife;
use branchline_core::version::ChangeTime;

use super::apply::Site;
use super::backup::{Backup, Sent};
use super::ledger::{Applied, Image, KEYS, Ledger};
use super::record::Record;
use super::rules::{Rule, Rules};

/// What keeps an increment from being applied where it does not belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// It names its place in a chain, and a chain ends where either side begins another life.
    Chain,
    /// It names the knowledge that it builds on; old files are applied again and again.
    BuildsOn,
}

/// A transaction of the shop's that is still open: its keys are locked, and nobody sees its changes.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) changes: Vec<(usize, Image, ChangeTime)>,
}

/// What a server keeps of a peer.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) acknowledged: Knowledge,
    /// What we had seen at the last position that it acknowledged.
    pub(super) lent: Knowledge,
    /// Until the peer has all of this, it gets whatever it lacks, whoever made it.
    pub(super) owed: Knowledge,
    /// Until we have all of this, the peer gives us whatever we lack.
    pub(super) awaited: Knowledge,
    pub(super) sealed: Option<Rc<Backup>>,
    /// The lives of both sides in which they last met: ours, and the peer's.
    pub(super) met: (Epoch, Epoch),
    pub(super) sequence: u32,
    /// The next backup is a full one.
    pub(super) starts_full: bool,
}

/// The server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) index: usize,
    pub(super) name: ServerId,
    pub(super) relay: bool,
    /// How far its wall clock is off.
    pub(super) skew: i64,
    pub(super) ledger: Ledger,
    pub(super) open: Vec<Open>,
    pub(super) obstacles: [bool; KEYS],
    pub(super) pairs: BTreeMap<usize, Pair>,
    /// Its epoch, the last that there was.
    pub(super) epoch: Epoch,
    /// Of each epoch, the last generation that was packed.
    packed: BTreeMap<Epoch, Generation>,
    /// The clock at the last pack.
    clock: ChangeTime,
}

impl Server {
    /// A server without peers.
    pub(super) fn new(index: usize, name: ServerId, relay: bool, skew: i64, ledger: Ledger) -> Self {
        Self {
            index,
            name,
            relay,
            skew,
            epoch: ledger.own.epoch,
            ledger,
            open: Vec::new(),
            obstacles: [false; KEYS],
            pairs: BTreeMap::new(),
            packed: BTreeMap::new(),
            clock: ChangeTime::default(),
        }
    }

    /// What its wall clock shows.
    pub(super) fn wall(&self, now: u64) -> ChangeTime {
        ChangeTime::from_micros(now.saturating_add_signed(self.skew))
    }

    /// Whether an open transaction has a lock on it.
    pub(super) fn is_locked(&self, key: usize) -> bool {
        self.open.iter().flat_map(|open| &open.changes).any(|(locked, ..)| *locked == key)
    }

    /// Meets a peer: where either side has begun another life since they last met, the pair starts anew.
    pub(super) fn meet(&mut self, peer: &Self, by_full: bool, rules: Rules) {
        let now = (self.epoch, peer.epoch);
        let pair = self.pairs.get_mut(&peer.index).unwrap();
        if pair.met == now {
            return;
        }
        pair.met = now;
        pair.sequence = 0;
        pair.sealed = None;
        pair.acknowledged = peer.ledger.knowledge.clone();
        pair.lent = Knowledge::new();
        if rules.hold(Rule::GiveAllBack) {
            pair.owed = self.ledger.knowledge.clone();
            pair.awaited = peer.ledger.knowledge.clone();
        }
        pair.starts_full = by_full;
    }

    /// One sealed backup a peer that it has not acknowledged: made once, sent as often as need be.
    pub(super) fn pack(&mut self, peer: usize, wanted_full: bool, rules: Rules) -> Rc<Backup> {
        if let Some(sealed) = &self.pairs[&peer].sealed {
            return Rc::clone(sealed);
        }
        let position = self.ledger.take_position(rules);
        let packed = self.packed.entry(position.own.epoch).or_default();
        *packed = position.generation.max(*packed);
        self.clock = self.clock.max(position.clock);
        let pair = self.pairs.get_mut(&peer).unwrap();
        let relay = self.relay || !pair.owed.is_within(&pair.acknowledged);
        let audience = Audience { acknowledged: pair.acknowledged.clone(), lent: pair.lent.clone(), relay };
        let plan = plan_pack(&position, &audience, wanted_full || pair.starts_full);
        let rows = (0..KEYS).filter_map(|key| {
            let image = self.ledger.rows[key].image?;
            let version = self.ledger.version_of(key);
            plan.takes(&version).then_some(Sent { key, image, version })
        });
        pair.sequence += 1;
        let sealed = Rc::new(Backup {
            source: self.index,
            target: peer,
            chain: pair.met,
            sequence: pair.sequence,
            full: plan.selection == Selection::Full,
            rows: rows.collect(),
            bases: self.ledger.bases.clone(),
            above: plan.acknowledged,
            covers: if rules.hold(Rule::Covers) { plan.covers } else { position.knowledge.clone() },
            knowledge: position.knowledge,
            seen: position.seen,
            purged: position.purged,
            clock: position.clock,
            gone: self.ledger.gone,
        });
        pair.sealed = Some(Rc::clone(&sealed));
        sealed
    }

    /// The receipt: what is held here afterwards. Nothing where the backup is refused, or has to wait.
    pub(super) fn receive(
        &mut self,
        backup: &Backup,
        guard: Guard,
        now: u64,
        rules: Rules,
        record: &mut Record,
    ) -> Option<Rc<Knowledge>> {
        let last = self.ledger.applied.get(&backup.source).filter(|last| last.chain == backup.chain);
        if let Some(last) = last.filter(|last| last.sequence == backup.sequence) {
            return Some(Rc::clone(&last.receipt));
        }
        let sequence = last.map_or(0, |last| last.sequence);
        let fits = match guard {
            Guard::Chain => {
                let (own, theirs) = self.pairs[&backup.source].met;
                backup.sequence == sequence + 1 && (backup.chain == (theirs, own) || !rules.hold(Rule::Chain))
            }
            Guard::BuildsOn => {
                let of_an_old_life = backup.chain.0 < self.pairs[&backup.source].met.1;
                let builds_on_ours = backup.full || backup.above.is_within(&self.ledger.knowledge);
                !of_an_old_life && (builds_on_ours || !rules.hold(Rule::BuildsOn))
            }
        };
        if !fits {
            record.tally.refused += 1;
            return None;
        }
        if self.must_wait(backup) {
            record.tally.blocked += 1;
            return None;
        }
        record.tally.fulls += u64::from(backup.full);
        let site = Site { rules, wall: self.wall(now), obstacles: &self.obstacles };
        self.ledger.apply(backup, &site, record);
        let receipt = Rc::new(self.ledger.knowledge.clone());
        let applied =
            Applied { chain: backup.chain, sequence: backup.sequence, receipt: Rc::clone(&receipt) };
        self.ledger.applied.insert(backup.source, applied);
        Some(receipt)
    }

    /// Whether an open transaction of the shop's has locked a row that the backup is about.
    fn must_wait(&self, backup: &Backup) -> bool {
        let is_about = |key: usize| {
            let row = backup.rows.iter().any(|sent| sent.key == key);
            let absent = backup.full && self.ledger.rows[key].image.is_some();
            row || absent || self.ledger.held[key].is_some()
        };
        (0..KEYS).any(|key| self.is_locked(key) && is_about(key))
    }

    /// A receipt has come back.
    pub(super) fn acknowledge(&mut self, backup: &Rc<Backup>, receipt: &Knowledge) {
        let pair = self.pairs.get_mut(&backup.target).unwrap();
        if pair.sealed.as_ref().is_some_and(|sealed| Rc::ptr_eq(sealed, backup)) {
            pair.sealed = None;
            pair.starts_full = false;
            pair.acknowledged.join(receipt);
            pair.lent = backup.seen.clone();
        }
    }

    /// Removes the tombstones that no peer needs any more. `relays` says which peers pass on what others made.
    pub(super) fn purge(&mut self, relays: &[bool], rules: Rules, record: &mut Record) {
        let acknowledgement = |(peer, pair): (&usize, &Pair)| Acknowledgement {
            peer: format!("S{peer}").parse().unwrap(),
            knowledge: pair.acknowledged.clone(),
            relays: relays[*peer] || !pair.awaited.is_within(&self.ledger.knowledge),
        };
        let peers: Vec<Acknowledgement> = self.pairs.iter().map(acknowledgement).collect();
        let mut own = self.ledger.told_knowledge();
        if !rules.hold(Rule::PurgeWaits) {
            // As if we had all that they had.
            peers.iter().for_each(|peer| own.join(&peer.knowledge));
        }
        self.ledger.purge(&purgeable(&own, &peers), record);
    }

    /// The database is restored from a copy. Open transactions of the shop's are gone with the old one.
    pub(super) fn restore(&mut self, copy: &Ledger, rules: Rules) {
        self.ledger = copy.clone();
        self.open.clear();
        let packed = self.packed.get(&copy.own.epoch).copied().unwrap_or_default();
        let remembered = RememberedLife { epoch: self.epoch, packed, clock: self.clock };
        self.ledger.begin_life(&remembered, rules);
        // Even where the rule of the new epoch is left out, each pair starts anew.
        self.epoch = self.epoch.next();
    }
}
