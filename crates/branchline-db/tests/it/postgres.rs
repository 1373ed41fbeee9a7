//! PostgreSQL: the conformance suite, and what is PostgreSQL's own.
//!
//! The cluster is the one that `cargo xtask test` starts; each test makes databases of its own in it.

mod bulk;
mod connection;
mod database;
mod introspection;
mod matrix;
mod merging;
mod rights;

use std::sync::Arc;

use branchline_testkit::database::PostgresFixture;

fn fixture() -> PostgresFixture {
    PostgresFixture::new(Arc::new(|url| Box::pin(async move { branchline_db::connect(&url).await })))
}

mod conformance {
    branchline_testkit::database_suite!(crate::postgres::fixture);
}
