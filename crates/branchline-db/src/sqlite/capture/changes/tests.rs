//! What a pack costs: steps of SQLite's own machine, which depend on what changed and not on how large the tables are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use branchline_core::id::{Epoch, Generation, ServerId};
use branchline_core::pack::{Audience, plan_pack};
use branchline_core::ports::{Amendment, AttachRequest};
use branchline_core::schema::TableName;
use branchline_core::scope::{Filter, PeerScope};

use super::super::super::key;
use super::super::super::ledger::standing;
use super::super::amend::amend;
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

/// The plan for a peer that gets a part of `t`, and of what points at it; nothing is known of one that gets everything.
fn scoped_plan(reader: &Reader, known: Option<Generation>) -> PackPlan {
    let peer: ServerId = "HQ".parse().unwrap();
    let filter = Filter {
        table: TableName::new("t").unwrap(),
        peers: Vec::new(),
        condition: "v NOT LIKE 'gone%'".to_owned(),
        follow: true,
    };
    let position = &reader.begun.position;
    let acknowledged = known.map(|known| (position.own.clone(), known)).into_iter().collect();
    let audience = Audience { acknowledged, lent: Default::default(), relay: false };
    let scope = PeerScope::derive(&reader.begun.catalogue.schema, &[filter], &peer);
    plan_pack(position, &audience, known.is_none()).scoped(peer, scope)
}

/// What a pack came to.
struct Packed {
    generation: Generation,
    lines: u64,
    steps: u64,
}

fn scoped_pack(place: &Arc<Place>, known: Option<Generation>) -> Packed {
    let connection = connect::open_for_packing(place).unwrap();
    let position = position::take(place, &connection).unwrap();
    let generation = position.generation;
    let begun = Begun { catalogue: place.catalogue.read(&connection).unwrap(), position };
    let steps = count_steps(&connection);
    let reader = Reader::new(connection, Arc::clone(place), begun).unwrap();
    let plan = scoped_plan(&reader, known);
    let mut lines = 0;
    for found in reader.tables(&plan).unwrap().iter().filter(|found| found.table.as_str() != "w") {
        assert!(found.filtered);
        let read = reader.read(&found.table, &plan).unwrap();
        let mut statement = reader.connection.prepare(&read.sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut writer = read.rows.writer();
        while let Some(batch) = read.next(&plan, &mut rows, &mut writer).unwrap() {
            lines += batch.rows;
        }
    }
    Packed { generation, lines, steps: steps.load(Ordering::Relaxed) }
}

#[test]
fn a_pack_for_a_peer_with_a_filter_costs_what_changed_and_what_hangs_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let steps = [200, 20_000].map(|rows| {
        let place = shop(folder.path(), rows);
        let writer = connect::open_for_writing(&place).unwrap();
        writer
            .execute_batch(
                "CREATE TABLE c (id INTEGER PRIMARY KEY, t_id INTEGER REFERENCES t (id));
                CREATE INDEX c_by_t ON c (t_id); INSERT INTO c SELECT id, id FROM t;",
            )
            .unwrap();
        let first = scoped_pack(&place, None);
        assert_eq!(first.lines, 2 * u64::from(rows));
        amend(&writer, &Amendment::ConfirmScope { peer: "HQ".parse().unwrap() }).unwrap();
        // Ten change, and ten leave with what hangs on them.
        let change = "UPDATE t SET v = 'y' || v WHERE id BETWEEN 21 AND 30;
            UPDATE t SET v = 'gone' || v WHERE id BETWEEN 191 AND 200";
        writer.execute_batch(change).unwrap();
        let second = scoped_pack(&place, Some(first.generation));
        assert_eq!(second.lines, 30, "{rows}");
        second.steps
    });
    let [few, many] = steps;
    assert!(many <= few + few / 10 + 5, "it took {few} steps, and {many} with a hundred times the rows");
}
