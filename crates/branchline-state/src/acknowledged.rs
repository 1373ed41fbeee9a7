//! The table `acknowledged`: how far each peer is.
//!
//! It goes with its peer. A peer without a row has not said anything yet.

use branchline_core::id::{Epoch, Sequence};
use branchline_core::ports::{StateConflict, StateError};
use branchline_core::standing::{Acknowledged, ChainEnd};
use rusqlite::{Connection, named_params};

use crate::table::{self, Fields, InTable, integer, known_lines, points_nowhere};

const TABLE: table::Table = "acknowledged";

const PUT: &str = "
    INSERT INTO acknowledged (peer, life, knowledge, relays, chain_epoch, chain_sequence, chain_metadata,
                              give_all, past_budget)
    VALUES (:peer, :life, :knowledge, :relays, :chain_epoch, :chain_sequence, :chain_metadata,
            :give_all, :past_budget)
    ON CONFLICT (peer) DO UPDATE SET
        life = excluded.life, knowledge = excluded.knowledge, relays = excluded.relays,
        chain_epoch = excluded.chain_epoch, chain_sequence = excluded.chain_sequence,
        chain_metadata = excluded.chain_metadata, give_all = excluded.give_all,
        past_budget = excluded.past_budget";
const ALL: &str = "SELECT * FROM acknowledged ORDER BY peer";

/// Notes how far a peer is.
pub(crate) fn put(connection: &Connection, acknowledged: &Acknowledged) -> Result<(), StateError> {
    let number = |number: Option<u64>| number.map(|number| integer(TABLE, number)).transpose();
    let chain = acknowledged.chain.as_ref();
    let put = connection.execute(
        PUT,
        named_params! {
            ":peer": acknowledged.peer.as_str(),
            ":life": number(acknowledged.life.map(Epoch::value))?,
            ":knowledge": known_lines(&acknowledged.knowledge),
            ":relays": acknowledged.relays,
            ":chain_epoch": number(chain.map(|chain| chain.epoch.value()))?,
            ":chain_sequence": number(chain.map(|chain| chain.sequence.value()))?,
            ":chain_metadata": chain.map(|chain| chain.metadata.as_bytes()),
            ":give_all": acknowledged.give_all,
            ":past_budget": acknowledged.past_budget,
        },
    );
    match put {
        Err(error) if points_nowhere(&error) => Err(StateError::Conflict(StateConflict::PeerUnknown)),
        put => put.in_table(TABLE).map(|_| ()),
    }
}

/// How far each peer is that has said something, by id.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Acknowledged>, StateError> {
    table::all(connection, TABLE, ALL, [], read)
}

fn read(fields: &Fields<'_>) -> Result<Acknowledged, StateError> {
    let chain = match fields.number_or_none("chain_epoch")? {
        None => None,
        Some(epoch) => Some(ChainEnd {
            epoch: Epoch::new(epoch),
            sequence: Sequence::new(fields.number("chain_sequence")?),
            metadata: fields.digest("chain_metadata")?,
        }),
    };
    Ok(Acknowledged {
        peer: fields.parsed("peer")?,
        life: fields.number_or_none("life")?.map(Epoch::new),
        knowledge: fields.knowledge("knowledge")?,
        relays: fields.value("relays")?,
        chain,
        give_all: fields.value("give_all")?,
        past_budget: fields.value("past_budget")?,
    })
}
