//! Passes on what workers have to say to the service manager, for which the supervisor is the main process.

use std::collections::VecDeque;
use std::env;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::supervision::Supervised;
use crate::supervision::notify_socket::{NotifySocket, Outlet, will_pass};
use crate::supervision::page::{nanos, now};

/// The message that keeps a watchdog quiet.
const ALIVE: &str = "WATCHDOG=1";

/// Between a crash and the next worker the supervisor feeds the watchdog for so many of its periods. If no worker serves by
/// then, the watchdog ends the service.
const PERIODS: u32 = 10;

/// If so many messages wait, the service manager will hardly read them any more.
const MOST_WAITING: usize = 16;

/// Messages for which there was no room are sent again after this time.
const SEND_AGAIN: Duration = Duration::from_millis(100);

/// The supervisor's way to the service manager.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: Option<NotifySocket>,
    /// What the service manager has not taken yet.
    waiting: VecDeque<(String, Option<OwnedFd>)>,
    /// When they are sent again.
    send_at: u64,
    /// That messages don't arrive is reported once.
    is_reported: bool,
    watchdog: Option<Duration>,
    /// While no worker serves: when the watchdog is fed next, and until when.
    feeding: Option<(u64, u64)>,
}

impl Notifier {
    /// The notifier for the variables of `sd_notify(3)`. It sends nothing if they are not set.
    pub(super) fn find() -> Self {
        let socket = NotifySocket::find().and_then(io::Result::ok);
        let watchdog = watchdog();
        Self { socket, waiting: VecDeque::new(), send_at: 0, is_reported: false, watchdog, feeding: None }
    }

    /// How long the service may be silent.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends a message. It never blocks: a message for which there is no room waits. Of the errors that last, it returns
    /// the first one.
    pub(super) fn pass_on(&mut self, text: String, descriptor: Option<OwnedFd>) -> io::Result<()> {
        // A status or a sign of life does not wait: a newer one follows.
        if self.waiting.is_empty() || !is_passing(&text) {
            if self.waiting.len() == MOST_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back((text, descriptor));
        }
        self.send_waiting()
    }

    /// Sends what waits, in its order, if it is time.
    pub(super) fn repeat(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() || now() < self.send_at { Ok(()) } else { self.send_waiting() }
    }

    fn send_waiting(&mut self) -> io::Result<()> {
        while let Some((text, descriptor)) = self.waiting.pop_front() {
            match self.send(&text, descriptor.as_ref()) {
                Ok(()) => self.is_reported = false,
                Err(error) if will_pass(&error) => {
                    if !is_passing(&text) {
                        self.waiting.push_front((text, descriptor));
                        self.send_at = now().saturating_add(nanos(SEND_AGAIN));
                    }
                    return Ok(());
                }
                Err(error) if !std::mem::replace(&mut self.is_reported, true) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn send(&self, text: &str, descriptor: Option<&OwnedFd>) -> io::Result<()> {
        let send = |socket: &NotifySocket| socket.send(text, descriptor.map(OwnedFd::as_fd));
        self.socket.as_ref().map_or(Ok(()), send)
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

    /// When the watchdog is to be fed, or messages are to be sent again.
    pub(super) fn due_at(&self) -> Option<u64> {
        let again = (!self.waiting.is_empty()).then_some(self.send_at);
        self.feeding.map(|(at, _)| at).into_iter().chain(again).min()
    }

    /// Feeds the watchdog if it is time.
    pub(super) fn feed(&mut self) {
        let now = now();
        match (self.feeding, self.watchdog) {
            (Some((_, until)), Some(_)) if now >= until => self.feeding = None,
            (Some((at, until)), Some(period)) if now >= at => {
                // If it can't be sent, another one follows after a third of the period.
                let _ = self.send(ALIVE, None);
                self.feeding = Some((now.saturating_add(nanos(period / 3)), until));
            }
            _ => {}
        }
    }
}

/// Whether a message is worth nothing later: a status, or a sign of life.
fn is_passing(text: &str) -> bool {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    lines.next().is_none() && (first.starts_with("STATUS=") || first.starts_with("WATCHDOG="))
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
