//! The integration tests of the database adapters, on real databases.

mod conformance;
mod cross_engine;
mod omitted;
mod postgres;
mod random_changes;
mod sqlite;
