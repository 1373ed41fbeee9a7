//! The sessions that write, and how far they are.
//!
//! They stay at most [`LEAD`] changes ahead of whoever cuts backups: so that backups are cut all along, and not after
//! everything was written.

use branchline_testkit::database::capturing::TestServer;
use branchline_testkit::database::{Engine, TestSession};
use tokio::sync::watch;

use super::statements::Dice;

/// How many sessions write.
pub(super) const WRITERS: u64 = 4;
/// How many changes each of them commits.
const CHANGES: u64 = 125;
/// How many changes may be committed after a backup was begun, until the next one is waited for.
const LEAD: u64 = 60;

/// How far the sessions are together, and how far they may go.
pub(super) struct Traffic {
    committed: watch::Sender<u64>,
    allowed: watch::Sender<u64>,
}

impl Traffic {
    /// Nothing was written yet.
    pub(super) fn new() -> Self {
        Self { committed: watch::Sender::new(0), allowed: watch::Sender::new(LEAD) }
    }

    /// Waits until so many changes more were committed, less than [`LEAD`]; whether more are to come.
    pub(super) async fn more(&self, changes: u64) -> bool {
        self.go_on();
        let all = WRITERS * CHANGES;
        let mut committed = self.committed.subscribe();
        let goal = (*committed.borrow() + changes.min(LEAD - 1)).min(all);
        let reached = committed.wait_for(|changes| *changes >= goal).await;
        reached.is_ok_and(|changes| *changes < all)
    }

    /// Lets the sessions go on from where they are.
    pub(super) fn go_on(&self) {
        self.allowed.send_replace(*self.committed.borrow() + LEAD);
    }

    async fn wait_for_a_turn(&self) {
        let mut allowed = self.allowed.subscribe();
        let turn = allowed.wait_for(|changes| *self.committed.borrow() < *changes).await;
        turn.expect("the traffic outlives its sessions");
    }
}

/// What a session writes.
pub(super) type Write = fn(&mut Dice, Engine) -> String;

/// A session of the shop's, and what it throws its dice for.
pub(super) struct Writer {
    session: Box<dyn TestSession>,
    engine: Engine,
    dice: Dice,
    what: Write,
}

impl Writer {
    /// A session at a server's database.
    pub(super) async fn at(server: &TestServer, dice: Dice, what: Write) -> Self {
        let (mut session, engine) = (server.shop.session().await, server.engine());
        if engine == Engine::Postgres {
            // Whoever empties a table waits for the backup that reads it, and everybody else behind.
            session.run("SET lock_timeout = '100ms'").await.expect("a session's own setting");
        }
        Self { session, engine, dice, what }
    }

    /// Commits changes until it has made its share, and counts them.
    pub(super) async fn write(mut self, traffic: &Traffic) {
        let (mut left, mut in_vain) = (CHANGES, 0);
        while left > 0 {
            traffic.wait_for_a_turn().await;
            let length = (1 + self.dice.below(6)).min(left);
            match self.transact(length).await {
                Ok(()) => {
                    (left, in_vain) = (left - length, 0);
                    traffic.committed.send_modify(|changes| *changes += length);
                }
                Err(message) => {
                    in_vain += 1;
                    assert!(in_vain < 100, "nothing can be written any more: {message}");
                }
            }
        }
    }

    /// One transaction of so many statements. What the database said, or that it was to be taken back, where it was.
    async fn transact(&mut self, length: u64) -> Result<(), String> {
        let begin = match self.engine {
            Engine::Sqlite => "BEGIN IMMEDIATE",
            Engine::Postgres if self.dice.one_in(5) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Engine::Postgres => "BEGIN",
        };
        self.session.run(begin).await?;
        let done = self.statements(length).await;
        if done.is_err() {
            // Where the commit itself failed there may be nothing left to take back.
            let _ended = self.session.run("ROLLBACK").await;
        }
        done
    }

    async fn statements(&mut self, length: u64) -> Result<(), String> {
        for _ in 0..length {
            let statement = (self.what)(&mut self.dice, self.engine);
            self.session.run(&statement).await?;
        }
        if self.dice.one_in(8) {
            return Err("to be taken back".to_owned());
        }
        self.session.run("COMMIT").await
    }
}
