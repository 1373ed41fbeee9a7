//! [`SqliteState`]: the state in one SQLite file.
//!
//! One commit is one `BEGIN IMMEDIATE` transaction: at the first write whose condition does not hold, all of them
//! are rolled back. What each write and question does is in the module of its table.

use std::path::Path;

use branchline_core::ports::{
    BoxFuture, Claim, OutboxEntry, StateError, StateRead, StateReply, StateStore, StateWrite,
};
use rusqlite::{Connection, TransactionBehavior};

use crate::connection::{self, WHOLE};
use crate::table::InTable;
use crate::thread::DatabaseThread;
use crate::{acknowledged, chains, inbox, invitations, outbox, receipts, registry, remembered, schedule};

/// The state in one SQLite file.
#[derive(Debug)]
pub struct SqliteState {
    thread: DatabaseThread,
}

impl SqliteState {
    /// Opens `state.db` in `folder`, and makes both where they are missing. Takes no lock on the home: that is
    /// [`lock`](crate::lock).
    ///
    /// # Errors
    /// Where the file cannot be used, is another program's, or was written by a newer version.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        Ok(Self { thread: DatabaseThread::start(connection::open(folder)?)? })
    }

    /// Opens an existing state for reading, beside the process that writes; commits and claims fail.
    ///
    /// # Errors
    /// Where there is none, or it has another version than this program's.
    pub fn read_only(folder: &Path) -> Result<Self, StateError> {
        Ok(Self { thread: DatabaseThread::start(connection::open_to_read(folder)?)? })
    }
}

impl StateStore for SqliteState {
    fn commit(&self, writes: Vec<StateWrite>) -> BoxFuture<'_, Result<(), StateError>> {
        Box::pin(self.thread.run(move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).in_table(WHOLE)?;
            for write in &writes {
                carry_out(&transaction, write)?;
            }
            transaction.commit().in_table(WHOLE)
        }))
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Option<OutboxEntry>, StateError>> {
        Box::pin(self.thread.run(move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).in_table(WHOLE)?;
            let entry = outbox::claim(&transaction, &claim)?;
            transaction.commit().in_table(WHOLE)?;
            Ok(entry)
        }))
    }

    fn read(&self, question: StateRead) -> BoxFuture<'_, Result<StateReply, StateError>> {
        Box::pin(self.thread.run(move |connection| answer(connection, &question)))
    }
}

fn carry_out(connection: &Connection, write: &StateWrite) -> Result<(), StateError> {
    match write {
        StateWrite::AddPeer(peer) => registry::add(connection, peer),
        StateWrite::ChangePeer(peer) => registry::change(connection, peer),
        StateWrite::RemovePeer(peer) => registry::remove(connection, peer),
        StateWrite::SetActivity { peer, activity } => registry::set_activity(connection, peer, *activity),
        StateWrite::Seen { peer, at } => registry::seen(connection, peer, *at),
        StateWrite::AddInvitation(invitation) => invitations::add(connection, invitation),
        StateWrite::CountWrongProof { token, attempts_max } => {
            invitations::count_wrong_proof(connection, *token, *attempts_max)
        }
        StateWrite::UseInvitation { token, by, from, at } => {
            invitations::use_up(connection, *token, by, from, *at)
        }
        StateWrite::PutOutbox(entry) => outbox::put(connection, entry),
        StateWrite::SettleOutbox { backup, state } => outbox::settle(connection, *backup, *state),
        StateWrite::DeferOutbox { backup, not_before, code, message } => {
            outbox::defer(connection, *backup, *not_before, *code, message)
        }
        StateWrite::RemoveOutbox(backup) => outbox::remove(connection, *backup),
        StateWrite::PutInbox(entry) => inbox::put(connection, entry),
        StateWrite::RemoveInbox { peer, backup } => inbox::remove(connection, peer, *backup),
        StateWrite::PutReceipt(receipt) => receipts::put(connection, receipt),
        StateWrite::PutSchedule(record) => schedule::put(connection, record),
        StateWrite::RemoveSchedule(name) => schedule::remove(connection, name),
        StateWrite::PutChain { peer, sequence, metadata } => {
            chains::put(connection, peer, *sequence, metadata)
        }
        StateWrite::PutAcknowledged(acknowledged) => acknowledged::put(connection, acknowledged),
        StateWrite::PutRemembered(remembered) => remembered::put(connection, remembered),
    }
}

fn answer(connection: &Connection, question: &StateRead) -> Result<StateReply, StateError> {
    Ok(match question {
        StateRead::Peers => StateReply::Peers(registry::all(connection)?),
        StateRead::Peer(id) => StateReply::Peer(registry::by_id(connection, id)?),
        StateRead::PeerByKey(key) => StateReply::Peer(registry::by_key(connection, *key)?),
        StateRead::Invitation(token) => StateReply::Invitation(invitations::one(connection, *token)?),
        StateRead::Invitations => StateReply::Invitations(invitations::all(connection)?),
        StateRead::Outbox => StateReply::Outbox(outbox::all(connection)?),
        StateRead::OutboxOf(peer) => StateReply::Outbox(outbox::of(connection, peer)?),
        StateRead::OutboxEntry(backup) => StateReply::OutboxEntry(outbox::one(connection, *backup)?),
        StateRead::Inbox => StateReply::Inbox(inbox::all(connection)?),
        StateRead::InboxEntry { peer, backup } => {
            StateReply::InboxEntry(inbox::one(connection, peer, *backup)?)
        }
        StateRead::Receipts { newest } => StateReply::Receipts(receipts::newest(connection, *newest)?),
        StateRead::Receipt(backup) => StateReply::Receipt(receipts::one(connection, *backup)?),
        StateRead::Chain(peer) => StateReply::Chain(chains::one(connection, peer)?),
        StateRead::Schedule => StateReply::Schedule(schedule::all(connection)?),
        StateRead::Acknowledged => StateReply::Acknowledged(acknowledged::all(connection)?),
        StateRead::Remembered => StateReply::Remembered(remembered::one(connection)?),
    })
}
