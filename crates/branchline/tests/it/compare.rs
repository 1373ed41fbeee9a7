//! Comparing two servers: what is missing here, missing there, and different, within what the pair shares.

use branchline::api::v1::{Answer, Command, CompareAnswer, TableComparison};
use branchline_core::code::Code;
use branchline_core::limits::COMPARE_ROWS_NAMED;
use branchline_testkit::database::Engine;

use crate::world::{Server, Shop, introduce, on_both_engines, refused};

async fn two(here: Shop, there: Shop) -> (Server, Server) {
    let store = Server::start("STORE-001", here).await;
    let headquarters = Server::start("CENTRAL-HQ", there).await;
    introduce(&store, &headquarters).await;
    (store, headquarters)
}

fn table<'a>(compared: &'a CompareAnswer, name: &str) -> &'a TableComparison {
    compared.tables.iter().find(|table| table.table == name).unwrap_or_else(|| panic!("{name}: {compared:?}"))
}

fn named(table: &TableComparison) -> Vec<(String, String)> {
    let mut named: Vec<_> = table.named.iter().map(|row| (row.how.clone(), row.key.clone())).collect();
    named.sort();
    named
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(how, key)| ((*how).to_owned(), (*key).to_owned())).collect()
}

on_both_engines! {
    rows_that_differ_are_counted_and_named
    a_comparison_changes_nothing
    tables_and_columns_that_only_one_side_has_are_named
}

async fn rows_that_differ_are_counted_and_named(engine: Engine) {
    let (store, headquarters) = two(Shop::stocked(engine).await, Shop::stocked(engine).await).await;
    assert!(store.compare(&headquarters).await.equal);
    store
        .shop
        .execute("DELETE FROM order_items WHERE line = 2; UPDATE products SET price = '1.11' WHERE id = 1")
        .await;
    headquarters
        .shop
        .execute("INSERT INTO products (id, sku, price) VALUES (8, 'X', '1'), (9, 'Y', '2')")
        .await;
    store.shop.execute(r#"INSERT INTO customers (id, "fullName") VALUES (3, 'Clara')"#).await;
    let compared = store.compare(&headquarters).await;
    assert!(!compared.equal);
    assert_eq!((compared.missing_here, compared.missing_there, compared.different), (3, 1, 1));
    assert_eq!((compared.rows_here, compared.rows_there), (10, 12));
    let products = table(&compared, "products");
    assert_eq!(named(products), pairs(&[("different", "1"), ("missing_here", "8"), ("missing_here", "9")]));
    assert_eq!(named(table(&compared, "customers")), pairs(&[("missing_there", "3")]));
    let line = "\"00000000-0000-4000-8000-000000000001\",2";
    assert_eq!(named(table(&compared, "order_items")), pairs(&[("missing_here", line)]));
    assert!(table(&compared, "orders").equal && table(&compared, "loyalty").equal);
    // From the other side it is the same the other way round.
    let mirrored = headquarters.compare(&store).await;
    assert_eq!((mirrored.missing_here, mirrored.missing_there, mirrored.different), (1, 3, 1));
}

async fn a_comparison_changes_nothing(engine: Engine) {
    let (store, headquarters) = two(Shop::stocked(engine).await, Shop::empty(engine).await).await;
    let before = (store.shop.hashes().await, headquarters.shop.hashes().await);
    assert!(!store.compare(&headquarters).await.equal);
    assert_eq!((store.shop.hashes().await, headquarters.shop.hashes().await), before);
}

async fn tables_and_columns_that_only_one_side_has_are_named(engine: Engine) {
    let (store, headquarters) = two(Shop::stocked(engine).await, Shop::stocked(engine).await).await;
    store.shop.execute("CREATE TABLE mine (id BIGINT PRIMARY KEY); CREATE TABLE keyless (line TEXT)").await;
    headquarters.shop.execute("CREATE TABLE theirs (id BIGINT PRIMARY KEY)").await;
    headquarters.shop.execute("ALTER TABLE products ADD COLUMN shelf TEXT").await;
    let compared = store.compare(&headquarters).await;
    assert!(compared.equal, "{compared:?}");
    assert_eq!(table(&compared, "products").columns_not_shared, ["shelf"]);
    let mut not_shared: Vec<_> = compared
        .not_shared
        .iter()
        .map(|table| (table.table.as_str(), table.obstacle.as_deref().unwrap()))
        .collect();
    not_shared.sort_unstable();
    assert_eq!(not_shared, [("mine", "the peer has no such table"), ("theirs", "only the peer syncs it")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_rows_that_differ_are_counted_and_the_first_hundred_named() {
    let tables = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)";
    let (store, headquarters) =
        two(Shop::with(Engine::Sqlite, tables).await, Shop::with(Engine::Sqlite, tables).await).await;
    let many = |from: u32, to: u32, word: &str| {
        format!(
            "WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to}) INSERT INTO t SELECT i, '{word}' FROM n"
        )
    };
    store.shop.execute(&many(1, 3000, "one")).await;
    headquarters.shop.execute(&many(1, 1000, "one")).await;
    headquarters.shop.execute(&many(1001, 2500, "other")).await;
    headquarters.shop.execute(&many(5001, 5200, "more")).await;
    let compared = store.compare(&headquarters).await;
    assert_eq!((compared.missing_here, compared.missing_there, compared.different), (200, 500, 1500));
    let named = &table(&compared, "t").named;
    for how in ["missing_here", "missing_there", "different"] {
        assert_eq!(named.iter().filter(|row| row.how == how).count() as u64, COMPARE_ROWS_NAMED, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_sees_no_more_than_the_peers_grant() {
    let (store, headquarters) =
        two(Shop::stocked(Engine::Sqlite).await, Shop::empty(Engine::Sqlite).await).await;
    let tables = Some(vec!["products".to_owned()]);
    headquarters
        .change(Command::PeersGrant {
            peer: "STORE-001".to_owned(),
            write: None,
            mirror: None,
            relay: None,
            tables,
        })
        .await;
    let compared = store.compare(&headquarters).await;
    assert_eq!(compared.tables.iter().map(|table| table.table.as_str()).collect::<Vec<_>>(), ["products"]);
    assert_eq!((compared.rows_here, compared.rows_there, compared.missing_there), (3, 0, 3));
    assert_eq!(compared.not_shared.len(), 5);
    let asked = Command::Compare {
        peer: "CENTRAL-HQ".to_owned(),
        tables: vec!["customers".to_owned()],
        repair: false,
    };
    let Ok(Answer::Compare(nothing)) = store.ask(asked).await else { panic!() };
    assert!(!nothing.equal && nothing.tables.is_empty(), "nothing compared is nothing proven: {nothing:?}");
    // The other way round nothing is bounded: the store has granted everything.
    assert_eq!(headquarters.compare(&store).await.tables.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_tables_alone_are_compared_where_they_are_named() {
    let (store, headquarters) =
        two(Shop::stocked(Engine::Sqlite).await, Shop::empty(Engine::Sqlite).await).await;
    let ask = |table: &str| Command::Compare {
        peer: headquarters.id().to_owned(),
        tables: vec![table.to_owned()],
        repair: false,
    };
    let Ok(Answer::Compare(compared)) = store.ask(ask("loyalty")).await else { panic!() };
    assert!(compared.equal && compared.tables.len() == 1, "{compared:?}");
    refused(store.ask(ask("suppliers")).await, Code::TABLE_UNKNOWN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_paused_or_forgot_us_is_not_compared_with() {
    let (store, headquarters) =
        two(Shop::stocked(Engine::Sqlite).await, Shop::stocked(Engine::Sqlite).await).await;
    let ask = || Command::Compare { peer: "CENTRAL-HQ".to_owned(), tables: Vec::new(), repair: false };
    headquarters.change(Command::PeersPause { peer: "STORE-001".to_owned() }).await;
    refused(store.ask(ask()).await, Code::PEER_PAUSED);
    headquarters.change(Command::PeersRemove { peer: "STORE-001".to_owned() }).await;
    refused(store.ask(ask()).await, Code::NOT_PAIRED);
}
