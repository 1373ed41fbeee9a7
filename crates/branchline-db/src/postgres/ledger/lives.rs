//! Lives: each has a number here, because versions are many and names are long.
//!
//! A number is given once and never again to another life.

use std::collections::BTreeMap;

use branchline_core::id::Epoch;
use branchline_core::ports::DatabaseError;
use branchline_core::version::Life;

use super::{broken, signed, unsigned};
use crate::postgres::session::Session;

const LIVES: &str = "SELECT id, server, epoch FROM branchline.life";
const ADD: &str = "
    INSERT INTO branchline.life (server, epoch)
    SELECT server, epoch FROM unnest($1::text[], $2::int8[]) AS new (server, epoch)
    ON CONFLICT (server, epoch) DO NOTHING";

/// The lives that the ledger knows, by their numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lives {
    by_id: BTreeMap<i32, Life>,
    ids: BTreeMap<Life, i32>,
}

impl Lives {
    /// All of them.
    pub(crate) async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let mut lives = Self::default();
        for row in session.rows_kept(LIVES, &[]).await? {
            let server = row.get::<_, &str>(1).parse().map_err(|_| broken("a server id"))?;
            let life = Life::new(server, Epoch::new(unsigned(&row, 2)));
            lives.ids.insert(life.clone(), row.get(0));
            lives.by_id.insert(row.get(0), life);
        }
        Ok(lives)
    }

    /// All of them, with their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = (i32, &Life)> {
        self.by_id.iter().map(|(id, life)| (*id, life))
    }

    /// The life of that number.
    pub(crate) fn life(&self, id: i32) -> Result<&Life, DatabaseError> {
        self.by_id.get(&id).ok_or_else(|| broken("the number of a life"))
    }

    /// The number of that life, where it has one.
    pub(crate) fn id(&self, life: &Life) -> Option<i32> {
        self.ids.get(life).copied()
    }

    /// Gives numbers to those that have none yet.
    pub(crate) async fn add<'a>(
        &mut self,
        session: &Session,
        lives: impl IntoIterator<Item = &'a Life>,
    ) -> Result<(), DatabaseError> {
        let new: Vec<&Life> = lives.into_iter().filter(|life| self.id(life).is_none()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let servers: Vec<&str> = new.iter().map(|life| life.server.as_str()).collect();
        let epochs: Vec<i64> = new.iter().map(|life| signed(life.epoch.value())).collect();
        session.rows_kept(ADD, &[&servers, &epochs]).await?;
        *self = Self::read(session).await?;
        Ok(())
    }

    /// The number of a life that has one: that of [`Lives::add`].
    pub(crate) fn known(&self, life: &Life) -> Result<i32, DatabaseError> {
        self.id(life).ok_or_else(|| broken("no number for a life"))
    }
}
