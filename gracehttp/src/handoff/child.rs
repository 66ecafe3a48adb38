//! A process that this one has started, and that it reaps.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::sys::{self, Inheritance, Program, Spawned, Watched};

/// How often to look whether it has ended, where the kernel does not tell.
const LOOK: Duration = Duration::from_millis(20);

/// Dropped, it is neither killed nor reaped: whoever inherits it does that.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// Becomes readable when it ends.
    pidfd: Option<AsyncFd<Watched<OwnedFd>>>,
    status: Option<ExitStatus>,
}

impl Child {
    /// Starts a program. Has to be called within a runtime.
    pub(super) fn start(program: &Program, inheritance: &Inheritance<'_>) -> io::Result<Self> {
        let Spawned { pid, pidfd } = sys::spawn(program, inheritance)?;
        // Without it, this process looks from time to time.
        let pidfd = pidfd.and_then(|pidfd| sys::watch(pidfd, Interest::READABLE).ok());
        Ok(Self { pid, pidfd, status: None })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it has ended, if it has; it is reaped then.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = sys::reap(self.pid)?;
        }
        Ok(self.status)
    }

    /// Waits until it has ended, and reaps it. Cancel safe.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            // Asked first: an event that is awaited below is then not older than this look.
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            match &self.pidfd {
                Some(pidfd) => pidfd.readable().await?.clear_ready(),
                None => sleep(LOOK).await,
            }
        }
    }

    /// Kills it. It is ours until it is reaped, so its pid is its own.
    pub(super) fn kill(&self) {
        if self.status.is_none() {
            // Fails only if it has ended meanwhile.
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}
