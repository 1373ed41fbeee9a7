//! Attaching: capture goes into the application database, stays in step with its tables, and comes out again.
//!
//! Nothing is packed while what the ledger says and what is remembered of it do not fit (`lineage` in the core). A person
//! who knows which copy goes on begins a new life with it: then every pair starts anew, and both sides give each other
//! whatever the other lacks.

use branchline_core::id::{Epoch, Generation};
use branchline_core::lineage::{Remembered, check_peer, check_remembered, next_epoch};
use branchline_core::pack::PackRequest;
use branchline_core::ports::{
    Amendment, AttachReport, AttachRequest, CaptureState, Changes, Database, DatabaseError, Ledger,
    StateWrite,
};
use branchline_core::schema::{Exclusion, TableName};
use branchline_core::standing::{Acknowledged, Standing};
use branchline_core::version::ChangeTime;

use super::clock::wall_clock;
use super::{Node, describe};
use crate::api::v1::{AttachAnswer, ChangedAnswer, HeldAnswer, Problem};

/// What a peer said of itself and of us.
pub(super) struct Heard<'a> {
    pub(super) peer: &'a str,
    pub(super) standing: Option<&'a Standing>,
    pub(super) last_applied: Option<(Epoch, branchline_core::id::Sequence)>,
}

/// A position that was taken, and what the ledger said just before.
pub(super) struct Taken {
    pub(super) changes: Box<dyn Changes>,
    pub(super) ledger: Ledger,
}

impl Node {
    /// Installs capture, or brings it in step. With `new_life` the database goes on as another than it was.
    pub(super) async fn attach(&self, new_life: bool) -> Result<AttachAnswer, Problem> {
        let _queue = self.queue_turn.lock().await;
        let _apply = self.apply_turn.lock().await;
        let database = self.database().await?.as_ref();
        let remembered = self.memory.remembered().await?;
        let captured = database.capture().look().await?;
        let stranger = captured.as_ref().filter(|captured| captured.own.server != self.settings.server);
        if let Some(stranger) = stranger.filter(|_| !new_life) {
            return Err(DatabaseError::Attached { server: stranger.own.server.clone() }.into());
        }
        if !new_life {
            check_remembered(remembered.as_ref(), &database.ledger().await?)?;
        }
        let epoch = self.epoch_to_begin(&database.ledger().await?, remembered.as_ref(), new_life).await?;
        if stranger.is_some() {
            // Its versions are about another server's life: here all rows are the base of a new one.
            database.capture().detach().await?;
        } else if let Some(captured) = captured.as_ref().filter(|_| new_life) {
            self.begin_life(database, captured, remembered.as_ref(), epoch).await?;
        }
        let request = AttachRequest {
            server: self.settings.server.clone(),
            epoch,
            except: self.left_out(database).await?,
        };
        let report = database.capture().attach(request).await?;
        if new_life {
            for peer in self.memory.peers().await? {
                self.drop_packed(&peer.id).await?;
            }
        }
        let captured = database.capture().look().await?.ok_or(DatabaseError::NotAttached)?;
        self.remember(&database.ledger().await?, &captured).await?;
        tracing::info!(life = %captured.own, tables = report.captured, new_life, "changes are captured");
        Ok(attached(&captured, &report, new_life))
    }

    /// Takes everything of ours out of the database. What waits in the outbox stays.
    pub(super) async fn detach(&self) -> Result<ChangedAnswer, Problem> {
        let _queue = self.queue_turn.lock().await;
        let _apply = self.apply_turn.lock().await;
        let database = self.database().await?;
        let captured = database.capture().look().await?.ok_or(DatabaseError::NotAttached)?;
        if captured.own.server != self.settings.server {
            return Err(DatabaseError::Attached { server: captured.own.server }.into());
        }
        database.capture().detach().await?;
        let remembered = Remembered {
            database: None,
            epoch: captured.own.epoch,
            generation: captured.generation,
            clock: captured.clock,
            packed_at: wall_clock(),
        };
        self.memory.commit(vec![StateWrite::PutRemembered(remembered)]).await?;
        self.change_all_acknowledged(|peer| *peer = Acknowledged::nothing(peer.peer.clone())).await?;
        tracing::warn!(life = %captured.own, "changes are captured no more");
        let message = format!(
            "changes are captured no more, and the database is as it was found; {} changes that no backup had \
             taken are sent with the next full one",
            captured.pending
        );
        Ok(ChangedAnswer { message })
    }

    pub(super) async fn list_held(&self) -> Result<HeldAnswer, Problem> {
        let captured = self.database().await?.capture().look().await?.ok_or(DatabaseError::NotAttached)?;
        Ok(HeldAnswer { rows: captured.held.iter().map(describe::held).collect() })
    }

    /// Takes a position; nothing where changes are not captured. The caller holds the queue turn.
    ///
    /// # Errors
    /// Where the database is not the one that it was, or is behind what a peer holds of it.
    pub(super) async fn take_position(
        &self,
        heard: impl Iterator<Item = Heard<'_>> + Send,
        request: PackRequest,
    ) -> Result<Option<Taken>, Problem> {
        let database = self.database().await?;
        let remembered = self.memory.remembered().await?;
        let attached_before = remembered.as_ref().is_some_and(|remembered| remembered.database.is_some());
        if !attached_before && database.capture().look().await?.is_none() {
            return Ok(None);
        }
        let ledger = database.ledger().await?;
        check_remembered(remembered.as_ref(), &ledger)?;
        let own = branchline_core::version::Life::new(self.settings.server.clone(), ledger.epoch);
        for Heard { peer, standing, last_applied } in heard {
            check_peer(&own, ledger.generation, peer, standing, last_applied)?;
        }
        let changes = database.capture().pack(request).await?;
        if changes.position().own.server != self.settings.server {
            return Err(DatabaseError::Attached { server: changes.position().own.server.clone() }.into());
        }
        Ok(Some(Taken { changes, ledger }))
    }

    async fn epoch_to_begin(
        &self,
        ledger: &Ledger,
        remembered: Option<&Remembered>,
        new_life: bool,
    ) -> Result<Epoch, Problem> {
        if !new_life && remembered.is_none_or(|remembered| remembered.database.is_some()) {
            return Ok(ledger.epoch);
        }
        let known = self.known_of_us().await?;
        Ok(next_epoch(remembered, ledger, known.into_iter().map(|(epoch, _)| epoch).max()))
    }

    async fn begin_life(
        &self,
        database: &dyn Database,
        captured: &CaptureState,
        remembered: Option<&Remembered>,
        epoch: Epoch,
    ) -> Result<(), Problem> {
        let sent = remembered.filter(|remembered| remembered.epoch == captured.own.epoch);
        // The state may be as old as the database; then the peers know better.
        let known = self.known_of_us().await?.into_iter();
        let known = known.filter(|(known, _)| *known == captured.own.epoch).map(|(_, held)| held);
        let packed = known.chain(sent.map(|sent| sent.generation)).max();
        let packed = packed.unwrap_or(captured.generation).max(captured.generation);
        // A change in the log may have been made since the copy was put back, and no clock can be trusted to tell: all of
        // them count as new. What was carried before then travels once more, which loses nothing.
        let carried_until = ChangeTime::default();
        let clock = remembered.map_or(captured.clock, |remembered| remembered.clock.max(captured.clock));
        let life = Amendment::BeginLife { epoch, packed, carried_until, clock };
        database.capture().amend(life).await?;
        tracing::warn!(%epoch, before = %captured.own, "the database begins a new life");
        Ok(())
    }

    /// What peers are known to hold of this server's lives.
    async fn known_of_us(&self) -> Result<Vec<(Epoch, Generation)>, Problem> {
        let mut known = Vec::new();
        for peer in self.memory.all_acknowledged().await? {
            let own = |life: &branchline_core::version::Life| life.server == self.settings.server;
            let held = peer.knowledge.iter().filter(|(life, _)| own(life));
            known.extend(held.map(|(life, generation)| (life.epoch, generation)));
        }
        Ok(known)
    }

    async fn remember(&self, ledger: &Ledger, captured: &CaptureState) -> Result<(), Problem> {
        let remembered = Remembered {
            database: Some(ledger.database_id.clone()),
            epoch: captured.own.epoch,
            generation: captured.generation,
            clock: captured.clock,
            packed_at: wall_clock(),
        };
        self.memory.commit(vec![StateWrite::PutRemembered(remembered)]).await
    }

    /// The tables that the settings leave out.
    async fn left_out(&self, database: &dyn Database) -> Result<Vec<TableName>, Problem> {
        let schema = self.restrict(database.schema().await?);
        let left_out = schema.tables().filter(|table| table.excluded == Some(Exclusion::ByChoice));
        Ok(left_out.map(|table| table.name.clone()).collect())
    }
}

fn attached(captured: &CaptureState, report: &AttachReport, new_life: bool) -> AttachAnswer {
    let names = |tables: &[TableName]| tables.iter().map(ToString::to_string).collect();
    AttachAnswer {
        server: captured.own.server.to_string(),
        epoch: captured.own.epoch.value(),
        new_life,
        captured: report.captured,
        added: names(&report.added),
        mended: names(&report.mended),
        removed: names(&report.removed),
    }
}
