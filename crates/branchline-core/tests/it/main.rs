//! The frozen format: golden documents, and broken ones with the code that each must be refused with.
//!
//! `BRANCHLINE_BLESS=1 cargo nextest run -p branchline-core` writes the files of documents anew. That is for a new
//! case; a golden file that is there already never changes, because documents of its form are out in the world.

#![allow(clippy::unwrap_used, reason = "a test that fails here says where")]

mod broken;
mod document;
mod errors_doc;
mod golden;
mod incremental;
mod laws;
