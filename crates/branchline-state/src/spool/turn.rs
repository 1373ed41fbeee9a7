//! Whose turn it is to write to a file: the last who opened it.
//!
//! A call that was given up half way leaves a piece of work on a blocking thread, which still runs or has yet to.
//! [`Turns::take`] waits for what runs, and what has yet to run finds that its turn is over and does nothing. So
//! what a new writer measures is what it goes on from.
//!
//! Lock order: the table of files, then one file; the table is never waited for while a file is held.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use branchline_core::ports::{SpoolError, SpoolFile};

/// The number of the turn that is on, held while a piece of work runs.
type Current = Arc<Mutex<u64>>;

/// Whose turn it is, for each file that has a writer.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<SpoolFile, Current>>>);

/// The right to write to a file, until somebody else takes it.
#[derive(Debug)]
pub(super) struct Turn {
    current: Current,
    mine: u64,
}

impl Turns {
    /// Ends the turn of whoever has it, and begins another.
    pub(super) fn take(&self, file: &SpoolFile) -> Turn {
        let current = {
            let mut files = lock(&self.0);
            // Files whose writers are all gone are forgotten here, which bounds the table by the writers.
            files.retain(|_, current| Arc::strong_count(current) > 1);
            Arc::clone(files.entry(file.clone()).or_default())
        };
        let mine = {
            let mut number = lock(&current);
            *number += 1;
            *number
        };
        Turn { current, mine }
    }

    /// Runs `work` while nobody writes to the file, and takes no turn.
    pub(super) fn while_none_writes<T>(&self, file: &SpoolFile, work: impl FnOnce() -> T) -> T {
        let current = lock(&self.0).get(file).map(Arc::clone);
        let _held = current.as_deref().map(lock);
        work()
    }
}

impl Turn {
    /// Holds the file for one piece of work.
    pub(super) fn hold(&self) -> Result<MutexGuard<'_, u64>, SpoolError> {
        let number = lock(&self.current);
        if *number == self.mine {
            Ok(number)
        } else {
            Err(SpoolError::Io(io::Error::other("another writer has opened or removed this spool file")))
        }
    }
}

/// A panic while a file was held leaves a number that is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
