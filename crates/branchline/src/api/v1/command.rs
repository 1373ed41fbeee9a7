//! What is asked of a node.

use serde::{Deserialize, Serialize};

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
#[allow(missing_docs, reason = "fields are named by what they hold")]
pub enum Command {
    /// Who this server is.
    Id,
    /// Make an invitation. `server` is the id that the joining server must have; `address` is where this server
    /// may be found, where the settings do not say it; `relay` says that it gets what others made too.
    Invite {
        server: Option<String>,
        name: Option<String>,
        address: Option<String>,
        valid_seconds: Option<u64>,
        #[serde(default)]
        relay: bool,
    },
    /// Use an invitation.
    Join { invitation: String },
    /// All peers.
    PeersList,
    /// One peer.
    PeersShow { peer: String },
    /// Add a peer by its key id, the manual way.
    PeersAdd {
        peer: String,
        key_id: String,
        name: Option<String>,
        addresses: Vec<String>,
        mirror: bool,
        #[serde(default)]
        relay: bool,
    },
    /// Remove a peer, with what waits for it.
    PeersRemove { peer: String },
    /// Exchange nothing with it for now.
    PeersPause { peer: String },
    /// Exchange again.
    PeersResume { peer: String },
    /// Change what it may do here, and whether it gets what others made too; what is not said stays as it is.
    PeersGrant {
        peer: String,
        write: Option<bool>,
        mirror: Option<bool>,
        #[serde(default)]
        relay: Option<bool>,
        tables: Option<Vec<String>>,
    },
    /// Try its addresses.
    PeersPing { peer: String },
    /// Which tables can sync, and why the others cannot.
    Tables,
    /// Capture the changes of this database, or bring what captures them in step with its tables. `new_life` where the
    /// database was restored from a copy, cloned or handed over.
    Attach {
        #[serde(default)]
        new_life: bool,
    },
    /// Take capture out of the database, and everything else of ours.
    Detach,
    /// Rows that came in and could not go in yet.
    HeldList,
    /// Which business days are complete; of one day also which peers have not closed it.
    Days {
        #[serde(default)]
        day: Option<String>,
    },
    /// Send a backup to peers.
    Sync(SyncCommand),
    /// How everything stands.
    Status,
    /// Backups and receipts that this server knows of.
    BackupsList,
    /// One of them.
    BackupsShow { backup: String },
    /// Write a backup for a peer into a file, for a USB stick.
    BackupsExport {
        peer: String,
        path: String,
        compression: Option<String>,
        #[serde(default)]
        backup_type: Option<String>,
        mirror: bool,
    },
    /// Apply a backup from a file, or take in a receipt. A file that asks for rows to be removed needs `mirror`.
    BackupsImport { path: String, dry_run: bool, mirror: bool },
    /// What is done by itself, and when.
    ScheduleList,
    /// Prove that this database and a peer's are equal.
    Compare { peer: String, tables: Vec<String>, repair: bool },
}

/// Which peers get what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SyncCommand {
    /// The peers, by id; all active ones, where it is empty.
    pub peers: Vec<String>,
    /// `full`, `incremental` or `daily_transactions`; what fits each peer, where nothing is said.
    #[serde(default)]
    pub backup_type: Option<String>,
    /// The business day that `daily_transactions` closes; today, where nothing is said.
    #[serde(default)]
    pub day: Option<String>,
    /// Make everything ready and say what would be sent, but send nothing.
    pub dry_run: bool,
    /// Ask the peers to remove rows that this database does not have.
    pub mirror: bool,
    /// Do not go on with a backup that waits already; make a new one in its place.
    pub fresh: bool,
}
