//! A server: a database, and the state beside it, which a restore of the database leaves alone.
//!
//! What is kept of a peer, and how a pair meets, are the core's own rules ([`Acknowledged`]); which backup is accepted is
//! done here as the node does it (`crates/branchline/src/node/inbox.rs`).

use std::collections::BTreeMap;
use std::rc::Rc;

use branchline_core::digest::Digest;
use branchline_core::id::{Epoch, Generation, Sequence, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::pack::{Selection, plan_pack, purgeable};
use branchline_core::restore::RememberedLife;
use branchline_core::scope::ScopeMark;
use branchline_core::standing::{Acknowledged, ChainEnd, Ourselves, Packed, Standing};
use branchline_core::version::ChangeTime;

use super::apply::Site;
use super::backup::{Applied, Backup, Sent};
use super::ledger::{Image, KEYS, Ledger};
use super::record::Record;
use super::rules::{Rule, Rules};

/// What keeps an increment from being applied where it does not belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// As the node does it: an increment names the backup that it goes on from and the life that it is for. Where a pair
    /// meets anew, a full backup comes first.
    Chain,
    /// Harder on the other rules: whatever is of the lives that source and target have now is applied, in any order and
    /// again and again, and after a restore increments may come first.
    Lives,
}

/// What all that a server does depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions {
    pub(super) rules: Rules,
    pub(super) guard: Guard,
    /// A pair that meets anew begins with a full backup in any case.
    pub(super) anew_by_full: bool,
    /// True time.
    pub(super) now: u64,
}

/// A transaction of the shop's that is still open: its keys are locked, and nobody sees its changes.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) changes: Vec<(usize, Image, ChangeTime)>,
}

/// What a server keeps of a peer.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) acknowledged: Acknowledged,
    /// The last place that was given out.
    pub(super) sequence: Sequence,
    /// The backup that waits for its receipt.
    pub(super) sealed: Option<Rc<Backup>>,
}

/// The last pack of a life.
#[derive(Debug, Clone, Copy, Default)]
struct LastPack {
    generation: Generation,
    /// The wall clock then.
    at: ChangeTime,
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
    /// The database was restored, and its new life has not begun.
    pub(super) is_rewound: bool,
    /// The last epoch.
    epoch: Epoch,
    /// Of each epoch, the last pack.
    packed: BTreeMap<Epoch, LastPack>,
    /// The clock at the last pack.
    clock: ChangeTime,
}

impl Server {
    /// A server without peers.
    pub(super) fn new(index: usize, relay: bool, skew: i64, ledger: Ledger) -> Self {
        Self {
            index,
            name: ledger.own.server.clone(),
            relay,
            skew,
            epoch: ledger.own.epoch,
            ledger,
            open: Vec::new(),
            obstacles: [false; KEYS],
            pairs: BTreeMap::new(),
            is_rewound: false,
            packed: BTreeMap::new(),
            clock: ChangeTime::default(),
        }
    }

    /// Takes a server as a peer that says that it holds that already.
    pub(super) fn pair_with(&mut self, peer: usize, name: ServerId, acknowledged: Knowledge) {
        let acknowledged = Acknowledged { knowledge: acknowledged, ..Acknowledged::nothing(name) };
        let pair = Pair { acknowledged, sequence: Sequence::new(0), sealed: None };
        self.pairs.insert(peer, pair);
    }

    /// What its wall clock shows.
    pub(super) fn wall(&self, now: u64) -> ChangeTime {
        ChangeTime::from_micros(now.saturating_add_signed(self.skew))
    }

    /// Whether an open transaction has a lock on it.
    pub(super) fn is_locked(&self, key: usize) -> bool {
        self.open.iter().flat_map(|open| &open.changes).any(|(locked, ..)| *locked == key)
    }

    /// What it says of itself to a peer.
    fn standing_for(&self, peer: usize) -> Standing {
        let sealed = self.pairs.get(&peer).map_or_else(Sequence::default, |pair| pair.sequence);
        Standing { life: self.ledger.own.clone(), knowledge: self.ledger.knowledge.clone(), sealed }
    }

    fn ourselves(&self) -> Ourselves {
        Ourselves { epoch: self.ledger.own.epoch, knowledge: self.ledger.knowledge.clone() }
    }

    /// Hears a peer's hello.
    pub(super) fn meet(&mut self, peer: &Self, conditions: &Conditions) {
        let ours = self.ourselves();
        let last_applied = peer.ledger.applied.get(&self.index);
        let last_applied = last_applied.map(|applied| (applied.epoch, applied.sequence));
        let pair = self.pairs.get_mut(&peer.index).unwrap();
        let standing = peer.standing_for(self.index);
        let anew = pair.acknowledged.hear(&ours, Some(&standing), last_applied);
        if anew && conditions.rules.hold(Rule::Chain) {
            pair.sealed = None;
        }
        if !conditions.rules.hold(Rule::GiveAllBack) {
            pair.acknowledged.owed = Knowledge::new();
        }
    }

    /// One sealed backup a peer that it has not acknowledged: made once, sent as often as need be.
    pub(super) fn pack(
        &mut self,
        peer: usize,
        number: usize,
        wanted_full: bool,
        conditions: &Conditions,
    ) -> Rc<Backup> {
        let rules = conditions.rules;
        if let Some(sealed) = &self.pairs[&peer].sealed {
            return Rc::clone(sealed);
        }
        let position = self.ledger.take_position(rules);
        let at = self.wall(conditions.now);
        let last = self.packed.entry(position.own.epoch).or_default();
        *last = LastPack { generation: position.generation.max(last.generation), at };
        self.clock = self.clock.max(position.clock);

        let pair = self.pairs.get_mut(&peer).unwrap();
        let previous = pair.acknowledged.previous(position.own.epoch);
        let by_full = conditions.guard == Guard::Chain || conditions.anew_by_full;
        let wanted_full = wanted_full || (previous.is_none() && by_full);
        let plan = plan_pack(&position, &pair.acknowledged.audience(self.relay), wanted_full);
        let full = plan.selection == Selection::Full;
        let rows = (0..KEYS).filter_map(|key| {
            let image = self.ledger.rows[key].image?;
            let version = self.ledger.version_of(key);
            plan.takes(&version).then_some(Sent { key, image, version })
        });
        let rows: Vec<Sent> = rows.collect();
        pair.sequence = pair.sequence.next();
        let sealed = Rc::new(Backup {
            source: self.index,
            target: peer,
            epoch: position.own.epoch,
            target_epoch: pair.acknowledged.target_epoch(),
            sequence: pair.sequence,
            metadata: Digest::of(&number.to_be_bytes()),
            previous: previous.filter(|_| !full).map(|previous| previous.metadata),
            above: plan.acknowledged,
            packed: Packed {
                epoch: position.own.epoch,
                covers: if rules.hold(Rule::Covers) { plan.covers } else { position.knowledge.clone() },
                seen: position.seen,
                full,
                scope: ScopeMark::default(),
            },
            rows,
            bases: self.ledger.bases.clone(),
            knowledge: position.knowledge,
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
        conditions: &Conditions,
        record: &mut Record,
    ) -> Option<Standing> {
        let last = self.ledger.applied.get(&backup.source);
        if let Some(last) = last.filter(|last| last.metadata == backup.metadata) {
            return Some(last.receipt.clone());
        }
        if !self.fits(backup, conditions) {
            record.tally.refused += 1;
            return None;
        }
        if self.must_wait(backup) {
            record.tally.blocked += 1;
            return None;
        }
        record.tally.fulls += u64::from(backup.packed.full);
        let wall = self.wall(conditions.now);
        let site = Site { rules: conditions.rules, wall, obstacles: &self.obstacles };
        self.ledger.apply(backup, &site, record);
        let receipt = self.standing_for(backup.source);
        let Backup { epoch, sequence, metadata, .. } = *backup;
        let applied = Applied { epoch, sequence, metadata, receipt: receipt.clone() };
        self.ledger.applied.insert(backup.source, applied);
        Some(receipt)
    }

    /// Whether a backup may be applied here now.
    fn fits(&self, backup: &Backup, conditions: &Conditions) -> bool {
        let full = backup.packed.full;
        let is_for_us = backup.target_epoch.is_none_or(|meant| meant == self.ledger.own.epoch);
        let is_chain_kept = conditions.rules.hold(Rule::Chain);
        match conditions.guard {
            Guard::Chain => {
                let last = self.ledger.applied.get(&backup.source);
                let last = last.filter(|last| last.epoch == backup.epoch);
                let is_later = last.is_none_or(|last| last.sequence < backup.sequence);
                let goes_on = last.is_some_and(|last| backup.previous == Some(last.metadata));
                is_later && (full || (goes_on && is_for_us) || !is_chain_kept)
            }
            Guard::Lives => {
                let met = self.pairs.get(&backup.source).and_then(|pair| pair.acknowledged.met);
                let of_this_life = met.is_none_or(|(_, theirs)| theirs == backup.epoch);
                full || (is_for_us && of_this_life) || !is_chain_kept
            }
        }
    }

    /// Whether an open transaction of the shop's has locked a row that the backup is about.
    fn must_wait(&self, backup: &Backup) -> bool {
        let is_about = |key: usize| {
            let sent = backup.rows.iter().any(|sent| sent.key == key);
            let absent = backup.packed.full && self.ledger.rows[key].image.is_some();
            sent || absent || self.ledger.held[key].is_some()
        };
        (0..KEYS).any(|key| self.is_locked(key) && is_about(key))
    }

    /// A receipt has come back.
    pub(super) fn acknowledge(&mut self, backup: &Rc<Backup>, receipt: &Standing, conditions: &Conditions) {
        let ours = self.ourselves();
        let pair = self.pairs.get_mut(&backup.target).unwrap();
        if pair.sealed.as_ref().is_some_and(|sealed| Rc::ptr_eq(sealed, backup)) {
            pair.sealed = None;
            let Backup { epoch, sequence, metadata, .. } = **backup;
            let end = ChainEnd { epoch, sequence, metadata };
            pair.acknowledged.take_receipt(&ours, &backup.packed, end, Some(receipt));
            if !conditions.rules.hold(Rule::OwedToTheEnd) {
                pair.acknowledged.owed = Knowledge::new();
            }
        }
    }

    /// The peer has refused what was sealed for it: it misses something before it.
    pub(super) fn start_chain_anew(&mut self, peer: usize) {
        let pair = self.pairs.get_mut(&peer).unwrap();
        pair.sealed = None;
        pair.acknowledged.chain = None;
    }

    /// Removes the tombstones that no peer needs any more.
    pub(super) fn purge(&mut self, rules: Rules, record: &mut Record) {
        let peers = self.pairs.iter().map(|(peer, pair)| {
            let applied = self.ledger.applied.get(peer).map(|applied| applied.sequence);
            let mut peer = pair.acknowledged.acknowledgement(applied);
            peer.caught_up |= !rules.hold(Rule::PurgeWaits);
            peer
        });
        let own = self.ledger.told_knowledge(rules);
        let known_to_all = purgeable(&own, &peers.collect::<Vec<_>>());
        self.ledger.purge(&known_to_all, record);
    }

    /// The database is restored from a copy. Open transactions of the shop's are gone with the old one. The shop goes on
    /// writing at once; nothing is packed or applied before the new life begins.
    pub(super) fn restore(&mut self, copy: &Ledger) {
        self.ledger = copy.clone();
        self.open.clear();
        self.is_rewound = true;
    }

    /// Somebody has said that the restored database is the one that goes on.
    pub(super) fn begin_life(&mut self, marks_carried: bool, rules: Rules) {
        let packed = self.packed.get(&self.ledger.own.epoch).copied().unwrap_or_default();
        let packed_at = if marks_carried { packed.at } else { ChangeTime::default() };
        let remembered =
            RememberedLife { epoch: self.epoch, packed: packed.generation, packed_at, clock: self.clock };
        self.ledger.begin_life(&remembered, rules);
        self.epoch = self.epoch.max(self.ledger.own.epoch);
        self.is_rewound = false;
    }
}
