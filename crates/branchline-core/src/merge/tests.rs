//! The table of verdicts, line by line.

use super::*;
use crate::id::{Epoch, Generation};

fn life(server: &str) -> Life {
    Life::new(server.parse().unwrap(), Epoch::new(1))
}

fn version(server: &str, generation: u64, time: u64) -> Version {
    let dot = Dot::new(life(server), Generation::new(generation));
    Version { dot, time: ChangeTime::from_micros(time), was: None }
}

fn knowledge(known: &[(&str, u64)]) -> Knowledge {
    known.iter().map(|(server, generation)| (life(server), Generation::new(*generation))).collect()
}

/// We are B and know that; the sender is A.
fn parties(ours: &[(&str, u64)], theirs: &[(&str, u64)]) -> Parties {
    let nothing = Knowledge::new();
    Parties::new(life("B"), knowledge(ours), knowledge(theirs), &nothing, &nothing)
}

fn row(version: Option<Version>, same: bool) -> LocalRow {
    LocalRow { present: true, version, same, ..LocalRow::default() }
}

fn pending(time: u64, was: Option<Dot>) -> LocalRow {
    let pending = Some(Pending { time: ChangeTime::from_micros(time), was });
    LocalRow { present: true, pending, ..LocalRow::default() }
}

#[test]
fn what_is_not_here_goes_in_unless_it_was_deleted_here() {
    let absent = LocalRow::default();
    let decide = |parties: &Parties| decide(&version("A", 3, 50), &absent, &life("B"), parties);
    assert_eq!(decide(&parties(&[("A", 2)], &[])), Verdict::Take);
    assert_eq!(decide(&parties(&[("A", 3)], &[])), Verdict::Old);
}

#[test]
fn what_is_not_here_counts_as_ours_where_the_sender_lacks_a_deletion_that_was_purged() {
    let purged = knowledge(&[("C", 4)]);
    let decide = |theirs: &[(&str, u64)]| {
        let parties =
            Parties::new(life("B"), knowledge(&[("C", 9)]), knowledge(theirs), &purged, &Knowledge::new());
        decide(&version("A", 3, 50), &LocalRow::default(), &life("B"), &parties)
    };
    assert_eq!(decide(&[("A", 3), ("C", 3)]), Verdict::TakeAsOurs);
    assert_eq!(decide(&[("A", 3), ("C", 4)]), Verdict::Take);
}

#[test]
fn what_is_known_and_not_here_goes_in_where_a_filter_kept_it_back() {
    let kept_back = LocalRow { in_part: true, ..LocalRow::default() };
    let decide = |parties: &Parties| decide(&version("A", 3, 50), &kept_back, &life("B"), parties);
    assert_eq!(decide(&parties(&[("A", 3)], &[("A", 3)])), Verdict::Take);
    let purged = knowledge(&[("C", 4)]);
    let ours = knowledge(&[("A", 3), ("C", 4)]);
    // An old file: what it holds may have been deleted since, and the deletion be forgotten here.
    let old = Parties::new(life("B"), ours, knowledge(&[("A", 3)]), &purged, &Knowledge::new());
    assert_eq!(decide(&old), Verdict::Old);
}

#[test]
fn a_row_leaves_where_the_sender_has_all_that_was_made_of_it() {
    let known = parties(&[("A", 3)], &[("A", 5), ("B", 7)]);
    let leaves = |local: &LocalRow, parties: &Parties| decide_leaving(local, &life("A"), parties);
    for version in [None, Some(version("A", 5, 50)), Some(version("B", 7, 50))] {
        assert_eq!(leaves(&row(version, false), &known), Verdict::Take);
    }
    assert_eq!(leaves(&row(Some(version("B", 8, 50)), false), &known), Verdict::Old);
    assert_eq!(leaves(&pending(60, None), &known), Verdict::Old);
    assert_eq!(leaves(&LocalRow::default(), &known), Verdict::Old);
    let gone = LocalRow { present: false, ..row(Some(version("A", 5, 50)), false) };
    assert_eq!(leaves(&gone, &known), Verdict::Old);
}

#[test]
fn knowledge_decides_before_any_clock() {
    let mine = row(Some(version("B", 7, 900)), false);
    let decide = |parties: &Parties| decide(&version("A", 3, 50), &mine, &life("B"), parties);
    assert_eq!(decide(&parties(&[("B", 7)], &[("A", 3), ("B", 7)])), Verdict::Take);
    assert_eq!(decide(&parties(&[("B", 7), ("A", 3)], &[("A", 3)])), Verdict::Old);
    let the_same = row(Some(version("A", 3, 50)), true);
    let known = parties(&[("A", 3)], &[("A", 3)]);
    assert_eq!(super::decide(&version("A", 3, 50), &the_same, &life("B"), &known), Verdict::Same);
}

#[test]
fn the_later_side_of_a_conflict_stays() {
    let unaware = parties(&[("B", 7)], &[("A", 3)]);
    let decide = |time: u64, same: bool| {
        decide(&version("A", 3, time), &row(Some(version("B", 7, 100)), same), &life("B"), &unaware)
    };
    assert_eq!((decide(101, false), decide(99, false)), (Verdict::TakeOver, Verdict::Keep));
    assert_eq!((decide(101, true), decide(99, true)), (Verdict::Take, Verdict::Same));
    // Of the same moment: by the names of the servers.
    assert_eq!(decide(100, false), Verdict::Keep);
}

#[test]
fn where_each_side_knows_the_other_version_the_later_one_stays() {
    let aware = parties(&[("B", 7), ("A", 3)], &[("A", 3), ("B", 7)]);
    let decide =
        |time| decide(&version("A", 3, time), &row(Some(version("B", 7, 100)), false), &life("B"), &aware);
    assert_eq!((decide(101), decide(99)), (Verdict::Take, Verdict::Old));
}

#[test]
fn a_change_that_was_not_packed_is_known_by_the_dot_of_the_life_before_alone() {
    let was = Dot::new(life("B"), Generation::new(4));
    let decide =
        |local: &LocalRow, parties: &Parties| decide(&version("A", 3, 50), local, &life("B"), parties);
    let sender_has_it = parties(&[], &[("B", 4)]);
    assert_eq!(decide(&pending(90, Some(was)), &sender_has_it), Verdict::Take);
    assert_eq!(decide(&pending(90, None), &sender_has_it), Verdict::Keep);
    assert_eq!(decide(&pending(40, None), &sender_has_it), Verdict::TakeOver);
    assert_eq!(decide(&pending(40, None), &parties(&[("A", 3)], &[])), Verdict::Old);
}

#[test]
fn two_rows_that_were_there_before_come_to_one_by_a_change_of_ours() {
    let unaware = parties(&[("B", 0)], &[("A", 0)]);
    let decide =
        |same, parties: &Parties| decide(&Version::base(life("A")), &row(None, same), &life("B"), parties);
    assert_eq!(decide(true, &unaware), Verdict::Same);
    assert_eq!(decide(false, &unaware), Verdict::TakeAsOurs);
    assert_eq!(decide(false, &parties(&[("B", 0)], &[("A", 0), ("B", 0)])), Verdict::Take);
}

#[test]
fn a_held_row_is_not_taken_for_known_because_it_is_held() {
    let counted = parties(&[("A", 3)], &[("A", 3)]);
    let held = version("A", 3, 50);
    assert_eq!(decide_held(&held, &LocalRow::default(), &life("B"), &counted), Verdict::Take);
    assert_eq!(decide_held(&held, &pending(90, None), &life("B"), &counted), Verdict::Keep);
}

#[test]
fn what_comes_in_beside_a_held_row_takes_its_place_or_is_stood_for() {
    let held = version("C", 5, 50);
    let beside = |incoming: &Version, theirs: &[(&str, u64)]| {
        decide_beside_held(incoming, &held, false, &parties(&[("C", 5)], theirs))
    };
    assert_eq!(beside(&version("A", 3, 60), &[("A", 3), ("C", 5)]), Verdict::Take);
    assert_eq!(beside(&version("A", 3, 40), &[("A", 3)]), Verdict::Keep);
    let carried = Version { was: Some(held.dot.clone()), ..version("C", 9, 50) };
    assert_eq!(beside(&carried, &[("C", 9)]), Verdict::Same);
}

#[test]
fn a_row_that_a_full_backup_lacks_goes_where_the_sender_knew_it() {
    let absent = |local: &LocalRow, theirs: &[(&str, u64)], purged: &[(&str, u64)]| {
        let (ours, theirs) = (knowledge(&[("B", 7)]), knowledge(theirs));
        let parties = Parties::new(life("B"), ours, theirs, &Knowledge::new(), &knowledge(purged));
        decide_absent(local, &life("B"), &parties)
    };
    let mine = row(Some(version("B", 7, 100)), false);
    assert_eq!(absent(&mine, &[("B", 7)], &[]), Absence::Remove);
    assert_eq!(absent(&mine, &[("B", 6)], &[]), Absence::Stays);
    assert_eq!(absent(&mine, &[("B", 6)], &[("A", 2)]), Absence::CountsAsNew);
    assert_eq!(absent(&pending(90, None), &[("B", 7)], &[("A", 2)]), Absence::CountsAsNew);
    assert_eq!(absent(&row(None, false), &[], &[("A", 2)]), Absence::CountsAsNew);
    assert_eq!(absent(&LocalRow::default(), &[], &[("A", 2)]), Absence::Stays);
    // A tombstone says the same as the row's absence.
    let tombstone = LocalRow { present: false, ..mine };
    assert_eq!(absent(&tombstone, &[("B", 7)], &[("A", 2)]), Absence::Stays);
}
