//! The ledger: branchline's own tables, in a schema of their own inside the application database.
//!
//! | table | holds |
//! |---|---|
//! | `migration` | which of [`MIGRATIONS`] were run |
//! | `meta` | one row: the name of this copy of the database, its epoch, its generation, its clock, and, where changes are captured, whose it is |
//! | `applied` | each backup that was applied, with its receipt, in the transaction of its rows |
//! | `life` | a number for each life that anything here is about |
//! | `knowledge`, `purged` | of each life the highest generation held here, and that of purged tombstones |
//! | `captured` | the tables whose changes are captured, each with its number and the life of its base |
//! | `left_out` | the tables that the settings leave out |
//! | `change` | changes that no pack has stamped yet: the key and the time of each |
//! | `missed` | tables of which a trigger could not note a change |
//! | `version` | rows and tombstones that are not of their table's base, each with its version |
//! | `held` | rows that could not be applied, each with its reason |
//! | `conflict` | conflicts that were decided, each with both images |
//! | `scope` | of each peer that filters keep rows from: a number for each table, what its filter was when a pack last looked, and whether the peer was told that there is one |
//! | `in_scope` | the keys of rows of such a table that the peer has, or may have |
//!
//! Made on first need, in one transaction under an advisory lock. Migrations are only ever added. The shop's own
//! role needs no right here.
//!
//! **The ledger lock** ([`hold`]): whoever writes versions, knowledge or the clock has it until its transaction ends.
//! So a pack and an apply never run at once, and only triggers write to `change` beside them.

mod applied;
pub(crate) mod captured;
pub(crate) mod knowledge;
mod lives;
mod meta;
pub(crate) mod scope;

pub(crate) use applied::{applied, last_applied, record};
pub(crate) use lives::Lives;
pub(crate) use meta::Meta;

use branchline_core::id::{Epoch, Generation};
use branchline_core::ports::{DatabaseError, Ledger};
use tokio_postgres::Row;

use super::ident::{Ident, literal};
use super::session::Session;

/// The schema's name.
pub(crate) const SCHEMA: &str = "branchline";

/// What a second process waits for while the first makes the ledger: the letters `brnchldg`.
const LOCK: i64 = 0x6272_6e63_686c_6467;

/// What packs and applies take turns by: the letters `brnchlog`.
const TURN: i64 = 0x6272_6e63_686c_6f67;

/// How long a pack or an apply waits for its turn; the shop waits for neither meanwhile.
const TURN_TIMEOUT: &str = "120s";

/// Each is run once, in order, and never edited.
const MIGRATIONS: [&str; 3] = [CREATE, CAPTURE, FILTER];

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

/// Keys and texts of ours are compared byte by byte, whatever the database's collation is. `change` has no index: a
/// pack takes all of it.
const CAPTURE: &str = "
    ALTER TABLE branchline.applied ADD metadata text;
    ALTER TABLE branchline.meta ADD server text, ADD clock int8 NOT NULL DEFAULT 0;
    CREATE TABLE branchline.life (
      id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      server text NOT NULL,
      epoch int8 NOT NULL,
      CONSTRAINT life_once UNIQUE (server, epoch));
    CREATE TABLE branchline.knowledge (
      life int4 PRIMARY KEY REFERENCES branchline.life,
      generation int8 NOT NULL);
    CREATE TABLE branchline.purged (
      life int4 PRIMARY KEY REFERENCES branchline.life,
      generation int8 NOT NULL);
    CREATE TABLE branchline.captured (
      id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      name text NOT NULL UNIQUE,
      relation oid NOT NULL,
      key_columns text[] NOT NULL,
      definition text NOT NULL,
      partitions oid[] NOT NULL,
      base int4 NOT NULL REFERENCES branchline.life,
      compare_due bool NOT NULL DEFAULT false);
    CREATE TABLE branchline.left_out (
      name text PRIMARY KEY);
    CREATE TABLE branchline.change (
      table_id int4 NOT NULL,
      was_life int4,
      at int8 NOT NULL,
      was_generation int8,
      key text COLLATE pg_catalog.\"C\" NOT NULL);
    CREATE TABLE branchline.missed (
      table_id int4 NOT NULL);
    CREATE TABLE branchline.version (
      table_id int4 NOT NULL,
      life int4 NOT NULL,
      generation int8 NOT NULL,
      time int8 NOT NULL,
      was_generation int8,
      was_life int4,
      deleted bool NOT NULL,
      key text COLLATE pg_catalog.\"C\" NOT NULL,
      PRIMARY KEY (table_id, key));
    CREATE INDEX version_by_dot ON branchline.version (life, generation, table_id);
    CREATE INDEX version_deleted ON branchline.version (life, generation) WHERE deleted;
    CREATE TABLE branchline.held (
      table_name text NOT NULL,
      key text COLLATE pg_catalog.\"C\" NOT NULL,
      life int4 NOT NULL REFERENCES branchline.life,
      generation int8 NOT NULL,
      time int8 NOT NULL,
      was_life int4,
      was_generation int8,
      source text NOT NULL,
      backup uuid NOT NULL,
      columns text[] NOT NULL,
      types text[] NOT NULL,
      key_columns text[] NOT NULL,
      known_lives int4[] NOT NULL,
      known_generations int8[] NOT NULL,
      stands_for_lives int4[] NOT NULL,
      stands_for_generations int8[] NOT NULL,
      line text NOT NULL,
      code text NOT NULL,
      reason text NOT NULL,
      since timestamptz NOT NULL DEFAULT now());
    CREATE UNIQUE INDEX held_once ON branchline.held (table_name, md5(key));
    CREATE TABLE branchline.conflict (
      id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      table_name text NOT NULL,
      key text NOT NULL,
      backup uuid NOT NULL,
      source text NOT NULL,
      taken bool NOT NULL,
      ours text,
      our_version text NOT NULL,
      theirs text,
      their_version text NOT NULL,
      decided_at timestamptz NOT NULL DEFAULT now());";

/// States of `in_scope` are those of [`scope`]. Those that every pack looks at are few.
const FILTER: &str = "
    ALTER TABLE branchline.captured ADD in_part bool NOT NULL DEFAULT false;
    CREATE TABLE branchline.scope (
      id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      table_id int4 NOT NULL,
      peer text NOT NULL,
      filter text NOT NULL,
      told bool NOT NULL DEFAULT false,
      CONSTRAINT scope_once UNIQUE (table_id, peer));
    CREATE TABLE branchline.in_scope (
      scope_id int4 NOT NULL REFERENCES branchline.scope ON DELETE CASCADE,
      state int2 NOT NULL,
      key text COLLATE pg_catalog.\"C\" NOT NULL,
      PRIMARY KEY (scope_id, key));
    CREATE INDEX in_scope_unsettled ON branchline.in_scope (scope_id, state) WHERE state > 1;";

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

/// Makes the ledger where it is missing or older than this program.
pub(crate) async fn ensure(session: &Session) -> Result<(), DatabaseError> {
    if !session.has_ledger() {
        look_and_make(session).await?;
        session.set_has_ledger();
    }
    Ok(())
}

async fn look_and_make(session: &Session) -> Result<(), DatabaseError> {
    let state = session.row_kept(STATE, &[&SCHEMA]).await?;
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
        let grant =
            format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA branchline TO {role}");
        return Err(missing("read branchline's ledger", grant));
    }
    if tables && version(session).await? == MIGRATIONS.len() {
        return Ok(());
    }
    migrate(session).await
}

async fn version(session: &Session) -> Result<usize, DatabaseError> {
    let version: i32 = session.row_kept(VERSION, &[]).await?.get(0);
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
    let state = session.row_kept(STATE, &[&SCHEMA]).await?;
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

/// Takes the ledger lock, until the transaction ends. Nothing of the shop's may be locked yet.
pub(crate) async fn hold(session: &Session) -> Result<(), DatabaseError> {
    // One round trip: mostly the turn is ours at once.
    let usual: String = session.row_kept("SELECT current_setting('lock_timeout')", &[]).await?.get(0);
    session
        .run(&format!(
            "SET LOCAL lock_timeout = {}; SELECT pg_advisory_xact_lock({TURN}); SET LOCAL lock_timeout = {}",
            literal(TURN_TIMEOUT),
            literal(&usual),
        ))
        .await
}

/// Takes the ledger lock of the session, until [`let_go`]; for a transaction whose snapshot must not begin before.
pub(crate) async fn hold_for_session(session: &Session) -> Result<(), DatabaseError> {
    let patient = format!("SET lock_timeout = {}; SELECT pg_advisory_lock({TURN})", literal(TURN_TIMEOUT));
    session.run(&patient).await?;
    session.yield_to_others().await
}

/// Lets go of the ledger lock of the session.
pub(crate) async fn let_go(session: &Session) -> Result<(), DatabaseError> {
    session.run(&format!("SELECT pg_advisory_unlock({TURN})")).await
}

/// What it says of the database's life.
pub(crate) async fn read(session: &Session) -> Result<Ledger, DatabaseError> {
    let row = session.row_kept(META, &[]).await?;
    Ok(Ledger {
        database_id: row.get(0),
        epoch: Epoch::new(unsigned(&row, 1)),
        generation: Generation::new(unsigned(&row, 2)),
        engine: session.engine(),
    })
}

pub(crate) fn unsigned(row: &Row, place: usize) -> u64 {
    row.get::<_, i64>(place).unsigned_abs()
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What the ledger holds and nothing of ours wrote.
pub(crate) fn broken(what: &str) -> DatabaseError {
    DatabaseError::Failed {
        sqlstate: "XX001".to_owned(),
        message: format!("the ledger holds {what} that cannot be read"),
    }
}
