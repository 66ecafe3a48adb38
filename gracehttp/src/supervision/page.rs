//! The page: a few words that the supervisor and all workers of a service share.
//!
//! It outlives every release of the program that a worker may run, since the supervisor is as old as the service. So a
//! word never changes its meaning; a later release adds words at the end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::lifecycle::Signal as Order;
use crate::sys;

/// One page of the smallest kind.
const WORDS: usize = 512;

/// The places of the words.
mod word {
    pub(super) const CURRENT: usize = 0;
    pub(super) const BEAT_OF_CONTROL: usize = 1;
    pub(super) const BEAT_OF_WORKERS: usize = 2;
    pub(super) const HANG_TIMEOUT: usize = 3;
    pub(super) const CRASH_LIMIT: usize = 4;
    pub(super) const CRASH_WINDOW: usize = 5;
    pub(super) const CRASH_BACKOFF: usize = 6;
    pub(super) const WATCHDOG: usize = 7;
    /// The signals that stop the worker that counts, a bit each, by their numbers.
    pub(super) const STOP_ON: usize = 8;
    /// Those that restart it.
    pub(super) const RESTART_ON: usize = 9;
    /// One for each signal, by its number.
    pub(super) const NOTED: usize = 64;
}

/// The shared page. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Page {
    words: &'static [AtomicU64],
    file: Arc<OwnedFd>,
}

/// The worker that counts, as one word: so it changes whole, and of two processes that want to change it one fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) generation: u64,
    pub(crate) pid: Pid,
    pub(crate) state: State,
}

/// What the worker that counts does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum State {
    /// It has not served yet.
    Starting = 0,
    Serving = 1,
    /// It has decided to end, and the service with it.
    Ending = 2,
    /// It is dead; another worker has reaped it.
    Lost = 3,
}

/// What a worker wants of its supervisor, by its own configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) hang_timeout: Option<Duration>,
    pub(crate) crashes: CrashLimits,
    pub(crate) stop_on: Vec<Order>,
    pub(crate) restart_on: Vec<Order>,
}

/// When a crash is too much, and how long the next worker waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CrashLimits {
    pub(crate) limit: u64,
    pub(crate) window: Duration,
    pub(crate) longest_backoff: Duration,
}

impl Current {
    const STATE_BITS: u32 = 2;
    /// The kernel has no pid above 2^22.
    const PID_BITS: u32 = 30;

    fn from_word(word: u64) -> Self {
        let state = match word & 3 {
            0 => State::Starting,
            1 => State::Serving,
            2 => State::Ending,
            _ => State::Lost,
        };
        let pid = (word >> Self::STATE_BITS) & ((1 << Self::PID_BITS) - 1);
        let generation = word >> (Self::STATE_BITS + Self::PID_BITS);
        Self { generation, pid: Pid::from_raw(i32::try_from(pid).unwrap_or_default()), state }
    }

    fn word(self) -> u64 {
        let pid = u64::from(self.pid.as_raw().unsigned_abs());
        self.generation << (Self::STATE_BITS + Self::PID_BITS) | pid << Self::STATE_BITS | self.state as u64
    }
}

impl Page {
    /// A new page, for a service whose first worker is about to start.
    pub(crate) fn create() -> io::Result<Self> {
        Self::of(sys::create_shared(c"gracehttp-supervisor", WORDS)?)
    }

    /// The page in this file, which a supervisor has made.
    pub(crate) fn of(file: OwnedFd) -> io::Result<Self> {
        let words = sys::map_shared(&file)?;
        if words.len() < WORDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too short"));
        }
        Ok(Self { words, file: Arc::new(file) })
    }

    pub(crate) fn current(&self) -> Current {
        Current::from_word(self.words[word::CURRENT].load(Ordering::Acquire))
    }

    pub(crate) fn set_current(&self, current: Current) {
        self.words[word::CURRENT].store(current.word(), Ordering::Release);
    }

    /// Changes it if it is still `from`.
    pub(crate) fn change_current(&self, from: Current, to: Current) -> bool {
        let word = &self.words[word::CURRENT];
        word.compare_exchange(from.word(), to.word(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Notes that the current worker has got this signal by itself.
    pub(crate) fn note_signal(&self, signal: Signal) {
        self.words[word::NOTED + signal as usize].store(now(), Ordering::Release);
    }

    /// When the current worker has last got this signal by itself.
    pub(crate) fn noted(&self, signal: i32) -> u64 {
        let place = usize::try_from(signal).ok().filter(|number| *number < 64).unwrap_or_default();
        self.words[word::NOTED + place].load(Ordering::Acquire)
    }

    /// The control runtime answers, and the worker threads have answered lately unless they have been silent for `silence`.
    pub(crate) fn beat(&self, silence: Duration) {
        let now = now();
        self.words[word::BEAT_OF_WORKERS].store(now.saturating_sub(nanos(silence)), Ordering::Relaxed);
        self.words[word::BEAT_OF_CONTROL].store(now, Ordering::Release);
    }

    /// When the slower of the two runtimes has last answered; nothing if nothing beats.
    pub(crate) fn last_beat(&self) -> Option<u64> {
        let control = self.words[word::BEAT_OF_CONTROL].load(Ordering::Acquire);
        let workers = self.words[word::BEAT_OF_WORKERS].load(Ordering::Relaxed);
        (control > 0).then_some(control.min(workers))
    }

    /// Forgets the beats of the worker before: the next one has not begun to beat.
    pub(crate) fn stop_beating(&self) {
        self.words[word::BEAT_OF_CONTROL].store(0, Ordering::Release);
    }

    /// How long a worker may be silent: as it was set, or as the watchdog of the service manager demands.
    pub(crate) fn hang_timeout(&self) -> Option<Duration> {
        let limits =
            [word::HANG_TIMEOUT, word::WATCHDOG].map(|place| self.words[place].load(Ordering::Relaxed));
        limits.into_iter().filter(|limit| *limit > 0).min().map(Duration::from_nanos)
    }

    pub(crate) fn set_watchdog(&self, limit: Option<Duration>) {
        self.words[word::WATCHDOG].store(limit.map_or(0, nanos), Ordering::Relaxed);
    }

    pub(crate) fn crash_limits(&self) -> CrashLimits {
        let read = |place: usize| self.words[place].load(Ordering::Relaxed);
        CrashLimits {
            limit: read(word::CRASH_LIMIT),
            window: Duration::from_nanos(read(word::CRASH_WINDOW)),
            longest_backoff: Duration::from_nanos(read(word::CRASH_BACKOFF)),
        }
    }

    /// Whether this signal stops the service, as the last worker that served had it.
    pub(crate) fn stops(&self, signal: i32) -> bool {
        self.words[word::STOP_ON].load(Ordering::Relaxed) & bit(signal) != 0
    }

    /// Whether this signal restarts it.
    pub(crate) fn restarts(&self, signal: i32) -> bool {
        self.words[word::RESTART_ON].load(Ordering::Relaxed) & bit(signal) != 0
    }

    pub(crate) fn set_rules(&self, rules: &Rules) {
        let Rules { hang_timeout, crashes, stop_on, restart_on } = rules;
        let CrashLimits { limit, window, longest_backoff } = *crashes;
        let bits =
            |signals: &[Order]| signals.iter().fold(0, |bits, order| bits | bit(order.number() as i32));
        for (place, value) in [
            (word::HANG_TIMEOUT, hang_timeout.map_or(0, nanos)),
            (word::CRASH_LIMIT, limit),
            (word::CRASH_WINDOW, nanos(window)),
            (word::CRASH_BACKOFF, nanos(longest_backoff)),
            (word::STOP_ON, bits(stop_on)),
            (word::RESTART_ON, bits(restart_on)),
        ] {
            self.words[place].store(value, Ordering::Relaxed);
        }
    }
}

impl AsFd for Page {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Page").field(&self.current()).finish()
    }
}

/// The time since the machine started, in nanoseconds: the same clock for all processes. A handler of signals may call it.
pub(crate) fn now() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    nanos(time.into())
}

/// The bit of a signal in a word; 0 for numbers that no signal has.
fn bit(signal: i32) -> u64 {
    u32::try_from(signal).ok().and_then(|number| 1_u64.checked_shl(number)).unwrap_or_default()
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_that_counts_is_one_word() {
        let current = Current { generation: 4_000_000, pid: Pid::from_raw(4_194_304), state: State::Ending };
        assert_eq!(Current::from_word(current.word()), current);
    }

    #[test]
    fn the_rules_are_read_as_they_were_written() {
        let page = Page::create().unwrap();
        let crashes = CrashLimits {
            limit: 7,
            window: Duration::from_secs(70),
            longest_backoff: Duration::from_millis(700),
        };
        let hang_timeout = Some(Duration::from_secs(7));
        page.set_rules(&Rules {
            hang_timeout,
            crashes,
            stop_on: vec![Order::Usr1],
            restart_on: vec![Order::Hup],
        });
        assert_eq!((page.crash_limits(), page.hang_timeout()), (crashes, hang_timeout));
        let (usr1, hup) = (Signal::SIGUSR1 as i32, Signal::SIGHUP as i32);
        assert!(page.stops(usr1) && !page.stops(hup) && page.restarts(hup) && !page.restarts(usr1));
        assert!(!page.stops(-1) && !page.stops(64) && !page.stops(0));
    }

    #[test]
    fn of_two_changes_one_fails() {
        let page = Page::create().unwrap();
        let other = Page::of(page.file.try_clone().unwrap()).unwrap();
        let first = Current { generation: 1, pid: Pid::from_raw(7), state: State::Serving };
        page.set_current(first);
        let next = Current { generation: 2, pid: Pid::from_raw(8), state: State::Serving };
        assert!(other.change_current(first, next));
        assert!(!page.change_current(first, Current { state: State::Lost, ..first }));
        assert_eq!(page.current(), next);
    }
}
