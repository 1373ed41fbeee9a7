//! The rules of branchline, free of input and output.
//!
//! Nothing here reads a clock, opens a socket or a file, starts a task or speaks SQL: time, ids and entropy
//! come in as arguments, and what must be done comes out as a value. The crates around this one do it.
//!
//! | module | holds |
//! |---|---|
//! | [`id`], [`digest`] | names of servers, backups and keys; SHA-256 |
//! | [`schema`], [`value`] | tables, columns, logical types; one typed value of a row |
//! | [`version`], [`knowledge`] | who made a row what it is; what a server holds of each other's changes |
//! | [`standing`], [`lineage`] | how far a peer is; whether the database is the one that it was before |
//! | [`merge`], [`pack`] | what becomes of an incoming row; which rows a backup brings to a peer |
//! | [`restore`] | what becomes of a database that was restored from an old copy |
//! | [`backup`] | the document that travels: format version 1, sealing, verifying |
//! | [`receipt`] | the signed answer to a backup |
//! | [`scope`] | which rows of a table a peer gets |
//! | [`skew`] | what becomes of a table of a backup that is described otherwise here |
//! | [`compare`] | bucketed hashes that prove two databases equal |
//! | [`day`] | the close of a business day, and whether a receiver has just that |
//! | [`pairing`] | invitations, proofs and check words |
//! | [`peer`], [`retry`] | what we know of a peer; how long a delivery waits |
//! | [`schedule`] | what a server does by itself, and when |
//! | [`ports`] | what the outer crates implement |
//! | [`code`], [`limits`] | stable error codes; every bound, with its reason |

pub mod backup;
pub mod code;
pub mod compare;
pub mod day;
pub mod digest;
pub mod id;
pub mod knowledge;
pub mod limits;
pub mod lineage;
pub mod merge;
pub mod pack;
pub mod pairing;
pub mod peer;
pub mod ports;
pub mod receipt;
pub mod restore;
pub mod retry;
pub mod schedule;
pub mod schema;
pub mod scope;
pub mod signing;
pub mod skew;
pub mod standing;
pub mod value;
pub mod version;
