//! Passes on what workers have to say to the service manager, for which the supervisor is the main process.

use std::env;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::supervision::Supervised;
use crate::supervision::notify_socket::{NotifySocket, Outlet};
use crate::supervision::page::{nanos, now};

/// The message that keeps a watchdog quiet.
const ALIVE: &str = "WATCHDOG=1";

/// Between a crash and the next worker the watchdog is fed for so many of its periods. A worker that starts for longer is
/// the watchdog's.
const PERIODS: u32 = 10;

/// The supervisor's way to the service manager.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: Option<NotifySocket>,
    watchdog: Option<Duration>,
    /// While no worker serves: when the watchdog is fed next, and until when.
    feeding: Option<(u64, u64)>,
}

impl Notifier {
    /// That of the variables of `sd_notify(3)`; one that says nothing if they are not set.
    pub(super) fn find() -> Self {
        let socket = NotifySocket::find().and_then(io::Result::ok);
        Self { socket, watchdog: watchdog(), feeding: None }
    }

    /// How long the service may be silent.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends a message. It never blocks; one for which there is no room is lost.
    pub(super) fn pass_on(&self, text: &str, descriptor: Option<&OwnedFd>) {
        if let Some(socket) = &self.socket {
            // The worker can't be told, and the next message says more.
            let _ = socket.send(text, descriptor.map(OwnedFd::as_fd));
        }
    }

    /// No worker serves from now on: this process feeds the watchdog meanwhile.
    pub(super) fn stand_in(&mut self) {
        if let Some(period) = self.watchdog {
            let now = now();
            self.feeding = Some((now, now.saturating_add(nanos(period * PERIODS))));
            self.feed();
        }
    }

    /// A worker serves again.
    pub(super) fn step_down(&mut self) {
        self.feeding = None;
    }

    /// When the watchdog is to be fed.
    pub(super) fn due_at(&self) -> Option<u64> {
        self.feeding.map(|(at, _)| at)
    }

    /// Feeds the watchdog if it is time.
    pub(super) fn feed(&mut self) {
        let now = now();
        match (self.feeding, self.watchdog) {
            (Some((_, until)), Some(_)) if now >= until => self.feeding = None,
            (Some((at, until)), Some(period)) if now >= at => {
                self.pass_on(ALIVE, None);
                self.feeding = Some((now.saturating_add(nanos(period / 3)), until));
            }
            _ => {}
        }
    }
}

/// The main process, as the service manager sees it: this one, or its supervisor once there is one.
pub(crate) struct MainProcess {
    pub(crate) socket: NotifySocket,
    pub(crate) supervised: Arc<OnceLock<Supervised>>,
}

impl Outlet for MainProcess {
    fn send(&self, message: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        match self.supervised.get() {
            Some(supervised) => supervised.notify(message, descriptor),
            None => self.socket.send(message, descriptor),
        }
    }

    fn follows_restarts(&self) -> bool {
        self.supervised.get().is_none()
    }
}

/// The period of the watchdog that was set for this very process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|period| is_ours && *period > 0).map(Duration::from_micros)
}
