//! `backups`: what waits, what was answered, and backups as files.

mod verify;

use std::path::{Path, PathBuf};

use super::done::{Done, Failure};
use super::run::{Reply, Session};
use super::status::outbox_table;
use super::{confirm, text};
use crate::api::v1::{Answer, BackupAnswer, Command, FileAnswer, ImportAnswer};
use crate::node::clock::now;

/// What can be done with backups.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// What waits to be sent, and what was answered
    List,
    /// One of them, with its receipt
    Show {
        /// Its id
        #[arg(value_name = "BACKUP")]
        backup: String,
    },
    /// Check a file's signature and checksum; needs no server here
    Verify {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write a backup for a peer into a file, for a USB stick
    Export {
        /// The peer
        #[arg(value_name = "PEER")]
        peer: String,
        /// The file or folder [default: the working folder]
        #[arg(short, long, value_name = "PATH", default_value = ".")]
        output: PathBuf,
        /// zstd, gzip or none [default: the settings']
        #[arg(long, value_name = "KIND", value_parser = ["zstd", "gzip", "none"])]
        compression: Option<String>,
        /// full or incremental [default: incremental where it can be]
        #[arg(long = "type", value_name = "TYPE", value_parser = ["full", "incremental"])]
        backup_type: Option<String>,
        /// Ask the peer to remove rows that this database does not have
        #[arg(long)]
        mirror: bool,
    },
    /// Apply a backup from a file, or take in a receipt
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Say what would be done, but write nothing
        #[arg(long)]
        dry_run: bool,
        /// Let it remove rows here that it does not hold
        #[arg(long)]
        mirror: bool,
    },
}

impl Verb {
    pub(crate) fn schema(&self) -> &'static str {
        match self {
            Self::List => "branchline.backups.list/1",
            Self::Show { .. } => "branchline.backups.show/1",
            Self::Verify { .. } => "branchline.backups.verify/1",
            Self::Export { .. } => "branchline.backups.export/1",
            Self::Import { .. } => "branchline.backups.import/1",
        }
    }
}

pub(crate) async fn run(verb: Verb, session: &Session) -> Result<Done, Failure> {
    match verb {
        Verb::List => list(session).await,
        Verb::Show { backup } => show(backup, session).await,
        Verb::Verify { file } => verify::run(&file),
        Verb::Export { peer, output, compression, backup_type, mirror } => {
            let path = absolute(&output)?;
            let command = Command::BackupsExport { peer, path, compression, backup_type, mirror };
            export(command, session).await
        }
        Verb::Import { file, dry_run, mirror } => import(absolute(&file)?, dry_run, mirror, session).await,
    }
}

/// A running `serve` stands in another folder than this command.
fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::internal(format!("{}: {error}", path.display())))?;
    let text = absolute
        .to_str()
        .ok_or_else(|| Failure::usage(format!("{} is not UTF-8", path.display()), "rename it"));
    text.map(str::to_owned)
}

async fn list(session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.read(Command::BackupsList).await?;
    let Answer::Backups(backups) = answer else { return Err(Failure::unexpected_answer()) };
    if backups.waiting.is_empty() && backups.settled.is_empty() {
        let said = "No backups yet: nothing was sent, and nothing came in.";
        return Ok(Done::new(data, said).next("branchline sync"));
    }
    let mut said = String::new();
    if !backups.waiting.is_empty() {
        said.push_str(&format!(
            "Waiting to be sent, safe on this disk:\n{}\n",
            outbox_table(&backups.waiting)
        ));
    }
    if !backups.settled.is_empty() {
        let now = now();
        let rows = backups.settled.iter().map(|backup| {
            let verdict = if backup.success { "applied" } else { "refused" };
            let path = format!("{} > {}", backup.source, backup.server);
            [
                path,
                text::number(backup.rows),
                verdict.to_owned(),
                text::ago(&backup.processed_at, now),
                backup.backup.clone(),
            ]
        });
        said.push_str(&text::table(["from > to", "rows", "", "when", "backup"], rows));
    }
    Ok(Done::new(data, said).next("branchline backups show BACKUP"))
}

async fn show(backup: String, session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.read(Command::BackupsShow { backup }).await?;
    let Answer::Backup(backup) = answer else { return Err(Failure::unexpected_answer()) };
    Ok(Done::new(data, described(&backup)).next("branchline backups list"))
}

fn described(backup: &BackupAnswer) -> String {
    let mut lines = vec![
        ("backup", backup.backup.clone()),
        ("from", backup.source.clone()),
        ("to", backup.server.clone()),
        ("answered", text::time(&backup.processed_at, now())),
        (
            "outcome",
            if backup.success {
                "applied".to_owned()
            } else {
                "NOT applied; nothing was changed there".to_owned()
            },
        ),
        ("rows", text::number(backup.rows)),
    ];
    lines.extend(receipt_counts(backup.receipt.as_ref()).map(|counts| ("of these", counts)));
    text::pairs(lines)
}

/// `12 new, 3 changed, 40 equal, 0 removed`, of a receipt.
fn receipt_counts(receipt: Option<&serde_json::Value>) -> Option<String> {
    let receipt = receipt?;
    let counts =
        [("inserted", "new"), ("updated", "changed"), ("unchanged", "equal"), ("deleted", "removed")];
    let counted = |(name, word)| Some(format!("{} {word}", text::number(count_of(Some(receipt), name)?)));
    let counts: Option<Vec<String>> = counts.into_iter().map(counted).collect();
    counts.map(|counts| counts.join(", "))
}

fn count_of(receipt: Option<&serde_json::Value>, name: &str) -> Option<u64> {
    receipt?.get(name)?.as_u64()
}

/// What a file says of itself.
pub(super) fn described_file(file: &FileAnswer) -> String {
    let key = match file.key_pinned {
        Some(true) => "the one pinned for it here",
        Some(false) => "NOT the one pinned for it here",
        None => "not known here: compare it with what  branchline id  says there",
    };
    let tables = text::table(
        ["table", "rows"],
        file.tables.iter().map(|table| [table.table.clone(), text::number(table.rows)]),
    );
    let compressed =
        format!("{} ({} of data)", text::bytes(file.document_bytes), text::bytes(file.data_bytes));
    let lines = [
        ("file", file.path.clone()),
        ("backup", format!("{}, {}", file.backup, file.backup_type)),
        ("made by", file.source.clone()),
        ("key id", file.source_key_id.clone()),
        ("key", key.to_owned()),
        ("for", file.target.clone()),
        ("made", text::time(&file.created_at, now())),
        ("rows", text::number(file.rows)),
        ("size", compressed),
    ];
    format!("{}\n{tables}", text::pairs(lines))
}

async fn export(command: Command, session: &Session) -> Result<Done, Failure> {
    let Reply { answer, data, .. } = session.change(command).await?;
    let Answer::File(file) = answer else { return Err(Failure::unexpected_answer()) };
    session.output.end_progress();
    Ok(Done::new(data, described_file(&file))
        .next(format!("branchline backups import FILE   # on {}", file.target)))
}

async fn import(path: String, dry_run: bool, mirror: bool, session: &Session) -> Result<Done, Failure> {
    let command = |dry_run| Command::BackupsImport { path: path.clone(), dry_run, mirror };
    if mirror && !dry_run {
        confirm::can_ask(session, "import --mirror removes rows here, so it")?;
        let planned = ask_import(command(true), session).await?.0;
        let removed = count_of(planned.receipt.as_ref(), "deleted").unwrap_or_default();
        let what = format!("{} not in the backup will be removed here.", text::count(removed, "row", "rows"));
        session.output.note(&format!("{what}\n"));
        confirm::ask(session, &what, &planned.file.source).await?;
    }
    let (import, data) = ask_import(command(dry_run), session).await?;
    let mut done = Done::new(data, imported(&import, dry_run));
    if refused(&import) {
        done.exit_code = 1;
    }
    Ok(match &import.receipt_path {
        Some(receipt) => {
            done.next(format!("branchline backups import {receipt}   # on {}", import.file.source))
        }
        None if dry_run => done.next(format!("branchline backups import {path}")),
        None => done.next("branchline backups list"),
    })
}

async fn ask_import(
    command: Command,
    session: &Session,
) -> Result<(ImportAnswer, serde_json::Value), Failure> {
    let Reply { answer, data, .. } = session.change(command).await?;
    let Answer::Import(import) = answer else { return Err(Failure::unexpected_answer()) };
    session.output.end_progress();
    Ok((import, data))
}

fn refused(import: &ImportAnswer) -> bool {
    let success = import.receipt.as_ref().and_then(|receipt| receipt.get("success")?.as_bool());
    success == Some(false)
}

fn imported(import: &ImportAnswer, dry_run: bool) -> String {
    let counts = receipt_counts(import.receipt.as_ref()).unwrap_or_default();
    let is_receipt = !dry_run && import.receipt_path.is_none();
    if is_receipt {
        let verdict = if refused(import) { "refused" } else { "applied" };
        return format!(
            "The receipt of {} for backup {}: {verdict}, {counts}\n",
            import.file.target, import.file.backup
        );
    }
    let verdict = match (dry_run, refused(import)) {
        (true, true) => "It would be refused; nothing was written.".to_owned(),
        (true, false) => format!("It would be applied: {counts}; nothing was written."),
        (false, true) => "Refused; nothing was changed.".to_owned(),
        (false, false) => format!("Applied: {counts}"),
    };
    let mut said = format!("{}\n{verdict}\n", described_file(&import.file));
    let errors = import.receipt.as_ref().and_then(|receipt| receipt.get("errors")?.as_array());
    for error in errors.into_iter().flatten() {
        let member = |name: &str| error.get(name).and_then(|text| text.as_str()).unwrap_or_default();
        said.push_str(&format!("! {}  {}\n", member("code"), member("message")));
    }
    said
}
