//! `bench incremental`: a thousand changed rows, in a small database and in one twenty times as large.
//!
//! One private cluster with PostgreSQL's default settings (fsync on) but for `wal_level`, which the peer needs, holds
//! both shops, their head offices, and a copy of each that PostgreSQL's logical replication keeps. Both sides of each
//! pair are attached, and the first sync is full. Then in turn, small and large, each run:
//!
//! 1. one change set (`changes.rs`) is committed at the shop: the same in both;
//! 2. **peer**: logical replication brings it to the copy, timed from the commit; then it is paused;
//! 3. **ours**: `branchline sync CENTRAL-HQ --type incremental`, from the start of the command to its end after the
//!    receipt, which must say success for exactly the rows that changed;
//! 4. shop and head office are proven equal, row by row.
//!
//! A first run warms up and does not count. Then the same with 100,000 changed rows in the large one: rows a second,
//! beside logical replication's. At last the copies are proven equal too, and are copied once more by the other peer,
//! `pg_dump | gzip -6 | gunzip | psql`. (From the copy, because it holds the shop's rows and no capture.)

mod report;
mod shop;

use super::Size;
use super::changes::SALES_MIN;
use super::databases;
use super::replication;
use crate::failure::Failure;
use crate::install;
use crate::postgres::{Cluster, Durability};
use crate::program;
use shop::{Day, Shop};

/// How many times as many sales the large shop has.
const TIMES: u64 = 20;

/// The most runs of what takes long: the large change set, and dump and restore.
const LONG_RUNS_MAX: usize = 3;

/// Thousands of rows in the large change set, where the shop has sales enough.
const BULK_UNITS_MAX: u64 = 100;

/// What was measured in one shop.
#[derive(Default)]
struct Series {
    /// Rows in the shop before the first run.
    rows: u64,
    days: Vec<Day>,
    restore_s: Vec<f64>,
}

/// The large change set.
struct Bulk {
    rows: u64,
    days: Vec<Day>,
}

pub(super) fn run(size: &Size) -> Result<(), Failure> {
    let small_orders = (size.orders / TIMES).max(SALES_MIN);
    if size.orders < 2 * small_orders {
        return Err(Failure::new("two shops of different sizes need more orders")
            .next(format!("cargo xtask bench incremental --orders {}", 2 * SALES_MIN)));
    }
    install::test_needs()?;
    let binary = program::release_binary()?;
    let cluster = Cluster::start_with(Durability::Defaults, replication::SETTINGS)?;
    databases::create_roles(&cluster, &[databases::OWNER])?;
    size.say(&format!("Making shops with {small_orders} and {} sales.", size.orders));
    let mut small = Shop::open(&cluster, &binary, "small", small_orders)?;
    let mut large = Shop::open(&cluster, &binary, "large", size.orders)?;
    let (mut small_series, mut large_series) = (Series::default(), Series::default());
    (small_series.rows, large_series.rows) = (small.rows(), large.rows());
    small.day(1)?;
    large.day(1)?;
    for run in 1..=size.runs {
        small_series.days.push(small.day(1)?);
        large_series.days.push(large.day(1)?);
        size.say(&format!(
            "run {run}: small {}, large {}",
            report::line(&small_series),
            report::line(&large_series)
        ));
    }
    let units = BULK_UNITS_MAX.min(size.orders / SALES_MIN);
    let mut bulk = Bulk { rows: units * super::changes::ROWS, days: Vec::new() };
    for _ in 0..size.runs.min(LONG_RUNS_MAX) {
        bulk.days.push(large.day(units)?);
    }
    for (shop, series) in [(small, &mut small_series), (large, &mut large_series)] {
        series.restore_s = shop.close(size.runs.min(LONG_RUNS_MAX))?;
    }
    let report =
        report::Report { version: cluster.version(), small: small_series, large: large_series, bulk };
    size.say(&report.table());
    println!("{}", report.json_line());
    Ok(())
}
