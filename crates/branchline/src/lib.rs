//! Keeps a group of shops and their head office in step, straight from server to server.
//!
//! This crate builds the parts of a server together: [`settings`], the [`node`] with its [`stages`], the
//! [`control`] socket through which the command line speaks to a running server, and the [`cli`] itself.

pub mod api;
pub mod cli;
pub mod control;
pub mod demo;
pub mod node;
pub mod settings;
pub mod stages;
