//! The certificate around this server's key: a vessel that TLS asks for, and nothing more.
//!
//! It is made in memory at each start. It says nothing of the server (a scanner sees one name for all), never
//! expires within anybody's life, and is trusted for its key alone, so a wrong clock does not matter.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use branchline_core::signing::{NotEd25519, PublicKey};
use rcgen::{CertificateParams, DistinguishedName, DnType, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The one name in every certificate; `.invalid` is nobody's (RFC 2606).
pub const NEUTRAL_NAME: &str = "server.invalid";

/// Makes the certificate: from 2000 to the end of 9999, signed by the key itself.
///
/// # Errors
/// Where rcgen refuses.
pub fn self_signed(key_pair: &Arc<Ed25519KeyPair>) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut parameters = CertificateParams::new(vec![NEUTRAL_NAME.to_owned()])?;
    parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(9999, 12, 31);
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, NEUTRAL_NAME);
    let certificate = parameters.self_signed(&KeyOfCertificate(Arc::clone(key_pair)))?;
    Ok(certificate.der().clone())
}

/// Reads the key out of a presented certificate. Nothing else in it is looked at.
///
/// # Errors
/// Where it is not an X.509 certificate around an Ed25519 key, or is followed by other bytes.
pub fn public_key_of(certificate: &CertificateDer<'_>) -> Result<PublicKey, NotEd25519> {
    let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| NotEd25519)?;
    if !rest.is_empty() {
        return Err(NotEd25519);
    }
    PublicKey::from_spki(parsed.public_key().raw)
}

/// Lets rcgen sign with a key that it never sees.
struct KeyOfCertificate(Arc<Ed25519KeyPair>);

impl PublicKeyData for KeyOfCertificate {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl SigningKey for KeyOfCertificate {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}
