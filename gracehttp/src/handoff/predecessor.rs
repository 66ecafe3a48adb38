//! The successor's view of its predecessor.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::unistd::getppid;

use crate::config::HANDOFF_VARIABLE;
use crate::error::Error;
use crate::handoff::Channel;
use crate::handoff::channel::{Incoming, has_hung_up};
use crate::handoff::message::{Bequest, Hello, ListenerName, Moving, Reply, ServerCount};
use crate::lifecycle::Signal;
use crate::listen::TicketKey;
use crate::server::Endpoint;
use crate::sys;

/// How long a predecessor may take to stop accepting once we are ready.
const COMMITTING: Duration = Duration::from_secs(5);

/// What a successor finds at its birth.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// To the predecessor.
    pub(crate) socket: OwnedFd,
    /// What the predecessor had this process ignore until its handlers stand.
    pub(crate) ignored: Vec<Signal>,
}

/// The inheritance, if this process is somebody's successor.
///
/// Has to be called before the process has a second thread. What is not the handoff of our own parent is
/// refused: it would let a stranger hand us sockets.
pub(crate) fn inherited() -> Result<Option<Inherited>, Error> {
    let Some(value) = sys::take_var(HANDOFF_VARIABLE.as_ref()) else { return Ok(None) };
    let refused = |why: &str| {
        Error::new(format!(
            "{HANDOFF_VARIABLE} is set to `{}`, but {why}; only a restart sets this variable: unset it",
            value.display()
        ))
    };
    let (number, ignored) =
        value.to_str().and_then(parse).ok_or_else(|| refused("that is not the number of a descriptor"))?;
    let socket = sys::own_inherited(number).ok_or_else(|| refused("no such descriptor was inherited"))?;
    if getsockopt(&socket, sockopt::SockType) != Ok(SockType::SeqPacket) {
        // It was never ours to close.
        std::mem::forget(socket);
        return Err(refused("that descriptor is not a handoff socket"));
    }
    let peer = getsockopt(&socket, sockopt::PeerCredentials).map(|credentials| credentials.pid());
    if peer != Ok(getppid().as_raw()) {
        return Err(refused("its other end is not held by the parent of this process"));
    }
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .map_err(|errno| refused(&format!("it can't be kept from child processes ({errno})")))?;
    Ok(Some(Inherited { socket, ignored }))
}

/// `5`, or `5,HUP,USR1`: the descriptor, and the signals that are ignored.
fn parse(value: &str) -> Option<(i32, Vec<Signal>)> {
    let mut parts = value.split(',');
    let number = parts.next()?.parse().ok()?;
    Some((number, parts.map(|name| name.parse().ok()).collect::<Option<_>>()?))
}

/// The process whose place we take.
#[derive(Debug)]
pub(crate) struct Predecessor {
    channel: Channel,
    generation: u64,
    keys: Vec<TicketKey>,
    listeners: Vec<Offered>,
}

#[derive(Debug)]
struct Offered {
    name: ListenerName,
    /// Empty once claimed.
    fd: Option<OwnedFd>,
}

fn broken(error: io::Error) -> Error {
    if has_hung_up(&error) {
        return left();
    }
    Error::caused_by(format!("the handoff from the predecessor broke: {error}"), error)
}

fn left() -> Error {
    Error::new("the predecessor ended before it had handed over its listeners")
}

/// A live connection from the predecessor.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) moving: Moving,
    pub(crate) fd: OwnedFd,
}

/// What the predecessor says after the commit.
#[derive(Debug)]
pub(crate) enum FromPredecessor {
    /// Live connections, `missing` of which found no room in this process.
    Connections { arrivals: Vec<Arrival>, missing: usize },
    /// So many connections of each server still count against its limit.
    Held(Vec<ServerCount>),
    /// It can take nothing back any more.
    StandbyOver,
    /// It holds nothing any more: it has ended, one way or the other.
    Gone,
}

impl Predecessor {
    /// Meets the predecessor and receives its listeners. Has to be called within a runtime.
    pub(crate) async fn meet(socket: OwnedFd) -> Result<Self, Error> {
        let channel = Channel::new(socket).map_err(broken)?;
        let Incoming::Message(hello, _) = channel.receive::<Hello>().await.map_err(broken)? else {
            return Err(left());
        };
        let generation = hello.generation;
        channel.send(&Hello::new(generation + 1), &[]).await.map_err(broken)?;
        hello.agree().map_err(|reason| Error::new(format!("the predecessor can't hand over: {reason}")))?;

        let mut met = Self { channel, generation, keys: Vec::new(), listeners: Vec::new() };
        while !met.receive_estate().await? {}
        Ok(met)
    }

    /// Receives one part of what the predecessor leaves us; true if it was the last.
    async fn receive_estate(&mut self) -> Result<bool, Error> {
        let Incoming::Message(message, fds) = self.channel.receive::<Bequest>().await.map_err(broken)? else {
            return Err(left());
        };
        match message {
            Bequest::TicketKeys { keys } => {
                self.keys = keys;
                Ok(false)
            }
            Bequest::Listeners { names, last } if names.len() == fds.len() => {
                let offered = names.into_iter().zip(fds).map(|(name, fd)| Offered { name, fd: Some(fd) });
                self.listeners.extend(offered);
                Ok(last)
            }
            Bequest::Listeners { names, .. } => Err(Error::new(format!(
                "of {} listeners of the predecessor {} arrived: the limit of open descriptors is reached; raise \
                 it (`ulimit -n`, LimitNOFILE)",
                names.len(),
                fds.len()
            ))),
            other => Err(Error::new(format!("the predecessor said {other:?} in place of its listeners"))),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The keys of its TLS session tickets.
    pub(crate) fn take_keys(&mut self) -> Vec<TicketKey> {
        std::mem::take(&mut self.keys)
    }

    /// The listeners of an endpoint: those of this server, else those that another server had there, since
    /// servers may be renamed. A port that the kernel chose belongs to its server alone.
    pub(crate) fn claim(&mut self, server: &str, endpoint: &Endpoint) -> Vec<OwnedFd> {
        let wanted = endpoint.to_string();
        let of_server = self.take(|name| name.server == server && name.endpoint == wanted);
        if !of_server.is_empty() || endpoint.is_chosen_by_kernel() {
            return of_server;
        }
        self.take(|name| name.endpoint == wanted)
    }

    fn take(&mut self, wanted: impl Fn(&ListenerName) -> bool) -> Vec<OwnedFd> {
        self.listeners
            .iter_mut()
            .filter(|offered| wanted(&offered.name))
            .filter_map(|offered| offered.fd.take())
            .collect()
    }

    /// Tells the predecessor that it can stop accepting, and waits until it has. Returns what it still
    /// holds. A predecessor that died meanwhile holds nothing, and its listeners are ours all the same.
    pub(crate) async fn ready(&mut self, servers: Vec<String>) -> Vec<ServerCount> {
        let claimed = (0_u32..).zip(&self.listeners).filter(|(_, offered)| offered.fd.is_none());
        let claimed = claimed.map(|(place, _)| place).collect();
        // What nobody claimed is the predecessor's to close.
        self.listeners.clear();
        let reply = Reply::Ready { servers, claimed };
        if self.channel.send(&reply, &[]).await.is_err() {
            return Vec::new();
        }
        // It commits at once. One that does not is stopped or stuck, and its listeners are ours to use; if
        // it comes round, its commit is heard then.
        match tokio::time::timeout(COMMITTING, self.channel.receive::<Bequest>()).await {
            Ok(Ok(Incoming::Message(Bequest::Commit { held }, _))) => held,
            _ => Vec::new(),
        }
    }

    /// Tells the predecessor why we can't take its place.
    pub(crate) async fn fail(channel: &Channel, reason: String) {
        // If nobody hears it, our exit status says it.
        channel.tell(&Reply::Failed { reason }).await;
    }

    /// What the predecessor says next. Cancel safe.
    pub(crate) async fn next(channel: &Channel) -> FromPredecessor {
        loop {
            match channel.receive::<Bequest>().await {
                Ok(Incoming::Message(Bequest::Connections { moving }, fds)) => {
                    let missing = moving.len().saturating_sub(fds.len());
                    let arrivals = moving.into_iter().zip(fds);
                    let arrivals = arrivals.map(|(moving, fd)| Arrival { moving, fd }).collect();
                    return FromPredecessor::Connections { arrivals, missing };
                }
                Ok(Incoming::Message(Bequest::Commit { held } | Bequest::Held { held }, _)) => {
                    return FromPredecessor::Held(held);
                }
                Ok(Incoming::Message(Bequest::StandbyOver, _)) => return FromPredecessor::StandbyOver,
                Ok(Incoming::Message(Bequest::TicketKeys { .. } | Bequest::Listeners { .. }, _)) => {}
                Ok(Incoming::Message(Bequest::Farewell, _) | Incoming::Closed) | Err(_) => {
                    return FromPredecessor::Gone;
                }
            }
        }
    }

    /// Confirms how many of the last connections were taken.
    pub(crate) async fn taken(channel: &Channel, count: usize) -> io::Result<()> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        channel.send(&Reply::Taken { count }, &[]).await
    }

    /// Says that we have a successor ourselves.
    pub(crate) async fn succeeded(channel: &Channel) {
        channel.tell(&Reply::Succeeded).await;
    }

    /// Says that our end is of our own will.
    pub(crate) async fn farewell(channel: &Channel) {
        channel.tell(&Reply::Farewell).await;
    }
}
