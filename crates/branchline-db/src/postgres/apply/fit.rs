//! What is decided before anything is staged: each table, column and type of the backup has its place here, and
//! our role may do what will be asked of it. Refusals name the table, the column, the GRANT.

use branchline_core::backup::TableSummary;
use branchline_core::ports::{DatabaseError, OnError};
use branchline_core::schema::fit;
use tokio_postgres::error::SqlState;

use super::{Load, Target};
use crate::Omitted;
use crate::postgres::ident::{Ident, list};
use crate::postgres::schema::{Catalogue, Relation};
use crate::postgres::session::Session;
use crate::postgres::sessions::Fingerprint;

/// One table, fitted. Where rows may be held, a column that is missing here holds those rows that have a value in it.
pub(crate) fn target(
    catalogue: &Catalogue,
    summary: &TableSummary,
    slot: usize,
    on_error: OnError,
) -> Result<Target, DatabaseError> {
    let (table, relation) = catalogue.syncable(&summary.name)?;
    let holds = on_error == OnError::Hold;
    // What comes for a column that the settings leave out here is passed over.
    let is_here = |name| !table.omits(name) && (!holds || table.position(name).is_some());
    let columns: Vec<_> = summary
        .columns
        .iter()
        .filter(|column| is_here(&column.name))
        .map(|column| (column.name.clone(), column.logical_type.clone()))
        .collect();
    let scope = fit(table, &columns, &summary.key)?;
    let mut places = scope.places.iter().copied();
    let brought = summary.columns.iter().map(|column| is_here(&column.name).then(|| places.next()).flatten());
    Ok(Target {
        table: table.clone(),
        relation: relation.clone(),
        brought: brought.collect(),
        places: scope.places.clone(),
        load: Load::Staged(format!("pg_temp.branchline_stage_{slot}")),
        slot,
        rows: summary.rows,
        deletions: summary.deletions,
        versioned: summary.versioned,
        marked: true,
        holds,
        came: summary.clone(),
    })
}

/// Keeps the staged tables' definitions as they are until the commit, and refuses where one was changed since the
/// backup was fitted into it. The locks are those that the merge takes anyway, all of them in the order of names.
pub(crate) async fn hold_definitions(
    session: &Session,
    tables: &[Target],
    fitted: &Fingerprint,
    omitted: &[Omitted],
) -> Result<(), DatabaseError> {
    let mut staged: Vec<&Target> = tables.iter().filter(|target| target.staged().is_some()).collect();
    if staged.is_empty() {
        return Ok(());
    }
    staged.sort_by(|a, b| a.relation.name.cmp(&b.relation.name));
    let locked = list(staged.iter().map(|target| target.relation.only()));
    if let Err(error) = session.run_raw(&format!("LOCK TABLE {locked} IN ROW EXCLUSIVE MODE")).await {
        // A table that was dropped or renamed has changed too.
        return match error.code() {
            Some(state) if *state == SqlState::UNDEFINED_TABLE => Err(changed(staged[0])),
            _ => Err(session.fault(&error)),
        };
    }
    if Fingerprint::read(session).await? == *fitted {
        return Ok(());
    }
    let catalogue = Catalogue::read(session, omitted).await?;
    for target in staged {
        let Ok((table, relation)) = catalogue.syncable(&target.table.name) else {
            return Err(changed(target));
        };
        let numbers =
            |relation: &Relation| relation.columns.iter().map(|detail| detail.number).collect::<Vec<_>>();
        let same = relation.oid == target.relation.oid
            && table.columns == target.table.columns
            && table.key == target.table.key
            && numbers(relation) == numbers(&target.relation);
        if !same {
            return Err(changed(target));
        }
    }
    Ok(())
}

fn changed(target: &Target) -> DatabaseError {
    let message =
        format!("table {} or another of the backup's was altered while rows were staged", target.table.name);
    DatabaseError::Busy { message }
}

/// Refuses where a right is missing.
pub(crate) async fn check_rights(
    session: &Session,
    tables: &[Target],
    mirror: bool,
) -> Result<(), DatabaseError> {
    let names = session.names();
    let role = Ident::new(&names.role);
    for target in tables {
        let rights = target.relation.rights;
        let wanted =
            [("INSERT", rights.insert), ("UPDATE", rights.update), ("DELETE", rights.delete || !mirror)];
        if wanted.iter().any(|(_, granted)| !granted) {
            let missing: Vec<_> =
                wanted.iter().filter(|(_, granted)| !granted).map(|(word, _)| *word).collect();
            return Err(DatabaseError::PrivilegeMissing {
                action: format!("write table {}", target.table.name),
                grant: format!("GRANT {} ON TABLE {} TO {role}", missing.join(", "), target.relation.name),
            });
        }
    }
    let sql = "SELECT has_database_privilege(current_database(), 'TEMPORARY'),
                      current_setting('session_replication_role')";
    let row = session.row(sql, &[]).await?;
    if !row.get::<_, bool>(0) {
        return Err(DatabaseError::PrivilegeMissing {
            action: "make temporary tables".to_owned(),
            grant: format!("GRANT TEMPORARY ON DATABASE {} TO {role}", Ident::new(&names.database)),
        });
    }
    if row.get::<_, String>(1) != "origin"
        && session.run_raw("SET session_replication_role = origin").await.is_err()
    {
        // Under any other value foreign keys are not checked at all.
        return Err(DatabaseError::PrivilegeMissing {
            action: "have foreign keys checked".to_owned(),
            grant: format!("ALTER ROLE {role} RESET session_replication_role"),
        });
    }
    Ok(())
}
