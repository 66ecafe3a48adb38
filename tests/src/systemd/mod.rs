//! A real systemd, booted in namespaces of its own for one test.

mod service;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::client::Target;
use crate::patience::{PATIENCE, eventually};
use crate::process::{bin, skipped};
use crate::scratch::Scratch;

pub use service::{OFF, WEB, pid, reloads, unit};

const BOOT: &str = include_str!("boot.sh");

/// A systemd that runs.
#[derive(Debug)]
pub struct Systemd {
    /// `unshare`, whose child is systemd.
    outer: Child,
    /// systemd, as this process sees it.
    pid: u32,
    scratch: Scratch,
}

impl Systemd {
    /// Boots one with these units, by name and content. `{app}` stands for the test application, and `{at}` for a directory
    /// that both sides see. None if this machine can't, which is told.
    pub async fn boot(units: &[(&str, &str)]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("root, to boot a systemd");
            return None;
        }
        let root = root();
        let tools = [root.join("lib/systemd/systemd"), "/usr/bin/nsenter".into(), "/usr/bin/unshare".into()];
        if let Some(missing) = tools.iter().find(|tool| !tool.exists()) {
            skipped(&format!("{}, to boot a systemd", missing.display()));
            return None;
        }
        let scratch = Scratch::new();
        let folder = scratch.join("units");
        std::fs::create_dir(&folder).expect("a directory");
        for (name, content) in units {
            let content = content
                .replace("{app}", &bin("app").display().to_string())
                .replace("{at}", &scratch.path().display().to_string());
            std::fs::write(folder.join(name), content).expect("writable");
        }
        let script = scratch.write("boot.sh", BOOT);
        let programs = bin("app").parent().expect("the directory of the programs").to_owned();
        let boot = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--cgroup", "--", "sh"])
            .args([&script, &root, &folder, &programs, &scratch.path().to_owned()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut outer = boot.expect("unshare starts");
        let pid = first_child(&mut outer).await?;
        let systemd = Self { outer, pid, scratch };
        let begun = Instant::now();
        while systemd.systemctl(&["is-active", "test.target"]).status.code() != Some(0) {
            if begun.elapsed() > PATIENCE {
                skipped("a systemd that boots here");
                return None;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(systemd)
    }

    /// Its version, such as 252.
    pub fn version(&self) -> u32 {
        let told = self.systemctl(&["--version"]);
        let told = String::from_utf8_lossy(&told.stdout);
        told.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a version")
    }

    /// A path that both sides see.
    pub fn join(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Writes a file that both sides see.
    pub fn write(&self, name: &str, content: &str) {
        self.scratch.write(name, content);
    }

    /// Runs a command among the processes of this systemd.
    pub fn run(&self, command: &[&str]) -> Output {
        self.command(command).output().expect("nsenter")
    }

    /// The same, as a command that is not started yet.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut enter = Command::new("nsenter");
        enter
            .args(["-t", &self.pid.to_string(), "-m", "-p", "-u", "-i", "-C", "-r", "-w", "--"])
            .args(command);
        enter.stdin(Stdio::null());
        enter
    }

    /// `systemctl` with these arguments.
    pub fn systemctl(&self, arguments: &[&str]) -> Output {
        let command: Vec<&str> = ["systemctl"].into_iter().chain(arguments.iter().copied()).collect();
        self.run(&command)
    }

    /// The same, which has to succeed.
    pub fn succeeds(&self, arguments: &[&str]) {
        let output = self.systemctl(arguments);
        assert!(output.status.success(), "systemctl {arguments:?}: {output:?}\n{}", self.journal());
    }

    /// The same on a thread of its own, for a command that waits.
    pub async fn finish(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(&["systemctl"]);
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().expect("nsenter")).await.expect("no panic")
    }

    /// A property of a unit, such as `MainPID`.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let output = self.systemctl(&["show", unit, "--property", name, "--value"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The pid of a unit's main process, as its own processes see it.
    pub fn main_pid(&self, unit: &str) -> u32 {
        self.property(unit, "MainPID").parse().expect("a pid")
    }

    /// Waits until a property has a value that fits.
    pub async fn until(&self, unit: &str, name: &str, fits: impl Fn(&str) -> bool) {
        eventually(&format!("{name} of {unit} to fit"), || fits(&self.property(unit, name))).await;
    }

    /// The messages of the units `app`, and about them.
    pub fn journal(&self) -> String {
        let units = ["--unit", "app.service", "--unit", "app.socket"];
        let mut command = vec!["journalctl", "--no-pager", "--output", "short-precise"];
        command.extend(units);
        let output = self.run(&command);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Where `server` of the only service listens, from the first banner in the log.
    pub async fn target(&self, server: &str) -> Target {
        let words = format!("serving {server} on ");
        let mut url = None;
        eventually(&format!("the banner of {server}"), || {
            let journal = self.journal();
            let found = journal.split_once(&words).and_then(|(_, rest)| rest.split_whitespace().next());
            url = found.map(str::to_owned);
            url.is_some()
        })
        .await;
        Target::from_url(&url.expect("found"))
    }
}

/// The system that is booted: that of this machine, or a folder with another one, such as one that `debootstrap` has made,
/// for a test of another version of systemd.
fn root() -> PathBuf {
    std::env::var_os("GRACEHTTP_SYSTEMD_ROOT").map_or_else(|| "/".into(), PathBuf::from)
}

/// The process that `unshare` has forked, once it is systemd. None, and the reason told, if it ends before.
async fn first_child(outer: &mut Child) -> Option<u32> {
    let path = format!("/proc/{0}/task/{0}/children", outer.id());
    let begun = Instant::now();
    loop {
        let children = std::fs::read_to_string(&path).unwrap_or_default();
        let child = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if let Some(pid) = child.filter(|pid| name(*pid).trim_end() == "systemd") {
            return Some(pid);
        }
        if matches!(outer.try_wait(), Ok(Some(_))) || begun.elapsed() > PATIENCE {
            let mut told = String::new();
            if let Some(mut stderr) = outer.stderr.take() {
                _ = std::io::Read::read_to_string(&mut stderr, &mut told);
            }
            skipped(&format!("namespaces in which a systemd boots ({})", told.trim_end()));
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Drop for Systemd {
    /// Ends systemd, and with it all processes of its namespace.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the journal:\n{}---", self.journal());
        }
        // `unshare` passes its end on to systemd.
        _ = self.outer.kill();
        _ = self.outer.wait();
    }
}
