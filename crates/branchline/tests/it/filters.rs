//! Filters by row: a head office that sends each store its own orders, with what hangs on them, and no others.

use std::path::Path;

use branchline::api::v1::{Answer, Command, SyncCommand, SyncOutcome, TableAnswer};
use branchline_core::code::Code;
use branchline_testkit::database::Engine;

use crate::world::{Home, Server, Shop, counts, delivered, ended, introduce, on_both_engines};

const TABLES: &str = "
CREATE TABLE stores (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE orders (id BIGINT PRIMARY KEY, store_id BIGINT NOT NULL REFERENCES stores (id), note TEXT);
CREATE TABLE order_items (id BIGINT PRIMARY KEY, order_id BIGINT NOT NULL REFERENCES orders (id), what TEXT);
";
const ROWS: &str = "
INSERT INTO stores VALUES (1, 'North'), (2, 'South');
INSERT INTO orders VALUES (10, 1, 'a'), (11, 1, 'b'), (20, 2, 'c');
INSERT INTO order_items VALUES (100, 10, 'tea'), (101, 10, 'milk'), (110, 11, 'tea'), (200, 20, 'jam');
";
const FILTERS: &str = "
[[filter]]
table = \"orders\"
where = \"store_id = 1\"
peers = [\"STORE-001\"]

[[filter]]
table = \"orders\"
where = \"store_id = 2\"
peers = [\"STORE-002\"]
";

/// A head office with these settings, and two stores that have nothing yet; all are attached.
async fn chain(engine: Engine, settings: &str) -> (Server, Server, Server) {
    let (hq, one, two) = detached(engine, settings).await;
    for server in [&hq, &one, &two] {
        server.attach().await;
    }
    (hq, one, two)
}

async fn detached(engine: Engine, settings: &str) -> (Server, Server, Server) {
    let shop = Shop::with(engine, &format!("{TABLES}{ROWS}")).await;
    let home = Home::make("CENTRAL-HQ", &shop.url);
    home.add_settings(settings);
    let hq = Server::start_with(home, shop, &[], |spool| spool).await;
    let one = Server::start("STORE-001", Shop::with(engine, TABLES).await).await;
    let two = Server::start("STORE-002", Shop::with(engine, TABLES).await).await;
    introduce(&hq, &one).await;
    introduce(&hq, &two).await;
    (hq, one, two)
}

/// The head office goes on with other filters.
async fn refilter(hq: &mut Server, from: &str, to: &str) {
    let file = hq.home.path().join("config.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    assert!(settings.contains(from), "{settings}");
    std::fs::write(file, settings.replace(from, to)).unwrap();
    hq.restart().await;
}

/// Keys of the orders, and of their items.
async fn rows(server: &Server) -> [Vec<String>; 2] {
    [
        server.shop.query("SELECT id FROM orders ORDER BY id").await,
        server.shop.query("SELECT id FROM order_items ORDER BY id").await,
    ]
}

fn keys(orders: &[&str], items: &[&str]) -> [Vec<String>; 2] {
    [orders, items].map(|keys| keys.iter().map(ToString::to_string).collect())
}

async fn assert_equal(hq: &Server, store: &Server) {
    for (here, there) in [(hq, store), (store, hq)] {
        let compared = here.compare(there).await;
        assert!(compared.equal, "{compared:?}");
    }
}

#[track_caller]
fn in_step(outcome: &SyncOutcome) {
    assert_eq!((outcome.state.as_str(), &outcome.problem), ("in_step", &None), "{outcome:?}");
}

#[track_caller]
fn incremental(outcome: &SyncOutcome) -> (u64, u64, u64, u64) {
    assert_eq!(outcome.backup_type.as_deref(), Some("incremental"), "{outcome:?}");
    counts(&delivered(outcome))
}

async fn table(server: &Server, name: &str) -> TableAnswer {
    let Ok(Answer::Tables(tables)) = server.ask(Command::Tables).await else { panic!("no tables") };
    tables.tables.into_iter().find(|table| table.name == name).unwrap()
}

on_both_engines! {
    each_store_gets_its_own_orders_and_what_hangs_on_them
    an_order_moves_between_stores_with_its_items
    what_a_store_sends_back_removes_nothing_of_others
    another_filter_brings_what_is_new_in_it_and_takes_out_the_rest
    a_filter_that_is_taken_out_brings_everything
    a_filter_that_comes_back_takes_out_what_came_meanwhile
    a_backup_that_is_dropped_comes_again
    a_filtered_backup_goes_by_file
    a_condition_that_cannot_be_asked_sends_nothing
    what_filters_cannot_do_is_said
}

async fn each_store_gets_its_own_orders_and_what_hangs_on_them(engine: Engine) {
    let (hq, one, two) = chain(engine, FILTERS).await;
    for store in [&one, &two] {
        delivered(&hq.sync_to(store).await);
        assert_eq!(store.shop.query("SELECT count(*) FROM stores").await, ["2"]);
        in_step(&hq.sync_to(store).await);
        assert_equal(&hq, store).await;
    }
    assert_eq!(rows(&one).await, keys(&["10", "11"], &["100", "101", "110"]));
    assert_eq!(rows(&two).await, keys(&["20"], &["200"]));
    hq.shop.execute("INSERT INTO orders VALUES (21, 2, 'd'); INSERT INTO order_items VALUES (210, 21, 'salt'); UPDATE orders SET note = 'x' WHERE id = 10; DELETE FROM order_items WHERE id = 200").await;
    assert_eq!(incremental(&hq.sync_to(&one).await), (0, 1, 0, 0));
    assert_eq!(incremental(&hq.sync_to(&two).await), (2, 0, 0, 1));
    assert_eq!(rows(&two).await, keys(&["20", "21"], &["210"]));
    for store in [&one, &two] {
        assert_equal(&hq, store).await;
    }
    let orders = table(&hq, "orders").await;
    assert_eq!(orders.in_part_for, ["STORE-001", "STORE-002"]);
    assert_eq!(table(&hq, "order_items").await.in_part_for, orders.in_part_for);
    assert!(table(&hq, "stores").await.in_part_for.is_empty());
    let Ok(Answer::Peer(peer)) = hq.ask(Command::PeersShow { peer: "STORE-002".into() }).await else {
        panic!("no peer")
    };
    assert_eq!(peer.filters, ["orders where store_id = 2, and what points at these"]);
}

async fn an_order_moves_between_stores_with_its_items(engine: Engine) {
    let (hq, one, two) = chain(engine, FILTERS).await;
    for store in [&one, &two] {
        delivered(&hq.sync_to(store).await);
    }
    for _ in 0..2 {
        hq.shop.execute("UPDATE orders SET store_id = 2 WHERE id = 10").await;
        assert_eq!(incremental(&hq.sync_to(&one).await), (0, 0, 0, 3));
        assert_eq!(incremental(&hq.sync_to(&two).await), (3, 0, 0, 0));
        assert_eq!(rows(&one).await, keys(&["11"], &["110"]));
        assert_eq!(rows(&two).await, keys(&["10", "20"], &["100", "101", "200"]));
        hq.shop.execute("UPDATE orders SET store_id = 1 WHERE id = 10").await;
        assert_eq!(incremental(&hq.sync_to(&one).await), (3, 0, 0, 0));
        assert_eq!(incremental(&hq.sync_to(&two).await), (0, 0, 0, 3));
        for store in [&one, &two] {
            assert_equal(&hq, store).await;
            in_step(&hq.sync_to(store).await);
            assert_eq!(store.capture().await.tombstones, 0);
        }
    }
}

async fn what_a_store_sends_back_removes_nothing_of_others(engine: Engine) {
    let (hq, one, two) = chain(engine, FILTERS).await;
    for store in [&one, &two] {
        delivered(&hq.sync_to(store).await);
        // A full one, which does not hold what the other store has.
        let back = store.sync().await;
        assert_eq!(back.backup_type.as_deref(), Some("full"));
        assert_eq!(counts(&delivered(&back)).3, 0);
    }
    assert_eq!(hq.shop.query("SELECT count(*) FROM orders").await, ["3"]);
    one.shop
        .execute("INSERT INTO orders VALUES (12, 1, 'n'); INSERT INTO order_items VALUES (120, 12, 'tea')")
        .await;
    assert_eq!(incremental(&one.sync().await), (2, 0, 0, 0));
    in_step(&hq.sync_to(&two).await);
    hq.shop
        .execute("DELETE FROM order_items WHERE id = 120; UPDATE orders SET store_id = 2 WHERE id = 12")
        .await;
    assert_eq!(incremental(&hq.sync_to(&one).await), (0, 0, 0, 2));
    assert_eq!(incremental(&hq.sync_to(&two).await), (1, 0, 0, 0));
    for store in [&one, &two] {
        assert_equal(&hq, store).await;
    }
}

async fn another_filter_brings_what_is_new_in_it_and_takes_out_the_rest(engine: Engine) {
    let (mut hq, one, _two) = chain(engine, FILTERS).await;
    delivered(&hq.sync_to(&one).await);
    refilter(&mut hq, "where = \"store_id = 1\"", "where = \"id <> 10\"").await;
    assert_eq!(incremental(&hq.sync_to(&one).await), (2, 0, 0, 3));
    assert_eq!(rows(&one).await, keys(&["11", "20"], &["110", "200"]));
    in_step(&hq.sync_to(&one).await);
    assert_equal(&hq, &one).await;
    // One for which there is nothing to bring is told once, and is in step then.
    refilter(&mut hq, "where = \"id <> 10\"", "where = \"id > 10\"").await;
    assert_eq!(incremental(&hq.sync_to(&one).await), (0, 0, 0, 0));
    in_step(&hq.sync_to(&one).await);
}

async fn a_filter_that_is_taken_out_brings_everything(engine: Engine) {
    let (mut hq, one, _two) = chain(engine, FILTERS).await;
    delivered(&hq.sync_to(&one).await);
    refilter(&mut hq, "peers = [\"STORE-001\"]", "peers = [\"STORE-009\"]").await;
    assert_eq!(hq.warnings().await, ["BL-E0303"]);
    let outcome = hq.sync_to(&one).await;
    assert_eq!(outcome.backup_type.as_deref(), Some("full"));
    assert_eq!(counts(&delivered(&outcome)).0, 2);
    assert_equal(&hq, &one).await;
    in_step(&hq.sync_to(&one).await);
}

async fn a_filter_that_comes_back_takes_out_what_came_meanwhile(engine: Engine) {
    let (mut hq, one, _two) = chain(engine, FILTERS).await;
    delivered(&hq.sync_to(&one).await);
    for (from, to) in [("STORE-001", "STORE-009"), ("STORE-009", "STORE-001")] {
        refilter(&mut hq, &format!("peers = [\"{from}\"]"), &format!("peers = [\"{to}\"]")).await;
        delivered(&hq.sync_to(&one).await);
    }
    assert_eq!(rows(&one).await, keys(&["10", "11"], &["100", "101", "110"]));
    assert_equal(&hq, &one).await;
    in_step(&hq.sync_to(&one).await);
}

async fn a_backup_that_is_dropped_comes_again(engine: Engine) {
    let (hq, mut one, _two) = chain(engine, FILTERS).await;
    delivered(&hq.sync_to(&one).await);
    one.stop().await;
    hq.shop
        .execute("UPDATE orders SET store_id = 2 WHERE id = 10; UPDATE orders SET store_id = 1 WHERE id = 20")
        .await;
    ended(&hq.sync_to(&one).await, "waiting", Code::UNREACHABLE);
    hq.shop.execute("UPDATE stores SET name = 'Far north' WHERE id = 1").await;
    one.restart().await;
    let fresh = SyncCommand { peers: vec!["STORE-001".into()], fresh: true, ..SyncCommand::default() };
    assert_eq!(incremental(&hq.sync_as(fresh).await), (2, 1, 0, 3));
    assert_eq!(rows(&one).await, keys(&["11", "20"], &["110", "200"]));
    assert_equal(&hq, &one).await;
    in_step(&hq.sync_to(&one).await);
}

async fn a_filtered_backup_goes_by_file(engine: Engine) {
    let (hq, one, _two) = chain(engine, FILTERS).await;
    delivered(&hq.sync_to(&one).await);
    hq.shop.execute("UPDATE orders SET store_id = 2 WHERE id = 10").await;
    let stick = tempfile::tempdir().unwrap();
    let exported = hq.export(&one, stick.path()).await.unwrap();
    let imported = one.import(Path::new(&exported.path)).await.unwrap();
    assert_eq!(counts(imported.receipt.as_ref().unwrap()), (0, 0, 0, 3));
    hq.import(Path::new(&imported.receipt_path.unwrap())).await.unwrap();
    in_step(&hq.sync_to(&one).await);
    // The receipt settled what was taken out: its deletion is no news for the store.
    hq.shop.execute("DELETE FROM order_items WHERE order_id = 10; DELETE FROM orders WHERE id = 10").await;
    let outcome = hq.sync_to(&one).await;
    assert_eq!((incremental(&outcome), outcome.rows), ((0, 0, 0, 0), 0));
    assert_equal(&hq, &one).await;
}

async fn a_condition_that_cannot_be_asked_sends_nothing(engine: Engine) {
    let filter = "[[filter]]\ntable = \"orders\"\nwhere = \"shop = 1\"\npeers = [\"STORE-001\"]\n";
    let (mut hq, one, two) = chain(engine, filter).await;
    let all = hq.ask(Command::Sync(SyncCommand::default())).await;
    let Ok(Answer::Sync(answer)) = all else { panic!("{all:?}") };
    let problem = ended(&answer.peers[0], "refused", Code::FILTER_INVALID);
    assert!(problem.message.contains("orders") && problem.message.contains("shop"), "{problem}");
    assert_eq!(rows(&one).await, keys(&[], &[]));
    // Who has no filter of it gets its rows.
    assert_eq!(counts(&delivered(&answer.peers[1])).0, 9);
    assert_equal(&hq, &two).await;
    refilter(&mut hq, "shop = 1", "store_id = 1").await;
    delivered(&hq.sync_to(&one).await);
    assert_equal(&hq, &one).await;
}

async fn what_filters_cannot_do_is_said(engine: Engine) {
    let more =
        "[[filter]]\ntable = \"tills\"\nwhere = \"true\"\n[[day]]\ntable = \"orders\"\ndate = \"note\"\n";
    let (hq, one, _two) = detached(engine, &format!("{FILTERS}{more}")).await;
    assert_eq!(hq.warnings().await, ["BL-E0422", "BL-E0430"]);
    let problem = ended(&hq.sync_to(&one).await, "refused", Code::NOT_ATTACHED);
    assert!(problem.help.starts_with("branchline attach"), "{problem}");
    let stick = tempfile::tempdir().unwrap();
    crate::world::refused(hq.export(&one, stick.path()).await, Code::NOT_ATTACHED);
    assert_eq!(rows(&one).await, keys(&[], &[]));
    hq.attach().await;
    assert_eq!(hq.warnings().await, ["BL-E0430"]);
    let daily = SyncCommand {
        peers: vec!["STORE-001".into()],
        backup_type: Some("daily_transactions".into()),
        ..SyncCommand::default()
    };
    ended(&hq.sync_as(daily).await, "refused", Code::USAGE);
    let rehearsal = SyncCommand { peers: vec!["STORE-001".into()], dry_run: true, ..SyncCommand::default() };
    let planned = hq.sync_as(rehearsal).await;
    assert_eq!((planned.state.as_str(), &planned.problem), ("planned", &None));
    delivered(&hq.sync_to(&one).await);
    assert_eq!(rows(&one).await, keys(&["10", "11"], &["100", "101", "110"]));
}
