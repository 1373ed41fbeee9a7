//! Bringing what is installed in step with the catalogue, a few tables at a time.
//!
//! A trigger needs a lock that stops writers of its table for the moment that it is made. So that the till is stopped
//! for no longer, a transaction makes those of [`TABLES_AT_ONCE`] tables; where one of them is busy each is tried by
//! itself, [`ATTEMPTS_MAX`] times, and each waits no longer than an apply waits for a lock. Each transaction leaves its
//! tables whole, so that a further attach goes on where one gave up.

use branchline_core::ports::{AttachReport, AttachRequest, DatabaseError};
use branchline_core::schema::TableName;
use branchline_core::version::{ChangeTime, Dot, Life};

use super::identity::{Kind, Observed, Partition, Step, Wanted};
use super::triggers;
use crate::postgres::ident::{Ident, list};
use crate::postgres::ledger::captured::{self, Captured};
use crate::postgres::ledger::{self, Lives, Meta, knowledge};
use crate::postgres::schema::Catalogue;
use crate::postgres::session::Session;

/// Tables whose triggers are made in one transaction.
const TABLES_AT_ONCE: usize = 16;

/// How often a table by itself is tried.
const ATTEMPTS_MAX: u32 = 3;

const ADD: &str = "
    INSERT INTO branchline.captured (name, relation, key_columns, definition, partitions, base)
    VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
const UPDATE: &str = "
    UPDATE branchline.captured
       SET name = $2, relation = $3, key_columns = $4, definition = $5, partitions = $6, compare_due = compare_due OR $7
     WHERE id = $1";
const FORGET: &str = "
    WITH changes AS (DELETE FROM branchline.change WHERE table_id = $1),
         versions AS (DELETE FROM branchline.version WHERE table_id = $1),
         scopes AS (DELETE FROM branchline.scope WHERE table_id = $1),
         tables AS (DELETE FROM branchline.captured WHERE id = $1 AND $2)
    DELETE FROM branchline.missed WHERE table_id = $1";

/// Makes this database that of a server, and captures the changes of all tables that can be captured.
pub(crate) async fn attach(
    session: &Session,
    catalogue: &Catalogue,
    request: &AttachRequest,
) -> Result<AttachReport, DatabaseError> {
    let observed = Observed::read(session, catalogue, &request.except).await?;
    let lives = Lives::read(session).await?;
    let steps = observed.steps(&captured::read(session, &lives).await?);
    check_rights(session, &steps)?;
    let life = begin(session, request).await?;
    carry_out(session, steps, &life).await
}

/// Brings what is installed in step with the catalogue, as far as our rights go.
pub(crate) async fn keep_in_step(
    session: &Session,
    catalogue: &Catalogue,
    own: Life,
) -> Result<AttachReport, DatabaseError> {
    let left_out = captured::left_out(session).await?;
    let observed = Observed::read(session, catalogue, &left_out).await?;
    let lives = Lives::read(session).await?;
    let steps = observed.steps(&captured::read(session, &lives).await?);
    let permitted = |step: &Step| {
        let refused = refused(step);
        if !refused.is_empty() {
            tracing::warn!(tables = %list(&refused), "the role may not put triggers on a table; attach names the GRANT");
        }
        // A partition without its trigger is said once: that it is emptied will not be noticed.
        refused.is_empty() || matches!(step, Step::Repartition(..))
    };
    let life = Begun { own, is_new: false };
    carry_out(session, steps.into_iter().filter(permitted).collect(), &life).await
}

/// Refuses where our role may not put a trigger on a table, with one GRANT for all of them.
fn check_rights(session: &Session, steps: &[Step]) -> Result<(), DatabaseError> {
    let refused: Vec<_> = steps.iter().flat_map(refused).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let role = Ident::new(&session.names().role);
    Err(DatabaseError::PrivilegeMissing {
        action: format!("put triggers on {} of the tables", refused.len()),
        grant: format!("GRANT SELECT, TRIGGER ON TABLE {} TO {role}", list(refused)),
    })
}

fn refused(step: &Step) -> Vec<crate::postgres::ident::Qualified> {
    match step {
        Step::Add(wanted) | Step::Mend(_, wanted) | Step::Repartition(_, wanted) => {
            wanted.refused().cloned().collect()
        }
        Step::Replace(..) | Step::Rename(..) | Step::Remove(_) => Vec::new(),
    }
}

/// The life for which tables are captured.
struct Begun {
    own: Life,
    /// Whether nobody can know it yet. Rows of a table that is taken in later count as changes: whoever knows the life
    /// would believe to have its base.
    is_new: bool,
}

/// Begins the life, where none has begun; answers the one that goes on.
async fn begin(session: &Session, request: &AttachRequest) -> Result<Begun, DatabaseError> {
    session.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    ledger::hold(session).await?;
    let meta = Meta::read(session).await?;
    let begun = match meta.own() {
        Some(own) if own.server == request.server => Begun { own, is_new: false },
        Some(other) => {
            session.run("ROLLBACK").await?;
            return Err(DatabaseError::Attached { server: other.server });
        }
        None => {
            let own = Life::new(request.server.clone(), request.epoch);
            let mut lives = Lives::read(session).await?;
            lives.add(session, [&own]).await?;
            Meta::begin(session, &own, ChangeTime::default()).await?;
            let held = [(own.clone(), Dot::base(own.clone()).generation)].into_iter().collect();
            knowledge::join_held(session, &lives, &held).await?;
            Begun { own, is_new: true }
        }
    };
    captured::leave_out(session, &request.except).await?;
    session.run("COMMIT").await?;
    Ok(begun)
}

async fn carry_out(session: &Session, steps: Vec<Step>, life: &Begun) -> Result<AttachReport, DatabaseError> {
    session.yield_to_others().await?;
    for some in steps.chunks(TABLES_AT_ONCE) {
        match transaction(session, some, life).await {
            Err(DatabaseError::Busy { .. }) => {
                for step in some {
                    patiently(session, step, life).await?;
                }
            }
            other => other?,
        }
    }
    let mut report = AttachReport::default();
    for step in &steps {
        match step {
            Step::Add(wanted) => report.added.push(wanted.name.clone()),
            Step::Mend(_, wanted) => report.mended.push(wanted.name.clone()),
            Step::Remove(known) => report.removed.push(known.name.clone()),
            Step::Replace(..) | Step::Repartition(..) | Step::Rename(..) => {}
        }
    }
    report.captured =
        session.row("SELECT count(*) FROM branchline.captured", &[]).await?.get::<_, i64>(0).unsigned_abs();
    Ok(report)
}

/// One table by itself, tried again where somebody else held it.
async fn patiently(session: &Session, step: &Step, life: &Begun) -> Result<(), DatabaseError> {
    let mut attempt = 1;
    loop {
        match transaction(session, std::slice::from_ref(step), life).await {
            Err(DatabaseError::Busy { message }) => {
                if attempt == ATTEMPTS_MAX {
                    let message = format!(
                        "table {} was in use all the time ({message}); attach again goes on from here",
                        step.name()
                    );
                    return Err(DatabaseError::Busy { message });
                }
                attempt += 1;
            }
            other => return other,
        }
    }
}

async fn transaction(session: &Session, steps: &[Step], life: &Begun) -> Result<(), DatabaseError> {
    session.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let done = take_steps(session, steps, life).await;
    if done.is_err() {
        session.run("ROLLBACK").await?;
        return done;
    }
    session.run("COMMIT").await
}

async fn take_steps(session: &Session, steps: &[Step], life: &Begun) -> Result<(), DatabaseError> {
    ledger::hold(session).await?;
    let base = Lives::read(session).await?.known(&life.own)?;
    let mut sql = String::new();
    // Whatever a function of ours is taken off from comes first: a table that was renamed away gets triggers anew.
    for step in steps {
        if let Step::Mend(known, _) | Step::Remove(known) = step {
            sql.push_str(&triggers::remove(known.id));
        }
    }
    for step in steps {
        sql.push_str(&step.statements(session, base, life.is_new).await?);
    }
    session.run(&sql).await
}

impl Step {
    fn name(&self) -> &TableName {
        match self {
            Self::Add(wanted)
            | Self::Mend(_, wanted)
            | Self::Replace(_, wanted)
            | Self::Repartition(_, wanted)
            | Self::Rename(_, wanted) => &wanted.name,
            Self::Remove(known) => &known.name,
        }
    }

    /// Writes the ledger, and gives the statements that are left to do.
    async fn statements(
        &self,
        session: &Session,
        base: i32,
        life_is_new: bool,
    ) -> Result<String, DatabaseError> {
        match self {
            Self::Add(wanted) => {
                let (name, key) = (wanted.name.as_str(), wanted.key.names());
                let (definition, partitions) = (wanted.definition(), wanted.partition_oids());
                let row = session
                    .row_kept(ADD, &[&name, &wanted.relation, &key, &definition, &partitions, &base])
                    .await?;
                let id = row.get(0);
                let note = wanted.note_all(id, &wanted.only());
                Ok(wanted.install(id) + if life_is_new { "" } else { &note })
            }
            Self::Mend(known, wanted) => {
                if known.key != wanted.key.names() {
                    // Texts of another key say nothing of these rows.
                    session.rows_kept(FORGET, &[&known.id, &false]).await?;
                }
                wanted.update(session, known.id, true).await?;
                Ok(wanted.install(known.id))
            }
            Self::Replace(known, wanted) => {
                wanted.update(session, known.id, false).await?;
                Ok(triggers::create_function(known.id, &wanted.key, wanted.kind))
            }
            Self::Rename(known, wanted) => {
                wanted.update(session, known.id, false).await?;
                Ok(String::new())
            }
            Self::Repartition(known, wanted) => wanted.repartition(session, known).await,
            Self::Remove(known) => {
                session.rows_kept(FORGET, &[&known.id, &true]).await?;
                Ok(String::new())
            }
        }
    }
}

impl Wanted {
    fn partition_oids(&self) -> Vec<u32> {
        self.partitions.iter().map(|partition| partition.oid).collect()
    }

    async fn update(&self, session: &Session, id: i32, compare_due: bool) -> Result<(), DatabaseError> {
        let (name, key) = (self.name.as_str(), self.key.names());
        let (definition, partitions) = (self.definition(), self.partition_oids());
        session
            .rows_kept(UPDATE, &[&id, &name, &self.relation, &key, &definition, &partitions, &compare_due])
            .await
            .map(drop)
    }

    fn install(&self, id: i32) -> String {
        let mut sql = triggers::create_function(id, &self.key, self.kind);
        sql.push_str(&triggers::create_triggers(id, &self.qualified, self.kind));
        for partition in self.partitions.iter().filter(|partition| partition.permitted) {
            sql.push_str(&triggers::on_truncate(id, &partition.name));
        }
        sql
    }

    /// New partitions get their trigger; rows that came with them count as changes. A compare is due where rows may
    /// have gone without a trace: with a partition that is gone, or one that was emptied before we saw it.
    async fn repartition(&self, session: &Session, known: &Captured) -> Result<String, DatabaseError> {
        let is_new = |partition: &&Partition| !known.partitions.contains(&partition.oid);
        let new: Vec<&Partition> = self.partitions.iter().filter(is_new).collect();
        let gone = known.partitions.iter().any(|oid| self.partitions.iter().all(|part| part.oid != *oid));
        let unsure = new.iter().any(|partition| partition.rewritten || !partition.permitted);
        self.update(session, known.id, gone || unsure).await?;
        let mut sql = String::new();
        for partition in new.into_iter().filter(|partition| partition.permitted) {
            sql.push_str(&triggers::on_truncate(known.id, &partition.name));
            sql.push_str(&self.note_all(known.id, &format!("ONLY {}", partition.name)));
        }
        Ok(sql)
    }

    fn only(&self) -> String {
        match self.kind {
            Kind::Partitioned => self.qualified.to_string(),
            Kind::Plain | Kind::Inheriting => format!("ONLY {}", self.qualified),
        }
    }

    /// The statement that notes all rows of a relation as changes, but those that are known already.
    fn note_all(&self, id: i32, only: &str) -> String {
        let key = self.key.text("t");
        format!(
            "INSERT INTO branchline.change (table_id, at, key)
             SELECT {id}, greatest((extract(epoch FROM clock_timestamp()) * 1000000)::int8, m.clock + 1), {key}
               FROM {only} AS t CROSS JOIN branchline.meta AS m
              WHERE NOT EXISTS (SELECT FROM branchline.version AS v WHERE v.table_id = {id} AND v.key = {key})
                AND NOT EXISTS (SELECT FROM branchline.change AS c WHERE c.table_id = {id} AND c.key = {key});\n"
        )
    }
}
