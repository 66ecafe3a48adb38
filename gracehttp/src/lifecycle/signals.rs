//! The signals that steer a process.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::str::FromStr;
use std::task::Poll;

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::signal::unix::{self, SignalKind};

use crate::error::Error;
use crate::lifecycle::{Request, Trigger};
use crate::sys;

/// A signal that can restart or stop an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// `SIGHUP`: restarts, unless set otherwise.
    Hup,
    /// `SIGUSR1`: restarts, unless set otherwise.
    Usr1,
    /// `SIGUSR2`: restarts, unless set otherwise.
    Usr2,
    /// `SIGINT`, the terminal's Ctrl-C: stops, unless set otherwise.
    Int,
    /// `SIGTERM`: stops, unless set otherwise.
    Term,
    /// `SIGQUIT`: stops, unless set otherwise.
    Quit,
    /// `SIGTSTP`, the terminal's Ctrl-Z: stops, unless set otherwise.
    Tstp,
}

impl Signal {
    /// The signals that restart an application where it sets nothing else.
    pub const RESTART: [Signal; 3] = [Signal::Hup, Signal::Usr1, Signal::Usr2];

    /// The signals that stop an application where it sets nothing else.
    pub const STOP: [Signal; 4] = [Signal::Int, Signal::Term, Signal::Quit, Signal::Tstp];

    pub(crate) fn number(self) -> Number {
        match self {
            Signal::Hup => Number::SIGHUP,
            Signal::Usr1 => Number::SIGUSR1,
            Signal::Usr2 => Number::SIGUSR2,
            Signal::Int => Number::SIGINT,
            Signal::Term => Number::SIGTERM,
            Signal::Quit => Number::SIGQUIT,
            Signal::Tstp => Number::SIGTSTP,
        }
    }

    /// Its name without `SIG`, as attributes and files have it.
    pub(crate) fn name(self) -> &'static str {
        self.number().as_str().trim_start_matches("SIG")
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number().as_str())
    }
}

impl FromStr for Signal {
    type Err = Error;

    /// Reads a name with or without `SIG`, in any case.
    fn from_str(name: &str) -> Result<Self, Error> {
        let bare = name.to_ascii_uppercase();
        let bare = bare.strip_prefix("SIG").unwrap_or(&bare);
        Signal::RESTART
            .into_iter()
            .chain(Signal::STOP)
            .find(|signal| signal.name() == bare)
            .ok_or_else(|| {
                Error::new(format!(
                    "`{name}` is no signal that can restart or stop an application: those are HUP, USR1, USR2, \
                     INT, TERM, QUIT and TSTP"
                ))
            })
    }
}

/// The handlers of the process, and what they have caught.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Stop signals first: of two that wait, stopping wins.
    caught: Vec<Caught>,
}

/// One handler.
#[derive(Debug)]
struct Caught {
    signal: Signal,
    request: Request,
    stream: unix::Signal,
}

impl Signals {
    /// Installs the handlers; from here on no signal is lost and none has its default effect. Has to be
    /// called within a runtime, before other threads exist, since they inherit what is blocked.
    pub(crate) fn install(restart: &[Signal], stop: &[Signal]) -> Result<Self, Error> {
        let requests = stop
            .iter()
            .map(|&signal| (signal, Request::Stop(signal.into())))
            .chain(restart.iter().map(|&signal| (signal, Request::Restart(signal.into()))));
        let caught = requests.map(|(signal, request)| {
            let kind = SignalKind::from_raw(signal.number() as i32);
            unix::signal(kind)
                .map(|stream| Caught { signal, request, stream })
                .map_err(|error| Error::caused_by(format!("{signal} can't be handled: {error}"), error))
        });
        Ok(Self { caught: caught.collect::<Result<_, _>>()? })
    }

    /// Blocks the signals that could be ours until our handlers are installed. Has to be called before other
    /// threads exist.
    pub(crate) fn hold_back() -> HeldBack {
        HeldBack { before: all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok() }
    }

    /// Unblocks the signals that the predecessor blocked or ignored for us. Our handlers are installed by now.
    pub(crate) fn let_through_all(&self, ignored: &[Signal]) {
        for signal in ignored {
            if !self.caught.iter().any(|caught| caught.signal == *signal) {
                // The predecessor handled it and this process does not, so its default effect holds again.
                let _ = sys::reset_disposition(signal.number());
            }
        }
        sys::keep_exit_statuses();
        let mut through = all();
        through.add(Number::SIGCHLD);
        let _ = through.thread_unblock();
    }

    /// The next request. Signals of one kind that come together are one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Request {
        self.next_of(|_| true).await
    }

    /// The next request to stop. Requests to restart wait meanwhile. Cancel safe.
    pub(crate) async fn next_stop(&mut self) -> Trigger {
        self.next_of(|request| matches!(request, Request::Stop(_))).await.trigger()
    }

    async fn next_of(&mut self, wanted: impl Fn(&Request) -> bool) -> Request {
        poll_fn(|cx| {
            for Caught { request, stream, .. } in &mut self.caught {
                if wanted(request) && stream.poll_recv(cx) == Poll::Ready(Some(())) {
                    return Poll::Ready(*request);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Signals that wait until our handlers are installed.
#[derive(Debug)]
pub(crate) struct HeldBack {
    before: Option<SigSet>,
}

impl HeldBack {
    /// Waits for one of `signals` while they are held back, and takes it. Cancel safe.
    pub(crate) async fn next(&self, signals: &[Signal]) -> io::Result<Signal> {
        let numbers: SigSet = signals.iter().map(|signal| signal.number()).collect();
        let waiting = SignalFd::with_flags(&numbers, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let waiting = sys::watch(waiting, Interest::READABLE)?;
        loop {
            let mut readable = waiting.readable().await?;
            let found = waiting.get_ref().0.read_signal()?;
            let is_found = |signal: &&Signal| {
                found.is_some_and(|found| i32::try_from(found.ssi_signo) == Ok(signal.number() as i32))
            };
            match signals.iter().find(is_found) {
                Some(signal) => return Ok(*signal),
                None => readable.clear_ready(),
            }
        }
    }

    /// Unblocks the signals that have handlers, even if the process that started us had blocked them. The others get
    /// back the state that they had. Exits of children are reported, too.
    pub(crate) fn let_through(self, handled: &Signals) {
        sys::keep_exit_statuses();
        if let Some(mut blocked) = self.before {
            blocked.remove(Number::SIGCHLD);
            handled.caught.iter().for_each(|caught| blocked.remove(caught.signal.number()));
            let _ = blocked.thread_set_mask();
        }
    }
}

fn all() -> SigSet {
    Signal::RESTART.into_iter().chain(Signal::STOP).map(Signal::number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_their_prefix() {
        assert_eq!("HUP".parse::<Signal>().unwrap(), Signal::Hup);
        assert_eq!("sigusr1".parse::<Signal>().unwrap(), Signal::Usr1);
        assert_eq!(Signal::Tstp.to_string(), "SIGTSTP");
        assert!("KILL".parse::<Signal>().unwrap_err().to_string().contains("TSTP"));
    }
}
