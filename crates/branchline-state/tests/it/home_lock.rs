//! The lock of a home, against another process: this test program, started again.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use branchline_core::ports::StateError;
use branchline_state::lock;

/// Names the home to the other process.
const HOME_VARIABLE: &str = "BRANCHLINE_TEST_LOCKED_HOME";

/// Not a claim: what the other process does. It holds the lock until its input ends.
#[test]
fn hold_the_lock_as_another_process() {
    let Some(home) = std::env::var_os(HOME_VARIABLE) else { return };
    let held = lock(Path::new(&home)).unwrap();
    println!("\nholding");
    let _ = std::io::stdin().lines().count();
    drop(held);
}

fn other_process(home: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "home_lock::hold_the_lock_as_another_process", "--nocapture"])
        .env(HOME_VARIABLE, home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "holding"), "the other process did not get the lock");
    child
}

#[test]
fn two_processes_cannot_hold_one_home() {
    let home = tempfile::tempdir().unwrap();
    let mut other = other_process(home.path());
    let Err(StateError::Locked { folder }) = lock(home.path()) else { panic!("both hold the lock") };
    assert!(folder.starts_with(home.path().to_str().unwrap()), "{folder}");
    if cfg!(unix) {
        assert!(folder.ends_with(&format!("(process {})", other.id())), "{folder}");
    }
    // Killed, not asked: its lock goes with it all the same.
    other.kill().unwrap();
    other.wait().unwrap();
    lock(home.path()).unwrap();
}

#[test]
fn a_lock_is_held_once_in_one_process_and_released_on_drop() {
    let home = tempfile::tempdir().unwrap();
    let held = lock(home.path()).unwrap();
    assert!(matches!(lock(home.path()), Err(StateError::Locked { .. })));
    drop(held);
    lock(home.path()).unwrap();
}

#[test]
fn a_lock_file_left_behind_locks_nothing() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("home.lock"), "1\n").unwrap();
    lock(home.path()).unwrap();
}
