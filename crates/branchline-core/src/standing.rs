//! How far a peer is: what it said that it holds, and where the chain of our backups to it ends.
//!
//! | word | meaning |
//! |---|---|
//! | standing | what a server says of itself in each hello and receipt: its life, what it holds, whether it relays to us |
//! | acknowledged | what the state keeps of a peer's standing: nothing that it holds is sent to it again |
//! | chain end | the last of our backups that it applied: an increment names it as the one before |
//!
//! Rules:
//! * The latest word counts. A hello replaces what was acknowledged: a peer that knows less than it said was restored from a
//!   copy, and gets again what it lost. A receipt answers an older moment, and is joined.
//! * A peer whose life is another than before was restored or cloned. Until it has answered once it gets everything that it
//!   lacks, whoever made it: it may have lost what only we still have.
//! * An increment goes out only where the peer's last applied backup is the one that it acknowledged. Whatever
//!   else is found there means that its chain starts anew, with a full backup.
//! * A peer that captures no changes says nothing of what it holds: it holds what our chain brought.

use crate::digest::Digest;
use crate::id::{Epoch, Sequence, ServerId};
use crate::knowledge::Knowledge;
use crate::pack::Audience;
use crate::version::Life;

/// What a server that captures changes says of itself to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its life.
    pub life: Life,
    /// All that it holds, held rows too.
    pub knowledge: Knowledge,
    /// Whether it passes on to that peer what others made.
    pub relays: bool,
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
    /// Whether it brings whatever the peer lacks, whoever made it.
    pub gives_all: bool,
    /// Whether it brings every row.
    pub full: bool,
}

/// How far a peer is, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The peer.
    pub peer: ServerId,
    /// Its life when it last said what it holds; nothing where it captures no changes.
    pub life: Option<Epoch>,
    /// What it holds.
    pub knowledge: Knowledge,
    /// Whether it passes on to us what others made.
    pub relays: bool,
    /// Where the chain to it ends; nothing where the next backup must start one.
    pub chain: Option<ChainEnd>,
    /// It gets everything that it lacks, whoever made it.
    pub give_all: bool,
    /// It is so far behind that tombstones are kept for it no longer: only a full backup brings it back.
    pub past_budget: bool,
}

impl Acknowledged {
    /// A peer that has not said anything yet.
    #[must_use]
    pub fn nothing(peer: ServerId) -> Self {
        Self {
            peer,
            life: None,
            knowledge: Knowledge::new(),
            relays: false,
            chain: None,
            give_all: false,
            past_budget: false,
        }
    }

    /// Takes in a hello: what the peer says of itself, and the last of our backups that it applied.
    pub fn hear(&mut self, standing: Option<&Standing>, last_applied: Option<(Epoch, Sequence)>) {
        let ends_there = |chain: &ChainEnd| last_applied == Some((chain.epoch, chain.sequence));
        self.chain = self.chain.take().filter(ends_there);
        match standing {
            Some(standing) => {
                self.meet(standing);
                self.knowledge = standing.knowledge.clone();
            }
            None if self.life.is_some() || self.chain.is_none() => {
                self.life = None;
                self.relays = false;
                self.knowledge = Knowledge::new();
            }
            None => {}
        }
    }

    /// Takes in a receipt that says that a backup was applied, held rows excepted.
    pub fn take_receipt(&mut self, packed: &Packed, end: ChainEnd, standing: Option<&Standing>) {
        let lived = self.life;
        match standing {
            // It was written before the life that the peer has now.
            Some(standing) if lived.is_some_and(|lived| standing.life.epoch < lived) => return,
            Some(standing) if lived == Some(standing.life.epoch) => {
                self.meet(standing);
                self.knowledge.join(&standing.knowledge);
            }
            Some(standing) => {
                self.meet(standing);
                self.knowledge = standing.knowledge.clone();
            }
            None if packed.full => self.knowledge = packed.covers.clone(),
            None => self.knowledge.join(&packed.covers),
        }
        self.chain = Some(end);
        let same_life =
            standing.is_none_or(|standing| lived.is_none_or(|lived| lived == standing.life.epoch));
        if packed.full || (packed.gives_all && same_life) {
            self.give_all = false;
        }
        self.past_budget &= !packed.full;
    }

    /// Every pair starts anew: our own database began another life.
    pub fn begin_anew(&mut self) {
        self.chain = None;
        self.give_all = true;
    }

    /// Whom a pack is for. `relay` is what the settings of the peer say.
    #[must_use]
    pub fn audience(&self, relay: bool) -> Audience {
        Audience {
            acknowledged: self.knowledge.clone(),
            relay: relay || self.give_all,
            // Not kept: rows beyond what is covered are sent again while one of their life is held.
            lent: Knowledge::new(),
        }
    }

    /// The backup that an increment of that epoch follows; nothing where only a full backup can go.
    #[must_use]
    pub fn previous(&self, epoch: Epoch) -> Option<ChainEnd> {
        self.chain.filter(|chain| chain.epoch == epoch && !self.past_budget)
    }

    fn meet(&mut self, standing: &Standing) {
        self.give_all |= self.life.is_some_and(|lived| lived != standing.life.epoch);
        self.life = Some(standing.life.epoch);
        self.relays = standing.relays;
    }
}

#[cfg(test)]
mod tests;
