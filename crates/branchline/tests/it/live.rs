//! Live: changes are sent as they come, by themselves, and what changed while a peer was away follows when it is back.

use branchline::api::v1::{Answer, Command};
use branchline::node::clock::Clock;
use branchline_testkit::database::Engine;

use crate::world::{Home, Server, Shop, delivered, eventually, introduce, on_both_engines};

on_both_engines! {
    a_live_store_sends_each_change_as_it_comes
    what_changed_while_a_backup_waited_follows_it_by_itself
    what_a_store_sends_is_relayed_to_the_others_as_it_comes
}

/// A server that is to send its changes as they come.
async fn live_server(id: &str, shop: Shop) -> Server {
    let home = Home::make(id, &shop.url);
    home.add_settings("[[schedule]]\nname = \"live\"\nkind = \"live\"\n");
    let server = Server::start_with(home, shop, &[], |spool| spool).await;
    server.attach().await;
    server
}

/// A store that sends its changes as they come, and a head office that has all of it so far.
async fn live_store(engine: Engine) -> (Server, Server) {
    let store = live_server("STORE-001", Shop::stocked(engine).await).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(engine).await).await;
    headquarters.attach().await;
    introduce(&store, &headquarters).await;
    store.works_by_itself(Clock::default());
    in_step(&store, &headquarters).await;
    (store, headquarters)
}

async fn in_step(store: &Server, headquarters: &Server) {
    let there = store.shop.hashes().await;
    eventually("headquarters has what the store has", async || {
        (headquarters.shop.hashes().await == there).then_some(())
    })
    .await;
}

async fn a_live_store_sends_each_change_as_it_comes(engine: Engine) {
    let (store, headquarters) = live_store(engine).await;
    for change in [
        "INSERT INTO products (id, sku, price) VALUES (4, 'C-1', '9.99')",
        "UPDATE products SET price = '1.20' WHERE id = 4",
        "DELETE FROM products WHERE id = 4",
    ] {
        store.shop.execute(change).await;
        in_step(&store, &headquarters).await;
    }
    let Ok(Answer::Schedule(schedule)) = store.ask(Command::ScheduleList).await else { panic!() };
    assert_eq!(schedule.entries[0].problem, None);
}

async fn what_changed_while_a_backup_waited_follows_it_by_itself(engine: Engine) {
    let (store, mut headquarters) = live_store(engine).await;
    headquarters.stop().await;
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (4, 'C-1', '9.99')").await;
    let waiting = eventually("a backup waits", async || {
        let Ok(Answer::Backups(backups)) = store.ask(Command::BackupsList).await else { panic!() };
        backups.waiting.into_iter().next().filter(|backup| backup.attempts > 0)
    })
    .await;
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (5, 'C-2', '9.99')").await;
    headquarters.restart().await;
    in_step(&store, &headquarters).await;
    let Ok(Answer::Backups(backups)) = store.ask(Command::BackupsList).await else { panic!() };
    assert!(backups.settled.iter().any(|settled| settled.backup == waiting.backup && settled.success));
}

/// The head office's own log says nothing of what it applied.
async fn what_a_store_sends_is_relayed_to_the_others_as_it_comes(engine: Engine) {
    let headquarters = live_server("CENTRAL-HQ", Shop::empty(engine).await).await;
    let first = Server::start("STORE-001", Shop::stocked(engine).await).await;
    let second = Server::start("STORE-002", Shop::empty(engine).await).await;
    for store in [&first, &second] {
        store.attach().await;
        introduce(store, &headquarters).await;
    }
    headquarters.relay_to(&second, true).await;
    headquarters.works_by_itself(Clock::default());
    delivered(&first.sync().await);
    in_step(&first, &second).await;
    first.shop.execute("UPDATE products SET price = '1.20' WHERE id = 1").await;
    delivered(&first.sync().await);
    in_step(&first, &second).await;
}
