//! Starting other programs, finding them, and where this repository is.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use crate::failure::{Doing, Failure};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the root.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |set| root().join(PathBuf::from(set)))
}

/// The release build of `branchline`, made now, or the binary that `BRANCHLINE_BIN` names.
pub(crate) fn release_binary() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os("BRANCHLINE_BIN") {
        return Ok(root().join(PathBuf::from(named)));
    }
    run(cargo().args(["build", "--release", "-p", "branchline"]))?;
    let name = format!("branchline{}", std::env::consts::EXE_SUFFIX);
    Ok(target_dir().join("release").join(name))
}

/// `cargo`, in the root, the same one that runs us.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Runs to the end with our own stdout and stderr; a non-zero exit is a failure.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = show(command);
    println!("$ {shown}");
    let status = command.status().doing(|| format!("start `{shown}`"))?;
    checked(status, &shown)
}

/// Runs to the end and returns stdout; a non-zero exit is a failure that carries the last lines of stderr.
pub(crate) fn read(command: &mut Command) -> Result<String, Failure> {
    let shown = show(command);
    let output = command.output().doing(|| format!("start `{shown}`"))?;
    if !output.status.success() {
        return Err(Failure::new(format!("`{shown}` ended with {}\n{}", output.status, tail(&output))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last lines of what a program said, for an error message.
pub(crate) fn tail(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&both);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(15);
    lines.iter().skip(from).map(|line| format!("  | {line}\n")).collect()
}

/// Where a program is on the search path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn checked(status: ExitStatus, shown: &str) -> Result<(), Failure> {
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{shown}` ended with {status}"))) }
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_else(|| command.get_program());
    let mut shown = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        shown.push(' ');
        shown.push_str(if argument.contains('\n') { "(script)" } else { &argument });
    }
    shown.chars().take(300).collect()
}
