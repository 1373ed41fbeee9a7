//! Digests of rows under the types that a pair shares.

use super::RowDigest;
use crate::backup::v1::value_text;
use crate::digest::{Digest, Hasher};
use crate::ports::HashSpec;
use crate::schema::{ColumnName, LogicalType, Table};
use crate::value::{Value, convert, plain_decimal, write_canonical};

/// Takes rows of one table, with values in the order of [`RowHasher::columns`].
#[derive(Debug)]
pub struct RowHasher {
    columns: Vec<HashedColumn>,
    key: Vec<usize>,
    mask: u32,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct HashedColumn {
    name: ColumnName,
    own: LogicalType,
    shared: LogicalType,
}

/// The digest of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// The row's bucket.
    pub bucket: u32,
    /// The row's digest.
    pub digest: Digest,
}

impl RowHasher {
    /// A hasher of `table`'s rows; nothing where the table lacks a column of the spec, or
    /// leaves it out.
    #[must_use]
    pub fn new(spec: &HashSpec, table: &Table) -> Option<Self> {
        let column = |(name, shared): &(ColumnName, LogicalType)| {
            let column = &table.columns[table.position(name)?];
            // Whoever asks for one that is left out here gets no hash of it.
            let own = (!column.omitted).then(|| column.logical_type.clone())?;
            Some(HashedColumn { name: name.clone(), own, shared: shared.clone() })
        };
        let columns = spec.columns.iter().map(column).collect::<Option<Vec<_>>>()?;
        let place = |name: &ColumnName| columns.iter().position(|column| column.name == *name);
        let key = spec.key.iter().map(place).collect::<Option<Vec<_>>>()?;
        if key.is_empty() || !spec.buckets.is_power_of_two() {
            return None;
        }
        Some(Self { columns, key, mask: spec.buckets - 1, scratch: Vec::new() })
    }

    /// The columns to read, in the order in which [`RowHasher::row`] takes them.
    pub fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        self.columns.iter().map(|column| &column.name)
    }

    /// The bucket and digest of one row.
    pub fn row(&mut self, values: &[Value<'_>]) -> Hashed {
        self.scratch.clear();
        for index in 0..self.key.len() {
            let place = self.key[index];
            self.write(place, &values[place]);
        }
        let key = Digest::of(&self.scratch);
        let first = key.as_bytes();
        let bucket = u32::from_le_bytes([first[0], first[1], first[2], first[3]]) & self.mask;
        self.scratch.clear();
        for (place, value) in values.iter().enumerate() {
            self.write(place, value);
        }
        let mut hasher = Hasher::default();
        hasher.update(&self.scratch);
        Hashed { bucket, digest: hasher.finish() }
    }

    /// The row's key in words, with its digest: the same words on both sides, whatever the types of their columns.
    #[must_use]
    pub fn describe(&self, values: &[Value<'_>], digest: Digest) -> RowDigest {
        let text = |&place: &usize| {
            let HashedColumn { own, shared, .. } = &self.columns[place];
            match convert(values[place].clone(), own, shared) {
                Ok(Value::Text(text)) if matches!(shared, LogicalType::Decimal(_)) => {
                    value_text(&Value::Text(plain_decimal(&text).into()), shared)
                }
                Ok(value) => value_text(&value, shared),
                Err(_) => value_text(&values[place], own),
            }
        };
        RowDigest { key: self.key.iter().map(text).collect::<Vec<_>>().join(","), digest }
    }

    /// A value that does not fit the shared type is hashed as it is: it then counts as different, which it is.
    fn write(&mut self, place: usize, value: &Value<'_>) {
        let column = &self.columns[place];
        let start = self.scratch.len();
        if write_canonical(value.clone(), &column.own, &column.shared, &mut self.scratch).is_err() {
            self.scratch.truncate(start);
            self.scratch.push(0xff);
            self.scratch.extend(value_text(value, &column.own).into_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Column, TableName};

    fn table(logical_type: &LogicalType) -> Table {
        let column = Column {
            name: ColumnName::new("id").unwrap(),
            logical_type: logical_type.clone(),
            native_type: String::new(),
            nullable: false,
            has_default: false,
            generated: false,
            omitted: false,
        };
        let name = TableName::new("t").unwrap();
        let (unique_keys, foreign_keys) = (Vec::new(), Vec::new());
        Table {
            name,
            columns: vec![column],
            key: vec![0],
            unique_keys,
            foreign_keys,
            rows_estimated: 0,
            excluded: None,
        }
    }

    fn described(own: &LogicalType, shared: &LogicalType, value: Value<'_>) -> (Hashed, String) {
        let name = ColumnName::new("id").unwrap();
        let columns = vec![(name.clone(), shared.clone())];
        let spec = HashSpec {
            table: TableName::new("t").unwrap(),
            columns,
            key: vec![name],
            buckets: 16,
            scope: crate::scope::PeerScope::default(),
        };
        let mut hasher = RowHasher::new(&spec, &table(own)).unwrap();
        let hashed = hasher.row(std::slice::from_ref(&value));
        (hashed, hasher.describe(&[value], hashed.digest).key)
    }

    #[test]
    fn equal_keys_have_one_digest_and_one_name_whatever_their_columns() {
        use LogicalType as T;
        let text = |text: &'static str| Value::Text(text.into());
        let decimal = |scale| T::Decimal(Some((10, scale)));
        let shared = T::Decimal(None);
        assert_eq!(described(&decimal(2), &shared, text("1.10")), described(&T::Text, &shared, text("1.1")));
        let (boolean, integer) = (Value::Boolean(true), Value::Integer(1));
        assert_eq!(described(&T::Boolean, &T::Int64, boolean), described(&T::Int64, &T::Int64, integer));
    }
}
