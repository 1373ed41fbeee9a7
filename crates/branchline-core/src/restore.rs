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
//!    whatever the other lacks, whoever made it, until that was acknowledged once
//!    ([`Audience::relay`](crate::pack::Audience::relay) is set for it). Until then each counts as relaying for
//!    [`purgeable`](crate::pack::purgeable).
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
    /// The latest clock of this server.
    pub clock: ChangeTime,
}

/// The life that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLife {
    /// It; its generation is 0.
    pub own: Life,
    /// What becomes the `was` of the changes in the log that have none; nothing where no pack has carried them.
    pub carried: Option<Dot>,
    /// Where the clock goes on from.
    pub clock: ChangeTime,
}

/// Begins a new life in a database that was restored from a copy.
#[must_use]
pub fn begin_life(found: &FoundLife, remembered: &RememberedLife) -> NewLife {
    let epoch = found.life.epoch.max(remembered.epoch).next();
    NewLife {
        own: Life::new(found.life.server.clone(), epoch),
        carried: carried_before(&found.life, found.generation, remembered.packed),
        clock: found.clock.max(remembered.clock),
    }
}

/// The dot under which changes in the log of a copy have travelled, where the copy was made in that life after that
/// generation, and `packed` is the last that was packed in it.
#[must_use]
pub fn carried_before(life: &Life, generation: Generation, packed: Generation) -> Option<Dot> {
    (packed > generation).then(|| Dot::new(life.clone(), generation.next()))
}
