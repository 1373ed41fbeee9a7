//! Tells whoever asked how far the work is, often enough to be of use and seldom enough to cost nothing.

use std::sync::Arc;
use std::time::Duration;

use super::clock::Stopwatch;
use crate::api::v1::Progress;

/// Takes progress.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// At most one report in this time; the first and the last always come through.
const BETWEEN_REPORTS: Duration = Duration::from_millis(100);

/// A sink that takes nothing.
#[must_use]
pub fn silent() -> ProgressSink {
    Arc::new(|_| {})
}

/// Reports on one stage.
pub struct Reporter {
    sink: ProgressSink,
    progress: Progress,
    since_last: Option<Stopwatch>,
}

impl Reporter {
    /// Begins a stage.
    #[must_use]
    pub fn begin(sink: &ProgressSink, stage: &str, peer: Option<&str>) -> Self {
        let progress = Progress {
            stage: stage.to_owned(),
            peer: peer.map(str::to_owned),
            rows: 0,
            rows_total: None,
            bytes: 0,
            bytes_total: None,
            message: None,
        };
        Self { sink: Arc::clone(sink), progress, since_last: None }
    }

    /// The same, with what is known of the totals.
    #[must_use]
    pub fn of_total(mut self, rows: Option<u64>, bytes: Option<u64>) -> Self {
        self.progress.rows_total = rows;
        self.progress.bytes_total = bytes;
        self
    }

    /// More was done.
    pub fn add(&mut self, rows: u64, bytes: u64) {
        self.progress.rows += rows;
        self.progress.bytes += bytes;
        if self.since_last.is_none_or(|since| since.elapsed() >= BETWEEN_REPORTS) {
            self.report();
        }
    }

    /// So many bytes are done, those of an earlier attempt included.
    pub fn reach(&mut self, bytes: u64) {
        self.progress.bytes = bytes;
        self.add(0, 0);
    }

    /// The stage is over.
    pub fn end(mut self, message: impl Into<String>) {
        self.progress.message = Some(message.into());
        self.report();
    }

    fn report(&mut self) {
        self.since_last = Some(Stopwatch::start());
        (self.sink)(self.progress.clone());
    }
}
