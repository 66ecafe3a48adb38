//! Errors of accept(2): reported once, and retried after a pause.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::Instant;

use super::owner;
use crate::lifecycle::Address;
use crate::log;

/// The pauses of an accept loop that fails: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// For this long after a report, the same error is not reported again.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Up to so many unknown errors in a row may still concern single connections, such as the EPERM of a firewall.
const MAX_UNKNOWN: u32 = 2;

/// If more connections than this fail in a row before they are accepted, the reason is not the clients.
const MAX_FAILED_CONNECTIONS: u32 = 1000;

/// Why accept(2) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It concerns one connection, which has left the queue.
    Connection,
    /// The process or the system has no room for one more connection.
    Exhausted,
    /// The descriptor is no listener any more.
    NoListener,
    /// Another error: the next attempt will probably fail, too.
    Other,
}

impl Cause {
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
            Some(Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK) => Self::NoListener,
            _ => Self::Other,
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

/// The errors of one accept loop.
#[derive(Debug)]
pub(super) struct AcceptErrors {
    /// The server and the address, with which messages begin.
    listener: String,
    pause: Duration,
    /// How often accept(2) has failed since the last accepted connection.
    failures: u32,
    last_report: Option<Report>,
}

/// When an error was reported.
#[derive(Debug)]
struct Report {
    at: Instant,
    /// The end of the error is not reported yet.
    is_open: bool,
}

impl AcceptErrors {
    pub(super) fn new(server: &str, local: &Address) -> Self {
        let listener = format!("{}, {local}", owner::subject(server));
        Self { listener, pause: BACK_OFF.0, failures: 0, last_report: None }
    }

    /// accept(2) failed.
    pub(super) fn note_error(&mut self, error: &io::Error, now: Instant) -> Remedy {
        self.failures = self.failures.saturating_add(1);
        let cause = Cause::of(error);
        match cause {
            Cause::Connection if self.failures <= MAX_FAILED_CONNECTIONS => return Remedy::Next,
            Cause::Other if self.failures <= MAX_UNKNOWN => return Remedy::Next,
            _ => {}
        }
        self.report(cause, error, now);
        let pause = self.pause;
        self.pause = (pause * 2).min(BACK_OFF.1);
        // Room comes back as connections end; all other failures need the operator.
        if pause == BACK_OFF.1 && cause != Cause::Exhausted {
            Remedy::GiveUp(pause)
        } else {
            Remedy::Wait(pause)
        }
    }

    /// The runtime can't watch the listener.
    pub(super) fn note_unwatched(&mut self, error: &io::Error, now: Instant) {
        if self.is_report_due(now) {
            log::error(format_args!(
                "{}: its listener can't be watched, so nothing is accepted: {error}; it is tried again every second \
                 (`sysctl fs.epoll.max_user_watches` is the system's limit)",
                self.listener
            ));
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// accept(2) gave a connection.
    pub(super) fn note_accepted(&mut self) {
        if self.failures == 0 {
            return;
        }
        if let Some(report) = self.last_report.as_mut().filter(|report| report.is_open) {
            report.is_open = false;
            log::info(format_args!("{}: accepts again after {} failures", self.listener, self.failures));
        }
        (self.failures, self.pause) = (0, BACK_OFF.0);
    }

    /// Whether to report an error now. If so, that is noted.
    fn is_report_due(&mut self, now: Instant) -> bool {
        let is_due = self.last_report.as_ref().is_none_or(|report| now >= report.at + REPORT_INTERVAL);
        if is_due {
            self.last_report = Some(Report { at: now, is_open: true });
        }
        is_due
    }

    fn report(&mut self, cause: Cause, error: &io::Error, now: Instant) {
        if !self.is_report_due(now) {
            return;
        }
        let listener = &self.listener;
        match cause {
            Cause::Exhausted => log::notice(format_args!(
                "{listener}: can't accept at the moment: {error}; clients wait in the queue until a connection ends \
                 (`ulimit -n`, LimitNOFILE and max_conns set the limits)"
            )),
            Cause::NoListener => log::error(format_args!(
                "{listener}: its listener is gone: {error}; something in this process or another has closed it, or has \
                 called shutdown() on it, and no client can connect: stop the application and start it again"
            )),
            Cause::Connection | Cause::Other => log::error(format_args!(
                "{listener}: can't accept: {error}; clients wait in the queue, and it is tried again every second \
                 (accept(2) says what the error means; a security policy or a firewall may forbid it)"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors() -> AcceptErrors {
        AcceptErrors::new("web", &Address::Tcp("127.0.0.1:80".parse().unwrap()))
    }

    #[test]
    fn every_error_of_accept_has_its_remedy() {
        let now = Instant::now();
        let remedy = |errno: Errno| errors().note_error(&errno.into(), now);
        for own in [Errno::ECONNABORTED, Errno::EPROTO, Errno::EHOSTUNREACH] {
            assert_eq!(remedy(own), Remedy::Next, "{own}");
        }
        for other in [Errno::EMFILE, Errno::EINVAL, Errno::EBADF] {
            assert_eq!(remedy(other), Remedy::Wait(BACK_OFF.0), "{other}");
        }
        for unknown in [Errno::EACCES, Errno::EPERM, Errno::ENOSYS] {
            let mut errors = errors();
            let remedies = [0; 3].map(|_| errors.note_error(&unknown.into(), now));
            assert_eq!(remedies, [Remedy::Next, Remedy::Next, Remedy::Wait(BACK_OFF.0)], "{unknown}");
        }
    }

    #[test]
    fn the_pauses_grow_and_an_error_that_stays_is_given_up() {
        let (mut errors, now) = (errors(), Instant::now());
        let remedies: Vec<Remedy> = (0..9).map(|_| errors.note_error(&Errno::EINVAL.into(), now)).collect();
        assert_eq!(remedies[6], Remedy::Wait(Duration::from_millis(640)));
        assert_eq!(remedies[7..], [Remedy::GiveUp(BACK_OFF.1), Remedy::GiveUp(BACK_OFF.1)]);
        errors.note_accepted();
        assert_eq!(errors.note_error(&Errno::EINVAL.into(), now), Remedy::Wait(BACK_OFF.0));
        let exhausted: Vec<Remedy> = (0..20).map(|_| errors.note_error(&Errno::EMFILE.into(), now)).collect();
        assert_eq!(exhausted[19], Remedy::Wait(BACK_OFF.1), "a connection will end");
    }

    #[test]
    fn connections_that_fail_without_end_are_reported() {
        let (mut errors, now) = (errors(), Instant::now());
        let next =
            (0..).take_while(|_| errors.note_error(&Errno::ECONNABORTED.into(), now) == Remedy::Next).count();
        assert_eq!(next, MAX_FAILED_CONNECTIONS as usize);
    }

    #[test]
    fn an_error_is_reported_once_a_minute() {
        let (mut errors, now) = (errors(), Instant::now());
        let is_reported = |errors: &mut AcceptErrors, seconds: u64| {
            let now = now + Duration::from_secs(seconds);
            errors.note_error(&Errno::EINVAL.into(), now);
            errors.last_report.as_ref().is_some_and(|report| report.at == now)
        };
        assert!(is_reported(&mut errors, 0) && !is_reported(&mut errors, 1));
        errors.note_accepted();
        assert!(!is_reported(&mut errors, 2), "it comes and goes");
        assert!(is_reported(&mut errors, 60));
    }
}
