//! `bench capture`: what it costs the shop that its changes are captured.
//!
//! One private cluster with PostgreSQL's default settings (fsync on) holds one shop. Everything is measured without
//! capture and with it in turn, the one first in every second run, each time after a checkpoint, so that whatever else
//! the machine does, and how far the tables have grown, falls on both alike:
//!
//! * **trade**: four clients of `pgbench` ring sales (`capture/trade.sql`: five look-ups and twelve rows written in one
//!   transaction) by its ordinary protocol; the ratio is the throughput with capture by that without, the median of the
//!   runs. And, as the least favourable case, by prepared statements: nothing is parsed or planned, so that capture is
//!   a larger part of what is left;
//! * **bulk**: 100,000 rows inserted by one statement, and updated by one; the ratio is the time without capture by
//!   that with it, of the medians. In `sale_lines`, whose foreign keys PostgreSQL checks at each insert, and, for
//!   those who want to know what it is at its worst, in `customers`, which has none.
//!
//! `branchline attach` and `detach` are what switches, so the change log begins empty each time. After each measurement
//! with capture the log must hold what was done; there is no peer, so nothing takes from it meanwhile.

mod report;

use std::path::PathBuf;
use std::process::Command;

use super::databases::{self, OWNER};
use super::report::last;
use super::servers::{attach, detach, init};
use super::{Size, timed};
use crate::dataset;
use crate::failure::{Doing, Failure};
use crate::install;
use crate::postgres::{Cluster, Durability};
use crate::program;
use report::{BulkSeries, Report, TradeSeries};

const SHOP: &str = "shop";
const TRADE: &str = include_str!("capture/trade.sql");
const CLIENTS: &str = "4";

/// How many of the shop's sales get five more lines; and how many rows that makes.
const BULK_SALES: u64 = 20_000;
const BULK_ROWS: u64 = 5 * BULK_SALES;

/// What is done in bulk to one table, each as one statement.
struct Bulk {
    table: &'static str,
    insert: &'static str,
    update: &'static str,
    /// Takes it back, outside of what is measured.
    undo: &'static str,
}

const LINES: Bulk = Bulk {
    table: "sale_lines",
    insert: "INSERT INTO sale_lines (sale_id, line, article_id, amount, each, changed_at)
             SELECT sale_id, line + 100 + extra, article_id, amount, each, changed_at
             FROM (SELECT * FROM sale_lines WHERE line = 1 ORDER BY sale_id LIMIT $SALES) first, generate_series(1, 5) extra",
    update: "UPDATE sale_lines SET amount = amount + 1, changed_at = now() WHERE line > 100",
    undo: "DELETE FROM sale_lines WHERE line > 100",
};

const CUSTOMERS: Bulk = Bulk {
    table: "customers",
    insert: "INSERT INTO customers (id, full_name, mobile, owes, first_seen, changed_at)
             SELECT md5('bulk ' || number)::uuid, 'Bulk ' || number, '+49' || number, 0, now(), now()
             FROM generate_series(1, 5 * $SALES) number",
    update: "UPDATE customers SET owes = owes + 1, changed_at = now() WHERE full_name LIKE 'Bulk %'",
    undo: "DELETE FROM customers WHERE full_name LIKE 'Bulk %'",
};

/// Without it, PostgreSQL reads all sales for each customer that is taken back.
const INDEX: &str = "CREATE INDEX ON sales (customer_id)";

struct Bench<'a> {
    cluster: &'a Cluster,
    binary: PathBuf,
    home: PathBuf,
    seconds: u64,
    orders: u64,
}

pub(super) fn run(size: &Size) -> Result<(), Failure> {
    install::test_needs()?;
    let binary = program::release_binary()?;
    let cluster = Cluster::start(Durability::Defaults)?;
    databases::create_roles(&cluster, &[OWNER])?;
    databases::create(&cluster, SHOP)?;
    size.say(&format!("Making a shop with {} sales.", size.orders));
    dataset::fill(&cluster, OWNER, SHOP, size.orders)?;
    cluster.query(SHOP, INDEX)?;
    cluster.query(SHOP, "VACUUM ANALYZE")?;
    let home = cluster.scratch("store");
    init(&binary, &home, "STORE-001", &cluster.url_of(OWNER, SHOP))?;
    let bench = Bench { cluster: &cluster, binary, home, seconds: size.seconds, orders: size.orders };
    let (mut trade, mut prepared, mut lines, mut customers) = Default::default();
    for run in 1..=size.runs {
        bench.bulk(run, &LINES, &mut lines)?;
        bench.bulk(run, &CUSTOMERS, &mut customers)?;
        size.say(&format!("run {run}: {}", report::bulk_line(&lines)));
    }
    for run in 1..=size.runs {
        bench.trade(run, "simple", &mut trade)?;
        bench.trade(run, "prepared", &mut prepared)?;
        size.say(&format!(
            "run {run}: {:.0} sales a second without capture, {:.0} with it",
            last(&trade.without),
            last(&trade.with)
        ));
    }
    let report = Report {
        version: cluster.version(),
        bulk_rows: bench.bulk_rows(),
        seconds: size.seconds,
        trade,
        prepared,
        lines,
        customers,
    };
    size.say(&report.table());
    println!("{}", report.json_line());
    Ok(())
}

impl Bench<'_> {
    fn bulk(&self, run: usize, bulk: &Bulk, series: &mut BulkSeries) -> Result<(), Failure> {
        for with in order(run) {
            let (insert_s, update_s) = self.switched(with, self.bulk_rows(), || self.bulk_seconds(bulk))?;
            let (inserts, updates) = if with {
                (&mut series.insert_with, &mut series.update_with)
            } else {
                (&mut series.insert_without, &mut series.update_without)
            };
            inserts.push(insert_s);
            updates.push(update_s);
            self.cluster.query(SHOP, bulk.undo)?;
            self.cluster.query(SHOP, &format!("VACUUM {}", bulk.table))?;
        }
        Ok(())
    }

    fn trade(&self, run: usize, protocol: &str, series: &mut TradeSeries) -> Result<(), Failure> {
        for with in order(run) {
            let rate = self.switched(with, 1, || self.sales_per_s(protocol))?;
            if with { &mut series.with } else { &mut series.without }.push(rate);
        }
        Ok(())
    }

    /// Measures with capture or without; with it, so many changes must be in the log after it.
    fn switched<T>(
        &self,
        with: bool,
        noted_min: u64,
        measure: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if !with {
            return measure();
        }
        attach(&self.binary, &self.home)?;
        let measured = measure()?;
        let noted = self.cluster.query(SHOP, "SELECT count(*) FROM branchline.change")?;
        let noted: u64 = noted.trim().parse().doing(|| "count the change log".into())?;
        if noted < noted_min {
            return Err(Failure::new(format!(
                "the change log has {noted} entries, and not at least {noted_min}"
            )));
        }
        detach(&self.binary, &self.home)?;
        Ok(measured)
    }

    /// Seconds of the insert and of the update.
    fn bulk_seconds(&self, bulk: &Bulk) -> Result<(f64, f64), Failure> {
        let insert = bulk.insert.replace("$SALES", &self.bulk_sales().to_string());
        let mut session = self.cluster.session(SHOP)?;
        session.query(&format!("SET ROLE {OWNER}"))?;
        let mut seconds = |statement: &str| -> Result<f64, Failure> {
            self.cluster.query("postgres", "CHECKPOINT")?;
            Ok(timed(|| session.query(statement))?.0.as_secs_f64())
        };
        Ok((seconds(&insert)?, seconds(bulk.update)?))
    }

    fn sales_per_s(&self, protocol: &str) -> Result<f64, Failure> {
        let file = self.cluster.scratch("trade.sql");
        std::fs::write(&file, TRADE).doing(|| format!("write {}", file.display()))?;
        self.cluster.query("postgres", "CHECKPOINT")?;
        let shop = dataset::counts(self.cluster, SHOP)?;
        let mut pgbench = Command::new(self.cluster.client("pgbench"));
        pgbench
            .args(["--no-vacuum", "--protocol", protocol, "--client", CLIENTS, "--jobs=2"])
            .arg(format!("--time={}", self.seconds))
            .arg(format!("--define=customers={}", shop.get("customers").copied().unwrap_or(0)))
            .arg(format!("--define=articles={}", shop.get("articles").copied().unwrap_or(0)))
            .arg("--file")
            .arg(&file)
            .arg(self.cluster.url_of(OWNER, SHOP));
        rate(&program::read(&mut pgbench)?)
    }

    fn bulk_sales(&self) -> u64 {
        BULK_SALES.min(self.orders)
    }

    fn bulk_rows(&self) -> u64 {
        BULK_ROWS.min(5 * self.orders)
    }
}

/// Without capture (false) and with it (true): in every second run the other way round.
fn order(run: usize) -> [bool; 2] {
    if run % 2 == 1 { [false, true] } else { [true, false] }
}

/// Transactions a second, by what `pgbench` says: the last such line is without the time to connect.
fn rate(said: &str) -> Result<f64, Failure> {
    let lines = said.lines().rev();
    let rate = lines.filter_map(|line| line.strip_prefix("tps = ")).find_map(|rest| rest.split(' ').next());
    rate.and_then(|rate| rate.parse().ok())
        .ok_or_else(|| Failure::new(format!("pgbench names no transactions a second:\n{said}")))
}

#[cfg(test)]
mod tests {
    use super::{order, rate};

    #[test]
    fn the_rate_is_read_from_old_and_new_pgbench() {
        let old = "tps = 90.5 (including connections establishing)\ntps = 91.25 (excluding connections establishing)\n";
        assert!((rate(old).unwrap() - 91.25).abs() < 1e-9);
        let new = "initial connection time = 5.079 ms\ntps = 3848.25 (without initial connection time)\n";
        assert!((rate(new).unwrap() - 3_848.25).abs() < 1e-9);
        assert!(rate("no such thing").is_err());
    }

    #[test]
    fn each_goes_first_as_often_as_the_other() {
        assert_eq!([order(1), order(2)], [[false, true], [true, false]]);
    }
}
