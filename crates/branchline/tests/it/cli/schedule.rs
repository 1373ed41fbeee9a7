//! `schedule list`, as people and programs see it.

use super::binary::Place;

const SCHEDULE: &str = "
[[schedule]]
name = \"end of day\"
kind = \"daily_transactions\"
at = \"mon-sat 22:30\"
peers = [\"CENTRAL-HQ\"]

[[schedule]]
name = \"as it happens\"
kind = \"live\"
";

fn add(place: &Place, home: &str, text: &str) {
    let file = place.path(home).join("config.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, settings.replace("# time_zone", "time_zone") + text).unwrap();
}

#[test]
fn the_schedule_is_told_in_words_with_its_next_five_runs() {
    let place = Place::new();
    place.server("STORE-001", 1);
    let nothing = place.run("STORE-001", &["schedule", "list"]);
    assert!(nothing.stdout.starts_with("Nothing is scheduled. "), "{nothing:?}");
    add(&place, "STORE-001", SCHEDULE);
    let told = place.run("STORE-001", &["schedule", "list"]);
    assert_eq!(told.code, 0, "{told:?}");
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines[0], "end of day: Monday to Saturday at 22:30, a daily backup to CENTRAL-HQ");
    assert_eq!(lines[1].trim(), "last run  never yet");
    assert!(lines[2].trim().starts_with("next"), "{told:?}");
    for line in &lines[2..7] {
        assert!(line.ends_with(" 22:30") && !line.contains("Sun"), "{line}");
    }
    assert_eq!(lines[7].trim(), "problem   BL-E0303: no peer is called CENTRAL-HQ");
    assert!(told.stdout.contains("\nas it happens: as soon as something changes, the change to all peers\n"));
    assert!(told.stdout.contains("\nTimes are those of Europe/Vienna.\nnext: branchline serve "), "{told:?}");
}

#[test]
fn the_schedule_is_told_to_programs() {
    let place = Place::new();
    place.server("STORE-001", 1);
    add(&place, "STORE-001", SCHEDULE);
    let (code, listed) = place.json("STORE-001", &["schedule", "list"]);
    assert_eq!((code, &listed["schema"]), (0, &"branchline.schedule.list/1".into()));
    let data = &listed["data"];
    assert_eq!((&data["time_zone"], &data["serving"]), (&"Europe/Vienna".into(), &false.into()));
    let [timed, live] = &data["entries"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!((&timed["kind"], &timed["at"]), (&"daily_transactions".into(), &"mon-sat 22:30".into()));
    assert_eq!(timed["words"], "Monday to Saturday at 22:30, a daily backup to CENTRAL-HQ");
    let runs = timed["next_runs"].as_array().unwrap();
    assert_eq!(runs.len(), 5);
    for run in runs {
        let at: jiff::Timestamp = run["at"].as_str().unwrap().parse().unwrap();
        let local: jiff::Timestamp = run["local"].as_str().unwrap().parse().unwrap();
        assert_eq!(at, local);
        assert!(run["local"].as_str().unwrap().contains("T22:30:00+0"), "{run}");
    }
    assert_eq!((&timed["last_run"], &timed["due"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!((&live["at"], &live["next_runs"]), (&serde_json::Value::Null, &serde_json::json!([])));
    // A running serve answers the same, and says that it runs.
    let serving = place.serve("STORE-001");
    let (_, listed) = place.json("STORE-001", &["schedule", "list"]);
    assert_eq!(
        (&listed["data"]["serving"], &listed["data"]["entries"][0]["words"]),
        (&true.into(), &timed["words"])
    );
    assert_eq!(serving.stop("TERM").0, Some(0));
}
