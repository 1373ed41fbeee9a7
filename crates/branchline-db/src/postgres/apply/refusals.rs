//! Rows that the database refuses for what only itself can tell: a CHECK, an exclusion, a partial unique key, a trigger of
//! the shop's that raises.
//!
//! They are found by trying. Where the statement of a group fails, its rows are brought in in halves: a half that goes in
//! stays, one that does not is halved again, down to the single row, which is refused with what the database said of it.
//! All of that is taken back; the merge begins anew, and holds what was refused, with whatever hangs on it. A row that
//! only lacks the row that it points at is not refused here: what foreign keys forbid is looked for by `hold_checks`. Only what
//! comes in is tried so: where a trigger forbids a deletion, or a deferred constraint anything, the whole backup is refused.

use std::sync::{Mutex, MutexGuard, PoisonError};

use branchline_core::code::{Code, Explain};
use branchline_core::ports::DatabaseError;

use super::Target;
use super::facts::Subject;
use super::merge::{self, Member};
use crate::postgres::session::Session;

/// Rows that one apply refuses at the most; with more of them something is wrong that is not in the rows.
const REFUSED_MAX: usize = 1_000;

/// What a shop's trigger raises.
const RAISED: &str = "P0001";

const RANGE: &str = "SELECT min(branchline_number), max(branchline_number) FROM {stage}";
const MARK: &str = "
    UPDATE {stage} AS s SET branchline_code = r.code, branchline_reason = r.reason
      FROM unnest($1::int8[], $2::text[], $3::text[]) AS r (number, code, reason)
     WHERE s.branchline_number = r.number AND s.branchline_code IS NULL";

/// What was refused in this apply so far. The merge may have begun anew since; the stage is the same.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Vec<Refusal>>);

/// A row that was refused.
#[derive(Debug, Clone)]
struct Refusal {
    slot: usize,
    number: i64,
    code: Code,
    reason: String,
}

/// Whether the database may have said this of a single row.
pub(crate) fn is_of_a_row(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Constraint { .. } | DatabaseError::Unique { .. } => true,
        DatabaseError::Failed { sqlstate, .. } => sqlstate == RAISED,
        _ => false,
    }
}

impl Refusals {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Marks those of a table on its stage.
    pub(crate) async fn mark(&self, session: &Session, subject: &Subject<'_>) -> Result<(), DatabaseError> {
        let of_table: Vec<Refusal> =
            self.lock().iter().filter(|refusal| refusal.slot == subject.target.slot).cloned().collect();
        if of_table.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = of_table.iter().map(|refusal| refusal.number).collect();
        let codes: Vec<String> = of_table.iter().map(|refusal| refusal.code.to_string()).collect();
        let reasons: Vec<&str> = of_table.iter().map(|refusal| refusal.reason.as_str()).collect();
        session.rows(&MARK.replace("{stage}", subject.stage), &[&numbers, &codes, &reasons]).await.map(drop)
    }

    /// Finds the rows of a group that are refused. The session is as it was before the group's statement.
    ///
    /// # Errors
    /// What is not about a row; and what is about too many.
    pub(crate) async fn find(&self, session: &Session, members: &[Member<'_>]) -> Result<(), DatabaseError> {
        session.run("SAVEPOINT refusals").await?;
        // Of a table whose rows have no versions here none can be held.
        for member in members.iter().filter(|member| member.1.holds) {
            let range = session.row(&RANGE.replace("{stage}", member.2), &[]).await?;
            if let (Some(first), Some(last)) = (range.get(0), range.get(1)) {
                self.try_halves(session, member, first, last).await?;
            }
        }
        session.run("ROLLBACK TO SAVEPOINT refusals; RELEASE SAVEPOINT refusals").await
    }

    /// Brings in what goes in of the rows with these numbers.
    async fn try_halves(
        &self,
        session: &Session,
        member: &Member<'_>,
        first: i64,
        last: i64,
    ) -> Result<(), DatabaseError> {
        let mut waiting = vec![(first, last)];
        while let Some((first, last)) = waiting.pop() {
            session.run("SAVEPOINT half").await?;
            let error = match merge::some(session, member, first, last).await {
                Ok(()) => {
                    session.run("RELEASE SAVEPOINT half").await?;
                    continue;
                }
                Err(error) => error,
            };
            let is_foreign_key = matches!(error, DatabaseError::ForeignKey { .. });
            if !is_of_a_row(&error) && !is_foreign_key {
                return Err(error);
            }
            session.run("ROLLBACK TO SAVEPOINT half; RELEASE SAVEPOINT half").await?;
            if first < last {
                let middle = first + (last - first) / 2;
                // The first half is tried first: of two rows that exclude each other it is the one that stays.
                waiting.push((middle + 1, last));
                waiting.push((first, middle));
            } else if !is_foreign_key {
                self.add(member.1, first, &error)?;
            }
        }
        Ok(())
    }

    fn add(&self, target: &Target, number: i64, error: &DatabaseError) -> Result<(), DatabaseError> {
        let (code, reason) = match error {
            DatabaseError::Failed { message, .. } => {
                (Code::CONSTRAINT_BROKEN, format!("a trigger says: {message}"))
            }
            error => (error.code(), error.to_string()),
        };
        let mut refused = self.lock();
        if refused.iter().any(|known| (known.slot, known.number) == (target.slot, number)) {
            return Ok(());
        }
        if refused.len() >= REFUSED_MAX {
            let (table, detail) =
                (target.table.name.to_string(), format!("of the last one it says: {reason}"));
            let constraint = format!("that refuses more than {REFUSED_MAX} rows");
            return Err(DatabaseError::Constraint { table, constraint, detail });
        }
        refused.push(Refusal { slot: target.slot, number, code, reason });
        Ok(())
    }

    /// What is behind the lock is whole at any moment.
    fn lock(&self) -> MutexGuard<'_, Vec<Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
