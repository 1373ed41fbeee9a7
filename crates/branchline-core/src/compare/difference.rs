//! What differs between two sides: buckets first, then rows.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::{BucketHash, RowDigest, TableHashes};
use crate::limits::COMPARE_ROWS_NAMED;

/// Rows of one exchange of digests at the most.
const GROUP_ROWS_MAX: u64 = 5_000;

/// How one row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The other side has it.
    MissingHere,
    /// This side has it.
    MissingThere,
    /// Both have it, with other values.
    Different,
}

/// What differs in one table: all counted, the first ones of each class named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableDifference {
    /// Rows that only the other side has.
    pub missing_here: u64,
    /// Rows that only this side has.
    pub missing_there: u64,
    /// Rows with other values.
    pub different: u64,
    /// The first rows that differ, by key.
    pub named: Vec<(Difference, String)>,
}

impl TableDifference {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing_here + self.missing_there + self.different == 0
    }

    /// Takes in one group of rows of both sides, each sorted by key.
    pub fn add(&mut self, here: &[RowDigest], there: &[RowDigest]) {
        let (mut here, mut there) = (here.iter().peekable(), there.iter().peekable());
        loop {
            let order = match (here.peek(), there.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.key.cmp(&b.key),
            };
            match order {
                Ordering::Less => self.count(Difference::MissingThere, here.next()),
                Ordering::Greater => self.count(Difference::MissingHere, there.next()),
                Ordering::Equal => {
                    let (row, other) = (here.next(), there.next());
                    if row.map(|row| row.digest) != other.map(|row| row.digest) {
                        self.count(Difference::Different, row);
                    }
                }
            }
        }
    }

    fn count(&mut self, difference: Difference, row: Option<&RowDigest>) {
        let counted = match difference {
            Difference::MissingHere => &mut self.missing_here,
            Difference::MissingThere => &mut self.missing_there,
            Difference::Different => &mut self.different,
        };
        *counted += 1;
        if let Some(row) = row.filter(|_| *counted <= COMPARE_ROWS_NAMED) {
            self.named.push((difference, row.key.clone()));
        }
    }
}

/// The keys of the rows here that the other side lacks or has with other values; each side is sorted by key.
#[must_use]
pub fn ours_that_differ(here: &[RowDigest], there: &[RowDigest]) -> BTreeSet<String> {
    let is_there = |row: &&RowDigest| there.binary_search(row).is_ok();
    here.iter().filter(|row| !is_there(row)).map(|row| row.key.clone()).collect()
}

/// The numbers of the buckets that differ, each with the larger of its two counts.
#[must_use]
pub fn differing_buckets(here: &TableHashes, there: &TableHashes) -> Vec<(u32, u64)> {
    let empty = BucketHash::default();
    let buckets = here.buckets.len().max(there.buckets.len());
    (0..buckets)
        .filter_map(|number| {
            let a = here.buckets.get(number).unwrap_or(&empty);
            let b = there.buckets.get(number).unwrap_or(&empty);
            (a != b).then(|| (u32::try_from(number).unwrap_or(u32::MAX), a.rows.max(b.rows)))
        })
        .collect()
}

/// Buckets in groups whose rows fit into one exchange; a bucket that is larger by itself is a group of its own.
#[must_use]
pub fn groups_of(buckets: &[(u32, u64)]) -> Vec<Vec<u32>> {
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut rows_in_last = u64::MAX;
    for &(bucket, rows) in buckets {
        match groups.last_mut() {
            Some(last) if rows_in_last.saturating_add(rows) <= GROUP_ROWS_MAX => {
                last.push(bucket);
                rows_in_last += rows;
            }
            _ => {
                groups.push(vec![bucket]);
                rows_in_last = rows;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn row(key: &str, value: &str) -> RowDigest {
        RowDigest { key: key.to_owned(), digest: Digest::of(value.as_bytes()) }
    }

    fn hashes(rows: &[&[&str]]) -> TableHashes {
        let bucket = |rows: &&[&str]| {
            let mut bucket = BucketHash::default();
            rows.iter().for_each(|row| bucket.add(Digest::of(row.as_bytes())));
            bucket
        };
        let buckets: Vec<_> = rows.iter().map(bucket).collect();
        TableHashes { rows: buckets.iter().map(|bucket| bucket.rows).sum(), buckets }
    }

    #[test]
    fn every_row_that_differs_is_counted_and_named() {
        let mut difference = TableDifference::default();
        difference.add(
            &[row("1", "a"), row("2", "b"), row("4", "d")],
            &[row("2", "x"), row("3", "c"), row("4", "d")],
        );
        assert_eq!((difference.missing_there, difference.different, difference.missing_here), (1, 1, 1));
        let named: Vec<_> = difference.named.iter().map(|(how, key)| (*how, key.as_str())).collect();
        let expected =
            [(Difference::MissingThere, "1"), (Difference::Different, "2"), (Difference::MissingHere, "3")];
        assert_eq!(named, expected);
    }

    #[test]
    fn ours_that_differ_are_those_that_the_other_side_lacks_or_has_otherwise() {
        let ours = ours_that_differ(
            &[row("1", "a"), row("2", "b"), row("4", "d")],
            &[row("2", "x"), row("3", "c"), row("4", "d")],
        );
        assert_eq!(ours, BTreeSet::from(["1".to_owned(), "2".to_owned()]));
    }

    #[test]
    fn naming_is_bounded_and_counting_is_not() {
        let rows: Vec<_> = (0..COMPARE_ROWS_NAMED + 1).map(|i| row(&format!("{i:05}"), "")).collect();
        let mut difference = TableDifference::default();
        difference.add(&rows, &[]);
        assert_eq!(difference.named.len() as u64, COMPARE_ROWS_NAMED);
        assert_eq!(difference.missing_there, COMPARE_ROWS_NAMED + 1);
    }

    #[test]
    fn order_of_rows_does_not_matter_and_values_do() {
        assert_eq!(differing_buckets(&hashes(&[&["a", "b"]]), &hashes(&[&["b", "a"]])), []);
        assert_eq!(differing_buckets(&hashes(&[&["a"], &["c"]]), &hashes(&[&["a"], &["d", "e"]])), [(1, 2)]);
        assert_eq!(differing_buckets(&hashes(&[&[], &["c"]]), &hashes(&[])), [(1, 1)]);
    }

    #[test]
    fn groups_are_bounded() {
        assert_eq!(
            groups_of(&[(0, 4_000), (1, 1_000), (2, 1), (3, 9_000), (4, 1)]),
            [vec![0, 1], vec![2], vec![3], vec![4]]
        );
    }
}
