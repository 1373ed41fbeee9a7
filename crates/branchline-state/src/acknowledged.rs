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
    INSERT INTO acknowledged (peer, met_own, met_peer, knowledge, lent, owed, sealed,
                              chain_epoch, chain_sequence, chain_metadata, past_budget, scope)
    VALUES (:peer, :met_own, :met_peer, :knowledge, :lent, :owed, :sealed,
            :chain_epoch, :chain_sequence, :chain_metadata, :past_budget, :scope)
    ON CONFLICT (peer) DO UPDATE SET
        met_own = excluded.met_own, met_peer = excluded.met_peer, knowledge = excluded.knowledge,
        lent = excluded.lent, owed = excluded.owed, sealed = excluded.sealed,
        chain_epoch = excluded.chain_epoch, chain_sequence = excluded.chain_sequence,
        chain_metadata = excluded.chain_metadata, past_budget = excluded.past_budget,
        scope = excluded.scope";
const ALL: &str = "SELECT * FROM acknowledged ORDER BY peer";

/// Notes how far a peer is.
pub(crate) fn put(connection: &Connection, acknowledged: &Acknowledged) -> Result<(), StateError> {
    let number = |number: Option<u64>| number.map(|number| integer(TABLE, number)).transpose();
    let chain = acknowledged.chain.as_ref();
    let put = connection.execute(
        PUT,
        named_params! {
            ":peer": acknowledged.peer.as_str(),
            ":met_own": number(acknowledged.met.map(|(own, _)| own.value()))?,
            ":met_peer": number(acknowledged.met.map(|(_, theirs)| theirs.value()))?,
            ":knowledge": known_lines(&acknowledged.knowledge),
            ":lent": known_lines(&acknowledged.lent),
            ":owed": known_lines(&acknowledged.owed),
            ":sealed": integer(TABLE, acknowledged.sealed.value())?,
            ":chain_epoch": number(chain.map(|chain| chain.epoch.value()))?,
            ":chain_sequence": number(chain.map(|chain| chain.sequence.value()))?,
            ":chain_metadata": chain.map(|chain| chain.metadata.as_bytes()),
            ":past_budget": acknowledged.past_budget,
            ":scope": acknowledged.scope.to_lines(),
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
    let met = match fields.number_or_none("met_own")? {
        None => None,
        Some(own) => Some((Epoch::new(own), Epoch::new(fields.number("met_peer")?))),
    };
    Ok(Acknowledged {
        peer: fields.parsed("peer")?,
        met,
        knowledge: fields.knowledge("knowledge")?,
        lent: fields.knowledge("lent")?,
        owed: fields.knowledge("owed")?,
        sealed: Sequence::new(fields.number("sealed")?),
        chain,
        past_budget: fields.value("past_budget")?,
        scope: fields.scope("scope")?,
    })
}
