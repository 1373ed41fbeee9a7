//! How far a peer is: what it said that it holds, and where the chain of our backups to it ends.
//!
//! | word | meaning |
//! |---|---|
//! | standing | what a server says of itself in each hello and receipt: its life, what it holds, what it has sealed for us |
//! | acknowledged | what the state keeps of a peer's standing: nothing that it holds is sent to it again |
//! | chain end | the last of our backups that it applied: an increment names it as the one before |
//! | meeting | the first word between two lives: where either side has begun another life, the pair meets anew |
//! | owed | what we held when the pair met anew |
//!
//! Rules:
//! * The latest word counts. A hello replaces what was acknowledged: a peer that knows less than it said was restored from a
//!   copy, and gets again what it lost. A receipt answers an older moment, and is joined.
//! * Where a pair meets anew ([`restore`](crate::restore)), its chain starts with a full backup. Until the peer holds all
//!   that is owed, it gets whatever it lacks, whoever made it.
//! * What a peer had sealed for us when it last spoke may hold rows that lost against a tombstone there: until we have
//!   applied it, tombstones are kept ([`purgeable`](crate::pack::purgeable)).
//! * An increment goes out only where the peer's last applied backup is the one that it acknowledged. Whatever
//!   else is found there means that its chain starts anew too.
//! * A peer that captures no changes says nothing of what it holds: it holds what our chain brought.

use crate::digest::Digest;
use crate::id::{Epoch, Sequence, ServerId};
use crate::knowledge::Knowledge;
use crate::pack::{Acknowledgement, Audience};
use crate::scope::ScopeMark;
use crate::version::Life;

/// What a server that captures changes says of itself to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its life.
    pub life: Life,
    /// All that it holds, held rows too.
    pub knowledge: Knowledge,
    /// The last place in its chain to that peer that it has given out, or is giving out at this moment; 0 where none.
    pub sealed: Sequence,
}

/// The last of our backups that a peer applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainEnd {
    /// Our epoch then.
    pub epoch: Epoch,
    /// Its place in the chain.
    pub sequence: Sequence,
    /// The digest of its metadata.
    pub metadata: Digest,
}

/// From which position a backup was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Our epoch.
    pub epoch: Epoch,
    /// What the peer may claim to know once it has applied it.
    pub covers: Knowledge,
    /// Of each life the highest generation that any row here had.
    pub seen: Knowledge,
    /// Whether it brings every row.
    pub full: bool,
    /// The scope of the rows that it brings.
    pub scope: ScopeMark,
}

/// Our own side of a meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ourselves {
    /// Our epoch.
    pub epoch: Epoch,
    /// All that we hold, held rows too.
    pub knowledge: Knowledge,
}

/// How far a peer is, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The peer.
    pub peer: ServerId,
    /// The epochs in which the pair last met: ours, and the peer's; nothing where it captures no changes.
    pub met: Option<(Epoch, Epoch)>,
    /// What it holds.
    pub knowledge: Knowledge,
    /// What was seen at the position of the last backup that it acknowledged.
    pub lent: Knowledge,
    /// What we held when the pair met anew.
    pub owed: Knowledge,
    /// The last place in its chain to us that it had given out when it last spoke.
    pub sealed: Sequence,
    /// Where the chain to it ends; nothing where the next backup must start one.
    pub chain: Option<ChainEnd>,
    /// It is so far behind that tombstones are kept for it no longer: only a full backup brings it back.
    pub past_budget: bool,
    /// The scope of the last backup that it acknowledged.
    pub scope: ScopeMark,
}

impl Acknowledged {
    /// A peer that has not said anything yet.
    #[must_use]
    pub fn nothing(peer: ServerId) -> Self {
        Self {
            peer,
            met: None,
            knowledge: Knowledge::new(),
            lent: Knowledge::new(),
            owed: Knowledge::new(),
            sealed: Sequence::new(0),
            chain: None,
            past_budget: false,
            scope: ScopeMark::default(),
        }
    }

    /// Whether a pair that says this meets anew.
    #[must_use]
    pub fn meets_anew(&self, own: Epoch, standing: Option<&Standing>) -> bool {
        let theirs = standing.map(|standing| standing.life.epoch);
        self.met.zip(theirs).is_some_and(|(met, theirs)| met != (own, theirs))
    }

    /// Takes in a hello: what the peer says of itself, and the last of our backups that it applied. Answers whether the
    /// pair has met anew: what was sealed for the life before is of no use.
    pub fn hear(
        &mut self,
        ours: &Ourselves,
        standing: Option<&Standing>,
        last_applied: Option<(Epoch, Sequence)>,
    ) -> bool {
        let ends_there = |chain: &ChainEnd| last_applied == Some((chain.epoch, chain.sequence));
        self.chain = self.chain.take().filter(ends_there);
        let Some(standing) = standing else {
            self.hear_nothing();
            return false;
        };
        let anew = self.meet(ours, standing);
        if !self.knowledge.is_within(&standing.knowledge) {
            self.lent = Knowledge::new();
        }
        self.knowledge = standing.knowledge.clone();
        anew
    }

    /// Takes in a receipt that says that a backup was applied, held rows excepted. Answers as a hello does.
    pub fn take_receipt(
        &mut self,
        ours: &Ourselves,
        packed: &Packed,
        end: ChainEnd,
        standing: Option<&Standing>,
    ) -> bool {
        let of_a_life_before = packed.epoch != ours.epoch
            || standing.is_some_and(|said| self.met.is_some_and(|(_, lived)| said.life.epoch < lived));
        if of_a_life_before {
            return false;
        }
        let anew = standing.is_some_and(|standing| self.meet(ours, standing));
        match standing {
            Some(standing) => self.knowledge.join(&standing.knowledge),
            None if packed.full => self.knowledge = packed.covers.clone(),
            None => self.knowledge.join(&packed.covers),
        }
        // An increment for another life than the peer has now is refused; a full backup needs nothing before it.
        if !anew || packed.full {
            self.chain = Some(end);
            self.lent = packed.seen.clone();
            self.scope = packed.scope.clone();
        }
        self.past_budget &= !packed.full;
        anew
    }

    /// Whom a pack is for. `relay` is what the settings of the peer say.
    #[must_use]
    pub fn audience(&self, relay: bool) -> Audience {
        let owes = !self.owed.is_within(&self.knowledge);
        Audience { acknowledged: self.knowledge.clone(), lent: self.lent.clone(), relay: relay || owes }
    }

    /// What counts of it where tombstones are purged. `applied` is the place of its last backup that was applied here.
    #[must_use]
    pub fn acknowledgement(&self, applied: Option<Sequence>) -> Acknowledgement {
        let caught_up = self.sealed <= applied.unwrap_or_default();
        Acknowledgement { knowledge: self.knowledge.clone(), caught_up }
    }

    /// The backup that an increment of that epoch follows; nothing where only a full backup can go.
    #[must_use]
    pub fn previous(&self, epoch: Epoch) -> Option<ChainEnd> {
        self.chain.filter(|chain| chain.epoch == epoch && !self.past_budget)
    }

    /// The epoch of the peer's database; nothing where it captures no changes.
    #[must_use]
    pub fn target_epoch(&self) -> Option<Epoch> {
        self.met.map(|(_, theirs)| theirs)
    }

    /// It captures no changes, or captures them no more.
    fn hear_nothing(&mut self) {
        if self.met.is_some() || self.chain.is_none() {
            let scope = std::mem::take(&mut self.scope);
            *self = Self { past_budget: self.past_budget, scope, ..Self::nothing(self.peer.clone()) };
        }
    }

    fn meet(&mut self, ours: &Ourselves, standing: &Standing) -> bool {
        let now = (ours.epoch, standing.life.epoch);
        self.sealed = standing.sealed;
        let before = self.met.replace(now);
        if before.is_none_or(|before| before == now) {
            return false;
        }
        self.chain = None;
        self.knowledge = standing.knowledge.clone();
        self.lent = Knowledge::new();
        self.owed = ours.knowledge.clone();
        true
    }
}

#[cfg(test)]
mod tests;
