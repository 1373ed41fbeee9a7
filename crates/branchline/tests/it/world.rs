//! Test parts: a shop's database, and a server of this process beside it.
//!
//! Each server has a folder of its own, such as `init` makes, real keys and real TLS, and listens on a port of the
//! loopback interface that the system chose. PostgreSQL databases are made in the cluster that `cargo xtask test` starts.

mod courier;
mod document;
mod process;
mod proxy;
mod scene;
mod server;
mod shop;

pub(crate) use courier::Courier;
pub(crate) use document::{Document, Draft};
pub(crate) use process::Process;
pub(crate) use proxy::Proxy;
pub(crate) use scene::Scene;
pub(crate) use server::{Home, Server, introduce, pair};
pub(crate) use shop::{Hashes, Shop};

use std::time::Duration;

use branchline::api::v1::{Problem, SyncOutcome};
use branchline_core::code::Code;
use serde_json::Value;

/// Makes a test of each claim on each engine. A claim is a function of an [`Engine`](branchline_testkit::database::Engine).
macro_rules! on_both_engines {
    ($($claim:ident)+) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    super::$claim(branchline_testkit::database::Engine::Sqlite).await;
                }
            )+
        }
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    super::$claim(branchline_testkit::database::Engine::Postgres).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_engines;

/// Asserts that this was refused with that code, and answers the problem.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Problem>, code: Code) -> Problem {
    match result {
        Ok(value) => panic!("{} was expected, and it worked: {value:?}", code.name()),
        Err(problem) => {
            assert_eq!(problem.name, code.name(), "{problem}");
            assert_eq!(problem.code, code.to_string());
            problem
        }
    }
}

/// Asserts what became of a sync with one peer (`refused`, `waiting`), and why; answers the problem.
#[track_caller]
pub(crate) fn ended(outcome: &SyncOutcome, state: &str, code: Code) -> Problem {
    let problem = outcome.problem.clone().unwrap_or_else(|| panic!("no problem: {outcome:?}"));
    assert_eq!((outcome.state.as_str(), problem.name.as_str()), (state, code.name()), "{problem}");
    problem
}

/// Asserts that a sync was delivered and fully applied, and answers the receipt.
#[track_caller]
pub(crate) fn delivered(outcome: &SyncOutcome) -> Value {
    assert_eq!((outcome.state.as_str(), &outcome.problem), ("delivered", &None), "{outcome:?}");
    let receipt = outcome.receipt.clone().expect("a receipt");
    assert_eq!(receipt["success"], true);
    receipt
}

/// A receipt's counts: inserted, updated, unchanged, deleted.
pub(crate) fn counts(receipt: &Value) -> (u64, u64, u64, u64) {
    let count = |name: &str| receipt[name].as_u64().expect("a count");
    (count("inserted"), count("updated"), count("unchanged"), count("deleted"))
}

/// Waits until something is so, and answers what was found: asks every 10 ms, for 30 s at most.
pub(crate) async fn eventually<T, Asked: Future<Output = Option<T>>>(
    what: &str,
    ask: impl Fn() -> Asked,
) -> T {
    const PATIENCE: Duration = Duration::from_secs(30);
    let asking = async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        loop {
            again.tick().await;
            if let Some(found) = ask().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("not so within {PATIENCE:?}: {what}"))
}
