//! One process in a chain of restarts, seen from outside.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_acceptconn;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, WaitId, WaitIdOptions, pidfd_getfd, pidfd_open,
    pidfd_send_signal, waitid,
};

use crate::client::Target;
use crate::patience::{GLANCE, PATIENCE, eventually};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// This signal killed it.
    Killed(i32),
    /// Its predecessor reaped it, and did not report the status.
    ReapedByPredecessor,
}

impl Exit {
    /// Whether no known fact contradicts a clean end.
    pub fn is_clean(self) -> bool {
        matches!(self, Self::Code(0) | Self::ReapedByPredecessor)
    }
}

/// A process, held by its pidfd: signals and waits can't reach another process with the same pid.
#[derive(Debug)]
pub struct Generation {
    pid: u32,
    fd: OwnedFd,
    exit: Mutex<Option<Exit>>,
}

impl Generation {
    /// Holds a process that runs, or is not yet reaped.
    pub fn hold(pid: u32) -> std::io::Result<Self> {
        let raw = Pid::from_raw(pid as i32).ok_or(std::io::ErrorKind::InvalidInput)?;
        let fd = pidfd_open(raw, PidfdFlags::empty())?;
        Ok(Self { pid, fd, exit: Mutex::new(None) })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal; panics if the process is gone.
    pub fn signal(&self, signal: Signal) {
        if let Err(errno) = pidfd_send_signal(&self.fd, signal) {
            panic!("signal {signal:?} to pid {}: {errno}", self.pid);
        }
    }

    /// Kills it if it still lives. The caller still has to reap it.
    pub fn kill(&self) {
        // A process that has already ended is as good.
        _ = pidfd_send_signal(&self.fd, Signal::KILL);
    }

    /// Whether it has not ended yet (a zombie has).
    pub fn is_running(&self) -> bool {
        self.try_exit().is_none() && !matches!(self.state(), None | Some('Z' | 'X'))
    }

    /// Waits for its end, and reaps it if it is a child of this process.
    pub async fn exit(&self) -> Exit {
        self.exit_within(PATIENCE).await
    }

    /// The same, with this limit.
    pub async fn exit_within(&self, limit: Duration) -> Exit {
        crate::patience::within(limit, &format!("the end of pid {}", self.pid), async {
            // A pidfd becomes readable when its process ends.
            let fd = self.fd.try_clone().expect("a pidfd");
            let timeout = Timespec::try_from(limit).expect("a time that Linux can tell");
            let ended = move || poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout));
            tokio::task::spawn_blocking(ended).await.expect("no panic").expect("a pidfd");
            // An orphan becomes a child of this process a moment after its predecessor's end.
            loop {
                if let Some(exit) = self.try_exit() {
                    return exit;
                }
                tokio::time::sleep(GLANCE).await;
            }
        })
        .await
    }

    /// How it ended, if it did and this process can reap it or has reaped it.
    pub fn try_exit(&self) -> Option<Exit> {
        let mut known = self.exit.lock().expect("no panic while it is held");
        if known.is_none() {
            use std::os::fd::AsFd as _;
            *known =
                match waitid(WaitId::PidFd(self.fd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                    Ok(None) => None,
                    Ok(Some(status)) => match status.exit_status() {
                        Some(code) => Some(Exit::Code(code)),
                        None => status.terminating_signal().map(Exit::Killed),
                    },
                    // It is not a child of this process: not yet, as its predecessor lives, or no longer. SIGCONT has
                    // no effect on a dead process, and fails only after it is reaped.
                    Err(Errno::CHILD) => (self.state().is_none_or(|state| matches!(state, 'Z' | 'X'))
                        && pidfd_send_signal(&self.fd, Signal::CONT) == Err(Errno::SRCH))
                    .then_some(Exit::ReapedByPredecessor),
                    Err(errno) => panic!("wait for pid {}: {errno}", self.pid),
                };
        }
        *known
    }

    /// Reaps it without a runtime, for `Drop`; gives up after `limit`.
    pub fn reap_blocking(&self, limit: Duration) -> Option<Exit> {
        let start = Instant::now();
        loop {
            match self.try_exit() {
                None if start.elapsed() < limit => std::thread::sleep(GLANCE),
                exit => return exit,
            }
        }
    }

    fn proc(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.pid))
    }

    /// The fields of `/proc/PID/stat` after the name, the state first.
    fn stat(&self) -> Option<Vec<String>> {
        let stat = fs::read_to_string(self.proc("stat")).ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        Some(after_name.split_whitespace().map(str::to_owned).collect())
    }

    fn state(&self) -> Option<char> {
        self.stat()?.first()?.chars().next()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).map_or(0, Iterator::count)
    }

    /// Names of its open descriptors, for messages.
    pub fn descriptor_names(&self) -> Vec<String> {
        let Ok(fds) = fs::read_dir(self.proc("fd")) else { return Vec::new() };
        let name =
            |path: PathBuf| fs::read_link(path).map_or_else(|_| "?".into(), |to| to.display().to_string());
        let mut names: Vec<String> = fds.flatten().map(|fd| name(fd.path())).collect();
        names.sort();
        names
    }

    /// The TCP ports of its listeners, from the kernel.
    pub fn listening_ports(&self) -> Vec<u16> {
        let own = self.descriptor_names();
        let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(self.proc(table)));
        let mut ports: Vec<u16> = tables
            .iter()
            .flatten()
            .flat_map(|table| table.lines())
            .filter_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let [_, local, _, "0A", ..] = fields.as_slice() else { return None };
                let inode = format!("socket:[{}]", fields.get(9)?);
                let (_, port) = local.rsplit_once(':')?;
                own.contains(&inode).then(|| u16::from_str_radix(port, 16).ok())?
            })
            .collect();
        ports.sort_unstable();
        // The table may repeat a line if other processes connect during the read.
        ports.dedup();
        ports
    }

    /// Duplicates of its listening sockets.
    pub fn listeners(&self) -> std::io::Result<Vec<OwnedFd>> {
        let mut listeners = Vec::new();
        for entry in fs::read_dir(self.proc("fd"))?.flatten() {
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let fd = pidfd_getfd(&self.fd, number, PidfdGetfdFlags::empty())?;
            if socket_acceptconn(&fd).unwrap_or(false) {
                listeners.push(fd);
            }
        }
        Ok(listeners)
    }

    /// The program that it runs.
    pub fn program(&self) -> PathBuf {
        fs::read_link(self.proc("exe")).unwrap_or_default()
    }

    /// Its children, zombies among them.
    pub fn children(&self) -> Vec<u32> {
        let Ok(tasks) = fs::read_dir(self.proc("task")) else { return Vec::new() };
        let mut children: Vec<u32> = tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
            .flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        // The lists may repeat a process that starts or ends during the read.
        children.sort_unstable();
        children.dedup();
        children
    }

    /// Whether it was stopped, as by SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        self.state() == Some('T')
    }

    /// Whether a signal that was sent to it has not reached it yet, as while it is stopped.
    pub fn has_pending(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
        let pending = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or(0);
        pending & (1 << (signal.as_raw() - 1)) != 0
    }

    /// Whether none of its threads runs or is about to run: it has finished all its work.
    pub fn is_asleep(&self) -> bool {
        let Ok(tasks) = fs::read_dir(self.proc("task")) else { return false };
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, after_name)| after_name.starts_with(" S"))
        })
    }

    /// Its threads.
    pub fn threads(&self) -> usize {
        fs::read_dir(self.proc("task")).map_or(0, Iterator::count)
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// CPU time used so far, by all threads.
    pub fn cpu(&self) -> Duration {
        // Fields 14 and 15 of the page, counted from 1 and with pid and name before the state; Linux counts
        // 100 ticks a second wherever we run.
        let ticks = self.stat().map_or(0, |stat| {
            stat.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
        });
        Duration::from_millis(ticks * 10)
    }
}

/// The first port of a generation whose log can't be read.
pub async fn silent_target(generation: &Generation) -> Target {
    eventually("a listener", || !generation.listening_ports().is_empty()).await;
    Target::Plain(([127, 0, 0, 1], generation.listening_ports()[0]).into())
}
