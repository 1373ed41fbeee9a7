//! The ledger: branchline's own tables, in a schema of their own inside the application database.
//!
//! | table | holds |
//! |---|---|
//! | `migration` | which of [`MIGRATIONS`] were run |
//! | `meta` | one row: the name of this copy of the database, its epoch, its generation |
//! | `applied` | each backup that was applied, with its receipt, in the transaction of its rows |
//!
//! Made on first need, in one transaction under an advisory lock. Migrations are only ever added. The shop's own
//! role needs no right here.

use branchline_core::digest::Digest;
use branchline_core::id::{BackupId, Epoch, Generation, Sequence, ServerId};
use branchline_core::ports::{AppliedRecord, ApplyRequest, DatabaseError, Ledger};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::ident::Ident;
use super::session::Session;

/// The schema's name.
pub(crate) const SCHEMA: &str = "branchline";

/// What a second process waits for while the first makes the ledger: the letters `brnchldg`.
const LOCK: i64 = 0x6272_6e63_686c_6467;

/// Each is run once, in order, and never edited.
const MIGRATIONS: [&str; 1] = [CREATE];

const CREATE: &str = "
    CREATE TABLE branchline.migration (
      version int4 PRIMARY KEY,
      run_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE branchline.meta (
      only_row bool PRIMARY KEY DEFAULT true CHECK (only_row),
      database_id uuid NOT NULL,
      epoch int8 NOT NULL CHECK (epoch > 0),
      generation int8 NOT NULL CHECK (generation >= 0));
    INSERT INTO branchline.meta (database_id, epoch, generation) VALUES (gen_random_uuid(), 1, 0);
    CREATE TABLE branchline.applied (
      backup uuid PRIMARY KEY,
      source text NOT NULL,
      epoch int8 NOT NULL,
      sequence int8 NOT NULL,
      checksum text NOT NULL,
      receipt bytea NOT NULL,
      applied_at timestamptz NOT NULL,
      CONSTRAINT applied_place UNIQUE (source, epoch, sequence));";

/// What is there, what we may do with it, and what we could make.
const STATE: &str = "
    SELECT n.oid IS NOT NULL,
           coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
           c.oid IS NOT NULL,
           coalesce(bool_and(has_table_privilege(t.oid, 'SELECT')), false),
           has_database_privilege(current_database(), 'CREATE'),
           coalesce(has_schema_privilege(n.oid, 'CREATE'), false)
      FROM (VALUES ($1::text)) AS wanted (name)
      LEFT JOIN pg_namespace AS n ON n.nspname = wanted.name
      LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'migration'
      LEFT JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relkind = 'r'
     GROUP BY n.oid, c.oid";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM branchline.migration";
const META: &str = "SELECT database_id::text, epoch, generation FROM branchline.meta";
const APPLIED: &str = "
    SELECT backup::text, source, epoch, sequence, checksum, receipt FROM branchline.applied
     WHERE backup = $1::text::uuid";
const LAST_APPLIED: &str = "
    SELECT backup::text, source, epoch, sequence, checksum, receipt FROM branchline.applied
     WHERE source = $1 ORDER BY epoch DESC, sequence DESC LIMIT 1";
const RECORD: &str = "
    INSERT INTO branchline.applied (backup, source, epoch, sequence, checksum, receipt, applied_at)
    VALUES ($1::text::uuid, $2, $3, $4, $5, $6, $7::text::timestamptz)";

/// Makes the ledger where it is missing or older than this program.
pub(crate) async fn ensure(session: &Session) -> Result<(), DatabaseError> {
    let state = session.row(STATE, &[&SCHEMA]).await?;
    let (schema, usable, tables, readable, may_create): (bool, bool, bool, bool, bool) =
        (state.get(0), state.get(1), state.get(2), state.get(3), state.get(4));
    let role = Ident::new(&session.names().role);
    let missing =
        |action: &str, grant: String| DatabaseError::PrivilegeMissing { action: action.to_owned(), grant };
    if !schema && !may_create {
        let database = Ident::new(&session.names().database);
        let grant = format!("GRANT CREATE ON DATABASE {database} TO {role}");
        return Err(missing("make the schema of branchline's ledger", grant));
    }
    if schema && !usable {
        return Err(missing(
            "use branchline's ledger",
            format!("GRANT USAGE ON SCHEMA branchline TO {role}"),
        ));
    }
    if schema && !tables && !state.get::<_, bool>(5) {
        let grant = format!("GRANT USAGE, CREATE ON SCHEMA branchline TO {role}");
        return Err(missing("make the tables of branchline's ledger", grant));
    }
    if tables && !readable {
        let grant = format!("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA branchline TO {role}");
        return Err(missing("read branchline's ledger", grant));
    }
    if tables && version(session).await? == MIGRATIONS.len() {
        return Ok(());
    }
    migrate(session).await
}

async fn version(session: &Session) -> Result<usize, DatabaseError> {
    let version: i32 = session.row(VERSION, &[]).await?.get(0);
    let known = usize::try_from(version).unwrap_or(usize::MAX);
    if known > MIGRATIONS.len() {
        let engine = "branchline's ledger of version".to_owned();
        return Err(DatabaseError::Version { engine, version: version.to_string() });
    }
    Ok(known)
}

async fn migrate(session: &Session) -> Result<(), DatabaseError> {
    session.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    session.rows("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let state = session.row(STATE, &[&SCHEMA]).await?;
    let (schema, tables): (bool, bool) = (state.get(0), state.get(2));
    // Even where the schema exists, CREATE SCHEMA asks for a right on the whole database.
    if !schema {
        session.run("CREATE SCHEMA branchline").await?;
    }
    let from = if tables { version(session).await? } else { 0 };
    for (place, migration) in MIGRATIONS.iter().enumerate().skip(from) {
        session.run(migration).await?;
        let number = i32::try_from(place + 1).unwrap_or(i32::MAX);
        session.rows("INSERT INTO branchline.migration (version) VALUES ($1)", &[&number]).await?;
    }
    session.run("COMMIT").await
}

/// What it says of the database's life.
pub(crate) async fn read(session: &Session) -> Result<Ledger, DatabaseError> {
    let row = session.row(META, &[]).await?;
    Ok(Ledger {
        database_id: row.get(0),
        epoch: Epoch::new(unsigned(&row, 1)),
        generation: Generation::new(unsigned(&row, 2)),
        engine: session.engine(),
    })
}

/// The record of a backup.
pub(crate) async fn applied(
    session: &Session,
    backup: BackupId,
) -> Result<Option<AppliedRecord>, DatabaseError> {
    let rows = session.rows(APPLIED, &[&backup.to_string()]).await?;
    rows.first().map(record_of).transpose()
}

/// The record of the last backup of a server.
pub(crate) async fn last_applied(
    session: &Session,
    source: &ServerId,
) -> Result<Option<AppliedRecord>, DatabaseError> {
    let rows = session.rows(LAST_APPLIED, &[&source.as_str()]).await?;
    rows.first().map(record_of).transpose()
}

/// Records a backup, in the transaction that is open.
pub(crate) async fn record(
    session: &Session,
    request: &ApplyRequest,
    receipt: &[u8],
    now: jiff::Timestamp,
) -> Result<(), DatabaseError> {
    let (backup, source) = (request.backup.to_string(), request.source.as_str());
    let (epoch, sequence) = (signed(request.epoch.value()), signed(request.sequence.value()));
    let (checksum, now) = (request.checksum.to_string(), now.to_string());
    let written =
        session.execute_raw(RECORD, &[&backup, &source, &epoch, &sequence, &checksum, &receipt, &now]).await;
    let Err(error) = written else { return Ok(()) };
    let report = error.as_db_error().filter(|report| *report.code() == SqlState::UNIQUE_VIOLATION);
    Err(match report.and_then(|report| report.constraint()) {
        Some("applied_place") => {
            DatabaseError::Forked { source_id: request.source.clone(), backup: request.backup }
        }
        // The very same backup: another process applied it while we did. Asked again, it has its receipt.
        Some(_) => DatabaseError::Busy { message: "another process applied the same backup".to_owned() },
        None => session.fault(&error),
    })
}

fn record_of(row: &Row) -> Result<AppliedRecord, DatabaseError> {
    let broken = |what: &str| DatabaseError::Failed {
        sqlstate: "XX001".to_owned(),
        message: format!("the ledger holds {what} that cannot be read"),
    };
    Ok(AppliedRecord {
        backup: row.get::<_, String>(0).parse().map_err(|_| broken("a backup id"))?,
        source: row.get::<_, String>(1).parse().map_err(|_| broken("a server id"))?,
        epoch: Epoch::new(unsigned(row, 2)),
        sequence: Sequence::new(unsigned(row, 3)),
        checksum: row.get::<_, String>(4).parse::<Digest>().map_err(|_| broken("a checksum"))?,
        metadata: None,
        receipt: row.get(5),
    })
}

fn unsigned(row: &Row, place: usize) -> u64 {
    row.get::<_, i64>(place).unsigned_abs()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
