//! What one server made reaches the others through a third, keeps who made it, and does not circle.

use branchline::api::v1::{Answer, Command, SyncCommand, SyncOutcome};
use branchline_testkit::database::Engine;

use crate::world::{Server, Shop, counts, delivered, introduce, on_both_engines};

/// How often all servers sync with all their peers until nothing is left to send.
const ROUNDS_MAX: usize = 6;

async fn sync_all(server: &Server) -> Vec<SyncOutcome> {
    match server.ask(Command::Sync(SyncCommand::default())).await {
        Ok(Answer::Sync(answer)) => answer.peers,
        other => panic!("{other:?}"),
    }
}

/// Syncs round after round until every pair is in step; answers how many rows travelled.
async fn settle(servers: &[&Server]) -> u64 {
    let mut rows = 0;
    for _ in 0..ROUNDS_MAX {
        let mut quiet = true;
        for server in servers {
            for outcome in sync_all(server).await {
                assert_eq!(outcome.problem, None, "{outcome:?}");
                quiet &= outcome.state == "in_step";
                rows += outcome.rows;
            }
        }
        if quiet {
            return rows;
        }
    }
    panic!("something still travels after {ROUNDS_MAX} rounds");
}

async fn assert_all_equal(servers: &[&Server]) {
    let first = servers[0].shop.hashes().await;
    for server in servers {
        assert_eq!(server.shop.hashes().await, first, "{}", server.id());
    }
}

on_both_engines! {
    a_ring_of_three_relays_settles_and_nothing_circles
    stores_get_what_others_made_only_where_the_head_office_relays
}

async fn a_ring_of_three_relays_settles_and_nothing_circles(engine: Engine) {
    let one = Server::start("RING-1", Shop::stocked(engine).await).await;
    let two = Server::start("RING-2", Shop::empty(engine).await).await;
    let three = Server::start("RING-3", Shop::empty(engine).await).await;
    let ring = [&one, &two, &three];
    for (here, there) in [(&one, &two), (&two, &three), (&three, &one)] {
        introduce(here, there).await;
        here.relay_to(there, true).await;
        there.relay_to(here, true).await;
    }
    for server in ring {
        server.attach().await;
    }
    settle(&ring).await;
    assert_all_equal(&ring).await;
    one.shop.execute("UPDATE products SET price = '1.01' WHERE id = 1").await;
    two.shop.execute("INSERT INTO products (id, sku, price) VALUES (20, 'R-2', '2.00')").await;
    three.shop.execute("DELETE FROM order_items WHERE product_id = 3").await;
    let rows = settle(&ring).await;
    // Three changes, each to two servers; by both ways round at most.
    assert!((6..=12).contains(&rows), "{rows}");
    assert_all_equal(&ring).await;
    assert_eq!(settle(&ring).await, 0);
    for server in ring {
        assert_eq!((server.capture().await.tombstones, server.capture().await.conflicts), (0, 0));
    }
}

async fn stores_get_what_others_made_only_where_the_head_office_relays(engine: Engine) {
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(engine).await).await;
    let first = Server::start("STORE-001", Shop::stocked(engine).await).await;
    let second = Server::start("STORE-002", Shop::empty(engine).await).await;
    for server in [&headquarters, &first, &second] {
        server.attach().await;
    }
    for store in [&first, &second] {
        introduce(store, &headquarters).await;
        delivered(&headquarters.sync_to(store).await);
    }
    // Everybody's first backup was full before there was anything to tell; from here on it is changes.
    delivered(&first.sync().await);
    delivered(&second.sync().await);
    first.shop.execute("INSERT INTO products (id, sku, price) VALUES (11, 'S1-11', '1.00')").await;
    headquarters.shop.execute("INSERT INTO products (id, sku, price) VALUES (10, 'HQ-10', '1.00')").await;
    delivered(&first.sync().await);
    delivered(&headquarters.sync_to(&second).await);
    assert_eq!(second.shop.query("SELECT sku FROM products ORDER BY id").await, ["HQ-10"]);
    headquarters.relay_to(&second, true).await;
    let receipt = delivered(&headquarters.sync_to(&second).await);
    assert!(counts(&receipt).0 >= 1, "{receipt}");
    assert!(second.shop.query("SELECT sku FROM products").await.contains(&"S1-11".to_owned()));
    // Nothing of it comes back as if it were new.
    let outcome = second.sync().await;
    assert_eq!((outcome.state.as_str(), outcome.rows), ("in_step", 0));
}
