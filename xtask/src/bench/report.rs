//! What the reports of several benches have in common.

use std::fmt::Write as _;

use serde_json::Value;

use super::median;
use super::servers::Synced;

/// A figure for machines, with three decimals.
pub(super) fn rounded(value: f64) -> Value {
    Value::from((value * 1000.0).round() / 1000.0)
}

/// The last one measured, for the line after each run.
pub(super) fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or(f64::NAN)
}

/// All values of a series, for people.
pub(super) fn each(values: &[f64], decimals: usize) -> String {
    let each: Vec<String> = values.iter().map(|one| format!("{one:.decimals$}")).collect();
    each.join(" ")
}

/// Where the time of the median run went, by what the sync and its receipt say.
pub(super) fn stages<'a>(name: &str, syncs: impl Iterator<Item = &'a Synced>) -> String {
    let syncs: Vec<&Synced> = syncs.collect();
    let seconds: Vec<f64> = syncs.iter().map(|synced| synced.took.as_secs_f64()).collect();
    let middle = median(&seconds);
    let Some(run) = syncs.iter().min_by(|a, b| {
        let far = |synced: &Synced| (synced.took.as_secs_f64() - middle).abs();
        far(a).total_cmp(&far(b))
    }) else {
        return String::new();
    };
    let total = run.took.as_secs_f64();
    let mut text = format!("\nstages, {name} ({total:.3} s):\n");
    let mut longest = (String::from("nothing that it named"), 0.0);
    for (whose, list) in [("store", &run.peer["stages"]), ("office", &run.peer["receipt"]["stages"])] {
        for stage in list.as_array().into_iter().flatten() {
            let label = stage["stage"].as_str().unwrap_or("?");
            let seconds = stage["millis"].as_f64().unwrap_or(0.0) / 1000.0;
            let share = 100.0 * seconds / total;
            let _ = writeln!(text, "  {whose:<8}{label:<24}{seconds:>9.3} s {share:>5.0} %");
            if seconds > longest.1 {
                longest = (format!("{label} ({whose})"), seconds);
            }
        }
    }
    let _ = writeln!(text, "  limited by: {}", longest.0);
    text
}
