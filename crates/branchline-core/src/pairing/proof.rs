//! The proof that a joining server knows an invitation's secret, and the words that both sides show.

use aws_lc_rs::hmac;

use super::words::WORDS;
use crate::digest::{Digest, Hasher};
use crate::id::{KeyId, ServerId};
use crate::peer::PeerAddress;
use crate::signing::PublicKey;

/// The label under which the TLS connection gives its exporter (RFC 8446, section 7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL branchline pair";

/// What the TLS connection exports: both ends have the same, and no other connection has it.
pub type Exporter = [u8; 32];

/// An HMAC-SHA-256 over the connection and both keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof(pub [u8; 32]);

/// What a joining server asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairRequest {
    /// Which invitation.
    pub token: [u8; 4],
    /// The proof that it knows the secret.
    pub proof: Proof,
    /// The connection's exporter, as the server side of it has it.
    pub exporter: Exporter,
    /// Its key, as the connection proved it.
    pub key: PublicKey,
    /// Its id.
    pub server: ServerId,
    /// What people call it.
    pub name: String,
    /// Where it may be found.
    pub addresses: Vec<PeerAddress>,
    /// Where it called from.
    pub from: String,
}

/// What the inviting server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairAnswer {
    /// Its id.
    pub server: ServerId,
    /// What people call it.
    pub name: String,
    /// Where it may be found, besides where it was found now.
    pub addresses: Vec<PeerAddress>,
    /// The words that it shows.
    pub words: String,
}

/// What an inviting server keeps of the secret; it is also the key of proofs.
#[must_use]
pub fn secret_digest(secret: &[u8; 16]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(b"branchline invitation secret v1");
    hasher.update(secret);
    hasher.finish()
}

/// The proof that the one who has `secret` speaks on this connection.
#[must_use]
pub fn prove(secret: Digest, exporter: &Exporter, inviter: KeyId, joiner: KeyId) -> Proof {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, &proven(exporter, inviter, joiner));
    let mut proof = [0; 32];
    proof.copy_from_slice(tag.as_ref());
    Proof(proof)
}

/// Whether a proof holds; takes the same time whatever it is.
#[must_use]
pub fn verify_proof(
    proof: Proof,
    secret: Digest,
    exporter: &Exporter,
    inviter: KeyId,
    joiner: KeyId,
) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, &proven(exporter, inviter, joiner), &proof.0).is_ok()
}

fn proven(exporter: &Exporter, inviter: KeyId, joiner: KeyId) -> Vec<u8> {
    [b"branchline-pair-v1".as_slice(), exporter, inviter.digest().as_bytes(), joiner.digest().as_bytes()]
        .concat()
}

/// Four words made from the whole exchange, for two people to compare. 32 bits: the keys are pinned already, and
/// the words only tell the owner that the right two machines met.
#[must_use]
pub fn check_words(proof: Proof, inviter: &ServerId, joiner: &ServerId) -> String {
    let mut hasher = Hasher::default();
    hasher.update(b"branchline check words v1");
    hasher.update(&proof.0);
    for id in [inviter, joiner] {
        hasher.update(id.as_str().as_bytes());
        hasher.update(b"\n");
    }
    let digest = hasher.finish();
    let word = |byte: &u8| WORDS[usize::from(*byte)];
    digest.as_bytes()[..4].iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_its_secret_connection_and_keys_only() {
        let (secret, other) = (secret_digest(&[1; 16]), secret_digest(&[2; 16]));
        let (hq, store) = (KeyId::of_spki(b"hq"), KeyId::of_spki(b"store"));
        let proof = prove(secret, &[7; 32], hq, store);
        assert!(verify_proof(proof, secret, &[7; 32], hq, store));
        assert!(!verify_proof(proof, other, &[7; 32], hq, store));
        assert!(!verify_proof(proof, secret, &[8; 32], hq, store));
        assert!(!verify_proof(proof, secret, &[7; 32], store, hq));
        assert!(!verify_proof(Proof([0; 32]), secret, &[7; 32], hq, store));
    }

    #[test]
    fn words_are_distinct_and_follow_the_exchange() {
        let mut sorted = WORDS.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 256);
        let (hq, store) = ("HQ".parse().unwrap(), "STORE".parse().unwrap());
        let words = check_words(Proof([1; 32]), &hq, &store);
        assert_eq!(words.split(' ').count(), 4);
        assert_ne!(words, check_words(Proof([2; 32]), &hq, &store));
        assert_ne!(words, check_words(Proof([1; 32]), &store, &hq));
    }
}
