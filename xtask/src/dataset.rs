//! The shop that the benches copy: its SQL is `dataset/retail.sql`, written for `psql`.
//!
//! At 250,000 sales it has 1,780,104 rows. Size and shape follow what retail databases hold; see the file's head.

use std::collections::BTreeMap;
use std::fs;

use crate::failure::{Doing, Failure};
use crate::postgres::Cluster;

const RETAIL: &str = include_str!("dataset/retail.sql");

/// Makes the shop with so many sales, as `role`, in an empty database.
pub(crate) fn fill(cluster: &Cluster, role: &str, database: &str, sales: u64) -> Result<(), Failure> {
    let file = cluster.scratch("retail.sql");
    fs::write(&file, RETAIL).doing(|| format!("write {}", file.display()))?;
    let mut psql = cluster.psql(&cluster.url_of(role, database));
    psql.arg(format!("--set=sales={sales}")).arg("--file").arg(&file);
    crate::program::read(&mut psql).map(drop)
}

/// The number of rows in each table of the default schema.
pub(crate) fn counts(cluster: &Cluster, database: &str) -> Result<BTreeMap<String, u64>, Failure> {
    let tables = cluster.query(
        database,
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )?;
    let mut counts = BTreeMap::new();
    for table in tables.lines() {
        let rows = cluster.query(database, &format!("SELECT count(*) FROM public.\"{table}\""))?;
        let rows = rows.trim().parse().doing(|| format!("read the count of {table}"))?;
        counts.insert(table.to_owned(), rows);
    }
    Ok(counts)
}
