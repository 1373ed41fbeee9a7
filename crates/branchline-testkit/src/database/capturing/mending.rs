//! Claims about changes that nobody noted: a compare finds the rows, and they count as changed from then on.

use std::collections::BTreeSet;

use branchline_core::ports::{Amendment, DatabaseError, HashSpec};

use super::super::backup::{specs_of, table_name};
use super::super::restoring::SHOP_ROWS;
use super::super::{Engine, Fixture, Shape, worked};
use super::server::{TestServer, assert_quiet, assert_same, pair, send};

/// Writes to one table past its triggers, which are as before afterwards.
async fn write_unnoted(server: &TestServer, table: &str, statements: &str) {
    match server.engine() {
        Engine::Postgres => {
            let switched = |how: &str| format!("ALTER TABLE {table} {how} TRIGGER USER");
            server.write(&format!("{}; {statements}; {}", switched("DISABLE"), switched("ENABLE"))).await;
        }
        Engine::Sqlite => {
            let named = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name =";
            let mut sql = String::new();
            for trigger in server.query(&format!("{named} '{table}'")).await {
                sql.push_str(&format!("DROP TRIGGER \"{trigger}\"; "));
            }
            server.write(&format!("{sql}{statements}")).await;
            server.attach().await;
            // What the compare finds is given to the claims by name.
            let done = Amendment::SetCompareDue { tables: vec![table_name(table)], due: false };
            worked(server.capture().amend(done).await);
        }
    }
}

async fn spec_of(server: &TestServer, table: &str) -> HashSpec {
    let schema = worked(server.database().schema().await);
    let mut specs = specs_of(&schema).into_iter();
    specs.find(|spec| spec.table == table_name(table)).expect("a table with a key")
}

async fn count_as_changed(server: &TestServer, table: &str, keys: &[&str]) -> Result<u64, DatabaseError> {
    let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let spec = spec_of(server, table).await;
    server.capture().amend(Amendment::CountAsChanged { spec, keys }).await
}

/// Rows that differ because their changes were not noted travel once they count as changed; the others do not.
pub async fn what_was_not_noted_travels_once_it_counts_as_changed(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("UPDATE products SET price = '5' WHERE id = 2").await;
    send(&mut store, &mut hq).await;
    let unnoted = "UPDATE products SET price = '7' WHERE id IN (1, 2)";
    write_unnoted(&store, "products", unnoted).await;
    assert_eq!(send(&mut store, &mut hq).await.0.lines(), 0);
    assert_ne!(store.hashes().await, hq.hashes().await);
    assert_eq!(worked(count_as_changed(&store, "products", &["1", "2", "77"]).await), 2);
    let (backup, report) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("products"), backup.lines()), ((2, 0), 2));
    assert_eq!(backup.merged(&report, "products").updated, 2);
    assert_same(&store, &hq).await;
    assert_quiet(&mut store, &mut hq).await;
}

/// A key of several columns, one of them a UUID.
pub async fn a_row_is_found_by_a_key_of_several_columns(fixture: &dyn Fixture) {
    let (mut store, mut hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    write_unnoted(&store, "order_items", "UPDATE order_items SET quantity = 9 WHERE line = 2").await;
    let key = "\"00000000-0000-4000-8000-000000000001\",2";
    assert_eq!(worked(count_as_changed(&store, "order_items", &[key]).await), 1);
    let (backup, _) = send(&mut store, &mut hq).await;
    assert_eq!((backup.count("order_items"), backup.lines()), ((1, 0), 1));
    assert_same(&store, &hq).await;
    let nobody = TestServer::detached(fixture, Shape::Shop, SHOP_ROWS, "STORE-002").await;
    let refused = count_as_changed(&nobody, "products", &["1"]).await;
    assert!(matches!(refused, Err(DatabaseError::NotAttached)), "{refused:?}");
}
