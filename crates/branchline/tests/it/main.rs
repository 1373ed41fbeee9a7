//! The whole program, end to end: real databases, real TLS on loopback, nothing faked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that fails should say where"
)]

mod bad_databases;
mod bad_documents;
mod bad_limits;
mod bad_machine;
mod bad_names;
mod bad_peers;
mod bad_rows;
mod budget;
mod cli;
mod compare;
mod curl;
mod disk;
mod filters;
mod held;
mod incremental;
mod killed;
mod live;
mod mirror;
mod pairing;
mod relay;
mod resume;
mod retry;
mod rewound;
mod schedule;
mod sync;
mod usb;
mod world;
