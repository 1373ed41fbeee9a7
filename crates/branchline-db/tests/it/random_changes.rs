//! Random traffic with backups cut at random moments: afterwards the databases are equal.
//!
//! Four sessions write at once, each in transactions of random length of which some are taken back; a fifth cuts
//! backups while they write, loses some, and applies the rest. A change is one statement in a transaction that was
//! committed: 4 sessions with 125 each, on 20 seeds, are 10,000 an engine. Statements touch up to some hundred rows
//! each, by themselves and by what cascades.
//!
//! A seed decides what is written and when backups are cut, counted in changes; how the sessions get in each other's
//! way is up to the machine. The seed of a failure is in what it prints; `BRANCHLINE_SEED=7` runs one alone.

mod filtered;
mod statements;
mod traffic;

use branchline_core::code::{Code, Explain};
use branchline_core::pack::PackRequest;
use branchline_core::ports::Changes;
use branchline_testkit::database::capturing::{TestServer, assert_quiet, assert_same, deliver, send, settle};
use branchline_testkit::database::{Fixture, Shape, worked};
use futures_util::future::join_all;

use crate::conformance::{postgres_databases, sqlite_files};
use crate::cross_engine::assert_equal;
use statements::{BASE, Dice, prices, statement};
use traffic::{Traffic, WRITERS, Writer};

/// How many seeds each engine gets.
const SEEDS: u64 = 20;
/// At most this many changes are between two backups.
const CUT_AFTER_MAX: u64 = 40;
/// How often a position is asked for: one that meets with tables that are being emptied is not to be had.
const POSITION_TRIES: usize = 20;

/// The seeds to run: those that are asked for, or the first ones.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("BRANCHLINE_SEED") {
        Ok(seed) => vec![seed.parse().expect("BRANCHLINE_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

/// Shown where the test fails.
#[allow(clippy::print_stdout, reason = "the seed of a failure is what its reader needs")]
fn say(seed: u64) {
    println!("seed {seed}");
}

/// What the first of a chain of servers has goes to the second, and on. Nobody else writes, so no row of it may be
/// held, and none in conflict.
async fn pass_on(chain: &mut [TestServer]) {
    for place in 1..chain.len() {
        let (before, after) = chain.split_at_mut(place);
        let (backup, report) = send(&mut before[place - 1], &mut after[0]).await;
        assert!(report.held.is_empty(), "{:?}", report.held);
        assert_eq!(backup.merged_in_all(&report).conflicts, 0);
    }
}

/// Takes a position, when it is to be had.
async fn position(server: &TestServer) -> Box<dyn Changes> {
    for _ in 1..POSITION_TRIES {
        match server.capture().pack(PackRequest::default()).await {
            Err(error) if error.code() == Code::DATABASE_BUSY => {}
            other => return worked(other),
        }
    }
    worked(server.capture().pack(PackRequest::default()).await)
}

/// Cuts backups while others write: some are lost, some are read only after more was written.
async fn cut(chain: &mut [TestServer], mut dice: Dice, traffic: &Traffic) {
    while traffic.more(1 + dice.below(CUT_AFTER_MAX)).await {
        let target = chain[1].id.clone();
        let changes = position(&chain[0]).await;
        traffic.go_on();
        if dice.one_in(3) {
            traffic.more(1 + dice.below(20)).await;
        }
        let backup = chain[0].read_for(&target, changes, false).await;
        if dice.one_in(6) {
            continue;
        }
        let (source, rest) = chain.split_at_mut(1);
        let report = deliver(&mut source[0], &mut rest[0], &backup).await;
        assert!(report.held.is_empty(), "{:?}", report.held);
        assert_eq!(backup.merged_in_all(&report).conflicts, 0);
        pass_on(rest).await;
    }
}

/// A server of a chain, with the rows that it begins with.
async fn server(fixture: &dyn Fixture, rows: &str, id: &str) -> TestServer {
    TestServer::attached(fixture, Shape::Market, rows, id).await
}

/// Everybody writes at the first of a chain, and backups run down it. Afterwards the first two are equal, the last
/// backup left nothing, and nothing comes back.
async fn run(seed: u64, chain: &mut [TestServer]) {
    let traffic = Traffic::new();
    let mut writers = Vec::new();
    for thrower in 1..=WRITERS {
        writers.push(Writer::at(&chain[0], Dice::new(seed, thrower), statement).await);
    }
    let writing = join_all(writers.into_iter().map(|writer| writer.write(&traffic)));
    tokio::join!(writing, cut(chain, Dice::new(seed, 0), &traffic));
    pass_on(chain).await;
    for place in 1..chain.len() {
        let (before, after) = chain.split_at_mut(place);
        assert_quiet(&mut before[place - 1], &mut after[0]).await;
        assert!(!worked(after[0].capture().has_changes().await));
    }
}

async fn one_way(fixture: &dyn Fixture) {
    for seed in seeds(SEEDS) {
        say(seed);
        let mut chain = [server(fixture, BASE, "STORE-001").await, server(fixture, "", "HQ").await];
        run(seed, &mut chain).await;
        assert_same(&chain[0], &chain[1]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_changes_on_postgres_leave_no_row_that_differs() {
    one_way(&postgres_databases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_changes_on_sqlite_leave_no_row_that_differs() {
    one_way(&sqlite_files()).await;
}

/// Down a chain of three: the one in the middle is of the other engine, and passes on what the first made.
async fn over_the_other_engine(outer: &dyn Fixture, inner: &dyn Fixture) {
    for seed in seeds(3) {
        say(seed);
        let mut chain = [
            server(outer, BASE, "STORE-001").await,
            server(inner, "", "HQ").await,
            server(outer, "", "STORE-002").await,
        ];
        let last = chain[2].id.clone();
        chain[1].relay_to(&last);
        run(seed, &mut chain).await;
        assert_equal(&*chain[0].shop, &*chain[1].shop, 6).await;
        assert_equal(&*chain[1].shop, &*chain[2].shop, 6).await;
        assert_same(&chain[0], &chain[2]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_go_from_postgres_over_sqlite_to_postgres() {
    over_the_other_engine(&postgres_databases(), &sqlite_files()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_go_from_sqlite_over_postgres_to_sqlite() {
    over_the_other_engine(&sqlite_files(), &postgres_databases()).await;
}

/// Exchanges backups in either direction while both sides write, some of them crossing on their way, some lost.
async fn exchange(pair: &mut [TestServer; 2], mut dice: Dice, traffic: &Traffic) {
    let [one, other] = pair;
    while traffic.more(1 + dice.below(CUT_AFTER_MAX)).await {
        let (there, back) = (position(one).await, position(other).await);
        traffic.go_on();
        let there = one.read_for(&other.id, there, false).await;
        let back = other.read_for(&one.id, back, false).await;
        if !dice.one_in(4) {
            deliver(one, other, &there).await;
        }
        if !dice.one_in(4) {
            deliver(other, one, &back).await;
        }
        if dice.one_in(2) {
            send(other, one).await;
        }
    }
}

/// Two servers whose shops change the same rows at once.
async fn both_ways(one: &dyn Fixture, other: &dyn Fixture) {
    for seed in seeds(4) {
        say(seed);
        let mut pair = [server(one, BASE, "STORE-001").await, server(other, "", "HQ").await];
        let traffic = Traffic::new();
        let mut writers = Vec::new();
        for thrower in 1..=WRITERS {
            let place = usize::from(thrower % 2 == 0);
            writers.push(Writer::at(&pair[place], Dice::new(seed, thrower), |dice, _| prices(dice)).await);
        }
        let writing = join_all(writers.into_iter().map(|writer| writer.write(&traffic)));
        tokio::join!(writing, exchange(&mut pair, Dice::new(seed, 0), &traffic));
        let [one, other] = &mut pair;
        if one.engine() == other.engine() {
            settle(one, other).await;
        } else {
            for _ in 0..3 {
                send(one, other).await;
                send(other, one).await;
            }
            assert_equal(&*one.shop, &*other.shop, 6).await;
            assert_quiet(one, other).await;
        }
        let conflicts = one.state().await.conflicts + other.state().await.conflicts;
        assert!(conflicts > 0, "seed {seed}: the two never met");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_change_the_same_rows_become_equal_on_postgres() {
    both_ways(&postgres_databases(), &postgres_databases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_change_the_same_rows_become_equal_on_sqlite() {
    both_ways(&sqlite_files(), &sqlite_files()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_change_the_same_rows_become_equal_across_engines() {
    both_ways(&postgres_databases(), &sqlite_files()).await;
}
