//! Claims about rows that hold on to each other: unique values that change hands, cycles, self-references.

use super::backup::{TestBackup, hashes_of};
use super::{Fixture, Shape, TestDatabase, worked};

/// Two databases with the rows of `codes` that each statement makes.
async fn codes(
    fixture: &dyn Fixture,
    source: &str,
    target: &str,
) -> (Box<dyn TestDatabase>, Box<dyn TestDatabase>) {
    let (from, to) = (fixture.create(Shape::Codes).await, fixture.create(Shape::Codes).await);
    from.execute(&format!("INSERT INTO codes (id, code, slot, shelf) VALUES {source}")).await;
    to.execute(&format!("INSERT INTO codes (id, code, slot, shelf) VALUES {target}")).await;
    (from, to)
}

async fn restored(source: &dyn TestDatabase, target: &dyn TestDatabase) -> (u64, u64, u64) {
    let backup = TestBackup::of(&*source.database()).await;
    let report = worked(backup.apply(&*target.database()).await);
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
    let counted = report.tables[0];
    (counted.inserted, counted.updated, counted.unchanged)
}

/// Two rows swap a value that each must have; the rows are counted once.
pub async fn swapped_unique_values_are_restored(fixture: &dyn Fixture) {
    let (source, target) = codes(
        fixture,
        "(1, 'a', 1, 1), (2, 'b', 2, 2), (3, 'c', 3, 3)",
        "(1, 'b', 2, 2), (2, 'a', 1, 1), (3, 'c', 3, 3)",
    )
    .await;
    assert_eq!(restored(&*source, &*target).await, (0, 2, 1));
}

/// Values move on by one place, round a ring.
pub async fn a_ring_of_unique_values_is_restored(fixture: &dyn Fixture) {
    let (source, target) = codes(
        fixture,
        "(1, 'a', 1, 1), (2, 'b', 2, 2), (3, 'c', 3, 3)",
        "(1, 'c', 3, 3), (2, 'a', 1, 1), (3, 'b', 2, 2)",
    )
    .await;
    assert_eq!(restored(&*source, &*target).await, (0, 3, 0));
}

/// NULL is no value that could clash.
pub async fn unique_values_that_are_null_are_swapped(fixture: &dyn Fixture) {
    let (source, target) =
        codes(fixture, "(1, 'a', NULL, 1), (2, 'b', 7, 2)", "(1, 'a', 7, 1), (2, 'b', NULL, 2)").await;
    assert_eq!(restored(&*source, &*target).await, (0, 2, 0));
}

/// A new row takes the value that an old one gives up.
pub async fn a_unique_value_moves_to_a_new_row(fixture: &dyn Fixture) {
    let (source, target) = codes(fixture, "(1, 'z', 1, 9), (2, 'a', 2, 1)", "(1, 'a', 1, 1)").await;
    assert_eq!(restored(&*source, &*target).await, (1, 1, 0));
}

/// Children come before their parents in the backup and are restored all the same.
pub async fn a_self_reference_is_restored(fixture: &dyn Fixture) {
    let (source, target) = (fixture.create(Shape::Tree).await, fixture.create(Shape::Tree).await);
    source.execute("INSERT INTO categories VALUES (9, 'all', NULL); INSERT INTO categories VALUES (5, 'food', 9), (6, 'self', 6)").await;
    source
        .execute(
            "INSERT INTO categories VALUES (1, 'tea', 5); INSERT INTO categories VALUES (2, 'green tea', 1)",
        )
        .await;
    assert_eq!(restored(&*source, &*target).await, (5, 0, 0));
    source.execute("UPDATE categories SET parent_id = 2 WHERE id = 9").await;
    let backup = TestBackup::of(&*source.database()).await.at(2);
    worked(backup.apply(&*target.database()).await);
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}

/// Two tables point at each other, one of them without NULL.
pub async fn a_cycle_of_foreign_keys_is_restored(fixture: &dyn Fixture) {
    let (source, target) = (fixture.create(Shape::Cycle).await, fixture.create(Shape::Cycle).await);
    source
        .execute("INSERT INTO employees VALUES (1, 'Ada', NULL); INSERT INTO businesses VALUES (7, 1)")
        .await;
    source.execute("UPDATE employees SET business_id = 7; INSERT INTO employees VALUES (2, 'Bo', 7)").await;
    let backup = TestBackup::of(&*source.database()).await;
    let report = worked(backup.apply(&*target.database()).await);
    assert_eq!(backup.merged(&report, "employees").inserted, 2);
    assert_eq!(backup.merged(&report, "businesses").inserted, 1);
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
}
