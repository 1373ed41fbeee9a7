//! What is made of a peer's words.

use super::*;
use crate::id::Generation;

fn life(server: &str, epoch: u64) -> Life {
    Life::new(server.parse().unwrap(), Epoch::new(epoch))
}

fn knowledge(known: &[(&str, u64, u64)]) -> Knowledge {
    known
        .iter()
        .map(|(server, epoch, generation)| (life(server, *epoch), Generation::new(*generation)))
        .collect()
}

fn standing(epoch: u64, known: &[(&str, u64, u64)]) -> Standing {
    Standing { life: life("HQ", epoch), knowledge: knowledge(known), relays: true }
}

fn end(epoch: u64, sequence: u64) -> ChainEnd {
    let metadata = Digest::of(&[u8::try_from(sequence).unwrap()]);
    ChainEnd { epoch: Epoch::new(epoch), sequence: Sequence::new(sequence), metadata }
}

fn packed(covers: &[(&str, u64, u64)], full: bool) -> Packed {
    Packed { epoch: Epoch::new(1), covers: knowledge(covers), gives_all: full, full }
}

/// A peer that has applied our first backup, which was full.
fn in_step(answer: Option<&Standing>) -> Acknowledged {
    let mut peer = Acknowledged::nothing("HQ".parse().unwrap());
    assert_eq!(peer.previous(Epoch::new(1)), None);
    peer.take_receipt(&packed(&[("S1", 1, 1)], true), end(1, 1), answer);
    peer
}

#[test]
fn a_receipt_is_joined_and_the_chain_goes_on_from_it() {
    let mut peer = in_step(Some(&standing(1, &[("HQ", 1, 4), ("S1", 1, 1)])));
    peer.take_receipt(&packed(&[("S1", 1, 2)], false), end(1, 2), Some(&standing(1, &[("S1", 1, 2)])));
    assert_eq!(peer.knowledge, knowledge(&[("HQ", 1, 4), ("S1", 1, 2)]));
    assert_eq!((peer.previous(Epoch::new(1)), peer.previous(Epoch::new(2))), (Some(end(1, 2)), None));
    assert!(peer.relays && !peer.give_all);
    peer.hear(Some(&standing(1, &[("HQ", 1, 5), ("S1", 1, 2)])), Some((Epoch::new(1), Sequence::new(2))));
    assert_eq!(peer.previous(Epoch::new(1)), Some(end(1, 2)));
    assert_eq!(peer.knowledge, knowledge(&[("HQ", 1, 5), ("S1", 1, 2)]));
}

#[test]
fn a_peer_that_knows_less_than_it_said_gets_again_what_it_lost() {
    let mut peer = in_step(Some(&standing(1, &[("HQ", 1, 4), ("S1", 1, 1)])));
    peer.hear(Some(&standing(1, &[("HQ", 1, 2)])), None);
    assert_eq!((peer.knowledge.clone(), peer.chain), (knowledge(&[("HQ", 1, 2)]), None));
    assert!(!peer.give_all);
}

#[test]
fn a_peer_with_another_life_gets_all_that_it_lacks_until_it_has_answered() {
    let mut peer = in_step(Some(&standing(1, &[("HQ", 1, 4), ("S1", 1, 1)])));
    peer.hear(Some(&standing(2, &[("HQ", 1, 2), ("HQ", 2, 0)])), Some((Epoch::new(1), Sequence::new(1))));
    assert!(peer.give_all && peer.audience(false).relay);
    // What was sealed before is no answer to that, and a receipt of the life before is none at all.
    let before = peer.clone();
    peer.take_receipt(&packed(&[], true), end(1, 2), Some(&standing(1, &[("S1", 1, 9)])));
    assert_eq!(peer, before);
    peer.take_receipt(&packed(&[], false), end(1, 2), Some(&standing(2, &[("HQ", 2, 1)])));
    assert!(peer.give_all);
    let gives_all = Packed { gives_all: true, ..packed(&[], false) };
    peer.take_receipt(&gives_all, end(1, 3), Some(&standing(2, &[("HQ", 2, 1)])));
    assert!(!peer.give_all);
    assert_eq!(peer.knowledge, knowledge(&[("HQ", 1, 2), ("HQ", 2, 1)]));
}

#[test]
fn a_peer_that_captures_nothing_holds_what_the_chain_brought() {
    let mut peer = in_step(None);
    peer.take_receipt(&packed(&[("S1", 1, 2)], false), end(1, 2), None);
    peer.hear(None, Some((Epoch::new(1), Sequence::new(2))));
    assert_eq!(peer.knowledge, knowledge(&[("S1", 1, 2)]));
    // It was restored, or another database is behind it.
    peer.hear(None, Some((Epoch::new(1), Sequence::new(1))));
    assert_eq!((peer.knowledge.clone(), peer.chain), (Knowledge::new(), None));
}

#[test]
fn only_a_full_backup_brings_a_peer_past_the_budget_back() {
    let mut peer = Acknowledged { past_budget: true, ..in_step(None) };
    assert_eq!(peer.previous(Epoch::new(1)), None);
    peer.take_receipt(&packed(&[("S1", 1, 2)], false), end(1, 2), None);
    assert!(peer.past_budget);
    peer.take_receipt(&packed(&[("S1", 1, 2)], true), end(1, 3), None);
    assert_eq!((peer.past_budget, peer.previous(Epoch::new(1))), (false, Some(end(1, 3))));
}
