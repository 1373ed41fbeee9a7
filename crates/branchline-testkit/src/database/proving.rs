//! Claims about snapshots and the hashes that are taken of them.

use branchline_core::compare::{Difference, TableDifference, differing_buckets};
use branchline_core::limits::BATCH_BYTES;
use branchline_core::schema::TableName;

use super::backup::{TestBackup, hashes_of, specs_of, table_name};
use super::restoring::{MANY_CODES, shop};
use super::{Fixture, Shape, worked};

/// What is written after it was taken is not in it, in a table that was read and in one that was not.
pub async fn a_snapshot_does_not_see_later_writes(fixture: &dyn Fixture) {
    let shop = shop(fixture).await;
    let before = hashes_of(&*shop.database()).await;
    let mut snapshot = worked(shop.database().snapshot().await);
    shop.execute(
        r#"INSERT INTO customers (id, "fullName") VALUES (9, 'Late'); UPDATE products SET price = '7'"#,
    )
    .await;
    for spec in specs_of(snapshot.schema()) {
        assert_eq!(worked(snapshot.hashes(&spec).await), before[&spec.table], "{}", spec.table);
    }
    let customers = table_name("customers");
    worked(snapshot.open(&customers).await);
    let batch = worked(snapshot.next().await).expect("rows");
    assert_eq!(batch.rows, 2);
    assert_eq!(worked(snapshot.next().await), None);
    assert_eq!(worked(snapshot.next().await), None);
    worked(snapshot.close().await);
    assert_ne!(hashes_of(&*shop.database()).await, before);
}

/// A write that comes while a table is being read does not wait for the reader.
pub async fn a_snapshot_holds_up_nobody(fixture: &dyn Fixture) {
    let codes = fixture.create(Shape::Codes).await;
    codes.execute(MANY_CODES).await;
    let mut snapshot = worked(codes.database().snapshot().await);
    worked(snapshot.open(&table_name("codes")).await);
    let first = worked(snapshot.next().await).expect("rows");
    codes
        .execute("DELETE FROM codes WHERE id > 10; INSERT INTO codes (id, code, shelf) VALUES (0, 'new', 0)")
        .await;
    let mut rows = first.rows;
    while let Some(batch) = worked(snapshot.next().await) {
        rows += batch.rows;
    }
    assert_eq!(rows, 6_000);
    // Dropped, not closed: it ends all the same.
    drop(snapshot);
    codes.execute("DELETE FROM codes").await;
}

/// Equal rows have equal hashes, and one changed value changes its table's alone.
pub async fn hashes_are_equal_after_a_restore(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    worked(TestBackup::of(&*source.database()).await.apply(&*target.database()).await);
    let here = hashes_of(&*source.database()).await;
    assert_eq!(hashes_of(&*target.database()).await, here);
    assert_eq!(here[&table_name("order_items")].rows, 3);
    target.execute("UPDATE products SET price = '1.11' WHERE id = 1").await;
    let there = hashes_of(&*target.database()).await;
    let differ: Vec<_> =
        here.keys().filter(|name| here[*name] != there[*name]).map(TableName::as_str).collect();
    assert_eq!(differ, ["products"]);
}

/// The same rows, written in another order and with other widths of the same number.
pub async fn hashes_do_not_depend_on_the_order_of_rows(fixture: &dyn Fixture) {
    let (one, other) = (fixture.create(Shape::Shop).await, fixture.create(Shape::Shop).await);
    one.execute("INSERT INTO products (id, sku, price) VALUES (1, 'a', '1.10'), (2, 'b', '2')").await;
    other.execute("INSERT INTO products (id, sku, price) VALUES (2, 'b', '2.000'), (1, 'a', '1.1')").await;
    assert_eq!(hashes_of(&*one.database()).await, hashes_of(&*other.database()).await);
}

/// Rows that differ are found through their buckets, each once, by key.
pub async fn row_digests_name_what_differs(fixture: &dyn Fixture) {
    let (here, there) = (fixture.create(Shape::Codes).await, fixture.create(Shape::Codes).await);
    for codes in [&here, &there] {
        codes.execute(MANY_CODES).await;
    }
    here.execute("DELETE FROM codes WHERE id = 17; UPDATE codes SET slot = 5 WHERE id = 18").await;
    there.execute("DELETE FROM codes WHERE id = 19").await;
    let (here, there) = (here.database(), there.database());
    let (mut here, mut there) = (worked(here.snapshot().await), worked(there.snapshot().await));
    let spec = &specs_of(here.schema())[0];
    let buckets = differing_buckets(&worked(here.hashes(spec).await), &worked(there.hashes(spec).await));
    let buckets: Vec<u32> = buckets.into_iter().map(|(bucket, _)| bucket).collect();
    assert!((1..=3).contains(&buckets.len()), "{buckets:?}");
    let mut difference = TableDifference::default();
    let (ours, theirs) =
        (worked(here.row_digests(spec, &buckets).await), worked(there.row_digests(spec, &buckets).await));
    assert!(ours.is_sorted() && theirs.is_sorted());
    difference.add(&ours, &theirs);
    let named: Vec<_> = difference.named.iter().map(|(how, key)| (*how, key.as_str())).collect();
    let expected =
        [(Difference::MissingHere, "17"), (Difference::Different, "18"), (Difference::MissingThere, "19")];
    assert_eq!(named, expected);
    worked(here.close().await);
    worked(there.close().await);
}

/// No batch is larger than its bound, unless one row is.
pub async fn a_batch_is_bounded(fixture: &dyn Fixture) {
    let codes = fixture.create(Shape::Codes).await;
    codes.execute(MANY_CODES).await;
    let backup = TestBackup::of(&*codes.database()).await;
    for (_, batch) in &backup.batches {
        assert!(batch.lines.len() <= BATCH_BYTES, "{} bytes", batch.lines.len());
        assert_eq!(batch.objects().count() as u64, batch.rows);
    }
    assert_eq!(backup.tables[0].rows, 6_000);
}

/// What is ours is in no catalogue, and so in no backup.
pub async fn the_ledger_is_no_table_of_the_shop(fixture: &dyn Fixture) {
    let shop = shop(fixture).await;
    let before = worked(shop.database().schema().await);
    worked(shop.database().ledger().await);
    let after = worked(shop.database().schema().await);
    let names = |schema: &branchline_core::schema::Schema| -> Vec<String> {
        schema.tables().map(|table| table.name.to_string()).collect()
    };
    assert_eq!(names(&after), names(&before));
    assert_eq!(names(&after), ["complaints", "customers", "loyalty", "order_items", "orders", "products"]);
}
