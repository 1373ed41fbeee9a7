//! What staged rows say of themselves besides their values: columns of ours behind those of the table.
//!
//! A life is staged as its number among those that this backup names, from 1 on; the ledger's own numbers are given when
//! the merge begins.

use std::collections::HashMap;

use branchline_core::backup::v1::{Deletion, RowMark};
use branchline_core::code::Code;
use branchline_core::value::Value;
use branchline_core::version::{Dot, Life};

use crate::postgres::copy::RowLines;
use crate::postgres::text::{Unreadable, write_number};

/// The columns with their types, in SQL: a row's number, its version, whether it is a deletion, and, where it cannot
/// go in as it is, its line with the reason.
pub(crate) const COLUMNS: &str =
    "branchline_number int8, branchline_life int4, branchline_generation int8, branchline_time int8,
     branchline_was_life int4, branchline_was_generation int8, branchline_deleted bool,
     branchline_line text, branchline_code text, branchline_reason text";

/// The columns' names.
pub(crate) const NAMES: &str = "branchline_number, branchline_life, branchline_generation, branchline_time,
     branchline_was_life, branchline_was_generation, branchline_deleted, branchline_line, branchline_code,
     branchline_reason";

/// One more column, where deletions may be of rows that only left the scope: whether this is one.
pub(crate) const LEAVING: &str = "branchline_leaving";

/// The lives that the versions of a backup name, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct StagedLives {
    numbers: HashMap<Life, usize>,
    lives: Vec<Life>,
}

impl StagedLives {
    fn number(&mut self, life: &Life) -> usize {
        if let Some(number) = self.numbers.get(life) {
            return *number;
        }
        self.lives.push(life.clone());
        self.numbers.insert(life.clone(), self.lives.len());
        self.lives.len()
    }

    /// The lives; the first has number 1.
    pub(crate) fn all(&self) -> &[Life] {
        &self.lives
    }
}

/// Appends the columns of a row's mark as COPY takes them.
pub(crate) fn write(mark: &RowMark, number: u64, lives: &mut StagedLives, out: &mut Vec<u8>) {
    out.push(b'\t');
    write_number(number, out);
    let mut dot = |dot: Option<&Dot>, time: Option<u64>, out: &mut Vec<u8>| match dot {
        Some(dot) => {
            out.push(b'\t');
            write_number(lives.number(&dot.life), out);
            out.push(b'\t');
            write_number(dot.generation.value(), out);
            if let Some(time) = time {
                out.push(b'\t');
                write_number(time, out);
            }
        }
        None => {
            let columns = if time.is_some() { 3 } else { 2 };
            out.extend_from_slice(&b"\t\\N\t\\N\t\\N"[..3 * columns]);
        }
    };
    let version = mark.version.as_ref();
    dot(version.map(|version| &version.dot), Some(version.map_or(0, |version| version.time.micros())), out);
    dot(version.and_then(|version| version.was.as_ref()), None, out);
    out.extend_from_slice(if mark.deletion.is_some() { b"\tt" } else { b"\tf" });
}

/// Appends [`LEAVING`].
pub(crate) fn write_leaving(mark: &RowMark, out: &mut Vec<u8>) {
    let is_leaving = mark.deletion == Some(Deletion::OutOfScope);
    out.extend_from_slice(if is_leaving { b"\tt" } else { b"\tf" });
}

/// Why a row cannot go in as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

/// Appends the line of a row that cannot go in, with the reason; nothing of either for one that can.
pub(crate) fn write_fault(
    fault: Option<&Fault>,
    line: &[u8],
    lines: &mut RowLines,
    out: &mut Vec<u8>,
) -> Result<(), Unreadable> {
    let Some(Fault { code, reason }) = fault else {
        out.extend_from_slice(b"\t\\N\t\\N\t\\N");
        return Ok(());
    };
    for text in [&String::from_utf8_lossy(line), code.to_string().as_str(), reason] {
        lines.field(&Value::Text(text.into()), false, out)?;
    }
    Ok(())
}
