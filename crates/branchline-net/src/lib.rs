//! Links between servers: TLS identity and pinning, and both ends of protocol version 1.
//!
//! | module | holds |
//! |---|---|
//! | [`identity`], [`certificate`] | this server's key, its file, and the certificate around it |
//! | [`pins`], [`tls`] | who is let in: verifiers and TLS configurations |
//! | [`listener`], [`connection`] | the server side: accept loop, one connection |
//! | [`dial`], [`connector`] | the client side: addresses, head starts, handshake |
//! | [`v1`] | protocol version 1: routes, bodies, [`v1::client::HttpLink`] |
//! | [`tasks`], [`deadlines`] | where tasks are started; how long each thing may take |
//!
//! Invariants: nothing here reads a clock or starts a task but through [`tasks::Tasks`]; every TLS connection is
//! 1.3 with both keys proven and never resumed; no byte of HTTP is read from a key that is not pinned, and none
//! is sent to a server that has not accepted ours.

pub mod certificate;
pub mod connection;
pub mod connector;
pub mod deadlines;
pub mod dial;
pub mod identity;
pub mod listener;
pub mod peer_text;
pub mod pins;
pub mod tasks;
pub mod tls;
pub mod v1;
