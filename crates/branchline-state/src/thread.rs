//! The one thread that owns the connection to `state.db`.
//!
//! SQLite blocks, so it gets a thread of its own behind a queue of [`JOBS_MAX`] jobs; who finds the queue full
//! waits. Jobs run one after another in the order in which they came. A caller that goes away before its job's
//! turn has it left out; one that goes away later gets no answer, but the job is carried out whole.

use std::thread::JoinHandle;

use branchline_core::ports::StateError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait at most: a bound on memory, far above what one server has under way.
const JOBS_MAX: usize = 64;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The thread, and the way to it. Dropping it waits until what is queued is done and the file is closed.
#[derive(Debug)]
pub(crate) struct DatabaseThread {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl DatabaseThread {
    /// Starts the thread.
    pub(crate) fn start(mut connection: Connection) -> Result<Self, StateError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_MAX);
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut connection);
            }
        };
        let thread = std::thread::Builder::new()
            .name("branchline-state".to_owned())
            .spawn(work)
            .map_err(|error| StateError::Broken { message: format!("no thread can be started: {error}") })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs one job on the thread and waits for its answer.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if answer.is_closed() {
                return;
            }
            // A caller that went away meanwhile is not an error: its write is done, its claim ends with its lease.
            let _ = answer.send(work(connection));
        });
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(job).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for DatabaseThread {
    fn drop(&mut self) {
        // The queue ends first; then the thread does. Its jobs take milliseconds, so waiting here is short.
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ended() -> StateError {
    StateError::Broken { message: "the thread of the state has ended".to_owned() }
}
