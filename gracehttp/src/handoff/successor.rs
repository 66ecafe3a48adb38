//! The predecessor's view of its successor, up to the commit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal as Number, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;
use tokio::time::sleep;

use crate::config::HANDOFF_VARIABLE;
use crate::conn::Capabilities;
use crate::error::Error;
use crate::handoff::channel::{Channel, Incoming};
use crate::handoff::child::Child;
use crate::handoff::command::StartCommand;
use crate::handoff::inherited::variable_value;
use crate::handoff::parcel::{self, DISCARD, LEDGER, Parcel, ParcelSender, REHEARSAL};
use crate::handoff::standard_error::Heard;
use crate::handoff::version::Version;
use crate::handoff::wire::{
    Hello, ListenerV1, ListenerV2, MAX_LISTENERS, ServerCount, ToPredecessor, ToSuccessor,
};
use crate::ledger::Ledger;
use crate::lifecycle::{AT_LEAST, Signal};
use crate::listen::limit_at_start;
use crate::sys::Inheritance;
use crate::tls::TicketKey;

/// How long a process without further work may take to exit.
const EXIT_WITHIN: Duration = Duration::from_millis(500);

/// How long a killed successor may take to exit.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// A successor that was asked to end is killed after this time. It needs some: its start-up code may have begun
/// tasks, and registered clean-up code.
const STOP_WITHIN: Duration = AT_LEAST.saturating_add(EXIT_WITHIN);

/// A process that was started to take our place.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Child,
    channel: Channel,
    /// Our greeting, if the kernel had no memory for it when the successor was started.
    unsent: Option<Hello>,
    version: Version,
    /// Where it marks its connections, if it was sent that.
    ledger: Option<Ledger>,
    /// What it writes to standard error; none before it has greeted this process.
    heard: Option<Heard>,
}

/// A listener that is offered to the successor.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) server: String,
    /// The endpoint as it was configured.
    pub(crate) endpoint: String,
    /// Its connections speak TLS.
    pub(crate) secure: bool,
}

impl From<Offer> for ListenerV1 {
    fn from(Offer { server, endpoint, .. }: Offer) -> Self {
        Self { server, endpoint }
    }
}

impl From<Offer> for ListenerV2 {
    fn from(Offer { server, endpoint, secure }: Offer) -> Self {
        Self { server, endpoint, secure }
    }
}

/// What a ready successor takes over.
#[derive(Debug)]
pub(crate) struct Claims {
    /// The servers whose connections it takes.
    pub(crate) servers: Vec<String>,
    /// The indices of the listeners that it has, in the order of the offers.
    pub(crate) listeners: Vec<usize>,
    /// The servers whose connections over TLS it takes only if their clients have shown certificates.
    pub(crate) with_client_certs: Vec<String>,
}

impl Claims {
    /// Fails if the successor claims listeners that it was not offered.
    fn new(
        servers: Vec<String>,
        claimed: Vec<u32>,
        with_client_certs: Vec<String>,
        offered: usize,
    ) -> Result<Self, String> {
        let listeners: Vec<usize> = claimed.into_iter().map(|index| index as usize).collect();
        if listeners.iter().any(|index| *index >= offered) {
            return Err("it claims listeners that it was not offered".to_owned());
        }
        Ok(Self { servers, listeners, with_client_certs })
    }
}

/// What a successor is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To take our place.
    Restart,
    /// To show that it could: it is discarded once it is ready.
    Rehearsal,
}

impl Successor {
    /// Starts the successor of a process of this generation. Until it has installed its own handlers, it ignores the
    /// signals in `ignored`, and those in `held_back` wait.
    pub(crate) fn start(
        start_command: &StartCommand,
        generation: u64,
        ignored: &[Signal],
        held_back: &[Signal],
    ) -> Result<Self, Error> {
        let program = start_command.program().display();
        let failed = |what: &str, error: io::Error| {
            Error::caused_by(format!("start new process failed: {what} `{program}`: {error}"), error)
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|errno| failed("no socketpair for", errno.into()))?;
        let channel = Channel::new(ours).map_err(|error| failed("no channel to", error))?;
        // Before it runs, so that it can answer first of all.
        let hello = Hello::new(generation);
        let is_sent = channel.send_now(&hello).map_err(|error| failed("no channel to", error))?;
        let unsent = (!is_sent).then_some(hello);
        let program = start_command.program_with(HANDOFF_VARIABLE, variable_value(&theirs, ignored));
        let inheritance = Inheritance {
            descriptor: theirs.as_fd(),
            ignored: &numbers(ignored),
            held_back: &numbers(held_back),
            descriptors: limit_at_start(),
        };
        let child = Child::start(&program, &inheritance).map_err(|error| failed("cannot run", error))?;
        // Ours is the only end left here: if the successor dies, the channel closes.
        drop(theirs);
        Ok(Self { child, channel, unsent, version: Version::OLDEST, ledger: None, heard: None })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// The channel to it.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The version that both sides speak, once the handshake is done.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Which connections it can take over.
    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities {
            ahead: self.version.max_ahead(),
            sessions: self.version.moves_sessions(),
            proxy_headers: self.version.moves_proxy_headers(),
            client_certs: self.version.moves_client_certs(),
            // It says that of each server.
            needs_client_certs: false,
        }
    }

    /// Sends it parcels, from the commit on.
    pub(crate) fn parcels(&self) -> ParcelSender {
        ParcelSender::to_successor(&self.channel, self.version)
    }

    /// Offers the listeners and waits until the successor is ready to serve through them. The parcels go to a successor
    /// that understands them.
    pub(crate) async fn ready(
        &mut self,
        purpose: Purpose,
        keys: &[TicketKey],
        parcels: Vec<Parcel>,
        listeners: &[(Offer, BorrowedFd<'_>)],
    ) -> Result<Claims, String> {
        let mut has_spoken = false;
        let conversation = async {
            if let Some(hello) = self.unsent.take() {
                self.channel.send(&hello, &[]).await?;
            }
            let Incoming::Message(hello, _) = self.channel.receive::<Hello>().await? else {
                return Ok(None);
            };
            has_spoken = true;
            self.version = match hello.agree() {
                Ok(version) => version,
                Err(reason) => {
                    return Ok(Some(Err(format!("the successor is of another release: {reason}"))));
                }
            };
            if purpose == Purpose::Rehearsal && !self.version.has_parcels() {
                // It would take our place in spite of us.
                return Ok(Some(Err(
                    "its release of gracehttp knows no rehearsal, and would take over in earnest: restart \
                     without a rehearsal, or build it with this release"
                        .to_owned(),
                )));
            }
            self.channel
                .send(&ToSuccessor::TicketKeys { keys: keys.iter().map(Into::into).collect() }, &[])
                .await?;
            if purpose == Purpose::Rehearsal {
                parcel::send_all(&self.channel, vec![Parcel::new(REHEARSAL, Vec::new())]).await?;
            }
            if self.version.has_parcels() {
                // The first of the parcels: a fault in reading the others is heard, too.
                if let Some((heard, parcel)) = Heard::begin()? {
                    self.heard = Some(heard);
                    parcel::send_all(&self.channel, vec![parcel]).await?;
                }
                if purpose == Purpose::Restart {
                    self.send_ledger().await?;
                }
                parcel::send_all(&self.channel, parcels).await?;
            }
            offer(&self.channel, self.version, listeners).await?;
            let reply = loop {
                match self.channel.receive::<ToPredecessor>().await? {
                    // No room expects one so early.
                    Incoming::Message(ToPredecessor::Parcel { .. }, _) => {}
                    Incoming::Message(reply, _) => break reply,
                    Incoming::Closed => return Ok(None),
                }
            };
            Ok::<_, io::Error>(Some(match reply {
                ToPredecessor::Ready { servers, claimed } => {
                    Claims::new(servers, claimed, Vec::new(), listeners.len())
                }
                ToPredecessor::ReadyV8 { servers, claimed, with_client_certs } => {
                    Claims::new(servers, claimed, with_client_certs, listeners.len())
                }
                ToPredecessor::Failed { reason } => Err(reason),
                other => Err(format!("it sent {other:?} before it was ready")),
            }))
        };
        match conversation.await {
            Ok(Some(verdict)) => verdict,
            // It died, or closed its end, which is as good as dead.
            Ok(None) => Err(self.exit_reason(has_spoken).await),
            Err(error) => match tokio::time::timeout(EXIT_WITHIN, self.child.wait()).await {
                Ok(Ok(status)) => Err(describe_early(status, has_spoken)),
                _ => Err(format!("the channel to it broke: {error}")),
            },
        }
    }

    /// Sends the ledger. Without one the successor reports its connections by messages, which cost more.
    async fn send_ledger(&mut self) -> io::Result<()> {
        match Ledger::create() {
            Ok((ledger, file)) => {
                self.ledger = Some(ledger);
                let parcel = Parcel { fds: vec![file], ..Parcel::new(LEDGER, Vec::new()) };
                parcel::send_all(&self.channel, vec![parcel]).await
            }
            Err(error) => {
                crate::log::notice(format_args!(
                    "there is no shared memory for the marks of connections: {error}; in standby, requests on \
                     connections that have moved take more CPU"
                ));
                Ok(())
            }
        }
    }

    /// Where it marks its connections. Can be taken once.
    pub(super) fn take_ledger(&mut self) -> Option<Ledger> {
        self.ledger.take()
    }

    /// Whether it is dead. If the application has reaped it, asking for it fails.
    pub(super) fn is_dead(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Tells the successor to begin. If that message is lost, the successor begins after a while without it.
    pub(crate) async fn commit(&self, held: Vec<ServerCount>) {
        self.channel.send_best_effort(&ToSuccessor::Commit { held }).await;
    }

    /// Tells the successor that no message follows.
    pub(crate) async fn announce_end(&self) {
        // A successor that does not receive it notices that the channel is closed.
        self.channel.send_best_effort(&ToSuccessor::Done).await;
    }

    /// Leaves it to the process that inherits the children of this one, which is about to end. It alone may reap it, and
    /// learn how it ended.
    pub(crate) fn leave(self) {
        if let Some(heard) = self.heard {
            heard.leave();
        }
    }

    /// How it ended, if it has ended or ends now.
    pub(crate) async fn ended(&mut self) -> Option<String> {
        match tokio::time::timeout(EXIT_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) => Some(describe(status)),
            Ok(Err(error)) => Some(format!("its end could not be observed: {error}")),
            Err(_still_runs) => None,
        }
    }

    /// Makes sure that a successor that has closed its channel ends, and returns how it ended.
    pub(crate) async fn end(&mut self) -> String {
        if let Some(how) = self.ended().await {
            return how;
        }
        self.child.kill();
        let how = self.ended().await.unwrap_or_else(|| "it can't be killed".to_owned());
        format!("it continued to run after its end of the handoff had closed, and {how}")
    }

    /// Kills it, and reaps it. Returns the last lines that it has written to standard error.
    pub(crate) async fn kill(mut self) -> Vec<String> {
        self.child.kill();
        if tokio::time::timeout(KILLED_WITHIN, self.child.wait()).await.is_err() {
            crate::log::error(format_args!(
                "the successor, pid {}, has not ended within {} of being killed: the kernel holds it (`ps -o stat,wchan \
                 {}` shows where)",
                self.pid(),
                crate::lifecycle::show(KILLED_WITHIN),
                self.pid()
            ));
        }
        match self.heard {
            Some(heard) => heard.last_lines().await,
            None => Vec::new(),
        }
    }

    /// Asks it to end. It is killed if it takes too long, or once `hurry` resolves.
    pub(crate) async fn stop(self, hurry: impl Future<Output = ()>) {
        match kill(self.pid(), Number::SIGTERM) {
            Ok(()) | Err(Errno::ESRCH) => self.await_end(hurry).await,
            Err(_) => drop(self.kill().await),
        }
    }

    /// Ends a rehearsal, in which it has become ready. It is killed if it takes too long, or once `hurry` resolves.
    pub(crate) async fn discard(self, hurry: impl Future<Output = ()>) {
        match self.parcels().send(Parcel::new(DISCARD, Vec::new())).await {
            true => self.await_end(hurry).await,
            false => drop(self.kill().await),
        }
    }

    async fn await_end(mut self, hurry: impl Future<Output = ()>) {
        tokio::select! {
            _ = self.child.wait() => {}
            () = sleep(STOP_WITHIN) => drop(self.kill().await),
            () = hurry => drop(self.kill().await),
        }
    }

    async fn exit_reason(&mut self, has_spoken: bool) -> String {
        match tokio::time::timeout(EXIT_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => {
                "it exited with status 0 before it was ready: a signal may have stopped it".to_owned()
            }
            Ok(Ok(status)) => describe_early(status, has_spoken),
            _ => "it closed its end of the handoff and gave no reason".to_owned(),
        }
    }
}

fn numbers(signals: &[Signal]) -> Vec<Number> {
    signals.iter().map(|signal| signal.number()).collect()
}

async fn offer(channel: &Channel, version: Version, listeners: &[(Offer, BorrowedFd<'_>)]) -> io::Result<()> {
    let mut rest = listeners;
    loop {
        let (batch, after) = rest.split_at(rest.len().min(MAX_LISTENERS));
        let last = after.is_empty();
        let offers = batch.iter().map(|(offer, _)| offer.clone());
        let message = if version.describes_listeners() {
            ToSuccessor::Offers { listeners: offers.map(ListenerV2::from).collect(), last }
        } else {
            ToSuccessor::Listeners { listeners: offers.map(ListenerV1::from).collect(), last }
        };
        let fds: Vec<BorrowedFd<'_>> = batch.iter().map(|(_, fd)| *fd).collect();
        channel.send(&message, &fds).await?;
        if last {
            return Ok(());
        }
        rest = after;
    }
}

/// An exit status in words: `exited with status 1`, `was killed by SIGABRT`.
fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with status {code}"),
        (None, Some(number)) => {
            let name =
                Number::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.to_string());
            format!("it was killed by {name}")
        }
        (None, None) => "it ended".to_owned(),
    }
}

/// The exit status, in words, of a process that was not ready. Before it speaks to us, nothing that it writes can be heard.
fn describe_early(status: ExitStatus, has_spoken: bool) -> String {
    let how = describe(status);
    match has_spoken {
        true => how,
        false => format!(
            "{how} before it came to gracehttp: the dynamic loader, or `main`, may have said why on standard error"
        ),
    }
}
