//! The order in which tables are written: parents before children, cycles together.
//!
//! Tables that reach each other by foreign keys form one group (a strongly connected component, Tarjan 1972);
//! groups come out so that a foreign key points into its own group or an earlier one. Among groups that are
//! free to go first, the name decides, so that the same schema always gives the same order.

use std::collections::BTreeMap;

use super::{Table, TableName};

/// Tables that must be written together; one table, where no cycle of foreign keys goes through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableGroup {
    /// Their names, sorted.
    pub tables: Vec<TableName>,
}

/// Groups of tables, parents before children. A foreign key to a table that is not among them does not count.
#[must_use]
pub fn parents_first<'a>(tables: impl IntoIterator<Item = &'a Table>) -> Vec<TableGroup> {
    let by_name: BTreeMap<&TableName, &Table> =
        tables.into_iter().map(|table| (&table.name, table)).collect();
    let place: BTreeMap<&TableName, usize> = by_name.keys().enumerate().map(|(i, name)| (*name, i)).collect();
    let edges: Vec<Vec<usize>> = by_name
        .values()
        .map(|table| {
            let mut parents: Vec<usize> =
                table.foreign_keys.iter().filter_map(|key| place.get(&key.target).copied()).collect();
            parents.sort_unstable();
            parents.dedup();
            parents
        })
        .collect();
    let names: Vec<&TableName> = by_name.into_keys().collect();
    components(&edges)
        .into_iter()
        .map(|mut members| {
            members.sort_unstable();
            TableGroup { tables: members.into_iter().map(|i| names[i].clone()).collect() }
        })
        .collect()
}

/// What Tarjan's algorithm knows of a node.
#[derive(Clone, Copy)]
struct Mark {
    index: usize,
    low: usize,
    on_stack: bool,
}

/// Strongly connected components, each after all that it points at. Without recursion: a chain of 10,000
/// tables must not end the stack.
fn components(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut marks: Vec<Option<Mark>> = vec![None; edges.len()];
    let mut stack = Vec::new();
    let mut found = Vec::new();
    let mut next_index = 0;
    for root in 0..edges.len() {
        if marks[root].is_some() {
            continue;
        }
        let mut visits = vec![(root, 0)];
        while let Some(&mut (node, ref mut next_edge)) = visits.last_mut() {
            if marks[node].is_none() {
                marks[node] = Some(Mark { index: next_index, low: next_index, on_stack: true });
                next_index += 1;
                stack.push(node);
            }
            if let Some(&target) = edges[node].get(*next_edge) {
                *next_edge += 1;
                match marks[target] {
                    None => visits.push((target, 0)),
                    Some(mark) if mark.on_stack => lower(&mut marks, node, mark.index),
                    Some(_) => {}
                }
                continue;
            }
            visits.pop();
            let Some(mark) = marks[node] else { continue };
            if let Some(&(parent, _)) = visits.last() {
                lower(&mut marks, parent, mark.low);
            }
            if mark.low == mark.index {
                found.push(pop_component(&mut stack, &mut marks, node));
            }
        }
    }
    found
}

fn lower(marks: &mut [Option<Mark>], node: usize, low: usize) {
    if let Some(mark) = &mut marks[node] {
        mark.low = mark.low.min(low);
    }
}

fn pop_component(stack: &mut Vec<usize>, marks: &mut [Option<Mark>], root: usize) -> Vec<usize> {
    let mut members = Vec::new();
    while let Some(node) = stack.pop() {
        if let Some(mark) = &mut marks[node] {
            mark.on_stack = false;
        }
        members.push(node);
        if node == root {
            break;
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ForeignKey;

    fn table(name: &str, parents: &[&str]) -> Table {
        let key = |parent: &&str| ForeignKey {
            name: format!("{name}_{parent}"),
            columns: vec![],
            target: TableName::new(*parent).unwrap(),
            target_columns: vec![],
            deferrable: false,
            cascades: false,
        };
        Table {
            name: TableName::new(name).unwrap(),
            columns: vec![],
            key: vec![],
            unique_keys: vec![],
            foreign_keys: parents.iter().map(key).collect(),
            rows_estimated: 0,
            excluded: None,
        }
    }

    fn order(tables: &[Table]) -> Vec<String> {
        let join =
            |group: TableGroup| group.tables.iter().map(TableName::as_str).collect::<Vec<_>>().join("+");
        parents_first(tables).into_iter().map(join).collect()
    }

    #[test]
    fn parents_come_before_children() {
        let tables = [
            table("a_items", &["orders", "products"]),
            table("orders", &["shops"]),
            table("products", &[]),
            table("shops", &[]),
        ];
        assert_eq!(order(&tables), ["shops", "orders", "products", "a_items"]);
    }

    #[test]
    fn a_cycle_and_a_self_reference_stay_together() {
        let tables = [
            table("businesses", &["employees"]),
            table("employees", &["businesses", "employees"]),
            table("orders", &["employees", "elsewhere"]),
        ];
        assert_eq!(order(&tables), ["businesses+employees", "orders"]);
    }

    #[test]
    fn a_long_chain_does_not_end_the_stack() {
        let tables: Vec<Table> =
            (0..10_000).map(|i| table(&format!("t{i:05}"), &[&format!("t{:05}", i + 1)])).collect();
        let ordered = order(&tables);
        assert_eq!(ordered.len(), 10_000);
        assert_eq!(ordered[0], "t09999");
    }
}
