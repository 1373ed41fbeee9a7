//! The change set of `bench incremental`: its SQL is `changes/day.sql`.
//!
//! It is a thousand changed rows of seven tables, or a multiple: 630 inserted, 230 updated, 140 deleted, of which 80
//! by a cascade. Which rows they are and what is in them depends on the run and not on the size of the shop, so that
//! two shops of different sizes have the same changes to send.

use std::fs;

use crate::failure::{Doing, Failure};
use crate::postgres::Cluster;

use super::databases::OWNER;

const DAY: &str = include_str!("changes/day.sql");

/// How many rows one unit changes.
pub(super) const ROWS: u64 = 1_000;

/// How many of the shop's first sales one unit uses up: 20 are deleted and 30 updated.
const SALES_USED: u64 = 50;

/// The sales that a shop needs for one unit, at least: it has a fiftieth of that in articles and a tenth in customers.
pub(super) const SALES_MIN: u64 = 2_500;

/// The change sets of one shop, each used once.
pub(super) struct Changes {
    run: u64,
    used: u64,
}

impl Changes {
    pub(super) fn new() -> Self {
        Self { run: 0, used: 0 }
    }

    /// Makes the next change set, of `units` thousand rows, in one transaction; it is committed when this returns.
    pub(super) fn make(&mut self, cluster: &Cluster, database: &str, units: u64) -> Result<(), Failure> {
        self.run += 1;
        let file = cluster.scratch("day.sql");
        fs::write(&file, DAY).doing(|| format!("write {}", file.display()))?;
        let mut psql = cluster.psql(&cluster.url_of(OWNER, database));
        psql.arg(format!("--set=run={}", self.run))
            .arg(format!("--set=units={units}"))
            .arg(format!("--set=first={}", self.used))
            .arg("--file")
            .arg(&file);
        self.used += units * SALES_USED;
        let changed = crate::program::read(&mut psql)?;
        let changed: u64 =
            changed.trim().parse().doing(|| format!("read a number of rows from {changed:?}"))?;
        if changed == units * ROWS {
            return Ok(());
        }
        Err(Failure::new(format!("the change set changed {changed} rows, and not {}", units * ROWS)))
    }

    /// A condition that holds where the last change set has arrived: it arrives as a whole.
    pub(super) fn arrived(&self) -> String {
        format!("EXISTS (SELECT FROM sales WHERE branch_id = 'branch-2' AND slip = 'DAY-{}-1')", self.run)
    }
}
