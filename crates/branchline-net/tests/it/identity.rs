//! The key's file: who may read it, and who else can use it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use branchline_core::code::{Code, Explain};
use branchline_core::ports::Signer;
use branchline_core::signing::SignedKind;
use branchline_net::identity::{Identity, IdentityError};

use crate::rig::Keys;

#[test]
fn a_new_key_is_for_its_owner_alone_and_reads_back() {
    let keys = Keys::new();
    assert_eq!(std::fs::metadata(&keys.key_file).unwrap().mode() & 0o7777, 0o600);
    let loaded = Identity::load(&keys.key_file).unwrap();
    assert_eq!(loaded.public_key(), keys.identity.public_key());
    let signature = loaded.sign(SignedKind::Receipt, b"body").unwrap();
    assert!(keys.identity.public_key().verifies(SignedKind::Receipt, b"body", &signature));
    assert!(!format!("{loaded:?}").contains("PRIVATE"));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let keys = Keys::new();
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601, 0o666] {
        std::fs::set_permissions(&keys.key_file, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = Identity::load(&keys.key_file).unwrap_err();
        assert_eq!(error.code(), Code::KEY_READABLE_BY_OTHERS, "{mode:o}");
        assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
        assert!(error.hint().contains("chmod 600"), "{}", error.hint());
    }
    std::fs::set_permissions(&keys.key_file, std::fs::Permissions::from_mode(0o400)).unwrap();
    Identity::load(&keys.key_file).unwrap();
}

#[test]
fn a_key_of_another_user_is_refused() {
    let keys = Keys::new();
    // Only root can give a file away; anybody else could not have opened it either.
    if chown(&keys.key_file, Some(54_321), None).is_ok() {
        let error = Identity::load(&keys.key_file).unwrap_err();
        assert_eq!(error.code(), Code::KEY_READABLE_BY_OTHERS);
        assert!(error.to_string().contains("54321"), "{error}");
    }
}

#[test]
fn a_key_is_never_overwritten_and_no_link_is_followed() {
    let keys = Keys::new();
    let before = std::fs::read(&keys.key_file).unwrap();
    let error = Identity::create(&keys.key_file).unwrap_err();
    assert!(matches!(error, IdentityError::Exists { .. }));
    assert_eq!(std::fs::read(&keys.key_file).unwrap(), before);
    let link = keys.key_file.with_file_name("link.pem");
    symlink(&keys.key_file, &link).unwrap();
    assert_eq!(Identity::load(&link).unwrap_err().code(), Code::KEY_UNREADABLE);
    let dangling = keys.key_file.with_file_name("dangling.pem");
    symlink(keys.key_file.with_file_name("elsewhere.pem"), &dangling).unwrap();
    assert!(matches!(Identity::create(&dangling).unwrap_err(), IdentityError::Exists { .. }));
    assert!(!keys.key_file.with_file_name("elsewhere.pem").exists());
}

#[test]
fn what_is_not_a_key_is_said_not_to_be() {
    let keys = Keys::new();
    let file = keys.key_file.with_file_name("other.pem");
    assert_eq!(Identity::load(&file).unwrap_err().code(), Code::KEY_UNREADABLE);
    std::fs::write(&file, "not a key").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(Identity::load(&file).unwrap_err(), IdentityError::NotAKey { .. }));
}

#[test]
fn openssl_reads_the_key_and_finds_the_same_one_in_the_certificate() {
    let keys = Keys::new();
    let output = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (key, certificate) = (keys.key_file.to_str().unwrap(), keys.certificate_file.to_str().unwrap());
    let of_key = output(&["pkey", "-in", key, "-pubout"]);
    assert_eq!(of_key, output(&["x509", "-in", certificate, "-noout", "-pubkey"]));
    let dates = output(&["x509", "-in", certificate, "-noout", "-dates", "-ext", "subjectAltName"]);
    assert!(dates.contains("2000 GMT") && dates.contains("9999 GMT"), "{dates}");
    assert!(dates.contains("DNS:server.invalid"), "{dates}");
}
