//! What is PostgreSQL's own; what every engine must do is in `conformance`.
//!
//! The cluster is the one that `cargo xtask test` starts; each test makes databases of its own in it.

mod bulk;
mod capturing;
mod connection;
mod database;
mod filtering;
mod interference;
mod introspection;
mod matrix;
mod merging;
mod numbering;
mod rights;
mod texts;
