//! The one row that says whose database this is, in which life, and how far its clock and generations are.
//!
//! Without a server changes are not captured. The clock never goes back: every version here is at or before it.

use branchline_core::id::{Epoch, Generation, ServerId};
use branchline_core::ports::DatabaseError;
use branchline_core::version::{ChangeTime, Life};

use super::{broken, signed, unsigned};
use crate::postgres::session::Session;

const READ: &str = "SELECT server, epoch, generation, clock FROM branchline.meta";
const BEGIN: &str =
    "UPDATE branchline.meta SET server = $1, epoch = $2, generation = 0, clock = greatest(clock, $3)";
const ADVANCE: &str = "
    UPDATE branchline.meta SET generation = $1, clock = greatest(clock, $2)
     WHERE generation <> $1 OR clock < $2";

const FORGET: &str = "UPDATE branchline.meta SET forgotten = greatest(forgotten, $1) WHERE forgotten < $1";

/// The earliest time of a change that may follow a deletion whose tombstone is gone, in SQL: later than any of these.
pub(crate) const AFTER_FORGOTTEN: &str = "(SELECT forgotten + 1 FROM branchline.meta)";

/// What the row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Whose changes are captured, where they are.
    pub(crate) server: Option<ServerId>,
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// The last generation that was packed.
    pub(crate) generation: Generation,
    /// No version here is later.
    pub(crate) clock: ChangeTime,
}

impl Meta {
    pub(crate) async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let row = session.row_kept(READ, &[]).await?;
        let server = row.get::<_, Option<&str>>(0).map(str::parse).transpose();
        Ok(Self {
            server: server.map_err(|_| broken("a server id"))?,
            epoch: Epoch::new(unsigned(&row, 1)),
            generation: Generation::new(unsigned(&row, 2)),
            clock: ChangeTime::from_micros(unsigned(&row, 3)),
        })
    }

    /// Our life, where changes are captured.
    pub(crate) fn own(&self) -> Option<Life> {
        self.server.clone().map(|server| Life::new(server, self.epoch))
    }

    /// Begins a life.
    pub(crate) async fn begin(
        session: &Session,
        life: &Life,
        clock: ChangeTime,
    ) -> Result<(), DatabaseError> {
        let (epoch, clock) = (signed(life.epoch.value()), signed(clock.micros()));
        session.rows_kept(BEGIN, &[&life.server.as_str(), &epoch, &clock]).await.map(drop)
    }

    /// Tombstones up to that time may be gone.
    pub(crate) async fn forget(session: &Session, until: ChangeTime) -> Result<(), DatabaseError> {
        session.rows_kept(FORGET, &[&signed(until.micros())]).await.map(drop)
    }

    /// Writes the generation, and moves the clock on to at least `clock`.
    pub(crate) async fn advance(
        session: &Session,
        generation: Generation,
        clock: ChangeTime,
    ) -> Result<(), DatabaseError> {
        session.rows_kept(ADVANCE, &[&signed(generation.value()), &signed(clock.micros())]).await.map(drop)
    }
}
