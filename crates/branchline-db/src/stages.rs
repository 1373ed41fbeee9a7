//! How long the stages of an apply took, for its report. Durations only: what time it is, nobody here knows.

use std::time::{Duration, Instant};

/// A watch that is read at the end of each stage.
#[derive(Debug)]
pub(crate) struct Stages {
    since: Instant,
    taken: Vec<(&'static str, Duration)>,
}

impl Stages {
    /// Starts the first stage.
    pub(crate) fn start() -> Self {
        // tidy: allow(clock): it measures how long something took, and decides nothing
        Self { since: Instant::now(), taken: Vec::new() }
    }

    /// Ends a stage and starts the next. A stage that comes again is added to.
    pub(crate) fn end(&mut self, stage: &'static str) {
        let taken = self.since.elapsed();
        self.since += taken;
        match self.taken.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, sum)) => *sum += taken,
            None => self.taken.push((stage, taken)),
        }
    }

    /// What was measured.
    pub(crate) fn report(&self) -> Vec<(&'static str, Duration)> {
        self.taken.clone()
    }
}
