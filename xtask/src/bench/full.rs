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
use std::process::Command;

use serde_json::Value;

use super::servers::{Pair, Synced};
use super::{Size, machine, median, timed};
use crate::dataset;
use crate::failure::Failure;
use crate::install;
use crate::postgres::{Cluster, Durability};
use crate::program;

const SOURCE: &str = "shop";
const TARGET: &str = "office";
const RESTORED: &str = "restored";

/// Owns the source, and the target in the owner's runs.
const OWNER: &str = "shopkeeper";
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
    for role in [OWNER, WRITER] {
        cluster.query("postgres", &format!("CREATE ROLE {role} LOGIN"))?;
    }
    create(&cluster, SOURCE)?;
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
        )?;
        self.cluster.query("postgres", "CHECKPOINT")?;
        let synced = pair.sync_full()?;
        self.check(TARGET)?;
        Ok(synced)
    }

    fn peer(&self) -> Result<f64, Failure> {
        create(self.cluster, RESTORED)?;
        self.cluster.query("postgres", "CHECKPOINT")?;
        let script = r#"set -o pipefail; "$1" "$2" | gzip -6 | gunzip | "$3" -X -q -v ON_ERROR_STOP=1 "$4" >/dev/null"#;
        let mut pipe = Command::new("bash");
        pipe.args(["-c", script, "bash"])
            .arg(self.cluster.client("pg_dump"))
            .arg(self.cluster.url_of(OWNER, SOURCE))
            .arg(self.cluster.client("psql"))
            .arg(self.cluster.url_of(OWNER, RESTORED));
        let (took, _) = timed(|| program::read(&mut pipe))?;
        self.check(RESTORED)?;
        drop_database(self.cluster, RESTORED)?;
        Ok(took.as_secs_f64())
    }

    /// The target: the source's schema without the ledger, no rows.
    fn make_target(&self, right: Right) -> Result<(), Failure> {
        create(self.cluster, TARGET)?;
        let script =
            r#"set -o pipefail; "$1" -s -N branchline "$2" | "$3" -X -q -v ON_ERROR_STOP=1 "$4" >/dev/null"#;
        let mut pipe = Command::new("bash");
        pipe.args(["-c", script, "bash"])
            .arg(self.cluster.client("pg_dump"))
            .arg(self.cluster.url_of(OWNER, SOURCE))
            .arg(self.cluster.client("psql"))
            .arg(self.cluster.url_of(OWNER, TARGET));
        program::read(&mut pipe)?;
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

fn create(cluster: &Cluster, database: &str) -> Result<(), Failure> {
    drop_database(cluster, database)?;
    let statement = format!("CREATE DATABASE {database} OWNER {OWNER} TEMPLATE template0");
    cluster.query("postgres", &statement).map(drop)?;
    // From PostgreSQL 15 on, public belongs to the database's owner; before, anybody could create in it.
    let statement = format!("GRANT ALL ON SCHEMA public TO {OWNER}");
    cluster.query(database, &statement).map(drop)
}

fn drop_database(cluster: &Cluster, database: &str) -> Result<(), Failure> {
    let statement = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
    cluster.query("postgres", &statement).map(drop)
}

fn peak_mib(kib: impl Iterator<Item = u64>) -> u64 {
    kib.max().unwrap_or(0).div_ceil(1024)
}

fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or(f64::NAN)
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
        ("pg_dump | gzip -6 | gunzip | psql", peer),
    ] {
        let each: Vec<String> = series.seconds.iter().map(|one| format!("{one:.2}")).collect();
        let _ = writeln!(
            text,
            "{name:<34}{:>10.2}{:>8.2}  {}",
            median(&series.seconds),
            ratio(series, peer),
            each.join(" ")
        );
    }
    let _ = writeln!(
        text,
        "\npeak resident memory: store {} MiB, head office {} MiB (limit 96)",
        own.store_peak_mib().max(write.store_peak_mib()),
        own.office_peak_mib().max(write.office_peak_mib())
    );
    for (name, series) in [("role owns the tables", own), ("role may only write", write)] {
        text.push_str(&stages(name, series));
    }
    text
}

/// Where the time of the median run went, by what the sync and its receipt say.
fn stages(name: &str, series: &Series) -> String {
    let middle = median(&series.seconds);
    let Some(run) = series.synced.iter().min_by(|a, b| {
        let far = |synced: &Synced| (synced.took.as_secs_f64() - middle).abs();
        far(a).total_cmp(&far(b))
    }) else {
        return String::new();
    };
    let total = run.took.as_secs_f64();
    let mut text = format!("\nstages, {name} ({total:.2} s):\n");
    let mut longest = (String::from("nothing that it named"), 0.0);
    for (whose, list) in [("store", &run.peer["stages"]), ("office", &run.peer["receipt"]["stages"])] {
        for stage in list.as_array().into_iter().flatten() {
            let label = stage["stage"].as_str().unwrap_or("?");
            let seconds = stage["millis"].as_f64().unwrap_or(0.0) / 1000.0;
            let share = 100.0 * seconds / total;
            let _ = writeln!(text, "  {whose:<8}{label:<24}{seconds:>8.2} s {share:>5.0} %");
            if seconds > longest.1 {
                longest = (format!("{label} ({whose})"), seconds);
            }
        }
    }
    let _ = writeln!(text, "  limited by: {}", longest.0);
    text
}

fn json_line(cluster: &Cluster, rows: u64, own: &Series, write: &Series, peer: &Series) -> String {
    let rounded = |value: f64| Value::from((value * 1000.0).round() / 1000.0);
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
