//! What goes wrong before anything is done: each has its code, its exit code, its four parts and its JSON, and
//! changes nothing.

use serde_json::Value;

use super::binary::{Place, contents};

/// Runs it both ways and holds both against what is expected.
fn assert_fails(
    place: &Place,
    home: &str,
    arguments: &[&str],
    exit_code: i32,
    code: &str,
    schema: &str,
) -> String {
    let ran = place.run(home, arguments);
    assert_eq!(ran.code, exit_code, "{ran:?}");
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.starts_with(&format!("Error: {code}  ")), "{ran:?}");
    assert!(ran.stderr.contains("\n  help: "), "{ran:?}");
    assert!(!ran.stderr.contains('\u{1b}'), "colour without a terminal: {ran:?}");
    let (json_exit_code, document) = place.json(home, arguments);
    assert_eq!(json_exit_code, exit_code);
    assert_eq!(document["schema"], schema);
    assert_eq!((&document["ok"], &document["data"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(document["error"]["code"], code);
    for text in ["name", "message", "help"] {
        assert!(document["error"][text].as_str().is_some_and(|text| !text.is_empty()), "{document}");
    }
    assert!(document["error"]["retryable"].is_boolean());
    ran.stderr
}

#[test]
fn what_cannot_be_understood_ends_with_2() {
    let place = Place::new();
    for arguments in [
        &["frobnicate"][..],
        &["init", "--id", "A"],
        &["sync", "--typ", "full"],
        &["peers", "grant", "A", "--write", "maybe"],
    ] {
        assert_fails(&place, "home", arguments, 2, "BL-E0101", "branchline.usage/1");
    }
    let said = assert_fails(&place, "home", &["sync", "--typ"], 2, "BL-E0101", "branchline.usage/1");
    assert!(said.contains("'--type'"), "{said}");
    for backup_type in ["everything", "Full"] {
        let arguments = ["sync", "--type", backup_type];
        assert_fails(&place, "home", &arguments, 2, "BL-E0101", "branchline.usage/1");
    }
    assert_fails(&place, "home", &["sync", "--mirror"], 2, "BL-E0101", "branchline.sync/1");
    assert_fails(&place, "home", &["detach"], 2, "BL-E0101", "branchline.detach/1");
    assert_fails(&place, "home", &["attach", "--new-life"], 2, "BL-E0101", "branchline.attach/1");
    assert_fails(&place, "home", &["explain", "BL-E9999"], 2, "BL-E0101", "branchline.explain/1");
    assert!(!place.path("home").exists());
}

#[test]
fn help_and_version_are_no_errors() {
    let place = Place::new();
    for arguments in [&["--help"][..], &["peers", "add", "--help"], &["--version"], &["help", "sync"]] {
        let ran = place.run("home", arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    }
}

#[test]
fn a_folder_without_a_server_is_left_alone() {
    let place = Place::new();
    for (arguments, schema) in [
        (&["status"][..], "branchline.status/1"),
        (&["sync"], "branchline.sync/1"),
        (&["serve"], "branchline.serve/1"),
        (&["config", "check"], "branchline.config.check/1"),
        (&["peers", "pause", "A"], "branchline.peers.pause/1"),
    ] {
        assert_fails(&place, "home", arguments, 2, "BL-E0103", schema);
    }
    assert!(!place.path("home").exists());
}

#[test]
fn init_leaves_a_server_that_is_there_as_it_is() {
    let place = Place::new();
    place.server("STORE-001", 1);
    let before = contents(&place.path("STORE-001"));
    let database = place.database("other.db", 1);
    let again = ["init", "--id", "STORE-002", "--database", &database];
    assert_fails(&place, "STORE-001", &again, 2, "BL-E0104", "branchline.init/1");
    assert_eq!(contents(&place.path("STORE-001")), before);
}

#[test]
fn init_makes_nothing_where_the_database_is_wrong() {
    let place = Place::new();
    std::fs::write(place.path("text.db"), "this is no database at all").unwrap();
    for (url, exit_code, code) in [
        ("mysql://root@db/shop", 2, "BL-E0401"),
        ("sqlite:", 2, "BL-E0401"),
        ("sqlite:missing.db", 1, "BL-E0402"),
        ("sqlite:text.db", 1, "BL-E0402"),
        ("postgresql://till:geheim@127.0.0.1:1/shop", 1, "BL-E0402"),
    ] {
        let arguments = ["init", "--id", "STORE-001", "--database", url];
        let said = assert_fails(&place, "home", &arguments, exit_code, code, "branchline.init/1");
        assert!(!said.contains("geheim"), "{said}");
        assert!(!place.path("home").exists());
    }
    let database = place.database("shop.db", 1);
    for id in ["store-001", "..", "A;DROP", "CON"] {
        let arguments = ["init", "--id", id, "--database", &database];
        assert_fails(&place, "home", &arguments, 2, "BL-E0109", "branchline.init/1");
    }
    assert!(!place.path("home").exists());
}

#[cfg(unix)]
#[test]
fn what_init_makes_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.server("STORE-001", 1);
    for (path, mode) in [("", 0o700), ("keys", 0o700), ("keys/identity.pem", 0o600), ("config.toml", 0o600)] {
        let found =
            std::fs::metadata(place.path("STORE-001").join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path} has {found:o}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.server("STORE-001", 1);
    let key = place.path("STORE-001").join("keys/identity.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = assert_fails(&place, "STORE-001", &["id"], 1, "BL-E0107", "branchline.id/1");
    assert!(said.contains("chmod 600"), "{said}");
}

#[test]
fn config_check_names_three_faults_at_once() {
    let place = Place::new();
    let file = place.path("bad.toml");
    std::fs::write(&file, "[server]\nid = \"store\"\nnmae = \"x\"\n[database]\nurl = \"sqlite:a.db\"\n[listen]\naddress = 8443\n").unwrap();
    let arguments = ["-c", "bad.toml", "config", "check"];
    let said = assert_fails(&place, "home", &arguments, 2, "BL-E0102", "branchline.config.check/1");
    assert_eq!(said.matches('^').count(), "\"store\"".len() + "nmae".len() + "8443".len(), "{said}");
    let expected = format!(
        "  {}:7:11\n    7 | address = 8443\n      |           ^^^^ listen.address: expected text, found a number\n  help: write it in quotes\n",
        file.display()
    );
    assert!(said.contains(&expected), "{said}");
    let (_, document) = place.json("home", &arguments);
    let faults = document["error"]["faults"].as_array().unwrap();
    let keys: Vec<_> = faults
        .iter()
        .map(|fault| (fault["key"].as_str().unwrap(), fault["line"].as_u64().unwrap()))
        .collect();
    assert_eq!(keys, [("server.id", 2), ("server.nmae", 3), ("listen.address", 7)]);
}

#[test]
fn the_environment_sets_what_it_knows_and_refuses_what_it_does_not() {
    let place = Place::new();
    place.server("STORE-001", 1);
    let show = |variable: &str, value: &str| {
        let mut command = place.command("STORE-001");
        super::binary::finish(command.env(variable, value).args(["--json", "config", "show"]))
    };
    let shown = show("BRANCHLINE_LISTEN__ADDRESS", "127.0.0.1:9").json();
    let address =
        shown["data"].as_array().unwrap().iter().find(|setting| setting["key"] == "listen.address").unwrap();
    assert_eq!(address["value"], "127.0.0.1:9");
    assert_eq!(address["origin"], "BRANCHLINE_LISTEN__ADDRESS");
    let refused = show("BRANCHLINE_LISTEN__ADRESS", "127.0.0.1:9");
    assert_eq!(refused.code, 2);
    assert_eq!(refused.json()["error"]["faults"][0]["help"], "did you mean  BRANCHLINE_LISTEN__ADDRESS");
}

#[test]
fn a_mistyped_invitation_is_told_before_anything_is_dialled() {
    let place = Place::new();
    place.server("STORE-001", 1);
    let before = contents(&place.path("STORE-001"));
    let line = "branchline1:127.0.0.1:1/AAAAAAAA";
    for wrong in [line, "branchline2:x", "", "hello"] {
        assert_fails(&place, "STORE-001", &["join", wrong], 2, "BL-E0308", "branchline.join/1");
    }
    assert_eq!(contents(&place.path("STORE-001")), before);
}

#[test]
fn a_damaged_file_is_told_apart_from_a_whole_one() {
    let place = Place::new();
    place.server("STORE-001", 500);
    place.server("CENTRAL-HQ", 0);
    let (_, hq) = place.json("CENTRAL-HQ", &["id"]);
    let added =
        place.run("STORE-001", &["peers", "add", "CENTRAL-HQ", hq["data"]["key_id"].as_str().unwrap()]);
    assert_eq!(added.code, 0, "{added:?}");
    let (code, exported) =
        place.json("STORE-001", &["backups", "export", "CENTRAL-HQ", "--compression", "none"]);
    assert_eq!(code, 0, "{exported}");
    let file = exported["data"]["path"].as_str().unwrap();
    // Another home that is not even there: nothing but the file is needed.
    let (code, verified) = place.json("nobody", &["backups", "verify", file]);
    assert_eq!(code, 0, "{verified}");
    assert_eq!(verified["data"]["rows"], 500);
    assert_eq!(verified["data"]["source"], "STORE-001");
    assert_eq!(verified["data"]["source_key_id"], exported["data"]["source_key_id"]);
    let bytes = std::fs::read(file).unwrap();
    let at =
        |needle: &str| bytes.windows(needle.len()).position(|window| window == needle.as_bytes()).unwrap();
    let cases = [
        ("metadata", Some(at("STORE-001")), bytes.len(), 6, "BL-E0203"),
        ("data", Some(at("item 77\"")), bytes.len(), 6, "BL-E0204"),
        ("signature", Some(bytes.len() - 20), bytes.len(), 6, "BL-E0203"),
        ("end", None, bytes.len() / 2, 1, "BL-E0202"),
        ("nothing", None, 0, 1, "BL-E0202"),
    ];
    for (name, changed, length, exit_code, code) in cases {
        let mut damaged = bytes[..length].to_vec();
        if let Some(changed) = changed {
            damaged[changed] = if damaged[changed] == b'A' { b'B' } else { b'A' };
        }
        std::fs::write(place.path(name), damaged).unwrap();
        assert_fails(
            &place,
            "nobody",
            &["backups", "verify", name],
            exit_code,
            code,
            "branchline.backups.verify/1",
        );
    }
    assert_fails(
        &place,
        "nobody",
        &["backups", "verify", "missing"],
        1,
        "BL-E0110",
        "branchline.backups.verify/1",
    );
    assert!(!place.path("nobody").exists());
}

#[test]
fn every_shell_gets_its_completions() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = place.run("home", &["completions", shell]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("compare"), "{shell}");
        let (_, document) = place.json("home", &["completions", shell]);
        assert_eq!(document["data"]["script"], ran.stdout.as_str());
    }
}
