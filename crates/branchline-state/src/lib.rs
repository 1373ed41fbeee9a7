//! A server's own memory: registry, invitations, outbox, inbox, receipts, chains, schedule, and the spool of files.
//!
//! ```text
//! HOME/home.lock      held by the one process that works on this home
//! HOME/state.db       SQLite, one table a module; WAL, synchronous=FULL
//! HOME/spool/         data-BACKUP          the second frame of a backup made here
//!                     in-PEER-BACKUP       an upload, perhaps not complete yet
//! ```
//! Nothing here reads a clock, decides when work is done, or knows what a backup holds. What must commit together
//! with the shop's rows is in the ledger (`branchline-db`) and not here: this memory can be rebuilt from the
//! ledger and the peers, and never contradicts them.
//!
//! Invariants: a commit is lasting when it answers · a spool file's length is what was made lasting · a file
//! without a row is swept at start ([`reconcile`]) · everything made here can be read by its owner alone.

mod acknowledged;
mod chains;
mod connection;
mod home_lock;
mod inbox;
mod invitations;
mod migrations;
mod outbox;
mod platform;
mod receipts;
mod reconcile;
mod registry;
mod remembered;
mod schedule;
mod spool;
mod store;
mod table;
mod thread;

pub use home_lock::{HomeLock, lock};
pub use migrations::STATE_VERSION;
pub use reconcile::{ReconcileError, Reconciled, reconcile};
pub use spool::FolderSpool;
pub use store::SqliteState;
