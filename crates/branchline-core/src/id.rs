//! Names of things: servers, backups, keys, and the places of a backup in its pair's chain.
//!
//! Every id is parsed once, at the edge, into a type with private fields; from there on it cannot be malformed.

mod backup_id;
mod key_id;
mod server_id;

pub use backup_id::{BackupId, BackupIdError};
pub use key_id::{KeyId, KeyIdError};
pub use server_id::{ServerId, ServerIdError};

use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a counter that was read from a ledger or a document.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The number itself.
            #[must_use]
            pub const fn value(self) -> u64 {
                self.0
            }

            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// One life of an application database. A database restored from an old copy starts a new one.
    Epoch
}
counter! {
    /// A server's counter, advanced by each pack of its local changes.
    Generation
}
counter! {
    /// The place of a backup in the chain of one pair and direction, from 1.
    Sequence
}
