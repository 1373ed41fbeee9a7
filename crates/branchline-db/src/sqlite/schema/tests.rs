//! The catalogue of a database that uses what SQLite has.

use branchline_core::schema::{ColumnName, LogicalType};

use super::*;

const SHOP: &str = r#"
CREATE TABLE customers (id INTEGER PRIMARY KEY AUTOINCREMENT, "fullName" TEXT NOT NULL, email TEXT COLLATE NOCASE UNIQUE);
CREATE TABLE Orders (
    id TEXT PRIMARY KEY, customerId INTEGER REFERENCES CUSTOMERS ON DELETE CASCADE,
    net REAL NOT NULL, gross REAL GENERATED ALWAYS AS (net * 1.2) VIRTUAL, note TEXT DEFAULT 'none' NOT NULL
);
CREATE TABLE lines (
    "order" TEXT, place INT, code ANY, PRIMARY KEY (place, "order"),
    FOREIGN KEY ("order") REFERENCES orders(ID) ON UPDATE CASCADE
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_open ON Orders (customerId) WHERE net > 0;
CREATE UNIQUE INDEX by_lower ON Orders (lower(note));
CREATE UNIQUE INDEX by_note ON Orders (note, net);
CREATE TABLE log (line TEXT);
CREATE TABLE tags (name TEXT PRIMARY KEY ON CONFLICT REPLACE);
CREATE VIEW open_orders AS SELECT * FROM Orders;
CREATE VIRTUAL TABLE search USING fts5(body);
CREATE TABLE branchline_meta (name TEXT PRIMARY KEY);
CREATE TABLE ""; DROP TABLE x; --" (id INTEGER PRIMARY KEY);
"#;

fn shop() -> Catalogue {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&SHOP.replace("\"\"; DROP", "\"\"\"; DROP")).unwrap();
    read(&connection).unwrap()
}

fn name(text: &str) -> TableName {
    TableName::new(text).unwrap()
}

#[test]
fn tables_are_found_and_what_is_none_is_excluded() {
    let shop = shop();
    let listed: Vec<_> = shop
        .schema
        .tables()
        .map(|table| (table.name.as_str(), table.excluded.as_ref().map(ToString::to_string)))
        .collect();
    let excluded = |reason: &str| Some(reason.to_owned());
    assert_eq!(
        listed,
        [
            ("\"; DROP TABLE x; --", None),
            ("Orders", None),
            ("customers", None),
            ("lines", None),
            ("log", excluded("it has no primary key")),
            ("open_orders", excluded("it is a view, not a table")),
            ("search", excluded("it is a virtual table, not a table")),
            ("tags", None),
        ]
    );
    assert!(shop.find(&name("tags")).unwrap().1.has_conflict_clause);
    assert!(!shop.find(&name("Orders")).unwrap().1.has_conflict_clause);
}

#[test]
fn columns_keep_their_rules() {
    let shop = shop();
    let (orders, _) = shop.find(&name("Orders")).unwrap();
    let columns: Vec<_> = orders
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.nullable, column.has_default, column.generated))
        .collect();
    assert_eq!(
        columns,
        [
            ("id", true, true, false),
            ("customerId", true, true, false),
            ("net", false, false, false),
            ("gross", true, true, true),
            ("note", false, true, false),
        ]
    );
    let (customers, form) = shop.find(&name("customers")).unwrap();
    assert_eq!((customers.columns[0].nullable, customers.columns[0].has_default), (false, true));
    assert_eq!(form.key_collations, [None]);
    assert_eq!(form.unique_collations, [vec!["NOCASE".to_owned()]]);
}

#[test]
fn keys_are_spelled_as_the_catalogue_does() {
    let shop = shop();
    let (orders, _) = shop.find(&name("Orders")).unwrap();
    let unique: Vec<_> =
        orders.unique_keys.iter().map(|key| (key.name.as_str(), key.columns.as_slice())).collect();
    assert_eq!(unique, [("by_note", &[4, 2][..])]);
    let key = &orders.foreign_keys[0];
    assert_eq!(
        (key.name.as_str(), key.target.as_str(), key.cascades),
        ("customerId -> customers", "customers", true)
    );
    assert_eq!(key.target_columns, [ColumnName::new("id").unwrap()]);
    let (lines, form) = shop.find(&name("lines")).unwrap();
    assert_eq!(lines.key, [1, 0]);
    assert_eq!(lines.columns[2].logical_type, LogicalType::Any);
    assert_eq!((lines.foreign_keys[0].target.as_str(), lines.foreign_keys[0].cascades), ("Orders", false));
    assert_eq!(form.cascades_on_update, [true]);
}
