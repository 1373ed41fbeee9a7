//! Claims about new lives, and about servers whose changes nobody captures.

use branchline_core::backup::BackupType;
use branchline_core::id::{Epoch, Generation};
use branchline_core::ports::Amendment;
use branchline_core::version::{ChangeTime, Dot, Life};

use super::super::backup::TestBackup;
use super::super::restoring::SHOP_ROWS;
use super::super::{Fixture, Shape, worked};
use super::server::{TestServer, assert_quiet, assert_same, deliver, pair, send, settle};
use crate::state::server_id;

/// A database that was restored from a copy, in which a change still waited that a pack had carried afterwards: the
/// change says in which generation it was, so that nobody gets it twice and nobody takes it for a conflict.
pub async fn a_change_that_the_life_before_packed_is_not_doubled(fixture: &dyn Fixture) {
    let (mut lost, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    // The copy that was restored stands in its place: the same rows, the same server, the change not packed yet.
    let mut restored = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    let change = "UPDATE products SET price = '5' WHERE id = 1; DELETE FROM order_items WHERE line = 2";
    lost.write(change).await;
    restored.write(change).await;
    send(&mut lost, &mut hq).await;
    let life = Life::new(restored.id.clone(), Epoch::new(2));
    let clock = ChangeTime::from_micros(restored.state().await.clock.micros() + 3_600_000_000);
    let begin = Amendment::BeginLife {
        epoch: life.epoch,
        packed: Generation::new(1),
        carried_until: ChangeTime::from_micros(u64::MAX),
        clock,
    };
    worked(restored.capture().amend(begin).await);
    let state = restored.state().await;
    assert_eq!((&state.own, state.generation), (&life, Generation::new(0)));
    assert_eq!(state.knowledge.generation(&life), Some(Generation::new(0)));
    assert_eq!(state.knowledge.generation(&lost.life()), Some(Generation::new(0)));
    restored.write("UPDATE products SET price = '6' WHERE id = 2").await;

    let everything = restored.full_for(&server_id("STORE-002")).await;
    assert!(everything.position.clock >= clock, "the clock goes back");
    let was = Some(Dot::new(lost.life(), Generation::new(1)));
    for (table, part, expected) in [
        ("products", "\"price\":\"5\"", &was),
        ("order_items", "$deleted", &was),
        ("products", "\"price\":\"6\"", &None),
    ] {
        let row = everything.rows_of(table).into_iter().find(|row| row.line.contains(part));
        let version = row.expect("a changed row").version;
        assert_eq!((&version.dot, &version.was), (&Dot::new(life.clone(), Generation::new(1)), expected));
    }

    restored.acknowledge(&hq.id, &hq.state().await.knowledge);
    let (increment, report) = send(&mut restored, &mut hq).await;
    assert_eq!(increment.request.backup_type, BackupType::Incremental);
    // The others go along, so that whoever has them learns of their other dots.
    assert_eq!((increment.count("products"), increment.lines()), ((2, 0), 3));
    let merged = increment.merged_in_all(&report);
    assert_eq!((merged.inserted, merged.updated, merged.deleted, merged.conflicts), (0, 1, 0, 0));
    let full = restored.full_for(&hq.id).await;
    let report = deliver(&mut restored, &mut hq, &full).await;
    let merged = full.merged_in_all(&report);
    assert_eq!((merged.inserted, merged.updated, merged.deleted, merged.conflicts), (0, 0, 0, 0));
    assert_eq!(hq.state().await.conflicts, 0);
    assert_same(&hq, &restored).await;
    send(&mut hq, &mut restored).await;
    assert_quiet(&mut restored, &mut hq).await;
}

/// What the life before had sent and the copy lacks comes back from whoever has it.
pub async fn a_restored_database_gets_back_what_it_lost(fixture: &dyn Fixture) {
    let (mut lost, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    let mut restored = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    lost.write("UPDATE products SET price = '5' WHERE id = 1; INSERT INTO products VALUES (8, 'C-1', '1')")
        .await;
    send(&mut lost, &mut hq).await;
    let clock = lost.state().await.clock;
    let begin = Amendment::BeginLife {
        epoch: Epoch::new(2),
        packed: Generation::new(1),
        carried_until: ChangeTime::from_micros(u64::MAX),
        clock,
    };
    worked(restored.capture().amend(begin).await);
    restored.write("INSERT INTO products VALUES (9, 'C-2', '2')").await;
    hq.relay_to(&restored.id);
    let knowledge = restored.state().await.knowledge;
    let mut hq_anew = TestServer::over(hq.shop, "HQ");
    hq_anew.relay_to(&restored.id);
    hq_anew.acknowledge(&restored.id, &knowledge);
    let (back, _) = send(&mut hq_anew, &mut restored).await;
    assert_eq!((back.count("products"), back.lines()), ((2, 0), 2));
    send(&mut restored, &mut hq_anew).await;
    assert_eq!(restored.query("SELECT id FROM products ORDER BY id").await, ["1", "2", "3", "8", "9"]);
    settle(&mut restored, &mut hq_anew).await;
}

/// A target that captures nothing applies increments as they come: rows go in, deletions go out.
pub async fn a_target_without_capture_applies_increments(fixture: &dyn Fixture) {
    let mut store = TestServer::attached(fixture, Shape::Shop, SHOP_ROWS, "STORE-001").await;
    let mut mirror = TestServer::detached(fixture, Shape::Shop, "", "HQ").await;
    let (full, report) = send(&mut store, &mut mirror).await;
    assert_eq!((full.request.backup_type, report.knowledge), (BackupType::Full, None));
    assert_same(&mirror, &store).await;
    store
        .write("UPDATE products SET price = '5' WHERE id = 1; DELETE FROM order_items WHERE product_id = 2")
        .await;
    store.write("DELETE FROM products WHERE id = 2; INSERT INTO products VALUES (8, 'A-2', '1')").await;
    let (backup, report) = send(&mut store, &mut mirror).await;
    assert_eq!((backup.count("products"), backup.count("order_items")), ((2, 1), (0, 1)));
    let merged = backup.merged_in_all(&report);
    assert_eq!((merged.inserted, merged.updated, merged.deleted, merged.conflicts), (1, 1, 2, 0));
    assert_same(&mirror, &store).await;
    store.write("UPDATE order_items SET line = 5 WHERE line = 2; DELETE FROM loyalty").await;
    send(&mut store, &mut mirror).await;
    assert_same(&mirror, &store).await;
    assert_eq!(worked(mirror.capture().look().await), None);
}

/// Rows that come from a server that captures nothing count as changes made here, and go on from here.
pub async fn rows_of_a_source_without_capture_are_changes_made_here(fixture: &dyn Fixture) {
    let plain = fixture.create(Shape::Shop).await;
    plain.execute(SHOP_ROWS).await;
    plain.execute("UPDATE products SET price = '5' WHERE id = 1").await;
    let (mut third, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    plain.execute("INSERT INTO products VALUES (8, 'C-1', '1')").await;
    let backup = TestBackup::of(&*plain.database()).await.at(9);
    let report = worked(backup.apply(hq.database()).await);
    assert_eq!(backup.merged(&report, "products").inserted, 1);
    assert_eq!(report.knowledge, Some(hq.state().await.knowledge));
    assert!(worked(hq.capture().has_changes().await));
    let (onward, _) = send(&mut hq, &mut third).await;
    assert_eq!((onward.count("products"), onward.lines()), ((2, 0), 2));
    for row in onward.rows_of("products") {
        assert_eq!(row.version.dot.life, hq.life());
    }
    assert_same(&third, &hq).await;
}

/// A plain copy into an attached, empty database: every row is a change made there.
pub async fn a_plain_copy_into_an_attached_database_travels(fixture: &dyn Fixture) {
    let plain = fixture.create(Shape::Shop).await;
    plain.execute(SHOP_ROWS).await;
    let (mut third, mut hq) = pair(fixture, Shape::Shop, "").await;
    worked(TestBackup::of(&*plain.database()).await.at(9).apply(hq.database()).await);
    let (onward, _) = send(&mut hq, &mut third).await;
    assert_eq!(onward.lines(), 10);
    assert_same(&third, &hq).await;
}
