//! Claims about an apply that meets the shop at work on the same rows.

use branchline_core::code::{Code, Explain};

use super::super::restoring::SHOP_ROWS;
use super::super::{Engine, Fixture, Shape, run_in, worked};
use super::carried::CarriedBackup;
use super::server::{TestServer, answer, deliver, pair, settle};
use crate::state::at;

/// Two servers, and the first one's new prices for all three products on their way to the second.
async fn with_prices_on_their_way(fixture: &dyn Fixture) -> (TestServer, TestServer, CarriedBackup) {
    let (mut store, hq) = pair(fixture, Shape::Shop, SHOP_ROWS).await;
    store.write("UPDATE products SET price = '5'").await;
    let backup = store.pack_for(&hq.id).await;
    (store, hq, backup)
}

/// What the shop writes between staging and merging counts: it is the later one here.
pub async fn a_change_that_is_made_while_rows_are_staged_is_seen(fixture: &dyn Fixture) {
    let (mut store, mut hq, backup) = with_prices_on_their_way(fixture).await;
    let mut apply = worked(backup.staged(hq.database()).await);
    let later: String = (0..40).map(|n| format!("UPDATE products SET price = '{n}' WHERE id = 2;")).collect();
    hq.write(&later).await;
    hq.write("UPDATE products SET price = '6' WHERE id = 2; DELETE FROM order_items WHERE line = 2").await;
    let report = worked(apply.merge().await);
    worked(apply.record(b"receipt", at(1)).await);
    worked(apply.commit().await);
    let merged = backup.merged(&report, "products");
    assert_eq!((merged.updated, merged.superseded, merged.conflicts), (2, 1, 1));
    assert_eq!(hq.query("SELECT price FROM products ORDER BY id").await, ["5", "6", "5"]);
    answer(&mut store, &mut hq, &backup, &report);
    settle(&mut store, &mut hq).await;
    assert_eq!(store.query("SELECT price FROM products ORDER BY id").await, ["5", "6", "5"]);
}

/// What the shop writes while the merge holds the row waits, and is a change on top of it: no conflict.
pub async fn a_change_that_waits_for_an_apply_is_made_on_top_of_it(fixture: &dyn Fixture) {
    let (mut store, mut hq, backup) = with_prices_on_their_way(fixture).await;
    let mut apply = worked(backup.staged(hq.database()).await);
    let report = worked(apply.merge().await);
    let mut till = hq.shop.session().await;
    let finish = async {
        worked(apply.record(b"receipt", at(1)).await);
        worked(apply.commit().await);
    };
    tokio::join!(run_in(&mut *till, "UPDATE products SET price = '6' WHERE id = 2"), finish);
    answer(&mut store, &mut hq, &backup, &report);
    let back = hq.pack_for(&store.id).await;
    assert_eq!((back.count("products"), back.lines()), ((1, 0), 1));
    let report = deliver(&mut hq, &mut store, &back).await;
    assert_eq!(back.merged(&report, "products").updated, 1);
    settle(&mut store, &mut hq).await;
    assert_eq!((store.state().await.conflicts, hq.state().await.conflicts), (0, 0));
    assert_eq!(store.query("SELECT price FROM products ORDER BY id").await, ["5", "6", "5"]);
}

/// Where a writer and an apply wait for each other's rows, the apply gives way and tries again.
pub async fn a_writer_is_never_the_victim_of_an_apply(fixture: &dyn Fixture) {
    let (mut store, mut hq, backup) = with_prices_on_their_way(fixture).await;
    let mut till = hq.shop.session().await;
    if hq.engine() == Engine::Postgres {
        // The default: what a shop's program has.
        run_in(&mut *till, "SET deadlock_timeout = '1s'").await;
    }
    run_in(&mut *till, "BEGIN; UPDATE products SET price = '7' WHERE id = 2").await;
    let sell = async {
        if hq.engine() == Engine::Postgres {
            let waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            // Until the apply has the first row and waits for the second.
            let mut looks = 0;
            while hq.query(waits).await.is_empty() {
                looks += 1;
                assert!(looks < 5_000, "the apply waits for nobody");
            }
        }
        till.run("UPDATE products SET price = '7' WHERE id = 1; COMMIT").await
    };
    let (applied, sold) = tokio::join!(backup.apply(hq.database()), sell);
    assert_eq!(sold, Ok(()));
    let report = match applied {
        Ok(report) => report,
        Err(error) => {
            assert_eq!(error.code(), Code::DATABASE_BUSY, "{error:?}");
            worked(backup.apply(hq.database()).await)
        }
    };
    answer(&mut store, &mut hq, &backup, &report);
    settle(&mut store, &mut hq).await;
    assert_eq!(store.query("SELECT price FROM products ORDER BY id").await, ["7", "7", "5"]);
}
