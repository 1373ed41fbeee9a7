//! What became of the captured tables: of each, whether it is still the one that was attached, with our triggers on.
//!
//! Migration tools rebuild tables: they make a copy, drop the first and give its name to the copy, and the triggers are
//! gone. So the catalogue is looked at before each pack, all tables in a few queries. What is found becomes
//! [`Step`]s, decided here and carried out by [`super::attach`].

use std::collections::{BTreeMap, BTreeSet};

use branchline_core::digest::Digest;
use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;

use super::key::Key;
use super::triggers;
use crate::postgres::ident::Qualified;
use crate::postgres::ledger::captured::Captured;
use crate::postgres::schema::{Catalogue, Relation};
use crate::postgres::session::Session;

/// Our triggers: of each relation their names, those that fire, and their functions.
const TRIGGERS: &str = "
    SELECT g.tgrelid, array_agg(g.tgname::text ORDER BY g.tgname), array_agg(DISTINCT p.proname::text),
           bool_and(g.tgenabled IN ('O', 'A'))
      FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid
      JOIN pg_namespace AS n ON n.oid = p.pronamespace
     WHERE n.nspname = $1
     GROUP BY g.tgrelid";

/// Partitions that hold rows, with whether each has another file than the one that it was made with.
const PARTITIONS: &str = "
    SELECT c.oid, pg_partition_root(c.oid)::oid, n.nspname::text, c.relname::text,
           c.relfilenode <> c.oid,
           has_table_privilege(c.oid, 'TRIGGER') AND has_table_privilege(c.oid, 'SELECT')
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relispartition AND c.relkind = 'r' AND pg_partition_root(c.oid) IS NOT NULL
     ORDER BY c.oid";

/// Tables that inherit, or are inherited from.
const INHERITING: &str = "
    SELECT i.inhrelid, i.inhparent FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
     WHERE NOT c.relispartition AND c.relkind = 'r'";

const UNTRIGGERABLE: &str = "
    SELECT c.oid FROM unnest($1::oid[]) AS c (oid) WHERE NOT coalesce(has_table_privilege(c.oid, 'TRIGGER'), false)";

/// How the rows of a table are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Partitioned,
    Inheriting,
}

/// A partition that holds rows.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    pub(crate) oid: u32,
    pub(crate) name: Qualified,
    /// Whether it was emptied or rebuilt since it was made.
    pub(crate) rewritten: bool,
    /// Whether our role may put a trigger on it and read it.
    pub(crate) permitted: bool,
}

/// A table that is to be captured, as the catalogue has it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: TableName,
    pub(crate) relation: u32,
    pub(crate) qualified: Qualified,
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    pub(crate) partitions: Vec<Partition>,
    /// Whether our role may put triggers on it.
    pub(crate) permitted: bool,
}

/// What is to be done for a table.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// It is captured from now on.
    Add(Wanted),
    /// Its triggers are made anew, and it is marked for a compare.
    Mend(Captured, Wanted),
    /// Its function is made anew; its triggers are as they should be.
    Replace(Captured, Wanted),
    /// Its partitions are others than they were: triggers go on the new ones.
    Repartition(Captured, Wanted),
    /// Only its name or its oid changed.
    Rename(Captured, Wanted),
    /// It is captured no more.
    Remove(Captured),
}

/// The triggers of ours on one relation.
#[derive(Debug, Clone, Default)]
struct Installed {
    names: Vec<String>,
    functions: Vec<String>,
    enabled: bool,
}

/// What the catalogue says of tables and our triggers.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    wanted: BTreeMap<TableName, Wanted>,
    installed: BTreeMap<u32, Installed>,
}

impl Observed {
    /// Looks at all tables of the catalogue but those left out. A table whose key has no text is left out too, and
    /// named in the log.
    pub(crate) async fn read(
        session: &Session,
        catalogue: &Catalogue,
        left_out: &[TableName],
    ) -> Result<Self, DatabaseError> {
        let mut installed = BTreeMap::new();
        for row in session.rows_kept(TRIGGERS, &[&crate::postgres::ledger::SCHEMA]).await? {
            let found = Installed { names: row.get(1), functions: row.get(2), enabled: row.get(3) };
            installed.insert(row.get::<_, u32>(0), found);
        }
        let mut partitions: BTreeMap<u32, Vec<Partition>> = BTreeMap::new();
        for row in session.rows_kept(PARTITIONS, &[]).await? {
            partitions.entry(row.get(1)).or_default().push(Partition {
                oid: row.get(0),
                name: Qualified::new(row.get::<_, String>(2), row.get::<_, String>(3)),
                rewritten: row.get(4),
                permitted: row.get(5),
            });
        }
        let mut inheriting = BTreeSet::new();
        for row in session.rows_kept(INHERITING, &[]).await? {
            inheriting.extend([row.get::<_, u32>(0), row.get::<_, u32>(1)]);
        }
        let oids: Vec<u32> = catalogue.relations().map(|(_, relation)| relation.oid).collect();
        let refused: BTreeSet<u32> =
            session.rows_kept(UNTRIGGERABLE, &[&oids]).await?.iter().map(|row| row.get(0)).collect();
        let mut wanted = BTreeMap::new();
        for (name, relation) in catalogue.relations().filter(|(name, _)| !left_out.contains(name)) {
            let Ok((table, _)) = catalogue.syncable(name) else { continue };
            let key = match Key::of(table, relation) {
                Ok(key) => key,
                Err(reason) => {
                    tracing::warn!(table = %name, %reason, "changes of a table cannot be captured; it travels in full backups only");
                    continue;
                }
            };
            let partitions = partitions.remove(&relation.oid).unwrap_or_default();
            let permitted = !refused.contains(&relation.oid);
            let kind = kind(relation, &inheriting);
            let (qualified, relation) = (relation.name.clone(), relation.oid);
            let found = Wanted { name: name.clone(), relation, qualified, key, kind, partitions, permitted };
            wanted.insert(name.clone(), found);
        }
        Ok(Self { wanted, installed })
    }

    /// What is to be done so that all is as it should be; nothing where it is.
    pub(crate) fn steps(&self, captured: &[Captured]) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut done = BTreeSet::new();
        let named: BTreeSet<&TableName> = captured.iter().map(|known| &known.name).collect();
        for known in captured {
            // By its name first: whoever has the name now is the table. A new name, where nobody else had it.
            let renamed =
                |wanted: &&Wanted| wanted.relation == known.relation && !named.contains(&wanted.name);
            let wanted = self.wanted.get(&known.name).or_else(|| self.wanted.values().find(renamed));
            let Some(wanted) = wanted else {
                steps.push(Step::Remove(known.clone()));
                continue;
            };
            done.insert(wanted.name.clone());
            steps.extend(self.step(known, wanted));
        }
        // Triggers of a table that was renamed away are still on it: what they belong to is mended before it is added.
        let new = self.wanted.values().filter(|wanted| !done.contains(&wanted.name));
        steps.extend(new.map(|wanted| Step::Add(wanted.clone())));
        steps
    }

    fn step(&self, known: &Captured, wanted: &Wanted) -> Option<Step> {
        if !self.is_intact(known, wanted) || known.key != wanted.key.names() {
            return Some(Step::Mend(known.clone(), wanted.clone()));
        }
        if known.definition != wanted.definition() {
            return Some(Step::Replace(known.clone(), wanted.clone()));
        }
        let leaves: Vec<u32> = wanted.partitions.iter().map(|partition| partition.oid).collect();
        if known.partitions != leaves {
            return Some(Step::Repartition(known.clone(), wanted.clone()));
        }
        (known.relation != wanted.relation || known.name != wanted.name)
            .then(|| Step::Rename(known.clone(), wanted.clone()))
    }

    /// Whether all triggers of the table are there and fire: also those of partitions that it had before.
    fn is_intact(&self, known: &Captured, wanted: &Wanted) -> bool {
        let function = triggers::function(known.id).name().as_str().to_owned();
        let has = |oid: u32, names: &[&str]| {
            self.installed.get(&oid).is_some_and(|found| {
                found.enabled && found.functions == [function.as_str()] && found.names == names
            })
        };
        let on_partition = ["branchline_row", triggers::TRUNCATE];
        let before = wanted.partitions.iter().filter(|partition| known.partitions.contains(&partition.oid));
        has(wanted.relation, triggers::names(wanted.kind))
            && before
                .filter(|partition| partition.permitted)
                .all(|partition| has(partition.oid, &on_partition))
    }
}

impl Wanted {
    /// The digest of what is installed on it.
    pub(crate) fn definition(&self) -> String {
        Digest::of(triggers::create_function(0, &self.key, self.kind).as_bytes()).to_string()
    }

    /// The relations on which our role lacks a right that the triggers need.
    pub(crate) fn refused(&self) -> impl Iterator<Item = &Qualified> {
        let own = (!self.permitted).then_some(&self.qualified);
        own.into_iter().chain(self.partitions.iter().filter(|p| !p.permitted).map(|p| &p.name))
    }
}

fn kind(relation: &Relation, inheriting: &BTreeSet<u32>) -> Kind {
    if relation.partitioned {
        Kind::Partitioned
    } else if inheriting.contains(&relation.oid) {
        Kind::Inheriting
    } else {
        Kind::Plain
    }
}
