//! What the catalogue says, in the words of the core.

use branchline_core::schema::{ColumnName, Exclusion, Schema, Table};
use branchline_testkit::database::{TestBackup, table_name, worked};

use super::database::{TestDatabase, has_negative_scales};

async fn schema(sql: &str) -> Schema {
    worked(TestDatabase::with(sql).await.open().await.schema().await)
}

fn table<'s>(schema: &'s Schema, name: &str) -> &'s Table {
    schema.table(&table_name(name)).unwrap_or_else(|| panic!("no table {name}"))
}

fn types(table: &Table) -> Vec<(String, String)> {
    table.columns.iter().map(|column| (column.name.to_string(), column.logical_type.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_have_logical_types() {
    let schema = schema(
        "CREATE TYPE mood AS ENUM ('sad'); CREATE DOMAIN inner_price AS numeric(8,2); CREATE DOMAIN price AS inner_price NOT NULL;
         CREATE TYPE pair AS (a int);
         CREATE TABLE t (id bigint PRIMARY KEY, d price, e mood, es mood[], p pair, r int4range, n numeric(3,2),
                         b box[], dates price[], c char(3), x xml, j json, jb jsonb[], i interval(0))",
    )
    .await;
    let expected = [
        ("id", "int64"),
        ("d", "decimal(8,2)"),
        ("e", "enum"),
        ("es", "array<enum>"),
        ("p", "native:public.pair"),
        ("r", "native:int4range"),
        ("n", "decimal(3,2)"),
        ("b", "native:box[]"),
        ("dates", "array<decimal(8,2)>"),
        ("c", "text"),
        ("x", "native:xml"),
        ("j", "json"),
        ("jb", "array<jsonb>"),
        ("i", "interval"),
    ];
    let table = table(&schema, "t");
    assert_eq!(types(table), expected.map(|(name, logical)| (name.to_owned(), logical.to_owned())));
    assert!(!table.columns[1].nullable, "a domain's NOT NULL counts");
    assert_eq!(table.columns[1].native_type, "public.price");
    assert_eq!(table.excluded, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_negative_scale_is_told_where_the_server_has_it() {
    if !has_negative_scales().await {
        return; // Before version 15 no column can have one.
    }
    let schema = schema("CREATE TABLE t (id int PRIMARY KEY, n numeric(3,-2))").await;
    assert_eq!(types(table(&schema, "t"))[1].1, "decimal(3,-2)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_defaults_and_computed_columns_are_told() {
    let schema = schema(
        r#"CREATE TABLE parents (a int, "B" int, PRIMARY KEY ("B", a));
           CREATE TABLE children (
             id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, serial serial, a int NOT NULL, b int DEFAULT 5, code text NOT NULL UNIQUE,
             twice int GENERATED ALWAYS AS (a * 2) STORED,
             CONSTRAINT "to Parents" FOREIGN KEY (b, a) REFERENCES parents ("B", a) ON DELETE SET NULL DEFERRABLE);
           CREATE UNIQUE INDEX covering ON children (a) INCLUDE (b);
           CREATE UNIQUE INDEX partial ON children (b) WHERE b > 0;
           CREATE UNIQUE INDEX computed ON children (lower(code));"#,
    )
    .await;
    let children = table(&schema, "children");
    let flags: Vec<_> = children.columns.iter().map(|c| (c.nullable, c.has_default, c.generated)).collect();
    let (needed, given) = ((false, false, false), (false, true, false));
    assert_eq!(flags, [given, given, needed, (true, true, false), needed, (true, true, true)]);
    let unique: Vec<_> =
        children.unique_keys.iter().map(|key| (key.name.as_str(), key.columns.as_slice())).collect();
    assert_eq!(unique, [("children_code_key", &[4][..]), ("covering", &[2][..])]);
    let key = &children.foreign_keys[0];
    assert_eq!((key.name.as_str(), key.columns.as_slice()), ("to Parents", &[3, 2][..]));
    let name = |text| ColumnName::new(text).unwrap();
    assert_eq!(
        (key.target.as_str(), key.target_columns.as_slice()),
        ("parents", &[name("B"), name("a")][..])
    );
    assert!(key.deferrable && key.cascades);
    let parents: Vec<_> = table(&schema, "parents").key_names().map(ColumnName::as_str).collect();
    assert_eq!(parents, ["B", "a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_sync_says_why() {
    let schema = schema(
        "CREATE TABLE keyless (a int); CREATE VIEW v AS SELECT 1 AS a; CREATE MATERIALIZED VIEW m AS SELECT 1 AS a;
         CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY); CREATE TABLE \"shop.orders\" (id int PRIMARY KEY);
         CREATE TEMP TABLE passing (id int PRIMARY KEY); CREATE TABLE \"a\tb\" (id int PRIMARY KEY)",
    )
    .await;
    let reason = |name: &str| table(&schema, name).excluded.clone().expect("excluded");
    assert_eq!(reason("keyless"), Exclusion::NoPrimaryKey);
    assert_eq!(reason("v"), Exclusion::NotATable { what: "a view".to_owned() });
    assert_eq!(reason("m"), Exclusion::NotATable { what: "a materialized view".to_owned() });
    assert_eq!(reason("shop.orders"), Exclusion::AmbiguousName);
    assert_eq!(schema.tables().count(), 4, "neither temporary tables nor names with control characters");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_every_schema_are_found_under_names_that_differ() {
    let database = TestDatabase::with(
        r#"CREATE SCHEMA "Head Office"; CREATE TABLE "Head Office"."orderItems" (id int PRIMARY KEY);
           CREATE TABLE "orderItems" (id int PRIMARY KEY);
           CREATE TABLE """; DROP TABLE x; --" ("a""b" int PRIMARY KEY, "$v" text, "a b" int);
           CREATE TABLE "оrders" (id int PRIMARY KEY); CREATE TABLE "orders" (id int PRIMARY KEY);
           INSERT INTO """; DROP TABLE x; --" VALUES (1, '$', 2); INSERT INTO "оrders" VALUES (7);"#,
    )
    .await;
    let port = database.open().await;
    let schema = worked(port.schema().await);
    let names: Vec<_> = schema.syncable().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["\"; DROP TABLE x; --", "Head Office.orderItems", "orderItems", "orders", "оrders"]);
    let backup = TestBackup::of(&*port).await;
    let rows: Vec<_> = backup.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    assert!(
        rows.contains(&("\"; DROP TABLE x; --", 1))
            && rows.contains(&("оrders", 1))
            && rows.contains(&("orders", 0))
    );
    worked(backup.apply(&*port).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_schema_is_the_first_of_the_search_path() {
    let database = TestDatabase::with(
        "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY); CREATE TABLE public.orders (id int PRIMARY KEY)",
    )
    .await;
    database.execute(&format!("ALTER DATABASE {} SET search_path = shop, public", database.name)).await;
    let schema = worked(database.open().await.schema().await);
    let names: Vec<_> = schema.tables().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["orders", "public.orders"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_table_is_one_table() {
    let sql = "CREATE TABLE shops (id int PRIMARY KEY);
               CREATE TABLE sales (id int, day date, shop int REFERENCES shops (id), PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
               CREATE TABLE sales_2024 PARTITION OF sales FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
               CREATE TABLE sales_rest PARTITION OF sales DEFAULT;
               CREATE TABLE lines (sale int, day date, line int, PRIMARY KEY (sale, day, line), FOREIGN KEY (sale, day) REFERENCES sales (id, day));";
    let (source, target) = (TestDatabase::with(sql).await, TestDatabase::with(sql).await);
    source
        .execute(
            "INSERT INTO shops VALUES (1); INSERT INTO sales VALUES (1, '2024-05-01', 1), (2, '2030-01-01', 1);
             INSERT INTO lines VALUES (1, '2024-05-01', 1), (2, '2030-01-01', 1)",
        )
        .await;
    let port = source.open().await;
    let schema = worked(port.schema().await);
    let names: Vec<_> = schema.tables().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["lines", "sales", "shops"]);
    assert_eq!(table(&schema, "sales").foreign_keys.len(), 1);
    assert_eq!(table(&schema, "lines").foreign_keys.len(), 1);
    let backup = TestBackup::of(&*port).await;
    worked(backup.apply(&*target.open().await).await);
    assert_eq!(target.query("SELECT count(*) FROM sales_2024").await, ["1"]);
    assert_eq!(target.query("SELECT count(*) FROM sales_rest").await, ["1"]);
    let again = worked(backup.at(2).mirrored().apply(&*target.open().await).await);
    assert!(
        again
            .tables
            .iter()
            .all(|merged| merged.unchanged > 0 && merged.inserted + merged.updated + merged.deleted == 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_an_inheriting_table_are_read_once() {
    let database = TestDatabase::with(
        "CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE more (x int, PRIMARY KEY (id)) INHERITS (base);
         INSERT INTO base VALUES (1); INSERT INTO more VALUES (2, 3)",
    )
    .await;
    let backup = TestBackup::of(&*database.open().await).await;
    let rows: Vec<_> = backup.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    assert_eq!(rows, [("base", 1), ("more", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_from_and_to_one_partition_are_the_tables() {
    let database = TestDatabase::with(
        "CREATE TABLE p (gone int, id int PRIMARY KEY, \"to\" int) PARTITION BY RANGE (id); ALTER TABLE p DROP gone;
         CREATE TABLE p1 (\"to\" int, id int NOT NULL); ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (1) TO (100);
         CREATE TABLE other (id int PRIMARY KEY, p int REFERENCES p1 (id) ON DELETE CASCADE);
         ALTER TABLE p1 ADD CONSTRAINT onward FOREIGN KEY (\"to\") REFERENCES other",
    )
    .await;
    let schema = worked(database.open().await.schema().await);
    let keys =
        |name: &str| schema.tables().find(|table| table.name.as_str() == name).unwrap().foreign_keys.clone();
    let (from, to) = (keys("p"), keys("other"));
    assert_eq!((from.len(), from[0].columns.as_slice(), from[0].target.as_str()), (1, &[1][..], "other"));
    assert_eq!((to.len(), to[0].target.as_str(), to[0].cascades), (1, "p", true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_is_read_while_tables_are_made_and_dropped() {
    let database = TestDatabase::with("CREATE TABLE stays (id int PRIMARY KEY)").await;
    let port = database.open().await;
    let shop = super::database::client(&database.url()).await;
    let busy = tokio::spawn(async move {
        for _ in 0..300 {
            let made =
                "CREATE TABLE goes (id int PRIMARY KEY); CREATE TABLE goes_too (id int REFERENCES goes)";
            shop.batch_execute(made).await.unwrap();
            shop.batch_execute("DROP TABLE goes, goes_too").await.unwrap();
        }
    });
    while !busy.is_finished() {
        let schema = worked(port.schema().await);
        assert!(schema.tables().any(|table| table.name.as_str() == "stays" && table.excluded.is_none()));
    }
    busy.await.unwrap();
}
