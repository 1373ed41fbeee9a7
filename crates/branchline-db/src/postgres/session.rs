//! One connection whose settings are pinned, so that texts mean the same whatever the database or the role
//! has as its defaults.
//!
//! Pinned are all settings that change how values are written or read (`DateStyle`, `TimeZone`, `bytea_output`…),
//! how names are found (`search_path`), what rows are seen (`row_security = off` makes PostgreSQL refuse where a
//! policy would hide rows), and how long a statement may take (for ever: a large table takes its time).
//! `lock_timeout` is the exception: an apply sets it below `deadlock_timeout`, so that it gives way to the till.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use branchline_core::ports::DatabaseError;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, CopyInSink, CopyOutStream, Row, Statement};

use super::connect::{Driver, Target};
use super::error::Names;

/// The oldest version that is supported, as `server_version_num` has it.
const VERSION_MIN: i32 = 130_000;

/// What is asked before the settings are pinned: the role's own search path tells the default schema.
const WHO_AND_WHERE: &str = "
    SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
           pg_catalog.current_setting('server_version'),
           coalesce(pg_catalog.current_schema(), '')::pg_catalog.text,
           CURRENT_USER::pg_catalog.text,
           pg_catalog.current_database()::pg_catalog.text,
           pg_catalog.current_setting('search_path'),
           pg_catalog.current_setting('timezone')";

/// Settings that a version lacks are left alone.
const PIN: &str = "
    SELECT pg_catalog.set_config(known.name, pinned.setting, false)
      FROM (VALUES
        ('search_path', 'pg_catalog, pg_temp'),
        ('standard_conforming_strings', 'on'),
        ('datestyle', 'ISO, YMD'),
        ('intervalstyle', 'iso_8601'),
        ('timezone', 'UTC'),
        ('bytea_output', 'hex'),
        ('extra_float_digits', '1'),
        ('lc_monetary', 'C'),
        ('lc_numeric', 'C'),
        ('lc_time', 'C'),
        ('xmloption', 'content'),
        ('xmlbinary', 'base64'),
        ('array_nulls', 'on'),
        ('quote_all_identifiers', 'off'),
        ('transform_null_equals', 'off'),
        ('row_security', 'off'),
        ('default_transaction_isolation', 'read committed'),
        ('default_transaction_deferrable', 'off'),
        ('check_function_bodies', 'off'),
        ('plan_cache_mode', 'force_custom_plan'),
        ('client_min_messages', 'warning'),
        ('default_tablespace', ''),
        ('jit', 'off'),
        ('statement_timeout', '0'),
        ('lock_timeout', '0'),
        ('idle_in_transaction_session_timeout', '0'),
        ('idle_session_timeout', '60000'),
        ('transaction_timeout', '0')
      ) AS pinned (name, setting)
      JOIN pg_catalog.pg_settings AS known ON pg_catalog.lower(known.name) = pinned.name";

/// A long statement notices within two seconds that we are gone. Servers before 14, and on systems that cannot
/// tell, refuse it.
const NOTICE_HANGUP: &str = "SET client_connection_check_interval = 2000";

const AS_SHOP: &str = "SELECT set_config('search_path', $1, true), set_config('timezone', $2, true)";
const AS_OURSELVES: &str = "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL timezone = 'UTC'";

/// A pinned connection.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    driver: Driver,
    names: Names,
    shop_path: String,
    shop_zone: String,
    version_text: String,
    /// Statements that were prepared, by their texts.
    kept: Mutex<HashMap<&'static str, Statement>>,
    /// Whether the ledger was found to be as this program needs it.
    ledger: AtomicBool,
}

impl Session {
    /// Connects, checks the version, and pins the settings.
    pub(crate) async fn open(target: &Target) -> Result<Self, DatabaseError> {
        let (client, driver) = target.connect().await?;
        let mut names = Names {
            address: target.address(),
            role: String::new(),
            database: String::new(),
            default_schema: "public".to_owned(),
        };
        let row = client.query_one(WHO_AND_WHERE, &[]).await.map_err(|error| names.fault(&error))?;
        let (version, version_text): (i32, String) = (row.get(0), row.get(1));
        if version < VERSION_MIN {
            return Err(DatabaseError::Version { engine: "PostgreSQL".to_owned(), version: version_text });
        }
        let schema: String = row.get(2);
        if !schema.is_empty() && !schema.starts_with("pg_") && schema != super::ledger::SCHEMA {
            names.default_schema = schema;
        }
        names.role = row.get(3);
        names.database = row.get(4);
        // What is built in comes first, so that nobody's operator or function is taken for it.
        let shop_path = match row.get::<_, &str>(5) {
            "" => "pg_catalog".to_owned(),
            path => format!("pg_catalog, {path}"),
        };
        let session = Self {
            client,
            driver,
            names,
            shop_path,
            shop_zone: row.get(6),
            version_text,
            kept: Mutex::default(),
            ledger: AtomicBool::new(false),
        };
        session.rows(PIN, &[]).await?;
        if session.run_raw(NOTICE_HANGUP).await.is_err() {
            tracing::trace!("the server cannot watch its connections");
        }
        Ok(session)
    }

    /// Whether the connection is up, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Whether the ledger was found to be as this program needs it, over this connection.
    pub(crate) fn has_ledger(&self) -> bool {
        self.ledger.load(Ordering::Relaxed)
    }

    /// Remembers that it was.
    pub(crate) fn set_has_ledger(&self) {
        self.ledger.store(true, Ordering::Relaxed);
    }

    /// What is needed to name things in errors.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// `PostgreSQL 15.18`.
    pub(crate) fn engine(&self) -> String {
        let number = self.version_text.split(' ').next().unwrap_or_default();
        format!("PostgreSQL {number}")
    }

    pub(crate) fn fault(&self, error: &tokio_postgres::Error) -> DatabaseError {
        self.names.fault(error)
    }

    /// Runs statements that return nothing.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), DatabaseError> {
        self.run_raw(sql).await.map_err(|error| self.fault(&error))
    }

    /// The same, with the driver's own error.
    pub(crate) async fn run_raw(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await
    }

    /// All rows of a query that is asked again and again: it is prepared once, which saves a round trip each time.
    pub(crate) async fn rows_kept(
        &self,
        sql: &'static str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        let statement = self.statement(sql).await?;
        self.client.query(&statement, values).await.map_err(|error| self.fault(&error))
    }

    /// The one row of such a query.
    pub(crate) async fn row_kept(
        &self,
        sql: &'static str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DatabaseError> {
        let statement = self.statement(sql).await?;
        self.client.query_one(&statement, values).await.map_err(|error| self.fault(&error))
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, DatabaseError> {
        let known = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await.map_err(|error| self.fault(&error))?;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, statement.clone());
        Ok(statement)
    }

    /// All rows of a query.
    pub(crate) async fn rows(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.client.query(sql, values).await.map_err(|error| self.fault(&error))
    }

    /// The one row of a query.
    pub(crate) async fn row(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row, DatabaseError> {
        self.client.query_one(sql, values).await.map_err(|error| self.fault(&error))
    }

    /// The one row of a query, with the driver's own error.
    pub(crate) async fn row_raw(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, tokio_postgres::Error> {
        self.client.query_one(sql, values).await
    }

    /// All rows of a query, with the driver's own error.
    pub(crate) async fn rows_raw(&self, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
        self.client.query(sql, &[]).await
    }

    /// Runs one statement and counts the rows it touched.
    pub(crate) async fn execute_raw(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, tokio_postgres::Error> {
        self.client.execute(sql, values).await
    }

    pub(crate) async fn copy_out(&self, sql: &str) -> Result<CopyOutStream, DatabaseError> {
        self.client.copy_out(sql).await.map_err(|error| self.fault(&error))
    }

    pub(crate) async fn copy_in(&self, sql: &str) -> Result<CopyInSink<bytes::Bytes>, DatabaseError> {
        self.client.copy_in(sql).await.map_err(|error| self.fault(&error))
    }

    /// Refuses where nothing can be written: a standby, or a database or role that is read-only by default.
    pub(crate) async fn check_writable(&self) -> Result<(), DatabaseError> {
        let sql = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool";
        if self.row_kept(sql, &[]).await?.get(0) { Err(DatabaseError::ReadOnly) } else { Ok(()) }
    }

    /// Sets `lock_timeout` to four fifths of `deadlock_timeout`, so that we, not the till, give way.
    pub(crate) async fn yield_to_others(&self) -> Result<(), DatabaseError> {
        let sql = "
            SELECT set_config('lock_timeout', greatest(10, 4 * setting::int8 / 5)::text, false)
              FROM pg_settings WHERE name = 'deadlock_timeout'";
        self.rows_kept(sql, &[]).await.map(drop)
    }

    /// In this transaction a commit is answered when it is on disk: what is acknowledged to the sender must stay.
    pub(crate) async fn commit_durably(&self) -> Result<(), DatabaseError> {
        let sql = "SELECT set_config('synchronous_commit', 'on', true)
                    WHERE current_setting('synchronous_commit') IN ('off', 'local')";
        self.rows_kept(sql, &[]).await.map(drop)
    }

    /// From here to [`Session::as_ourselves`] or the end of the transaction, names are found and times are local as
    /// in the role's own sessions: the shop's triggers and constraints may count on it. Our statements name all
    /// that they use in full.
    pub(crate) async fn as_shop(&self) -> Result<(), DatabaseError> {
        self.rows_kept(AS_SHOP, &[&self.shop_path, &self.shop_zone]).await.map(drop)
    }

    /// The same for a COPY into a table itself: names are found as in the shop's sessions, but a time without an
    /// offset means what it means where rows are staged.
    pub(crate) async fn as_shop_in_utc(&self) -> Result<(), DatabaseError> {
        self.as_shop().await?;
        self.run("SET LOCAL timezone = 'UTC'").await
    }

    /// Pins again what [`Session::as_shop`] let go.
    pub(crate) async fn as_ourselves(&self) -> Result<(), DatabaseError> {
        self.run(AS_OURSELVES).await
    }

    /// Ends the connection in order. One that is dropped ends too, and the server takes back what was open.
    pub(crate) async fn close(self) {
        let Self { client, driver, .. } = self;
        drop(client);
        // A server that does not hang up is not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(2), driver.finished()).await;
    }
}
