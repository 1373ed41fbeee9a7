//! Every claim of the testkit's suite, on every engine.

use std::sync::Arc;

use branchline_testkit::database::{Connect, PostgresFixture, SqliteFixture};

/// How the fixtures reach the adapters.
pub(crate) fn connect() -> Connect {
    Arc::new(|url| Box::pin(async move { branchline_db::connect(&url).await }))
}

/// SQLite files.
pub(crate) fn sqlite_files() -> SqliteFixture {
    SqliteFixture::new(connect())
}

/// PostgreSQL databases.
pub(crate) fn postgres_databases() -> PostgresFixture {
    PostgresFixture::new(connect())
}

mod on_sqlite {
    branchline_testkit::database_suite!(crate::conformance::sqlite_files);

    mod capturing {
        branchline_testkit::capture_suite!(crate::conformance::sqlite_files);
    }
}

mod on_postgres {
    branchline_testkit::database_suite!(crate::conformance::postgres_databases);

    mod capturing {
        branchline_testkit::capture_suite!(crate::conformance::postgres_databases);
    }
}
