//! What a pack brings to one peer: whatever the peer does not know, and nothing that it does.
//!
//! An increment holds the rows whose versions are above the peer's knowledge; a full backup holds every row. A server
//! that does not relay sends only what it made itself, and so may not let the receiver claim (`covers`) more than that.

use crate::day::{BusinessDay, DayTable, DayTotals};
use crate::id::{Generation, ServerId};
use crate::knowledge::Knowledge;
use crate::scope::PeerScope;
use crate::version::{ChangeTime, Dot, Life, Version};

/// A position: the moment of a snapshot, as the ledger tells it. All that the snapshot shows is stamped with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Our life.
    pub own: Life,
    /// The generation of our newest changes in the snapshot.
    pub generation: Generation,
    /// All that is held in the snapshot, but for the lives of held rows: of them what is before the first that is held
    /// ([`Knowledge::without`]).
    pub knowledge: Knowledge,
    /// Of each life the highest generation that any row in the snapshot has ([`seen_in`]). It is more than `knowledge` where
    /// rows are held, and where rows came in beyond what their backup covered, because its sender held some.
    pub seen: Knowledge,
    /// The join of the dots of tombstones that were purged, [as far as](Knowledge::up_to) `knowledge` goes: a horizon beyond
    /// what we may claim could never be reached by a peer.
    pub purged: Knowledge,
    /// The clock: no version in the snapshot is later.
    pub clock: ChangeTime,
    /// What the business day that was asked about came to in the snapshot.
    pub day: Vec<DayTotals>,
}

/// What a position is to tell besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackRequest {
    /// A business day, and the tables that its close counts.
    pub day: Option<(BusinessDay, Vec<DayTable>)>,
}

/// What a position has seen: `all` that is held there, held rows too, and the `newest` versions of rows by their lives. It
/// ends before a held row that is beyond `all`, for nothing else will tell that such a one went in.
#[must_use]
pub fn seen_in<'a>(
    all: &Knowledge,
    newest: &Knowledge,
    held: impl IntoIterator<Item = &'a Dot>,
) -> Knowledge {
    let mut seen = all.clone();
    seen.join(newest);
    seen.without(held.into_iter().filter(|dot| !all.has(dot)))
}

/// What is known of the peer that a pack is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// What it said that it holds.
    pub acknowledged: Knowledge,
    /// What was `seen` at the position of the last backup that it acknowledged, since its life and ours began. It has these
    /// rows, and may not claim more than was covered. With nothing here they are sent each time until what is held
    /// goes in.
    pub lent: Knowledge,
    /// Whether it gets what others made too: because the settings say so, or because we owe it that
    /// ([`restore`](crate::restore)).
    pub relay: bool,
}

impl Audience {
    /// Whether changes of that life are sent to it by `own`.
    #[must_use]
    pub fn gets(&self, own: &ServerId, life: &Life) -> bool {
        self.relay || life.server == *own
    }
}

/// Which rows go into a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every row and every tombstone.
    Full,
    /// The rows whose versions are above these floors.
    Above(Vec<Floor>),
}

/// Of one life, the rows that are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// The life.
    pub life: Life,
    /// Generations above this one are sent; all of them, the base too, where nothing is said.
    pub above: Option<Generation>,
}

/// A pack for one peer, decided and not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackPlan {
    /// Which rows.
    pub selection: Selection,
    /// What the peer may claim to know once it has applied them.
    pub covers: Knowledge,
    /// What the backup builds on: what the peer said that it knows. Rows that it knows are left out, so that an increment is
    /// of use only to one that still holds all of this.
    pub acknowledged: Knowledge,
    /// Which rows the peer gets, where filters keep some back.
    pub scope: Option<ScopedPeer>,
}

/// A peer that does not get all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedPeer {
    /// The peer.
    pub peer: ServerId,
    /// Which rows it gets.
    pub scope: PeerScope,
}

impl PackPlan {
    /// The same plan for a peer that filters keep rows from.
    #[must_use]
    pub fn scoped(mut self, peer: ServerId, scope: PeerScope) -> Self {
        self.scope = (!scope.is_whole()).then_some(ScopedPeer { peer, scope });
        self
    }

    /// Whether the peer gets rows of that life at all. Where filters keep rows back, one may come into scope that did not
    /// change itself. What the peer made itself it gets back in any case: it may have lost it when it left the scope.
    #[must_use]
    pub fn gets(&self, life: &Life) -> bool {
        let is_its_own = self.scope.as_ref().is_some_and(|scoped| scoped.peer == life.server);
        is_its_own || self.covers.generation(life).is_some()
    }

    /// Whether a row of that version goes into the backup. A change that the peer knows by the dot of a life before goes all
    /// the same: the peer may hold it, and then has to learn of the other dot.
    #[must_use]
    pub fn takes(&self, version: &Version) -> bool {
        match &self.selection {
            Selection::Full => true,
            Selection::Above(floors) => {
                let above = |floor: &Floor| floor.above.is_none_or(|above| version.dot.generation > above);
                floors.iter().any(|floor| floor.life == version.dot.life && above(floor))
            }
        }
    }
}

/// Decides what a pack at that position brings to that peer. It is a full backup where one is `wanted`, where the peer
/// never said what it knows, and where it may lack a tombstone that is gone.
#[must_use]
pub fn plan_pack(position: &Position, audience: &Audience, wanted_full: bool) -> PackPlan {
    let known = &audience.acknowledged;
    let full = wanted_full || known.is_empty() || !position.purged.is_within(known);
    if full {
        return PackPlan {
            selection: Selection::Full,
            covers: position.knowledge.clone(),
            acknowledged: known.clone(),
            scope: None,
        };
    }
    let own = &position.own.server;
    let mut seen = position.seen.clone();
    seen.join(&position.knowledge);
    let floors = seen.iter().filter(|(life, _)| audience.gets(own, life)).filter_map(|(life, seen)| {
        let acknowledged = known.generation(life);
        // Where it may claim no more than it does, it has what was lent to it. Where it may, something went in since
        // that was held, and nobody knows any more what that was: all of it is sent once more.
        let claims_all = position.knowledge.generation(life) <= acknowledged;
        let above = acknowledged.max(audience.lent.generation(life).filter(|_| claims_all));
        (above < Some(seen)).then(|| Floor { life: life.clone(), above })
    });
    let floors = floors.collect();
    PackPlan {
        selection: Selection::Above(floors),
        covers: position.knowledge.only(|life| audience.gets(own, life)),
        acknowledged: known.clone(),
        scope: None,
    }
}

/// What a peer said that it holds, and whether all has come here since that it had in hand then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// What it said that it holds.
    pub knowledge: Knowledge,
    /// Whether everything was applied here that it had sealed for us when it said so. What it seals later it seals with
    /// all of `knowledge` in mind.
    pub caught_up: bool,
}

/// The dots whose tombstones may go: every peer has them, and nothing is on its way here that a peer sealed before it had
/// them, for a row that lost against a tombstone there may be in it. Nothing may go where any peer has not answered yet. `own` is
/// what we may claim ([`Position::knowledge`]), which is less than what we hold where rows are held.
#[must_use]
pub fn purgeable(own: &Knowledge, peers: &[Acknowledgement]) -> Knowledge {
    if peers.is_empty() || !peers.iter().all(|peer| peer.caught_up) {
        return Knowledge::new();
    }
    peers.iter().fold(own.clone(), |everywhere, peer| everywhere.up_to(&peer.knowledge))
}
