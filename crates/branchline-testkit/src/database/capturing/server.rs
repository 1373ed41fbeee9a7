//! A server as far as its database goes: whose changes are captured, and what each of its peers said that it holds.
//!
//! It does what the stages of a node do with the ports, and nothing is sealed, sent or kept between: a backup goes
//! from hand to hand. Everything that a backup says of what its source holds counts as an answer of the source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use branchline_core::compare::TableHashes;
use branchline_core::id::{Epoch, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::pack::PackRequest;
use branchline_core::pack::{Audience, plan_pack};
use branchline_core::ports::{
    Amendment, AttachReport, AttachRequest, Capture, CaptureState, Changes, Database, MergeReport,
};
use branchline_core::schema::{Schema, TableName};
use branchline_core::scope::{Filter, PeerScope};
use branchline_core::version::Life;

use super::super::backup::hashes_of;
use super::super::{Engine, Fixture, Shape, TestDatabase, worked};
use super::carried::CarriedBackup;
use crate::state::server_id;

/// A server with a database of its own.
pub struct TestServer {
    /// The database, past the port.
    pub shop: Box<dyn TestDatabase>,
    /// Its name.
    pub id: ServerId,
    port: Arc<dyn Database>,
    peers: BTreeMap<ServerId, TestPeer>,
}

/// What a server knows of a peer.
#[derive(Debug, Default)]
struct TestPeer {
    acknowledged: Knowledge,
    lent: Knowledge,
    relay: bool,
    sequence: u64,
    filters: Vec<Filter>,
}

impl TestServer {
    /// A server over a database whose changes nobody captures.
    #[must_use]
    pub fn over(shop: Box<dyn TestDatabase>, id: &str) -> Self {
        let port = shop.database();
        Self { shop, id: server_id(id), port, peers: BTreeMap::new() }
    }

    /// A server over a new database with these tables and rows, whose changes nobody captures.
    pub async fn detached(fixture: &dyn Fixture, shape: Shape, rows: &str, id: &str) -> Self {
        let shop = fixture.create(shape).await;
        shop.execute(rows).await;
        Self::over(shop, id)
    }

    /// A server over a new database with these tables and rows, whose changes are captured from then on.
    pub async fn attached(fixture: &dyn Fixture, shape: Shape, rows: &str, id: &str) -> Self {
        let server = Self::detached(fixture, shape, rows, id).await;
        server.attach().await;
        server
    }

    /// Begins to capture, in the first epoch, or brings capture in step.
    pub async fn attach(&self) -> AttachReport {
        worked(self.capture().attach(self.request()).await)
    }

    /// The request to capture every table.
    #[must_use]
    pub fn request(&self) -> AttachRequest {
        AttachRequest { server: self.id.clone(), epoch: Epoch::new(1), except: Vec::new() }
    }

    /// The port.
    #[must_use]
    pub fn database(&self) -> &dyn Database {
        &*self.port
    }

    /// The port for its changes.
    #[must_use]
    pub fn capture(&self) -> &dyn Capture {
        self.port.capture()
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.shop.engine()
    }

    /// What the shop's program does.
    pub async fn write(&self, sql: &str) {
        self.shop.execute(sql).await;
    }

    /// The first column of each row, as text.
    pub async fn query(&self, sql: &str) -> Vec<String> {
        self.shop.query(sql).await
    }

    /// Counts and hashes of every table.
    pub async fn hashes(&self) -> BTreeMap<TableName, TableHashes> {
        hashes_of(self.database()).await
    }

    /// How capture stands.
    ///
    /// # Panics
    /// Where nothing is captured.
    pub async fn state(&self) -> CaptureState {
        worked(self.capture().look().await).expect("changes are captured here")
    }

    /// Its life in the first epoch.
    #[must_use]
    pub fn life(&self) -> Life {
        Life::new(self.id.clone(), Epoch::new(1))
    }

    /// From now on a peer gets what others made too.
    pub fn relay_to(&mut self, peer: &ServerId) {
        self.peers.entry(peer.clone()).or_default().relay = true;
    }

    /// From now on these filters keep rows back from a peer, and no others do.
    pub fn filter_for(&mut self, peer: &ServerId, filters: Vec<Filter>) {
        self.peers.entry(peer.clone()).or_default().filters = filters;
    }

    /// What a peer gets of a database of that schema.
    #[must_use]
    pub fn scope_for(&self, peer: &ServerId, schema: &Schema) -> PeerScope {
        let filters = self.peers.get(peer).map_or(&[][..], |known| &known.filters);
        PeerScope::derive(schema, filters, peer)
    }

    /// What a peer said that it holds.
    #[must_use]
    pub fn acknowledged(&self, peer: &ServerId) -> Knowledge {
        self.peers.get(peer).map(|known| known.acknowledged.clone()).unwrap_or_default()
    }

    /// A peer says what it holds.
    pub fn acknowledge(&mut self, peer: &ServerId, held: &Knowledge) {
        self.peers.entry(peer.clone()).or_default().acknowledged.join(held);
    }

    /// Takes a position and reads what a peer lacks.
    pub async fn pack_for(&mut self, peer: &ServerId) -> CarriedBackup {
        let changes = worked(self.capture().pack(PackRequest::default()).await);
        self.read_for(peer, changes, false).await
    }

    /// Takes a position and reads everything.
    pub async fn full_for(&mut self, peer: &ServerId) -> CarriedBackup {
        let changes = worked(self.capture().pack(PackRequest::default()).await);
        self.read_for(peer, changes, true).await
    }

    /// Reads what a peer lacks at a position that was taken before.
    pub async fn read_for(
        &mut self,
        peer: &ServerId,
        changes: Box<dyn Changes>,
        full: bool,
    ) -> CarriedBackup {
        let scope = self.scope_for(peer, changes.schema());
        let known = self.peers.entry(peer.clone()).or_default();
        known.sequence += 1;
        let audience = Audience {
            acknowledged: known.acknowledged.clone(),
            lent: known.lent.clone(),
            relay: known.relay,
        };
        let plan = plan_pack(changes.position(), &audience, full).scoped(peer.clone(), scope);
        CarriedBackup::read(changes, &plan, &self.id, peer, known.sequence).await
    }

    /// Applies a backup that must go in. What is held here afterwards is what the backup covers and what was held
    /// before, where changes are captured here.
    pub async fn apply(&self, backup: &CarriedBackup) -> MergeReport {
        let before = worked(self.capture().look().await);
        let report = worked(backup.apply(self.database()).await);
        assert_eq!(report.knowledge.is_some(), before.is_some());
        if let (Some(held), Some(before)) = (&report.knowledge, before) {
            let mut expected = before.knowledge;
            expected.join(&backup.context().covers);
            assert_eq!(*held, expected);
            let after = self.state().await;
            assert_eq!(after.knowledge, expected);
            assert!(after.clock >= backup.context().clock.max(before.clock));
        }
        report
    }
}

/// One server's changes go to another, which answers.
pub async fn send(from: &mut TestServer, to: &mut TestServer) -> (CarriedBackup, MergeReport) {
    let backup = from.pack_for(&to.id).await;
    let report = deliver(from, to, &backup).await;
    (backup, report)
}

/// A backup that was packed goes to its target, which answers.
pub async fn deliver(from: &mut TestServer, to: &mut TestServer, backup: &CarriedBackup) -> MergeReport {
    let report = to.apply(backup).await;
    answer(from, to, backup, &report);
    if from.peers.get(&to.id).is_some_and(|known| !known.filters.is_empty()) {
        worked(from.capture().amend(Amendment::ConfirmScope { peer: to.id.clone() }).await);
    }
    report
}

/// What both know of each other once a backup was applied.
pub fn answer(from: &mut TestServer, to: &mut TestServer, backup: &CarriedBackup, report: &MergeReport) {
    to.acknowledge(&from.id, &backup.context().knowledge);
    let held = report.knowledge.clone().unwrap_or_else(|| backup.context().covers.clone());
    from.acknowledge(&to.id, &held);
    from.peers.entry(to.id.clone()).or_default().lent = backup.position.seen.clone();
}

/// Both send each other what they have until both are equal.
///
/// # Panics
/// Where they are not, or where something still travels then.
pub async fn settle(one: &mut TestServer, other: &mut TestServer) {
    for _ in 0..3 {
        send(one, other).await;
        send(other, one).await;
    }
    assert_same(one, other).await;
    assert_quiet(one, other).await;
}

/// Asserts that two servers have the same rows; names the tables in which they have not.
pub async fn assert_same(one: &TestServer, other: &TestServer) {
    let (here, there) = (one.hashes().await, other.hashes().await);
    let tables: BTreeSet<_> = here.keys().chain(there.keys()).collect();
    let rows = |of: &BTreeMap<TableName, TableHashes>, table| of.get(table).map(|hashes| hashes.rows);
    let differ: Vec<_> = tables
        .into_iter()
        .filter(|table| here.get(*table) != there.get(*table))
        .map(|table| format!("{table} with {:?} and {:?} rows", rows(&here, table), rows(&there, table)))
        .collect();
    assert!(differ.is_empty(), "{} and {} differ: {}", one.id, other.id, differ.join(", "));
}

/// Asserts that two servers have nothing for each other, and that neither missed a change that it knows of.
pub async fn assert_quiet(one: &mut TestServer, other: &mut TestServer) {
    let (there, back) = (one.pack_for(&other.id).await, other.pack_for(&one.id).await);
    for backup in [&there, &back] {
        let tables = &backup.request.tables;
        assert_eq!(backup.lines(), 0, "{} still sends something: {tables:?}", backup.request.source);
    }
    for server in [one, other] {
        let due = server.state().await.tables.into_iter().filter(|(_, due)| *due);
        let due: Vec<_> = due.map(|(table, _)| table).collect();
        assert!(due.is_empty(), "{} may have missed changes of {due:?}", server.id);
    }
}

/// Two servers with the same tables, both captured, that have told each other what they hold. The rows are those of
/// the first, and came to the second.
pub async fn pair(fixture: &dyn Fixture, shape: Shape, rows: &str) -> (TestServer, TestServer) {
    let mut first = TestServer::attached(fixture, shape, rows, "STORE-001").await;
    let mut second = TestServer::attached(fixture, shape, "", "HQ").await;
    send(&mut first, &mut second).await;
    send(&mut second, &mut first).await;
    assert_same(&first, &second).await;
    (first, second)
}
