//! Failures of accepting: reported once, and retried after a pause.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::Instant;

use crate::listen::listener::Local;
use crate::log;

/// The pauses of an accept loop that fails: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long after a report a failure that goes on, or comes back, is not reported again.
const SILENCE: Duration = Duration::from_secs(60);

/// Up to so many unknown failures in a row may still concern single connections, such as the EPERM of a firewall.
const DOUBTS: u32 = 2;

/// More connections than this in a row that fail before they are accepted are no chance.
const BAD_LUCK: u32 = 1000;

/// Why accept(2) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It concerns one connection, which has left the queue.
    Connection,
    /// The process or the system has no room for one more connection.
    Exhausted,
    /// The descriptor is no listener any more.
    Gone,
    /// The next attempt will probably fail, too.
    Standing,
}

impl Fault {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            // Linux reports network errors of the new connection here; accept(2) says to go on with the next one.
            Some(
                Errno::ECONNABORTED
                | Errno::ECONNRESET
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::EINTR
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::ENONET
                | Errno::ENOPROTOOPT
                | Errno::EOPNOTSUPP
                | Errno::EPROTO
                | Errno::ETIMEDOUT,
            ) => Self::Connection,
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => Self::Exhausted,
            Some(Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK) => Self::Gone,
            _ => Self::Standing,
        }
    }
}

/// What an accept loop does about an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Go on with the next connection.
    Next,
    /// Wait, then try again.
    Wait(Duration),
    /// Give up, if giving up is possible: trying again has not helped for a while. Else wait.
    GiveUp(Duration),
}

/// The failures of one accept loop.
#[derive(Debug)]
pub(super) struct Trouble {
    /// How messages begin: `server `web`, 127.0.0.1:80`.
    place: String,
    pause: Duration,
    /// Failures since the last accepted connection.
    failures: u32,
    /// When a failure was last reported, and whether its end is still to be reported.
    told: Option<(Instant, bool)>,
}

impl Trouble {
    pub(super) fn new(server: &str, local: &Local) -> Self {
        let place = format!("server `{server}`, {}", local.describe());
        Self { place, pause: BACK_OFF.0, failures: 0, told: None }
    }

    /// accept(2) failed.
    pub(super) fn meet(&mut self, error: &io::Error, now: Instant) -> Remedy {
        self.failures = self.failures.saturating_add(1);
        let fault = Fault::of(error);
        match fault {
            Fault::Connection if self.failures <= BAD_LUCK => return Remedy::Next,
            Fault::Standing if self.failures <= DOUBTS => return Remedy::Next,
            _ => {}
        }
        self.tell(fault, error, now);
        let pause = self.pause;
        self.pause = (pause * 2).min(BACK_OFF.1);
        // Room comes back as connections end; all other failures need the operator.
        if pause == BACK_OFF.1 && fault != Fault::Exhausted {
            Remedy::GiveUp(pause)
        } else {
            Remedy::Wait(pause)
        }
    }

    /// The runtime can't watch the listener.
    pub(super) fn is_unwatched(&mut self, error: &io::Error, now: Instant) {
        if self.is_news(now) {
            log::error(format_args!(
                "{}: its listener can't be watched, so nothing is accepted: {error}; it is tried again every second \
                 (`sysctl fs.epoll.max_user_watches` is the system's limit)",
                self.place
            ));
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// accept(2) gave a connection.
    pub(super) fn pass(&mut self) {
        if self.failures == 0 {
            return;
        }
        if let Some((_, is_open @ true)) = &mut self.told {
            *is_open = false;
            log::info(format_args!("{}: accepts again after {} failures", self.place, self.failures));
        }
        (self.failures, self.pause) = (0, BACK_OFF.0);
    }

    /// Whether to report a failure now.
    fn is_news(&mut self, now: Instant) -> bool {
        let is_news = self.told.is_none_or(|(at, _)| now >= at + SILENCE);
        if is_news {
            self.told = Some((now, true));
        }
        is_news
    }

    fn tell(&mut self, fault: Fault, error: &io::Error, now: Instant) {
        if !self.is_news(now) {
            return;
        }
        let place = &self.place;
        match fault {
            Fault::Exhausted => log::notice(format_args!(
                "{place}: can't accept at the moment: {error}; clients wait in the queue until a connection ends \
                 (`ulimit -n`, LimitNOFILE and max_conns set the limits)"
            )),
            Fault::Gone => log::error(format_args!(
                "{place}: its listener is gone: {error}; something in this process or another has closed it, or has \
                 called shutdown() on it, and no client can connect: stop the application and start it again"
            )),
            Fault::Connection | Fault::Standing => log::error(format_args!(
                "{place}: can't accept: {error}; clients wait in the queue, and it is tried again every second \
                 (accept(2) says what the error means; a security policy or a firewall may forbid it)"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble() -> Trouble {
        Trouble::new("web", &Local::Tcp("127.0.0.1:80".parse().unwrap()))
    }

    #[test]
    fn every_error_of_accept_has_its_remedy() {
        let now = Instant::now();
        let remedy = |errno: Errno| trouble().meet(&errno.into(), now);
        for own in [Errno::ECONNABORTED, Errno::EPROTO, Errno::EHOSTUNREACH] {
            assert_eq!(remedy(own), Remedy::Next, "{own}");
        }
        for other in [Errno::EMFILE, Errno::EINVAL, Errno::EBADF] {
            assert_eq!(remedy(other), Remedy::Wait(BACK_OFF.0), "{other}");
        }
        for unknown in [Errno::EACCES, Errno::EPERM, Errno::ENOSYS] {
            let mut trouble = trouble();
            let remedies = [0; 3].map(|_| trouble.meet(&unknown.into(), now));
            assert_eq!(remedies, [Remedy::Next, Remedy::Next, Remedy::Wait(BACK_OFF.0)], "{unknown}");
        }
    }

    #[test]
    fn the_pauses_grow_and_a_failure_that_stays_is_given_up() {
        let (mut trouble, now) = (trouble(), Instant::now());
        let remedies: Vec<Remedy> = (0..9).map(|_| trouble.meet(&Errno::EINVAL.into(), now)).collect();
        assert_eq!(remedies[6], Remedy::Wait(Duration::from_millis(640)));
        assert_eq!(remedies[7..], [Remedy::GiveUp(BACK_OFF.1), Remedy::GiveUp(BACK_OFF.1)]);
        trouble.pass();
        assert_eq!(trouble.meet(&Errno::EINVAL.into(), now), Remedy::Wait(BACK_OFF.0));
        let exhausted: Vec<Remedy> = (0..20).map(|_| trouble.meet(&Errno::EMFILE.into(), now)).collect();
        assert_eq!(exhausted[19], Remedy::Wait(BACK_OFF.1), "a connection will end");
    }

    #[test]
    fn connections_that_fail_without_end_are_reported() {
        let (mut trouble, now) = (trouble(), Instant::now());
        let next =
            (0..).take_while(|_| trouble.meet(&Errno::ECONNABORTED.into(), now) == Remedy::Next).count();
        assert_eq!(next, BAD_LUCK as usize);
    }

    #[test]
    fn a_failure_is_reported_once_a_minute() {
        let (mut trouble, now) = (trouble(), Instant::now());
        let told = |trouble: &mut Trouble, seconds: u64| {
            let now = now + Duration::from_secs(seconds);
            trouble.meet(&Errno::EINVAL.into(), now);
            trouble.told.is_some_and(|(at, _)| at == now)
        };
        assert!(told(&mut trouble, 0) && !told(&mut trouble, 1));
        trouble.pass();
        assert!(!told(&mut trouble, 2), "it comes and goes");
        assert!(told(&mut trouble, 60));
    }
}
