//! The JSON of protocol version 1. Serde stops here: each body is converted by hand to and from what core has, and
//! whatever core would not accept (an id, a name, a logical type) is refused.
//!
//! Unknown members are passed over, so that a later minor version may add some; missing ones are refused. Nothing is
//! read before its size is bounded. Text for people loses control characters and everything past 256 characters; names
//! and keys are data, and are taken as they are or not at all.

mod comparison;
mod hello;
mod pairing;
mod receipt;

pub(super) use comparison::{
    read_compare_answer, read_compare_request, write_compare_answer, write_compare_request,
};
pub(super) use hello::{read_hello, write_hello, write_status};
pub(super) use pairing::{read_pair_answer, read_pair_request, write_pair_answer, write_pair_request};
pub(super) use receipt::{pending, says_applied};

use branchline_core::code::Code;
use branchline_core::schema::{LogicalTypeError, NameError};

/// What is wrong with a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// It is not JSON of the shape that the protocol has.
    #[error("the message is not of the protocol: {0}")]
    Shape(serde_json::Error),
    /// A column has a type that this version does not know.
    #[error("{0}")]
    UnknownType(#[from] LogicalTypeError),
    /// A name cannot be one.
    #[error("{0}")]
    Name(#[from] NameError),
    /// A value of that member is not what it must be.
    #[error("the message's {member} is not valid")]
    Member {
        /// Which one.
        member: &'static str,
    },
}

impl BodyError {
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Shape(_) | Self::Member { .. } => Code::REQUEST_INVALID,
            Self::UnknownType(_) => Code::UNKNOWN_TYPE,
            Self::Name(_) => Code::NAME_INVALID,
        }
    }

    fn member(member: &'static str) -> Self {
        Self::Member { member }
    }
}

fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, BodyError> {
    serde_json::from_slice(body).map_err(BodyError::Shape)
}

/// Our own bodies hold strings, numbers and lists only, which can always be written.
fn write(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}
