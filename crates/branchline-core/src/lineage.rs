//! Whether the application database is the one that this server worked with before, and not older than it was then.
//!
//! The ledger goes with the database: a copy that is put back brings an old ledger. The state is outside it and remembers
//! what was packed last; peers remember it too. A database that is behind what is remembered was restored from a copy, or
//! another copy of it went on elsewhere. Nothing may be packed from it under the old life, since its next
//! generation was given out already; a person begins a new life once it is certain which copy goes on.

use crate::code::{Code, Explain};
use crate::id::{Epoch, Generation, Sequence};
use crate::ports::Ledger;
use crate::standing::Standing;
use crate::version::{ChangeTime, Life};

/// What the state remembers of the application database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The name of the copy; nothing where capture was taken out since.
    pub database: Option<String>,
    /// Its last epoch.
    pub epoch: Epoch,
    /// The last generation that was packed and sealed in it.
    pub generation: Generation,
    /// The clock at that pack.
    pub clock: ChangeTime,
    /// When that was, by the wall clock.
    pub packed_at: ChangeTime,
}

/// Why nothing may be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub enum LineageFault {
    /// Another database is behind the URL than before.
    #[error("this is another database than the one whose changes this server has sent so far")]
    OtherDatabase,
    /// The ledger is behind what the state remembers.
    #[error(
        "the database is at epoch {epoch}, generation {generation}, and this server has sent epoch \
         {sent_epoch}, generation {sent_generation}: it was restored from a copy"
    )]
    Behind { epoch: Epoch, generation: Generation, sent_epoch: Epoch, sent_generation: Generation },
    /// A peer holds more of this server's changes than the ledger has packed.
    #[error(
        "{peer} holds changes of this server up to epoch {known_epoch}, generation {known_generation}, and the \
         database is at epoch {epoch}, generation {generation}: it was restored from a copy, or two copies are in use"
    )]
    PeerIsAhead {
        peer: String,
        epoch: Epoch,
        generation: Generation,
        known_epoch: Epoch,
        known_generation: Generation,
    },
}

impl Explain for LineageFault {
    fn code(&self) -> Code {
        match self {
            Self::OtherDatabase => Code::ATTACHED_BY_ANOTHER,
            Self::Behind { .. } | Self::PeerIsAhead { .. } => Code::DATABASE_REWOUND,
        }
    }
}

/// Holds the ledger of an attached database against what the state remembers.
///
/// # Errors
/// Where a person has to say which life goes on.
pub fn check_remembered(remembered: Option<&Remembered>, ledger: &Ledger) -> Result<(), LineageFault> {
    let Some(remembered) = remembered else { return Ok(()) };
    // Where capture was taken out, the ledger went with it, and the next life is later anyway.
    let Some(database) = &remembered.database else { return Ok(()) };
    if *database != ledger.database_id {
        return Err(LineageFault::OtherDatabase);
    }
    if (ledger.epoch, ledger.generation) < (remembered.epoch, remembered.generation) {
        return Err(LineageFault::Behind {
            epoch: ledger.epoch,
            generation: ledger.generation,
            sent_epoch: remembered.epoch,
            sent_generation: remembered.generation,
        });
    }
    Ok(())
}

/// Holds our own life against what a peer holds of it and has applied.
///
/// # Errors
/// As above.
pub fn check_peer(
    own: &Life,
    generation: Generation,
    peer: &str,
    standing: Option<&Standing>,
    last_applied: Option<(Epoch, Sequence)>,
) -> Result<(), LineageFault> {
    let held = standing.into_iter().flat_map(|standing| standing.knowledge.iter());
    let held = held.filter(|(life, _)| life.server == own.server).map(|(life, held)| (life.epoch, held));
    let applied = last_applied.map(|(epoch, _)| (epoch, Generation::new(0)));
    let Some((known_epoch, known_generation)) = held.chain(applied).max() else { return Ok(()) };
    if (known_epoch, known_generation) <= (own.epoch, generation) {
        return Ok(());
    }
    Err(LineageFault::PeerIsAhead {
        peer: peer.to_owned(),
        epoch: own.epoch,
        generation,
        known_epoch,
        known_generation,
    })
}

/// The epoch that a new life begins with: later than any that this server is known to have had.
#[must_use]
pub fn next_epoch(remembered: Option<&Remembered>, ledger: &Ledger, known_to_peers: Option<Epoch>) -> Epoch {
    let remembered = remembered.map(|remembered| remembered.epoch);
    let last = [Some(ledger.epoch), remembered, known_to_peers].into_iter().flatten().max();
    last.unwrap_or(ledger.epoch).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Knowledge;

    fn ledger(database: &str, epoch: u64, generation: u64) -> Ledger {
        Ledger {
            database_id: database.to_owned(),
            epoch: Epoch::new(epoch),
            generation: Generation::new(generation),
            engine: String::new(),
        }
    }

    fn remembered(database: Option<&str>) -> Remembered {
        Remembered {
            database: database.map(str::to_owned),
            epoch: Epoch::new(2),
            generation: Generation::new(5),
            clock: ChangeTime::from_micros(9),
            packed_at: ChangeTime::from_micros(8),
        }
    }

    #[test]
    fn a_ledger_behind_what_is_remembered_was_restored() {
        let check = |ledger| check_remembered(Some(&remembered(Some("a"))), &ledger).map_err(|f| f.code());
        assert_eq!(check_remembered(None, &ledger("a", 1, 0)), Ok(()));
        for (epoch, generation, expected) in [
            (2, 5, Ok(())),
            (2, 6, Ok(())),
            (3, 0, Ok(())),
            (2, 4, Err(Code::DATABASE_REWOUND)),
            (1, 9, Err(Code::DATABASE_REWOUND)),
        ] {
            assert_eq!(check(ledger("a", epoch, generation)), expected, "{epoch}/{generation}");
        }
        assert_eq!(check(ledger("b", 9, 9)), Err(Code::ATTACHED_BY_ANOTHER));
        assert_eq!(check_remembered(Some(&remembered(None)), &ledger("b", 9, 9)), Ok(()));
    }

    #[test]
    fn a_peer_that_holds_more_of_us_than_we_have_packed_is_believed() {
        let own = Life::new("S1".parse().unwrap(), Epoch::new(2));
        let says = |epoch: u64, generation: u64| Standing {
            life: Life::new("HQ".parse().unwrap(), Epoch::new(1)),
            knowledge: Knowledge::from_iter([
                (Life::new(own.server.clone(), Epoch::new(epoch)), Generation::new(generation)),
                (Life::new("S2".parse().unwrap(), Epoch::new(8)), Generation::new(80)),
            ]),
            sealed: Sequence::new(0),
        };
        let check = |standing: Option<Standing>, applied: Option<u64>| {
            let applied = applied.map(|epoch| (Epoch::new(epoch), Sequence::new(70)));
            check_peer(&own, Generation::new(5), "HQ", standing.as_ref(), applied).is_ok()
        };
        assert!(check(None, None) && check(Some(says(2, 5)), Some(2)) && check(Some(says(1, 50)), None));
        assert!(!check(Some(says(2, 6)), None) && !check(Some(says(3, 0)), None) && !check(None, Some(3)));
    }

    #[test]
    fn a_new_life_is_later_than_any_before() {
        let epoch = |known| next_epoch(Some(&remembered(None)), &ledger("a", 1, 0), known).value();
        assert_eq!((epoch(None), epoch(Some(Epoch::new(7)))), (3, 8));
        assert_eq!(next_epoch(None, &ledger("a", 1, 0), None).value(), 2);
    }
}
