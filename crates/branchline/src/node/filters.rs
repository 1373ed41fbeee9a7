//! Filters: which rows a peer gets, and what a person should know of that.
//!
//! The settings say filters in the SQL of the database here; the core says what they come to for one peer (`scope`), and
//! the adapter asks the conditions and remembers what a peer was sent. Where changes are not captured there is no such
//! memory, and a backup holds every row: so a peer that filters keep rows from gets none then.
//!
//! A waiting backup goes as it was packed, whatever the settings say meanwhile; the next one makes up for it.

use branchline_core::code::Code;
use branchline_core::id::ServerId;
use branchline_core::peer::{Activity, Peer};
use branchline_core::ports::{Amendment, OutboxEntry};
use branchline_core::receipt::Receipt;
use branchline_core::schema::{Schema, Table, TableName};
use branchline_core::scope::{Filter, PeerScope};

use super::Node;
use crate::api::v1::{Problem, WarningAnswer};

impl Node {
    /// Which rows a peer gets. `schema` is the database's own, with the tables that the settings leave out: a filter
    /// reaches through these as well.
    pub(super) fn scope_for(&self, schema: &Schema, peer: &ServerId) -> PeerScope {
        PeerScope::derive(schema, &self.settings.filters, peer)
    }

    /// The peers that do not get a table whole.
    pub(super) fn in_part_for(&self, schema: &Schema, table: &Table, peers: &[Peer]) -> Vec<String> {
        let in_part = |peer: &&Peer| self.scope_for(schema, &peer.id).of(&table.name).is_some();
        peers.iter().filter(in_part).map(|peer| peer.id.to_string()).collect()
    }

    /// Refuses a backup of every row to a peer that filters keep rows from.
    pub(super) async fn refuse_unfiltered(&self, peer: &ServerId) -> Result<(), Problem> {
        if !self.settings.filters.iter().any(|filter| is_for(filter, peer)) {
            return Ok(());
        }
        let schema = self.database().await?.schema().await?;
        if self.scope_for(&schema, peer).is_whole() {
            return Ok(());
        }
        let message = format!("filters keep rows from {peer}, and changes are not captured here");
        Err(Problem::new(Code::NOT_ATTACHED, message)
            .with_data("Nothing was packed for it.")
            .with_help("branchline attach; then sync again"))
    }

    /// Refuses to close a day for a peer that does not get all rows which the day counts.
    pub(super) fn refuse_filtered_day(&self, peer: &ServerId, scope: &PeerScope) -> Result<(), Problem> {
        let Some(day) = self.settings.day.iter().find(|day| scope.of(&day.table).is_some()) else {
            return Ok(());
        };
        let message =
            format!("the day counts all rows of {}, and a filter keeps rows of it from {peer}", day.table);
        Err(Problem::new(Code::USAGE, message)
            .with_help("close the day for a peer that gets the whole table, or take the filter out"))
    }

    /// Tells the ledger that a peer has applied the backup that was under way to it. Where that fails nothing is lost: what
    /// the backup held is sent once more.
    pub(super) async fn confirm_scope(&self, entry: &OutboxEntry, receipt: &Receipt) {
        let is_scoped = entry.packed.as_ref().is_some_and(|packed| !packed.scope.is_whole());
        if !is_scoped || !receipt.is_applied() {
            return;
        }
        let confirm = async {
            let confirmation = Amendment::ConfirmScope { peer: entry.peer.clone() };
            Ok::<_, Problem>(self.database().await?.capture().amend(confirmation).await?)
        };
        if let Err(problem) = confirm.await {
            tracing::warn!(peer = %entry.peer, backup = %entry.backup, %problem,
                "what the peer has is not written down: rows that filters concern are sent to it once more");
        }
    }

    /// Whether some active peer gets the table whole.
    pub(super) fn is_whole_for_any(&self, schema: &Schema, table: &TableName, peers: &[Peer]) -> bool {
        let mut active = peers.iter().filter(|peer| peer.activity == Activity::Active);
        active.any(|peer| self.scope_for(schema, &peer.id).of(table).is_none())
    }

    /// What a person should know of the filters. `schema` has what the settings leave out marked as excluded.
    pub(super) async fn filter_warnings(
        &self,
        schema: &Schema,
        is_attached: bool,
    ) -> Result<Vec<WarningAnswer>, Problem> {
        let filters = &self.settings.filters;
        let mut warnings = Vec::new();
        let mut warn = |code: Code, message: String, fix: &str| {
            warnings.push(WarningAnswer { code: code.to_string(), message, fix: fix.to_owned() });
        };
        if !is_attached && !filters.is_empty() {
            let message = "filters need captured changes: whoever they concern gets nothing".to_owned();
            warn(Code::NOT_ATTACHED, message, "branchline attach");
        }
        let peers = self.memory.peers().await?;
        for filter in filters {
            let name = &filter.table;
            match schema.table(name).map(|table| &table.excluded) {
                None => {
                    let message =
                        format!("a filter is for table {name}, which is not there: it does nothing");
                    warn(Code::FILTER_INVALID, message, "correct table of the [[filter]]; branchline tables");
                }
                Some(Some(reason)) => {
                    let message = format!(
                        "a filter is for table {name}, which does not sync ({reason}): what points at its rows is kept back, and follows no later change of them"
                    );
                    warn(Code::TABLE_NOT_SYNCABLE, message, "branchline tables");
                }
                Some(None) => {}
            }
            for id in filter.peers.iter().filter(|id| !peers.iter().any(|peer| peer.id == **id)) {
                let message = format!("a filter of table {name} is for {id}, which is no peer here");
                warn(Code::PEER_UNKNOWN, message, "correct peers of the [[filter]]; branchline peers list");
            }
        }
        Ok(warnings)
    }

    /// The filters for a peer, in words.
    pub(super) fn filters_for(&self, peer: &ServerId) -> Vec<String> {
        let filters = self.settings.filters.iter().filter(|filter| is_for(filter, peer));
        let words = |filter: &Filter| {
            let follow = if filter.follow { ", and what points at these" } else { "" };
            format!("{} where {}{follow}", filter.table, filter.condition)
        };
        filters.map(words).collect()
    }
}

fn is_for(filter: &Filter, peer: &ServerId) -> bool {
    filter.peers.is_empty() || filter.peers.contains(peer)
}
