//! The integration tests of the database adapters, on real databases.

mod conformance;
mod cross_engine;
mod postgres;
mod sqlite;
