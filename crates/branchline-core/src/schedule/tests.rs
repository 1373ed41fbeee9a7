//! Tests of entries as a whole: their times across daylight saving, catching up, and their words.

use super::*;

/// Central Europe without a database of zones: the clock jumps from 02:00 to 03:00 on the last Sunday of March, and
/// from 03:00 back to 02:00 on the last Sunday of October. In 2026 these are 29 March and 25 October.
fn europe() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn cadence(text: &str) -> Cadence {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn entry(kind: ScheduleKind, at: Option<&str>, peers: &[&str]) -> ScheduleEntry {
    let peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
    ScheduleEntry::new("an entry".parse().unwrap(), kind, at.map(cadence), peers).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next times after a moment, as the clock on the wall shows them with its offset.
fn next(text: &str, after: &str, count: usize) -> Vec<String> {
    let runs = entry(ScheduleKind::Full, Some(text), &[]).next_runs(at(after), &europe(), count);
    runs.iter().map(|time| time.strftime("%m-%d %H:%M%:z").to_string()).collect()
}

#[test]
fn the_next_runs_are_those_of_the_clock_on_the_wall() {
    let evenings = ["11-27 22:30+01:00", "11-28 22:30+01:00", "11-29 22:30+01:00"];
    for text in ["22:30", "every day at 22:30", "30 22 * * *"] {
        assert_eq!(next(text, "2026-11-27T21:29:59.9Z", 3), evenings, "{text}");
        // A time that has just come is not the next one.
        assert_eq!(next(text, "2026-11-26T21:30:00Z", 3), evenings, "{text}");
        assert_eq!(next(text, "2026-11-26T21:30:00.5Z", 3), evenings, "{text}");
    }
    // In summer the same time is an hour earlier in the world.
    assert_eq!(next("22:30", "2026-07-01T20:00:00Z", 1), ["07-01 22:30+02:00"]);
    assert_eq!(
        next("Monday to Saturday at 9:00, 22:30", "2026-11-27T12:00:00Z", 4),
        ["11-27 22:30+01:00", "11-28 09:00+01:00", "11-28 22:30+01:00", "11-30 09:00+01:00"]
    );
    assert_eq!(next("0 3 1 * *", "2026-11-27T12:00:00Z", 2), ["12-01 03:00+01:00", "01-01 03:00+01:00"]);
    assert!(
        entry(ScheduleKind::Live, None, &[]).next_runs(at("2026-11-27T12:00:00Z"), &europe(), 5).is_empty()
    );
}

#[test]
fn a_time_that_the_clock_skips_is_run_once_right_after_the_skip() {
    for text in ["2:30", "30 2 * * *", "2:30, 14:30", "30 2,14 * * *"] {
        let runs = next(text, "2026-03-27T12:00:00Z", 6);
        let night: Vec<&String> = runs.iter().filter(|run| !run.contains("14:30")).collect();
        assert_eq!(night[..2], ["03-28 02:30+01:00", "03-29 03:00+02:00"], "{text}");
        assert!(night[2..].iter().all(|run| run.ends_with("02:30+02:00")), "{text}: {night:?}");
    }
}

#[test]
fn a_time_that_comes_twice_is_run_once() {
    for text in ["2:30", "30 2 * * *", "2:30, 14:30", "30 2,14 * * *"] {
        let runs = next(text, "2026-10-24T12:00:00Z", 5);
        let night: Vec<&String> = runs.iter().filter(|run| !run.contains("14:30")).collect();
        assert_eq!(night[..2], ["10-25 02:30+02:00", "10-26 02:30+01:00"], "{text}");
    }
    // Also where the server looks between the two, and after both.
    for (now, served) in
        [("2026-10-25T00:45:00Z", "2026-10-25T00:30:00Z"), ("2026-10-25T01:45:00Z", "2026-10-25T00:30:05Z")]
    {
        assert_eq!(cadence("2:30").due(at(served), at(now), &europe()), None, "{now}");
    }
}

#[test]
fn an_interval_goes_through_both_changes_without_a_break() {
    for (text, after) in
        [("every 15 minutes", "2026-03-29T00:20:00Z"), ("*/15 * * * *", "2026-10-24T23:20:00Z")]
    {
        let runs = entry(ScheduleKind::Incremental, Some(text), &[]).next_runs(at(after), &europe(), 16);
        let times: Vec<Timestamp> = runs.iter().map(Zoned::timestamp).collect();
        for pair in times.windows(2) {
            assert_eq!(pair[1].as_second() - pair[0].as_second(), 900, "{text}: {runs:?}");
        }
    }
}

#[test]
fn missed_times_are_caught_up_by_one_run() {
    let zone = europe();
    let evening = cadence("22:30");
    let served = at("2026-11-20T21:30:00Z");
    // Nothing was missed yet.
    assert_eq!(evening.due(served, at("2026-11-21T21:29:59Z"), &zone), None);
    // It is time.
    assert_eq!(evening.due(served, at("2026-11-21T21:30:00Z"), &zone), Some(at("2026-11-21T21:30:00Z")));
    // A week was missed: the last of its times is served, and with it all.
    let (monday, due) = (at("2026-11-30T07:00:00Z"), at("2026-11-29T21:30:00Z"));
    assert_eq!(evening.due(served, monday, &zone), Some(due));
    assert_eq!(evening.due(monday, monday, &zone), None);
    assert_eq!(evening.due(due, monday, &zone), None);
    // Of several times of day as well.
    let twice = cadence("13:00, 22:30");
    assert_eq!(twice.due(served, at("2026-11-21T13:00:00Z"), &zone), Some(at("2026-11-21T12:00:00Z")));
}

#[test]
fn a_time_missed_in_the_night_of_a_change_is_caught_up_once() {
    let zone = europe();
    for (before, due, morning) in [
        ("2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T06:00:00Z"),
        ("2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T07:00:00Z"),
    ] {
        assert_eq!(cadence("2:30").due(at(before), at(morning), &zone), Some(at(due)));
        assert_eq!(cadence("2:30").due(at(morning), at(morning), &zone), None);
    }
}

/// What is remembered from a moment on.
fn renewed(known: Option<&ScheduleRecord>, text: &str, now: &str) -> Option<ScheduleRecord> {
    ScheduleRecord::renewed(known, &entry(ScheduleKind::Full, Some(text), &[]), at(now))
}

#[test]
fn an_entry_that_is_new_or_another_one_has_missed_nothing() {
    let first = renewed(None, "22:30", "2026-11-27T12:00:00Z").unwrap();
    assert_eq!((first.served_until, &first.last), (at("2026-11-27T12:00:00Z"), &None));
    let run = ScheduleRun {
        due_at: at("2026-11-27T21:30:00Z"),
        started_at: at("2026-11-27T21:30:01Z"),
        ended_at: at("2026-11-27T21:30:02Z"),
        outcome: RunOutcome::Done,
        remark: None,
    };
    let known = ScheduleRecord { served_until: at("2026-11-27T21:30:01Z"), last: Some(run), ..first };
    assert_eq!(renewed(Some(&known), "22:30", "2026-12-24T12:00:00Z"), None);
    // At 3:00 of this day it was not an entry of 3:00 yet.
    let other = renewed(Some(&known), "3:00", "2026-12-24T12:00:00Z").unwrap();
    assert_eq!((other.served_until, &other.last), (at("2026-12-24T12:00:00Z"), &None));
}

#[test]
fn a_clock_that_was_far_ahead_keeps_nothing_waiting_and_one_set_back_runs_nothing_twice() {
    let record = |served_until| ScheduleRecord {
        served_until: at(served_until),
        ..renewed(None, "22:30", "2026-11-27T12:00:00Z").unwrap()
    };
    let again = renewed(Some(&record("2036-01-01T00:00:00Z")), "22:30", "2026-11-27T12:00:00Z").unwrap();
    assert_eq!(again.served_until, at("2026-11-27T12:00:00Z"));
    assert_eq!(renewed(Some(&record("2026-11-27T21:30:00Z")), "22:30", "2026-11-27T21:29:00Z"), None);
    assert_eq!(cadence("22:30").due(at("2026-11-27T21:30:00Z"), at("2026-11-27T21:30:00Z"), &europe()), None);
}

#[test]
fn an_entry_is_told_in_words() {
    for (text, words) in [
        ("22:30", "every day at 22:30"),
        ("30 22 * * *", "every day at 22:30"),
        ("0 9,13,22 * * *", "every day at 09:00, 13:00 and 22:00"),
        ("0 22 * * 1-6", "Monday to Saturday at 22:00"),
        ("0 22 * * MON-FRI", "Monday to Friday at 22:00"),
        ("fri-mon 7:05", "Friday to Monday at 07:05"),
        ("sunday 3:00", "every Sunday at 03:00"),
        ("30 3 * * 0,3,7", "every Wednesday and Sunday at 03:30"),
        ("Mon, Wed and Fri at 7:00", "every Monday, Wednesday and Friday at 07:00"),
        ("sun-sat 7:00", "every day at 07:00"),
        ("every minute", "every minute"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("every 60 minutes", "every hour"),
        ("0 * * * *", "every hour"),
        ("0 */2 * * *", "every 2 hours"),
        ("30 22 L * *", "at 22:30, on the last day of the month"),
        ("0 3 * * 5#L", "at 03:00, on the last Friday of the month"),
        (
            "*/15 9-17 * * 1-5",
            "every 15 minutes, of hour 9-17, on Monday, Tuesday, Wednesday, Thursday, and Friday",
        ),
    ] {
        assert_eq!(cadence(text).words(), words, "{text}");
    }
    let told = |kind, at, peers: &[&str]| entry(kind, at, peers).words();
    assert_eq!(
        told(ScheduleKind::DailyTransactions, Some("22:30"), &["CENTRAL-HQ"]),
        "every day at 22:30, a daily backup to CENTRAL-HQ"
    );
    assert_eq!(
        told(ScheduleKind::Full, Some("sun 3:00"), &[]),
        "every Sunday at 03:00, a full backup to all peers"
    );
    assert_eq!(
        told(ScheduleKind::Compare, Some("sun 4:00"), &["A", "B", "C"]),
        "every Sunday at 04:00, a comparison with A, B and C"
    );
    assert_eq!(
        told(ScheduleKind::Live, None, &["A", "B"]),
        "as soon as something changes, the change to A and B"
    );
}

#[test]
fn words_that_are_told_can_be_written() {
    for text in [
        "Monday to Saturday at 09:00, 13:00 and 22:30",
        "every Wednesday and Sunday at 03:30",
        "every 2 hours",
    ] {
        assert_eq!(cadence(text).words(), text);
    }
}

#[test]
fn what_says_no_times_is_refused_with_the_reason() {
    let said = |text: &str| text.parse::<Cadence>().map(|_| ()).unwrap_err().to_string();
    let unreadable = "it says no times that can be understood";
    for text in [
        "",
        "soon",
        "25:00",
        "22:60",
        "22.30",
        "2230",
        "22:3",
        "monday to 22:30",
        "to friday 22:30",
        "mo 22:30",
    ] {
        assert_eq!(said(text), unreadable, "{text}");
    }
    assert_eq!(said("every monday"), "it does not say at what time of day");
    assert!(said("every 7 minutes").starts_with("an interval of minutes is one of"));
    assert!(said("every 5 hours").starts_with("an interval of hours is one of"));
    assert_eq!(said("0 0 30 2 *"), "the cron expression names a time that never comes");
    for text in ["61 22 * * *", "30 22 * *", "0 30 22 * * *", "30 22 * * mondag", "30 22 * * * 2027 *"] {
        assert!(said(text).starts_with("the cron expression is wrong: "), "{text}: {}", said(text));
    }
    let every_minute_of = |hours: &str| {
        format!("{} {hours} * * *", (0..60).map(|minute| minute.to_string()).collect::<Vec<_>>().join(","))
    };
    assert!(every_minute_of("8,9").parse::<Cadence>().is_ok());
    assert_eq!(said(&every_minute_of("8,9,10")), "it names more than 120 times of day");
}

#[test]
fn an_entry_has_times_unless_it_is_live() {
    let make =
        |kind, at: Option<&str>| ScheduleEntry::new("x".parse().unwrap(), kind, at.map(cadence), Vec::new());
    for kind in ScheduleKind::ALL {
        let live = kind == ScheduleKind::Live;
        assert_eq!(make(kind, Some("22:30")).err(), live.then_some(ScheduleEntryError::TimesForLive));
        assert_eq!(make(kind, None).err(), (!live).then_some(ScheduleEntryError::TimesMissing));
    }
    let definitions = [make(ScheduleKind::Full, Some(" 22:30 ")), make(ScheduleKind::Live, None)];
    assert_eq!(definitions.map(|entry| entry.unwrap().definition()), ["full 22:30", "live"]);
}

#[test]
fn a_name_is_one_line() {
    for wrong in ["", "   ", "a\nb", "\u{1b}[2J", &"x".repeat(65)] {
        assert_eq!(wrong.parse::<ScheduleName>(), Err(ScheduleNameError));
    }
    assert_eq!(" Büroschluss ".parse::<ScheduleName>().unwrap().as_str(), "Büroschluss");
    assert!("x".repeat(64).parse::<ScheduleName>().is_ok());
}
