//! The laws of merging: 20,000 small worlds in which everything goes wrong, and the real rules decide.
//!
//! A world has two to five servers with seven keys in two tables, in virtual time. It calls the core for every decision
//! (`merge`, `pack`, `restore`, `standing`, `Knowledge`, `stamp_time`) and does what it says, as the adapters and the node
//! do. In the end all servers must hold the same rows, nothing may circle, and no write may be lost.
//!
//! | file | holds |
//! |---|---|
//! | `world` | who there is, what happens, in which order |
//! | `server`, `ledger` | one server: its state outside of the database, and the database |
//! | `backup`, `apply` | what travels, and how it goes in |
//! | `rules` | the rules, each of which a world can be without |
//! | `record`, `judge` | who wrote what, who overruled it, and whether that came out right |
//! | `replay` | one case as the executable model played it |
//!
//! Known limits: what a database refuses is an obstacle on a key, not a foreign key; filters, grants and schema changes are
//! not here; two servers never have one life (that is an alarm, not a merge).
//!
//! `BRANCHLINE_CASES=300000 cargo test --release -p branchline-core --test it more_cases` runs that many others.

mod apply;
mod backup;
mod dice;
mod judge;
mod ledger;
mod record;
mod replay;
mod rules;
mod server;
mod world;

use std::ops::Range;

use record::Tally;
use rules::{Rule, Rules};

const CASES: u64 = 20_000;
/// So many tests share the cases, so that they run beside each other.
const SHARES: u64 = 8;

/// For each rule a case among the 20,000 that comes out wrong without it.
const NEEDED_BY: [(Rule, u64); 15] = [
    (Rule::Covers, 2),
    (Rule::PurgeWaits, 157),
    (Rule::Epoch, 18),
    (Rule::FullRemoves, 2120),
    (Rule::GiveAllBack, 138),
    (Rule::OwedToTheEnd, 87),
    (Rule::Chain, 59),
    (Rule::Horizon, 4302),
    (Rule::AbsentCountsAsNew, 6094),
    (Rule::BehindCountsAsNew, 1254),
    (Rule::PendingUnknown, 1),
    (Rule::BaseCountsAsNew, 69),
    (Rule::StampedAfterForgotten, 4396),
    (Rule::HeldLowers, 87),
    (Rule::HeldYields, 21),
];

fn all_hold(seeds: Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        match judge::run(seed, Rules::all()) {
            Ok(of_case) => tally.add(&of_case),
            Err(fault) => panic!("{fault}\n{}", judge::story(seed)),
        }
    }
    tally
}

fn share(number: u64) -> Range<u64> {
    number * CASES / SHARES..(number + 1) * CASES / SHARES
}

macro_rules! shares {
    ($($name:ident: $number:literal,)*) => {
        $(#[test]
        fn $name() {
            assert!(all_hold(share($number)).reached_everything());
        })*
    };
}

shares! {
    servers_agree_and_lose_nothing_1_of_8: 0,
    servers_agree_and_lose_nothing_2_of_8: 1,
    servers_agree_and_lose_nothing_3_of_8: 2,
    servers_agree_and_lose_nothing_4_of_8: 3,
    servers_agree_and_lose_nothing_5_of_8: 4,
    servers_agree_and_lose_nothing_6_of_8: 5,
    servers_agree_and_lose_nothing_7_of_8: 6,
    servers_agree_and_lose_nothing_8_of_8: 7,
}

#[test]
fn each_rule_left_out_makes_a_case_fail() {
    let mut wrong = Vec::new();
    for (rule, seed) in NEEDED_BY {
        assert!(seed < CASES);
        if judge::run(seed, Rules::without(rule)).is_ok() {
            let other = (0..CASES).find(|seed| judge::run(*seed, Rules::without(rule)).is_err());
            wrong.push(format!("case {seed} does without {rule:?}; the first that does not: {other:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_ring_that_the_model_failed_settles_by_the_rule_for_those_behind() {
    assert_eq!(judge::judge(replay::ring_of_four(Rules::all())), Ok(()));
    let without = judge::judge(replay::ring_of_four(Rules::without(Rule::BehindCountsAsNew)));
    let fault = without.expect_err("the model's own fault");
    assert!(fault.contains("differ in key 6"), "{fault}");
}

#[test]
fn more_cases_hold_where_they_are_asked_for() {
    let more = std::env::var("BRANCHLINE_CASES").map_or(0, |cases| cases.parse().unwrap());
    all_hold(CASES..CASES + more);
}
