//! Stable error codes: what a person searches for, a script matches, and a peer is told.
//!
//! A code never changes its meaning and is never used again. `docs/errors.md` is made from this table and a
//! test keeps the two equal.

use std::fmt;

/// Whether, and when, trying the same thing again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same thing will fail again until somebody changes something.
    Never,
    /// It may work after a while.
    Later,
    /// It may work at once.
    Now,
}

/// Where the cause lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// With the server at the other end, or the file that it made.
    Peer,
    /// On this machine: settings, disk, database.
    Here,
    /// In between.
    Network,
}

/// A stable error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

/// One line of the table of codes.
#[derive(Debug)]
pub struct CodeEntry {
    /// The code.
    pub code: Code,
    /// Its name, as it stands in JSON beside the number.
    pub name: &'static str,
    /// Whether trying again can help.
    pub retry: Retry,
    /// Where the cause lies.
    pub fault: Fault,
    /// The status of an HTTP answer that carries it.
    pub http_status: u16,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

impl Code {
    /// The table's line for this code.
    #[must_use]
    pub fn entry(self) -> &'static CodeEntry {
        CODES.iter().find(|entry| entry.code == self).unwrap_or(&CODES[0])
    }

    /// Its name, such as `signature_invalid`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Whether the same document can never be taken as it is: the fault lies in it, or in how it fits the target's
    /// schema and rows. What fails for any other reason is kept and tried again.
    #[must_use]
    pub fn refuses_the_document(self) -> bool {
        let format = (Code::MALFORMED..=Code::COMPRESSION_INVALID).contains(&self);
        let fit = (Code::TABLE_UNKNOWN..=Code::ROW_NOT_ENCODABLE).contains(&self)
            || (Code::TABLE_NOT_SYNCABLE..=Code::BACKUP_SUPERSEDED).contains(&self)
            || self == Code::NOT_GRANTED;
        (format || fit) && self.entry().retry == Retry::Never
    }

    /// Whether an error of this code speaks of our own machine or database, which is nobody else's business.
    #[must_use]
    pub fn is_about_our_insides(self) -> bool {
        self <= Code::STATE_BROKEN
            || (Code::DATABASE_URL_INVALID..=Code::DATABASE_VERSION).contains(&self)
            || matches!(self, Code::DATABASE_BUSY | Code::DATABASE_FAILED)
    }

    /// The code that a peer or an older version wrote, where we know it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_prefix("BL-E")?;
        CODES.iter().map(|entry| entry.code).find(|code| format!("{:04}", code.0) == number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BL-E{:04}", self.0)
    }
}

/// An error that crosses a boundary: it can say what it is, whose fault it is, and whether to try again.
pub trait Explain: std::error::Error {
    /// The stable code.
    fn code(&self) -> Code;

    /// Whether trying again can help.
    fn retry(&self) -> Retry {
        self.code().entry().retry
    }

    /// Where the cause lies.
    fn fault(&self) -> Fault {
        self.code().entry().fault
    }

    /// What to do about it; more to the point than the table's hint where more is known.
    fn hint(&self) -> String {
        self.code().entry().hint.to_owned()
    }
}

macro_rules! codes {
    ($($number:literal $constant:ident $retry:ident $fault:ident $status:literal $meaning:literal $hint:literal;)+) => {
        impl Code {
            $(#[doc = $meaning] pub const $constant: Self = Self($number);)+
        }

        /// All codes, by number. The first stands for whatever has no code of its own.
        pub static CODES: &[CodeEntry] = &[
            $(CodeEntry {
                code: Code::$constant,
                name: stringify!($constant),
                retry: Retry::$retry,
                fault: Fault::$fault,
                http_status: $status,
                meaning: $meaning,
                hint: $hint,
            },)+
        ];
    };
}

codes! {
    1 INTERNAL Later Here 500 "Something failed that has no code of its own." "look at the log; if it happens again, report it with the log's lines";
    2 INTERRUPTED Now Here 503 "The work was stopped before it was done; nothing of it was written." "run the same command again";

    101 USAGE Never Here 400 "The command line cannot be understood." "branchline help";
    102 SETTINGS_INVALID Never Here 400 "The settings are not valid." "branchline config check";
    103 NOT_INITIALISED Never Here 400 "This folder holds no server yet." "branchline init --id STORE-001 --database URL";
    104 ALREADY_INITIALISED Never Here 409 "This folder holds a server already." "use another --home, or go on with this one: branchline status";
    105 HOME_LOCKED Later Here 409 "Another branchline process works on this folder." "stop the other one, or let it do the work";
    106 PORT_IN_USE Later Here 503 "The address to listen on is taken by another program." "choose another port in listen.address, or stop the other program";
    107 KEY_READABLE_BY_OTHERS Never Here 500 "Others may read the key file, so it proves nothing." "chmod 600 the key file; if somebody may have copied it, make a new key and pair again";
    108 KEY_UNREADABLE Never Here 500 "The key file is missing or is not a key." "restore keys/identity.pem from your copy, or make a new server and pair again";
    109 ID_INVALID Never Here 400 "A text is not a server id, key id or backup id." "check it for typing errors";
    110 FILE_UNREADABLE Never Here 400 "A file cannot be read." "check its path and rights";
    111 STATE_BROKEN Never Here 500 "The state cannot be read or written." "check the disk; the state can be rebuilt from the database and the peers";

    201 MALFORMED Never Peer 422 "The document is not a backup of a version that we read." "make the backup anew; check that both servers run a current version";
    202 TRUNCATED Now Network 422 "The document ends too early." "send it again";
    203 SIGNATURE_INVALID Never Peer 422 "The signature does not fit: the document was changed, or another server made it." "make the backup anew; if it happens again, somebody tampers with it";
    204 CHECKSUM_MISMATCH Never Peer 422 "The data are not the data that were signed." "send the backup again";
    205 WRONG_TARGET Never Peer 422 "The backup is for another server." "send it to the server it names";
    206 WRONG_SOURCE Never Peer 403 "The backup was made by another server than the one that sends it." "let the server that made it send it";
    207 ROW_COUNT_MISMATCH Never Peer 422 "The backup holds more or fewer rows than it says." "make the backup anew";
    208 DUPLICATE_MEMBER Never Peer 422 "An object has two members of one name." "make the backup anew with a current version";
    209 DEPTH_EXCEEDED Never Peer 422 "JSON is nested deeper than 32." "make the backup anew; deep JSON columns travel as text";
    210 ROW_TOO_LARGE Never Peer 413 "A row is larger than 16 MiB." "keep large files outside the database, or leave the column out";
    211 METADATA_TOO_LARGE Never Peer 413 "The metadata are larger than 8 MiB." "split the backup by tables";
    212 TOO_MANY_TABLES Never Peer 413 "The backup has more than 10,000 tables." "split the backup by tables";
    213 TOO_MANY_COLUMNS Never Peer 413 "A table has more than 1,600 columns." "leave columns out";
    214 DATA_TOO_LARGE Never Peer 413 "The data are larger than was signed or granted." "raise the grant on the receiving server, or send fewer tables";
    215 NAME_INVALID Never Peer 422 "A name cannot be the name of a table or column." "make the backup anew; if it happens again, somebody tampers with it";
    216 UNKNOWN_TYPE Never Peer 422 "A column has a logical type that this version does not know." "upgrade this server";
    217 VERSION_TOO_NEW Never Peer 426 "The document needs a newer branchline." "upgrade this server";
    218 COMPRESSION_INVALID Never Peer 422 "The compressed document is damaged or needs too much memory." "send it again";
    219 RECEIPT_INVALID Never Peer 422 "The answer is not a receipt that the peer signed for this backup." "ask the peer for it again: branchline sync";

    301 NOT_PAIRED Never Peer 403 "The other server's key is not known here." "pair the two: branchline invite on one, branchline join on the other";
    302 PEER_PAUSED Later Here 403 "The peer is paused." "branchline peers resume";
    303 PEER_UNKNOWN Never Here 404 "No peer has that name." "branchline peers list";
    304 PEER_EXISTS Never Here 409 "A peer of that name or key is known already." "branchline peers remove it first";
    305 WRONG_KEY Later Network 502 "Another server answers at this address: its key is not the pinned one." "check the address; if the peer made a new key, pair again";
    306 UNREACHABLE Later Network 503 "The peer does not answer at any of its addresses." "check that it runs and that its port is open: branchline peers ping";
    307 TLS_FAILED Later Network 502 "No TLS 1.3 connection could be made." "check that both ends speak TLS 1.3";
    308 INVITATION_MISTYPED Never Here 400 "The invitation has a typing error or is cut short." "copy the whole line again";
    309 INVITATION_USED Never Peer 410 "The invitation was used already." "make a new one with branchline invite; if nobody of yours used it, tell the other side";
    310 INVITATION_EXPIRED Never Peer 410 "The invitation is no longer good." "make a new one with branchline invite";
    311 INVITATION_UNKNOWN Never Peer 403 "No such invitation is open, or its secret is wrong." "make a new one with branchline invite";
    312 REFUSED_BY_PEER Never Peer 403 "The peer refused." "see what it said";
    313 PROTOCOL_MISMATCH Never Peer 426 "The two servers speak no common version of the protocol." "upgrade the older one";
    314 REQUEST_INVALID Never Peer 400 "A request is not one of the protocol's." "upgrade the older one";
    315 NOT_FOUND Never Peer 404 "There is no such thing here." "check the id";
    316 OFFSET_MISMATCH Now Network 409 "The part does not begin where the upload ends." "ask for the offset and go on from there";
    317 UPLOAD_EXPIRED Now Peer 410 "The upload was left for too long, or was ended." "begin it again";
    318 TOO_MANY_UPLOADS Later Peer 429 "The peer has too many uploads open." "wait until they are done";
    319 DISK_FULL Later Here 507 "The disk has no room." "make room on the disk of the server that says so; what waits is sent then";
    320 NOT_GRANTED Never Peer 403 "The peer may not do this here." "widen its grant on the receiving server: branchline peers grant PEER --write yes --mirror yes";
    321 TIMED_OUT Later Network 504 "The other side took too long." "try again; check the link";

    401 DATABASE_URL_INVALID Never Here 400 "The database URL cannot be understood." "postgresql://user@host/name or sqlite:path/to/file.db";
    402 DATABASE_UNREACHABLE Later Here 503 "The database does not answer." "check that it runs, and its address, name and password in the settings";
    403 DATABASE_READ_ONLY Never Here 500 "The database can only be read." "connect to the primary, or make the file writable";
    404 PRIVILEGE_MISSING Never Here 500 "The role lacks a right in the database." "let the owner run the GRANT that the message names";
    405 DATABASE_VERSION Never Here 500 "The database's version is not supported." "PostgreSQL 13 or later, SQLite by the version inside branchline";
    406 TABLE_UNKNOWN Never Here 422 "The target has no such table." "bring both schemas to the same version, or leave the table out";
    407 COLUMN_UNKNOWN Never Here 422 "The target lacks a column, or needs one that the backup does not bring." "bring both schemas to the same version";
    408 TYPE_NOT_HELD Never Here 422 "The target's column cannot hold values of the source's type without loss." "change the column's type at the target, or leave it out";
    409 VALUE_NOT_HELD Never Here 422 "The target's column cannot hold a value." "change the value at the source or the column at the target";
    410 UNIQUE_CONFLICT Never Here 422 "Another row here has the same unique value." "change one of the two rows";
    411 FOREIGN_KEY_BROKEN Never Here 422 "A row points at a row that does not exist here." "sync the table it points at as well";
    412 CONSTRAINT_BROKEN Never Here 422 "A row breaks a rule of the target's schema." "change the row at the source or the rule at the target";
    413 KEY_DIFFERS Never Here 422 "The table has another primary key at the target." "bring both schemas to the same version";
    414 ROW_NOT_ENCODABLE Never Here 422 "A row at the source holds what a backup cannot carry." "correct the row that the message names";
    415 DATABASE_BUSY Later Here 503 "Somebody else holds a lock for too long." "try again; look for long transactions";
    416 DATABASE_FAILED Later Here 500 "The database reported an error." "see the database's own message";
    417 TABLE_NOT_SYNCABLE Never Here 422 "The table cannot be part of a backup." "branchline tables says why";
    418 LEDGER_FORKED Never Peer 409 "Two different backups have the same place in the chain: a server was cloned or restored." "stop, and compare the two servers before anything else is sent";
    419 MIRROR_CASCADE Never Here 422 "Removing rows would remove rows of tables that the backup does not cover." "include those tables, or leave out --mirror";
    420 GROUP_NOT_MERGEABLE Never Here 422 "Unique values change hands between rows in a way that needs rights on the table." "let the role own the table, or change the rows one at a time";
    421 BACKUP_SUPERSEDED Never Peer 409 "A later backup of the same server was applied here already." "nothing is lost; send a new one where newer rows are wanted: branchline sync";
    422 NOT_ATTACHED Never Here 409 "Changes are not captured in this database." "branchline attach";
    423 ATTACHED_BY_ANOTHER Never Here 409 "Another server's capture is installed in this database." "check the database URL; if the database was cloned or handed over: branchline attach --new-life";
    424 CHAIN_GAP Later Peer 409 "A backup before this one is missing here." "the source sends what is missing with its next sync, or import the file that it names";
    425 DATABASE_REWOUND Never Here 409 "The database is older than what this server remembers: it was restored from a copy." "branchline attach --new-life, once you are sure that this copy is the one to go on with";
    426 ROWS_HELD Never Peer 409 "Some rows could not go in and are held; the rest is applied." "branchline held list says why; what is missing lets them in by itself when it comes";
    427 CAPTURE_BROKEN Never Here 500 "Changes of a table may have been missed." "branchline attach mends the triggers; branchline compare PEER finds the rows; with --repair they are sent";
    428 PEER_PAST_BUDGET Later Here 409 "A peer is so far behind that deletions are kept for it no longer." "branchline sync PEER brings it back with a full backup";
    429 ROWS_DIFFER Never Here 409 "The two databases differ in what they share." "branchline compare PEER names the rows; branchline sync sends what was not sent yet; branchline compare PEER --repair, where the rows are right, has them sent";
    430 FILTER_INVALID Never Here 422 "The condition of a filter cannot be asked of its table." "correct `where` of the [[filter]] in the settings: it is SQL over the columns of its table";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_never_be_taken_is_refused_for_good() {
        for code in [
            Code::SIGNATURE_INVALID,
            Code::TABLE_UNKNOWN,
            Code::UNIQUE_CONFLICT,
            Code::NOT_GRANTED,
            Code::LEDGER_FORKED,
        ] {
            assert!(code.refuses_the_document(), "{code}");
        }
        for code in [
            Code::DISK_FULL,
            Code::DATABASE_READ_ONLY,
            Code::PRIVILEGE_MISSING,
            Code::STATE_BROKEN,
            Code::NOT_PAIRED,
            Code::TRUNCATED,
            Code::RECEIPT_INVALID,
            Code::NOT_FOUND,
        ] {
            assert!(!code.refuses_the_document(), "{code}");
        }
    }

    #[test]
    fn codes_are_unique_sorted_and_read_back() {
        assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
        for entry in CODES {
            assert_eq!(Code::parse(&entry.code.to_string()), Some(entry.code));
            assert!(entry.meaning.ends_with('.'));
            assert!((400..=599).contains(&entry.http_status));
        }
        assert_eq!(Code::parse("BL-E9999"), None);
        assert_eq!(Code::SIGNATURE_INVALID.to_string(), "BL-E0203");
    }
}
