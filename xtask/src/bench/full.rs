//! `bench full`: a whole database, store to head office, beside the database's own dump and restore.
//!
//! One private cluster with PostgreSQL's default settings (fsync on, like a shop's) holds the source and the targets.
//! In turn, so that whatever else the machine does falls on all alike:
//!
//! * **ours**: `branchline sync CENTRAL-HQ --type full`, from the start of the command to its end after the receipt;
//!   the target has the schema and no rows, and the head office's role owns it;
//! * **ours, write only**: the same where that role may only read and write rows, so that no foreign key or trigger
//!   can be put aside while loading;
//! * **peer**: `pg_dump | gzip -6 | gunzip | psql` into an empty database.
//!
//! After each run the counts of all tables must be the source's, and the receipt must say success.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::databases::{self, OWNER};
use super::report::{each, last, rounded, stages};
use super::servers::{Capture, Pair, Synced};
use super::{Size, machine, median};
use crate::dataset;
use crate::failure::Failure;
use crate::install;
use crate::postgres::{Cluster, Durability};
use crate::program;

const SOURCE: &str = "shop";
const TARGET: &str = "office";
const RESTORED: &str = "restored";

/// May read and write the rows of the target, and make a schema of its own.
const WRITER: &str = "clerk";

/// What the head office's role may do with the target's tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    Own,
    Write,
}

struct Bench<'a> {
    cluster: &'a Cluster,
    binary: PathBuf,
    source: BTreeMap<String, u64>,
}

/// Every run of one kind.
#[derive(Default)]
struct Series {
    seconds: Vec<f64>,
    synced: Vec<Synced>,
}

pub(super) fn run(size: &Size) -> Result<(), Failure> {
    install::test_needs()?;
    let binary = program::release_binary()?;
    let cluster = Cluster::start(Durability::Defaults)?;
    databases::create_roles(&cluster, &[OWNER, WRITER])?;
    databases::create(&cluster, SOURCE)?;
    size.say(&format!("Making a shop with {} sales.", size.orders));
    dataset::fill(&cluster, OWNER, SOURCE, size.orders)?;
    cluster.query(SOURCE, "VACUUM ANALYZE")?;
    let bench = Bench { source: dataset::counts(&cluster, SOURCE)?, cluster: &cluster, binary };
    let (mut own, mut write, mut peer) = (Series::default(), Series::default(), Series::default());
    for run in 1..=size.runs {
        own.add(bench.ours(Right::Own)?);
        peer.seconds.push(bench.peer()?);
        write.add(bench.ours(Right::Write)?);
        size.say(&format!(
            "run {run}: ours {:.2} s, ours write only {:.2} s, dump and restore {:.2} s",
            last(&own.seconds),
            last(&write.seconds),
            last(&peer.seconds)
        ));
    }
    let rows: u64 = bench.source.values().sum();
    size.say(&table(&cluster, rows, &own, &write, &peer));
    println!("{}", json_line(&cluster, rows, &own, &write, &peer));
    Ok(())
}

impl Bench<'_> {
    fn ours(&self, right: Right) -> Result<Synced, Failure> {
        self.make_target(right)?;
        let role = if right == Right::Own { OWNER } else { WRITER };
        let pair = Pair::start(
            &self.binary,
            &self.cluster.scratch("homes"),
            &self.cluster.url_of(OWNER, SOURCE),
            &self.cluster.url_of(role, TARGET),
            Capture::Off,
        )?;
        self.cluster.query("postgres", "CHECKPOINT")?;
        let synced = pair.sync("full")?;
        self.check(TARGET)?;
        Ok(synced)
    }

    fn peer(&self) -> Result<f64, Failure> {
        databases::create(self.cluster, RESTORED)?;
        self.cluster.query("postgres", "CHECKPOINT")?;
        let took = databases::restore(self.cluster, SOURCE, RESTORED)?;
        self.check(RESTORED)?;
        databases::drop_database(self.cluster, RESTORED)?;
        Ok(took.as_secs_f64())
    }

    /// The target: the source's schema without the ledger, no rows.
    fn make_target(&self, right: Right) -> Result<(), Failure> {
        databases::create_like(self.cluster, SOURCE, TARGET)?;
        if right == Right::Write {
            let grants = format!(
                "GRANT CREATE, TEMPORARY ON DATABASE {TARGET} TO {WRITER};
                 GRANT USAGE ON SCHEMA public TO {WRITER};
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {WRITER};
                 GRANT SELECT, USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {WRITER}"
            );
            self.cluster.query(TARGET, &grants)?;
        }
        Ok(())
    }

    fn check(&self, database: &str) -> Result<(), Failure> {
        let arrived = dataset::counts(self.cluster, database)?;
        if arrived == self.source {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the rows in {database} are not the source's: {arrived:?}, and not {:?}",
            self.source
        )))
    }
}

impl Series {
    fn add(&mut self, synced: Synced) {
        self.seconds.push(synced.took.as_secs_f64());
        self.synced.push(synced);
    }

    fn store_peak_mib(&self) -> u64 {
        peak_mib(self.synced.iter().map(|synced| synced.store_peak_kib))
    }

    fn office_peak_mib(&self) -> u64 {
        peak_mib(self.synced.iter().map(|synced| synced.office_peak_kib))
    }
}

fn peak_mib(kib: impl Iterator<Item = u64>) -> u64 {
    kib.max().unwrap_or(0).div_ceil(1024)
}

/// The median of the ratios of each run, since the two halves of a run met the same machine.
fn ratio(ours: &Series, peer: &Series) -> f64 {
    let ratios: Vec<f64> = ours.seconds.iter().zip(&peer.seconds).map(|(ours, peer)| ours / peer).collect();
    median(&ratios)
}

fn table(cluster: &Cluster, rows: u64, own: &Series, write: &Series, peer: &Series) -> String {
    let mut text = format!(
        "\n{rows} rows, PostgreSQL {}, {}\n\n{:<34}{:>10}{:>8}  each run\n",
        cluster.version(),
        machine::describe(),
        "",
        "median s",
        "ratio"
    );
    for (name, series) in [
        ("ours, role owns the tables", own),
        ("ours, role may only write", write),
        (databases::RESTORE, peer),
    ] {
        let _ = writeln!(
            text,
            "{name:<34}{:>10.2}{:>8.2}  {}",
            median(&series.seconds),
            ratio(series, peer),
            each(&series.seconds, 2)
        );
    }
    let _ = writeln!(
        text,
        "\npeak resident memory: store {} MiB, head office {} MiB (limit 96)",
        own.store_peak_mib().max(write.store_peak_mib()),
        own.office_peak_mib().max(write.office_peak_mib())
    );
    for (name, series) in [("role owns the tables", own), ("role may only write", write)] {
        text.push_str(&stages(name, series.synced.iter()));
    }
    text
}

fn json_line(cluster: &Cluster, rows: u64, own: &Series, write: &Series, peer: &Series) -> String {
    let version = cluster.version();
    // Written by hand: the order of the members is for people.
    format!(
        "{{\"bench\":\"full\",\"ratio\":{},\"write_only_ratio\":{},\"store_rss_mib\":{},\"hq_rss_mib\":{},\
         \"rows\":{rows},\"ours_s\":{},\"write_only_s\":{},\"peer_s\":{},\"runs\":{},\"pg\":\"{version}\"}}",
        rounded(ratio(own, peer)),
        rounded(ratio(write, peer)),
        own.store_peak_mib().max(write.store_peak_mib()),
        own.office_peak_mib().max(write.office_peak_mib()),
        rounded(median(&own.seconds)),
        rounded(median(&write.seconds)),
        rounded(median(&peer.seconds)),
        peer.seconds.len(),
    )
}
