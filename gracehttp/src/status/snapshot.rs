//! The process as it is at one moment.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use nix::unistd::Pid;
use parking_lot::Mutex;

use crate::conn::Context;
use crate::handoff::WeakChannel;
#[cfg(feature = "cli")]
use crate::lifecycle::RestartReceipt;
use crate::lifecycle::{
    Address, Answers, Background, EndCounts, Event, HeldConnections, Phase, ReceiptHistory, Subscriber,
    TasksLeft, generation,
};
use crate::listen::{Listener, Running};
use crate::socket::Stage;
#[cfg(any(feature = "admin", feature = "cli"))]
use crate::status::document::CertificateReport;
#[cfg(any(feature = "admin", feature = "cli"))]
use crate::status::predecessors::{Predecessors, Told};
#[cfg(any(feature = "admin", feature = "cli"))]
use crate::status::report::{Report, RestartCounts};

/// The counts and states of a process at one moment.
#[derive(Debug)]
#[cfg_attr(
    not(any(test, feature = "admin", feature = "cli")),
    expect(dead_code, reason = "the drain's report needs a part of it")
)]
pub(crate) struct Snapshot {
    pub(crate) pid: u32,
    pub(crate) generation: u64,
    pub(crate) phase: ProcessPhase,
    /// The predecessor still drains.
    pub(crate) has_predecessor: bool,
    pub(crate) servers: Vec<ServerSnapshot>,
    /// The background tasks that run.
    pub(crate) tasks: Option<TasksLeft>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessPhase {
    Serving,
    /// It serves, and a successor gets ready.
    Restarting {
        successor: Option<Pid>,
    },
    Standby {
        successor: Pid,
    },
    /// It drains, and its successor serves.
    Draining {
        successor: Pid,
    },
    /// It drains, and no other process serves.
    Stopping,
}

/// One server at that moment.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "admin", feature = "cli")),
    expect(dead_code, reason = "the drain's report needs a part of it")
)]
pub(crate) struct ServerSnapshot {
    pub(crate) name: String,
    pub(crate) phase: Phase,
    /// Where it listens.
    pub(crate) endpoints: Vec<Address>,
    /// Those of them that speak plain text on a server with TLS.
    pub(crate) plain_endpoints: Vec<Address>,
    pub(crate) permits: PermitCounts,
    /// Connections in the parking lot.
    pub(crate) parked: usize,
    /// Connections that have a task, or are being sent to the successor.
    pub(crate) awake: usize,
    /// What has become of its connections.
    pub(crate) ends: EndCounts,
    pub(crate) answers: Answers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PermitCounts {
    pub(crate) limit: usize,
    /// By connections of this process.
    pub(crate) held: usize,
    /// By connections of earlier generations.
    pub(crate) foreign: usize,
}

impl Snapshot {
    /// The servers that hold connections, and how many.
    pub(crate) fn held(&self) -> Vec<HeldConnections> {
        self.servers
            .iter()
            .filter(|server| server.permits.held > 0)
            .map(|server| HeldConnections { server: server.name.clone(), count: server.permits.held })
            .collect()
    }
}

/// The state from which snapshots are taken. It follows the events of the process, so that any task of the control
/// runtime can take a snapshot at any time.
pub(crate) struct Observed {
    pub(super) servers: Vec<ObservedServer>,
    background: Arc<Background>,
    predecessor: Option<WeakChannel>,
    /// The reports of earlier generations that drain.
    #[cfg(any(feature = "admin", feature = "cli"))]
    predecessors: Predecessors,
    /// When it began to serve.
    #[cfg_attr(
        not(any(feature = "admin", feature = "cli")),
        expect(dead_code, reason = "only reports tell it")
    )]
    since: SystemTime,
    /// Of the last restarts, also those of earlier generations.
    #[cfg_attr(
        not(any(feature = "admin", feature = "cli")),
        expect(dead_code, reason = "only reports tell it")
    )]
    receipts: ReceiptHistory,
    life: Mutex<Life>,
}

pub(super) struct ObservedServer {
    pub(super) context: Arc<Context>,
    /// They are gone once this process has closed them.
    pub(super) listeners: Vec<Weak<Listener>>,
}

struct Life {
    phase: ProcessPhase,
    /// Restarts whose successor never came to serve, and those whose successor died in standby.
    failed: u64,
    taken_back: u64,
    /// What had become of each server's connections when the drain began.
    before_drain: Vec<EndCounts>,
}

impl Observed {
    pub(crate) fn new<'a>(
        servers: impl Iterator<Item = &'a Running>,
        background: Arc<Background>,
        predecessor: Option<WeakChannel>,
        receipts: ReceiptHistory,
    ) -> Self {
        let observed = servers.map(|server| ObservedServer {
            context: server.context.clone(),
            listeners: server.acceptors.iter().map(|acceptor| Arc::downgrade(&acceptor.listener)).collect(),
        });
        let servers: Vec<ObservedServer> = observed.collect();
        let before_drain = vec![EndCounts::default(); servers.len()];
        let life = Mutex::new(Life { phase: ProcessPhase::Serving, failed: 0, taken_back: 0, before_drain });
        Self {
            servers,
            background,
            predecessor,
            #[cfg(any(feature = "admin", feature = "cli"))]
            predecessors: Predecessors::default(),
            since: SystemTime::now(),
            receipts,
            life,
        }
    }

    /// This process, with the reports of earlier generations.
    #[cfg(any(feature = "admin", feature = "cli"))]
    pub(crate) fn with_predecessors(self, predecessors: Predecessors) -> Self {
        Self { predecessors, ..self }
    }

    /// The reports of earlier generations that still drain, the newest first.
    #[cfg(any(feature = "admin", feature = "cli"))]
    pub(crate) fn predecessors(&self) -> Vec<Told> {
        self.predecessors.list(self.has_predecessor())
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            pid: std::process::id(),
            generation: generation(),
            phase: self.life.lock().phase,
            has_predecessor: self.has_predecessor(),
            servers: self.servers.iter().map(ObservedServer::snapshot).collect(),
            tasks: self.background.left(),
        }
    }

    /// Whether the predecessor still drains.
    pub(crate) fn has_predecessor(&self) -> bool {
        self.predecessor.as_ref().and_then(WeakChannel::upgrade).is_some()
    }

    /// The receipt of the last restart of this generation, if it is known.
    #[cfg(feature = "cli")]
    pub(crate) fn last_receipt_of(&self, generation: u64) -> Option<Arc<RestartReceipt>> {
        self.receipts.list().into_iter().rev().find(|receipt| receipt.generation == generation)
    }

    /// How many connections this process has, and how many earlier generations have.
    pub(crate) fn held(&self) -> (usize, usize) {
        let permits = self.servers.iter().map(|server| &server.context.permits);
        permits
            .fold((0, 0), |(here, elsewhere), permits| (here + permits.held(), elsewhere + permits.foreign()))
    }

    /// What operators see of this process, without its health.
    #[cfg(any(feature = "admin", feature = "cli"))]
    pub(super) fn report(&self) -> Report {
        let restarts = {
            let life = self.life.lock();
            RestartCounts { failed: life.failed, taken_back: life.taken_back }
        };
        let receipts = self.receipts.list();
        let certificates = self.certificates();
        Report::new(self.snapshot(), &self.predecessors(), self.since, restarts, &receipts, certificates)
    }

    /// The certificates of the servers that have one.
    #[cfg(any(feature = "admin", feature = "cli"))]
    fn certificates(&self) -> Vec<CertificateReport> {
        #[cfg(feature = "tls")]
        let certificates = self.servers.iter().flat_map(|ObservedServer { context, .. }| {
            let facts = context.tls.iter().flat_map(|tls| tls.certificates());
            facts.map(|facts| CertificateReport {
                server: context.options.name.clone(),
                names: facts.names,
                not_after: facts.not_after.map(|time| humantime::format_rfc3339_seconds(time).to_string()),
            })
        });
        #[cfg(not(feature = "tls"))]
        let certificates = std::iter::empty();
        certificates.collect()
    }

    /// What had become of the connections of each server when the drain began.
    #[cfg(any(feature = "admin", feature = "cli"))]
    pub(super) fn before_drain(&self) -> Vec<EndCounts> {
        self.life.lock().before_drain.clone()
    }

    /// What has become of the connections of each server since the drain began.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (Arc<str>, EndCounts)> {
        let before = self.life.lock().before_drain.clone();
        self.servers.iter().zip(before).map(|(ObservedServer { context, .. }, before)| {
            (context.options.name.as_str().into(), context.ends().counts().since(&before))
        })
    }

    /// From now on the ends of connections count as those of a drain.
    pub(crate) fn begin_drain(&self) {
        self.life.lock().before_drain = self.counts();
    }

    fn counts(&self) -> Vec<EndCounts> {
        self.servers.iter().map(|server| server.context.ends().counts()).collect()
    }
}

impl Subscriber for Observed {
    fn on_event(&self, event: &Event) {
        let mut life = self.life.lock();
        match event {
            Event::SuccessorFailed { .. } => life.failed += 1,
            Event::TookBack { .. } => life.taken_back += 1,
            _ => {}
        }
        life.phase = match *event {
            Event::RestartRequested { .. } if life.phase == ProcessPhase::Serving => {
                ProcessPhase::Restarting { successor: None }
            }
            Event::SuccessorStarted { successor } => ProcessPhase::Restarting { successor: Some(successor) },
            Event::RestartRefused { .. } | Event::SuccessorFailed { .. } | Event::TookBack { .. } => {
                ProcessPhase::Serving
            }
            Event::Committed { successor } => ProcessPhase::Standby { successor },
            Event::StandbyOver { successor } => ProcessPhase::Draining { successor },
            Event::SuccessorGone { .. } => ProcessPhase::Stopping,
            // In a restart this process drains already.
            Event::StopRequested { .. } if life.phase.is_serving() => {
                life.before_drain = self.counts();
                ProcessPhase::Stopping
            }
            _ => return,
        };
    }
}

impl ProcessPhase {
    fn is_serving(self) -> bool {
        matches!(self, Self::Serving | Self::Restarting { .. })
    }
}

impl ObservedServer {
    fn snapshot(&self) -> ServerSnapshot {
        let Self { context, listeners } = self;
        let permits = PermitCounts {
            limit: context.permits.limit(),
            held: context.permits.held(),
            foreign: context.permits.foreign(),
        };
        let parked = context.lot.count(Stage::Fresh) + context.lot.count(Stage::Idle);
        let open: Vec<_> = listeners.iter().filter_map(Weak::upgrade).collect();
        let plain = open.iter().filter(|listener| context.is_secure() && !listener.is_secure);
        ServerSnapshot {
            name: context.options.name.clone(),
            phase: context.drain.phase(),
            plain_endpoints: plain.map(|listener| listener.local.clone()).collect(),
            endpoints: open.iter().map(|listener| listener.local.clone()).collect(),
            permits,
            parked,
            awake: permits.held.saturating_sub(parked),
            ends: context.ends().counts(),
            answers: context.answers.snapshot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Moved;
    use crate::lifecycle::{ConnectionEnd, Signal, SuccessorDeath, Trigger};
    use crate::listen::bind::bind;
    use crate::listen::{ListenOptions, Running};
    use crate::server::{Permits, Server};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::runtime::Handle;
    use tokio::sync::Notify;

    /// A server with a limit of 7 connections.
    fn server() -> Running {
        let server: Server<()> =
            Server::builder("web").listen("127.0.0.1:0").max_conns(7).handler(async || "hello");
        let Server { options, make, .. } = server;
        let listeners = bind(&options.name, &options.endpoints[0], &ListenOptions::of(&options)).unwrap();
        let permits = Arc::new(Permits::new(options.max_conns, Arc::new(Notify::new())));
        let moved = Arc::new(Moved::default());
        let context = Context::new(options, None, make(&()), permits, moved, Arc::default()).unwrap();
        let running = Running::start(&Handle::current(), &Arc::new(context), listeners);
        running.open();
        running
    }

    #[tokio::test]
    async fn it_shows_connections_by_state_and_what_became_of_them() {
        let mut server = server();
        let observed = Observed::new([&server].into_iter(), Arc::default(), None, ReceiptHistory::default());
        let snapshot = observed.snapshot();
        assert_eq!((snapshot.pid, snapshot.generation), (std::process::id(), 1));
        assert_eq!(snapshot.phase, ProcessPhase::Serving);
        assert!(!snapshot.has_predecessor && snapshot.held().is_empty() && snapshot.tasks.is_none());
        let [Address::Tcp(address)] = snapshot.servers[0].endpoints[..] else { panic!("{snapshot:?}") };

        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut buffer = [0; 512];
        assert_ne!(client.read(&mut buffer).await.unwrap(), 0);
        while observed.snapshot().servers[0].parked == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let snapshot = observed.snapshot();
        let shown = &snapshot.servers[0];
        assert_eq!(shown.permits, PermitCounts { limit: 7, held: 1, foreign: 0 });
        assert_eq!((shown.parked, shown.awake, shown.phase), (1, 0, Phase::Serving));
        assert_eq!(shown.answers.to_string(), "handler 2xx 1");
        assert_eq!(snapshot.held(), [HeldConnections { server: "web".to_owned(), count: 1 }]);

        server.acceptors.clear();
        server.enter(Phase::ClosingIdle);
        while server.context.permits.held() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let idle = ConnectionEnd::Cut(crate::lifecycle::CutReason::Idle);
        assert_eq!(observed.snapshot().servers[0].ends.count(idle), 1);
    }

    #[tokio::test]
    async fn its_phase_follows_the_events() {
        let observed = Observed::new([].into_iter(), Arc::default(), None, ReceiptHistory::default());
        let (trigger, successor) = (Trigger::Signal(Signal::Hup), Pid::from_raw(7));
        let why = SuccessorDeath::Ended("it ended".to_owned());
        let took_back = Event::TookBack { successor, why, connections: 0, lost: 0, busy: 0 };
        for (event, phase) in [
            (Event::RestartRequested { trigger }, ProcessPhase::Restarting { successor: None }),
            (Event::SuccessorStarted { successor }, ProcessPhase::Restarting { successor: Some(successor) }),
            (Event::Committed { successor }, ProcessPhase::Standby { successor }),
            (took_back, ProcessPhase::Serving),
            (Event::Committed { successor }, ProcessPhase::Standby { successor }),
            (Event::StopRequested { trigger }, ProcessPhase::Standby { successor }),
            (Event::StandbyOver { successor }, ProcessPhase::Draining { successor }),
            (Event::SuccessorGone { successor }, ProcessPhase::Stopping),
        ] {
            observed.on_event(&event);
            assert_eq!(observed.snapshot().phase, phase, "{event:?}");
        }
    }
}
