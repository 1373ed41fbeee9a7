//! Claims about two servers whose tables are not the same: what both can hold goes in, what one cannot is held with all its
//! values, and goes in by itself once its tables were upgraded.
//!
//! Most claims are about `items`, on which `tags` hang, beside `notes`, which are the same on both sides. The store has
//! them as in `ITEMS`; the head office has `items` in another way, or not at all.

use branchline_core::backup::BackupType;
use branchline_core::code::Code;
use branchline_core::id::Generation;
use branchline_core::ports::{Amendment, AttachRequest, HeldRow, MergeReport};

use super::super::backup::table_name;
use super::super::{Engine, Fixture, Shape, assert_refused, worked};
use super::carried::CarriedBackup;
use super::server::{TestServer, assert_same, deliver, send, settle};
use crate::state::server_id;

const ITEMS: &str = "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT)";
const TAGS: &str = "CREATE TABLE tags (id BIGINT PRIMARY KEY, item BIGINT REFERENCES items (id))";
const NOTES: &str = "CREATE TABLE notes (id BIGINT PRIMARY KEY, word TEXT)";

/// A store and a head office whose items are described by that statement; both know that they know nothing yet.
async fn two(fixture: &dyn Fixture, items: &str) -> (TestServer, TestServer) {
    let ddl =
        |items: &str| if items.is_empty() { NOTES.to_owned() } else { format!("{items}; {TAGS}; {NOTES}") };
    let mut store = TestServer::attached(fixture, Shape::Nothing, &ddl(ITEMS), "STORE-001").await;
    let mut hq = TestServer::attached(fixture, Shape::Nothing, &ddl(items), "HQ").await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    (store, hq)
}

async fn held(server: &TestServer, table: &str) -> Vec<HeldRow> {
    let name = table_name(table);
    server.state().await.held.into_iter().filter(|row| row.table == name).collect()
}

/// The store makes a row of each table; the item and the tag that hangs on it are held, and the note goes in.
async fn assert_items_are_held(store: &mut TestServer, hq: &mut TestServer, code: Code, words: &str) {
    store
        .write("INSERT INTO items VALUES (1, 'one'); INSERT INTO tags VALUES (7, 1); INSERT INTO notes VALUES (1, 'a')")
        .await;
    let (backup, report) = send(store, hq).await;
    assert_eq!(counts(&backup, &report, "notes"), (1, 0));
    assert_eq!(counts(&backup, &report, "items"), (0, 1));
    assert_eq!(counts(&backup, &report, "tags"), (0, 1));
    let row = held(hq, "items").await.pop().expect("a held item");
    assert_eq!((row.code, &row.source, row.backup), (code, &store.id, backup.request.backup));
    assert!(row.reason.contains(words) && row.key.contains('1'), "{row:?}");
    let told = report.held.iter().find(|told| told.table == table_name("items")).expect("a held item");
    assert_eq!((told.code, &told.reason), (code, &row.reason));
    // The receipt says that we have it; what we send does not.
    let made = backup.position.generation;
    assert_eq!(hq.state().await.knowledge.generation(&store.life()), Some(made));
    let onward = hq.pack_for(&store.id).await;
    assert_eq!(onward.position.knowledge.generation(&store.life()), Some(Generation::new(made.value() - 1)));
}

fn counts(backup: &CarriedBackup, report: &MergeReport, table: &str) -> (u64, u64) {
    let merged = backup.merged(report, table);
    (merged.inserted + merged.updated, merged.held)
}

/// The next backup lets in what was held: so many rows. Both sides are equal then.
async fn assert_released(store: &mut TestServer, hq: &mut TestServer, released: u64) {
    store.write("INSERT INTO notes VALUES (100, 'next')").await;
    let (_, report) = send(store, hq).await;
    assert_eq!((report.released, report.held), (released, Vec::new()));
    assert!(hq.state().await.held.is_empty(), "{:?}", hq.state().await.held);
    assert_same(store, hq).await;
}

/// A column that is missing here: rows without a value in it go in, the others are held with it.
pub async fn a_column_that_is_missing_here_holds_the_rows_that_have_it(fixture: &dyn Fixture) {
    let (mut store, mut hq) = two(fixture, ITEMS).await;
    store.write("ALTER TABLE items ADD COLUMN shelf TEXT").await;
    store.write("INSERT INTO items VALUES (1, 'one', NULL), (2, 'two', 'top')").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!(counts(&backup, &report, "items"), (1, 1));
    assert_eq!((report.held[0].code, report.held.len()), (Code::COLUMN_UNKNOWN, 1));
    assert!(report.held[0].reason.contains("shelf"), "{:?}", report.held);
    assert_eq!(hq.query("SELECT id FROM items").await, ["1"]);
    hq.write("ALTER TABLE items ADD COLUMN shelf TEXT").await;
    assert_released(&mut store, &mut hq, 1).await;
    settle(&mut store, &mut hq).await;
    assert_eq!(hq.query("SELECT shelf FROM items WHERE id = 2").await, ["top"]);
}

/// Columns that are here alone, and that may be NULL or have a default: an update leaves them as they are, an insert
/// takes the default.
pub async fn columns_that_are_here_alone_keep_what_they_hold(fixture: &dyn Fixture) {
    let (mut store, mut hq) = two(fixture, ITEMS).await;
    store.write("INSERT INTO items VALUES (1, 'one')").await;
    send(&mut store, &mut hq).await;
    let more = "ALTER TABLE items ADD COLUMN shelf TEXT; ALTER TABLE items ADD COLUMN kind TEXT NOT NULL DEFAULT 'usual'";
    hq.write(more).await;
    hq.write("UPDATE items SET shelf = 'top', kind = 'odd'").await;
    send(&mut hq, &mut store).await;
    store.write("UPDATE items SET name = 'first'; INSERT INTO items VALUES (2, 'two')").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!(counts(&backup, &report, "items"), (2, 0));
    assert_eq!(hq.query("SELECT name FROM items ORDER BY id").await, ["first", "two"]);
    assert_eq!(hq.query("SELECT kind FROM items ORDER BY id").await, ["odd", "usual"]);
    assert_eq!(hq.query("SELECT shelf FROM items WHERE id = 1").await, ["top"]);
    assert_eq!(hq.query("SELECT id FROM items WHERE shelf IS NULL").await, ["2"]);
}

/// Both have a column that the other lacks: each holds what it cannot take, and both are equal after both upgraded.
pub async fn both_sides_hold_what_they_lack(fixture: &dyn Fixture) {
    let (mut store, mut hq) = two(fixture, ITEMS).await;
    store.write("ALTER TABLE items ADD COLUMN shelf TEXT").await;
    hq.write("ALTER TABLE items ADD COLUMN grade BIGINT").await;
    store.write("INSERT INTO items VALUES (1, 'one', 'top'), (2, 'two', NULL)").await;
    hq.write("INSERT INTO items VALUES (3, 'three', 5), (4, 'four', NULL)").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!(counts(&backup, &report, "items"), (1, 1));
    let (backup, report) = send(&mut hq, &mut store).await;
    assert_eq!(counts(&backup, &report, "items"), (1, 1));
    store.write("ALTER TABLE items ADD COLUMN grade BIGINT").await;
    hq.write("ALTER TABLE items ADD COLUMN shelf TEXT").await;
    hq.write("INSERT INTO notes VALUES (2, 'more')").await;
    let (_, report) = send(&mut hq, &mut store).await;
    assert_eq!(report.released, 1);
    assert_released(&mut store, &mut hq, 1).await;
    assert_eq!(store.query("SELECT grade FROM items WHERE id = 3").await, ["5"]);
    assert_eq!(hq.query("SELECT shelf FROM items WHERE id = 1").await, ["top"]);
}

/// A column that is needed here and does not come holds the table.
pub async fn a_column_that_is_needed_here_holds_its_table(fixture: &dyn Fixture) {
    let items = "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT, grade BIGINT NOT NULL)";
    let (mut store, mut hq) = two(fixture, items).await;
    assert_items_are_held(&mut store, &mut hq, Code::COLUMN_UNKNOWN, "needs column grade").await;
    hq.write(&format!("DROP TABLE tags; DROP TABLE items; {ITEMS}; {TAGS}")).await;
    assert_released(&mut store, &mut hq, 2).await;
}

/// So does one whose type would change values; the reason names both types.
pub async fn a_retyped_column_holds_its_table(fixture: &dyn Fixture) {
    let (mut store, mut hq) = two(fixture, "CREATE TABLE items (id BIGINT PRIMARY KEY, name BIGINT)").await;
    let (native, upgrade) = match hq.engine() {
        Engine::Postgres => ("bigint", "ALTER TABLE items ALTER COLUMN name TYPE TEXT".to_owned()),
        Engine::Sqlite => ("BIGINT", format!("DROP TABLE tags; DROP TABLE items; {ITEMS}; {TAGS}")),
    };
    let words = format!("column name of table items is {native} here, which cannot hold text without loss");
    assert_items_are_held(&mut store, &mut hq, Code::TYPE_NOT_HELD, &words).await;
    hq.write(&upgrade).await;
    assert_released(&mut store, &mut hq, 2).await;
}

/// And one that was renamed; the reason has both names.
pub async fn a_renamed_column_holds_its_table(fixture: &dyn Fixture) {
    let items = "CREATE TABLE items (id BIGINT PRIMARY KEY, label TEXT NOT NULL)";
    let (mut store, mut hq) = two(fixture, items).await;
    let words = "has no column name; table items here needs column label";
    assert_items_are_held(&mut store, &mut hq, Code::COLUMN_UNKNOWN, words).await;
    hq.write("ALTER TABLE items RENAME COLUMN label TO name").await;
    assert_released(&mut store, &mut hq, 2).await;
    settle(&mut store, &mut hq).await;
}

/// And another key: what is held goes in after the tables were made anew, rows that hang on it too.
pub async fn another_key_holds_its_table(fixture: &dyn Fixture) {
    let items = "CREATE TABLE items (id BIGINT NOT NULL UNIQUE, name TEXT NOT NULL PRIMARY KEY)";
    let (mut store, mut hq) = two(fixture, items).await;
    assert_items_are_held(&mut store, &mut hq, Code::KEY_DIFFERS, "another primary key here (name)").await;
    hq.write(&format!("DROP TABLE tags; DROP TABLE items; {ITEMS}; {TAGS}")).await;
    assert_released(&mut store, &mut hq, 2).await;
}

/// A table that is unknown here: its rows wait until it is made, and both come to the same.
pub async fn a_table_that_is_unknown_here_is_held_until_it_is_made(fixture: &dyn Fixture) {
    let (mut store, mut hq) = two(fixture, "").await;
    store.write("INSERT INTO items VALUES (1, 'one'), (2, NULL); INSERT INTO tags VALUES (7, 1)").await;
    store.write("INSERT INTO notes VALUES (1, 'a')").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!(counts(&backup, &report, "notes"), (1, 0));
    let items = counts(&backup, &report, "items");
    assert_eq!((items, counts(&backup, &report, "tags"), report.held.len()), ((0, 2), (0, 1), 3));
    assert!(report.held.iter().all(|row| row.code == Code::TABLE_UNKNOWN), "{:?}", report.held);
    assert_eq!(report.held[0].key, r#"{"id":1}"#);
    // They stay held as long as there is no table, and for no other reason.
    store.write("INSERT INTO notes VALUES (2, 'b')").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!((report.released, hq.state().await.held.len()), (0, 3));
    // A table that does not fit yet either is another reason.
    hq.write("CREATE TABLE items (id BIGINT PRIMARY KEY, name BIGINT)").await;
    store.write("INSERT INTO notes VALUES (3, 'c')").await;
    send(&mut store, &mut hq).await;
    let codes: Vec<_> = held(&hq, "items").await.iter().map(|row| row.code).collect();
    assert_eq!(codes, [Code::TYPE_NOT_HELD, Code::TYPE_NOT_HELD]);
    hq.write(&format!("DROP TABLE items; {ITEMS}; {TAGS}")).await;
    assert_released(&mut store, &mut hq, 3).await;
    assert_eq!(hq.query("SELECT name FROM items WHERE name IS NOT NULL").await, ["one"]);
}

/// A base comes whole: its rows have no version of their own, and are told apart from changes all the same.
pub async fn a_base_is_held_where_its_table_is_unknown(fixture: &dyn Fixture) {
    let rows = "INSERT INTO items VALUES (1, 'one'), (2, 'two'); INSERT INTO tags VALUES (7, 1); INSERT INTO notes VALUES (1, 'a')";
    let ddl = format!("{ITEMS}; {TAGS}; {NOTES}; {rows}");
    let mut store = TestServer::attached(fixture, Shape::Nothing, &ddl, "STORE-001").await;
    let mut hq = TestServer::attached(fixture, Shape::Nothing, NOTES, "HQ").await;
    let (full, report) = send(&mut store, &mut hq).await;
    assert_eq!((full.merged_in_all(&report).held, report.held.len()), (3, 3));
    send(&mut hq, &mut store).await;
    store.write("UPDATE items SET name = 'second' WHERE id = 2; DELETE FROM tags").await;
    send(&mut store, &mut hq).await;
    assert_eq!(hq.state().await.held.len(), 3);
    hq.write(&format!("{ITEMS}; {TAGS}")).await;
    store.write("INSERT INTO notes VALUES (2, 'b')").await;
    send(&mut store, &mut hq).await;
    assert_eq!(hq.query("SELECT name FROM items ORDER BY id").await, ["one", "second"]);
    assert!(hq.state().await.held.is_empty(), "{:?}", hq.state().await.held);
    settle(&mut store, &mut hq).await;
}

/// Deletions and updates of a table that does not fit wait too; what is here stays as it is until then.
pub async fn deletions_of_a_table_that_does_not_fit_are_held(fixture: &dyn Fixture) {
    let items = "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT NOT NULL)";
    let rows = "INSERT INTO items VALUES (1, 'one'), (2, 'two'), (3, 'three'); INSERT INTO tags VALUES (7, 1), (8, 2)";
    let ddl = format!("{items}; {TAGS}; {NOTES}; {rows}");
    let mut store = TestServer::attached(fixture, Shape::Nothing, &ddl, "STORE-001").await;
    let ddl = format!("{items}; {TAGS}; {NOTES}");
    let mut hq = TestServer::attached(fixture, Shape::Nothing, &ddl, "HQ").await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    hq.write("ALTER TABLE items RENAME COLUMN name TO label").await;
    store
        .write(
            "UPDATE items SET name = 'first' WHERE id = 1; DELETE FROM tags; DELETE FROM items WHERE id > 1",
        )
        .await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("items"), counts(&backup, &report, "items")), ((1, 2), (0, 3)));
    assert_eq!(backup.merged(&report, "tags").deleted, 2);
    assert_eq!(hq.query("SELECT label FROM items ORDER BY id").await, ["one", "two", "three"]);
    hq.write("ALTER TABLE items RENAME COLUMN label TO name").await;
    assert_released(&mut store, &mut hq, 3).await;
    settle(&mut store, &mut hq).await;
    assert_eq!(hq.query("SELECT name FROM items").await, ["first"]);
}

/// Of what comes for one row while its table does not fit the last is held, and nothing else.
pub async fn of_many_changes_of_a_row_the_last_is_held(fixture: &dyn Fixture) {
    let (mut store, mut hq) = two(fixture, "").await;
    for statement in [
        "INSERT INTO items VALUES (1, 'one'), (2, 'two')",
        "UPDATE items SET name = 'first' WHERE id = 1",
        "UPDATE items SET name = 'second' WHERE id = 1; DELETE FROM items WHERE id = 2",
    ] {
        store.write(statement).await;
        let (_, report) = send(&mut store, &mut hq).await;
        assert!(!report.held.is_empty());
    }
    let rows = held(&hq, "items").await;
    let generations: Vec<_> = rows.iter().map(|row| row.version.dot.generation.value()).collect();
    assert_eq!(generations, [3, 3]);
    // What comes once the table fits is newer still.
    hq.write(&format!("{ITEMS}; {TAGS}")).await;
    store.write("UPDATE items SET name = 'third' WHERE id = 1").await;
    send(&mut store, &mut hq).await;
    assert_eq!(hq.query("SELECT name FROM items").await, ["third"]);
    assert!(hq.state().await.held.is_empty(), "{:?}", hq.state().await.held);
    settle(&mut store, &mut hq).await;
}

/// Two sources that changed one row: the newest is held, the other is on record, and all three come to the same.
pub async fn two_sources_meet_in_a_table_that_does_not_fit(fixture: &dyn Fixture) {
    let (mut store, mut hq) = two(fixture, "").await;
    let ddl = format!("{ITEMS}; {TAGS}; {NOTES}");
    let mut other = TestServer::attached(fixture, Shape::Nothing, &ddl, "STORE-002").await;
    send(&mut other, &mut hq).await;
    send(&mut hq, &mut other).await;
    store.write("INSERT INTO items VALUES (1, 'one')").await;
    other.write("INSERT INTO items VALUES (1, 'another')").await;
    send(&mut other, &mut hq).await;
    let before = hq.state().await.conflicts;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.merged(&report, "items").conflicts, hq.state().await.conflicts), (1, before + 1));
    assert_eq!(held(&hq, "items").await.len(), 1);
    hq.write(&format!("{ITEMS}; {TAGS}")).await;
    store.write("INSERT INTO notes VALUES (1, 'a')").await;
    send(&mut store, &mut hq).await;
    assert_eq!(hq.query("SELECT name FROM items").await, ["another"]);
    assert!(hq.state().await.held.is_empty());
    hq.relay_to(&store.id);
    settle(&mut store, &mut hq).await;
}

/// What came before is known: a full backup holds nothing of it, and says that a compare is due.
pub async fn a_full_backup_holds_nothing_that_came_before(fixture: &dyn Fixture) {
    let items = "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT NOT NULL)";
    let mut store =
        TestServer::attached(fixture, Shape::Nothing, &format!("{items}; {NOTES}"), "STORE-001").await;
    let mut hq = TestServer::attached(fixture, Shape::Nothing, &format!("{items}; {NOTES}"), "HQ").await;
    store.write("INSERT INTO items VALUES (1, 'one'), (2, 'two')").await;
    send(&mut store, &mut hq).await;
    hq.write("ALTER TABLE items RENAME COLUMN name TO label").await;
    store.write("INSERT INTO items VALUES (3, 'three')").await;
    let full = store.full_for(&hq.id).await;
    assert_eq!(full.request.backup_type, BackupType::Full);
    let report = deliver(&mut store, &mut hq, &full).await;
    let merged = full.merged(&report, "items");
    assert_eq!((merged.held, merged.superseded, merged.inserted), (1, 2, 0));
    assert!(hq.state().await.tables[&table_name("items")]);
    let again = store.full_for(&hq.id).await;
    let report = deliver(&mut store, &mut hq, &again).await;
    assert_eq!((again.merged(&report, "items").held, hq.state().await.held.len()), (0, 1));
    hq.write("ALTER TABLE items RENAME COLUMN label TO name").await;
    store.write("INSERT INTO notes VALUES (1, 'a')").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!(report.released, 1);
    assert_same(&store, &hq).await;
}

/// What is held of a table that does not fit and is lacked by a full backup of its sender was deleted there: the deletion is
/// held, and goes in.
pub async fn what_a_full_backup_lacks_is_held_no_more(fixture: &dyn Fixture) {
    let (mut store, mut hq) = two(fixture, "").await;
    store.write("INSERT INTO items VALUES (1, 'one'), (2, 'two')").await;
    send(&mut store, &mut hq).await;
    store.write("DELETE FROM items WHERE id = 1").await;
    store.pack_for(&server_id("STORE-009")).await;
    let known_to_all = store.state().await.knowledge;
    assert_eq!(worked(store.capture().amend(Amendment::Purge { known_to_all }).await), 1);
    let (full, report) = send(&mut store, &mut hq).await;
    assert_eq!((full.request.backup_type, full.count("items")), (BackupType::Full, (1, 0)));
    assert_eq!((full.merged(&report, "items").held, held(&hq, "items").await.len()), (0, 2));
    hq.write(&format!("{ITEMS}; {TAGS}")).await;
    assert_released(&mut store, &mut hq, 2).await;
    assert_eq!(hq.query("SELECT id FROM items").await, ["2"]);
}

/// A row is held, then its table does not fit any more, and what comes then is held beside it: once it fits only the last
/// is left.
pub async fn a_held_row_is_replaced_once_its_table_fits_again(fixture: &dyn Fixture) {
    let items = "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT NOT NULL)";
    let ddl = format!("{items}; {NOTES}");
    let mut store = TestServer::attached(fixture, Shape::Nothing, &ddl, "STORE-001").await;
    let mut hq = TestServer::attached(fixture, Shape::Nothing, &ddl, "HQ").await;
    send(&mut store, &mut hq).await;
    send(&mut hq, &mut store).await;
    store.write("ALTER TABLE items ADD COLUMN shelf TEXT").await;
    store.write("INSERT INTO items VALUES (1, 'one', 'top'), (2, 'two', 'top'), (3, 'three', 'top')").await;
    send(&mut store, &mut hq).await;
    hq.write("ALTER TABLE items RENAME COLUMN name TO label").await;
    store.write("UPDATE items SET shelf = 'low' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((counts(&backup, &report, "items"), held(&hq, "items").await.len()), ((0, 2), 5));
    hq.write("ALTER TABLE items RENAME COLUMN label TO name").await;
    store.write("INSERT INTO notes VALUES (1, 'a')").await;
    send(&mut store, &mut hq).await;
    let generations: Vec<_> =
        held(&hq, "items").await.iter().map(|row| row.version.dot.generation.value()).collect();
    assert_eq!((generations.len(), generations.iter().max()), (2, Some(&2)), "{generations:?}");
    hq.write("ALTER TABLE items ADD COLUMN shelf TEXT").await;
    assert_released(&mut store, &mut hq, 2).await;
    assert_eq!(hq.query("SELECT shelf FROM items ORDER BY id").await, ["low", "top"]);
    settle(&mut store, &mut hq).await;
}

/// A table that the settings leave out here is held like one that is unknown.
pub async fn a_table_that_is_left_out_here_is_held(fixture: &dyn Fixture) {
    let ddl = format!("{ITEMS}; {TAGS}; {NOTES}");
    let mut store = TestServer::attached(fixture, Shape::Nothing, &ddl, "STORE-001").await;
    let mut hq = TestServer::detached(fixture, Shape::Nothing, &ddl, "HQ").await;
    let but_notes = AttachRequest { except: vec![table_name("notes")], ..hq.request() };
    worked(hq.capture().attach(but_notes).await);
    store.write("INSERT INTO items VALUES (1, 'one'); INSERT INTO notes VALUES (1, 'a')").await;
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((counts(&backup, &report, "items"), counts(&backup, &report, "notes")), ((1, 0), (0, 1)));
    assert_eq!(report.held[0].code, Code::TABLE_NOT_SYNCABLE);
    assert!(hq.query("SELECT id FROM notes").await.is_empty());
    worked(hq.capture().attach(hq.request()).await);
    store.write("INSERT INTO items VALUES (2, 'two')").await;
    let (_, report) = send(&mut store, &mut hq).await;
    assert_eq!(report.released, 1);
    settle(&mut store, &mut hq).await;
}

/// All or nothing, where that is asked for, and where nobody captures changes and no row can be held.
pub async fn what_cannot_be_held_is_refused(fixture: &dyn Fixture) {
    let (mut store, hq) = two(fixture, "").await;
    store.write("INSERT INTO items VALUES (1, 'one'); INSERT INTO notes VALUES (1, 'a')").await;
    let backup = store.pack_for(&hq.id).await;
    assert_refused(backup.clone().rejecting().apply(hq.database()).await, Code::TABLE_UNKNOWN);
    assert!(hq.state().await.held.is_empty() && hq.query("SELECT id FROM notes").await.is_empty());
    let plain = TestServer::detached(fixture, Shape::Nothing, NOTES, "HQ-2").await;
    assert_refused(backup.apply(plain.database()).await, Code::TABLE_UNKNOWN);
    store.write("ALTER TABLE items ADD COLUMN shelf TEXT; UPDATE items SET shelf = 'top'").await;
    let backup = store.pack_for(&hq.id).await;
    let ddl = format!("{ITEMS}; {TAGS}; {NOTES}");
    let plain = TestServer::detached(fixture, Shape::Nothing, &ddl, "HQ-3").await;
    assert_refused(backup.apply(plain.database()).await, Code::COLUMN_UNKNOWN);
    assert!(plain.query("SELECT id FROM items").await.is_empty());
}
