//! A small shop: a catalogue that all servers have from the head office, and each store's own people and sales.
//!
//! The statements are those that SQLite and PostgreSQL share; only the names of a few types differ. The data are made
//! from a counter, so every run is the same.

use std::fmt::Write as _;
use std::path::Path;

use branchline_core::code::Code;

use super::private_postgres::PrivatePostgres;
use crate::api::v1::Problem;
use crate::settings::DatabaseUrl;

/// Products of the catalogue.
const PRODUCTS: usize = 40;
/// Orders of a store.
const ORDERS: usize = 120;
/// Customers of a store.
const CUSTOMERS: usize = 25;
/// Orders of a store on the day of trade.
const ORDERS_OF_THE_DAY: usize = 40;

/// The day on which what is there at first was sold.
const FIRST_DAY: &str = "2025-12-06";
/// The day of trade.
pub(super) const DAY_OF_TRADE: &str = "2025-12-07";
/// What the close of a day counts, as it stands in the settings of each server.
pub(super) const DAY_SETTINGS: &str = r#"
[[day]]
table = "orders"
date = "created_at"
money = ["total"]
only = ["shop_id={shop}"]

[[day]]
table = "payments"
date = "paid_at"
money = ["amount"]
only = ["shop_id={shop}"]
"#;

const SCHEMA: &str = r#"
CREATE TABLE shops (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, manager_id TEXT,
  FOREIGN KEY (manager_id) REFERENCES employees (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE employees (id TEXT PRIMARY KEY, shop_id TEXT NOT NULL REFERENCES shops (id), "fullName" TEXT NOT NULL,
  hourly_rate {decimal} NOT NULL, active BOOLEAN NOT NULL, hired_on {date} NOT NULL);
CREATE TABLE categories (id TEXT PRIMARY KEY, parent_id TEXT REFERENCES categories (id), name TEXT NOT NULL, emoji TEXT);
CREATE TABLE products (id TEXT PRIMARY KEY, category_id TEXT NOT NULL REFERENCES categories (id), sku TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL, price {decimal} NOT NULL, weight_kg {float}, attributes {json}, "updatedAt" {timestamp} NOT NULL);
CREATE TABLE customers (id TEXT PRIMARY KEY, shop_id TEXT NOT NULL REFERENCES shops (id), name TEXT NOT NULL, phone TEXT,
  balance {decimal} NOT NULL, notes TEXT);
CREATE TABLE orders (id TEXT PRIMARY KEY, shop_id TEXT NOT NULL REFERENCES shops (id), customer_id TEXT REFERENCES customers (id),
  employee_id TEXT NOT NULL REFERENCES employees (id), order_number TEXT NOT NULL, total {decimal} NOT NULL,
  created_at {timestamp} NOT NULL, UNIQUE (shop_id, order_number));
CREATE TABLE order_items (order_id TEXT NOT NULL REFERENCES orders (id), line INTEGER NOT NULL,
  product_id TEXT NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL, unit_price {decimal} NOT NULL,
  PRIMARY KEY (order_id, line));
CREATE TABLE payments (id TEXT PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders (id), method TEXT NOT NULL,
  amount {decimal} NOT NULL, reference TEXT, paid_at {timestamp} NOT NULL,
  shop_id TEXT NOT NULL REFERENCES shops (id));
"#;

/// The shop of one server; number 0 is the head office, which sells nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shop {
    pub(super) store: usize,
}

/// Names of a type in the two engines.
const SQLITE_TYPES: [(&str, &str); 5] = [
    ("{decimal}", "DECIMAL TEXT"),
    ("{date}", "DATE TEXT"),
    ("{timestamp}", "TIMESTAMPTZ TEXT"),
    ("{float}", "REAL"),
    ("{json}", "TEXT"),
];
const POSTGRES_TYPES: [(&str, &str); 5] = [
    ("{decimal}", "numeric(12,2)"),
    ("{date}", "date"),
    ("{timestamp}", "timestamptz"),
    ("{float}", "double precision"),
    ("{json}", "jsonb"),
];

impl Shop {
    /// Makes the database with everything in it; answers its URL and how many rows it has.
    pub(super) async fn create(
        self,
        folder: &Path,
        id: &str,
        postgres: Option<&PrivatePostgres>,
    ) -> Result<(DatabaseUrl, u64), Problem> {
        let (data, rows) = self.data();
        match postgres {
            Some(postgres) => {
                let url = postgres.create_database(&id.to_lowercase().replace('-', "_")).await?;
                postgres
                    .execute(&url, &format!("{}BEGIN;{data}COMMIT;", with_types(&POSTGRES_TYPES)))
                    .await?;
                Ok((DatabaseUrl::new(url), rows))
            }
            None => {
                let file = folder.join(format!("{id}.db"));
                let failed = |error: rusqlite::Error| Problem::new(Code::DATABASE_FAILED, error.to_string());
                let connection = rusqlite::Connection::open(&file).map_err(failed)?;
                let script =
                    format!("PRAGMA journal_mode=WAL; BEGIN;{}{data}COMMIT;", with_types(&SQLITE_TYPES));
                connection.execute_batch(&script).map_err(failed)?;
                Ok((DatabaseUrl::new(format!("sqlite:{}", file.display())), rows))
            }
        }
    }

    /// A day in the shop: sales, corrections, and an order that is taken back. Both stores set one price, so that there is
    /// a conflict to decide.
    pub(super) async fn trade(
        self,
        url: &DatabaseUrl,
        postgres: Option<&PrivatePostgres>,
    ) -> Result<(), Problem> {
        let script = self.day_of_trade();
        match postgres {
            Some(postgres) => {
                postgres.execute(url.expose_url(), &format!("BEGIN;{}COMMIT;", script.text)).await
            }
            None => {
                let failed = |error: rusqlite::Error| Problem::new(Code::DATABASE_FAILED, error.to_string());
                let path = url.expose_url().trim_start_matches("sqlite:");
                let connection = rusqlite::Connection::open(path).map_err(failed)?;
                let pragmas = "PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000;";
                connection.execute_batch(pragmas).map_err(failed)?;
                connection.execute_batch(&format!("BEGIN IMMEDIATE;{}COMMIT;", script.text)).map_err(failed)
            }
        }
    }

    fn day_of_trade(self) -> Script {
        let mut script = Script::default();
        let store = self.store;
        (ORDERS..ORDERS + ORDERS_OF_THE_DAY).for_each(|order| self.order(&mut script, order, DAY_OF_TRADE));
        let taken_back = format!("ord-{store}-0005");
        for statement in [
            format!(
                "UPDATE customers SET balance = '{store}5.50', notes = 'paid' WHERE id = 'cust-{store}-3'"
            ),
            format!("UPDATE employees SET active = false WHERE id = 'emp-{store}-2'"),
            format!("UPDATE products SET price = '{store}.99' WHERE id = 'prod-00{store}'"),
            format!("UPDATE products SET price = '{store}9.90' WHERE id = 'prod-005'"),
            format!("DELETE FROM payments WHERE order_id = '{taken_back}'"),
            format!("DELETE FROM order_items WHERE order_id = '{taken_back}'"),
            format!("DELETE FROM orders WHERE id = '{taken_back}'"),
        ] {
            let _ = writeln!(script.text, "{statement};");
        }
        script
    }

    fn data(self) -> (String, u64) {
        let mut script = Script::default();
        catalogue(&mut script);
        if self.store > 0 {
            self.people(&mut script);
            (0..ORDERS).for_each(|order| self.order(&mut script, order, FIRST_DAY));
        }
        (script.text, script.rows)
    }

    fn people(self, script: &mut Script) {
        let store = self.store;
        script.insert("shops", &format!("'shop-{store}','Store {store}',NULL"));
        for person in 0..4 {
            let name = ["Tendai Moyo", "Ayşe Öztürk", "Rudo O''Brien", "Zoë Ncube"][person];
            let rate = format!("{}.{:02}", 3 + person, 25 * person % 100);
            script.insert(
                "employees",
                &format!(
                    "'emp-{store}-{person}','shop-{store}','{name}','{rate}',{},'2021-0{}-28'",
                    person != 3,
                    person + 1
                ),
            );
        }
        let _ =
            writeln!(script.text, "UPDATE shops SET manager_id = 'emp-{store}-0' WHERE id = 'shop-{store}';");
        for customer in 0..CUSTOMERS {
            let cents = number(store * 7 + customer, 9_000);
            let note = if customer % 5 == 0 { "'calls before delivery; \"blue gate\"'" } else { "NULL" };
            let phone = format!("+26377{store}{customer:05}");
            script.insert(
                "customers",
                &format!(
                    "'cust-{store}-{customer}','shop-{store}','Customer {customer}','{phone}','{}',{note}",
                    money(cents)
                ),
            );
        }
    }

    fn order(self, script: &mut Script, order: usize, day: &str) {
        let store = self.store;
        let lines = 1 + order % 3;
        let line = |line: usize| {
            let product = number(order * 31 + line * 7 + store, PRODUCTS);
            (product, 1 + (order + line) % 4, price_cents(product))
        };
        let total: usize = (0..lines).map(line).map(|(_, quantity, cents)| quantity * cents).sum();
        let at = format!("{day}T{:02}:{:02}:{:02}Z", 7 + order % ORDERS / 12, order % 12 * 5, order % 60);
        let customer = if order.is_multiple_of(3) {
            format!("'cust-{store}-{}'", order % CUSTOMERS)
        } else {
            "NULL".to_owned()
        };
        script.insert(
            "orders",
            &format!(
                "'ord-{store}-{order:04}','shop-{store}',{customer},'emp-{store}-{}','ORD-{order:06}','{}','{at}'",
                order % 4,
                money(total)
            ),
        );
        for (place, (product, quantity, cents)) in (0..lines).map(line).enumerate() {
            let price = money(cents);
            script.insert(
                "order_items",
                &format!("'ord-{store}-{order:04}',{},'prod-{product:03}',{quantity},'{price}'", place + 1),
            );
        }
        let method = ["cash", "card", "mobile_money"][order % 3];
        let reference =
            if method == "cash" { "NULL".to_owned() } else { format!("'REF{:06X}'", order * 7919) };
        script.insert(
            "payments",
            &format!(
                "'pay-{store}-{order:04}','ord-{store}-{order:04}','{method}','{}',{reference},'{at}','shop-{store}'",
                money(total)
            ),
        );
    }
}

fn catalogue(script: &mut Script) {
    for (place, (name, emoji)) in
        [("Food", "🍞"), ("Hardware", "🔩"), ("Clothing", "👕"), ("Bakery", "🥐"), ("Tools", "🔨")]
            .iter()
            .enumerate()
    {
        let parent = if place < 3 { "NULL".to_owned() } else { format!("'cat-{}'", place - 3) };
        script.insert("categories", &format!("'cat-{place}',{parent},'{name}','{emoji}'"));
    }
    for product in 0..PRODUCTS {
        let weight = if product % 4 == 0 {
            "NULL".to_owned()
        } else {
            format!("{}.{:03}", product % 3, product * 37 % 1000)
        };
        let attributes = format!(r#"'{{"size":{},"perishable":{}}}'"#, product % 7, product % 2 == 0);
        let price = money(price_cents(product));
        script.insert(
            "products",
            &format!(
                "'prod-{product:03}','cat-{}','SKU-{product:05}','Product {product}','{price}',{weight},{attributes},'2025-12-01T06:00:00Z'",
                product % 5
            ),
        );
    }
}

/// Statements, and how many rows they make.
#[derive(Default)]
struct Script {
    text: String,
    rows: u64,
}

impl Script {
    fn insert(&mut self, table: &str, values: &str) {
        let _ = writeln!(self.text, "INSERT INTO {table} VALUES ({values});");
        self.rows += 1;
    }
}

fn with_types(types: &[(&str, &str)]) -> String {
    let mut schema = SCHEMA.to_owned();
    // PostgreSQL wants a table to exist before a foreign key names it.
    let cycle = ", manager_id TEXT,\n  FOREIGN KEY (manager_id) REFERENCES employees (id) DEFERRABLE INITIALLY DEFERRED)";
    if types == POSTGRES_TYPES {
        schema = schema.replace(cycle, ", manager_id TEXT)");
        schema.push_str("ALTER TABLE shops ADD FOREIGN KEY (manager_id) REFERENCES employees (id) DEFERRABLE INITIALLY DEFERRED;\n");
    }
    types.iter().fold(schema, |schema, (name, engine)| schema.replace(name, engine))
}

/// A number below `bound` that looks like chance and is not.
fn number(seed: usize, bound: usize) -> usize {
    (seed.wrapping_mul(2_654_435_761) >> 7) % bound
}

fn price_cents(product: usize) -> usize {
    50 + number(product + 11, 4_000)
}

fn money(cents: usize) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
