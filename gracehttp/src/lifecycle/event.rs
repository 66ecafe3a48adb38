//! What happens in the life of a process, as values: they are emitted where they happen, and every subscriber gets
//! them all.
//!
//! The log is one subscriber, the snapshot of the process another. A new one needs no change where events are emitted.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::unistd::Pid;
use parking_lot::RwLock;

use crate::error::Error;
use crate::lifecycle::{
    Answers, CertificateReload, CleanUpUnfinished, EndCounts, RestartReceipt, TasksLeft, Tie, Trigger, show,
};
#[cfg(feature = "acme")]
use crate::lifecycle::{CertificateOrder, RenewalSuggestion};

/// Something that happened in the life of a process.
#[derive(Debug)]
#[expect(dead_code, reason = "an event says all that is known; the log does not need all of it")]
pub(crate) enum Event {
    /// The process begins to live: its configuration is not read yet.
    Starting,
    /// A setting has a value that is not the attribute's. `server` is empty for a setting of the process.
    Setting { server: Option<String>, key: &'static str, value: String, origin: String },
    /// A variable sets a key of the application's own settings. Its value may be a secret.
    AppSetting { key: String, variable: String },
    /// Connection limits that the user chose were lowered to what the process may open.
    LimitsLowered(LoweredLimits),
    /// An endpoint accepts.
    Serving(Serving),
    /// The access of socket files could not be set.
    SocketAccessFailed(Error),
    /// The process could not do what it was started for.
    Failed(Error),
    /// A request to stop has ended the process before it came to serve.
    StoppedEarly,

    /// A certificate was read again, and there is something to tell.
    CertificateReloaded(CertificateReload),
    /// An authority was asked for a certificate, and the order is over.
    #[cfg(feature = "acme")]
    CertificateOrdered(CertificateOrder),
    /// An authority was asked when to renew a certificate.
    #[cfg(feature = "acme")]
    RenewalSuggested(RenewalSuggestion),
    /// A certificate expires soon, or has expired.
    CertificateExpires(CertificateExpiry),
    /// A revocation list has expired.
    RevocationListExpired(ExpiredList),

    /// A restart is asked for.
    RestartRequested { trigger: Trigger },
    /// There is none: a successor would end together with this process.
    RestartRefused { trigger: Trigger, reason: Tie },
    /// There is none: this process is stopping, or its successor serves already.
    RestartIgnored { trigger: Trigger, successor: Option<Pid> },
    /// The successor's process runs.
    SuccessorStarted { successor: Pid },
    /// The successor is ready to serve.
    SuccessorReady { successor: Pid },
    /// It never came to serve: this process serves on. There is no pid if no process was started. The lines are its last
    /// ones on standard error.
    SuccessorFailed { successor: Option<Pid>, reason: SuccessorFault, last_lines: Vec<String> },
    /// The successor accepts, and this process does not any more. It is in standby.
    Committed { successor: Pid },
    /// One more request came while the successor got ready: the successor restarts in turn.
    RestartPassedOn { trigger: Trigger, successor: Pid },
    /// This process can't take over again any more.
    StandbyOver { successor: Pid },
    /// The successor died in standby. This process serves again and has taken `connections` back; `lost` TLS connections
    /// and `busy` plain ones ended with the successor.
    TookBack { successor: Pid, why: SuccessorDeath, connections: usize, lost: usize, busy: usize },
    /// The successor died after standby, so no process serves, until a supervisor has started one.
    SuccessorDied { successor: Pid, why: String, is_supervised: bool },
    /// A restart is over: it has succeeded and this process holds no connection any more, it has failed, or it was taken
    /// back.
    RestartDone(Arc<RestartReceipt>),
    /// The successor has ended or does not talk any more, and this process drains without it.
    SuccessorGone { successor: Pid },

    /// A rehearsal is asked for.
    RehearsalRequested { trigger: Trigger },
    /// The process of the rehearsal runs.
    RehearsalStarted { successor: Pid },
    /// It became ready within this time, so a restart would have succeeded. It is discarded now.
    RehearsalReady { successor: Pid, within: Duration },
    /// The rehearsal is over: its process has ended, and nothing has changed.
    RehearsalDone { successor: Pid },
    /// It never became ready, or was not begun at all. The lines are its last ones on standard error.
    RehearsalFailed { successor: Option<Pid>, reason: SuccessorFault, last_lines: Vec<String> },
    /// This process was started for a rehearsal and never came to serve.
    Rehearsed,

    /// This process is asked to stop.
    StopRequested { trigger: Trigger },
    /// A second one ends the drain at once, with so many connections open.
    SecondStop { trigger: Trigger, connections: usize },
    /// The drain begins, with so many connections and at most so much time.
    Draining { connections: usize, limit: Duration },
    /// The drain has used up its time: what is left is cut.
    DrainTimedOut { limit: Duration, connections: Vec<HeldConnections>, tasks: Option<TasksLeft> },
    /// Background tasks of a process that never came to serve are cut.
    TasksCut(TasksLeft),
    /// The clean-up code has used up its time.
    CleanUpUnfinished(CleanUpUnfinished),
    /// One more request to stop ends the clean-up code.
    CleanUpAbandoned { trigger: Trigger },
    /// What became of a server's connections in this drain.
    Drained { server: Arc<str>, ends: EndCounts },
    /// How a server has answered in all its life.
    Answered { server: Arc<str>, answers: Answers },
    /// The process ends, and no other has its place.
    Stopped,
    /// The process ends, and its successor serves.
    Replaced { successor: Pid },
}

/// A certificate that expires soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateExpiry {
    pub(crate) server: String,
    /// For whom it is.
    pub(crate) names: Vec<String>,
    pub(crate) not_after: SystemTime,
    /// Zero if it has expired.
    pub(crate) left: Duration,
    /// An authority should have renewed it, and the last attempt has failed.
    pub(crate) renewal_failed: bool,
}

/// A revocation list that has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpiredList {
    pub(crate) server: String,
    pub(crate) path: PathBuf,
    pub(crate) expired_at: SystemTime,
}

/// Says what is refused now, and the way out.
impl fmt::Display for ExpiredList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, path, expired_at } = self;
        write!(
            f,
            "server `{server}`: the revocation list {} expired at {}, so each client whose certificate comes from its issuer \
             is refused: replace the file of `tls.client_crl`; no restart is needed",
            path.display(),
            humantime::format_rfc3339_seconds(*expired_at)
        )
    }
}

/// An endpoint that accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Serving {
    pub(crate) server: String,
    pub(crate) address: Address,
    pub(crate) is_secure: bool,
    pub(crate) http1: bool,
    pub(crate) http2: bool,
    pub(crate) max_conns: usize,
    pub(crate) generation: u64,
}

/// Where a listener is found: with the port that the kernel chose for port 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Connection limits that do not fit into the limit of open descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoweredLimits {
    pub(crate) changes: Vec<LoweredLimit>,
    /// How many descriptors the process may open.
    pub(crate) available: usize,
    /// How many of them are kept for other use.
    pub(crate) reserved: usize,
}

/// The limit of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoweredLimit {
    pub(crate) server: String,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// How many connections a server holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldConnections {
    pub(crate) server: String,
    pub(crate) count: usize,
}

/// Why a successor never came to serve.
#[derive(Debug)]
pub(crate) enum SuccessorFault {
    /// This process has read a configuration file that is gone: a successor would start without one.
    ConfigurationGone(PathBuf),
    /// Its process could not be started.
    NotStarted(Error),
    /// It was not ready in time.
    NotReady { limit: Duration },
    /// This process is restarting or stopping.
    Busy,
    /// It said so itself, or ended. A line for each fault.
    Reported(String),
}

/// Without a name for what has failed. One line for each fault.
impl fmt::Display for SuccessorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigurationGone(file) => write!(
                f,
                "the configuration file {}, which this process has read, is gone: put it back; an empty one will do",
                file.display()
            ),
            Self::NotStarted(error) => error.fmt(f),
            Self::NotReady { limit } => {
                write!(f, "it was not ready within {} (ready_timeout)", show(*limit))
            }
            Self::Busy => f.write_str("this process is restarting or stopping: try again when that is over"),
            Self::Reported(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for SuccessorDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresponsive { after } => {
                write!(f, "it gave no sign of life for {} and was killed", show(*after))
            }
            Self::Ended(how) => f.write_str(how),
        }
    }
}

/// Why a successor in standby counts as dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SuccessorDeath {
    /// It gave no sign of life for so long, and was killed.
    Unresponsive { after: Duration },
    /// How it ended.
    Ended(String),
}

/// Gets every event of a process.
///
/// It is called where the event happens, mostly on the control runtime. So it must not block, nor wait for anything: one
/// that writes to a disk or a socket hands the event to a task of its own.
pub(crate) trait Subscriber: Send + Sync {
    fn on_event(&self, event: &Event);
}

/// Replaced as a whole, so that a list that is being gone through does not change.
type Subscribers = Arc<[Arc<dyn Subscriber>]>;

/// Where the events of a process are emitted. Its clones have the same subscribers.
#[derive(Clone, Default)]
pub(crate) struct Events {
    subscribers: Arc<RwLock<Subscribers>>,
}

impl Events {
    /// From now on `subscriber` gets all events.
    pub(crate) fn subscribe(&self, subscriber: Arc<dyn Subscriber>) {
        let mut subscribers = self.subscribers.write();
        *subscribers = subscribers.iter().cloned().chain([subscriber]).collect();
    }

    /// Gives an event to all subscribers, in the order of their subscription.
    pub(crate) fn emit(&self, event: &Event) {
        // Without the lock, so that a subscriber may subscribe another.
        let subscribers = self.subscribers.read().clone();
        subscribers.iter().for_each(|subscriber| subscriber.on_event(event));
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("subscribers", &self.subscribers.read().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    /// Subscribes another one with its first event.
    struct Growing {
        events: Events,
        seen: Arc<Mutex<Vec<&'static str>>>,
        name: &'static str,
    }

    impl Subscriber for Growing {
        fn on_event(&self, _: &Event) {
            self.seen.lock().push(self.name);
            if self.name == "first" {
                let (events, seen) = (self.events.clone(), self.seen.clone());
                self.events.subscribe(Arc::new(Growing { events, seen, name: "second" }));
            }
        }
    }

    #[test]
    fn every_subscriber_gets_the_events_from_its_subscription_on() {
        let (events, seen) = (Events::default(), Arc::new(Mutex::new(Vec::new())));
        events.emit(&Event::Starting);
        events.subscribe(Arc::new(Growing { events: events.clone(), seen: seen.clone(), name: "first" }));
        events.emit(&Event::Starting);
        events.clone().emit(&Event::Stopped);
        assert_eq!(*seen.lock(), ["first", "first", "second"]);
    }
}
