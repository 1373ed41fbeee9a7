//! The fingerprint of a server's public key, in the form that people read to each other.
//!
//! ```text
//! SHA-256 of the SPKI (32 bytes) → base32 (52 characters) → 4 groups of 13, each with a check character
//!   → 56 characters → 8 groups of 7, joined by '-'
//! ```
//! This is the form of Syncthing's device ids (its `protocol/deviceid.go`): a mistyped character is caught where
//! it stands. The hash is of the key and not of the certificate, so a certificate made anew keeps the id.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;

use crate::digest::Digest;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const GROUP: usize = 13;

/// The fingerprint of a server's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Digest);

/// Why a text is not a key id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyIdError {
    /// It has the wrong number of characters.
    #[error("a key id has 56 letters and digits; this has {found}")]
    Length {
        /// How many characters it has, dashes and spaces left out.
        found: usize,
    },
    /// A character is outside the alphabet.
    #[error("a key id has only the letters A-Z and the digits 2-7")]
    Alphabet,
    /// A check character does not fit its group: somewhere in that group there is a typing error.
    #[error("there is a typing error in groups {} and {} of the key id", .group * 2 + 1, .group * 2 + 2)]
    Check {
        /// Which quarter of the id does not fit, from 0.
        group: usize,
    },
}

impl KeyId {
    /// The id of the key whose SubjectPublicKeyInfo is `spki` (DER).
    #[must_use]
    pub fn of_spki(spki: &[u8]) -> Self {
        Self(Digest::of(spki))
    }

    /// Wraps a SHA-256 that was stored.
    #[must_use]
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// The SHA-256 of the key's SPKI: what is pinned.
    #[must_use]
    pub const fn digest(self) -> Digest {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = BASE32_NOPAD.encode(self.0.as_bytes());
        let mut checked = String::with_capacity(64);
        for group in plain.as_bytes().chunks(GROUP) {
            for &byte in group {
                push_grouped(&mut checked, byte);
            }
            push_grouped(&mut checked, check_character(group));
        }
        f.pad(&checked)
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let upper: Vec<u8> = text
            .bytes()
            .filter(|b| !matches!(b, b'-' | b' '))
            .map(|b| match b.to_ascii_uppercase() {
                b'0' => b'O',
                b'1' => b'I',
                b'8' => b'B',
                other => other,
            })
            .collect();
        if upper.len() != 4 * (GROUP + 1) {
            return Err(KeyIdError::Length { found: upper.len() });
        }
        if !upper.iter().all(|b| ALPHABET.contains(b)) {
            return Err(KeyIdError::Alphabet);
        }
        let mut plain = Vec::with_capacity(4 * GROUP);
        for (index, group) in upper.chunks(GROUP + 1).enumerate() {
            if check_character(&group[..GROUP]) != group[GROUP] {
                return Err(KeyIdError::Check { group: index });
            }
            plain.extend_from_slice(&group[..GROUP]);
        }
        let bytes = BASE32_NOPAD.decode(&plain).map_err(|_| KeyIdError::Alphabet)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyIdError::Alphabet)?;
        Ok(Self(Digest::from_bytes(bytes)))
    }
}

fn push_grouped(text: &mut String, byte: u8) {
    if text.len() % 8 == 7 {
        text.push('-');
    }
    text.push(char::from(byte));
}

/// Luhn's check, in base 32.
fn check_character(group: &[u8]) -> u8 {
    let mut factor = 1;
    let mut sum = 0;
    for byte in group {
        let point = ALPHABET.iter().position(|a| a == byte).unwrap_or(0);
        let added = factor * point;
        factor = if factor == 2 { 1 } else { 2 };
        sum += added / 32 + added % 32;
    }
    ALPHABET[(32 - sum % 32) % 32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_eight_groups_and_reads_back() {
        let id = KeyId::of_spki(b"a key");
        let text = id.to_string();
        assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [7; 8]);
        assert_eq!(text.parse::<KeyId>().unwrap(), id);
        assert_eq!(text.to_lowercase().replace('-', " ").parse::<KeyId>().unwrap(), id);
    }

    #[test]
    fn a_typing_error_is_caught_where_it_stands() {
        let text = KeyId::of_spki(b"a key").to_string().replace('-', "");
        for position in 0..text.len() {
            let mut typed = text.clone().into_bytes();
            typed[position] = if typed[position] == b'A' { b'B' } else { b'A' };
            let typed = String::from_utf8(typed).unwrap();
            assert_eq!(typed.parse::<KeyId>(), Err(KeyIdError::Check { group: position / 14 }), "{position}");
        }
        assert_eq!("AAAA".parse::<KeyId>(), Err(KeyIdError::Length { found: 4 }));
        assert_eq!("9".repeat(56).parse::<KeyId>(), Err(KeyIdError::Alphabet));
    }
}
