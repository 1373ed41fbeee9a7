//! What a merge of an increment costs: steps of SQLite's own machine, which depend on what comes in and not on how large
//! the tables are.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use branchline_core::backup::v1::{Deletion, RowMark, RowWriter};
use branchline_core::backup::{BackupType, TableSummary};
use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, Epoch, Generation, Sequence};
use branchline_core::knowledge::Knowledge;
use branchline_core::ports::{AttachRequest, MergeContext, OnError};
use branchline_core::schema::TableName;
use branchline_core::value::Value;
use branchline_core::version::{ChangeTime, Dot, Life, Version};

use super::*;
use crate::sqlite::capture::attach;

const SOURCE: &str = "STORE-001";

fn life() -> Life {
    Life::new(SOURCE.parse().unwrap(), Epoch::new(1))
}

/// A captured shop with so many rows, which its source knows.
fn shop(folder: &Path, rows: u32) -> Place {
    let path = folder.join(format!("{rows}.db"));
    Connection::open(&path)
        .unwrap()
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
            CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE, up INTEGER REFERENCES t);
            CREATE TABLE w (a TEXT COLLATE NOCASE, b INTEGER, v TEXT, t INTEGER REFERENCES t ON DELETE CASCADE,
                PRIMARY KEY (a, b)) WITHOUT ROWID;
            CREATE INDEX w_by_t ON w (t); CREATE INDEX t_by_up ON t (up);
            INSERT INTO t WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
                SELECT n, n, NULL FROM c;
            INSERT INTO w SELECT 'k' || id, id, v, id FROM t;"
        ))
        .unwrap();
    let place = Place::parse(&format!("sqlite:{}", path.display())).unwrap();
    let connection = connect::open_for_writing(&place).unwrap();
    let request = AttachRequest { server: "HQ".parse().unwrap(), epoch: Epoch::new(1), except: Vec::new() };
    attach::attach(&connection, &request).unwrap();
    place
}

fn summary(catalogue: &Catalogue, name: &str) -> TableSummary {
    let table = catalogue.schema.table(&TableName::new(name).unwrap()).unwrap();
    TableSummary { base: Some(life()), versioned: true, ..TableSummary::of(table) }
}

fn request(catalogue: &Catalogue) -> ApplyRequest {
    let hq = Life::new("HQ".parse().unwrap(), Epoch::new(1));
    let knowledge: Knowledge = [(life(), Generation::new(1)), (hq, Generation::new(0))].into_iter().collect();
    ApplyRequest {
        backup: "019ab697-ebe8-7101-8101-010101010101".parse::<BackupId>().unwrap(),
        source: SOURCE.parse().unwrap(),
        backup_type: BackupType::Incremental,
        epoch: Epoch::new(1),
        generation: Generation::new(1),
        sequence: Sequence::new(1),
        checksum: Digest::of(b"data"),
        tables: vec![summary(catalogue, "t"), summary(catalogue, "w")],
        mirror: false,
        metadata: Digest::of(b"metadata"),
        context: Some(MergeContext {
            covers: knowledge.clone(),
            knowledge,
            purged: Knowledge::new(),
            clock: ChangeTime::from_micros(9),
            day: None,
        }),
        on_error: OnError::Hold,
        left_out: Vec::new(),
    }
}

fn mark(deletion: Option<Deletion>) -> RowMark {
    let dot = Dot::new(life(), Generation::new(1));
    RowMark { version: Some(Version { dot, time: ChangeTime::from_micros(9), was: None }), deletion }
}

/// Rows that change, that are new, and that go, in both tables.
fn stage(work: &mut Work) {
    let text = |text: String| Value::Text(text.into());
    let mut rows = RowWriter::new(&work.request.tables[0].name, &work.request.tables[0].columns);
    let mut lines = RowWriter::new(&work.request.tables[1].name, &work.request.tables[1].columns);
    for n in 1..=20_i64 {
        let (key, gone) = (text(format!("K{n}")), Value::Integer(n + 40));
        rows.marked(&mark(None), &[Value::Integer(n), text(format!("new {n}")), Value::Integer(50_000 + n)])
            .unwrap();
        rows.marked(&mark(None), &[Value::Integer(50_000 + n), text(format!("added {n}")), Value::Null])
            .unwrap();
        rows.marked(&mark(Some(Deletion::Deleted)), &[gone.clone(), Value::Null, Value::Null]).unwrap();
        let pointer = Value::Integer(50_000 + n);
        lines.marked(&mark(None), &[key, Value::Integer(n), text("new".to_owned()), pointer]).unwrap();
        let key = text(format!("k{}", n + 40));
        lines.marked(&mark(Some(Deletion::Deleted)), &[key, gone, Value::Null, Value::Null]).unwrap();
    }
    work.stage(0, &rows.take()).unwrap();
    work.stage(1, &lines.take()).unwrap();
}

fn merging_steps(place: &Place) -> u64 {
    let connection = connect::open_for_writing(place).unwrap();
    let catalogue = place.catalogue.read(&connection).unwrap();
    let mut work = Work::begin(connection, place, request(&catalogue)).unwrap();
    stage(&mut work);
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    work.connection.progress_handler(10, Some(count)).unwrap();
    let report = work.merge().unwrap();
    let counts = |place: usize| {
        let table = &report.tables[place];
        (table.inserted, table.updated, table.deleted, table.held)
    };
    assert_eq!((counts(0), counts(1)), ((20, 20, 20, 0), (0, 20, 20, 0)));
    steps.load(Ordering::Relaxed)
}

#[test]
fn a_merge_costs_what_comes_in() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (shop(folder.path(), 200), shop(folder.path(), 20_000));
    let (few, many) = (merging_steps(&small), merging_steps(&large));
    assert!(many <= few + few / 10 + 5, "it took {few} steps, and {many} with a hundred times the rows");
}
