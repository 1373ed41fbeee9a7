//! Claims about rows that cannot go in: they are held with a reason, the rest goes in, and they follow when they can.

use branchline_core::backup::BackupType;
use branchline_core::code::Code;
use branchline_core::id::Generation;
use branchline_core::ports::{Amendment, HeldRow};

use super::super::backup::table_name;
use super::super::restoring::SHOP_ROWS;
use super::super::{Engine, Fixture, Shape, assert_refused, worked};
use super::server::{TestServer, assert_same, deliver, pair, send, settle};

/// What is held of a table, and why.
async fn held(server: &TestServer, table: &str) -> Vec<HeldRow> {
    let name = table_name(table);
    server.state().await.held.into_iter().filter(|row| row.table == name).collect()
}

/// Two servers that make rows on top of each other's, and a third that gets them in the wrong order.
async fn two_makers(fixture: &dyn Fixture, shape: Shape) -> (TestServer, TestServer, TestServer) {
    let (maker, adder) = pair(fixture, shape, "").await;
    let (mut maker, mut adder) = (maker, adder);
    let mut hub = TestServer::attached(fixture, shape, "", "STORE-003").await;
    for from in [&mut maker, &mut adder] {
        send(from, &mut hub).await;
        send(&mut hub, from).await;
    }
    (maker, adder, hub)
}

/// The parent comes by another way, later. Until then we do not say that we have what we hold back.
pub async fn a_row_without_its_parent_is_held_until_it_comes(fixture: &dyn Fixture) {
    let (mut maker, mut adder, mut hub) = two_makers(fixture, Shape::Shop).await;
    maker.write(r#"INSERT INTO customers (id, "fullName") VALUES (1, 'Ada')"#).await;
    send(&mut maker, &mut adder).await;
    adder.write("INSERT INTO products VALUES (1, 'A-1', '1')").await;
    let (first, report) = send(&mut adder, &mut hub).await;
    assert_eq!((first.lines(), report.held.len()), (1, 0));
    adder
        .write("INSERT INTO products VALUES (2, 'A-2', '2'); INSERT INTO complaints VALUES (1, 1), (2, NULL)")
        .await;
    let (backup, report) = send(&mut adder, &mut hub).await;
    let merged = backup.merged(&report, "complaints");
    assert_eq!((merged.inserted, merged.held, backup.merged(&report, "products").inserted), (1, 1, 1));
    assert_eq!((report.held.len(), report.held[0].code, report.released), (1, Code::FOREIGN_KEY_BROKEN, 0));
    let rows = held(&hub, "complaints").await;
    assert_eq!((rows.len(), &rows[0].source, rows[0].backup), (1, &adder.id, backup.request.backup));
    assert_eq!(
        (rows[0].code, &rows[0].version),
        (Code::FOREIGN_KEY_BROKEN, &version_of(&backup, "complaints", "\"id\":1,"))
    );
    assert!(!rows[0].reason.is_empty() && rows[0].key.contains('1'), "{:?}", rows[0]);
    // The receipt says that we have it; what we send does not.
    assert_eq!(hub.state().await.knowledge.generation(&adder.life()), Some(Generation::new(2)));
    let onward = hub.pack_for(&maker.id).await;
    assert_eq!(onward.position.knowledge.generation(&adder.life()), Some(Generation::new(1)));
    let (_, report) = send(&mut maker, &mut hub).await;
    assert_eq!((report.released, report.held.len()), (1, 0));
    assert!(held(&hub, "complaints").await.is_empty());
    let onward = hub.pack_for(&maker.id).await;
    assert_eq!(onward.position.knowledge.generation(&adder.life()), Some(Generation::new(2)));
    assert_same(&hub, &adder).await;
}

fn version_of(
    backup: &super::carried::CarriedBackup,
    table: &str,
    part: &str,
) -> branchline_core::version::Version {
    let rows = backup.rows_of(table);
    rows.into_iter().find(|row| row.line.contains(part)).expect("a row of the backup").version
}

/// A relay does not pass on what it holds back, passes on what is not in its way, and lets nobody believe to have it
/// all.
pub async fn what_is_held_is_passed_on_once_it_went_in(fixture: &dyn Fixture) {
    let (mut maker, mut adder, mut hub) = two_makers(fixture, Shape::Shop).await;
    hub.relay_to(&maker.id);
    maker.write(r#"INSERT INTO customers (id, "fullName") VALUES (1, 'Ada')"#).await;
    send(&mut maker, &mut adder).await;
    adder.write("INSERT INTO complaints VALUES (1, 1); INSERT INTO products VALUES (1, 'A-1', '1')").await;
    send(&mut adder, &mut hub).await;
    adder.write("INSERT INTO products VALUES (2, 'A-2', '2')").await;
    send(&mut adder, &mut hub).await;
    let (onward, _) = send(&mut hub, &mut maker).await;
    assert_eq!((onward.count("products"), onward.count("complaints")), ((2, 0), (0, 0)));
    assert_eq!(maker.state().await.knowledge.generation(&adder.life()), Some(Generation::new(0)));
    send(&mut maker, &mut hub).await;
    let (onward, _) = send(&mut hub, &mut maker).await;
    assert_eq!(onward.count("complaints"), (1, 0));
    assert_eq!(maker.state().await.knowledge.generation(&adder.life()), Some(Generation::new(2)));
    assert_same(&maker, &adder).await;
    assert_same(&maker, &hub).await;
}

/// What hangs on a held row is held too, and all of it follows at once.
pub async fn what_hangs_on_a_held_row_is_held(fixture: &dyn Fixture) {
    let (mut maker, mut adder, mut hub) = two_makers(fixture, Shape::Tree).await;
    maker.write("INSERT INTO categories VALUES (1, 'root', NULL)").await;
    send(&mut maker, &mut adder).await;
    adder.write("INSERT INTO categories VALUES (5, 'child', 1), (4, 'grandchild', 5), (3, 'last', 4), (9, 'free', NULL)").await;
    let (backup, report) = send(&mut adder, &mut hub).await;
    let merged = backup.merged(&report, "categories");
    assert_eq!((merged.inserted, merged.held, hub.state().await.held.len()), (1, 3, 3));
    let (_, report) = send(&mut maker, &mut hub).await;
    assert_eq!((report.released, hub.state().await.held.len()), (3, 0));
    assert_same(&hub, &adder).await;
}

/// A newer version of a held row takes its place; one that has no fault goes in at once.
pub async fn a_newer_version_replaces_a_held_one(fixture: &dyn Fixture) {
    let (mut maker, mut adder, mut hub) = two_makers(fixture, Shape::Tree).await;
    maker.write("INSERT INTO categories VALUES (1, 'root', NULL)").await;
    send(&mut maker, &mut adder).await;
    adder.write("INSERT INTO categories VALUES (2, 'a', 1), (3, 'b', 1), (4, 'c', 1)").await;
    send(&mut adder, &mut hub).await;
    adder.write("UPDATE categories SET name = 'again' WHERE id = 2").await;
    adder
        .write("UPDATE categories SET parent_id = NULL WHERE id = 3; DELETE FROM categories WHERE id = 4")
        .await;
    send(&mut adder, &mut hub).await;
    let rows = hub.state().await.held;
    assert_eq!((rows.len(), rows[0].version.dot.generation), (1, Generation::new(2)));
    assert_eq!(hub.query("SELECT name FROM categories").await, ["b"]);
    send(&mut maker, &mut hub).await;
    assert_same(&hub, &adder).await;
    assert!(hub.state().await.held.is_empty());
}

/// A held row that a full backup of its sender lacks was deleted there: it does not go in when it could.
pub async fn a_held_row_that_a_full_backup_lacks_was_deleted(fixture: &dyn Fixture) {
    let (mut maker, mut adder, mut hub) = two_makers(fixture, Shape::Shop).await;
    maker.write(r#"INSERT INTO customers (id, "fullName") VALUES (1, 'Ada')"#).await;
    send(&mut maker, &mut adder).await;
    adder.write("INSERT INTO complaints VALUES (1, 1), (2, 1)").await;
    send(&mut adder, &mut hub).await;
    assert_eq!(hub.state().await.held.len(), 2);
    adder.write("DELETE FROM complaints WHERE id = 1").await;
    adder.pack_for(&maker.id).await;
    let known_to_all = adder.state().await.knowledge;
    assert_eq!(worked(adder.capture().amend(Amendment::Purge { known_to_all }).await), 1);
    let (full, _) = send(&mut adder, &mut hub).await;
    assert_eq!((full.request.backup_type, full.count("complaints")), (BackupType::Full, (1, 0)));
    send(&mut maker, &mut hub).await;
    assert!(hub.state().await.held.is_empty());
    assert_eq!(hub.query("SELECT id FROM complaints").await, ["2"]);
    assert_same(&hub, &adder).await;
}

/// A parent that was deleted here meanwhile: when it is written again over there, it comes back with its child.
pub async fn a_row_whose_parent_was_deleted_here_is_held(fixture: &dyn Fixture) {
    let rows = r#"INSERT INTO customers (id, "fullName") VALUES (1, 'Ada'), (2, 'Berta')"#;
    let (mut store, mut hq) = pair(fixture, Shape::Shop, rows).await;
    hq.write("DELETE FROM customers WHERE id = 2").await;
    store.write("INSERT INTO complaints VALUES (1, 1), (2, 2)").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.held.len(), held(&hq, "complaints").await.len()), (1, 1));
    let (_, report) = send(&mut hq, &mut store).await;
    assert_eq!(report.held.len(), 1, "a deletion that the complaint prevents");
    assert_eq!(store.query("SELECT id FROM customers ORDER BY id").await, ["1", "2"]);
    let again: String =
        (0..40).map(|n| format!(r#"UPDATE customers SET "fullName" = 'B{n}' WHERE id = 2;"#)).collect();
    store.write(&again).await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.released, report.held.len()), (1, 0));
    settle(&mut store, &mut hq).await;
    assert_eq!(hq.query(r#"SELECT "fullName" FROM customers WHERE id = 2"#).await, ["B39"]);
    assert!(hq.state().await.held.is_empty() && store.state().await.held.is_empty());
}

/// Another row here has the value. Once it has it no more, the held row goes in with whatever comes next.
pub async fn a_unique_clash_is_held(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Codes, "INSERT INTO codes VALUES (5, 'e', 5, 5)").await;
    store.write("INSERT INTO codes VALUES (1, 'a', 1, 1)").await;
    hq.write("INSERT INTO codes VALUES (2, 'a', 2, 2)").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.merged(&report, "codes").held, report.held[0].code), (1, Code::UNIQUE_CONFLICT));
    let (_, report) = send(&mut hq, &mut store).await;
    assert_eq!(report.held.len(), 1);
    assert_eq!(store.query("SELECT id FROM codes ORDER BY id").await, ["1", "5"]);
    hq.write("UPDATE codes SET code = 'b' WHERE id = 2").await;
    store.write("UPDATE codes SET slot = 6 WHERE id = 5").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!(report.released, 1);
    send(&mut hq, &mut store).await;
    assert!(hq.state().await.held.is_empty() && store.state().await.held.is_empty());
    settle(&mut store, &mut hq).await;
    assert_eq!(store.query("SELECT code FROM codes ORDER BY id").await, ["a", "b", "e"]);
}

/// What a trigger of the shop's here says no to.
fn refuse_dear_products(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'too dear'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON products FOR EACH ROW WHEN (NEW.price > 100)
               EXECUTE FUNCTION refuse()"
        }
        Engine::Sqlite => {
            "CREATE TRIGGER refuse BEFORE INSERT ON products WHEN CAST(NEW.price AS REAL) > 100
             BEGIN SELECT RAISE(ABORT, 'too dear'); END"
        }
    }
}

/// A trigger of the shop's refuses some rows of many: they are held, with what hangs on them, until it lets them in.
pub async fn rows_that_a_trigger_refuses_are_held(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    hq.write(refuse_dear_products(hq.engine())).await;
    for id in 11..51 {
        let price = if id % 20 == 0 { 500 + id } else { id };
        store
            .write(&format!("INSERT INTO products (id, sku, price) VALUES ({id}, 'S{id}', '{price}')"))
            .await;
    }
    store.write("UPDATE customers SET \"fullName\" = 'Anna' WHERE id = 1").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    let merged = backup.merged(&report, "products");
    assert_eq!((merged.inserted, merged.held), (38, 2));
    assert!(report.held.iter().all(|row| row.code == Code::CONSTRAINT_BROKEN), "{:?}", report.held);
    let keys: Vec<String> = held(&hq, "products").await.into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["20", "40"]);
    assert_eq!(hq.query(r#"SELECT "fullName" FROM customers WHERE id = 1"#).await, ["Anna"]);
    // They keep nobody up, however often they are tried.
    store.write("UPDATE products SET price = '12' WHERE id = 11").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.released, held(&hq, "products").await.len()), (0, 2));
    hq.write(match hq.engine() {
        Engine::Postgres => "DROP TRIGGER refuse ON products",
        Engine::Sqlite => "DROP TRIGGER refuse",
    })
    .await;
    store.write("UPDATE products SET price = '13' WHERE id = 11").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.released, held(&hq, "products").await.len()), (2, 0));
    assert_same(&store, &hq).await;
}

/// A unique key over some rows alone: of two rows that exclude each other the one that came first goes in.
pub async fn rows_that_a_partial_key_refuses_are_held(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    hq.write("CREATE UNIQUE INDEX one_of_each ON products (price) WHERE id > 10").await;
    store
        .write(
            "INSERT INTO products (id, sku, price)
             VALUES (11, 'a', '1'), (12, 'b', '2'), (13, 'c', '1'), (14, 'd', '3'), (15, 'e', '1')",
        )
        .await;
    let (backup, report) = send(&mut store, &mut hq).await;
    let merged = backup.merged(&report, "products");
    assert_eq!((merged.inserted, merged.held), (3, 2));
    assert!(report.held.iter().all(|row| row.code == Code::UNIQUE_CONFLICT), "{:?}", report.held);
    store.write("UPDATE products SET price = '4' WHERE id = 13").await;
    send(&mut store, &mut hq).await;
    let keys: Vec<String> = held(&hq, "products").await.into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["15"]);
    store.write("DELETE FROM products WHERE id = 15").await;
    send(&mut store, &mut hq).await;
    assert!(held(&hq, "products").await.is_empty());
    assert_same(&store, &hq).await;
}

/// A child that the sender does not know keeps its parent here.
pub async fn a_deletion_that_a_child_prevents_is_held(fixture: &dyn Fixture) {
    let rows = r#"INSERT INTO customers (id, "fullName") VALUES (1, 'Ada'), (2, 'Berta')"#;
    let (mut store, mut hq) = pair(fixture, Shape::Shop, rows).await;
    hq.write("INSERT INTO complaints VALUES (1, 2)").await;
    store.write("DELETE FROM customers").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    let merged = backup.merged(&report, "customers");
    assert_eq!((merged.deleted, merged.held, report.held[0].code), (1, 1, Code::FOREIGN_KEY_BROKEN));
    assert_eq!(hq.query("SELECT id FROM customers").await, ["2"]);
    hq.write("DELETE FROM complaints").await;
    send(&mut hq, &mut store).await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.released, hq.state().await.held.len()), (1, 0));
    settle(&mut store, &mut hq).await;
    assert!(hq.query("SELECT id FROM customers").await.is_empty());
}

/// A deletion does not take rows along that its sender never saw.
pub async fn a_deletion_that_would_take_unknown_rows_along_is_held(fixture: &dyn Fixture) {
    let rows = r#"INSERT INTO customers (id, "fullName") VALUES (1, 'Ada'), (2, 'Berta');
        INSERT INTO loyalty VALUES (1, 1), (2, 2)"#;
    let (mut store, mut hq) = pair(fixture, Shape::Shop, rows).await;
    hq.write("INSERT INTO loyalty VALUES (3, 2)").await;
    store.write("DELETE FROM customers").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    let merged = backup.merged(&report, "customers");
    assert_eq!((merged.deleted, merged.held, backup.merged(&report, "loyalty").deleted), (1, 1, 2));
    assert_eq!(hq.query("SELECT customer_id FROM loyalty").await, ["2"]);
    hq.write("DELETE FROM loyalty").await;
    send(&mut hq, &mut store).await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.released, hq.state().await.held.len()), (1, 0));
    settle(&mut store, &mut hq).await;
    assert!(hq.query("SELECT id FROM customers").await.is_empty());
}

/// A row that carries a column which is missing here is held with it, and never stripped.
pub async fn a_row_with_a_column_that_is_missing_here_is_held(fixture: &dyn Fixture) {
    let rows = "INSERT INTO products VALUES (1, 'A-1', '1'), (2, 'A-2', '2')";
    let (mut store, mut hq) = pair(fixture, Shape::Shop, rows).await;
    store.write("ALTER TABLE products ADD COLUMN shelf TEXT").await;
    store
        .write("UPDATE products SET price = '3' WHERE id = 1; UPDATE products SET shelf = 'top' WHERE id = 2")
        .await;
    let (backup, report) = send(&mut store, &mut hq).await;
    let merged = backup.merged(&report, "products");
    assert_eq!((merged.updated, merged.held, report.held[0].code), (1, 1, Code::COLUMN_UNKNOWN));
    assert_eq!(hq.query("SELECT price FROM products ORDER BY id").await, ["3", "2"]);
    hq.write("ALTER TABLE products ADD COLUMN shelf TEXT").await;
    store.write(r#"INSERT INTO customers (id, "fullName") VALUES (1, 'Ada')"#).await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!(report.released, 1);
    assert_eq!(hq.query("SELECT shelf FROM products WHERE id = 2").await, ["top"]);
    settle(&mut store, &mut hq).await;
}

/// All or nothing, where that is asked for.
pub async fn rejecting_leaves_nothing(fixture: &dyn Fixture) {
    let rows = r#"INSERT INTO customers (id, "fullName") VALUES (1, 'Ada'), (2, 'Berta')"#;
    let (mut store, mut hq) = pair(fixture, Shape::Shop, rows).await;
    hq.write("DELETE FROM customers WHERE id = 2").await;
    store.write("INSERT INTO complaints VALUES (1, 1), (2, 2); DELETE FROM loyalty").await;
    let backup = store.pack_for(&hq.id).await;
    let (before, hashes) = (hq.state().await, hq.hashes().await);
    assert_refused(backup.clone().rejecting().apply(hq.database()).await, Code::FOREIGN_KEY_BROKEN);
    let after = hq.state().await;
    assert_eq!((after.knowledge, after.held, after.conflicts), (before.knowledge, before.held, 0));
    assert_eq!((after.pending, after.clock), (before.pending, before.clock));
    assert_eq!(hq.hashes().await, hashes);
    assert_eq!(worked(hq.database().applied(backup.request.backup).await), None);
    // The very same backup goes in where what cannot is held.
    let report = deliver(&mut store, &mut hq, &backup).await;
    assert_eq!((report.held.len(), backup.merged(&report, "complaints").inserted), (1, 1));
}
