//! Held rows, as far as they are not an apply's alone.
//!
//! A row is held under the text that its key has here, or, where `unfit` is said of it, under another one: its table did
//! not fit when it came, or does not any more. What its key is here is then found out once it fits
//! (`apply::refit`). No two rows of one table are held under one text, those that are unfit by themselves.

use branchline_core::ports::DatabaseError;
use branchline_core::schema::TableName;

use crate::postgres::session::Session;

const UNSETTLE: &str = "
    UPDATE branchline.held AS h
       SET unfit = true,
           key = CASE WHEN EXISTS (SELECT FROM branchline.held AS o
                                    WHERE o.table_name = $1 AND o.unfit AND md5(o.key) = md5(h.key) AND o.key = h.key)
                      THEN h.key || ' of ' || h.backup ELSE h.key END
     WHERE h.table_name = $1 AND NOT h.unfit";

/// Says that the held rows of a table do not fit any more: it is gone, its key is another one, or a column of it is.
pub(crate) async fn unsettle(session: &Session, table: &TableName) -> Result<(), DatabaseError> {
    session.rows_kept(UNSETTLE, &[&table.as_str()]).await.map(drop)
}
