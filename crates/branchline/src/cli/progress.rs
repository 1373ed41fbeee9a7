//! Shows how far a call is: bars on a terminal once it has taken two seconds, a line every ten seconds elsewhere.
//!
//! There is one bar for each stage and peer that runs. What a stage says when it ends is not shown: the verb's own
//! summary says it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text::{bytes, clean, duration, number};
use crate::api::v1::Progress;
use crate::node::clock::Stopwatch;

/// What is done sooner needs no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(2);
/// Between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// Time left is a guess before that much has passed.
const GUESSED_AFTER: Duration = Duration::from_secs(1);
const BAR_CHARACTERS: u64 = 16;

/// Where progress is shown.
pub(crate) struct ProgressDisplay {
    way: Way,
    shown: Mutex<Shown>,
}

enum Way {
    Bars(MultiProgress),
    Lines,
    Nothing,
}

#[derive(Default)]
struct Shown {
    since: Option<Stopwatch>,
    last_line: Option<Stopwatch>,
    stages: BTreeMap<(String, Option<String>), Stage>,
}

struct Stage {
    since: Stopwatch,
    bar: Option<ProgressBar>,
}

impl ProgressDisplay {
    pub(crate) fn new(terminal: bool, quiet: bool) -> Self {
        let way = match (quiet, terminal) {
            (true, _) => Way::Nothing,
            (false, true) => Way::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            (false, false) => Way::Lines,
        };
        Self { way, shown: Mutex::default() }
    }

    /// Takes a report.
    pub(crate) fn take(&self, report: Progress) {
        let Ok(mut shown) = self.shown.lock() else { return };
        let since = *shown.since.get_or_insert_with(Stopwatch::start);
        let last_line = shown.last_line;
        let ends = report.message.is_some();
        let key = (report.stage.clone(), report.peer.clone());
        let stage = shown.stages.entry(key).or_insert_with(|| Stage { since: Stopwatch::start(), bar: None });
        let line = described(&report, stage.since.elapsed());
        match &self.way {
            Way::Bars(_) if ends => {
                if let Some(bar) = stage.bar.take() {
                    bar.finish_and_clear();
                }
            }
            Way::Bars(bars) if since.elapsed() >= SHOWN_AFTER => {
                stage.bar.get_or_insert_with(|| bars.add(new_bar())).set_message(line);
            }
            Way::Lines if last_line.unwrap_or(since).elapsed() >= BETWEEN_LINES => {
                let _ = writeln!(std::io::stderr().lock(), "{line}");
                shown.last_line = Some(Stopwatch::start());
            }
            _ => {}
        }
    }

    /// Takes all bars away.
    pub(crate) fn end(&self) {
        if let Way::Bars(bars) = &self.way {
            let _ = bars.clear();
        }
    }

    /// Writes something to stderr above the bars.
    pub(crate) fn above(&self, write: impl FnOnce()) {
        match &self.way {
            Way::Bars(bars) => bars.suspend(write),
            _ => write(),
        }
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar
}

/// `send HQ  [########........]  12,345 rows  1.3 MB of 2.6 MB  4.0 s left`.
fn described(report: &Progress, elapsed: Duration) -> String {
    let mut parts = vec![match &report.peer {
        Some(peer) => format!("{} {peer}", report.stage),
        None => report.stage.clone(),
    }];
    let share = share(report);
    if let Some((done, total)) = share {
        let full = (done.saturating_mul(BAR_CHARACTERS) / total).min(BAR_CHARACTERS) as usize;
        parts.push(format!("[{}{}]", "#".repeat(full), ".".repeat(BAR_CHARACTERS as usize - full)));
    }
    if report.rows > 0 || report.rows_total.is_some() {
        let of = report.rows_total.map(|total| format!(" of {}", number(total))).unwrap_or_default();
        parts.push(format!("{}{of} rows", number(report.rows)));
    }
    if report.bytes > 0 || report.bytes_total.is_some() {
        let of = report.bytes_total.map(|total| format!(" of {}", bytes(total))).unwrap_or_default();
        parts.push(format!("{}{of}", bytes(report.bytes)));
    }
    if let Some((done, total)) = share.filter(|(done, _)| *done > 0 && elapsed >= GUESSED_AFTER) {
        let left = elapsed.as_secs_f64() * (total.saturating_sub(done)) as f64 / done as f64;
        parts.push(format!("{} left", duration(Duration::from_secs(left as u64))));
    }
    clean(&parts.join("  ")).replace('\n', " ")
}

/// Done and total in the unit that is known; the catalogue's guess at rows can be short.
fn share(report: &Progress) -> Option<(u64, u64)> {
    let of_bytes = report.bytes_total.map(|total| (report.bytes, total));
    let of_rows = report.rows_total.map(|total| (report.rows, total));
    of_bytes.or(of_rows).map(|(done, total)| (done, total.max(done))).filter(|(_, total)| *total > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows_total: Option<u64>, bytes_total: Option<u64>) -> Progress {
        Progress {
            stage: "send".into(),
            peer: Some("HQ".into()),
            rows: 500,
            rows_total,
            bytes: 1_300_000,
            bytes_total,
            message: None,
        }
    }

    #[test]
    fn a_line_says_rows_bytes_and_time_left() {
        let four = Duration::from_secs(4);
        assert_eq!(
            described(&report(None, Some(2_600_000)), four),
            "send HQ  [########........]  500 rows  1.3 MB of 2.6 MB  4.0 s left"
        );
        assert_eq!(
            described(&report(Some(1_000), None), Duration::ZERO),
            "send HQ  [########........]  500 of 1,000 rows  1.3 MB"
        );
        assert_eq!(described(&report(None, None), four), "send HQ  500 rows  1.3 MB");
        // The catalogue guessed too low.
        assert!(described(&report(Some(10), None), four).contains("[################]"));
    }
}
