//! Peers that are no part of the workspace, and programs of the system.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says loudly that a part of a measurement is missing, and why.
pub fn missing(what: &str, why: &str) {
    eprintln!("\n*** SKIPPED: {what}: {why}.\n");
}

/// A program of the system, if it is installed.
pub fn installed(program: &str) -> Option<PathBuf> {
    // Servers are often installed where only root looks.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    directories.map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// The same; says loudly if it is not.
pub fn needed(program: &str) -> Option<PathBuf> {
    let found = installed(program);
    if found.is_none() {
        missing(program, "it is not installed");
    }
    found
}

/// Builds a program of the package `tests/peers`, with the profile of this one; says loudly if that fails.
pub fn peer(name: &str) -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/Cargo.toml");
    let target = target_directory().join("peers");
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--bin", name, "--manifest-path"]).arg(manifest);
    let built = build.arg("--target-dir").arg(&target).stdin(Stdio::null()).status();
    if !built.is_ok_and(|status| status.success()) {
        missing(name, "its build failed");
        return None;
    }
    Some(target.join("release").join(name))
}

/// The cargo that runs this benchmark.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The directory of all that cargo builds for this workspace.
pub fn target_directory() -> PathBuf {
    let program = std::env::current_exe().expect("this program's path");
    program.ancestors().nth(3).expect("target/PROFILE/deps").to_owned()
}

/// What a program prints, on either stream; empty if it can't be started.
pub fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.map_or_else(
        |_| String::new(),
        |output| {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        },
    )
}
