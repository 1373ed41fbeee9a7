//! Claims about the ledger, and about sessions that end before they are done.

use branchline_core::code::Code;
use branchline_core::digest::Digest;
use branchline_core::id::{Epoch, Generation, Sequence};
use branchline_core::ports::AppliedRecord;

use super::backup::{TestBackup, hashes_of};
use super::restoring::shop;
use super::{Fixture, Shape, assert_refused, worked};
use crate::state::{backup_id, server_id};

/// What the ledger should say of a backup of [`TestBackup`].
fn record(sequence: u8) -> AppliedRecord {
    AppliedRecord {
        backup: backup_id(sequence),
        source: server_id("STORE-001"),
        epoch: Epoch::new(1),
        sequence: Sequence::new(sequence.into()),
        checksum: Digest::of(&[sequence]),
        metadata: Some(Digest::of(&[sequence, sequence])),
        receipt: format!("receipt {sequence}").into_bytes(),
    }
}

/// Whoever asks for a backup that was applied gets the receipt that was sent.
pub async fn a_repeat_is_known(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    let database = target.database();
    assert_eq!(worked(database.applied(backup_id(1)).await), None);
    worked(TestBackup::of(&*source.database()).await.apply(&*database).await);
    assert_eq!(worked(database.applied(backup_id(1)).await), Some(record(1)));
    assert_eq!(worked(database.applied(backup_id(2)).await), None);
}

/// The last one that was applied, for each source.
pub async fn the_last_backup_of_a_source_is_known(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    let database = target.database();
    let source_id = server_id("STORE-001");
    assert_eq!(worked(database.last_applied(source_id.clone()).await), None);
    let backup = TestBackup::of(&*source.database()).await;
    worked(backup.apply(&*database).await);
    worked(backup.at(2).apply(&*database).await);
    assert_eq!(worked(database.last_applied(source_id).await), Some(record(2)));
    assert_eq!(worked(database.last_applied(server_id("STORE-002")).await), None);
}

/// Another backup with a place in the chain that is taken.
pub async fn a_fork_is_refused(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, shop(fixture).await);
    let database = target.database();
    let backup = TestBackup::of(&*source.database()).await;
    worked(backup.apply(&*database).await);
    source.execute("UPDATE products SET price = '99'").await;
    let other = TestBackup::of(&*source.database()).await;
    let before = hashes_of(&*database).await;
    let mut request = other.request();
    request.backup = backup_id(7);
    request.checksum = Digest::of(b"another");
    let refused = async {
        let mut apply = database.begin_apply(request).await?;
        for (place, batch) in &other.batches {
            apply.stage(*place, batch.clone()).await?;
        }
        apply.merge().await?;
        apply.record(b"receipt", jiff::Timestamp::UNIX_EPOCH).await?;
        apply.commit().await
    };
    assert_refused(refused.await, Code::LEDGER_FORKED);
    assert_eq!(hashes_of(&*database).await, before);
    assert_eq!(worked(database.applied(backup_id(7)).await), None);
}

/// The ledger is made once, and two databases have two names.
pub async fn the_ledger_names_the_database_once(fixture: &dyn Fixture) {
    let (one, other) = (fixture.create(Shape::Nothing).await, fixture.create(Shape::Nothing).await);
    let first = worked(one.database().ledger().await);
    assert_eq!(worked(one.database().ledger().await), first);
    assert_eq!((first.epoch, first.generation), (Epoch::new(1), Generation::new(0)));
    assert!(!first.engine.is_empty());
    assert_ne!(worked(other.database().ledger().await).database_id, first.database_id);
}

/// Aborted after everything but the commit.
pub async fn an_aborted_session_leaves_nothing(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    let database = target.database();
    let backup = TestBackup::of(&*source.database()).await;
    let before = hashes_of(&*database).await;
    let mut apply = worked(backup.staged(&*database).await);
    worked(apply.merge().await);
    worked(apply.record(&backup.receipt(), jiff::Timestamp::UNIX_EPOCH).await);
    worked(apply.abort().await);
    assert_eq!(hashes_of(&*database).await, before);
    assert_eq!(worked(database.applied(backup_id(1)).await), None);
    worked(backup.apply(&*database).await);
}

/// Dropped while staging, and dropped with everything merged; the next session works at once.
pub async fn a_dropped_session_leaves_nothing(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    let database = target.database();
    let backup = TestBackup::of(&*source.database()).await;
    let before = hashes_of(&*database).await;
    drop(worked(backup.staged(&*database).await));
    let mut apply = worked(backup.staged(&*database).await);
    worked(apply.merge().await);
    worked(apply.record(&backup.receipt(), jiff::Timestamp::UNIX_EPOCH).await);
    drop(apply);
    assert_eq!(hashes_of(&*database).await, before);
    worked(backup.apply(&*database).await);
    assert_eq!(hashes_of(&*database).await, hashes_of(&*source.database()).await);
}

/// Two that stage at once keep apart what they stage.
pub async fn two_sessions_do_not_mix(fixture: &dyn Fixture) {
    let (source, target) = (shop(fixture).await, fixture.create(Shape::Shop).await);
    let database = target.database();
    let customers = TestBackup::of_tables(&*source.database(), &["customers"]).await;
    let products = TestBackup::of_tables(&*source.database(), &["products"]).await.at(2);
    let mut first = worked(customers.staged(&*database).await);
    let mut second = worked(products.staged(&*database).await);
    assert_eq!(worked(first.merge().await).tables[0].inserted, 2);
    worked(first.record(&customers.receipt(), jiff::Timestamp::UNIX_EPOCH).await);
    worked(first.commit().await);
    assert_eq!(worked(second.merge().await).tables[0].inserted, 3);
    worked(second.record(&products.receipt(), jiff::Timestamp::UNIX_EPOCH).await);
    worked(second.commit().await);
    assert_eq!(worked(database.last_applied(server_id("STORE-001")).await), Some(record(2)));
}
