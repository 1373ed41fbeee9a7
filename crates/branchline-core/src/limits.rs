//! Every bound, with its unit and its reason. Each has a test at the limit and one past it.

use std::time::Duration;

/// Bytes of a backup's metadata: what is held in memory before a signature has been checked.
pub const METADATA_BYTES_MAX: usize = 8 << 20;

/// Bytes of one row's line in a backup: one such row may be in flight in a process.
pub const ROW_BYTES_MAX: usize = 16 << 20;

/// Depth of arrays and objects in JSON that is parsed, the row's own object being 1.
pub const JSON_DEPTH_MAX: usize = 32;

/// Columns of a table: what PostgreSQL can have.
pub const TABLE_COLUMNS_MAX: usize = 1_600;

/// Tables of a backup.
pub const TABLES_MAX: usize = 10_000;

/// Bytes of a table's or column's name: PostgreSQL keeps 63, SQLite any number; longer ones are an attack.
pub const NAME_BYTES_MAX: usize = 255;

/// Bytes of a batch of rows that crosses a port; a batch of one larger row is the exception.
pub const BATCH_BYTES: usize = 256 << 10;

/// Bytes of data that a backup may sign for where its grant says nothing smaller.
pub const DATA_BYTES_MAX: u64 = 64 << 30;

/// The largest window of a zstd frame, as a power of two: 8 MiB of memory to decode it.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Bytes of one part of an upload: what is sent again, at most, after a broken link.
pub const UPLOAD_PART_BYTES: usize = 8 << 20;

/// Uploads that one peer may have open.
pub const UPLOADS_PER_PEER_MAX: usize = 2;

/// How long an unfinished upload is kept.
pub const UPLOAD_EXPIRES_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a TLS handshake may take: a silent socket costs a connection slot no longer than this.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the head of a request may take.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections open at once.
pub const CONNECTIONS_MAX: usize = 256;

/// Bytes of a request or answer that is not a backup.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Disk space below which nothing more is received.
pub const DISK_FREE_BYTES_MIN: u64 = 64 << 20;

/// The first wait before a delivery is tried again.
pub const RETRY_BASE: Duration = Duration::from_secs(1);

/// The longest wait before a delivery is tried again.
pub const RETRY_MAX: Duration = Duration::from_secs(15 * 60);

/// How long a backup that was never tried is left to whoever made it, before the server sends it by itself.
pub const RETRY_UNTRIED: Duration = Duration::from_secs(60);

/// The shortest wait between two looks at the change log: what a look costs, times a hundred.
pub const LIVE_POLL_MIN: Duration = Duration::from_millis(10);

/// The longest wait between two looks at the change log: nobody notices it after two minutes without a change.
pub const LIVE_POLL_MAX: Duration = Duration::from_secs(1);

/// A peer's clock that is further off than this is warned about.
pub const CLOCK_SKEW_WARNED: Duration = Duration::from_secs(5 * 60);

/// How long an invitation is good where nothing else is said.
pub const INVITATION_VALID: Duration = Duration::from_secs(24 * 3600);

/// Wrong proofs after which an invitation is burnt.
pub const INVITATION_ATTEMPTS_MAX: u32 = 5;

/// Rows that a comparison names in each class; all are counted.
pub const COMPARE_ROWS_NAMED: u64 = 100;
