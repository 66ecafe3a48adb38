//! The signals to the service, and which of them the worker has got already.
//!
//! A terminal sends Ctrl-C to every process in the foreground, and a service manager may send SIGTERM to every process of
//! the service. The worker then has the signal. A second one from the supervisor would mean "at once".

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::lifecycle::Signal;
use crate::supervision::page::{Page, nanos, now};

/// A signal to all processes reaches the worker within this time.
const WAIT: Duration = Duration::from_millis(20);

/// It may have reached the worker this long before the supervisor, on a busy machine.
const BEFORE: Duration = Duration::from_millis(200);

/// The kernel itself has sent it: a terminal, which sends it to all.
const SI_KERNEL: i32 = 0x80;

/// One place for each signal that has a number in the page.
const SIGNALS: usize = 64;

pub(super) struct Forwarding {
    signals: SignalFd,
    waiting: Vec<Waiting>,
    /// The notes of the worker that have explained a signal already.
    explained: [u64; SIGNALS],
}

/// A signal that may be the worker's.
struct Waiting {
    signal: i32,
    came_at: u64,
}

impl Forwarding {
    /// Blocks all signals, and receives them from now on.
    pub(super) fn begin() -> io::Result<Self> {
        let all = SigSet::all();
        all.thread_set_mask()?;
        let signals = SignalFd::with_flags(&all, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { signals, waiting: Vec::new(), explained: [0; SIGNALS] })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Reads what has come.
    pub(super) fn read(&mut self) {
        while let Ok(Some(found)) = self.signals.read_signal() {
            let signal = found.ssi_signo.cast_signed();
            let is_own = signal == nix::libc::SIGCHLD || found.ssi_code == SI_KERNEL;
            if !is_own && !self.waiting.iter().any(|waiting| waiting.signal == signal) {
                self.waiting.push(Waiting { signal, came_at: now() });
            }
        }
    }

    /// When the next one is due.
    pub(super) fn due_at(&self) -> Option<u64> {
        self.waiting.iter().map(|waiting| waiting.came_at.saturating_add(nanos(WAIT))).min()
    }

    /// Those that the worker has not noted in time.
    pub(super) fn take_due(&mut self, page: &Page) -> Vec<i32> {
        let now = now();
        let (due, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.came_at.saturating_add(nanos(WAIT)) <= now);
        self.waiting = waiting;
        let due: Vec<Waiting> = due;
        due.into_iter()
            .filter(|waiting| !self.is_explained(waiting, page))
            .map(|waiting| waiting.signal)
            .collect()
    }

    /// Whether the worker has got the same signal by itself.
    fn is_explained(&mut self, waiting: &Waiting, page: &Page) -> bool {
        let Some(explained) =
            usize::try_from(waiting.signal).ok().and_then(|number| self.explained.get_mut(number))
        else {
            return false;
        };
        let noted = page.noted(waiting.signal);
        let is_new = noted > *explained && noted.saturating_add(nanos(BEFORE)) >= waiting.came_at;
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
        Forwarding { signals, waiting: Vec::new(), explained: [0; SIGNALS] }
    }

    #[test]
    fn a_note_explains_one_signal_and_no_more() {
        let (page, mut forwarding) = (Page::create().unwrap(), forwarding());
        let term = || Waiting { signal: Number::SIGTERM as i32, came_at: now() };
        assert!(!forwarding.is_explained(&term(), &page));
        page.note_signal(Number::SIGTERM);
        assert!(forwarding.is_explained(&term(), &page));
        assert!(!forwarding.is_explained(&term(), &page), "that is a second one");
        page.note_signal(Number::SIGINT);
        assert!(!forwarding.is_explained(&term(), &page), "that was another signal");
    }

    #[test]
    fn an_old_note_explains_nothing() {
        let (page, mut forwarding) = (Page::create().unwrap(), forwarding());
        page.note_signal(Number::SIGTERM);
        let came_at = now() + nanos(BEFORE) * 2;
        assert!(!forwarding.is_explained(&Waiting { signal: Number::SIGTERM as i32, came_at }, &page));
    }
}
