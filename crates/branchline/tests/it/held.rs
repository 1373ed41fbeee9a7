//! Rows that cannot go in are held, the rest goes in, and they go in by themselves once what they lack is there.

use branchline_core::code::Code;
use branchline_testkit::database::Engine;

use crate::world::{Server, Shop, counts, delivered, ended, introduce, on_both_engines};

on_both_engines! {
    a_row_without_its_parent_is_held_and_released_when_the_parent_comes
    a_table_that_the_head_office_lacks_is_held_until_it_was_upgraded
}

async fn a_row_without_its_parent_is_held_and_released_when_the_parent_comes(engine: Engine) {
    let store = Server::start("STORE-001", Shop::stocked(engine).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(engine).await).await;
    introduce(&store, &headquarters).await;
    for server in [&store, &headquarters] {
        server.attach().await;
    }
    delivered(&store.sync().await);
    // The head office takes a customer out that the store writes about at the same time.
    store.shop.execute("INSERT INTO customers (id, \"fullName\") VALUES (7, 'Carla')").await;
    delivered(&store.sync().await);
    headquarters.shop.execute("DELETE FROM customers WHERE id = 7").await;
    store.shop.execute("INSERT INTO complaints (id, customer_id) VALUES (1, 7)").await;
    store.shop.execute("UPDATE products SET price = '8.88' WHERE id = 1").await;
    let outcome = store.sync().await;
    let problem = ended(&outcome, "delivered", Code::ROWS_HELD);
    assert!(problem.message.starts_with("1 row is held at CENTRAL-HQ; the first: complaints "), "{problem}");
    let receipt = outcome.receipt.unwrap();
    assert_eq!((&receipt["success"], &receipt["held"]), (&false.into(), &1.into()));
    assert_eq!(
        (&receipt["heldRows"][0]["table"], &receipt["recordsProcessed"]),
        (&"complaints".into(), &1.into())
    );
    assert_eq!(headquarters.shop.query("SELECT price FROM products WHERE id = 1").await, ["8.88"]);
    // It was taken: nothing waits, and nobody sends it again.
    assert!(store.status().await.outbox.is_empty());
    assert_eq!(store.sync().await.state, "in_step");
    let held = headquarters.held().await;
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!((held[0].source.as_str(), held[0].code.as_str()), ("STORE-001", "BL-E0411"));
    assert!(headquarters.warnings().await.contains(&"BL-E0426".to_owned()));
    // The store brings the customer back, knowing of no deletion: it is the newer change.
    store.shop.execute("UPDATE customers SET email = 'carla@example.org' WHERE id = 7").await;
    let receipt = delivered(&store.sync().await);
    assert_eq!((&receipt["released"], counts(&receipt).0), (&1.into(), 1), "{receipt}");
    assert_eq!(headquarters.shop.query("SELECT count(*) FROM complaints").await, ["1"]);
    assert!(headquarters.held().await.is_empty());
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

/// A store that was upgraded first: its new table waits at the head office, and what both know goes in.
async fn a_table_that_the_head_office_lacks_is_held_until_it_was_upgraded(engine: Engine) {
    let store = Server::start("STORE-001", Shop::stocked(engine).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(engine).await).await;
    introduce(&store, &headquarters).await;
    for server in [&store, &headquarters] {
        server.attach().await;
    }
    delivered(&store.sync().await);
    let upgrade = "CREATE TABLE suppliers (id BIGINT PRIMARY KEY, name TEXT);
        ALTER TABLE products ADD COLUMN supplier BIGINT REFERENCES suppliers (id)";
    store.shop.execute(upgrade).await;
    store.shop.execute("INSERT INTO suppliers VALUES (1, 'Ada'), (2, 'Berta')").await;
    store.shop.execute("UPDATE products SET supplier = 1 WHERE id = 1").await;
    store.shop.execute("UPDATE products SET price = '8.88' WHERE id = 2").await;
    let outcome = store.sync().await;
    let problem = ended(&outcome, "delivered", Code::ROWS_HELD);
    assert!(problem.message.starts_with("3 rows are held at CENTRAL-HQ; the first: "), "{problem}");
    let receipt = outcome.receipt.unwrap();
    assert_eq!((&receipt["success"], &receipt["held"]), (&false.into(), &3.into()), "{receipt}");
    let mut reasons: Vec<String> = headquarters.held().await.into_iter().map(|row| row.reason).collect();
    reasons.sort();
    reasons.dedup();
    assert!(reasons.iter().any(|reason| reason == "there is no table suppliers here"), "{reasons:?}");
    assert!(
        reasons.iter().any(|reason| reason.contains("supplier,") || reason.ends_with("supplier")),
        "{reasons:?}"
    );
    assert_eq!(headquarters.shop.query("SELECT price FROM products WHERE id = 2").await, ["8.88"]);
    assert!(store.status().await.outbox.is_empty());
    headquarters.shop.execute(upgrade).await;
    store.shop.execute("UPDATE products SET price = '9.99' WHERE id = 2").await;
    let receipt = delivered(&store.sync().await);
    assert_eq!(receipt["released"], 3, "{receipt}");
    assert!(headquarters.held().await.is_empty());
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}
