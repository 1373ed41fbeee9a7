//! What stands before the columns of a row: its version, and whether it is a deletion.
//!
//! ```text
//! {"$version":["STORE-001",1,12,1764286854123456],"id":5,…}          server, epoch, generation, microseconds
//! {"$version":["STORE-001",2,1,1764286854123456,1,12],"id":5,…}      and the epoch and generation that it had before
//! {"$version":[…],"$deleted":true,"id":5}                            of a deletion only the key's columns stand there
//! {"$version":[…],"$deleted":"scope","id":5}                         the row left what the two servers share
//! ```

use super::error::RowFault;
use super::json::{self, Scanner};
use crate::id::{Epoch, Generation};
use crate::version::{ChangeTime, Dot, Life, Version};

/// The member that holds a row's version.
pub(super) const VERSION: &str = "$version";
/// The member that says that a row is a deletion.
pub(super) const DELETED: &str = "$deleted";

/// What a row says of itself besides its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowMark {
    /// Its version; nothing where it belongs to the base of its table.
    pub version: Option<Version>,
    /// Whether and why the row is gone.
    pub deletion: Option<Deletion>,
}

/// Why a row is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deletion {
    /// It was deleted.
    Deleted,
    /// It left what the two servers share; it may still be there at the source.
    OutOfScope,
}

/// Appends the members of a mark, without the braces around them; whether there were any.
pub(super) fn write(mark: &RowMark, out: &mut Vec<u8>) -> bool {
    if let Some(version) = &mark.version {
        out.extend_from_slice(b"\"$version\":[");
        json::write_string(version.dot.life.server.as_str(), out);
        let dot = &version.dot;
        let numbers =
            format!(",{},{},{}", dot.life.epoch.value(), dot.generation.value(), version.time.micros());
        out.extend_from_slice(numbers.as_bytes());
        if let Some(was) = &version.was {
            out.extend_from_slice(
                format!(",{},{}", was.life.epoch.value(), was.generation.value()).as_bytes(),
            );
        }
        out.push(b']');
    }
    if let Some(deletion) = mark.deletion {
        if mark.version.is_some() {
            out.push(b',');
        }
        out.extend_from_slice(match deletion {
            Deletion::Deleted => b"\"$deleted\":true".as_slice(),
            Deletion::OutOfScope => b"\"$deleted\":\"scope\"",
        });
    }
    mark.version.is_some() || mark.deletion.is_some()
}

/// Takes the value of `$version`.
pub(super) fn read_version(scanner: &mut Scanner<'_>) -> Result<Version, RowFault> {
    let malformed = |_| RowFault::Malformed;
    if !scanner.take(b'[') {
        return Err(RowFault::Malformed);
    }
    let server = json::unescape(scanner.string().map_err(malformed)?).map_err(malformed)?;
    let server = server.parse().map_err(|_| RowFault::Malformed)?;
    let mut numbers = Vec::with_capacity(5);
    while scanner.take(b',') {
        let digits = scanner.number().map_err(malformed)?;
        let digits = std::str::from_utf8(digits).map_err(|_| RowFault::Malformed)?;
        numbers.push(digits.parse::<u64>().map_err(|_| RowFault::Malformed)?);
    }
    if !scanner.take(b']') {
        return Err(RowFault::Malformed);
    }
    let (epoch, generation, time, was) = match numbers.as_slice() {
        [epoch, generation, time] => (*epoch, *generation, *time, None),
        [epoch, generation, time, was_epoch, was_generation] => {
            (*epoch, *generation, *time, Some((*was_epoch, *was_generation)))
        }
        _ => return Err(RowFault::Malformed),
    };
    let dot = |epoch: u64, generation: u64| {
        Dot::new(Life::new(std::clone::Clone::clone(&server), Epoch::new(epoch)), Generation::new(generation))
    };
    Ok(Version {
        was: was.map(|(epoch, generation)| dot(epoch, generation)),
        dot: dot(epoch, generation),
        time: ChangeTime::from_micros(time),
    })
}

/// Takes the value of `$deleted`.
pub(super) fn read_deletion(scanner: &mut Scanner<'_>) -> Result<Deletion, RowFault> {
    if scanner.take_all(b"true") {
        Ok(Deletion::Deleted)
    } else if scanner.take_all(b"\"scope\"") {
        Ok(Deletion::OutOfScope)
    } else {
        Err(RowFault::Malformed)
    }
}
