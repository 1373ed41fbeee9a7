//! Why all rows of a table that does not fit are held, in the words of both engines.

use branchline_core::backup::TableSummary;
use branchline_core::code::{Code, Explain};
use branchline_core::ports::DatabaseError;
use branchline_core::schema::Schema;
use branchline_core::skew::Misfit;

/// The code and the words under which such rows are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl Why {
    /// Why a table that was refused with `error`, which is about the table itself, does not fit into `schema`: all that
    /// differs, where the core can tell, else what the error says.
    pub(crate) fn of(schema: &Schema, summary: &TableSummary, error: &DatabaseError) -> Self {
        let columns: Vec<_> =
            summary.columns.iter().map(|column| (column.name.clone(), column.logical_type.clone())).collect();
        match Misfit::of(schema, &summary.name, &columns, &summary.key) {
            Some(misfit) => Self { code: misfit.code(), reason: misfit.to_string() },
            None => Self { code: error.code(), reason: error.to_string() },
        }
    }
}
