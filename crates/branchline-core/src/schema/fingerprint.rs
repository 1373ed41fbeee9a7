//! A digest of what two servers must agree on about a table before its rows can travel.

use super::Table;
use crate::digest::{Digest, Hasher};

/// Columns by name, so that an order of declaration that differs between two installations does not matter.
pub(super) fn of(table: &Table) -> Digest {
    let mut columns: Vec<_> = table.travelling().collect();
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    let mut hasher = Hasher::default();
    let mut line = |text: &str| {
        hasher.update(text.as_bytes());
        hasher.update(b"\n");
    };
    line(table.name.as_str());
    for column in columns {
        line(&format!("column {} {}", column.name, column.logical_type));
    }
    for name in table.key_names() {
        line(&format!("key {name}"));
    }
    hasher.finish()
}
