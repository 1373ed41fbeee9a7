//! [`FaultySpool`]: a spool whose disk is full at a chosen write or sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use branchline_core::ports::{BoxFuture, Spool, SpoolError, SpoolFile, SpoolWriter};

use super::SharedSpool;

/// Wraps a spool. Calls are counted over all writers, from 1; the chosen one fails with
/// [`SpoolError::DiskFull`] and does nothing, the others pass through.
pub struct FaultySpool {
    inner: SharedSpool,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    write: Fault,
    sync: Fault,
}

/// Which call fails, 0 being none, and how many there were.
#[derive(Default)]
struct Fault {
    failing: u64,
    calls: AtomicU64,
}

impl Fault {
    fn check(&self) -> Result<(), SpoolError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call == self.failing { Err(SpoolError::DiskFull) } else { Ok(()) }
    }
}

impl FaultySpool {
    /// A spool whose `n`th write fails.
    #[must_use]
    pub fn failing_write(inner: SharedSpool, n: u64) -> Self {
        let write = Fault { failing: n, ..Fault::default() };
        Self { inner, faults: Arc::new(Faults { write, ..Faults::default() }) }
    }

    /// A spool whose `n`th sync fails.
    #[must_use]
    pub fn failing_sync(inner: SharedSpool, n: u64) -> Self {
        let sync = Fault { failing: n, ..Fault::default() };
        Self { inner, faults: Arc::new(Faults { sync, ..Faults::default() }) }
    }
}

impl Spool for FaultySpool {
    fn open_append<'a>(
        &'a self,
        file: &'a SpoolFile,
    ) -> BoxFuture<'a, Result<Box<dyn SpoolWriter>, SpoolError>> {
        Box::pin(async move {
            let inner = self.inner.open_append(file).await?;
            let writer = FaultyWriter { inner, faults: Arc::clone(&self.faults) };
            Ok(Box::new(writer) as Box<dyn SpoolWriter>)
        })
    }

    fn len<'a>(&'a self, file: &'a SpoolFile) -> BoxFuture<'a, Result<Option<u64>, SpoolError>> {
        self.inner.len(file)
    }

    fn read_at<'a>(
        &'a self,
        file: &'a SpoolFile,
        offset: u64,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, SpoolError>> {
        self.inner.read_at(file, offset, bytes_max)
    }

    fn remove<'a>(&'a self, file: &'a SpoolFile) -> BoxFuture<'a, Result<(), SpoolError>> {
        self.inner.remove(file)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SpoolFile>, SpoolError>> {
        self.inner.list()
    }

    fn free_bytes(&self) -> BoxFuture<'_, Result<u64, SpoolError>> {
        self.inner.free_bytes()
    }
}

struct FaultyWriter {
    inner: Box<dyn SpoolWriter>,
    faults: Arc<Faults>,
}

impl SpoolWriter for FaultyWriter {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), SpoolError>> {
        match self.faults.write.check() {
            Ok(()) => self.inner.write(bytes),
            Err(full) => Box::pin(async { Err(full) }),
        }
    }

    fn sync(&mut self) -> BoxFuture<'_, Result<(), SpoolError>> {
        match self.faults.sync.check() {
            Ok(()) => self.inner.sync(),
            Err(full) => Box::pin(async { Err(full) }),
        }
    }

    fn truncate(&mut self, len: u64) -> BoxFuture<'_, Result<(), SpoolError>> {
        self.inner.truncate(len)
    }
}
