//! `cargo xtask bench NAME`: what it costs, beside what the database's own tools cost in the same run.
//!
//! Each bench prints a table for people, and as its last line one JSON object for machines: its name, the ratio to
//! the peer where there is one, then each figure with its unit in its name.

mod full;
mod machine;
mod servers;

use std::time::{Duration, Instant};

use crate::failure::Failure;

/// What a bench may be told.
struct Size {
    orders: u64,
    runs: usize,
    /// Only the last line.
    json: bool,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let usage = "cargo xtask bench full [--orders 250000] [--runs 3] [--json]";
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::new("which bench? there is: full").next(usage));
    };
    let size = Size::read(rest).map_err(|failure| failure.next(usage))?;
    match name.as_str() {
        "full" => full::run(&size),
        other => Err(Failure::new(format!("there is no bench {other:?}")).next(usage)),
    }
}

impl Size {
    fn read(arguments: &[String]) -> Result<Self, Failure> {
        let mut size = Self { orders: 250_000, runs: 3, json: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
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
                "--runs" => size.runs = usize::try_from(number).unwrap_or(usize::MAX),
                _ => return Err(Failure::new(format!("there is no {name} here"))),
            }
        }
        Ok(size)
    }

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

#[cfg(test)]
mod tests {
    use super::{Size, median};

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn sizes_are_read_in_both_forms_and_others_are_refused() {
        let read =
            |words: &[&str]| Size::read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let size = read(&["--orders", "2000", "--runs=1", "--json"]).unwrap();
        assert_eq!((size.orders, size.runs, size.json), (2000, 1, true));
        assert!(read(&["--orders", "0"]).is_err());
        assert!(read(&["--ordres", "5"]).is_err());
    }
}
