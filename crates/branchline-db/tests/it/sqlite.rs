//! What only SQLite does: storage classes, conflict clauses, triggers, old journals, files that are none; what of it
//! capture has to see.

mod capturing;
mod files;
mod filtering;
mod holding;
mod mending;
mod rules;
mod spelling;
mod values;

use branchline_testkit::database::{Fixture, Shape, TestBackup, TestDatabase, hashes_of, worked};

/// A database with tables of its own.
async fn with_tables(ddl: &str) -> Box<dyn TestDatabase> {
    let database = crate::conformance::sqlite_files().create(Shape::Nothing).await;
    database.execute(ddl).await;
    database
}

/// A copy of `source` into new tables of the same declaration.
async fn copied(source: &dyn TestDatabase, ddl: &str) -> Box<dyn TestDatabase> {
    let target = with_tables(ddl).await;
    let backup = TestBackup::of(&*source.database()).await;
    worked(backup.apply(&*target.database()).await);
    assert_eq!(hashes_of(&*target.database()).await, hashes_of(&*source.database()).await);
    target
}
