//! Capture by the command line: what each verb says, and that only changes travel afterwards.

use super::binary::Place;

#[test]
fn a_store_is_attached_sends_its_changes_and_is_detached() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 0);
    place.server("STORE-001", 20);
    let hq = place.serve("CENTRAL-HQ");
    place.pair("CENTRAL-HQ", "STORE-001", &hq.address);
    let (code, refused) = place.json("STORE-001", &["sync", "--type", "incremental"]);
    assert_eq!((code, &refused["error"]["code"]), (1, &"BL-E0422".into()), "{refused}");
    assert_eq!(place.json("STORE-001", &["held", "list"]).1["error"]["code"], "BL-E0422");
    let status = place.run("STORE-001", &["status"]);
    assert!(status.stdout.contains("no: every sync sends all rows (branchline attach)"), "{status:?}");
    for home in ["CENTRAL-HQ", "STORE-001"] {
        let (code, attached) = place.json(home, &["attach"]);
        assert_eq!((code, &attached["schema"]), (0, &"branchline.attach/1".into()), "{attached}");
        assert_eq!((&attached["data"]["epoch"], &attached["data"]["captured"]), (&1.into(), &1.into()));
    }
    let again = place.run("STORE-001", &["attach"]);
    assert!(again.stdout.starts_with("1 table is captured for STORE-001 (epoch 1).\n"), "{again:?}");
    let (_, tables) = place.json("STORE-001", &["tables"]);
    assert_eq!(
        (&tables["data"]["attached"], &tables["data"]["tables"][0]["captured"]),
        (&true.into(), &true.into())
    );
    let first = place.run("STORE-001", &["sync"]);
    assert!(first.stdout.contains("delivered: 20 rows"), "{first:?}");
    let (code, nothing) = place.json("STORE-001", &["sync"]);
    assert_eq!((code, &nothing["data"]["peers"][0]["state"]), (0, &"in_step".into()), "{nothing}");
    let said = place.run("STORE-001", &["sync"]);
    assert!(said.stdout.starts_with("CENTRAL-HQ  in step: there is nothing new for it\n"), "{said:?}");
    place.execute("STORE-001", "DELETE FROM item WHERE id = 1");
    let planned = place.run("STORE-001", &["sync", "--dry-run"]);
    assert!(
        planned.stdout.contains("would get what it lacks; 1 change waits here to be packed"),
        "{planned:?}"
    );
    let (_, status) = place.json("STORE-001", &["status"]);
    assert_eq!(status["data"]["capture"]["pending"], 1, "{status}");
    let acknowledged = &status["data"]["peers"][0]["acknowledged"];
    assert_eq!(
        (&acknowledged["needs_full"], &acknowledged["waiting_changes"]),
        (&false.into(), &1.into()),
        "{status}"
    );
    let changes = place.run("STORE-001", &["sync", "--type", "incremental"]);
    assert!(changes.stdout.contains("delivered: changes, 1 row"), "{changes:?}");
    assert!(changes.stdout.contains("  there: 0 new, 0 changed, 0 equal, 1 removed\n"), "{changes:?}");
    let status = place.run("STORE-001", &["status"]);
    assert!(status.stdout.contains("CENTRAL-HQ: in step up to generation 1, nothing waits\n"), "{status:?}");
    let held = place.run("CENTRAL-HQ", &["held", "list"]);
    assert!(held.stdout.starts_with("No row is held.\n"), "{held:?}");
    assert_eq!(place.run("STORE-001", &["detach"]).code, 2);
    let detached = place.run("STORE-001", &["detach", "--yes"]);
    assert_eq!(detached.code, 0, "{detached:?}");
    let (_, status) = place.json("STORE-001", &["status"]);
    assert_eq!(status["data"]["capture"], serde_json::Value::Null);
}

#[test]
fn a_peer_is_told_to_get_what_others_made_by_grant_and_by_invitation() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 0);
    place.server("STORE-001", 0);
    let hq = place.serve("CENTRAL-HQ");
    let (_, invited) = place.json("CENTRAL-HQ", &["invite", "--address", &hq.address, "--relay"]);
    let line = invited["data"]["invitation"].as_str().unwrap();
    assert_eq!(place.run("STORE-001", &["join", line]).code, 0);
    let relay = || place.json("CENTRAL-HQ", &["peers", "show", "STORE-001"]).1["data"]["relay"].clone();
    assert_eq!(relay(), true);
    let granted = place.run("CENTRAL-HQ", &["peers", "grant", "STORE-001", "--relay", "no"]);
    assert!(granted.stdout.contains("what others made is not passed on to it\n"), "{granted:?}");
    assert_eq!(relay(), false);
}
