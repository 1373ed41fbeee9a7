//! One of the two shops of `bench incremental`, with its head office and its replicated copy.

use std::path::Path;
use std::time::Duration;

use crate::bench::changes::{self, Changes};
use crate::bench::databases::{self, OWNER};
use crate::bench::equality;
use crate::bench::replication::Replication;
use crate::bench::servers::{Capture, Pair, Synced};
use crate::dataset;
use crate::failure::Failure;
use crate::postgres::Cluster;

pub(super) struct Shop<'a> {
    cluster: &'a Cluster,
    shop: String,
    office: String,
    copy: String,
    pair: Pair,
    replication: Replication<'a>,
    changes: Changes,
    rows: u64,
}

/// One change set's way to the head office, and to the copy.
pub(super) struct Day {
    pub(super) synced: Synced,
    /// Of the whole document as it travelled.
    pub(super) bytes: u64,
    pub(super) replicated: Duration,
}

impl<'a> Shop<'a> {
    /// Makes the databases, attaches both servers, and sends the first backup, which is a full one.
    pub(super) fn open(
        cluster: &'a Cluster,
        binary: &Path,
        name: &str,
        orders: u64,
    ) -> Result<Self, Failure> {
        let [shop, office, copy] = ["shop", "office", "copy"].map(|kind| format!("{kind}_{name}"));
        databases::create(cluster, &shop)?;
        dataset::fill(cluster, OWNER, &shop, orders)?;
        cluster.query(&shop, "VACUUM ANALYZE")?;
        databases::create_like(cluster, &shop, &office)?;
        let replication = Replication::start(cluster, &shop, &copy)?;
        let pair = Pair::start(
            binary,
            &cluster.scratch(&format!("homes-{name}")),
            &cluster.url_of(OWNER, &shop),
            &cluster.url_of(OWNER, &office),
            Capture::On,
        )?;
        pair.sync("full")?;
        let rows = equality::prove(cluster, &shop, &office)?;
        for database in [&shop, &office, &copy] {
            cluster.query(database, "VACUUM ANALYZE")?;
        }
        Ok(Self { cluster, shop, office, copy, pair, replication, changes: Changes::new(), rows })
    }

    /// The rows that it had at first.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// One change set of `units` thousand rows, brought to both.
    pub(super) fn day(&mut self, units: u64) -> Result<Day, Failure> {
        self.replication.resume()?;
        self.changes.make(self.cluster, &self.shop, units)?;
        let replicated = self.replication.arrival(&self.changes.arrived())?;
        self.replication.pause()?;
        self.cluster.query("postgres", "CHECKPOINT")?;
        let synced = self.pair.sync("incremental")?;
        let (sent, bytes) = (synced.peer["rows"].as_u64(), synced.peer["document_bytes"].as_u64());
        let (Some(sent), Some(bytes)) = (sent, bytes) else {
            return Err(Failure::new(format!("sync says neither rows nor bytes: {}", synced.peer)));
        };
        if sent != units * changes::ROWS {
            return Err(Failure::new(format!(
                "{} rows were changed, and the backup has {sent}: {}",
                units * changes::ROWS,
                synced.peer
            )));
        }
        equality::prove(self.cluster, &self.shop, &self.office)?;
        Ok(Day { synced, bytes, replicated })
    }

    /// Proves that the copy was no worse, and says how long it takes to copy all of it, so many times.
    pub(super) fn close(mut self, runs: usize) -> Result<Vec<f64>, Failure> {
        self.replication.resume()?;
        equality::prove(self.cluster, &self.shop, &self.copy)?;
        self.replication.stop()?;
        let mut seconds = Vec::new();
        for _ in 0..runs {
            let restored = "restored";
            databases::create(self.cluster, restored)?;
            self.cluster.query("postgres", "CHECKPOINT")?;
            seconds.push(databases::restore(self.cluster, &self.copy, restored)?.as_secs_f64());
            equality::prove(self.cluster, &self.copy, restored)?;
            databases::drop_database(self.cluster, restored)?;
        }
        Ok(seconds)
    }
}
