//! Claims about capture as it is installed, looked at, mended, and taken out again.

use branchline_core::code::Code;
use branchline_core::id::{Epoch, Generation};
use branchline_core::pack::PackRequest;
use branchline_core::ports::{Amendment, AttachReport, AttachRequest};

use super::super::backup::table_name;
use super::super::restoring::SHOP_ROWS;
use super::super::{Engine, Fixture, Shape, TestDatabase, assert_refused, run_in, worked};
use super::server::{TestServer, assert_same, pair, send};
use crate::state::server_id;

/// Everything that PostgreSQL's catalogue has of a database that is not its own.
const LISTING_POSTGRES: &str = "
WITH ours AS (
    SELECT oid, nspname, nspacl FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
)
SELECT concat_ws(' ', 'schema', nspname, nspacl) FROM ours
UNION ALL SELECT concat_ws(' ', 'class', nspname, relname, relkind, relacl, reloptions, relreplident)
    FROM pg_class JOIN ours ON ours.oid = relnamespace
UNION ALL SELECT concat_ws(' ', 'column', attrelid::regclass, attname, attnum, atttypid::regtype, attacl)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN ours ON ours.oid = relnamespace
UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid))
    FROM pg_constraint JOIN ours ON ours.oid = connamespace
UNION ALL SELECT pg_get_functiondef(pg_proc.oid) FROM pg_proc JOIN ours ON ours.oid = pronamespace
UNION ALL SELECT concat_ws(' ', 'type', nspname, typname) FROM pg_type JOIN ours ON ours.oid = typnamespace
UNION ALL SELECT concat_ws(' ', 'event trigger', evtname) FROM pg_event_trigger
UNION ALL SELECT concat_ws(' ', 'rights by default', defaclacl) FROM pg_default_acl
UNION ALL SELECT concat_ws(' ', 'setting', setconfig) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1";

const LISTING_SQLITE: &str =
    "SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";

/// What a dump of the schema would show.
async fn listing(shop: &dyn TestDatabase) -> Vec<String> {
    shop.query(match shop.engine() {
        Engine::Postgres => LISTING_POSTGRES,
        Engine::Sqlite => LISTING_SQLITE,
    })
    .await
}

/// The tables of [`Shape::Shop`], sorted.
const SHOP_TABLES: [&str; 6] = ["complaints", "customers", "loyalty", "order_items", "orders", "products"];

/// Also after changes were captured, packed and applied, and on tables that number nothing by themselves.
pub async fn detach_leaves_what_was_before_attach(fixture: &dyn Fixture) {
    for (shape, write, later) in [
        (
            Shape::Shop,
            r#"INSERT INTO customers (id, "fullName") VALUES (9, 'Cleo'), (10, 'Dora'); DELETE FROM customers WHERE id = 9"#,
            "DELETE FROM customers",
        ),
        (Shape::Codes, "INSERT INTO codes VALUES (9, 'x', 9, 9)", "UPDATE codes SET slot = 8"),
        (Shape::Names, r#"INSERT INTO "orderItems" ("select") VALUES (1)"#, r#"DELETE FROM "orderItems""#),
    ] {
        let mut server = TestServer::detached(fixture, shape, "", "STORE-001").await;
        let before = listing(&*server.shop).await;
        server.attach().await;
        assert_ne!(listing(&*server.shop).await, before);
        server.write(write).await;
        let mut other = TestServer::attached(fixture, shape, "", "HQ").await;
        send(&mut server, &mut other).await;
        send(&mut other, &mut server).await;
        let rows = server.hashes().await;
        worked(server.capture().detach().await);
        assert_eq!(listing(&*server.shop).await, before, "{shape:?}");
        assert_eq!(server.hashes().await, rows);
        server.write(later).await;
        assert_eq!(worked(server.capture().look().await), None);
        assert_refused(server.capture().pack(PackRequest::default()).await.map(|_| ()), Code::NOT_ATTACHED);
        worked(server.capture().detach().await);
    }
}

/// What was detached is attached again, in a later epoch.
pub async fn a_detached_database_is_attached_again(fixture: &dyn Fixture) {
    let server = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    server.write("DELETE FROM order_items").await;
    worked(server.capture().detach().await);
    let request = AttachRequest { epoch: Epoch::new(2), ..server.request() };
    let report = worked(server.capture().attach(request).await);
    assert_eq!(report.captured, 6);
    let state = server.state().await;
    assert_eq!((state.own.epoch, state.generation, state.pending), (Epoch::new(2), Generation::new(0), 0));
}

/// The report names what was done, and the state what is there.
pub async fn attach_says_what_it_captures(fixture: &dyn Fixture) {
    let server = TestServer::detached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    assert_eq!(worked(server.capture().look().await), None);
    let mut report = server.attach().await;
    report.added.sort();
    let added = SHOP_TABLES.map(table_name).to_vec();
    assert_eq!(report, AttachReport { added, captured: 6, ..AttachReport::default() });
    let state = server.state().await;
    assert_eq!((&state.own, state.generation, state.pending), (&server.life(), Generation::new(0), 0));
    assert_eq!(state.knowledge, [(server.life(), Generation::new(0))].into_iter().collect());
    assert_eq!(state.tables, SHOP_TABLES.map(|name| (table_name(name), false)).into_iter().collect());
    assert_eq!((state.tombstones, state.conflicts, state.held.len()), (0, 0, 0));
    assert!(state.purged.is_empty() && state.ledger_bytes > 0, "{state:?}");
}

/// Neither the schema nor what was captured, and the epoch that was asked for is not begun.
pub async fn attach_a_second_time_changes_nothing(fixture: &dyn Fixture) {
    let server = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    server.write("UPDATE products SET price = '7' WHERE id = 1").await;
    let (before, state) = (listing(&*server.shop).await, server.state().await);
    let request = AttachRequest { epoch: Epoch::new(5), ..server.request() };
    let report = worked(server.capture().attach(request).await);
    assert_eq!(report, AttachReport { captured: 6, ..AttachReport::default() });
    assert_eq!(listing(&*server.shop).await, before);
    assert_eq!(server.state().await, state);
}

/// A database has one server.
pub async fn another_server_cannot_attach(fixture: &dyn Fixture) {
    let server = TestServer::attached(fixture, Shape::Shop, "", "STORE-001").await;
    let request = AttachRequest { server: server_id("STORE-002"), ..server.request() };
    assert_refused(server.capture().attach(request).await, Code::ATTACHED_BY_ANOTHER);
    assert_eq!(server.state().await.own, server.life());
}

/// A table that the settings leave out is not captured, and one that they leave out later is captured no more.
pub async fn tables_that_are_left_out_are_not_captured(fixture: &dyn Fixture) {
    let server = TestServer::detached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    let except = |names: &[&str]| AttachRequest {
        except: names.iter().map(|name| table_name(name)).collect(),
        ..server.request()
    };
    let report = worked(server.capture().attach(except(&["loyalty"])).await);
    assert_eq!((report.captured, report.added.len()), (5, 5));
    server.write("INSERT INTO loyalty (id, customer_id) VALUES (1, 1)").await;
    assert!(!worked(server.capture().has_changes().await));
    let report = worked(server.capture().attach(except(&["loyalty", "complaints"])).await);
    let removed = vec![table_name("complaints")];
    assert_eq!(report, AttachReport { removed, captured: 4, ..AttachReport::default() });
    server.write("INSERT INTO complaints (id, customer_id) VALUES (1, 1)").await;
    assert!(!worked(server.capture().has_changes().await));
}

/// A table without a key is left alone.
pub async fn a_table_without_a_key_is_not_captured(fixture: &dyn Fixture) {
    let server = TestServer::attached(fixture, Shape::Keyless, "", "STORE-001").await;
    server.write("INSERT INTO log (line) VALUES ('x')").await;
    let state = server.state().await;
    assert_eq!((state.tables.len(), state.pending), (0, 0));
}

/// It is cheap, and so says only whether there is anything.
pub async fn has_changes_says_whether_anything_waits_for_a_pack(fixture: &dyn Fixture) {
    let mut server = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    let peer = server_id("HQ");
    assert!(!worked(server.capture().has_changes().await));
    server.write("UPDATE products SET price = '7' WHERE id = 1").await;
    assert!(worked(server.capture().has_changes().await));
    assert!(server.state().await.pending > 0);
    server.pack_for(&peer).await;
    assert!(!worked(server.capture().has_changes().await));
    let state = server.state().await;
    assert_eq!((state.pending, state.generation), (0, Generation::new(1)));
    server.pack_for(&peer).await;
    assert_eq!(server.state().await.generation, Generation::new(1));
}

/// The shop's own role has no rights on what is ours, and needs none.
pub async fn a_role_without_rights_on_the_ledger_writes_as_before(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let mut clerk = store.shop.clerk().await;
    run_in(
        &mut *clerk,
        r#"INSERT INTO customers (id, "fullName") VALUES (9, 'Cleo'); UPDATE products SET price = '7' WHERE id = 1;
        DELETE FROM order_items WHERE line = 2"#,
    )
    .await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.lines(), 3);
    assert_same(&store, &hq).await;
}

/// A migration that copies a table, drops it and gives the copy its name takes the triggers with it.
const REBUILD: &str = "
CREATE TABLE copy_of_codes (id BIGINT PRIMARY KEY, code TEXT NOT NULL UNIQUE, slot BIGINT UNIQUE, shelf BIGINT NOT NULL UNIQUE);
INSERT INTO copy_of_codes SELECT * FROM codes;
DROP TABLE codes;
ALTER TABLE copy_of_codes RENAME TO codes;
";

/// The pack notices, mends, and says that changes may have been missed; what comes afterwards is captured.
pub async fn a_rebuilt_table_is_noticed_at_the_pack(fixture: &dyn Fixture) {
    let rows = "INSERT INTO codes VALUES (1, 'a', 1, 1), (2, 'b', 2, 2)";
    let (mut store, mut hq) = pair(fixture, Shape::Codes, rows).await;
    store.write("UPDATE codes SET slot = 7 WHERE id = 1").await;
    store.write(REBUILD).await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("codes"), (1, 0));
    let codes = table_name("codes");
    assert!(store.state().await.tables[&codes], "no compare is due");
    store.write("UPDATE codes SET slot = 8 WHERE id = 2; DELETE FROM codes WHERE id = 1").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("codes"), (1, 1));
    assert_same(&store, &hq).await;
    assert!(store.state().await.tables[&codes], "a pack takes the mark away");
    let done = Amendment::SetCompareDue { tables: vec![codes.clone()], due: false };
    worked(store.capture().amend(done).await);
    assert!(!store.state().await.tables[&codes]);
    assert_eq!(store.attach().await, AttachReport { captured: 1, ..AttachReport::default() });
}

/// Attaching again mends as well, and names the table.
pub async fn a_rebuilt_table_is_mended_by_attach(fixture: &dyn Fixture) {
    let server = TestServer::attached(fixture, Shape::Codes, "", "STORE-001").await;
    server.write(REBUILD).await;
    let mended = vec![table_name("codes")];
    assert_eq!(server.attach().await, AttachReport { mended, captured: 1, ..AttachReport::default() });
    assert!(server.state().await.tables[&table_name("codes")]);
    server.write("INSERT INTO codes VALUES (1, 'a', 1, 1)").await;
    assert!(worked(server.capture().has_changes().await));
}

/// A table that a migration adds is taken in by the next pack, with the rows that it has by then: whoever knows our
/// life would believe to have its base.
pub async fn a_new_table_is_taken_in_with_its_rows(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let table = "CREATE TABLE vouchers (id BIGINT PRIMARY KEY, amount BIGINT)";
    store.write(table).await;
    store.write("INSERT INTO vouchers VALUES (1, 10), (2, 20)").await;
    hq.write(table).await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("vouchers"), (2, 0));
    assert_same(&store, &hq).await;
    assert!(store.state().await.tables.contains_key(&table_name("vouchers")));
    store.write("DELETE FROM vouchers WHERE id = 1; INSERT INTO vouchers VALUES (3, 30)").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("vouchers"), (1, 1));
    assert_same(&store, &hq).await;
}

/// A table that was dropped is captured no more, and holds up nothing.
pub async fn a_dropped_table_is_forgotten(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("INSERT INTO loyalty (id, customer_id) VALUES (1, 1); UPDATE products SET price = '7'").await;
    store.write("DROP TABLE loyalty").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("products"), backup.count("loyalty"), backup.lines()), ((3, 0), (0, 0), 3));
    assert!(!store.state().await.tables.contains_key(&table_name("loyalty")));
}

/// A column that a migration adds travels from then on.
pub async fn a_new_column_travels(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    for server in [&store, &hq] {
        server.write("ALTER TABLE products ADD COLUMN shelf TEXT").await;
    }
    store.write("UPDATE products SET shelf = 'top' WHERE id = 2").await;
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!(backup.count("products"), (1, 0));
    assert_eq!(hq.query("SELECT shelf FROM products WHERE id = 2").await, ["top"]);
    assert_same(&store, &hq).await;
}
