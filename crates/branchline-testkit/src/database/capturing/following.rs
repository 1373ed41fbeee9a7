//! Claims about filters that follow foreign keys: rows go where the rows go that they point at.
//!
//! The head office keeps customers of the south back, and with them their orders, the lines of these, their loyalty and
//! their complaints. A complaint of nobody is everybody's.

use branchline_core::ports::TableMerge;
use branchline_core::scope::Filter;
use branchline_core::version::Version;

use super::super::{Fixture, Shape};
use super::filtering::{assert_scope_is_same, filter, filtered_pair};
use super::server::{TestServer, assert_quiet, send};

const NORTH_AND_SOUTH: &str = r#"
INSERT INTO customers (id, "fullName") VALUES (1, 'North 1'), (2, 'South 2');
INSERT INTO products VALUES (1, 'A-1', '1');
INSERT INTO orders (id, "customerId") VALUES
    ('00000000-0000-4000-8000-000000000001', 1), ('00000000-0000-4000-8000-000000000002', 2);
INSERT INTO order_items VALUES
    ('00000000-0000-4000-8000-000000000001', 1, 1, 1), ('00000000-0000-4000-8000-000000000001', 2, 1, 1),
    ('00000000-0000-4000-8000-000000000002', 1, 1, 1);
INSERT INTO loyalty VALUES (1, 1), (2, 2);
INSERT INTO complaints VALUES (1, 1), (2, 2), (3, NULL);
"#;

const TO_THE_SOUTH: &str = r#"UPDATE customers SET "fullName" = 'South 1' WHERE id = 1"#;
const TO_THE_NORTH: &str = r#"UPDATE customers SET "fullName" = 'North 1' WHERE id = 1"#;
const SECOND_TO_THE_NORTH: &str = r#"UPDATE customers SET "fullName" = 'North 2' WHERE id = 2"#;

fn north() -> Vec<Filter> {
    vec![Filter { follow: true, ..filter("customers", "\"fullName\" LIKE 'North%'") }]
}

async fn regions(fixture: &dyn Fixture) -> (TestServer, TestServer) {
    filtered_pair(fixture, Shape::Shop, NORTH_AND_SOUTH, north()).await
}

/// How many rows there are of customers, orders, their lines, loyalty and complaints.
async fn rows_of(server: &TestServer) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["customers", "orders", "order_items", "loyalty", "complaints"] {
        rows.extend(server.query(&format!("SELECT count(*) FROM {table}")).await);
    }
    rows
}

/// Only the parent changes: all that hangs on it goes and comes with it, in the versions that it had.
pub async fn children_leave_and_come_with_their_parents(fixture: &dyn Fixture) {
    let (mut hq, mut store) = regions(fixture).await;
    assert_eq!(rows_of(&store).await, ["1", "1", "2", "1", "2"]);
    hq.write("UPDATE order_items SET quantity = 5 WHERE line = 2").await;
    let (changed, _) = send(&mut hq, &mut store).await;
    let version = changed.rows_of("order_items")[0].version.clone();
    for _ in 0..2 {
        hq.write(TO_THE_SOUTH).await;
        let (backup, report) = send(&mut hq, &mut store).await;
        for (table, leaving) in
            [("customers", 1), ("orders", 1), ("order_items", 2), ("loyalty", 1), ("complaints", 1)]
        {
            assert_eq!(
                (backup.count(table), backup.leaving(table)),
                ((0, leaving), leaving as usize),
                "{table}"
            );
        }
        assert_eq!(backup.merged_in_all(&report), TableMerge { deleted: 6, ..TableMerge::default() });
        assert_eq!(rows_of(&store).await, ["0", "0", "0", "0", "1"]);
        assert_eq!((hq.state().await.tombstones, store.state().await.tombstones), (0, 0));
        assert_quiet(&mut hq, &mut store).await;
        hq.write(TO_THE_NORTH).await;
        let (backup, report) = send(&mut hq, &mut store).await;
        assert_eq!((backup.count("orders"), backup.count("order_items")), ((1, 0), (2, 0)));
        let versions: Vec<_> = backup.rows_of("order_items").into_iter().map(|row| row.version).collect();
        assert!(versions.contains(&version) && versions.contains(&Version::base(hq.life())), "{versions:?}");
        assert_eq!(backup.merged_in_all(&report), TableMerge { inserted: 6, ..TableMerge::default() });
        assert_eq!(store.query("SELECT quantity FROM order_items ORDER BY line").await, ["1", "5"]);
        assert_scope_is_same(&hq, &store).await;
        assert_quiet(&mut hq, &mut store).await;
    }
}

/// A child that points elsewhere is a change of its own; so are a child that is new, and one that is gone.
pub async fn a_child_that_changes_its_parent_moves_in_and_out(fixture: &dyn Fixture) {
    let (mut hq, mut store) = regions(fixture).await;
    hq.write(r#"UPDATE orders SET "customerId" = 3 - "customerId""#).await;
    hq.write("INSERT INTO loyalty VALUES (3, 1), (4, 2); DELETE FROM complaints WHERE id < 3").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("orders"), backup.leaving("orders")), ((1, 1), 1));
    assert_eq!((backup.count("order_items"), backup.leaving("order_items")), ((1, 2), 2));
    assert_eq!((backup.count("loyalty"), backup.count("complaints")), ((1, 0), (0, 1)));
    assert_eq!((backup.leaving("complaints"), backup.count("customers")), (0, (0, 0)));
    assert_eq!(rows_of(&store).await, ["1", "1", "1", "2", "1"]);
    assert_scope_is_same(&hq, &store).await;
    hq.write("UPDATE complaints SET customer_id = 2 WHERE id = 3").await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("complaints"), backup.leaving("complaints")), ((0, 1), 1));
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// A table with a filter of its own that is followed besides needs both.
pub async fn a_condition_of_a_child_holds_besides_its_parents(fixture: &dyn Fixture) {
    let mut filters = north();
    filters.push(filter("loyalty", "id < 10"));
    let (mut hq, mut store) = filtered_pair(fixture, Shape::Shop, NORTH_AND_SOUTH, filters).await;
    hq.write("INSERT INTO loyalty VALUES (7, 1), (8, 2), (17, 1), (18, 2)").await;
    send(&mut hq, &mut store).await;
    assert_eq!(store.query("SELECT id FROM loyalty ORDER BY id").await, ["1", "7"]);
    hq.write(SECOND_TO_THE_NORTH).await;
    send(&mut hq, &mut store).await;
    assert_eq!(store.query("SELECT id FROM loyalty ORDER BY id").await, ["1", "2", "7", "8"]);
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// A row of the shop's own making that left with its parent comes back with it, though its maker is told of no change.
pub async fn what_the_target_made_comes_back_with_its_parent(fixture: &dyn Fixture) {
    let (mut hq, mut store) = regions(fixture).await;
    store.write("INSERT INTO loyalty VALUES (5, 1)").await;
    send(&mut store, &mut hq).await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!(backup.lines(), 0);
    hq.write(TO_THE_SOUTH).await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("loyalty"), backup.leaving("loyalty")), ((0, 2), 2));
    assert_eq!(rows_of(&store).await, ["0", "0", "0", "0", "1"]);
    hq.write(TO_THE_NORTH).await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!(backup.count("loyalty"), (2, 0));
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// Where nothing of others is passed on, a parent that comes into scope brings only what is ours.
pub async fn what_others_made_does_not_follow_a_parent(fixture: &dyn Fixture) {
    let (mut hq, mut store) = regions(fixture).await;
    let mut other = TestServer::attached(fixture, Shape::Shop, "", "STORE-002").await;
    send(&mut hq, &mut other).await;
    send(&mut other, &mut hq).await;
    other.write("INSERT INTO loyalty VALUES (22, 2)").await;
    send(&mut other, &mut hq).await;
    hq.write(SECOND_TO_THE_NORTH).await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!(
        (backup.count("customers"), backup.count("orders"), backup.count("loyalty")),
        ((1, 0), (1, 0), (1, 0))
    );
    assert_eq!(store.query("SELECT id FROM loyalty ORDER BY id").await, ["1", "2"]);
    assert_quiet(&mut hq, &mut store).await;
    hq.relay_to(&store.id);
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("loyalty"), backup.lines()), ((1, 0), 1));
    assert_scope_is_same(&hq, &store).await;
}

/// A customer cannot leave who would take rows along of which the head office has not heard; he leaves when he can.
pub async fn a_row_that_unknown_rows_hang_on_does_not_leave(fixture: &dyn Fixture) {
    let (mut hq, mut store) = regions(fixture).await;
    store.write("INSERT INTO loyalty VALUES (9, 1)").await;
    hq.write(TO_THE_SOUTH).await;
    let (backup, report) = send(&mut hq, &mut store).await;
    let merged = backup.merged(&report, "customers");
    assert_eq!((backup.leaving("customers"), merged.deleted, merged.held), (1, 0, 1));
    assert_eq!(rows_of(&store).await, ["1", "0", "0", "1", "1"]);
    store.write("DELETE FROM loyalty WHERE id = 9").await;
    hq.write("INSERT INTO products VALUES (2, 'A-2', '2')").await;
    let (_, report) = send(&mut hq, &mut store).await;
    assert_eq!(report.released, 1);
    assert_eq!(rows_of(&store).await, ["0", "0", "0", "0", "1"]);
    assert_eq!((store.state().await.held.len(), store.state().await.tombstones), (0, 0));
}

/// A row may leave without those that hang on it only where nothing would go along: at its source they are still there.
pub async fn what_is_not_followed_is_not_taken_along(fixture: &dyn Fixture) {
    let rows = r#"INSERT INTO customers (id, "fullName") VALUES (1, 'North 1'), (2, 'North 2');
        INSERT INTO loyalty VALUES (1, 1)"#;
    let filters = vec![filter("customers", "\"fullName\" LIKE 'North%'")];
    let (mut hq, mut store) = filtered_pair(fixture, Shape::Shop, rows, filters).await;
    hq.write(r#"UPDATE customers SET "fullName" = 'South'"#).await;
    let (backup, report) = send(&mut hq, &mut store).await;
    let merged = backup.merged(&report, "customers");
    assert_eq!((backup.leaving("customers"), merged.deleted, merged.held), (2, 1, 1));
    assert_eq!(rows_of(&store).await, ["1", "0", "0", "1", "0"]);
    let (back, _) = send(&mut store, &mut hq).await;
    assert_eq!(back.lines(), 0);
    assert_eq!(rows_of(&hq).await, ["2", "0", "0", "1", "0"]);
    hq.write("DELETE FROM loyalty").await;
    let (_, report) = send(&mut hq, &mut store).await;
    assert_eq!(report.released, 1);
    assert_eq!(rows_of(&store).await, ["0", "0", "0", "0", "0"]);
}

/// A row that could not go in, because what it points at is kept back, and then leaves: nothing of it is left.
pub async fn what_is_held_of_a_row_goes_when_it_leaves(fixture: &dyn Fixture) {
    let mut filters = north();
    filters.push(filter("products", "sku LIKE 'A-%'"));
    let (mut hq, mut store) = filtered_pair(fixture, Shape::Shop, NORTH_AND_SOUTH, filters).await;
    hq.write(
        "INSERT INTO products VALUES (2, 'B-2', '2'); UPDATE order_items SET product_id = 2 WHERE line = 2",
    )
    .await;
    hq.write("INSERT INTO order_items VALUES ('00000000-0000-4000-8000-000000000001', 3, 2, 1)").await;
    send(&mut hq, &mut store).await;
    assert_eq!(store.state().await.held.len(), 2);
    hq.write(TO_THE_SOUTH).await;
    send(&mut hq, &mut store).await;
    assert_eq!(
        (store.state().await.held.len(), rows_of(&store).await),
        (0, ["0", "0", "0", "0", "1"].map(String::from).to_vec())
    );
    hq.write("UPDATE products SET sku = 'A-2' WHERE id = 2").await;
    send(&mut hq, &mut store).await;
    assert_scope_is_same(&hq, &store).await;
    hq.write(TO_THE_NORTH).await;
    send(&mut hq, &mut store).await;
    assert_eq!(rows_of(&store).await, ["1", "1", "3", "1", "2"]);
    assert_scope_is_same(&hq, &store).await;
    assert_quiet(&mut hq, &mut store).await;
}

/// Rows that could not leave, and are in the scope again before they could: they stay.
pub async fn what_comes_back_before_it_could_leave_stays(fixture: &dyn Fixture) {
    let (mut hq, mut store) = regions(fixture).await;
    let unknown = "INSERT INTO order_items VALUES ('00000000-0000-4000-8000-000000000001', 9, 1, 1)";
    store.write(unknown).await;
    hq.write(TO_THE_SOUTH).await;
    send(&mut hq, &mut store).await;
    assert_eq!(rows_of(&store).await, ["1", "1", "1", "0", "1"]);
    assert_eq!(store.state().await.held.len(), 2);
    hq.write(TO_THE_NORTH).await;
    let (backup, _) = send(&mut hq, &mut store).await;
    assert_eq!((backup.count("orders"), store.state().await.held.len()), ((1, 0), 0));
    store.write("DELETE FROM order_items WHERE line = 9").await;
    hq.write("INSERT INTO products VALUES (2, 'A-2', '2')").await;
    send(&mut hq, &mut store).await;
    assert_eq!(rows_of(&store).await, ["1", "1", "2", "1", "2"]);
    assert_scope_is_same(&hq, &store).await;
}
