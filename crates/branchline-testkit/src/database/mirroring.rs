//! Claims about mirrors, which remove the rows that the backup does not hold.

use branchline_core::code::Code;

use super::backup::{TestBackup, hashes_of};
use super::refusing::assert_backup_refused;
use super::restoring::shop;
use super::{Fixture, Shape, worked};

/// The tables of a shop that a mirror covers here; `loyalty` and `complaints` stay outside.
const COVERED: [&str; 4] = ["customers", "products", "orders", "order_items"];

/// Rows go, are counted, and children go before their parents.
pub async fn a_mirror_removes_what_the_backup_lacks(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    source.execute("DELETE FROM order_items WHERE line = 2; DELETE FROM products WHERE id = 3").await;
    target.execute(r#"INSERT INTO customers (id, "fullName") VALUES (8, 'Gone')"#).await;
    target
        .execute(
            r#"INSERT INTO orders (id, "customerId") VALUES ('00000000-0000-4000-8000-000000000008', 8)"#,
        )
        .await;
    let backup = TestBackup::of_tables(&*source.database(), &COVERED).await.mirrored();
    let report = worked(backup.apply(&*target.database()).await);
    for (table, unchanged) in [("customers", 2), ("products", 2), ("orders", 2), ("order_items", 2)] {
        let merged = backup.merged(&report, table);
        assert_eq!((merged.deleted, merged.unchanged), (1, unchanged), "{table}");
    }
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}

/// A child that got another parent stays when its old parent goes.
pub async fn a_mirror_keeps_children_that_moved(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    source.execute("INSERT INTO loyalty (id, customer_id) VALUES (1, 1)").await;
    target.execute(r#"INSERT INTO customers (id, "fullName") VALUES (8, 'Gone')"#).await;
    target.execute("INSERT INTO loyalty (id, customer_id) VALUES (1, 8), (2, 8)").await;
    let backup = TestBackup::of(&*source.database()).await.mirrored();
    let report = worked(backup.apply(&*target.database()).await);
    let loyalty = backup.merged(&report, "loyalty");
    assert_eq!((loyalty.updated, loyalty.deleted), (1, 1));
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}

/// A row of the backup takes the unique value of a row that goes.
pub async fn a_mirror_frees_unique_values(fixture: &dyn Fixture) {
    let (source, target) = (fixture.create(Shape::Codes).await, fixture.create(Shape::Codes).await);
    source.execute("INSERT INTO codes (id, code, slot, shelf) VALUES (1, 'a', 1, 1), (2, 'b', 2, 2)").await;
    target
        .execute(
            "INSERT INTO codes (id, code, slot, shelf) VALUES (1, 'z', 9, 9), (3, 'a', 1, 1), (4, 'b', 2, 2)",
        )
        .await;
    let backup = TestBackup::of(&*source.database()).await.mirrored();
    let report = worked(backup.apply(&*target.database()).await);
    let codes = backup.merged(&report, "codes");
    assert_eq!((codes.inserted, codes.updated, codes.deleted), (1, 1, 2));
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}

/// Rows that point at each other go together.
pub async fn a_mirror_of_a_cycle_removes_it(fixture: &dyn Fixture) {
    let (source, target) = (fixture.create(Shape::Cycle).await, fixture.create(Shape::Cycle).await);
    target
        .execute("INSERT INTO employees VALUES (1, 'Ada', NULL); INSERT INTO businesses VALUES (7, 1)")
        .await;
    target.execute("UPDATE employees SET business_id = 7").await;
    let backup = TestBackup::of(&*source.database()).await.mirrored();
    let report = worked(backup.apply(&*target.database()).await);
    assert_eq!(
        (backup.merged(&report, "employees").deleted, backup.merged(&report, "businesses").deleted),
        (1, 1)
    );
}

/// A row outside the backup would go, or change, with the one it points at.
pub async fn a_mirror_that_would_cascade_outside_is_refused(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    target.execute(r#"INSERT INTO customers (id, "fullName") VALUES (8, 'Gone')"#).await;
    target.execute("INSERT INTO loyalty (id, customer_id) VALUES (1, 8)").await;
    let backup = TestBackup::of_tables(&*source.database(), &COVERED).await.mirrored();
    assert_backup_refused(&*target, &backup, Code::MIRROR_CASCADE).await;
    target.execute("UPDATE loyalty SET customer_id = 1").await;
    worked(backup.apply(&*target.database()).await);
}

/// A row outside the backup would point at nothing.
pub async fn a_mirror_that_leaves_an_orphan_outside_is_refused(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    target.execute(r#"INSERT INTO customers (id, "fullName") VALUES (8, 'Gone')"#).await;
    target.execute("INSERT INTO complaints (id, customer_id) VALUES (1, 8)").await;
    let backup = TestBackup::of_tables(&*source.database(), &COVERED).await.mirrored();
    assert_backup_refused(&*target, &backup, Code::FOREIGN_KEY_BROKEN).await;
}
