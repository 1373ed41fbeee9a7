//! The schedule: runs begin by themselves, missed ones are caught up once, and what is owed is made up for.
//!
//! The clock of the schedule is set ahead, so that the evening comes within a moment.

use std::time::Duration;

use branchline::api::v1::{Answer, Command, ScheduleAnswer, ScheduleEntryAnswer, ScheduleRunAnswer};
use branchline::node::clock::{self, Clock};
use branchline_core::code::Code;
use branchline_testkit::database::Engine;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan, Zoned};

use crate::world::{Home, Server, Shop, ended, eventually, introduce};

/// An evening run to headquarters, in a zone without a clock change.
fn evenings(kind: &str) -> String {
    format!("[[schedule]]\nname = \"evening\"\nkind = \"{kind}\"\nat = \"22:30\"\npeers = [\"CENTRAL-HQ\"]\n")
}

/// A store with that schedule and a stocked shop, and an empty head office.
async fn store_and_headquarters(schedule: &str) -> (Server, Server) {
    let shop = Shop::stocked(Engine::Sqlite).await;
    let home = Home::make("STORE-001", &shop.url);
    home.add_settings(schedule);
    let zone = [("BRANCHLINE_SERVER__TIME_ZONE", "UTC")];
    let store = Server::start_with(home, shop, &zone, |spool| spool).await;
    let headquarters = Server::start("CENTRAL-HQ", Shop::empty(Engine::Sqlite).await).await;
    introduce(&store, &headquarters).await;
    (store, headquarters)
}

async fn restart(store: &mut Server) {
    store.restart_with(&[("BRANCHLINE_SERVER__TIME_ZONE", "UTC")], |spool| spool).await;
}

/// A clock that shows `time` some days from today, a moment before.
fn just_before(days: i64, time: &str) -> Clock {
    let now = clock::now();
    let today: Zoned = now.to_zoned(TimeZone::UTC);
    let time: jiff::civil::Time = time.parse().unwrap();
    let moment = today.with().time(time).build().unwrap().checked_add(days.days()).unwrap();
    Clock::ahead_by(moment.timestamp().duration_since(now) - SignedDuration::from_millis(300))
}

/// Lets the evening of tomorrow come. That there is an entry is remembered before: so its run is caught up where a busy
/// machine lets the moment pass.
async fn evening_comes(store: &mut Server) {
    entry_is_remembered(store, 1).await;
    restart(store).await;
    store.works_by_itself(just_before(1, "22:30"));
}

/// Lets the server see its entries for the first time, on the afternoon of that day.
async fn entry_is_remembered(store: &Server, days: i64) {
    store.works_by_itself(just_before(days, "16:00"));
    eventually("what is remembered", async || {
        let state = rusqlite::Connection::open(store.home.path().join("state.db")).unwrap();
        let count: i64 = state.query_row("SELECT count(*) FROM schedule", [], |row| row.get(0)).unwrap();
        (count > 0).then_some(())
    })
    .await;
}

/// `22:30` of the day that is so many days from today, as answers write it.
fn evening_of(days: i64) -> String {
    let today: Zoned = clock::now().to_zoned(TimeZone::UTC);
    today.checked_add(days.days()).unwrap().strftime("%Y-%m-%dT22:30:00+00:00").to_string()
}

async fn schedule_of(server: &Server) -> ScheduleAnswer {
    match server.ask(Command::ScheduleList).await {
        Ok(Answer::Schedule(schedule)) => schedule,
        other => panic!("{other:?}"),
    }
}

async fn entry_of(server: &Server, name: &str) -> ScheduleEntryAnswer {
    let entries = schedule_of(server).await.entries;
    entries.into_iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("{name}"))
}

/// Waits until an entry has run, for a time that is so.
async fn ran(server: &Server, name: &str, is: impl Fn(&ScheduleRunAnswer) -> bool) -> ScheduleRunAnswer {
    eventually(name, async || entry_of(server, name).await.last_run.filter(|last| is(last))).await
}

async fn backups_applied(server: &Server) -> usize {
    match server.ask(Command::BackupsList).await {
        Ok(Answer::Backups(backups)) => backups.settled.len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduled_sync_runs_by_itself() {
    let (mut store, headquarters) = store_and_headquarters(&evenings("full")).await;
    assert_eq!(entry_of(&store, "evening").await.last_run, None);
    evening_comes(&mut store).await;
    let last = ran(&store, "evening", |_| true).await;
    assert_eq!((last.outcome.as_str(), &last.remark), ("done", &None));
    assert_eq!(last.due.local, evening_of(1));
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
    let listed = schedule_of(&store).await;
    assert_eq!((listed.time_zone.as_deref(), listed.serving), (Some("UTC"), true));
    let entry = &listed.entries[0];
    assert_eq!(entry.words, "every day at 22:30, a full backup to CENTRAL-HQ");
    assert_eq!((entry.next_runs.len(), &entry.due, &entry.problem), (5, &None, &None));
    assert!(entry.next_runs.iter().all(|run| run.local.ends_with("T22:30:00+00:00")), "{entry:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missed_run_is_caught_up_once_after_start() {
    let later = "[[schedule]]\nname = \"later\"\nkind = \"compare\"\nat = \"22:00\"\n";
    let (mut store, headquarters) = store_and_headquarters(&(evenings("full") + later)).await;
    entry_is_remembered(&store, 0).await;
    // It is off for four evenings.
    restart(&mut store).await;
    assert_eq!(backups_applied(&headquarters).await, 0);
    store.works_by_itself(just_before(4, "08:00"));
    let caught_up = ran(&store, "evening", |_| true).await;
    assert_eq!((caught_up.outcome.as_str(), &caught_up.due.local), ("done", &evening_of(3)));
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
    // The next start catches nothing up again: when it is 22:00, no other backup was made.
    restart(&mut store).await;
    store.works_by_itself(just_before(4, "22:00"));
    let at_ten = evening_of(4).replace("T22:30", "T22:00");
    let later = ran(&store, "later", |last| last.due.local == at_ten).await;
    assert_eq!(later.outcome, "done");
    assert_eq!(entry_of(&store, "evening").await.last_run, Some(caught_up));
    assert_eq!(backups_applied(&headquarters).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_finds_an_older_backup_in_its_way_is_made_up_for() {
    let (mut store, mut headquarters) = store_and_headquarters(&evenings("full")).await;
    headquarters.stop().await;
    ended(&store.sync().await, "waiting", Code::UNREACHABLE);
    store.shop.execute("INSERT INTO products (id, sku, price) VALUES (4, 'C-1', '9.99')").await;
    evening_comes(&mut store).await;
    let last = ran(&store, "evening", |_| true).await;
    assert_eq!(last.outcome, "waiting");
    assert_eq!(entry_of(&store, "evening").await.owed, ["CENTRAL-HQ"]);
    headquarters.restart().await;
    let made_up = ran(&store, "evening", |last| last.outcome == "done").await;
    assert_eq!(made_up.due, last.due);
    assert!(entry_of(&store, "evening").await.owed.is_empty());
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
    assert_eq!(backups_applied(&headquarters).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_its_database_is_tried_again_until_it_is_back() {
    let (mut store, headquarters) = store_and_headquarters(&evenings("full")).await;
    let path = store.shop.url.strip_prefix("sqlite:").unwrap().to_owned();
    let away = format!("{path}.away");
    store.stop().await;
    std::fs::rename(&path, &away).unwrap();
    restart(&mut store).await;
    evening_comes(&mut store).await;
    let failed = ran(&store, "evening", |_| true).await;
    assert_eq!(
        (failed.outcome.as_str(), failed.code),
        ("failed", Some(Code::DATABASE_UNREACHABLE.to_string()))
    );
    assert_eq!(entry_of(&store, "evening").await.owed, ["CENTRAL-HQ"]);
    std::fs::rename(&away, &path).unwrap();
    let done = ran(&store, "evening", |last| last.outcome == "done").await;
    assert_eq!(done.due, failed.due);
    assert_eq!(headquarters.shop.hashes().await, store.shop.hashes().await);
}

/// Every row would be sent in place of what changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_are_not_captured_are_not_sent_by_schedule() {
    let (mut store, headquarters) = store_and_headquarters(&evenings("incremental")).await;
    evening_comes(&mut store).await;
    let failed = ran(&store, "evening", |_| true).await;
    assert_eq!((failed.outcome.as_str(), failed.code), ("failed", Some(Code::NOT_ATTACHED.to_string())));
    assert!(entry_of(&store, "evening").await.owed.is_empty());
    assert_eq!(backups_applied(&headquarters).await, 0);
}

/// Also where the run is caught up days later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daily_run_closes_the_day_that_it_was_due_for() {
    let (mut store, headquarters) = store_and_headquarters(&evenings("daily_transactions")).await;
    store.ask(Command::Attach { new_life: false }).await.unwrap();
    headquarters.ask(Command::Attach { new_life: false }).await.unwrap();
    entry_is_remembered(&store, 0).await;
    restart(&mut store).await;
    store.works_by_itself(just_before(3, "08:00"));
    let last = ran(&store, "evening", |_| true).await;
    assert_eq!((last.outcome.as_str(), &last.due.local), ("done", &evening_of(2)));
    let Ok(Answer::Days(closed)) = headquarters.ask(Command::Days { day: None }).await else { panic!() };
    let days: Vec<(&str, &str)> =
        closed.days.iter().map(|day| (day.store.as_str(), day.date.as_str())).collect();
    assert_eq!(days, [("STORE-001", &evening_of(2)[..10])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduled_comparison_counts_what_differs_and_status_says_so() {
    let (mut store, headquarters) = store_and_headquarters(&evenings("compare")).await;
    evening_comes(&mut store).await;
    let last = ran(&store, "evening", |_| true).await;
    assert_eq!((last.outcome.as_str(), last.code), ("differs", Some(Code::ROWS_DIFFER.to_string())));
    assert_eq!(last.remark.as_deref(), Some("CENTRAL-HQ: 0 rows are missing here, 10 there, and 0 differ"));
    let Ok(Answer::Status(status)) = store.ask(Command::Status).await else { panic!() };
    let warning =
        status.warnings.iter().find(|warning| warning.code == Code::ROWS_DIFFER.to_string()).unwrap();
    assert!(warning.message.starts_with("scheduled \"evening\" differs: CENTRAL-HQ: "), "{warning:?}");
    assert_eq!(backups_applied(&headquarters).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_says_where_changes_are_not_captured_and_whom_it_does_not_know() {
    let live = "[[schedule]]\nname = \"live\"\nkind = \"live\"\n";
    let nobody =
        "[[schedule]]\nname = \"nobody\"\nkind = \"full\"\nat = \"22:30\"\npeers = [\"STORE-009\"]\n";
    let (mut store, _headquarters) = store_and_headquarters(&format!("{live}{nobody}")).await;
    evening_comes(&mut store).await;
    let problem = eventually("why live does nothing", async || entry_of(&store, "live").await.problem).await;
    assert_eq!((problem.name.as_str(), problem.help.as_str()), ("NOT_ATTACHED", "branchline attach"));
    let last = ran(&store, "nobody", |_| true).await;
    assert_eq!(last.outcome, "nobody");
    let Ok(Answer::Status(status)) = store.ask(Command::Status).await else { panic!() };
    let said: Vec<&str> = status.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "scheduled \"live\" cannot do its work: changes are not captured in this database",
            "scheduled \"nobody\" cannot do its work: no peer is called STORE-009",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_time_keeps_nobody_from_stopping() {
    let live = "[[schedule]]\nname = \"live\"\nkind = \"live\"\n";
    let (mut store, mut headquarters) = store_and_headquarters(&(evenings("full") + live)).await;
    headquarters.stop().await;
    ended(&store.sync().await, "waiting", Code::UNREACHABLE);
    store.works_by_itself(Clock::default());
    let stopped = tokio::time::timeout(Duration::from_secs(5), store.stop()).await;
    assert!(stopped.is_ok(), "it waited for what is not due");
}
