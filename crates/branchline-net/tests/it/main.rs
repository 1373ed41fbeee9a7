//! Links over real TLS on loopback, with a reception in memory behind them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that fails should say where"
)]

mod client;
mod deadlines;
#[cfg(unix)]
mod identity;
mod link;
mod pairing;
mod reception;
mod rig;
mod tls;
mod uploads;
mod whole;
