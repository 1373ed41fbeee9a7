//! The databases of a bench: making and dropping them, and copying one by the database's own tools.

use std::process::Command;
use std::time::Duration;

use super::timed;
use crate::failure::Failure;
use crate::postgres::Cluster;
use crate::program;

/// The role that owns what is measured.
pub(super) const OWNER: &str = "shopkeeper";

/// `pg_dump | gzip -6 | gunzip | psql`, what [`restore`] does, for tables that people read.
pub(super) const RESTORE: &str = "pg_dump | gzip -6 | gunzip | psql";

/// Makes the roles of a new cluster.
pub(super) fn create_roles(cluster: &Cluster, roles: &[&str]) -> Result<(), Failure> {
    for role in roles {
        cluster.query("postgres", &format!("CREATE ROLE {role} LOGIN"))?;
    }
    Ok(())
}

/// An empty database of the owner, in the place of one that has its name.
pub(super) fn create(cluster: &Cluster, database: &str) -> Result<(), Failure> {
    drop_database(cluster, database)?;
    let statement = format!("CREATE DATABASE {database} OWNER {OWNER} TEMPLATE template0");
    cluster.query("postgres", &statement).map(drop)?;
    // From PostgreSQL 15 on, public belongs to the database's owner; before, anybody could create in it.
    let statement = format!("GRANT ALL ON SCHEMA public TO {OWNER}");
    cluster.query(database, &statement).map(drop)
}

/// Drops a database where there is one.
pub(super) fn drop_database(cluster: &Cluster, database: &str) -> Result<(), Failure> {
    let statement = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
    cluster.query("postgres", &statement).map(drop)
}

/// The schema of `source`, without the ledger and without rows, in a new database.
pub(super) fn create_like(cluster: &Cluster, source: &str, database: &str) -> Result<(), Failure> {
    create(cluster, database)?;
    let script =
        r#"set -o pipefail; "$1" -s -N branchline "$2" | "$3" -X -q -v ON_ERROR_STOP=1 "$4" >/dev/null"#;
    program::read(&mut piped(cluster, script, source, database)).map(drop)
}

/// Copies `source` into the empty `database` the way that a shop without anything else would, and says how long it took.
pub(super) fn restore(cluster: &Cluster, source: &str, database: &str) -> Result<Duration, Failure> {
    let script = r#"set -o pipefail; "$1" --no-publications --no-subscriptions "$2" | gzip -6 | gunzip \
        | "$3" -X -q -v ON_ERROR_STOP=1 "$4" >/dev/null"#;
    let mut pipe = piped(cluster, script, source, database);
    Ok(timed(|| program::read(&mut pipe))?.0)
}

/// A script with `pg_dump`, the source's URL, `psql` and the target's URL as its arguments.
fn piped(cluster: &Cluster, script: &str, source: &str, target: &str) -> Command {
    let mut pipe = Command::new("bash");
    pipe.args(["-c", script, "bash"])
        .arg(cluster.client("pg_dump"))
        .arg(cluster.url_of(OWNER, source))
        .arg(cluster.client("psql"))
        .arg(cluster.url_of(OWNER, target));
    pipe
}
