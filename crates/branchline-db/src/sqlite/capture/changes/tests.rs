//! What a pack costs: steps of SQLite's own machine, which depend on what changed and not on how large the tables are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use branchline_core::id::{Epoch, Generation};
use branchline_core::pack::{Audience, plan_pack};
use branchline_core::ports::AttachRequest;
use branchline_core::schema::TableName;

use super::super::super::key;
use super::super::super::ledger::standing;
use super::super::attach;
use super::super::stamp;
use super::*;

/// Steps between two looks at the counter.
const STEPS: i32 = 10;

/// Counts the steps of a connection from here on.
fn count_steps(connection: &Connection) -> Arc<AtomicU64> {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    connection
        .progress_handler(
            STEPS,
            Some(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                false
            }),
        )
        .unwrap();
    steps
}

/// A captured shop with so many rows, of which 20 have a version and 20 changed since.
fn shop(folder: &std::path::Path, rows: u32) -> Arc<Place> {
    let path = folder.join(format!("{rows}.db"));
    let shop = Connection::open(&path).unwrap();
    shop.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
        CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE);
        CREATE TABLE w (a TEXT COLLATE NOCASE, b, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
        INSERT INTO t WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}) SELECT n, n FROM c;
        INSERT INTO w SELECT 'k' || id, id, v FROM t;"
    ))
    .unwrap();
    let place = Arc::new(Place::parse(&format!("sqlite:{}", path.display())).unwrap());
    let connection = connect::open_for_writing(&place).unwrap();
    let server = "STORE-001".parse().unwrap();
    let request = AttachRequest { server, epoch: Epoch::new(1), except: Vec::new() };
    attach::attach(&connection, &request).unwrap();
    let change = "UPDATE t SET v = 'x' || v WHERE id <= 10; DELETE FROM w WHERE a IN (SELECT 'K' || id FROM t WHERE id <= 10)";
    shop.execute_batch(change).unwrap();
    let reader = connect::open_for_packing(&place).unwrap();
    position::take(&place, &reader).unwrap();
    shop.execute_batch(&change.replace("id <= 10", "id BETWEEN 11 AND 20")).unwrap();
    place
}

fn stamping_steps(place: &Place) -> u64 {
    let writer = connect::open_for_writing(place).unwrap();
    key::register(&writer).unwrap();
    let standing = standing::read(&writer).unwrap().unwrap();
    let steps = count_steps(&writer);
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    stamp::write(&writer, &standing).unwrap();
    writer.execute_batch("ROLLBACK").unwrap();
    steps.load(Ordering::Relaxed)
}

fn reading_steps(place: &Arc<Place>) -> u64 {
    let connection = connect::open_for_packing(place).unwrap();
    let position = position::take(place, &connection).unwrap();
    assert_eq!(position.generation, Generation::new(2));
    // The catalogue counts rows for an estimate, up to a bound, and is read once.
    let begun = Begun { catalogue: place.catalogue.read(&connection).unwrap(), position };
    let steps = count_steps(&connection);
    let reader = Reader::new(connection, Arc::clone(place), begun).unwrap();
    let acknowledged = [(reader.begun.position.own.clone(), Generation::new(0))].into_iter().collect();
    let audience = Audience { acknowledged, lent: Default::default(), relay: false };
    let plan = plan_pack(&reader.begun.position, &audience, false);
    assert_eq!(reader.tables(&plan).unwrap().len(), 2);
    for name in ["t", "w"] {
        let read = reader.read(&TableName::new(name).unwrap(), &plan).unwrap();
        let mut statement = reader.connection.prepare(&read.sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let batch = read.batch(&plan, &mut rows, &mut read.rows.writer()).unwrap().unwrap();
        assert_eq!(batch.rows, 20, "{name}");
    }
    steps.load(Ordering::Relaxed)
}

#[test]
fn a_pack_costs_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (shop(folder.path(), 200), shop(folder.path(), 20_000));
    let (few, many) = (stamping_steps(&small), stamping_steps(&large));
    assert!(
        many <= few + few / 10 + 5,
        "stamping took {few} steps, and {many} with a hundred times the rows"
    );
    let (few, many) = (reading_steps(&small), reading_steps(&large));
    assert!(many <= few + few / 10 + 5, "reading took {few} steps, and {many} with a hundred times the rows");
}
