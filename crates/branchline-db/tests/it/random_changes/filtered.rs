//! The same traffic, where filters keep rows from the target: it has just what is in its scope.
//!
//! The filters change now and then, some backups are lost, rows move in and out by themselves, with their parents, and by
//! what cascades. A member's sponsor may be out of scope, and a key to one's own table is not followed: here nobody has
//! one.

use branchline_core::scope::Filter;
use branchline_testkit::database::backup::specs_of;
use branchline_testkit::database::capturing::{
    TestServer, assert_quiet, assert_scope_is_same, deliver, difference, filter, send,
};
use branchline_testkit::database::{Engine, Fixture, worked};
use futures_util::future::join_all;

use super::statements::{BASE, Dice, prices, statement};
use super::traffic::{Traffic, WRITERS, Writer};
use super::{CUT_AFTER_MAX, position, say, seeds, server};
use crate::conformance::{postgres_databases, sqlite_files};

/// How many seeds each engine gets.
const SEEDS: u64 = 6;

/// The same tables are filtered all along; what for changes.
fn filters(dice: &mut Dice) -> Vec<Filter> {
    let region = match dice.below(4) {
        0 => "code < 'r4'",
        1 => "name < 'Region 15' OR code = 'r1'",
        2 => "code IN ('r1', 'r2', 'r7')",
        _ => "1 = 1",
    };
    let basket = match dice.below(3) {
        0 => "note NOT LIKE 'again 1%'",
        1 => "member <> 3",
        _ => "1 = 1",
    };
    let line = if dice.one_in(2) { "quantity < 12" } else { "1 = 1" };
    let price = match dice.below(3) {
        0 => "valid",
        1 => "kind < 2",
        _ => "item > 'item 2' AND valid IS NOT NULL",
    };
    vec![
        Filter { follow: true, ..filter("regions", region) },
        Filter { follow: true, ..filter("baskets", basket) },
        filter("basket_lines", line),
        filter("prices", price),
    ]
}

/// One statement that gives nobody a sponsor.
fn unsponsored(dice: &mut Dice, engine: Engine) -> String {
    let (id, region) = (dice.below(30), dice.below(8));
    match dice.below(20) {
        0 | 1 => format!(
            "INSERT INTO members (id, region, nick)
            SELECT {id}, (SELECT code FROM regions WHERE code >= 'r{region}' ORDER BY code LIMIT 1), NULL
            WHERE TRUE ON CONFLICT DO NOTHING"
        ),
        2 => format!("UPDATE members SET region = (SELECT max(code) FROM regions) WHERE id > {id}"),
        3 => format!("UPDATE regions SET name = 'Region {id} of many' WHERE code = 'r{region}'"),
        _ => loop {
            let any = statement(dice, engine);
            if !any.contains("sponsor") {
                return any;
            }
        },
    }
}

/// Cuts backups while others write: some are lost, some are read only after more was written, some are of other filters.
async fn cut(hq: &mut TestServer, store: &mut TestServer, mut dice: Dice, traffic: &Traffic) {
    while traffic.more(1 + dice.below(CUT_AFTER_MAX)).await {
        if dice.one_in(4) {
            hq.filter_for(&store.id, filters(&mut dice));
        }
        let changes = position(hq).await;
        traffic.go_on();
        if dice.one_in(3) {
            traffic.more(1 + dice.below(20)).await;
        }
        let full = dice.one_in(8);
        let backup = hq.read_for(&store.id, changes, full).await;
        if dice.one_in(4) {
            continue;
        }
        let report = deliver(hq, store, &backup).await;
        assert!(report.held.is_empty(), "{:?}", report.held);
        assert_eq!(backup.merged_in_all(&report).conflicts, 0);
    }
}

async fn one_way(fixture: &dyn Fixture) {
    for seed in seeds(SEEDS) {
        say(seed);
        let alone = format!("{BASE} UPDATE members SET sponsor = NULL;");
        let (mut hq, mut store) =
            (server(fixture, &alone, "HQ").await, server(fixture, "", "STORE-001").await);
        let mut dice = Dice::new(seed, 99);
        hq.filter_for(&store.id, filters(&mut dice));
        let traffic = Traffic::new();
        let mut writers = Vec::new();
        for thrower in 1..=WRITERS {
            writers.push(Writer::at(&hq, Dice::new(seed, thrower), unsponsored).await);
        }
        let writing = join_all(writers.into_iter().map(|writer| writer.write(&traffic)));
        tokio::join!(writing, cut(&mut hq, &mut store, Dice::new(seed, 0), &traffic));
        for _ in 0..3 {
            send(&mut hq, &mut store).await;
            assert_scope_is_same(&hq, &store).await;
            assert_quiet(&mut hq, &mut store).await;
            hq.filter_for(&store.id, filters(&mut dice));
        }
        assert!(store.state().await.held.is_empty());
        assert!(!worked(store.capture().has_changes().await));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filtered_target_has_its_scope_and_no_more_on_postgres() {
    one_way(&postgres_databases()).await;
}

/// Exchanges backups in either direction while both sides write, some of them crossing on their way, some lost.
async fn exchange(hq: &mut TestServer, store: &mut TestServer, mut dice: Dice, traffic: &Traffic) {
    while traffic.more(1 + dice.below(CUT_AFTER_MAX)).await {
        if dice.one_in(5) {
            hq.filter_for(&store.id, filters(&mut dice));
        }
        let (there, back) = (position(hq).await, position(store).await);
        traffic.go_on();
        let there = hq.read_for(&store.id, there, dice.one_in(10)).await;
        let back = store.read_for(&hq.id, back, false).await;
        let (first, lost) = (dice.one_in(2), (dice.one_in(4), dice.one_in(4)));
        if first && !lost.0 {
            deliver(hq, store, &there).await;
        }
        if !lost.1 {
            deliver(store, hq, &back).await;
        }
        if !first && !lost.0 {
            deliver(hq, store, &there).await;
        }
    }
}

/// Both change the same rows. Afterwards the store has all that is in its scope, as the head office has it, and whatever
/// else it has the head office has as well.
async fn both_ways(fixture: &dyn Fixture) {
    for seed in seeds(SEEDS) {
        say(seed);
        let (mut hq, mut store) = (server(fixture, BASE, "HQ").await, server(fixture, "", "STORE-001").await);
        hq.filter_for(&store.id, filters(&mut Dice::new(seed, 99)));
        send(&mut hq, &mut store).await;
        let traffic = Traffic::new();
        let mut writers = Vec::new();
        for thrower in 1..=WRITERS {
            let at = if thrower % 2 == 0 { &hq } else { &store };
            writers.push(Writer::at(at, Dice::new(seed, thrower), |dice, _| prices(dice)).await);
        }
        let writing = join_all(writers.into_iter().map(|writer| writer.write(&traffic)));
        tokio::join!(writing, exchange(&mut hq, &mut store, Dice::new(seed, 0), &traffic));
        for _ in 0..3 {
            send(&mut store, &mut hq).await;
            send(&mut hq, &mut store).await;
        }
        assert_quiet(&mut hq, &mut store).await;
        let schema = worked(hq.database().schema().await);
        let scope = hq.scope_for(&store.id, &schema);
        let specs = specs_of(&schema);
        let spec = specs.iter().find(|spec| spec.table.as_str() == "prices").expect("prices");
        let within = difference(hq.database(), store.database(), spec, &scope).await;
        assert_eq!((within.missing_there, within.different), (0, 0), "{within:?}");
        let whole = difference(hq.database(), store.database(), spec, &Default::default()).await;
        assert_eq!((whole.missing_here, whole.different), (0, 0), "{whole:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filtered_target_that_changes_rows_agrees_on_what_it_has_on_postgres() {
    both_ways(&postgres_databases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filtered_target_has_its_scope_and_no_more_on_sqlite() {
    one_way(&sqlite_files()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filtered_target_that_changes_rows_agrees_on_what_it_has_on_sqlite() {
    both_ways(&sqlite_files()).await;
}
