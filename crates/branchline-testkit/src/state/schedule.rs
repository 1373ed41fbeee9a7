//! Claims about what is remembered of the schedule.

use branchline_core::code::Code;
use branchline_core::ports::{StateRead, StateReply, StateWrite};
use branchline_core::schedule::{RunOutcome, ScheduleName, ScheduleRecord, ScheduleRun};

use super::{SharedStore, at, commit, read, server_id};

fn name(text: &str) -> ScheduleName {
    text.parse().expect("invariant: tests name valid entries")
}

/// Every field; what is put again replaces it, and what is removed is gone.
pub async fn what_is_remembered_of_an_entry_of_the_schedule_reads_back(store: SharedStore) {
    assert_eq!(read(&store, StateRead::Schedule).await, StateReply::Schedule(Vec::new()));
    let run = |outcome, remark| ScheduleRun {
        due_at: at(10),
        started_at: at(11),
        ended_at: at(12),
        outcome,
        remark,
    };
    let record = |text: &str, last, owed: &[&str]| ScheduleRecord {
        name: name(text),
        definition: "full 22:30".to_owned(),
        served_until: at(11),
        last,
        owed: owed.iter().map(|peer| server_id(peer)).collect(),
    };
    // Peers that are owed need not be peers any more.
    let failed = Some((Some(Code::UNREACHABLE), "ein \"Grund\"".to_owned()));
    let records = [
        record("never run", None, &[]),
        record("Übertrag", Some(run(RunOutcome::Failed, failed)), &["STORE-001", "STORE-002"]),
    ];
    commit(&store, records.iter().cloned().map(StateWrite::PutSchedule).collect()).await;
    assert_eq!(read(&store, StateRead::Schedule).await, StateReply::Schedule(records.to_vec()));
    for outcome in RunOutcome::ALL {
        let remark = Some((None, "3 rows differ".to_owned()));
        let again = record("Übertrag", Some(run(outcome, remark)), &[]);
        commit(&store, vec![StateWrite::PutSchedule(again.clone())]).await;
        let expected = StateReply::Schedule(vec![records[0].clone(), again]);
        assert_eq!(read(&store, StateRead::Schedule).await, expected);
    }
    let remove = StateWrite::RemoveSchedule(name("Übertrag"));
    commit(&store, vec![remove.clone(), remove]).await;
    assert_eq!(read(&store, StateRead::Schedule).await, StateReply::Schedule(vec![records[0].clone()]));
}
