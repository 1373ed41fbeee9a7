//! What the command line, the control socket and (later) the dashboard say to a node, and what it answers.
//!
//! There is one set of calls: whoever wants something from a node sends a [`v1::Command`] and gets a
//! [`v1::Answer`] or a [`v1::Problem`], with [`v1::Progress`] on the way.

pub mod v1;
