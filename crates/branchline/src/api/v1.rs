//! Version 1 of the calls: texts and numbers only, so that every answer is JSON as it stands.
//!
//! Members are only ever added. A time is RFC 3339 in UTC, a duration is in milliseconds, a size in bytes.

mod answer;
mod capture;
mod command;
mod control;
mod days;
mod problem;
mod progress;
mod schedule;

pub use answer::{
    Answer, BackupAnswer, BackupsAnswer, ChangedAnswer, ColumnAnswer, CompareAnswer, DemoAnswer,
    DemoComparison, DemoServer, FileAnswer, IdAnswer, ImportAnswer, InviteAnswer, JoinAnswer, NamedRow,
    OutboxAnswer, PeerAnswer, PeersAnswer, PingAnswer, PlannedTable, StageAnswer, StatusAnswer, SyncAnswer,
    SyncOutcome, TableAnswer, TableComparison, TablesAnswer, WarningAnswer,
};
pub use capture::{AcknowledgedAnswer, AttachAnswer, CaptureAnswer, HeldAnswer, HeldRowAnswer};
pub use command::{Command, SyncCommand};
pub use control::{ControlMessage, ControlMessageError};
pub use days::{ClosedDay, DaySumAnswer, DayTableAnswer, DaysAnswer};
pub use problem::Problem;
pub use progress::Progress;
pub use schedule::{RunTime, ScheduleAnswer, ScheduleEntryAnswer, ScheduleRunAnswer};
