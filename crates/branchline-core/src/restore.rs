//! What becomes of a database that was restored from an old copy.
//!
//! The copy brings an old ledger: old knowledge, an old generation, an old clock, and changes in its log that a pack may
//! have carried to peers since the copy was made. Generations after the copy's were given out already. So:
//!
//! 1. A new epoch begins, with generation 0. What peers still have of the life before comes back from them.
//! 2. Changes in the log that the life before has packed keep the dot of that pack as their `was`: whoever holds it holds
//!    them, or what came after them. The first pack after the copy carried all that was in its log. What the shop has
//!    changed since the copy was put back is later than the last pack, and was carried by none.
//! 3. The clock goes on from the latest moment that is remembered, so that no two changes of this server have one time.
//! 4. Each pair starts anew, in both directions. What was sealed before and not acknowledged is dropped on both sides: it
//!    leaves out what the copy no longer has. Each takes as acknowledged what the other says that it holds now, and gives
//!    whatever the other lacks, whoever made it, until the other has all that was held at that moment
//!    ([`standing`](crate::standing)).
//!
//! Peers may have purged deletions that the copy has never heard of. What becomes of rows then is in [`merge`](crate::merge).

use crate::id::{Epoch, Generation};
use crate::version::{ChangeTime, Dot, Life};

/// What the ledger of the copy says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLife {
    /// The life in which the copy was made.
    pub life: Life,
    /// The last generation that was packed before it was made.
    pub generation: Generation,
    /// Its clock.
    pub clock: ChangeTime,
}

/// What is remembered outside of the copy: by the state, or by the peers where they know more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RememberedLife {
    /// The last epoch of this server.
    pub epoch: Epoch,
    /// The last generation that was packed in the life of the copy, which need not be the last life.
    pub packed: Generation,
    /// The wall clock at the last pack of that life; 0 where changes are not to be marked as carried.
    pub packed_at: ChangeTime,
    /// The latest clock of this server.
    pub clock: ChangeTime,
}

/// The life that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLife {
    /// It; its generation is 0.
    pub own: Life,
    /// What marks the changes in the log that a pack has carried; nothing where none has.
    pub carried: Option<Carried>,
    /// Where the clock goes on from.
    pub clock: ChangeTime,
}

/// Changes in the log of a copy that a pack of the life before has carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The pack: the first after the copy.
    pub by: Dot,
    /// Those that were logged up to then: what the shop has written since the copy was put back is later.
    pub until: ChangeTime,
}

/// Begins a new life in a database that was restored from a copy.
#[must_use]
pub fn begin_life(found: &FoundLife, remembered: &RememberedLife) -> NewLife {
    let epoch = found.life.epoch.max(remembered.epoch).next();
    let by = Dot::new(found.life.clone(), found.generation.next());
    let is_carried = remembered.packed > found.generation;
    NewLife {
        own: Life::new(found.life.server.clone(), epoch),
        carried: is_carried.then_some(Carried { by, until: remembered.packed_at }),
        clock: found.clock.max(remembered.clock),
    }
}
