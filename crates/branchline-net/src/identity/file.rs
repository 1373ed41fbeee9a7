//! The key's file: one PEM block, made once, never overwritten.
//!
//! ```text
//! -----BEGIN PRIVATE KEY-----
//! 64 characters of base64 (48 bytes)
//! -----END PRIVATE KEY-----
//! ```
//! Who may read it is the platform's business: `unix` and `windows` each make the file private before the first
//! byte is written, and check it before the first byte is read.

use std::io::{Read, Write};
use std::path::Path;

use data_encoding::BASE64;
use zeroize::Zeroizing;

#[cfg(unix)]
use super::unix as platform;
#[cfg(windows)]
use super::windows as platform;
use super::{IdentityError, PKCS8_PREFIX, pkcs8_of};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Bytes of a key file that are read at most; ours has 119.
const FILE_BYTES_MAX: u64 = 4_096;

pub(super) fn create(path: &Path, seed: &[u8; 32]) -> Result<(), IdentityError> {
    let text = pem_of(seed);
    let mut file = platform::create_private(path)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|source| IdentityError::Io { path: path.to_owned(), source })
}

pub(super) fn load(path: &Path) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    let file = platform::open_private(path)?;
    // Room for all of it at once: a buffer that grows would leave unwiped copies behind.
    let mut text = Zeroizing::new(String::with_capacity(8_192));
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|source| IdentityError::Io { path: path.to_owned(), source })?;
    seed_of(&text).ok_or_else(|| IdentityError::NotAKey { path: path.to_owned() })
}

fn pem_of(seed: &[u8; 32]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(BASE64.encode(pkcs8_of(seed).as_slice()));
    let mut text = Zeroizing::new(String::with_capacity(128));
    for line in [BEGIN, base64.as_str(), END] {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn seed_of(pem: &str) -> Option<Zeroizing<[u8; 32]>> {
    let body = pem.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let mut base64 = Zeroizing::new(Vec::with_capacity(128));
    base64.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()).take(128));
    let der = Zeroizing::new(BASE64.decode(&base64).ok()?);
    let mut seed = Zeroizing::new([0; 32]);
    let private = der.strip_prefix(&PKCS8_PREFIX)?;
    if private.len() != seed.len() {
        return None;
    }
    seed.copy_from_slice(private);
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_nothing_else_is_taken_for_one() {
        let pem = pem_of(&[7; 32]);
        assert_eq!(pem.len(), 119);
        assert_eq!(*seed_of(&pem).unwrap(), [7; 32]);
        assert_eq!(*seed_of(&pem.replace('\n', "\r\n")).unwrap(), [7; 32]);
        for broken in [
            String::new(),
            pem.replace("PRIVATE", "EC PRIVATE"),
            pem.replace("MC4C", "MFEC"),
            pem[..90].into(),
        ] {
            assert!(seed_of(&broken).is_none(), "{broken}");
        }
    }
}
