//! PostgreSQL's own logical replication, as a peer: the changes of one database to a copy of it in the same cluster.
//!
//! Its subscriber applies without checking foreign keys and without firing the shop's triggers, keeps no versions and
//! signs nothing; so it is the fastest that the same changes can be expected to arrive.
//!
//! The cluster needs [`SETTINGS`]. A subscription cannot make its own slot in the cluster that it is in (it would wait
//! for its own transaction to end), so the slot is made by hand.

use std::time::Duration;

use super::timed;
use crate::failure::Failure;
use crate::postgres::{Cluster, Session};

/// What the cluster's `postgresql.conf` needs for it.
pub(super) const SETTINGS: &str = "wal_level = logical";

/// How long changes may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(600);

/// A source, and the copy that it is replicated to. It is paused at first.
pub(super) struct Replication<'a> {
    cluster: &'a Cluster,
    source: String,
    target: Session,
    name: String,
}

impl<'a> Replication<'a> {
    /// Copies `source`, which nobody may be connected to, into the new database `target`, and replicates from there on.
    pub(super) fn start(cluster: &'a Cluster, source: &str, target: &str) -> Result<Self, Failure> {
        let name = format!("{source}_to_{target}");
        cluster.query("postgres", &format!("CREATE DATABASE {target} TEMPLATE {source}"))?;
        // Not all tables: what branchline keeps in the source has no place in the copy.
        let tables = cluster.query(
            source,
            "SELECT string_agg(format('public.%I', relname), ', ') FROM pg_class
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )?;
        cluster.query(source, &format!("CREATE PUBLICATION {name} FOR TABLE {tables}"))?;
        cluster.query(source, &format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"))?;
        let mut target = cluster.session(target)?;
        target.query(&format!(
            "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION {name}
             WITH (create_slot = false, slot_name = {name}, copy_data = false, enabled = false)",
            cluster.own_connection(source)
        ))?;
        Ok(Self { cluster, source: source.to_owned(), target, name })
    }

    /// Goes on, and returns when all that was committed before has arrived: then what is measured next begins at once.
    pub(super) fn resume(&mut self) -> Result<(), Failure> {
        let before = self.cluster.query("postgres", "SELECT pg_current_wal_lsn()")?;
        self.target.query(&format!("ALTER SUBSCRIPTION {} ENABLE", self.name))?;
        let caught_up = format!(
            "EXISTS (SELECT FROM pg_replication_slots
                     WHERE slot_name = '{}' AND active AND confirmed_flush_lsn >= '{}')",
            self.name,
            before.trim()
        );
        self.target.wait_until(&caught_up, ARRIVAL)
    }

    /// Stops it, so that it takes no processor time from what is measured beside it.
    pub(super) fn pause(&mut self) -> Result<(), Failure> {
        self.target.query(&format!("ALTER SUBSCRIPTION {} DISABLE", self.name))?;
        let stopped = format!(
            "EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{}' AND NOT active)",
            self.name
        );
        self.target.wait_until(&stopped, ARRIVAL)
    }

    /// How long it takes from now until a condition holds in the copy.
    pub(super) fn arrival(&mut self, condition: &str) -> Result<Duration, Failure> {
        Ok(timed(|| self.target.wait_until(condition, ARRIVAL))?.0)
    }

    /// Ends it: then others may copy the databases.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        let name = &self.name;
        self.target.query(&format!("ALTER SUBSCRIPTION {name} DISABLE"))?;
        self.target.query(&format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"))?;
        self.target.query(&format!("DROP SUBSCRIPTION {name}"))?;
        let free =
            format!("EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{name}' AND NOT active)");
        self.target.wait_until(&free, ARRIVAL)?;
        self.cluster.query(&self.source, &format!("SELECT pg_drop_replication_slot('{name}')"))?;
        self.cluster.query(&self.source, &format!("DROP PUBLICATION {name}")).map(drop)
    }
}
