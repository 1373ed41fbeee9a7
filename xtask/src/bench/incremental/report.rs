//! What `bench incremental` says: the table, and the line for machines.

use std::fmt::Write as _;

use super::shop::Day;
use super::{Bulk, Series};
use crate::bench::databases::RESTORE;
use crate::bench::report::{each, last, rounded, stages};
use crate::bench::servers::Synced;
use crate::bench::{changes, machine, median};

pub(super) struct Report<'a> {
    pub(super) version: &'a str,
    pub(super) small: Series,
    pub(super) large: Series,
    pub(super) bulk: Bulk,
}

/// The last run of a series, in a few words.
pub(super) fn line(series: &Series) -> String {
    format!(
        "{:.3} s, {:.0} bytes, replication {:.3} s",
        last(&ours_s(&series.days)),
        last(&bytes(&series.days)),
        last(&replication_s(&series.days))
    )
}

/// Seconds of each sync.
fn ours_s(days: &[Day]) -> Vec<f64> {
    days.iter().map(|day| day.synced.took.as_secs_f64()).collect()
}

/// Seconds of each arrival in the copy.
fn replication_s(days: &[Day]) -> Vec<f64> {
    days.iter().map(|day| day.replicated.as_secs_f64()).collect()
}

/// Bytes of each whole document as it travelled.
fn bytes(days: &[Day]) -> Vec<f64> {
    days.iter().map(|day| day.bytes as f64).collect()
}

impl Report<'_> {
    pub(super) fn table(&self) -> String {
        let (small, large) = (&self.small, &self.large);
        let mut text = format!(
            "\n{} changed rows, PostgreSQL {}, {}\n\n{:<34}{:>14}{:>14}{:>8}\n",
            changes::ROWS,
            self.version,
            machine::describe(),
            "median of each",
            format!("{} rows", small.rows),
            format!("{} rows", large.rows),
            "ratio"
        );
        let mut row = |name: &str, small: &[f64], large: &[f64], decimals: usize| {
            let (small, large) = (median(small), median(large));
            let _ =
                writeln!(text, "{name:<34}{small:>14.decimals$}{large:>14.decimals$}{:>8.3}", large / small);
        };
        row("branchline sync, seconds", &ours_s(&small.days), &ours_s(&large.days), 3);
        row("its backup, bytes", &bytes(&small.days), &bytes(&large.days), 0);
        row("logical replication, seconds", &replication_s(&small.days), &replication_s(&large.days), 3);
        row(RESTORE, &small.restore_s, &large.restore_s, 3);
        let _ = writeln!(
            text,
            "\neach run of branchline sync: small {}; large {}",
            each(&ours_s(&small.days), 3),
            each(&ours_s(&large.days), 3)
        );
        let _ = writeln!(
            text,
            "\n{} changed rows at once, in the large one: branchline sync {:.0} rows/s ({} s), \
             logical replication {:.0} rows/s ({} s)",
            self.bulk.rows,
            self.rows_per_s(&ours_s(&self.bulk.days)),
            each(&ours_s(&self.bulk.days), 2),
            self.rows_per_s(&replication_s(&self.bulk.days)),
            each(&replication_s(&self.bulk.days), 2)
        );
        for (name, days) in
            [("small", &small.days), ("large", &large.days), ("many rows at once", &self.bulk.days)]
        {
            text.push_str(&stages(name, days.iter().map(|day| &day.synced)));
        }
        text
    }

    pub(super) fn json_line(&self) -> String {
        let (small, large) = (&self.small, &self.large);
        let (small_s, large_s) = (median(&ours_s(&small.days)), median(&ours_s(&large.days)));
        let (small_bytes, large_bytes) = (median(&bytes(&small.days)), median(&bytes(&large.days)));
        let peak_mib = |kib: fn(&Synced) -> u64| {
            let days = small.days.iter().chain(&large.days).chain(&self.bulk.days);
            days.map(|day| kib(&day.synced)).max().unwrap_or(0).div_ceil(1024)
        };
        // Written by hand: the order of the members is for people.
        format!(
            "{{\"bench\":\"incremental\",\"ratio\":{},\"bytes_ratio\":{},\"small_s\":{},\"large_s\":{},\
             \"small_bytes\":{small_bytes:.0},\"large_bytes\":{large_bytes:.0},\"small_rows\":{},\"large_rows\":{},\
             \"changed_rows\":{},\"replication_s\":{},\"restore_s\":{},\"bulk_changed_rows\":{},\
             \"rows_per_s\":{:.0},\"replication_rows_per_s\":{:.0},\"store_rss_mib\":{},\"hq_rss_mib\":{},\
             \"runs\":{},\"pg\":\"{}\"}}",
            rounded(large_s / small_s),
            rounded(large_bytes / small_bytes),
            rounded(small_s),
            rounded(large_s),
            small.rows,
            large.rows,
            changes::ROWS,
            rounded(median(&replication_s(&large.days))),
            rounded(median(&large.restore_s)),
            self.bulk.rows,
            self.rows_per_s(&ours_s(&self.bulk.days)),
            self.rows_per_s(&replication_s(&self.bulk.days)),
            peak_mib(|synced| synced.store_peak_kib),
            peak_mib(|synced| synced.office_peak_kib),
            large.days.len(),
            self.version
        )
    }

    /// How many rows of the large change set went in a second, by the median of these seconds.
    fn rows_per_s(&self, seconds: &[f64]) -> f64 {
        self.bulk.rows as f64 / median(seconds)
    }
}
