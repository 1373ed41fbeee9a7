//! The daily path with two and three servers, by the command line alone; and the exit codes that scripts rely on.

use super::binary::Place;

#[test]
fn a_store_joins_syncs_and_proves_that_both_are_equal() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 3);
    place.server("STORE-001", 1_000);
    let empty = place.run("STORE-001", &["peers", "list"]);
    assert!(empty.stdout.starts_with("No peers yet. On one server run  branchline invite "), "{empty:?}");
    let hq = place.serve("CENTRAL-HQ");
    place.pair("CENTRAL-HQ", "STORE-001", &hq.address);
    let (code, differ) = place.json("STORE-001", &["compare", "CENTRAL-HQ"]);
    assert_eq!((code, &differ["ok"], &differ["error"]), (3, &false.into(), &serde_json::Value::Null));
    assert_eq!(differ["data"]["missing_there"], 997);
    let (code, planned) = place.json("STORE-001", &["sync", "--dry-run"]);
    assert_eq!((code, &planned["data"]["peers"][0]["state"]), (0, &"planned".into()));
    let (code, synced) = place.json("STORE-001", &["sync", "CENTRAL-HQ", "--type", "full"]);
    assert_eq!((code, &synced["ok"], &synced["schema"]), (0, &true.into(), &"branchline.sync/1".into()));
    assert_eq!(synced["data"]["peers"][0]["receipt"]["inserted"], 997);
    let compared = place.run("STORE-001", &["compare", "CENTRAL-HQ"]);
    assert_eq!(compared.code, 0, "{compared:?}");
    assert!(
        compared.stdout.contains("\nEqual: 1,000 rows here and at CENTRAL-HQ, compared in "),
        "{compared:?}"
    );
    let again = place.run("STORE-001", &["sync"]);
    assert!(again.stdout.contains("  there: 0 new, 0 changed, 1,000 equal, 0 removed\n"), "{again:?}");
    assert!(
        again.stdout.ends_with("next: branchline compare CENTRAL-HQ   # proves that both are equal\n"),
        "{again:?}"
    );
    let pinged = place.run("STORE-001", &["peers", "ping", "CENTRAL-HQ"]);
    assert!(pinged.stdout.contains(&hq.address), "{pinged:?}");
}

#[test]
fn the_exit_code_of_sync_tells_all_some_and_none_apart() {
    let place = Place::new();
    for id in ["CENTRAL-HQ", "SECOND-HQ", "STORE-001"] {
        place.server(id, 10);
    }
    let (first, second) = (place.serve("CENTRAL-HQ"), place.serve("SECOND-HQ"));
    place.pair("CENTRAL-HQ", "STORE-001", &first.address);
    place.pair("SECOND-HQ", "STORE-001", &second.address);
    assert_eq!(place.json("STORE-001", &["sync"]).0, 0);
    drop(second);
    let (code, some) = place.json("STORE-001", &["sync"]);
    assert_eq!((code, &some["ok"]), (3, &false.into()), "{some}");
    assert_eq!(some["data"]["peers"][0]["state"], "delivered");
    assert_eq!(some["data"]["peers"][1]["state"], "waiting");
    assert_eq!(some["error"]["code"], "BL-E0306");
    drop(first);
    let none = place.run("STORE-001", &["sync"]);
    assert_eq!(none.code, 5, "{none:?}");
    assert!(none.stdout.contains("is safe in the outbox"), "{none:?}");
    let status = place.run("STORE-001", &["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert!(status.stdout.contains("Waiting to be sent, safe on this disk:"), "{status:?}");
    assert!(status.stdout.lines().all(|line| line.chars().count() <= 110), "{status:?}");
}

#[test]
fn what_cannot_be_taken_back_asks_first() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 1);
    place.server("STORE-001", 1);
    let hq = place.serve("CENTRAL-HQ");
    place.pair("CENTRAL-HQ", "STORE-001", &hq.address);
    for arguments in [
        &["peers", "remove", "CENTRAL-HQ"][..],
        &["sync", "--mirror"],
        &["backups", "import", "x", "--mirror"],
    ] {
        let ran = place.run("STORE-001", arguments);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("\n  help: add --yes\n"), "{ran:?}");
    }
    let shown = place.run("STORE-001", &["peers", "show", "CENTRAL-HQ"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let removed = place.run("STORE-001", &["peers", "remove", "CENTRAL-HQ", "--yes"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert!(removed.stdout.contains("next: branchline peers add CENTRAL-HQ "), "{removed:?}");
    let (code, gone) = place.json("STORE-001", &["peers", "show", "CENTRAL-HQ"]);
    assert_eq!((code, &gone["error"]["code"]), (1, &"BL-E0303".into()));
}

#[test]
fn a_mirror_says_how_many_rows_go_before_they_do() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 10);
    place.server("STORE-001", 7);
    let hq = place.serve("CENTRAL-HQ");
    place.pair("CENTRAL-HQ", "STORE-001", &hq.address);
    let (code, refused) = place.json("STORE-001", &["sync", "--mirror", "--yes"]);
    assert_eq!((code, &refused["error"]["code"]), (1, &"BL-E0320".into()), "{refused}");
    let granted = place.run("CENTRAL-HQ", &["peers", "grant", "STORE-001", "--mirror", "yes"]);
    assert_eq!(granted.code, 0, "{granted:?}");
    let mirrored = place.run("STORE-001", &["sync", "--mirror", "--yes"]);
    assert_eq!(mirrored.code, 0, "{mirrored:?}");
    let said = "CENTRAL-HQ will remove 3 rows that are not in this database.\n";
    assert!(mirrored.stderr.contains(said), "{mirrored:?}");
    assert!(mirrored.stdout.contains("0 new, 0 changed, 7 equal, 3 removed"), "{mirrored:?}");
    assert_eq!(place.run("STORE-001", &["compare", "CENTRAL-HQ"]).code, 0);
}

#[test]
fn a_backup_goes_by_file_and_its_receipt_comes_back() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 1);
    place.server("STORE-001", 20);
    let key_of = |home: &str| place.json(home, &["id"]).1["data"]["key_id"].as_str().unwrap().to_owned();
    for (home, peer) in [("CENTRAL-HQ", "STORE-001"), ("STORE-001", "CENTRAL-HQ")] {
        assert_eq!(place.run(home, &["peers", "add", peer, &key_of(peer)]).code, 0);
    }
    let (_, exported) = place.json("STORE-001", &["backups", "export", "CENTRAL-HQ"]);
    let file = exported["data"]["path"].as_str().unwrap();
    let rehearsed = place.run("CENTRAL-HQ", &["backups", "import", file, "--dry-run"]);
    assert_eq!(rehearsed.code, 0, "{rehearsed:?}");
    assert!(
        rehearsed.stdout.contains("It would be applied: 19 new, 0 changed, 1 equal, 0 removed"),
        "{rehearsed:?}"
    );
    let (code, imported) = place.json("CENTRAL-HQ", &["backups", "import", file]);
    assert_eq!(code, 0, "{imported}");
    assert_eq!(imported["data"]["receipt"]["inserted"], 19);
    let waiting =
        |place: &Place| place.json("STORE-001", &["status"]).1["data"]["outbox"].as_array().unwrap().len();
    assert_eq!(waiting(&place), 1);
    let receipt = imported["data"]["receipt_path"].as_str().unwrap();
    let taken = place.run("STORE-001", &["backups", "import", receipt]);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert!(taken.stdout.starts_with("The receipt of CENTRAL-HQ for backup "), "{taken:?}");
    assert_eq!(waiting(&place), 0);
    let listed = place.run("STORE-001", &["backups", "list"]);
    assert!(listed.stdout.contains(exported["data"]["backup"].as_str().unwrap()), "{listed:?}");
}
