//! A running `serve`: who does the work, two of them, signals, and what a killed one leaves.

use std::net::TcpListener;
use std::process::Stdio;

use super::binary::{Place, finish, send_signal};

#[test]
fn a_running_serve_answers_what_is_asked() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 1);
    let here = place.json("CENTRAL-HQ", &["status"]).1;
    assert_eq!(here["data"]["serving"], false);
    let serving = place.serve("CENTRAL-HQ");
    let (code, there) = place.json("CENTRAL-HQ", &["status"]);
    assert_eq!((code, &there["data"]["serving"]), (0, &true.into()));
    assert_eq!(there["data"]["listening"], serving.address.as_str());
    // A verb that changes something would not get the lock beside it.
    let (code, invited) = place.json("CENTRAL-HQ", &["invite", "STORE-001", "--address", "127.0.0.1:1"]);
    assert_eq!(code, 0, "{invited}");
    // Problems come through the socket as they are.
    let refused = place.run("CENTRAL-HQ", &["peers", "show", "STORE-009"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.starts_with("Error: BL-E0303  "), "{refused:?}");
    let (code, said) = serving.stop("TERM");
    assert_eq!((code, said.as_str()), (Some(0), "CENTRAL-HQ has stopped.\n"));
    assert!(!place.path("CENTRAL-HQ").join("control.sock").exists());
    assert_eq!(place.json("CENTRAL-HQ", &["status"]).1["data"]["invitations_open"], 1);
}

#[test]
fn two_serves_on_one_folder_are_one_too_many() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 1);
    let first = place.serve("CENTRAL-HQ");
    let second = place.run("CENTRAL-HQ", &["serve"]);
    assert_eq!(second.code, 7, "{second:?}");
    assert!(second.stderr.contains("Error: BL-E0105  "), "{second:?}");
    assert!(second.stderr.contains(&format!("process {}", first.id())), "{second:?}");
    assert_eq!(place.json("CENTRAL-HQ", &["status"]).1["data"]["serving"], true);
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = finish(place.command("CENTRAL-HQ").args(["--json", "serve", "--listen", &address]));
    assert_eq!(ran.code, 1, "{ran:?}");
    let document = ran.json();
    assert_eq!(
        (&document["schema"], &document["error"]["code"]),
        (&"branchline.serve/1".into(), &"BL-E0106".into())
    );
    assert!(document["error"]["message"].as_str().unwrap().contains(&address));
    // It left neither a socket nor a lock.
    assert_eq!(place.json("CENTRAL-HQ", &["status"]).1["data"]["serving"], false);
    drop(place.serve("CENTRAL-HQ"));
}

#[test]
fn what_a_killed_serve_leaves_is_in_nobodys_way() {
    let place = Place::new();
    place.server("CENTRAL-HQ", 1);
    let serving = place.serve("CENTRAL-HQ");
    let (code, _) = serving.stop("KILL");
    assert_eq!(code, None);
    assert!(place.path("CENTRAL-HQ").join("control.sock").exists());
    let (code, status) = place.json("CENTRAL-HQ", &["status"]);
    assert_eq!((code, &status["data"]["serving"]), (0, &false.into()));
    let (code, invited) = place.json("CENTRAL-HQ", &["invite", "--address", "127.0.0.1:1"]);
    assert_eq!(code, 0, "{invited}");
    let (code, _) = place.serve("CENTRAL-HQ").stop("INT");
    assert_eq!(code, Some(0));
}

#[test]
fn a_signal_ends_a_command_with_128_and_its_number() {
    let place = Place::new();
    place.server("STORE-001", 1);
    place.server("CENTRAL-HQ", 1);
    for (signal, exit_code) in [("INT", 130), ("TERM", 143)] {
        // A listener that never says anything keeps the command busy until it gives up.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let (_, invited) = place.json("CENTRAL-HQ", &["invite", "--address", &address]);
        let mut command = place.command("STORE-001");
        command.args(["--json", "join", invited["data"]["invitation"].as_str().unwrap()]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _called = silent.accept().unwrap();
        send_signal(child.id(), signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(exit_code), "{output:?}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["error"]["code"], "BL-E0002");
    }
}

#[test]
fn a_home_with_a_long_path_is_served_too() {
    let place = Place::new();
    let home = "x".repeat(120);
    let database = place.database("shop.db", 1);
    let made =
        place.run(&home, &["init", "--id", "CENTRAL-HQ", "--database", &database, "--listen", "127.0.0.1:0"]);
    assert_eq!(made.code, 0, "{made:?}");
    let serving = place.serve(&home);
    assert_eq!(place.json(&home, &["status"]).1["data"]["serving"], true);
    assert_eq!(serving.stop("TERM").0, Some(0));
}
