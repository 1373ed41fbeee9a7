//! Large loads into tables that our role owns: what makes inserting slow is taken off, and put back and validated
//! in the same transaction.
//!
//! | table | what is done |
//! |---|---|
//! | empty, no triggers or rules of the shop's, no value to prove ([`super::native`]) | filled directly by COPY; foreign keys and indexes off and on again |
//! | not empty, many rows missing | foreign keys off for the merge, and on again |
//! | anything else | nothing: rows are checked one by one |
//!
//! A load counts as large from [`LARGE_ROWS`] rows of a table on; a smaller one never takes a lock that the shop
//! would notice. Every lock of this kind is ACCESS EXCLUSIVE, from here to the commit. Where one is not to be had,
//! or the database refuses the change (something depends on it), the rows are staged and checked one by one.

use std::collections::BTreeMap;
use std::time::Instant;

use branchline_core::ports::DatabaseError;

use super::merge::same_key;
use super::strip::{self, ForeignKey, Index};
use super::triggers::Triggers;
use super::{ATTEMPTS_MAX, Load, Target, may_pass, native};
use crate::postgres::ident::{Qualified, list};
use crate::postgres::session::Session;

/// Rows of one table from which on a load is large.
const LARGE_ROWS: u64 = 20_000;

/// Memory of the server that builds an index or joins for a foreign key; its own default is 64 MB.
const MAINTENANCE_MEMORY: &str = "
    SELECT set_config('maintenance_work_mem', '262144', true)
      FROM pg_settings WHERE name = 'maintenance_work_mem' AND setting::int8 < 262144";

/// What was taken off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bulk {
    indexes: Vec<Index>,
    foreign_keys: Vec<ForeignKey>,
}

/// Chooses the tables that are filled directly, locks them and takes off what can be. `suits` says of each whether all
/// of its rows go in.
pub(crate) async fn prepare(
    session: &Session,
    tables: &mut [Target],
    suits: &[bool],
    locked_since: &mut Option<Instant>,
) -> Result<Bulk, DatabaseError> {
    let mut keep_unique = false;
    for _ in 0..=ATTEMPTS_MAX {
        let plan = Plan::make(session, tables, suits, keep_unique).await?;
        if plan.direct.is_empty() {
            break;
        }
        session.run("SAVEPOINT bulk").await?;
        // tidy: allow(clock): it measures how long locks were held, and decides nothing
        let since = Instant::now();
        let refused = match plan.carry_out(session, tables).await? {
            Ok(Some(bulk)) => {
                session.run("RELEASE SAVEPOINT bulk").await?;
                for place in plan.direct {
                    tables[place].load = Load::Direct;
                }
                *locked_since = Some(since);
                return Ok(bulk);
            }
            // A row came into a table before it was locked: plan again.
            Ok(None) => None,
            Err(error) => Some(error),
        };
        session.run("ROLLBACK TO SAVEPOINT bulk; RELEASE SAVEPOINT bulk").await?;
        if let Some(error) = refused {
            tracing::debug!(%error, "something could not be taken off for the load");
            if !may_pass(&error) {
                if keep_unique {
                    break;
                }
                // A view may depend on a primary key; nothing can on the other indexes.
                keep_unique = true;
            }
        }
    }
    Ok(Bulk::default())
}

/// What is to be done for tables that are filled directly.
#[derive(Debug, Default)]
struct Plan {
    /// Places of the tables in the request.
    direct: Vec<usize>,
    /// All relations that will be locked.
    locked: Vec<Qualified>,
    bulk: Bulk,
}

impl Plan {
    async fn make(
        session: &Session,
        tables: &[Target],
        suits: &[bool],
        keep_unique: bool,
    ) -> Result<Self, DatabaseError> {
        let large: BTreeMap<u32, usize> = tables
            .iter()
            .enumerate()
            .filter(|(place, target)| is_large(target) && suits[*place])
            .map(|(place, target)| (target.relation.oid, place))
            .collect();
        let oids: Vec<u32> = large.keys().copied().collect();
        if oids.is_empty() {
            return Ok(Self::default());
        }
        let foreign_keys = strip::foreign_keys(session, &oids).await?;
        let triggers = Triggers::read(session, &oids).await?;
        let mut plan = Self::default();
        for (oid, place) in large {
            let own_stay = foreign_keys.iter().any(|key| key.from_oid == oid && !key.removable);
            let is_simple = !triggers.on(oid) && !own_stay && !native::any_proved(&tables[place]);
            if is_simple && is_empty(session, &tables[place]).await? {
                plan.direct.push(place);
            }
        }
        plan.strip(session, tables, foreign_keys, keep_unique).await?;
        Ok(plan)
    }

    /// Lists what is taken off the tables. Where a foreign key from elsewhere must stay, so must the unique
    /// indexes that it may depend on.
    async fn strip(
        &mut self,
        session: &Session,
        tables: &[Target],
        foreign_keys: Vec<ForeignKey>,
        keep_unique: bool,
    ) -> Result<(), DatabaseError> {
        let direct = |oid| self.direct.iter().any(|&place| tables[place].relation.oid == oid);
        let mut locked = Vec::new();
        for &place in &self.direct {
            let relation = &tables[place].relation;
            locked.push(relation.name.clone());
            let depended =
                keep_unique || foreign_keys.iter().any(|key| key.to_oid == relation.oid && !key.removable);
            let indexes = strip::indexes(session, relation.oid, &relation.name).await?;
            self.bulk
                .indexes
                .extend(indexes.into_iter().filter(|index| index.removable && !(depended && index.unique)));
        }
        let touches = |key: &ForeignKey| key.removable && (direct(key.from_oid) || direct(key.to_oid));
        self.bulk.foreign_keys = foreign_keys.into_iter().filter(touches).collect();
        locked.extend(self.bulk.foreign_keys.iter().flat_map(|key| [key.from.clone(), key.to.clone()]));
        locked.sort();
        locked.dedup();
        self.locked = locked;
        Ok(())
    }

    /// Locks by name, looks again whether the tables are empty, and takes off. The outer error ends the apply, the
    /// inner one only this way of doing it.
    async fn carry_out(
        &self,
        session: &Session,
        tables: &[Target],
    ) -> Result<Result<Option<Bulk>, tokio_postgres::Error>, DatabaseError> {
        if let Err(error) = lock(session, &self.locked).await {
            return Ok(Err(error));
        }
        for &place in &self.direct {
            if !is_empty(session, &tables[place]).await? {
                return Ok(Ok(None));
            }
        }
        Ok(self.bulk.remove(session).await.map(|()| Some(self.bulk.clone())))
    }
}

impl Bulk {
    pub(crate) fn took_foreign_keys_off(&self) -> bool {
        !self.foreign_keys.is_empty()
    }

    async fn remove(&self, session: &Session) -> Result<(), tokio_postgres::Error> {
        let foreign_keys: String = self.foreign_keys.iter().map(ForeignKey::remove).collect();
        let indexes: String = self.indexes.iter().map(Index::remove).collect();
        session.run_raw(&(foreign_keys + &indexes)).await
    }

    /// Takes the foreign keys off tables that are not empty and are about to get many rows.
    pub(crate) async fn strip_for_merge(
        &mut self,
        session: &Session,
        tables: &[Target],
    ) -> Result<(), DatabaseError> {
        let mut oids = Vec::new();
        for target in tables.iter().filter(|target| is_large(target)) {
            let Some(stage) = target.staged() else { continue };
            if missing_rows(session, target, stage).await? >= LARGE_ROWS {
                oids.push(target.relation.oid);
            }
        }
        if oids.is_empty() {
            return Ok(());
        }
        let known = |key: &ForeignKey| self.foreign_keys.iter().any(|other| other.oid == key.oid);
        let foreign_keys: Vec<_> = strip::foreign_keys(session, &oids)
            .await?
            .into_iter()
            .filter(|key| key.removable && oids.contains(&key.from_oid) && !known(key))
            .collect();
        let mut locked: Vec<_> =
            foreign_keys.iter().flat_map(|key| [key.from.clone(), key.to.clone()]).collect();
        locked.sort();
        locked.dedup();
        let taken = Self { indexes: Vec::new(), foreign_keys };
        session.run("SAVEPOINT strip").await?;
        let removed = match lock(session, &locked).await {
            Ok(()) => taken.remove(session).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::debug!(%error, "foreign keys stay on for the merge");
            return session.run("ROLLBACK TO SAVEPOINT strip; RELEASE SAVEPOINT strip").await;
        }
        self.foreign_keys.extend(taken.foreign_keys);
        session.run("RELEASE SAVEPOINT strip").await
    }

    /// Builds the indexes again; a primary or unique key that two rows share is refused here.
    pub(crate) async fn rebuild_indexes(&self, session: &Session) -> Result<(), DatabaseError> {
        if self.indexes.is_empty() {
            return Ok(());
        }
        session.rows_kept(MAINTENANCE_MEMORY, &[]).await?;
        // A function of the shop's in an index may count on the shop's search path.
        session.as_shop().await?;
        for index in &self.indexes {
            session.run(&index.restore()).await?;
        }
        session.as_ourselves().await
    }

    /// Puts the foreign keys back, which validates each by one join.
    pub(crate) async fn restore_foreign_keys(&self, session: &Session) -> Result<(), DatabaseError> {
        for key in &self.foreign_keys {
            session.run(&key.restore()).await?;
        }
        Ok(())
    }
}

/// Whether so many rows come that taking locks pays, and we may take them.
pub(crate) fn is_large(target: &Target) -> bool {
    target.rows >= LARGE_ROWS && target.relation.rights.owner && !target.relation.partitioned
}

async fn is_empty(session: &Session, target: &Target) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT NOT EXISTS (SELECT FROM {})", target.relation.only());
    Ok(session.row(&sql, &[]).await?.get(0))
}

async fn missing_rows(session: &Session, target: &Target, stage: &str) -> Result<u64, DatabaseError> {
    let sql = format!(
        "SELECT count(*) FROM {stage} AS s WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {})",
        target.relation.only(),
        same_key(target, "t", "s"),
    );
    Ok(session.row(&sql, &[]).await?.get::<_, i64>(0).unsigned_abs())
}

async fn lock(session: &Session, relations: &[Qualified]) -> Result<(), tokio_postgres::Error> {
    session.run_raw(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", list(relations))).await
}
