//! One OS thread a session: SQLite's calls block, and its statements may not leave the thread they run on.
//!
//! The async side sends requests through a channel of one place and awaits a one-shot answer to each. A session
//! that is dropped interrupts the statement that is running; the thread then ends, and closing its connection
//! rolls back whatever was not committed.

use branchline_core::ports::DatabaseError;
use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait: one is being worked at, one is next.
const REQUESTS_WAITING_MAX: usize = 1;

/// Where a request's answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, DatabaseError>>;

/// What the thread of a session takes its requests from.
pub(super) type Requests<R> = mpsc::Receiver<R>;

/// What a session does once it is open: it serves requests until there are no more.
pub(super) type Serve<R> = Box<dyn FnOnce(Requests<R>)>;

/// The async end of a session.
pub(super) struct Session<R> {
    requests: mpsc::Sender<R>,
    interrupt: InterruptHandle,
}

impl<R: Send + 'static> Session<R> {
    /// Starts a thread that connects and begins; gives what the beginning found out.
    pub(super) async fn start<I: Send + 'static>(
        connect: impl FnOnce() -> Result<Connection, DatabaseError> + Send + 'static,
        begin: impl FnOnce(Connection) -> Result<(I, Serve<R>), DatabaseError> + Send + 'static,
    ) -> Result<(Self, I), DatabaseError> {
        let (requests, to_serve) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (reply, answer) = oneshot::channel();
        spawn(move || {
            let begun = connect().and_then(|connection| {
                let interrupt = connection.get_interrupt_handle();
                begin(connection).map(|(found, serve)| (interrupt, found, serve))
            });
            match begun {
                Err(error) => drop(reply.send(Err(error))),
                Ok((interrupt, found, serve)) => {
                    // Nobody waits any more where this fails: the session ends before it began.
                    if reply.send(Ok((interrupt, found))).is_ok() {
                        serve(to_serve);
                    }
                }
            }
        })?;
        let (interrupt, found) = answer.await.unwrap_or(Err(DatabaseError::Interrupted))?;
        Ok((Self { requests, interrupt }, found))
    }

    /// Asks and awaits the answer.
    pub(super) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> R) -> Result<T, DatabaseError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| DatabaseError::Interrupted)?;
        answer.await.unwrap_or(Err(DatabaseError::Interrupted))
    }
}

impl<R> Drop for Session<R> {
    fn drop(&mut self) {
        self.interrupt.interrupt();
    }
}

/// Answers; where nobody waits for it any more there is nobody to tell.
pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, DatabaseError>) {
    drop(reply.send(result));
}

/// Runs one piece of work on a thread of its own.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DatabaseError> + Send + 'static,
) -> Result<T, DatabaseError> {
    let (reply, result) = oneshot::channel();
    spawn(move || answer(reply, work()))?;
    result.await.unwrap_or(Err(DatabaseError::Interrupted))
}

fn spawn(body: impl FnOnce() + Send + 'static) -> Result<(), DatabaseError> {
    let started = std::thread::Builder::new().name("branchline-sqlite".to_owned()).spawn(body);
    started.map(drop).map_err(|error| DatabaseError::Failed {
        sqlstate: "THREAD".to_owned(),
        message: format!("no thread could be started: {error}"),
    })
}
