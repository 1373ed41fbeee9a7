//! Test parts: conformance suites for the ports, database fixtures, a world of servers.

pub mod database;
pub mod link;
pub mod spool;
pub mod state;
