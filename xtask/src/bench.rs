//! `cargo xtask bench NAME`: what it costs, beside what the database's own tools cost in the same run.
//!
//! Each bench prints a table for people, and as its last line one JSON object for machines: its name, the ratio to
//! the peer where there is one, then each figure with its unit in its name.

mod capture;
mod changes;
mod databases;
mod equality;
mod full;
mod incremental;
mod live;
mod machine;
mod replication;
mod report;
mod servers;
mod serving;

use std::time::{Duration, Instant};

use crate::failure::Failure;

/// What a bench may be told.
#[derive(Clone, Copy)]
struct Size {
    /// Sales in the shop that is made; about 7.1 rows each.
    orders: u64,
    runs: usize,
    /// How long one measurement lasts, where that is chosen and not found.
    seconds: u64,
    /// Only the last line.
    json: bool,
}

/// One bench.
struct Bench {
    name: &'static str,
    /// The options it takes, as they are shown; the numbers are those of `size`.
    options: &'static str,
    size: Size,
    run: fn(&Size) -> Result<(), Failure>,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "full",
        options: "[--orders 250000] [--runs 3] [--json]",
        size: Size { orders: 250_000, runs: 3, seconds: 0, json: false },
        run: full::run,
    },
    Bench {
        name: "incremental",
        options: "[--orders 282000] [--runs 9] [--json]",
        size: Size { orders: 282_000, runs: 9, seconds: 0, json: false },
        run: incremental::run,
    },
    Bench {
        name: "capture",
        options: "[--orders 20000] [--runs 6] [--seconds 10] [--json]",
        size: Size { orders: 20_000, runs: 6, seconds: 10, json: false },
        run: capture::run,
    },
    Bench {
        name: "live",
        options: "[--orders 2000] [--seconds 100] [--json]",
        size: Size { orders: 2_000, runs: 1, seconds: 100, json: false },
        run: live::run,
    },
];

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let names = || BENCHES.iter().map(|bench| bench.name).collect::<Vec<_>>().join(", ");
    let Some((name, rest)) = arguments.split_first() else {
        return Err(
            Failure::new(format!("which bench? there is: {}", names())).next("cargo xtask bench full")
        );
    };
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == name) else {
        return Err(Failure::new(format!("there is no bench {name:?}, but: {}", names()))
            .next("cargo xtask bench full"));
    };
    let usage = format!("cargo xtask bench {name} {}", bench.options);
    (bench.run)(&bench.read(rest).map_err(|failure| failure.next(usage))?)
}

impl Bench {
    fn read(&self, arguments: &[String]) -> Result<Size, Failure> {
        let mut size = self.size;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            if !self.takes(name) {
                return Err(Failure::new(format!("there is no {name} here")));
            }
            if name == "--json" {
                size.json = true;
                continue;
            }
            let value = inline.or_else(|| rest.next().cloned()).unwrap_or_default();
            let number: u64 = value
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| Failure::new(format!("{name} needs a number from 1, not {value:?}")))?;
            match name {
                "--orders" => size.orders = number,
                "--seconds" => size.seconds = number,
                _ => size.runs = usize::try_from(number).unwrap_or(usize::MAX),
            }
        }
        Ok(size)
    }

    fn takes(&self, option: &str) -> bool {
        self.options.split(['[', ']', ' ']).any(|word| word == option && word.starts_with("--"))
    }
}

impl Size {
    /// A line for people.
    fn say(&self, line: &str) {
        if !self.json {
            println!("{line}");
        }
    }
}

/// How long a piece of work takes, and what it gives.
fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(Duration, T), Failure> {
    let start = Instant::now();
    let made = work()?;
    Ok((start.elapsed(), made))
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// The value that `percent` of a hundred values do not exceed (nearest rank).
fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{BENCHES, Size, median, percentile};
    use crate::failure::Failure;

    fn read(bench: &str, words: &[&str]) -> Result<Size, Failure> {
        let bench = BENCHES.iter().find(|known| known.name == bench).unwrap();
        bench.read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert!((percentile(&values, 99) - 198.0).abs() < 1e-9);
        assert!((percentile(&values, 100) - 200.0).abs() < 1e-9);
        assert!((percentile(&[7.0], 50) - 7.0).abs() < 1e-9);
        assert!(percentile(&[], 50).is_nan());
    }

    #[test]
    fn sizes_are_read_in_both_forms_and_others_are_refused() {
        let size = read("full", &["--orders", "2000", "--runs=1", "--json"]).unwrap();
        assert_eq!((size.orders, size.runs, size.json), (2000, 1, true));
        assert_eq!(read("live", &["--seconds", "7"]).unwrap().seconds, 7);
        assert!(read("full", &["--orders", "0"]).is_err());
        assert!(read("full", &["--ordres", "5"]).is_err());
    }

    #[test]
    fn a_bench_refuses_what_only_another_one_takes() {
        assert!(read("full", &["--seconds", "5"]).is_err());
        assert!(read("live", &["--runs", "5"]).is_err());
        assert!(read("full", &["250000"]).is_err());
    }

    #[test]
    fn the_options_show_the_sizes_that_are_taken() {
        for bench in BENCHES {
            let shown = |name: &str, number: String| {
                !bench.takes(name) || bench.options.contains(&format!("{name} {number}]"))
            };
            assert!(shown("--orders", bench.size.orders.to_string()), "{}", bench.name);
            assert!(shown("--runs", bench.size.runs.to_string()), "{}", bench.name);
            assert!(shown("--seconds", bench.size.seconds.to_string()), "{}", bench.name);
        }
    }
}
