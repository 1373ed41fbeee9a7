//! Claims about how far peers are, and about what is remembered of the database.

use branchline_core::digest::Digest;
use branchline_core::id::{Epoch, Generation, Sequence};
use branchline_core::knowledge::Knowledge;
use branchline_core::lineage::Remembered;
use branchline_core::ports::{StateConflict, StateRead, StateReply, StateWrite};
use branchline_core::scope::ScopeMark;
use branchline_core::standing::{Acknowledged, ChainEnd, Packed};
use branchline_core::version::{ChangeTime, Life};

use super::{SharedStore, commit, expect_conflict, peer, read, server_id};

fn knowledge() -> Knowledge {
    let known = |server: &str, epoch, generation| {
        (Life::new(server_id(server), Epoch::new(epoch)), Generation::new(generation))
    };
    [known("A", 2, 7), known("A", 1, 0), known("B-2", 1, u64::MAX)].into_iter().collect()
}

/// A scope, with a name that is hard to keep.
fn scope() -> ScopeMark {
    let line = |table| format!("{} {table}", Digest::of(b"conditions"));
    ScopeMark::from_lines(&[line("a table"), line("orders")].join("\n")).expect("two lines")
}

/// A position, with the values that are hardest to keep.
pub(super) fn packed() -> Packed {
    Packed { epoch: Epoch::new(3), covers: knowledge(), seen: knowledge(), full: true, scope: scope() }
}

/// And a stranger's is not kept.
pub async fn how_far_a_peer_is_reads_back_whole_and_goes_with_it(store: SharedStore) {
    let nothing = |id| Acknowledged::nothing(server_id(id));
    expect_conflict(&store, vec![StateWrite::PutAcknowledged(nothing("A"))], StateConflict::PeerUnknown)
        .await;
    let chain =
        ChainEnd { epoch: Epoch::new(1), sequence: Sequence::new(4), metadata: Digest::of(b"metadata") };
    let full = Acknowledged {
        met: Some((Epoch::new(9), Epoch::new(0))),
        knowledge: knowledge(),
        lent: knowledge(),
        owed: knowledge(),
        sealed: Sequence::new(5),
        chain: Some(chain),
        past_budget: true,
        scope: scope(),
        ..nothing("B")
    };
    commit(&store, vec![StateWrite::AddPeer(peer("A")), StateWrite::AddPeer(peer("B"))]).await;
    let writes = [nothing("A"), nothing("B"), full.clone()].map(StateWrite::PutAcknowledged);
    commit(&store, writes.to_vec()).await;
    let both = StateReply::Acknowledged(vec![nothing("A"), full]);
    assert_eq!(read(&store, StateRead::Acknowledged).await, both);
    commit(&store, vec![StateWrite::RemovePeer(server_id("B"))]).await;
    assert_eq!(read(&store, StateRead::Acknowledged).await, StateReply::Acknowledged(vec![nothing("A")]));
}

/// There is one database.
pub async fn what_is_remembered_of_the_database_is_replaced(store: SharedStore) {
    assert_eq!(read(&store, StateRead::Remembered).await, StateReply::Remembered(None));
    let first = Remembered {
        database: Some("0a1b".to_owned()),
        epoch: Epoch::new(1),
        generation: Generation::new(12),
        clock: ChangeTime::from_micros(1_764_286_854_123_456),
        packed_at: ChangeTime::from_micros(1_764_286_854_123_455),
    };
    let later = Remembered { database: None, epoch: Epoch::new(2), ..first.clone() };
    for remembered in [first, later] {
        commit(&store, vec![StateWrite::PutRemembered(remembered.clone())]).await;
        assert_eq!(read(&store, StateRead::Remembered).await, StateReply::Remembered(Some(remembered)));
    }
}
