//! Where this crate's tasks are started: a handle that the node passes in, so that it knows of every one of them.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Starts tasks in the node's name; all clones are one handle.
#[derive(Debug, Clone, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// A handle whose tasks the node's tracker counts.
    #[must_use]
    pub fn new(tracker: TaskTracker) -> Self {
        Self(tracker)
    }

    /// Starts a task. Dropping what it returns does not end it.
    pub fn start<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.spawn(task)
    }
}

/// HTTP/2 starts one task a request.
impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.start(task);
    }
}
