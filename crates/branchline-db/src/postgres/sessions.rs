//! Sessions that are kept open between calls, and the catalogue as it was read last.
//!
//! A connection costs more than most of what is asked over it, so a few that ended in order are used again; the server
//! ends them after a minute in which nothing was asked. To
//! read the catalogue of ten thousand tables takes a second; a fingerprint of it takes some milliseconds, and says
//! whether what was read before still holds. The fingerprint is over the catalogue's row versions, temporary tables
//! left out: whatever alters a table, a type or a trigger writes a row version.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use branchline_core::ports::DatabaseError;

use super::connect::Target;
use super::schema::Catalogue;
use super::session::Session;
use crate::Omitted;

/// Connections that are kept.
const KEPT_MAX: usize = 3;

/// PostgreSQL gives its own objects numbers below 16384 when a cluster is made (`FirstNormalObjectId`); they stay as they are.
const FINGERPRINT: &str = "
    WITH relations AS MATERIALIZED (
      SELECT oid, xmin::text AS written FROM pg_class
       WHERE oid >= 16384 AND relpersistence <> 't' AND relkind IN ('r', 'p', 'v', 'm', 'f'))
    SELECT concat_ws(' ',
      (SELECT sum(hashtextextended(written, oid::int8)) FROM relations),
      (SELECT sum(hashtextextended(a.xmin::text, a.attrelid::int8 * 2000 + a.attnum))
         FROM pg_attribute AS a JOIN relations AS r ON r.oid = a.attrelid WHERE a.attrelid >= 16384),
      (SELECT sum(hashtextextended(xmin::text, indexrelid::int8)) FROM pg_index
        WHERE indrelid >= 16384 AND indrelid IN (SELECT oid FROM relations)),
      (SELECT sum(hashtextextended(xmin::text, oid::int8)) FROM pg_constraint
        WHERE oid >= 16384 AND (conrelid = 0 OR conrelid IN (SELECT oid FROM relations))),
      (SELECT sum(hashtextextended(xmin::text, oid::int8)) FROM pg_trigger WHERE oid >= 16384),
      (SELECT sum(hashtextextended(xmin::text, inhrelid::int8)) FROM pg_inherits),
      (SELECT sum(hashtextextended(xmin::text, oid::int8)) FROM pg_type
        WHERE oid >= 16384 AND typtype IN ('b', 'd', 'e', 'r') AND typelem = 0),
      (SELECT sum(hashtextextended(xmin::text, oid::int8)) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'),
      (SELECT sum(hashtextextended(xmin::text, oid::int8)) FROM pg_policy),
      (SELECT sum(hashtextextended(xmin::text, roleid::int8 * 7 + member::int8)) FROM pg_auth_members),
      (SELECT concat(rolsuper, rolbypassrls) FROM pg_roles WHERE rolname = CURRENT_USER))";

/// What of the catalogue was found to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// Of the catalogue as the session sees it now.
    pub(crate) async fn read(session: &Session) -> Result<Self, DatabaseError> {
        Ok(Self(session.row_kept(FINGERPRINT, &[]).await?.get(0)))
    }
}

/// The open sessions of one database, and what is remembered of its catalogue.
#[derive(Debug)]
pub(crate) struct Sessions {
    target: Target,
    omitted: Vec<Omitted>,
    kept: Mutex<Vec<Session>>,
    remembered: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    catalogue: Option<(Fingerprint, Arc<Catalogue>)>,
    /// The catalogue with which what is installed was in step.
    in_step: Option<Fingerprint>,
}

impl Sessions {
    pub(crate) fn new(target: Target, omitted: Vec<Omitted>) -> Self {
        Self { target, omitted, kept: Mutex::default(), remembered: Mutex::default() }
    }

    /// The columns that the settings leave out.
    pub(crate) fn omitted(&self) -> &[Omitted] {
        &self.omitted
    }

    /// A session of its own, which ends with its work.
    pub(crate) async fn open(&self) -> Result<Session, DatabaseError> {
        Session::open(&self.target).await
    }

    /// A session that was kept, or a new one.
    pub(crate) async fn take(&self) -> Result<Session, DatabaseError> {
        loop {
            let kept = lock(&self.kept).pop();
            match kept {
                Some(session) if session.is_open() => return Ok(session),
                Some(_) => {}
                None => return self.open().await,
            }
        }
    }

    /// Keeps a session for the next call. No transaction may be open in it.
    pub(crate) async fn keep(&self, session: Session) {
        let surplus = {
            let mut kept = lock(&self.kept);
            if kept.len() < KEPT_MAX && session.is_open() {
                kept.push(session);
                None
            } else {
                Some(session)
            }
        };
        if let Some(session) = surplus {
            session.close().await;
        }
    }

    /// Forgets all that is remembered, and ends the sessions that are kept: the ledger is about to go.
    pub(crate) async fn forget(&self) {
        *lock(&self.remembered) = Remembered::default();
        let kept = std::mem::take(&mut *lock(&self.kept));
        for session in kept {
            session.close().await;
        }
    }

    /// The catalogue as the session sees it, with its fingerprint.
    pub(crate) async fn catalogue(
        &self,
        session: &Session,
    ) -> Result<(Fingerprint, Arc<Catalogue>), DatabaseError> {
        let now = Fingerprint::read(session).await?;
        if let Some((fingerprint, catalogue)) = &lock(&self.remembered).catalogue
            && *fingerprint == now
        {
            return Ok((now, Arc::clone(catalogue)));
        }
        let catalogue = Arc::new(Catalogue::read(session, &self.omitted).await?);
        // In a transaction that sees each statement's own moment, the two may be of different ones.
        if Fingerprint::read(session).await? == now {
            lock(&self.remembered).catalogue = Some((now.clone(), Arc::clone(&catalogue)));
        }
        Ok((now, catalogue))
    }

    /// Whether what is installed was found to be in step with that catalogue.
    pub(crate) fn is_in_step(&self, fingerprint: &Fingerprint) -> bool {
        lock(&self.remembered).in_step.as_ref() == Some(fingerprint)
    }

    /// Remembers that it is.
    pub(crate) fn set_in_step(&self, fingerprint: Fingerprint) {
        lock(&self.remembered).in_step = Some(fingerprint);
    }
}

/// What is behind the lock is whole at any moment, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
