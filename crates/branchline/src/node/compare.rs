//! Proves that this database and a peer's are equal in what they share, or names what differs. Each side leaves out the
//! rows that its own filters keep from the other.

use branchline_core::code::Code;
use branchline_core::compare::{
    CompareAnswer as WireAnswer, CompareRequest, Difference, NotShared, TableDifference, TableHashes,
    differing_buckets, groups_of, ours_that_differ, shared_spec,
};
use branchline_core::id::{Generation, ServerId};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{
    Amendment, Capture, CaptureState, DatabaseError, HashSpec, OutboxState, PeerHello, PeerLink, Snapshot,
};
use branchline_core::schema::{Schema, Table, TableName};
use branchline_core::scope::PeerScope;
use branchline_core::version::Life;

use super::Node;
use super::clock::Stopwatch;
use super::progress::{ProgressSink, Reporter};
use crate::api::v1::{CompareAnswer, NamedRow, PlannedTable, Problem, TableComparison};

/// Rows that a peer may ask for at once: ten times what our own side asks for.
const ROWS_ASKED_MAX: u64 = 50_000;
/// Buckets that a peer may ask for at once: what one group of rows can be spread over.
const BUCKETS_ASKED_MAX: usize = 65_536;

impl Node {
    pub(super) async fn compare(
        &self,
        name: &str,
        only: &[String],
        repair: bool,
        progress: &ProgressSink,
    ) -> Result<CompareAnswer, Problem> {
        let watch = Stopwatch::start();
        let peer = self.memory.peer(name).await?;
        let link = self.link(&peer)?;
        let hello = link.hello().await?;
        let capture = self.database().await?.capture();
        let captured = if repair { Some(self.settled(capture, &peer.id, &hello).await?) } else { None };
        let mut snapshot = self.database().await?.snapshot().await?;
        let scope = self.scope_for(snapshot.schema(), &peer.id);
        let whole = snapshot.schema().clone();
        let here = self.restrict(whole.clone());
        let (specs, not_shared) = shared(&here, &hello.schema, only)?;
        let mut reporter = Reporter::begin(progress, "compare", Some(name));
        let mut tables = Vec::new();
        for spec in specs {
            let spec = HashSpec { scope: scope.clone(), ..spec };
            let pair = Pair { link: link.as_ref(), here: &here, there: &hello.schema };
            let is_captured =
                captured.as_ref().is_some_and(|captured| captured.tables.contains_key(&spec.table));
            let (rows, table) =
                compare_table(snapshot.as_mut(), &pair, &spec, is_captured.then_some(capture)).await?;
            reporter.add(rows, 0);
            tables.push(table);
        }
        snapshot.close().await?;
        let sum = |count: fn(&TableComparison) -> u64| tables.iter().map(count).sum();
        // Nothing compared is nothing proven.
        let equal = !tables.is_empty() && tables.iter().all(|table| table.equal);
        self.clear_compare_due(&tables, &whole, &scope).await?;
        reporter.end(if equal { "no row differs" } else { "rows differ" });
        Ok(CompareAnswer {
            peer: peer.id.to_string(),
            equal,
            not_shared,
            rows_here: sum(|table| table.rows_here),
            rows_there: sum(|table| table.rows_there),
            missing_here: sum(|table| table.missing_here),
            missing_there: sum(|table| table.missing_there),
            different: sum(|table| table.different),
            counted_as_changed: sum(|table| table.counted_as_changed),
            millis: watch.millis(),
            tables,
        })
    }

    /// How capture stands, where all is exchanged: what is still to be sent explains a difference, and to repair it would
    /// overrule what is on its way. What the peer has changed and not packed yet nobody can tell here.
    async fn settled(
        &self,
        capture: &dyn Capture,
        peer: &ServerId,
        hello: &PeerHello,
    ) -> Result<CaptureState, Problem> {
        let captured = capture.look().await?.ok_or(DatabaseError::NotAttached)?;
        let outbox = self.memory.outbox_of(peer).await?;
        let waits = outbox.iter().any(|entry| entry.state == OutboxState::Waiting);
        let packed =
            |knowledge: &Knowledge, life: &Life| knowledge.generation(life).unwrap_or(Generation::new(0));
        let lacks = hello.standing.as_ref().is_some_and(|there| {
            packed(&there.knowledge, &there.life) > packed(&captured.knowledge, &there.life)
        });
        if captured.pending == 0 && !waits && !lacks {
            return Ok(captured);
        }
        let message = format!(
            "changes between this server and {peer} are not exchanged yet: a repair could overrule them"
        );
        let own = &self.settings.server;
        let help = format!("here: branchline sync {peer}; there: branchline sync {own}; then compare again");
        Err(Problem::new(Code::ROWS_DIFFER, message).with_help(help))
    }

    /// Where a table of which changes may have been missed is equal at a peer, none was missed. A peer that does not get the
    /// table whole proves that only where none does.
    async fn clear_compare_due(
        &self,
        compared: &[TableComparison],
        schema: &Schema,
        scope: &PeerScope,
    ) -> Result<(), Problem> {
        let peers = self.memory.peers().await?;
        let proves =
            |table: &TableName| scope.of(table).is_none() || !self.is_whole_for_any(schema, table, &peers);
        let capture = self.database().await?.capture();
        let Some(captured) = capture.look().await? else { return Ok(()) };
        let proven = |table: &TableName| {
            compared.iter().any(|compared| compared.equal && compared.table == table.as_str())
        };
        let due = captured.tables.iter().filter(|(table, due)| **due && proven(table) && proves(table));
        let tables: Vec<TableName> = due.map(|(table, _)| table.clone()).collect();
        if !tables.is_empty() {
            capture.amend(Amendment::SetCompareDue { tables, due: false }).await?;
        }
        Ok(())
    }

    /// Answers a peer that compares.
    pub(super) async fn answer_comparison(
        &self,
        peer: &ServerId,
        request: CompareRequest,
    ) -> Result<WireAnswer, Problem> {
        let known = self.memory.peer(peer.as_str()).await?;
        let spec = match &request {
            CompareRequest::Hashes(spec) | CompareRequest::Rows { spec, .. } => spec,
        };
        let buckets_fit = spec.buckets.is_power_of_two() && spec.buckets as usize <= BUCKETS_ASKED_MAX;
        let asked_fit =
            !matches!(&request, CompareRequest::Rows { buckets, .. } if buckets.len() > BUCKETS_ASKED_MAX);
        if !buckets_fit || !asked_fit {
            return Err(Problem::new(Code::REQUEST_INVALID, "that many buckets are not compared"));
        }
        let mut snapshot = self.database().await?.snapshot().await?;
        let scope = self.scope_for(snapshot.schema(), peer);
        let schema = self.restrict(snapshot.schema().clone());
        let visible = schema.table(&spec.table).is_some_and(|table| table.excluded.is_none());
        if !visible || !known.grant.covers(&spec.table) {
            return Err(Problem::new(Code::TABLE_UNKNOWN, "there is no such table here"));
        }
        if let (CompareRequest::Rows { buckets, .. }, Some(table)) = (&request, schema.table(&spec.table)) {
            let rows_a_bucket = table.rows_estimated / u64::from(spec.buckets) + 1;
            if rows_a_bucket.saturating_mul(buckets.len() as u64) > ROWS_ASKED_MAX {
                return Err(Problem::new(Code::REQUEST_INVALID, "that many rows are not compared at once"));
            }
        }
        let answer = match &request {
            CompareRequest::Hashes(spec) => {
                let spec = HashSpec { scope, ..spec.clone() };
                WireAnswer::Hashes(snapshot.hashes(&spec).await?)
            }
            CompareRequest::Rows { spec, buckets } => {
                let spec = HashSpec { scope, ..spec.clone() };
                WireAnswer::Rows(snapshot.row_digests(&spec, buckets).await?)
            }
        };
        snapshot.close().await?;
        Ok(answer)
    }
}

/// What the two schemas share, and what not, with the reason.
fn shared(
    here: &Schema,
    there: &Schema,
    only: &[String],
) -> Result<(Vec<HashSpec>, Vec<PlannedTable>), Problem> {
    let wanted = |table: &Table| only.is_empty() || only.iter().any(|name| name == table.name.as_str());
    if let Some(unknown) =
        only.iter().find(|name| !here.tables().any(|table| table.name.as_str() == name.as_str()))
    {
        return Err(Problem::new(Code::TABLE_UNKNOWN, format!("there is no table {unknown} here")));
    }
    let left_out = |table: &Table, reason: &str| PlannedTable {
        table: table.name.to_string(),
        rows: table.rows_estimated,
        removed: None,
        obstacle: Some(reason.to_owned()),
    };
    let (mut specs, mut not_shared) = (Vec::new(), Vec::new());
    for table in here.syncable().filter(|table| wanted(table)) {
        let Some(other) = there.table(&table.name) else {
            not_shared.push(left_out(table, "the peer has no such table"));
            continue;
        };
        match shared_spec(table, other) {
            Ok(spec) => specs.push(spec),
            Err(NotShared::Table(_)) => not_shared.push(left_out(table, "the peer cannot sync it")),
            Err(NotShared::Key(_)) => not_shared.push(left_out(table, "the peer has another primary key")),
        }
    }
    for table in there.syncable().filter(|table| wanted(table)) {
        if here.table(&table.name).is_none_or(|own| own.excluded.is_some()) {
            not_shared.push(left_out(table, "only the peer syncs it"));
        }
    }
    Ok((specs, not_shared))
}

/// The two sides of a comparison.
struct Pair<'a> {
    link: &'a dyn PeerLink,
    here: &'a Schema,
    there: &'a Schema,
}

/// Compares one table. With `repair`, rows here that the peer lacks or has otherwise count as changed from now on.
async fn compare_table(
    snapshot: &mut dyn Snapshot,
    pair: &Pair<'_>,
    spec: &HashSpec,
    repair: Option<&dyn Capture>,
) -> Result<(u64, TableComparison), Problem> {
    let Pair { link, here, there } = *pair;
    let mut counted_as_changed = 0;
    let request = CompareRequest::Hashes(spec.clone());
    let (own, other) = tokio::join!(snapshot.hashes(spec), link.compare(&request));
    let (own, other) = (own?, hashes_of(other?)?);
    let mut difference = TableDifference::default();
    for buckets in groups_of(&differing_buckets(&own, &other)) {
        let request = CompareRequest::Rows { spec: spec.clone(), buckets: buckets.clone() };
        let (own, other) = tokio::join!(snapshot.row_digests(spec, &buckets), link.compare(&request));
        let WireAnswer::Rows(other) = other? else { return Err(other_answer()) };
        let own = own?;
        difference.add(&own, &other);
        let keys = ours_that_differ(&own, &other);
        if let Some(capture) = repair.filter(|_| !keys.is_empty()) {
            let changed = Amendment::CountAsChanged { spec: spec.clone(), keys };
            counted_as_changed += capture.amend(changed).await?;
        }
    }
    let named = difference.named.iter().map(|(how, key)| NamedRow {
        how: match how {
            Difference::MissingHere => "missing_here".to_owned(),
            Difference::MissingThere => "missing_there".to_owned(),
            Difference::Different => "different".to_owned(),
        },
        key: key.clone(),
    });
    let comparison = TableComparison {
        table: spec.table.to_string(),
        equal: difference.is_empty(),
        rows_here: own.rows,
        rows_there: other.rows,
        missing_here: difference.missing_here,
        missing_there: difference.missing_there,
        different: difference.different,
        counted_as_changed,
        named: named.collect(),
        columns_not_shared: columns_not_shared(spec, here, there),
    };
    Ok((own.rows, comparison))
}

fn hashes_of(answer: WireAnswer) -> Result<TableHashes, Problem> {
    match answer {
        WireAnswer::Hashes(hashes) => Ok(hashes),
        WireAnswer::Rows(_) => Err(other_answer()),
    }
}

fn other_answer() -> Problem {
    Problem::new(Code::PROTOCOL_MISMATCH, "the peer answered another question")
}

fn columns_not_shared(spec: &HashSpec, here: &Schema, there: &Schema) -> Vec<String> {
    let columns = [here, there]
        .into_iter()
        .filter_map(|schema| schema.table(&spec.table))
        .flat_map(|table| &table.columns);
    let mut names: Vec<String> = columns
        .filter(|column| !spec.columns.iter().any(|(name, _)| *name == column.name))
        .map(|column| column.name.to_string())
        .collect();
    names.sort();
    names.dedup();
    names
}
