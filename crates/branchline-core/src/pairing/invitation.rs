//! The line that a person carries from one server to the other.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;

use crate::digest::Digest;
use crate::id::KeyId;
use crate::peer::PeerAddress;

const PREFIX: &str = "branchline1:";
const BYTES: usize = 32 + 4 + 16 + 4 + 2;

/// An invitation: where the inviting server is, its key, and a secret that is good once. Whoever reads it can
/// join, so it is shown when it is made and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Where the inviting server may be found.
    pub address: PeerAddress,
    /// Its key.
    pub pin: KeyId,
    /// Which invitation.
    pub token: [u8; 4],
    /// What the joining server must know.
    pub secret: [u8; 16],
    /// When it ends, to the second.
    pub expires_at: Timestamp,
}

/// Why a text is not an invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// It does not begin as invitations begin.
    #[error("an invitation begins with {PREFIX}")]
    Prefix,
    /// Its address cannot be one.
    #[error("the address in the invitation is not valid")]
    Address,
    /// Its end is cut short, or a character is wrong.
    #[error("the invitation has a typing error or is cut short")]
    Mistyped,
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Invitation {
    /// The line to carry.
    #[must_use]
    pub fn expose_line(&self) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(self.pin.digest().as_bytes());
        bytes.extend_from_slice(&self.token);
        bytes.extend_from_slice(&self.secret);
        let seconds = u32::try_from(self.expires_at.as_second()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&seconds.to_be_bytes());
        bytes.extend_from_slice(&check(&self.address, &bytes).to_be_bytes());
        format!("{PREFIX}{}/{}", self.address, BASE32_NOPAD.encode(&bytes))
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let rest = text.trim().strip_prefix(PREFIX).ok_or(InvitationError::Prefix)?;
        let (address, code) = rest.rsplit_once('/').ok_or(InvitationError::Mistyped)?;
        let address: PeerAddress = address.parse().map_err(|_| InvitationError::Address)?;
        let code = code.to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(code.as_bytes()).map_err(|_| InvitationError::Mistyped)?;
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_| InvitationError::Mistyped)?;
        let (body, sum) = bytes.split_at(BYTES - 2);
        if check(&address, body).to_be_bytes() != sum {
            return Err(InvitationError::Mistyped);
        }
        Self::of_body(address, body).ok_or(InvitationError::Mistyped)
    }
}

impl Invitation {
    fn of_body(address: PeerAddress, body: &[u8]) -> Option<Self> {
        let seconds = u32::from_be_bytes(body[52..56].try_into().ok()?);
        Some(Self {
            address,
            pin: KeyId::from_digest(Digest::from_bytes(body[..32].try_into().ok()?)),
            token: body[32..36].try_into().ok()?,
            secret: body[36..52].try_into().ok()?,
            expires_at: Timestamp::from_second(seconds.into()).ok()?,
        })
    }
}

/// CRC-16 (CCITT, from 0xffff) over the address and the body: a wrong character anywhere in the line is caught.
fn check(address: &PeerAddress, body: &[u8]) -> u16 {
    let mut crc = 0xffff_u16;
    for byte in address.to_string().bytes().chain(body.iter().copied()) {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            address: "hq-shop.duckdns.org:8443".parse().unwrap(),
            pin: KeyId::of_spki(b"hq"),
            token: [1, 2, 3, 4],
            secret: [9; 16],
            expires_at: Timestamp::from_second(1_800_000_000).unwrap(),
        }
    }

    #[test]
    fn a_line_reads_back() {
        let line = invitation().expose_line();
        assert_eq!(line.parse::<Invitation>().unwrap(), invitation());
        assert_eq!(format!(" {line}\n").parse::<Invitation>().unwrap(), invitation());
        assert!(!format!("{:?}", invitation()).contains('9'));
    }

    #[test]
    fn every_wrong_character_is_caught() {
        let line = invitation().expose_line();
        for place in 0..line.len() {
            let mut typed = line.clone().into_bytes();
            typed[place] = if typed[place] == b'A' { b'C' } else { b'A' };
            let typed = String::from_utf8(typed).unwrap();
            let lower_case_only = typed.eq_ignore_ascii_case(&line) && place > line.find('/').unwrap();
            assert!(typed.parse::<Invitation>().is_err() || lower_case_only, "{typed}");
        }
        for end in 0..line.len() {
            assert!(line[..end].parse::<Invitation>().is_err(), "{end}");
        }
    }
}
