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
    Standing { life: life("HQ", epoch), knowledge: knowledge(known), sealed: Sequence::new(3) }
}

fn end(epoch: u64, sequence: u64) -> ChainEnd {
    let metadata = Digest::of(&[u8::try_from(sequence).unwrap()]);
    ChainEnd { epoch: Epoch::new(epoch), sequence: Sequence::new(sequence), metadata }
}

fn packed(covers: &[(&str, u64, u64)], full: bool) -> Packed {
    Packed {
        epoch: Epoch::new(1),
        covers: knowledge(covers),
        seen: knowledge(covers),
        full,
        scope: ScopeMark::default(),
    }
}

/// We are S1, and hold that much of our own.
fn ours(epoch: u64, generation: u64) -> Ourselves {
    Ourselves { epoch: Epoch::new(epoch), knowledge: knowledge(&[("S1", epoch, generation)]) }
}

fn applied(epoch: u64, sequence: u64) -> Option<(Epoch, Sequence)> {
    Some((Epoch::new(epoch), Sequence::new(sequence)))
}

/// A peer that has applied our first backup, which was full.
fn in_step(answer: Option<&Standing>) -> Acknowledged {
    let mut peer = Acknowledged::nothing("HQ".parse().unwrap());
    assert_eq!(peer.previous(Epoch::new(1)), None);
    assert!(!peer.take_receipt(&ours(1, 1), &packed(&[("S1", 1, 1)], true), end(1, 1), answer));
    peer
}

#[test]
fn a_receipt_is_joined_and_the_chain_goes_on_from_it() {
    let mut peer = in_step(Some(&standing(1, &[("HQ", 1, 4), ("S1", 1, 1)])));
    let answer = standing(1, &[("S1", 1, 2)]);
    assert!(!peer.take_receipt(&ours(1, 2), &packed(&[("S1", 1, 2)], false), end(1, 2), Some(&answer)));
    assert_eq!(peer.knowledge, knowledge(&[("HQ", 1, 4), ("S1", 1, 2)]));
    assert_eq!(peer.lent, knowledge(&[("S1", 1, 2)]));
    assert_eq!((peer.previous(Epoch::new(1)), peer.previous(Epoch::new(2))), (Some(end(1, 2)), None));
    assert!(!peer.audience(false).relay && peer.audience(true).relay);
    assert!(!peer.hear(&ours(1, 2), Some(&standing(1, &[("HQ", 1, 5), ("S1", 1, 2)])), applied(1, 2)));
    assert_eq!(peer.previous(Epoch::new(1)), Some(end(1, 2)));
    assert_eq!(peer.knowledge, knowledge(&[("HQ", 1, 5), ("S1", 1, 2)]));
}

#[test]
fn a_peer_that_knows_less_than_it_said_gets_again_what_it_lost() {
    let mut peer = in_step(Some(&standing(1, &[("HQ", 1, 4), ("S1", 1, 1)])));
    assert!(!peer.hear(&ours(1, 1), Some(&standing(1, &[("HQ", 1, 2)])), None));
    assert_eq!((peer.knowledge.clone(), peer.chain), (knowledge(&[("HQ", 1, 2)]), None));
    assert_eq!((peer.lent.clone(), peer.audience(false).relay), (Knowledge::new(), false));
}

#[test]
fn a_pair_that_meets_anew_starts_a_chain_and_gives_all_until_all_is_there() {
    let mut peer = in_step(Some(&standing(1, &[("HQ", 1, 4), ("S1", 1, 1)])));
    let restored = standing(2, &[("HQ", 1, 2), ("HQ", 2, 0)]);
    let held = Ourselves { epoch: Epoch::new(1), knowledge: knowledge(&[("HQ", 1, 4), ("S1", 1, 1)]) };
    assert!(peer.hear(&held, Some(&restored), applied(1, 1)));
    assert!(!peer.hear(&held, Some(&restored), applied(1, 1)));
    assert_eq!((peer.previous(Epoch::new(1)), peer.target_epoch()), (None, Some(Epoch::new(2))));
    assert!(peer.audience(false).relay);
    // A receipt of the life before is none.
    let before = peer.clone();
    let old = standing(1, &[("S1", 1, 9)]);
    assert!(!peer.take_receipt(&held, &packed(&[], true), end(1, 2), Some(&old)));
    assert_eq!(peer, before);
    // Some of it is not all of it.
    let some = standing(2, &[("HQ", 2, 1), ("S1", 1, 1)]);
    peer.take_receipt(&held, &packed(&[("S1", 1, 1)], true), end(1, 2), Some(&some));
    assert!(peer.audience(false).relay);
    let all = standing(2, &[("HQ", 1, 4), ("HQ", 2, 1), ("S1", 1, 1)]);
    peer.take_receipt(&held, &packed(&[("S1", 1, 1)], false), end(1, 3), Some(&all));
    assert!(!peer.audience(false).relay);
}

#[test]
fn our_own_new_life_meets_every_peer_anew() {
    let mut peer = in_step(Some(&standing(1, &[("HQ", 1, 4), ("S1", 1, 1)])));
    assert!(peer.hear(&ours(2, 0), Some(&standing(1, &[("HQ", 1, 4), ("S1", 1, 7)])), applied(1, 1)));
    assert_eq!((peer.chain, peer.owed.clone()), (None, ours(2, 0).knowledge));
    // What the life before sealed is answered too late.
    assert!(!peer.take_receipt(&ours(2, 0), &packed(&[], true), end(1, 2), None));
    assert_eq!(peer.chain, None);
}

#[test]
fn a_peer_is_caught_up_where_all_that_it_sealed_was_applied_here() {
    let peer = in_step(Some(&standing(1, &[("S1", 1, 1)])));
    let caught_up = |applied: Option<u64>| peer.acknowledgement(applied.map(Sequence::new)).caught_up;
    assert!(!caught_up(None) && !caught_up(Some(2)) && caught_up(Some(3)) && caught_up(Some(4)));
    assert!(in_step(None).acknowledgement(None).caught_up);
}

#[test]
fn a_peer_that_captures_nothing_holds_what_the_chain_brought() {
    let mut peer = in_step(None);
    peer.take_receipt(&ours(1, 2), &packed(&[("S1", 1, 2)], false), end(1, 2), None);
    peer.hear(&ours(1, 2), None, applied(1, 2));
    assert_eq!(peer.knowledge, knowledge(&[("S1", 1, 2)]));
    // It was restored, or another database is behind it.
    peer.hear(&ours(1, 2), None, applied(1, 1));
    assert_eq!(peer, Acknowledged::nothing("HQ".parse().unwrap()));
}

#[test]
fn only_a_full_backup_brings_a_peer_past_the_budget_back() {
    let mut peer = Acknowledged { past_budget: true, ..in_step(None) };
    assert_eq!(peer.previous(Epoch::new(1)), None);
    peer.take_receipt(&ours(1, 2), &packed(&[("S1", 1, 2)], false), end(1, 2), None);
    assert!(peer.past_budget);
    peer.take_receipt(&ours(1, 2), &packed(&[("S1", 1, 2)], true), end(1, 3), None);
    assert_eq!((peer.past_budget, peer.previous(Epoch::new(1))), (false, Some(end(1, 3))));
}
