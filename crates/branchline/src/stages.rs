//! The path of a backup, one stage a file: each takes what the one before made, so that none can be skipped.
//!
//! ```text
//!  pack > seal > queue > send ==TLS==> receive > verify > plan > apply > receipt
//! ```
//! `receive` and `verify` work hand in hand: bytes are verified as they arrive. Only the receipt flows back.

pub mod apply;
pub mod pack;
pub mod plan;
pub mod queue;
pub mod receipt;
pub mod receive;
pub mod seal;
pub mod send;
pub mod verify;
