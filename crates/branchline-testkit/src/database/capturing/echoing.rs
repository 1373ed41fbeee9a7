//! Claims about what an apply leaves behind to be sent: nothing of what it brought, and all of what it caused.

use branchline_core::id::Generation;

use super::super::restoring::SHOP_ROWS;
use super::super::{Engine, Fixture, Shape, TestDatabase, worked};
use super::server::{TestServer, assert_quiet, assert_same, deliver, pair, send, settle};
use crate::state::server_id;

/// Rows of a base that come into an empty table are its base: they cost no versions, and do not go back.
pub async fn an_empty_target_adopts_the_base(fixture: &dyn Fixture) {
    let mut store = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    let mut hq = TestServer::attached(fixture, Shape::Shop, "", "HQ").await;
    store.write("UPDATE products SET price = '5' WHERE id = 1").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!(report.tables.iter().map(|table| table.inserted).sum::<u64>(), 10);
    assert!(!worked(hq.capture().has_changes().await));
    let back = hq.pack_for(&store.id).await;
    assert_eq!((back.lines(), hq.state().await.generation), (0, Generation::new(0)));
    let onward = hq.full_for(&server_id("STORE-002")).await;
    assert_eq!(onward.lines(), 10);
    for row in onward.rows_of("products") {
        assert_eq!(row.version.dot.life, store.life(), "{}", row.line);
        assert_eq!(row.line.contains("$version"), row.line.contains("\"5\""), "{}", row.line);
    }
    assert_quiet(&mut store, &mut hq).await;
}

/// Rows of a base that come to rows of another keep their own life each, also when a third gets both.
pub async fn two_bases_in_one_table_are_told_apart(fixture: &dyn Fixture) {
    let one = "INSERT INTO products VALUES (1, 'A-1', '1'), (2, 'A-2', '2')";
    let mut store = TestServer::attached(fixture, Shape::Shop, one, "STORE-001").await;
    let two = "INSERT INTO products VALUES (3, 'B-1', '3')";
    let mut hq = TestServer::attached(fixture, Shape::Shop, two, "HQ").await;
    let mut third = TestServer::attached(fixture, Shape::Shop, "", "STORE-002").await;
    send(&mut store, &mut hq).await;
    hq.relay_to(&third.id);
    let (full, _) = send(&mut hq, &mut third).await;
    let mut lives: Vec<_> = full
        .rows_of("products")
        .iter()
        .map(|row| {
            (row.key.clone(), row.version.dot.life.server.to_string(), row.version.dot.generation.value())
        })
        .collect();
    lives.sort();
    let lives: Vec<_> = lives.iter().map(|(_, server, generation)| (server.as_str(), *generation)).collect();
    assert_eq!(lives, [("STORE-001", 0), ("STORE-001", 0), ("HQ", 0)]);
    // A peer that knows one of the bases gets the other alone.
    let (back, _) = send(&mut hq, &mut store).await;
    assert_eq!((back.count("products"), back.lines()), ((1, 0), 1));
    send(&mut third, &mut store).await;
    assert_same(&store, &third).await;
    assert_same(&store, &hq).await;
}

/// What a backup brought is no change made here.
pub async fn what_a_backup_brought_is_not_sent_back(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("UPDATE products SET price = '5'; DELETE FROM order_items WHERE line = 2").await;
    store.write("INSERT INTO products VALUES (8, 'C-1', '1')").await;
    let before = hq.state().await.generation;
    send(&mut store, &mut hq).await;
    assert!(!worked(hq.capture().has_changes().await));
    assert_eq!(hq.pack_for(&store.id).await.lines(), 0);
    let state = hq.state().await;
    assert_eq!((state.generation, state.pending), (before, 0));
    // What was written here meanwhile goes, and nothing else does.
    store.write("UPDATE products SET price = '6'").await;
    hq.write("INSERT INTO products VALUES (9, 'C-2', '2')").await;
    send(&mut store, &mut hq).await;
    let (back, _) = send(&mut hq, &mut store).await;
    assert_eq!((back.count("products"), back.lines()), ((1, 0), 1));
    settle(&mut store, &mut hq).await;
}

/// Two tables of which one may hang on the other, and one that a trigger writes to.
async fn stock(fixture: &dyn Fixture, reference: &str) -> Box<dyn TestDatabase> {
    let shop = fixture.create(Shape::Nothing).await;
    let tables = format!(
        "CREATE TABLE goods (id BIGINT PRIMARY KEY, name TEXT NOT NULL, note TEXT);
        CREATE TABLE stock (id BIGINT PRIMARY KEY, good BIGINT {reference});
        CREATE TABLE journal (id BIGINT PRIMARY KEY, line TEXT NOT NULL);
        INSERT INTO goods VALUES (1, 'apple', NULL), (2, 'pear', NULL);
        INSERT INTO stock VALUES (1, 1), (2, 2), (3, 2);"
    );
    shop.execute(&tables).await;
    shop
}

/// Two servers with those tables and rows, the second with a trigger of its shop's.
async fn with_trigger(fixture: &dyn Fixture, reference: &str, trigger: &str) -> (TestServer, TestServer) {
    let mut store = TestServer::over(stock(fixture, "").await, "STORE-001");
    let shop = stock(fixture, reference).await;
    shop.execute("DELETE FROM stock; DELETE FROM goods").await;
    let mut hq = TestServer::over(shop, "HQ");
    store.attach().await;
    hq.attach().await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    hq.write(trigger).await;
    (store, hq)
}

/// A foreign key that only the target has takes rows along that the source still has: they go there too.
pub async fn what_an_apply_cascades_to_travels(fixture: &dyn Fixture) {
    let (mut store, mut hq) = with_trigger(fixture, "REFERENCES goods (id) ON DELETE CASCADE", "").await;
    store.write("DELETE FROM goods WHERE id = 2").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.lines(), backup.merged(&report, "goods").deleted), (1, 1));
    assert_eq!(hq.query("SELECT id FROM stock").await, ["1"]);
    assert!(worked(hq.capture().has_changes().await));
    let (back, _) = send(&mut hq, &mut store).await;
    assert_eq!((back.count("stock"), back.lines()), ((0, 2), 2));
    settle(&mut store, &mut hq).await;
}

/// A trigger that writes a line into a journal whenever a good changes.
fn journal_trigger(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => {
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO journal VALUES (NEW.id + 100, NEW.name); RETURN NULL; END $$;
            CREATE TRIGGER note AFTER UPDATE ON goods FOR EACH ROW EXECUTE FUNCTION note()"
        }
        Engine::Sqlite => {
            "CREATE TRIGGER note AFTER UPDATE ON goods
            BEGIN INSERT INTO journal VALUES (NEW.id + 100, NEW.name); END"
        }
    }
}

/// What the application's own trigger writes to other rows is a local change.
pub async fn what_a_trigger_writes_elsewhere_travels(fixture: &dyn Fixture) {
    let engine = fixture.create(Shape::Nothing).await.engine();
    let (mut store, mut hq) = with_trigger(fixture, "", journal_trigger(engine)).await;
    store.write("UPDATE goods SET name = 'plum' WHERE id = 1").await;
    send(&mut store, &mut hq).await;
    assert_eq!(hq.query("SELECT line FROM journal WHERE id = 101").await, ["plum"]);
    let (back, _) = send(&mut hq, &mut store).await;
    assert_eq!((back.count("journal"), back.lines()), ((1, 0), 1));
    settle(&mut store, &mut hq).await;
}

/// A trigger that writes to the row that changed.
fn touch_trigger(engine: Engine, note: &str) -> String {
    match engine {
        Engine::Postgres => format!(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.note := '{note}'; RETURN NEW; END $$;
            CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON goods FOR EACH ROW EXECUTE FUNCTION touch()"
        ),
        Engine::Sqlite => format!(
            "CREATE TRIGGER touch AFTER UPDATE ON goods
            BEGIN UPDATE goods SET note = '{note}' WHERE id = NEW.id; END"
        ),
    }
}

/// What a trigger does to the very rows of a backup stays: else two servers with such a trigger would send them to
/// and fro for ever.
pub async fn what_a_trigger_does_to_the_rows_of_a_backup_stays(fixture: &dyn Fixture) {
    let engine = fixture.create(Shape::Nothing).await.engine();
    let (mut store, mut hq) = with_trigger(fixture, "", &touch_trigger(engine, "at hq")).await;
    store.write(&touch_trigger(engine, "at the store")).await;
    store.write("UPDATE goods SET name = 'plum' WHERE id = 1").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert!(backup.rows_of("goods")[0].line.contains("at the store"), "{:?}", backup.rows_of("goods"));
    let goods = "SELECT name || ' ' || note FROM goods WHERE id = 1";
    assert_eq!(hq.query(goods).await, ["plum at hq"]);
    assert_quiet(&mut store, &mut hq).await;
    // What the shop writes afterwards to that row does travel.
    hq.write("UPDATE goods SET name = 'fig' WHERE id = 1").await;
    let (back, _) = send(&mut hq, &mut store).await;
    assert_eq!((back.count("goods"), back.lines()), ((1, 0), 1));
    assert_eq!(store.query(goods).await, ["fig at the store"]);
    assert_quiet(&mut store, &mut hq).await;
}

/// A change of the shop's that waits to be packed is not lost to an apply that brings other rows of its table.
pub async fn a_waiting_change_outlasts_an_apply(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    hq.write("UPDATE products SET price = '6' WHERE id = 2; DELETE FROM order_items WHERE line = 2").await;
    store.write("UPDATE products SET price = '5' WHERE id = 1").await;
    send(&mut store, &mut hq).await;
    let (back, _) = send(&mut hq, &mut store).await;
    assert_eq!((back.count("products"), back.count("order_items"), back.lines()), ((1, 0), (0, 1), 2));
    settle(&mut store, &mut hq).await;
}

/// An apply that is taken back leaves neither rows nor knowledge, and what waited still waits.
pub async fn an_aborted_apply_leaves_capture_as_it_was(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("UPDATE products SET price = '5'").await;
    hq.write("UPDATE products SET price = '6' WHERE id = 2").await;
    let backup = store.pack_for(&hq.id).await;
    let (before, hashes) = (hq.state().await, hq.hashes().await);
    let mut apply = worked(backup.staged(hq.database()).await);
    worked(apply.merge().await);
    worked(apply.abort().await);
    let mut apply = worked(backup.staged(hq.database()).await);
    worked(apply.merge().await);
    drop(apply);
    // A statement of the shop's has to wait for what was dropped to be taken back.
    hq.write("UPDATE products SET price = '6' WHERE id = 2").await;
    let after = hq.state().await;
    assert_eq!(hq.hashes().await, hashes);
    assert_eq!((after.knowledge, after.conflicts, after.pending), (before.knowledge, 0, before.pending));
    deliver(&mut store, &mut hq, &backup).await;
    settle(&mut store, &mut hq).await;
}
