//! What `bench capture` says: the table, and the line for machines.

use std::fmt::Write as _;

use crate::bench::report::{each, last, rounded};
use crate::bench::{machine, median};

/// Sales a second of each run.
#[derive(Default)]
pub(super) struct TradeSeries {
    pub(super) without: Vec<f64>,
    pub(super) with: Vec<f64>,
}

/// Seconds of each run.
#[derive(Default)]
pub(super) struct BulkSeries {
    pub(super) insert_without: Vec<f64>,
    pub(super) insert_with: Vec<f64>,
    pub(super) update_without: Vec<f64>,
    pub(super) update_with: Vec<f64>,
}

pub(super) struct Report<'a> {
    pub(super) version: &'a str,
    pub(super) bulk_rows: u64,
    pub(super) seconds: u64,
    pub(super) trade: TradeSeries,
    /// By prepared statements.
    pub(super) prepared: TradeSeries,
    pub(super) lines: BulkSeries,
    pub(super) customers: BulkSeries,
}

/// The last run of a series, in a few words.
pub(super) fn bulk_line(series: &BulkSeries) -> String {
    format!(
        "insert {:.2} s without capture, {:.2} s with it; update {:.2} s, {:.2} s",
        last(&series.insert_without),
        last(&series.insert_with),
        last(&series.update_without),
        last(&series.update_with)
    )
}

impl TradeSeries {
    /// The median of the ratios of each run, since the two halves of a run met the same machine and the same tables.
    fn ratio(&self) -> f64 {
        median(&self.with.iter().zip(&self.without).map(|(with, without)| with / without).collect::<Vec<_>>())
    }
}

impl BulkSeries {
    fn insert_ratio(&self) -> f64 {
        median(&self.insert_without) / median(&self.insert_with)
    }

    fn update_ratio(&self) -> f64 {
        median(&self.update_without) / median(&self.update_with)
    }
}

impl Report<'_> {
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "\nPostgreSQL {}, {}\n\n{:<50}{:>10}{:>10}{:>8}  each run\n",
            self.version,
            machine::describe(),
            "median of each",
            "without",
            "with",
            "ratio"
        );
        for (how, trade) in [("", &self.trade), (" prepared", &self.prepared)] {
            let name = format!("sales a second{how}, 4 clients, {} s each", self.seconds);
            let _ = writeln!(
                text,
                "{name:<50}{:>10.0}{:>10.0}{:>8.3}  {} | {}",
                median(&trade.without),
                median(&trade.with),
                trade.ratio(),
                each(&trade.without, 0),
                each(&trade.with, 0)
            );
        }
        for (table, series) in [("sale_lines", &self.lines), ("customers, no foreign keys", &self.customers)]
        {
            for (deed, without, with, ratio) in [
                ("insert", &series.insert_without, &series.insert_with, series.insert_ratio()),
                ("update", &series.update_without, &series.update_with, series.update_ratio()),
            ] {
                let name = format!("{deed} {} rows, s ({table})", self.bulk_rows);
                let _ = writeln!(
                    text,
                    "{name:<50}{:>10.3}{:>10.3}{ratio:>8.3}  {} | {}",
                    median(without),
                    median(with),
                    each(without, 2),
                    each(with, 2)
                );
            }
        }
        text
    }

    pub(super) fn json_line(&self) -> String {
        let (trade, lines, customers) = (&self.trade, &self.lines, &self.customers);
        // Written by hand: the order of the members is for people.
        format!(
            "{{\"bench\":\"capture\",\"ratio\":{},\"bulk_insert_ratio\":{},\"bulk_update_ratio\":{},\
             \"sales_per_s\":{:.0},\"sales_without_per_s\":{:.0},\"bulk_rows\":{},\"bulk_insert_s\":{},\
             \"bulk_insert_without_s\":{},\"bulk_update_s\":{},\"bulk_update_without_s\":{},\
             \"prepared_ratio\":{},\"no_foreign_keys_insert_ratio\":{},\"no_foreign_keys_update_ratio\":{},\"runs\":{},\"pg\":\"{}\"}}",
            rounded(trade.ratio()),
            rounded(lines.insert_ratio()),
            rounded(lines.update_ratio()),
            median(&trade.with),
            median(&trade.without),
            self.bulk_rows,
            rounded(median(&lines.insert_with)),
            rounded(median(&lines.insert_without)),
            rounded(median(&lines.update_with)),
            rounded(median(&lines.update_without)),
            rounded(self.prepared.ratio()),
            rounded(customers.insert_ratio()),
            rounded(customers.update_ratio()),
            trade.with.len(),
            self.version
        )
    }
}
