//! Pairing: how two servers come to pin each other's keys by one line that a person carries.
//!
//! ```text
//! branchline1:HOST:PORT/BASE32      of  pin[32] token[4] secret[16] expiry[4] crc16[2]      (93 characters)
//! ```
//! The joining server pins the inviter's key by `pin`, so nobody can stand in between even at first contact. It
//! proves the secret by an HMAC over the TLS exporter of that very connection, so the secret itself never
//! travels and a proof is worth nothing on another connection. Both sides then show four words made from the
//! whole exchange. The inviter keeps a digest of the secret, and that digest is the HMAC's key.
//!
//! The words come from the EFF's short word list number 2 in spirit only: the list here is our own.

mod invitation;
mod proof;
mod words;

pub use invitation::{Invitation, InvitationError};
pub use proof::{
    EXPORTER_LABEL, Exporter, PairAnswer, PairRequest, Proof, check_words, prove, secret_digest, verify_proof,
};
