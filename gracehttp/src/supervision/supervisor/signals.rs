//! The signals to the service, and which of them the worker has got already.
//!
//! A terminal sends Ctrl-C to every process in the foreground, and a service manager may send SIGTERM to every process of
//! the service. The worker then has the signal. A second one from the supervisor would mean "at once".
//!
//! So the worker notes each signal that it gets by itself, and wakes the supervisor. The supervisor compares the time of
//! that note with the time of its own signal. The kernel does not tell that time. But the signal came after the supervisor's
//! last look, even if the supervisor was stopped in between.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::lifecycle::Signal;
use crate::supervision::page::{Page, nanos, now};

/// A signal to all processes reaches the worker within this time.
const WAIT: Duration = Duration::from_millis(20);

/// A signal may reach the worker this long before the supervisor: a service manager sends it to one process after the other.
const BEFORE: Duration = Duration::from_millis(200);

/// The code of a signal that the kernel itself has sent: a terminal sends it to all processes in the foreground.
const SI_KERNEL: i32 = 0x80;

/// One place for each signal that has a number in the page.
const SIGNALS: usize = 64;

pub(super) struct Forwarding {
    signals: SignalFd,
    looked_at: u64,
    waiting: Vec<Waiting>,
    /// For each signal, the time of the last note that was compared. A note explains one signal only.
    explained: [u64; SIGNALS],
}

/// A signal that may be the worker's.
struct Waiting {
    signal: i32,
    /// The signal came between these two times.
    came_after: u64,
    seen_at: u64,
    /// A terminal has sent it, to all processes in the foreground.
    is_terminals: bool,
}

impl Waiting {
    fn due_at(&self) -> u64 {
        self.seen_at.saturating_add(nanos(WAIT))
    }
}

/// A signal to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) signal: i32,
    /// The worker has got it by itself.
    pub(super) has_reached_worker: bool,
}

impl Forwarding {
    /// Blocks all signals, and receives them from now on.
    pub(super) fn begin() -> io::Result<Self> {
        let all = SigSet::all();
        all.thread_set_mask()?;
        let signals = SignalFd::with_flags(&all, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { signals, looked_at: now(), waiting: Vec::new(), explained: [0; SIGNALS] })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Reads what has come.
    pub(super) fn read(&mut self) {
        let came_after = std::mem::replace(&mut self.looked_at, now());
        while let Ok(Some(found)) = self.signals.read_signal() {
            let signal = found.ssi_signo.cast_signed();
            let is_own = signal == nix::libc::SIGCHLD;
            if !is_own && !self.waiting.iter().any(|waiting| waiting.signal == signal) {
                let is_terminals = found.ssi_code == SI_KERNEL;
                self.waiting.push(Waiting { signal, came_after, seen_at: now(), is_terminals });
            }
        }
    }

    /// When the next one is due.
    pub(super) fn due_at(&self) -> Option<u64> {
        self.waiting.iter().map(Waiting::due_at).min()
    }

    /// The signals that have waited long enough: the worker has noted them by now, or has not got them.
    pub(super) fn take_due(&mut self, page: &Page) -> Vec<Arrived> {
        let now = now();
        let (due, waiting): (Vec<_>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.due_at() <= now);
        self.waiting = waiting;
        due.into_iter()
            .map(|waiting| {
                let has_reached_worker = self.is_explained(&waiting, page) || waiting.is_terminals;
                Arrived { signal: waiting.signal, has_reached_worker }
            })
            .collect()
    }

    /// Those that came while there was no worker that could get them.
    pub(super) fn take_all(&mut self) -> Vec<i32> {
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.signal).collect()
    }

    /// Whether the worker has got the same signal by itself.
    fn is_explained(&mut self, waiting: &Waiting, page: &Page) -> bool {
        let Some(explained) =
            usize::try_from(waiting.signal).ok().and_then(|number| self.explained.get_mut(number))
        else {
            return false;
        };
        let noted = page.noted(waiting.signal);
        let is_new = noted > *explained && noted.saturating_add(nanos(BEFORE)) >= waiting.came_after;
        *explained = (*explained).max(noted);
        is_new
    }
}

/// The signals that a fresh worker holds back until its handlers are installed.
pub(super) fn held_back() -> SigSet {
    Signal::RESTART.into_iter().chain(Signal::STOP).map(Signal::number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal as Number;

    fn forwarding() -> Forwarding {
        let signals = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_CLOEXEC).unwrap();
        Forwarding { signals, looked_at: now(), waiting: Vec::new(), explained: [0; SIGNALS] }
    }

    fn term(came_after: u64) -> Waiting {
        let signal = Number::SIGTERM as i32;
        Waiting { signal, came_after, seen_at: now(), is_terminals: false }
    }

    #[test]
    fn a_note_explains_one_signal_and_no_more() {
        let (page, mut forwarding) = (Page::create().unwrap(), forwarding());
        assert!(!forwarding.is_explained(&term(now()), &page));
        page.note_signal(Number::SIGTERM);
        assert!(forwarding.is_explained(&term(now()), &page));
        assert!(!forwarding.is_explained(&term(now()), &page), "that is a second one");
        page.note_signal(Number::SIGINT);
        assert!(!forwarding.is_explained(&term(now()), &page), "that was another signal");
    }

    #[test]
    fn a_note_from_before_the_last_look_explains_nothing() {
        let (page, mut forwarding) = (Page::create().unwrap(), forwarding());
        page.note_signal(Number::SIGTERM);
        assert!(!forwarding.is_explained(&term(now() + nanos(BEFORE) * 2), &page));
    }

    #[test]
    fn a_note_since_the_last_look_explains_a_signal_that_was_seen_much_later() {
        let (page, mut forwarding) = (Page::create().unwrap(), forwarding());
        let looked_at = now();
        page.note_signal(Number::SIGTERM);
        let seen_at = looked_at + nanos(Duration::from_secs(60));
        assert!(forwarding.is_explained(&Waiting { seen_at, ..term(looked_at) }, &page));
    }
}
