//! What would keep a row from going in, or from going away: conditions in SQL over the stage and the lists of deletions.
//!
//! | looked at | held where |
//! |---|---|
//! | a deletion | a row that stays hangs on it by a key that would take it along or change it, and its sender never knew that row |
//! | a row that left the scope | a row that stays hangs on it by such a key: at the sender it is still as it was |
//! | a deletion | a row that stays hangs on it by another key |
//! | a staged row | the row that it points at is neither here to stay nor staged |
//! | a staged row | another row here, which keeps it, or another staged one has its unique value |
//!
//! The first is always looked for, the others once the database refused something. Keys whose columns the backup does not
//! bring, partial keys and keys over expressions are left to the database. What is carried on over more than
//! [`STEPS_MAX`] tables is not followed.

use branchline_core::code::Code;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::{ForeignKey, Table, TableName, UniqueKey};

use super::Target;
use super::facts::Subject;
use super::holds::looks;
use super::merge::same_key;
use super::mirror::reference;
use super::pass::Pass;
use super::standing::Standing;
use super::unique_swap::Leaving;
use crate::postgres::capture::key::Key;
use crate::postgres::ident::{Ident, literal};
use crate::postgres::ledger::signed;
use crate::postgres::schema::Relation;

/// Tables over which a deletion is followed.
const STEPS_MAX: usize = 3;

/// One condition.
pub(crate) struct Check {
    /// The stage, or the list of deletions, as `s`.
    table: String,
    condition: String,
    code: Code,
    reason: String,
}

impl Check {
    /// The statement that marks the rows for which it holds.
    pub(crate) fn mark(&self) -> String {
        format!(
            "UPDATE {} AS s SET branchline_code = {}, branchline_reason = {}
              WHERE branchline_code IS NULL AND {};\n",
            self.table,
            literal(&self.code.to_string()),
            literal(&self.reason),
            self.condition,
        )
    }
}

/// All conditions that a pass is to look for.
pub(crate) fn all(
    pass: &Pass<'_>,
    standing: &Standing,
    subjects: &[Subject<'_>],
    leaving: &[Leaving],
) -> Result<Vec<Check>, DatabaseError> {
    let all = Checks { pass, standing, leaving };
    let mut checks = Vec::new();
    for subject in subjects {
        all.of_deletions(subject, &mut checks)?;
        if looks(pass) {
            all.of_parents(subject, &mut checks);
            all.of_unique_keys(subject, &mut checks);
        }
    }
    Ok(checks)
}

struct Checks<'a> {
    pass: &'a Pass<'a>,
    standing: &'a Standing,
    leaving: &'a [Leaving],
}

/// A table as the catalogue and the pass have it.
struct Child<'a> {
    table: &'a Table,
    relation: &'a Relation,
    target: Option<(usize, &'a Target)>,
}

impl Checks<'_> {
    fn of_deletions(&self, subject: &Subject<'_>, checks: &mut Vec<Check>) -> Result<(), DatabaseError> {
        let Leaving::Listed(gone) = &self.leaving[subject.place] else { return Ok(()) };
        let (table, relation) = (&subject.target.table, &subject.target.relation);
        for (child, key) in self.children(&table.name) {
            let forbidden = subject.target.tells_leaving().then_some("s.branchline_leaving");
            let stays = self.hanging(&child, key, ("t", relation), 0, forbidden)?;
            let Some(stays) = stays else { continue };
            let (code, reason) = (
                Code::FOREIGN_KEY_BROKEN,
                format!("rows of {} hang on it by {}", child.table.name, key.name),
            );
            checks.push(Check {
                table: gone.clone(),
                condition: format!(
                    "EXISTS (SELECT FROM {} AS t WHERE {} AND {stays})",
                    relation.only(),
                    same_key(subject.target, "t", "s"),
                ),
                code,
                reason,
            });
        }
        Ok(())
    }

    /// Tables with a foreign key to that one.
    fn children<'c>(&'c self, parent: &'c TableName) -> impl Iterator<Item = (Child<'c>, &'c ForeignKey)> {
        let tables = self.pass.catalogue.schema().tables();
        tables.flat_map(move |table| {
            table.foreign_keys.iter().filter(move |key| key.target == *parent).filter_map(move |key| {
                let relation = self.pass.catalogue.relation(&table.name)?;
                let target =
                    self.pass.tables.iter().enumerate().find(|(_, target)| target.table.name == table.name);
                Some((Child { table, relation, target }, key))
            })
        })
    }

    /// Whether a row of `child` that stays hangs on the row `parent` and forbids that it goes, in SQL; nothing where
    /// it is not to be looked for. Where it is `forbidden` to take any along, whoever knows them, that is so.
    fn hanging(
        &self,
        child: &Child<'_>,
        key: &ForeignKey,
        (parent, parent_relation): (&str, &Relation),
        step: usize,
        forbidden: Option<&str>,
    ) -> Result<Option<String>, DatabaseError> {
        let alias = format!("c{step}");
        let mut forbids: Vec<String> = forbidden.iter().map(|&forbidden| forbidden.to_owned()).collect();
        if key.cascades {
            forbids.push(self.unknown(child, &alias)?);
            if step + 1 < STEPS_MAX {
                for (grandchild, key) in self.children(&child.table.name) {
                    forbids.extend(self.hanging(
                        &grandchild,
                        key,
                        (&alias, child.relation),
                        step + 1,
                        None,
                    )?);
                }
            }
        } else if looks(self.pass) {
            forbids.push("true".to_owned());
        } else {
            return Ok(None);
        }
        let points = reference(key, child.relation, &alias, parent_relation, parent);
        Ok(Some(format!(
            "EXISTS (SELECT FROM {} AS {alias} WHERE {points} AND {} AND ({}))",
            child.relation.only(),
            self.stays(child, key, &alias),
            forbids.join(" OR "),
        )))
    }

    /// Whether a row of a table is neither deleted by the backup nor moved to another parent.
    fn stays(&self, child: &Child<'_>, key: &ForeignKey, alias: &str) -> String {
        let Some((place, target)) = child.target else { return "true".to_owned() };
        let mut stays = Vec::new();
        if let Leaving::Listed(gone) = &self.leaving[place] {
            stays
                .push(format!("NOT EXISTS (SELECT FROM {gone} AS x WHERE {})", same_key(target, alias, "x")));
        }
        if let Some(stage) = target.staged().filter(|_| key.columns.iter().all(|c| target.places.contains(c)))
        {
            let same = |place: &usize| {
                let detail = &target.relation.columns[*place];
                let (ident, cast) = (&detail.ident, detail.cast());
                format!("x.{ident}{cast} OPERATOR(pg_catalog.=) {alias}.{ident}{cast}")
            };
            let same = key.columns.iter().map(same).collect::<Vec<_>>().join(" AND ");
            stays.push(format!(
                "NOT EXISTS (SELECT FROM {stage} AS x WHERE {} AND ({same}) IS NOT TRUE)",
                same_key(target, alias, "x")
            ));
        }
        if stays.is_empty() { "true".to_owned() } else { stays.join(" AND ") }
    }

    /// Whether the sender never knew a row as it is here, in SQL.
    fn unknown(&self, child: &Child<'_>, alias: &str) -> Result<String, DatabaseError> {
        let known = self.standing.captured.iter().find(|known| known.name == child.table.name);
        let (Some(known), Ok(key)) = (known, Key::of(child.table, child.relation)) else {
            return Ok("true".to_owned());
        };
        let (id, key) = (known.id, key.text(alias));
        let theirs = &self.standing.parties.theirs;
        let base = !theirs.has(&branchline_core::version::Dot::base(known.base.clone()));
        let mut lives = Vec::new();
        for (life, generation) in theirs.iter() {
            lives.push(format!(
                "({}, {}::pg_catalog.int8)",
                self.standing.lives.known(life)?,
                signed(generation.value())
            ));
        }
        if lives.is_empty() {
            return Ok("true".to_owned());
        }
        let knows = |life: &str, generation: &str| {
            format!(
                "EXISTS (SELECT FROM (VALUES {}) AS k (life, generation)
                          WHERE k.life = {life} AND k.generation >= {generation})",
                lives.join(", ")
            )
        };
        Ok(format!(
            "(EXISTS (SELECT FROM branchline.change AS l WHERE l.table_id = {id} AND l.key = {key})
              OR coalesce((SELECT NOT {} AND NOT {} FROM branchline.version AS v
                            WHERE v.table_id = {id} AND v.key = {key}), {base}))",
            knows("v.life", "v.generation"),
            knows("v.was_life", "v.was_generation"),
        ))
    }

    fn of_parents(&self, subject: &Subject<'_>, checks: &mut Vec<Check>) {
        let target = subject.target;
        for key in &target.table.foreign_keys {
            let brought = key.columns.iter().all(|place| target.places.contains(place));
            let Some(relation) = self.pass.catalogue.relation(&key.target).filter(|_| brought) else {
                continue;
            };
            let staged =
                self.pass.tables.iter().enumerate().find(|(_, other)| other.table.name == key.target);
            let pairs = |alias: &str| reference(key, &target.relation, "s", relation, alias);
            let given = key
                .columns
                .iter()
                .map(|&place| format!("s.{} IS NOT NULL", target.relation.columns[place].ident));
            let mut condition = given.collect::<Vec<_>>().join(" AND ");
            let mut stays = "true".to_owned();
            if let Some((place, other)) = staged {
                if let Leaving::Listed(gone) = &self.leaving[place] {
                    stays =
                        format!("NOT EXISTS (SELECT FROM {gone} AS x WHERE {})", same_key(other, "p", "x"));
                }
                let has = |name: &branchline_core::schema::ColumnName| {
                    other.table.position(name).is_some_and(|place| other.places.contains(&place))
                };
                if let Some(stage) = other.staged().filter(|_| key.target_columns.iter().all(has)) {
                    condition.push_str(&format!(
                        " AND NOT EXISTS (SELECT FROM {stage} AS p WHERE {})",
                        pairs("p")
                    ));
                }
            }
            condition.push_str(&format!(
                " AND NOT EXISTS (SELECT FROM {} AS p WHERE {} AND {stays})",
                relation.only(),
                pairs("p"),
            ));
            checks.push(Check {
                table: subject.stage.to_owned(),
                condition,
                code: Code::FOREIGN_KEY_BROKEN,
                reason: format!("the row of {} that it points at by {} is not here", key.target, key.name),
            });
        }
    }

    fn of_unique_keys(&self, subject: &Subject<'_>, checks: &mut Vec<Check>) {
        let target = subject.target;
        for key in &target.table.unique_keys {
            if !key.columns.iter().all(|place| target.places.contains(place)) {
                continue;
            }
            let equal = |a: &str, b: &str| equal_values(target, key, a, b);
            let gone = match &self.leaving[subject.place] {
                Leaving::Listed(gone) => {
                    format!(" AND NOT EXISTS (SELECT FROM {gone} AS x WHERE {})", same_key(target, "o", "x"))
                }
                Leaving::Nobody | Leaving::Absent => String::new(),
            };
            let stage = subject.stage;
            // Of two staged rows with one value the one that came first goes in.
            let condition = format!(
                "(EXISTS (SELECT FROM {only} AS o WHERE {other} AND NOT ({same}){gone}
                           AND NOT EXISTS (SELECT FROM {stage} AS x WHERE {moved} AND ({kept}) IS NOT TRUE))
                  OR EXISTS (SELECT FROM {stage} AS o WHERE {other} AND o.branchline_number < s.branchline_number))",
                only = target.relation.only(),
                other = equal("o", "s"),
                same = same_key(target, "o", "s"),
                moved = same_key(target, "x", "o"),
                kept = equal("x", "o"),
            );
            checks.push(Check {
                table: stage.to_owned(),
                condition,
                code: Code::UNIQUE_CONFLICT,
                reason: format!("another row has its value of {}", key.name),
            });
        }
    }
}

fn equal_values(target: &Target, key: &UniqueKey, a: &str, b: &str) -> String {
    let part = |place: &usize| {
        let detail = &target.relation.columns[*place];
        let (ident, cast): (&Ident, &str) = (&detail.ident, detail.cast());
        format!("{a}.{ident}{cast} OPERATOR(pg_catalog.=) {b}.{ident}{cast}")
    };
    key.columns.iter().map(part).collect::<Vec<_>>().join(" AND ")
}
