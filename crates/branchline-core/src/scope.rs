//! Scope by rows: which rows of a table a peer gets, where the settings filter them.
//!
//! | term | meaning |
//! |---|---|
//! | filter | a condition in the SQL of the local database, for one table and some peers; local settings alone say it |
//! | follow | the filter reaches the rows that point at the table's rows by foreign keys, and theirs in turn |
//! | row scope | what a filter comes to for one table: its own condition, and the parents whose scope its rows need |
//!
//! A row is in scope where its own condition holds and each parent that it points at through a followed foreign key is
//! in scope; a foreign key that is NULL points at nobody and keeps no row back. A foreign key of a table to itself is
//! not followed, nor is one that would close a circle: the table that comes first in the order of parents decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::digest::Digest;
use crate::id::ServerId;
use crate::schema::{ForeignKey, Schema, TableName, parents_first};

/// A filter as the settings say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The table.
    pub table: TableName,
    /// The peers that it is for; all, where it is empty.
    pub peers: Vec<ServerId>,
    /// The condition, in the SQL of the local database, over the table's columns.
    pub condition: String,
    /// Whether it reaches the rows that point at the table's rows.
    pub follow: bool,
}

/// Which rows of one table are in scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowScope {
    /// Conditions that all must hold.
    pub conditions: Vec<String>,
    /// Foreign keys whose parents must be in scope.
    pub parents: Vec<ForeignKey>,
}

/// Which rows a peer gets; tables that are not named here are whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerScope {
    tables: BTreeMap<TableName, RowScope>,
}

impl PeerScope {
    /// What the filters come to for one peer, in a database of that schema. Filters of tables that are not there say
    /// nothing.
    #[must_use]
    pub fn derive(schema: &Schema, filters: &[Filter], peer: &ServerId) -> Self {
        let mut tables: BTreeMap<TableName, RowScope> = BTreeMap::new();
        let mut followed: BTreeSet<TableName> = BTreeSet::new();
        let is_for = |filter: &&Filter| filter.peers.is_empty() || filter.peers.contains(peer);
        for filter in filters.iter().filter(is_for).filter(|filter| schema.table(&filter.table).is_some()) {
            tables.entry(filter.table.clone()).or_default().conditions.push(filter.condition.clone());
            if filter.follow {
                followed.insert(filter.table.clone());
            }
        }
        let in_order = parents_first(schema.syncable()).into_iter().flat_map(|group| group.tables);
        let mut before = BTreeSet::new();
        for name in in_order {
            let reaches = |key: &&ForeignKey| followed.contains(&key.target) && before.contains(&key.target);
            let keys = schema.table(&name).map(|table| table.foreign_keys.iter().filter(reaches).cloned());
            let parents: Vec<ForeignKey> = keys.into_iter().flatten().collect();
            if !parents.is_empty() {
                tables.entry(name.clone()).or_default().parents = parents;
                followed.insert(name.clone());
            }
            before.insert(name);
        }
        Self { tables }
    }

    /// Which rows of that table; nothing where it is whole.
    #[must_use]
    pub fn of(&self, table: &TableName) -> Option<&RowScope> {
        self.tables.get(table)
    }

    /// The tables that are not whole, by name.
    pub fn tables(&self) -> impl Iterator<Item = (&TableName, &RowScope)> {
        self.tables.iter()
    }

    /// Whether every table is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.tables.is_empty()
    }

    /// By what two scopes are told apart.
    #[must_use]
    pub fn mark(&self) -> ScopeMark {
        ScopeMark(self.tables.iter().map(|(name, rows)| (name.clone(), rows.digest())).collect())
    }
}

impl RowScope {
    /// The digest of all that it says. It does not say what the scope of a parent is: that has a digest of its own.
    fn digest(&self) -> Digest {
        let mut text = String::new();
        let mut say = |part: &str| {
            writeln!(text, "{} {part}", part.len()).expect("invariant: a String takes everything");
        };
        for condition in &self.conditions {
            say(condition);
        }
        for key in &self.parents {
            say(&key.name);
            say(key.target.as_str());
            key.target_columns.iter().for_each(|column| say(column.as_str()));
            key.columns.iter().for_each(|place| say(&place.to_string()));
        }
        Digest::of(text.as_bytes())
    }
}

/// By what two scopes are told apart: the tables that are not whole, each with the digest of its row scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeMark(BTreeMap<TableName, Digest>);

impl ScopeMark {
    /// Whether every table was whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a table that is whole now was not: rows of it were kept back that nothing will bring but a full backup.
    #[must_use]
    pub fn frees(&self, now: &Self) -> bool {
        self.0.keys().any(|table| !now.0.contains_key(table))
    }

    /// As the state keeps it: a line for each table.
    #[must_use]
    pub fn to_lines(&self) -> String {
        let lines: Vec<_> = self.0.iter().map(|(table, digest)| format!("{digest} {table}")).collect();
        lines.join("\n")
    }

    /// What [`ScopeMark::to_lines`] wrote; nothing where it did not.
    #[must_use]
    pub fn from_lines(text: &str) -> Option<Self> {
        let entry = |line: &str| {
            let (digest, table) = line.split_once(' ')?;
            Some((TableName::new(table).ok()?, digest.parse().ok()?))
        };
        text.lines().map(entry).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ColumnName, Table};

    fn table(name: &str, parents: &[&str]) -> Table {
        let key = |parent: &&str| ForeignKey {
            name: format!("{name}_{parent}"),
            columns: vec![0],
            target: TableName::new(*parent).unwrap(),
            target_columns: vec![ColumnName::new("id").unwrap()],
            deferrable: false,
            cascades: false,
        };
        Table {
            name: TableName::new(name).unwrap(),
            columns: Vec::new(),
            key: Vec::new(),
            unique_keys: Vec::new(),
            foreign_keys: parents.iter().map(key).collect(),
            rows_estimated: 0,
            excluded: None,
        }
    }

    fn filter(table: &str, peers: &[&str], follow: bool) -> Filter {
        Filter {
            table: TableName::new(table).unwrap(),
            peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
            condition: format!("{table}_is_ours"),
            follow,
        }
    }

    fn names(scope: &PeerScope) -> Vec<&str> {
        scope.tables().map(|(name, _)| name.as_str()).collect()
    }

    fn shop() -> Schema {
        Schema::new([
            table("business", &[]),
            table("orders", &["business", "orders"]),
            table("lines", &["orders", "products"]),
            table("products", &[]),
        ])
    }

    #[test]
    fn a_filter_reaches_children_and_theirs_where_it_follows() {
        let peer = "STORE-001".parse().unwrap();
        let scope = PeerScope::derive(&shop(), &[filter("business", &[], true)], &peer);
        assert_eq!(names(&scope), ["business", "lines", "orders"]);
        let orders = scope.of(&TableName::new("orders").unwrap()).unwrap();
        assert_eq!(orders.parents.iter().map(|key| key.target.as_str()).collect::<Vec<_>>(), ["business"]);
        assert!(orders.conditions.is_empty());
        let lines = scope.of(&TableName::new("lines").unwrap()).unwrap();
        assert_eq!(lines.parents.iter().map(|key| key.target.as_str()).collect::<Vec<_>>(), ["orders"]);
    }

    #[test]
    fn a_filter_that_does_not_follow_stays_with_its_table() {
        let peer = "STORE-001".parse().unwrap();
        let scope = PeerScope::derive(&shop(), &[filter("business", &["STORE-001"], false)], &peer);
        assert_eq!(names(&scope), ["business"]);
    }

    #[test]
    fn a_mark_tells_scopes_apart_and_reads_back() {
        let peer = "STORE-001".parse().unwrap();
        let mark = |filters: &[Filter]| PeerScope::derive(&shop(), filters, &peer).mark();
        let (one, other) = (mark(&[filter("business", &[], true)]), mark(&[filter("business", &[], false)]));
        assert_eq!(ScopeMark::from_lines(&one.to_lines()), Some(one.clone()));
        assert_eq!(ScopeMark::from_lines("business"), None);
        assert!(one.frees(&other) && !other.frees(&one) && !ScopeMark::default().frees(&one));
        let changed = Filter { condition: "true".to_owned(), ..filter("business", &[], false) };
        assert!(mark(std::slice::from_ref(&changed)) != other && !other.frees(&mark(&[changed])));
    }

    #[test]
    fn filters_of_other_peers_and_of_tables_that_are_not_here_say_nothing() {
        let peer = "STORE-001".parse().unwrap();
        let filters = [filter("business", &["STORE-002"], true), filter("tills", &[], true)];
        assert!(PeerScope::derive(&shop(), &filters, &peer).is_whole());
    }
}
