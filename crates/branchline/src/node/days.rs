//! Business days: which one a sync closes, and what became of those that were closed.
//!
//! What became of a day is in the receipt of the backup that closed it, which both sides keep: a day is told from the
//! receipts, and the last word on a day of a store is what holds.

use std::collections::BTreeMap;

use branchline_core::code::Code;
use branchline_core::day::BusinessDay;
use branchline_core::id::ServerId;
use branchline_core::pack::PackRequest;
use branchline_core::peer::Activity;
use branchline_core::receipt::{DayReceipt, DayTableReceipt, Receipt};
use jiff::civil::Date;

use super::Node;
use super::clock::now;
use crate::api::v1::{ClosedDay, DaySumAnswer, DayTableAnswer, DaysAnswer, Problem};

/// Receipts that are looked through: those of a year of a daily close by ten stores.
const RECEIPTS_READ: u32 = 4_000;

impl Node {
    /// The day that a person means; today in the shop's zone, where nothing is said.
    pub(super) fn business_day(&self, text: Option<&str>) -> Result<BusinessDay, Problem> {
        let zone = &self.settings.time_zone;
        let date: Date = match text {
            None => now().to_zoned(zone.clone()).date(),
            Some(text) => text.parse().map_err(|_| {
                Problem::new(Code::USAGE, format!("{text} is not a date")).with_help("for example 2026-11-27")
            })?,
        };
        BusinessDay::new(date, zone).map_err(|error| Problem::new(Code::USAGE, error.to_string()))
    }

    /// What a position has to tell where a day is closed.
    pub(super) fn pack_request(&self, day: Option<BusinessDay>) -> PackRequest {
        PackRequest { day: day.map(|day| (day, self.settings.day.clone())) }
    }

    /// Each store's closed days, and which active peers have not closed the day that is asked for.
    pub(super) async fn days(&self, date: Option<&str>) -> Result<DaysAnswer, Problem> {
        let date = date.map(|text| self.business_day(Some(text))).transpose()?.map(|day| day.date());
        let mut closed: BTreeMap<(Date, ServerId, ServerId), (Receipt, DayReceipt)> = BTreeMap::new();
        for record in self.memory.receipts(RECEIPTS_READ).await? {
            let receipt = branchline_core::receipt::v1::parse(&record.document)?;
            let Some(day) = receipt.day.clone().filter(|day| date.is_none_or(|date| date == day.date)) else {
                continue;
            };
            let of = (day.date, receipt.source.clone(), receipt.server.clone());
            let newer = closed.get(&of).is_none_or(|(known, _)| known.processed_at < receipt.processed_at);
            if newer {
                closed.insert(of, (receipt, day));
            }
        }
        let peers = self.memory.peers().await?;
        let active = peers.iter().filter(|peer| peer.activity == Activity::Active);
        let not_closed = match date {
            None => Vec::new(),
            Some(_) => active
                .filter(|peer| !closed.keys().any(|(_, source, _)| *source == peer.id))
                .map(|peer| peer.id.to_string())
                .collect(),
        };
        let days = closed.values().rev().map(|(receipt, day)| described(receipt, day)).collect();
        Ok(DaysAnswer { days, not_closed })
    }
}

fn described(receipt: &Receipt, day: &DayReceipt) -> ClosedDay {
    ClosedDay {
        date: day.date.to_string(),
        store: receipt.source.to_string(),
        at: receipt.server.to_string(),
        complete: day.is_complete(),
        closed_at: receipt.processed_at.to_string(),
        backup: receipt.backup.to_string(),
        tables: day.tables.iter().map(table).collect(),
    }
}

fn table(table: &DayTableReceipt) -> DayTableAnswer {
    let sum = |money: &branchline_core::receipt::DaySum| DaySumAnswer {
        column: money.column.to_string(),
        store: money.sum.clone(),
        here: money.sum_here.clone(),
    };
    DayTableAnswer {
        table: table.table.to_string(),
        agrees: table.agrees(),
        rows_store: table.rows,
        rows_here: table.rows_here,
        money: table.money.iter().map(sum).collect(),
    }
}
