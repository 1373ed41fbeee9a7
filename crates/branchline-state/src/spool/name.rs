//! The names of spool files.
//!
//! ```text
//! data-BACKUP             in-PEER-BACKUP
//! ```
//! Both ids have one written form of characters that every file system takes, and a backup's has a fixed length,
//! so that a name is read back from its end although a peer's id may hold dashes.

use branchline_core::ports::SpoolFile;

const BACKUP_ID_BYTES: usize = 36;

/// The name of a file.
pub(super) fn of(file: &SpoolFile) -> String {
    match file {
        SpoolFile::Data(backup) => format!("data-{backup}"),
        SpoolFile::Inbound { peer, backup } => format!("in-{peer}-{backup}"),
    }
}

/// The file of a name; nothing where it is none of ours.
pub(super) fn parse(name: &str) -> Option<SpoolFile> {
    if let Some(backup) = name.strip_prefix("data-") {
        return Some(SpoolFile::Data(backup.parse().ok()?));
    }
    let rest = name.strip_prefix("in-")?;
    let (peer, backup) = rest.split_at_checked(rest.len().checked_sub(BACKUP_ID_BYTES)?)?;
    let peer = peer.strip_suffix('-')?;
    Some(SpoolFile::Inbound { peer: peer.parse().ok()?, backup: backup.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKUP: &str = "019a2f4e-0000-7000-8000-000000000000";

    #[test]
    fn names_read_back() {
        let backup = BACKUP.parse().unwrap();
        let inbound = |peer: &str| SpoolFile::Inbound { peer: peer.parse().unwrap(), backup };
        for file in [SpoolFile::Data(backup), inbound("A"), inbound("STORE-001")] {
            assert_eq!(parse(&of(&file)), Some(file));
        }
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "".to_owned(),
            "data-".to_owned(),
            "in-".to_owned(),
            BACKUP.to_owned(),
            format!("data-{BACKUP}.tmp"),
            format!("data-{}", BACKUP.to_uppercase()),
            format!("in-{BACKUP}"),
            format!("in--{BACKUP}"),
            format!("in-store-{BACKUP}"),
            format!("in-STORE{BACKUP}"),
            format!("in-NUL-{BACKUP}"),
            format!("in-é-{BACKUP}"),
        ] {
            assert_eq!(parse(&name), None, "{name:?}");
        }
    }
}
