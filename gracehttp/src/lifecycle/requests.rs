//! Requests to restart or to stop, from all who can ask: signals, and operators over other ways.

use std::fmt;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::lifecycle::{Signal, Signals};

/// What a process is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Restart(Trigger),
    Stop(Trigger),
    /// A successor is started up to ready, and then discarded.
    Rehearse(Trigger),
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    Signal(Signal),
    /// A command over the control socket.
    #[cfg_attr(not(any(test, feature = "cli")), expect(dead_code, reason = "only commands ask so"))]
    Command,
    /// A command over the control socket of this process, or of its predecessor: to accept for a while, and then to stop.
    Drain,
    /// The predecessor, which was asked after its commit: it passes on a restart, and a stop by a command.
    Predecessor,
    /// The supervisor has ended: nobody could start this process anew.
    SupervisorGone,
}

impl Trigger {
    /// The signal, if it was one.
    pub(crate) fn signal(self) -> Option<Signal> {
        match self {
            Self::Signal(signal) => Some(signal),
            Self::Command | Self::Drain | Self::Predecessor | Self::SupervisorGone => None,
        }
    }
}

impl From<Signal> for Trigger {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::Command | Self::Drain => f.write_str("a command"),
            Self::Predecessor => f.write_str("the predecessor"),
            Self::SupervisorGone => f.write_str("the end of the supervisor"),
        }
    }
}

impl Request {
    pub(crate) fn trigger(self) -> Trigger {
        match self {
            Self::Restart(trigger) | Self::Stop(trigger) | Self::Rehearse(trigger) => trigger,
        }
    }
}

/// Asks this process to restart or to stop.
#[derive(Clone, Debug)]
pub(crate) struct Requester(UnboundedSender<Request>);

impl Requester {
    /// A process that does not listen any more ends anyway.
    pub(crate) fn ask(&self, request: Request) {
        let _ = self.0.send(request);
    }
}

/// What a process is asked to do, by signals and by all [`Requester`]s.
#[derive(Debug)]
pub(crate) struct Requests {
    signals: Signals,
    asked: UnboundedReceiver<Request>,
    requester: Requester,
    kept: Kept,
}

/// Requests that wait for their turn. Several of one kind are one, and none displaces another kind: each has somebody who
/// waits for its outcome.
#[derive(Debug, Default)]
struct Kept {
    stop: Option<Trigger>,
    restart: Option<Trigger>,
    rehearsal: Option<Trigger>,
}

impl Kept {
    fn keep(&mut self, request: Request) {
        match request {
            Request::Stop(trigger) => self.stop = Some(trigger),
            Request::Restart(trigger) => self.restart = Some(trigger),
            Request::Rehearse(trigger) => self.rehearsal = Some(trigger),
        }
    }

    /// The most important one.
    fn take(&mut self) -> Option<Request> {
        let stop = self.stop.take().map(Request::Stop);
        let restart = || self.restart.take().map(Request::Restart);
        stop.or_else(restart).or_else(|| self.rehearsal.take().map(Request::Rehearse))
    }
}

impl Requests {
    pub(crate) fn new(signals: Signals) -> Self {
        let (sender, asked) = unbounded_channel();
        Self { signals, asked, requester: Requester(sender), kept: Kept::default() }
    }

    pub(crate) fn requester(&self) -> Requester {
        self.requester.clone()
    }

    /// Meets this request later: [`next`](Self::next) returns it.
    pub(crate) fn keep(&mut self, request: Request) {
        self.kept.keep(request);
    }

    /// The next request. Signals of one kind that come together are one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Request {
        if let Some(request) = self.kept.take() {
            return request;
        }
        tokio::select! {
            biased;
            request = self.signals.next() => request,
            Some(request) = self.asked.recv() => request,
        }
    }

    /// The next request to stop. Others wait meanwhile. Cancel safe.
    pub(crate) async fn next_stop(&mut self) -> Trigger {
        loop {
            tokio::select! {
                biased;
                trigger = self.signals.next_stop() => return trigger,
                Some(request) = self.asked.recv() => match request {
                    // It stops this process, but what is under way may take its time.
                    Request::Stop(Trigger::SupervisorGone) => self.kept.keep(request),
                    Request::Stop(trigger) => return trigger,
                    Request::Restart(_) | Request::Rehearse(_) => self.kept.keep(request),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_that_waits_displaces_one_of_another_kind() {
        let mut kept = Kept::default();
        let later = [
            Request::Rehearse(Trigger::Command),
            Request::Restart(Trigger::Command),
            Request::Rehearse(Trigger::Command),
            Request::Stop(Trigger::SupervisorGone),
            Request::Restart(Trigger::Signal(Signal::Hup)),
        ];
        later.into_iter().for_each(|request| kept.keep(request));
        assert_eq!(kept.take(), Some(Request::Stop(Trigger::SupervisorGone)));
        assert_eq!(kept.take(), Some(Request::Restart(Trigger::Signal(Signal::Hup))));
        assert_eq!(kept.take(), Some(Request::Rehearse(Trigger::Command)));
        assert_eq!(kept.take(), None);
    }
}
