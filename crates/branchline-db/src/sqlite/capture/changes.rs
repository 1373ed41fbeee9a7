//! Reads at a position what a plan takes of each table.
//!
//! The rows of a table come from one query that stays open between two batches. Its parts:
//!
//! | of an increment | found by |
//! |---|---|
//! | rows and tombstones that this position stamped | the stamps (`super::stamp`) |
//! | those with versions above the plan's floors | the index of versions by generation |
//! | the base, where the peer lacks the life that it belongs to | reading the table |
//!
//! A full backup reads the table, and gives each row the version that it has; then come the tombstones. What an
//! increment costs depends on what it holds, and not on how large the tables are.
//!
//! Of tables that a peer does not get whole, `scoped` finds what goes.
//!
//! A row with a version that is not there, though nothing noted that it went, is left out: a compare will name it.

mod query;
mod read;
mod scoped;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use branchline_core::backup::RowBatch;
use branchline_core::pack::{PackPlan, PackRequest, Position, ScopedPeer, Selection};
use branchline_core::ports::{BoxFuture, Changes, DatabaseError, TableChanges};
use branchline_core::schema::{Schema, TableName};
use rusqlite::{Connection, Statement, params};

use super::super::connect::{self, Place};
use super::super::day;
use super::super::error::failed;
use super::super::ident::Ident;
use super::super::ledger::captured::{self, CapturedTable};
use super::super::ledger::life::Lives;
use super::super::rows::TableRows;
use super::super::schema::Catalogue;
use super::super::thread::{Reply, Requests, Serve, Session, answer};
use super::position;
use query::{KEY_PLACE, Query};
use read::TableRead;
use scoped::Prepared;

/// A snapshot of a SQLite file at a position.
pub(super) struct SqliteChanges {
    session: Session<Request>,
    begun: Begun,
}

/// What is asked of the thread.
enum Request {
    Tables { plan: PackPlan, reply: Reply<Vec<TableChanges>> },
    Open { table: TableName, plan: PackPlan, reply: Reply<()> },
    Next { reply: Reply<Option<RowBatch>> },
    Close { reply: Reply<()> },
}

/// What was found when the position was taken.
#[derive(Clone)]
struct Begun {
    catalogue: Arc<Catalogue>,
    position: Position,
}

impl SqliteChanges {
    /// Takes a position.
    pub(super) async fn open(place: Arc<Place>, request: PackRequest) -> Result<Self, DatabaseError> {
        let to_open = Arc::clone(&place);
        let begin = move |connection: Connection| {
            let mut position = position::take(&place, &connection)?;
            let catalogue = place.catalogue.read(&connection)?;
            if let Some((day, tables)) = &request.day {
                position.day = day::totals(&connection, &catalogue, day, tables)?;
            }
            let begun = Begun { catalogue, position };
            let reader = Reader::new(connection, place, begun.clone())?;
            Ok((begun, Box::new(move |requests| serve(&reader, requests)) as Serve<Request>))
        };
        let (session, begun) = Session::start(move || connect::open_for_packing(&to_open), begin).await?;
        Ok(Self { session, begun })
    }
}

impl Changes for SqliteChanges {
    fn schema(&self) -> &Schema {
        &self.begun.catalogue.schema
    }

    fn position(&self) -> &Position {
        &self.begun.position
    }

    fn tables<'a>(
        &'a mut self,
        plan: &'a PackPlan,
    ) -> BoxFuture<'a, Result<Vec<TableChanges>, DatabaseError>> {
        Box::pin(self.session.ask(|reply| Request::Tables { plan: plan.clone(), reply }))
    }

    fn open<'a>(
        &'a mut self,
        table: &'a TableName,
        plan: &'a PackPlan,
    ) -> BoxFuture<'a, Result<(), DatabaseError>> {
        Box::pin(self.session.ask(|reply| Request::Open { table: table.clone(), plan: plan.clone(), reply }))
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>, DatabaseError>> {
        Box::pin(self.session.ask(|reply| Request::Next { reply }))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), DatabaseError>> {
        Box::pin(async move { self.session.ask(|reply| Request::Close { reply }).await })
    }
}

fn serve(reader: &Reader, mut requests: Requests<Request>) {
    let mut not_served = None;
    while let Some(request) = not_served.take().or_else(|| requests.blocking_recv()) {
        match request {
            Request::Tables { plan, reply } => answer(reply, reader.tables(&plan)),
            Request::Open { table, plan, reply } => match reader.read(&table, &plan) {
                Err(error) => answer(reply, Err(error)),
                Ok(read) => not_served = read.serve(&plan, reply, &mut requests),
            },
            Request::Next { reply } => answer(reply, Ok(None)),
            Request::Close { reply } => {
                answer(reply, reader.connection.execute_batch("ROLLBACK").map_err(failed));
                return;
            }
        }
    }
}

const FLOORS: &str = "CREATE TEMP TABLE branchline_floor (life INTEGER PRIMARY KEY, above INTEGER NOT NULL)";
const CLEAR_FLOORS: &str = "DELETE FROM temp.branchline_floor";
const ADD_FLOOR: &str = "INSERT INTO temp.branchline_floor (life, above) VALUES (?1, ?2)";
const IS_STAMPED: &str = "SELECT EXISTS (SELECT 1 FROM temp.branchline_stamped WHERE table_id = ?1)";
const HAS_VERSIONS: &str = "SELECT EXISTS (SELECT 1 FROM temp.branchline_floor AS f
    CROSS JOIN main.branchline_version AS v WHERE v.table_id = ?1 AND v.life = f.life AND v.generation > f.above)";

/// What the thread owns.
struct Reader {
    connection: Connection,
    /// Where what a peer was sent is written down.
    place: Arc<Place>,
    begun: Begun,
    captured: Vec<CapturedTable>,
    /// The numbers of the tables that are shared in part, whoever keeps rows back.
    in_part: BTreeSet<i64>,
    /// What was found last for a peer that does not get all rows.
    prepared: RefCell<Option<Prepared>>,
    lives: Lives,
    /// The number of our life.
    own: i64,
}

impl Reader {
    fn new(connection: Connection, place: Arc<Place>, begun: Begun) -> Result<Self, DatabaseError> {
        connection.execute_batch(FLOORS).map_err(failed)?;
        let lives = Lives::read(&connection)?;
        let own = lives.find(&begun.position.own).ok_or(DatabaseError::NotAttached)?;
        Ok(Self {
            captured: captured::all(&connection)?,
            in_part: captured::in_part(&connection)?,
            prepared: RefCell::new(None),
            place,
            lives,
            own,
            begun,
            connection,
        })
    }

    /// Puts what the queries of a plan need where they find it.
    fn prepare(&self, plan: &PackPlan) -> Result<(), DatabaseError> {
        self.set_floors(plan)?;
        let Some(peer) = &plan.scope else { return Ok(()) };
        let mut prepared = self.prepared.borrow_mut();
        if !prepared.as_ref().is_some_and(|prepared| prepared.is_for(plan)) {
            *prepared = None;
            *prepared = Some(scoped::prepare(self, plan, peer)?);
        }
        Ok(())
    }

    fn tables(&self, plan: &PackPlan) -> Result<Vec<TableChanges>, DatabaseError> {
        self.prepare(plan)?;
        let mut is_stamped = self.connection.prepare(IS_STAMPED).map_err(failed)?;
        let mut has_versions = self.connection.prepare(HAS_VERSIONS).map_err(failed)?;
        let takes_own = self.takes_own(plan);
        let mut found = Vec::new();
        for table in &self.captured {
            let exists = |statement: &mut Statement<'_>| {
                statement.query_row(params![table.id], |row| row.get::<_, bool>(0)).map_err(failed)
            };
            let is_scoped = scope_of(plan, table).is_some();
            let has_something = plan.selection == Selection::Full
                || match is_scoped {
                    true => self.prepared.borrow().as_ref().is_some_and(|prepared| prepared.names(table)),
                    false => {
                        (takes_own && exists(&mut is_stamped)?)
                            || exists(&mut has_versions)?
                            || self.has_base(table, plan)?
                    }
                };
            if has_something {
                let base = self.lives.get(table.base)?.clone();
                let filtered = is_scoped || self.in_part.contains(&table.id);
                found.push(TableChanges { table: table.name.clone(), base, filtered });
            }
        }
        Ok(found)
    }

    /// Whether the plan takes rows of the table that have no version, and there are rows.
    fn has_base(&self, table: &CapturedTable, plan: &PackPlan) -> Result<bool, DatabaseError> {
        if !self.takes_base(table, plan)? {
            return Ok(false);
        }
        let sql = format!("SELECT EXISTS (SELECT 1 FROM main.{})", Ident(table.name.as_str()));
        self.connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)
    }

    /// Whether the plan takes what this position stamped.
    fn takes_own(&self, plan: &PackPlan) -> bool {
        let Selection::Above(floors) = &plan.selection else { return true };
        let Position { own, generation, .. } = &self.begun.position;
        floors.iter().any(|floor| floor.life == *own && floor.above.is_none_or(|above| above < *generation))
    }

    /// Whether the plan takes the rows of the table that have no version.
    fn takes_base(&self, table: &CapturedTable, plan: &PackPlan) -> Result<bool, DatabaseError> {
        let Selection::Above(floors) = &plan.selection else { return Ok(true) };
        let base = self.lives.get(table.base)?;
        Ok(floors.iter().any(|floor| floor.life == *base && floor.above.is_none()))
    }

    /// Puts the floors where queries find them. A life of which nothing is said lies below everything.
    fn set_floors(&self, plan: &PackPlan) -> Result<(), DatabaseError> {
        self.connection.execute(CLEAR_FLOORS, []).map_err(failed)?;
        let Selection::Above(floors) = &plan.selection else { return Ok(()) };
        for floor in floors {
            // A life without a number has no version here.
            let Some(life) = self.lives.find(&floor.life) else { continue };
            let above = floor.above.map_or(-1, |above| above.value().cast_signed());
            self.connection.execute(ADD_FLOOR, params![life, above]).map_err(failed)?;
        }
        Ok(())
    }

    fn read<'a>(&'a self, name: &TableName, plan: &'a PackPlan) -> Result<TableRead<'a>, DatabaseError> {
        let unknown = || DatabaseError::TableUnknown { table: name.clone() };
        let table = self.captured.iter().find(|table| table.name == *name).ok_or_else(unknown)?;
        self.prepare(plan)?;
        let scoped = scope_of(plan, table);
        let key_width = table.key_columns().len();
        let rows = TableRows::new(&self.begun.catalogue, name, KEY_PLACE + key_width)?;
        let query = Query { reader: self, table, rows: &rows, key_width };
        let sql = match plan.selection {
            _ if scoped.is_some() => query.scoped(),
            Selection::Full => query.full()?,
            Selection::Above(_) => query.increment(self.takes_own(plan), self.takes_base(table, plan)?),
        };
        Ok(TableRead { reader: self, table, scoped, rows, key_width, sql })
    }

    /// Writes down what of a table that was read to its end went to a peer.
    fn enter(&self, peer: &ScopedPeer, table: &CapturedTable) -> Result<(), DatabaseError> {
        match self.prepared.borrow().as_ref() {
            Some(prepared) => scoped::enter(self, prepared, peer, table),
            None => Ok(()),
        }
    }
}

/// The peer that a plan is for, where it does not get all rows of a table.
fn scope_of<'a>(plan: &'a PackPlan, table: &CapturedTable) -> Option<&'a ScopedPeer> {
    plan.scope.as_ref().filter(|peer| peer.scope.of(&table.name).is_some())
}

#[cfg(test)]
mod tests;
