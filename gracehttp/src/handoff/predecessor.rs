//! The successor's view of its predecessor.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::handoff::channel::{Channel, Incoming, is_closed_by_peer};
use crate::handoff::heartbeat::UNRESPONSIVE_AFTER;
use crate::handoff::inherited::Greeting;
use crate::handoff::parcel::{DISCARD, LEDGER, Parcel, Parcels, PredecessorParcels};
use crate::handoff::placement::{Placement, PredecessorListener};
use crate::handoff::standard_error::{Overheard, STANDARD_ERROR};
use crate::handoff::token::OwnershipToken;
use crate::handoff::version::Version;
use crate::handoff::wire::{
    ConnectionV1, ConnectionV2, ConnectionV3, ConnectionV7, ConnectionV8, ProxyHeader, ServerCount,
    ToPredecessor, ToSuccessor,
};
use crate::ledger::Ledger;
use crate::listen::OfferedListeners;
use crate::tls::TicketKey;

/// A predecessor that has learnt of a failure kills this process within this time, unless it is stopped or stuck.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// The process that this one replaces.
#[derive(Debug)]
pub(crate) struct Predecessor {
    channel: Channel,
    version: Version,
    generation: u64,
    keys: Vec<TicketKey>,
    parcels: Parcels,
    listeners: Vec<PredecessorListener>,
    /// Their descriptors, in the same order, until they are taken.
    descriptors: Vec<OwnedFd>,
}

/// The channel to the predecessor can't be used before its listeners have come.
pub(super) fn channel_broke(error: io::Error) -> Error {
    if is_closed_by_peer(&error) {
        return ended_early();
    }
    Error::caused_by(format!("the handoff from the predecessor broke: {error}"), error)
}

fn ended_early() -> Error {
    Error::new("the predecessor ended before it had handed over its listeners")
}

fn unresponsive() -> Error {
    Error::new(format!(
        "the predecessor has sent nothing for {} and has not handed over its listeners: it is stopped or stuck, or the \
         machine is overloaded; restart again once it answers",
        crate::lifecycle::show(UNRESPONSIVE_AFTER)
    ))
}

/// A live connection from the predecessor.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) connection: ConnectionV3,
    /// None from a predecessor before version 7, which moves no connection that has or owes one.
    pub(crate) proxy_header: Option<ProxyHeader>,
    /// In DER; none from a predecessor before version 8, which moves no connection whose client has shown one.
    pub(crate) client_chain: Vec<Vec<u8>>,
    pub(crate) fd: OwnedFd,
}

/// A connection as any version describes it.
struct Described {
    connection: ConnectionV3,
    proxy_header: Option<ProxyHeader>,
    client_chain: Vec<Vec<u8>>,
}

impl From<ConnectionV1> for Described {
    fn from(connection: ConnectionV1) -> Self {
        ConnectionV3::from(connection).into()
    }
}

impl From<ConnectionV2> for Described {
    fn from(connection: ConnectionV2) -> Self {
        ConnectionV3::from(connection).into()
    }
}

impl From<ConnectionV3> for Described {
    fn from(connection: ConnectionV3) -> Self {
        Self { connection, proxy_header: None, client_chain: Vec::new() }
    }
}

impl From<ConnectionV7> for Described {
    fn from(ConnectionV7 { connection, proxy_header }: ConnectionV7) -> Self {
        Self { proxy_header: Some(proxy_header), ..connection.into() }
    }
}

impl From<ConnectionV8> for Described {
    fn from(ConnectionV8 { connection, client_chain }: ConnectionV8) -> Self {
        Self { client_chain, ..connection.into() }
    }
}

/// Connections that were sent together.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// The number of the batch, and its ownership token; no token if this process had no descriptor left for it. None
    /// from a predecessor of version 1: the connections are ours.
    pub(crate) batch: Option<(u32, Option<OwnershipToken>)>,
    pub(crate) arrivals: Vec<Arrival>,
    /// For how many more this process had no descriptor.
    pub(crate) missing: usize,
}

impl Arrivals {
    /// Of version 1: without a token.
    fn unnumbered(connections: Vec<ConnectionV1>, fds: Vec<OwnedFd>) -> Self {
        Self::new(None, connections, fds.into_iter())
    }

    /// The first descriptor is the token.
    fn numbered(number: u32, connections: Vec<impl Into<Described>>, fds: Vec<OwnedFd>) -> Self {
        let mut fds = fds.into_iter();
        let token = fds.next().map(OwnershipToken::received);
        Self::new(Some((number, token)), connections, fds)
    }

    fn new(
        batch: Option<(u32, Option<OwnershipToken>)>,
        connections: Vec<impl Into<Described>>,
        fds: impl ExactSizeIterator<Item = OwnedFd>,
    ) -> Self {
        let missing = connections.len().saturating_sub(fds.len());
        let arrive = |(described, fd)| {
            let Described { connection, proxy_header, client_chain } = described;
            Arrival { connection, proxy_header, client_chain, fd }
        };
        let arrivals = connections.into_iter().map(Into::into).zip(fds).map(arrive).collect();
        Self { batch, arrivals, missing }
    }
}

/// A message of the predecessor after the commit.
#[derive(Debug)]
pub(crate) enum FromPredecessor {
    Connections(Arrivals),
    /// So many connections of each server still count against its limit.
    Held(Vec<ServerCount>),
    /// As [`Held`](Self::Held), with a request of this number for the permits in `asked`, which `held` includes.
    PermitRequest {
        number: u32,
        held: Vec<ServerCount>,
        asked: Vec<ServerCount>,
    },
    /// It waits for a pong with this number.
    Ping(u32),
    /// It can take nothing back any more.
    StandbyOver,
    /// What one of its rooms has to tell.
    Parcel(Parcel),
    /// It holds nothing any more, because it is done or dead.
    Gone,
    /// What it says can't be received or understood. It may still take connections back.
    Unintelligible,
}

impl Predecessor {
    /// Agrees with the predecessor on a version, and receives its listeners. Has to be called within a runtime.
    pub(crate) async fn connect(socket: OwnedFd, greeting: Option<Greeting>) -> Result<Self, Error> {
        let channel = Channel::new(socket).map_err(channel_broke)?;
        let Greeting { hello, is_answered } = match greeting {
            Some(greeting) => greeting,
            None => Greeting { hello: receive_in_time(&channel).await?.0, is_answered: false },
        };
        if !is_answered {
            channel.send(&hello.answer(), &[]).await.map_err(channel_broke)?;
        }
        let generation = hello.generation;
        let refused = |reason| Error::new(format!("the predecessor can't hand over: {reason}"));
        let version = hello.agree().map_err(refused)?;

        let (keys, listeners, descriptors) = (Vec::new(), Vec::new(), Vec::new());
        let parcels = Parcels::default();
        let mut predecessor = Self { channel, version, generation, keys, parcels, listeners, descriptors };
        while !predecessor.receive_listeners().await? {}
        Ok(predecessor)
    }

    /// Receives one message with ticket keys, listeners or a parcel. Returns whether it was the last.
    async fn receive_listeners(&mut self) -> Result<bool, Error> {
        let (message, descriptors) = receive_in_time(&self.channel).await?;
        let (listeners, last) = match message {
            ToSuccessor::TicketKeys { keys } => {
                self.keys = keys.iter().map(Into::into).collect();
                return Ok(false);
            }
            ToSuccessor::Parcel { name, data } => {
                self.parcels.add(Parcel { name, data, fds: descriptors });
                return Ok(false);
            }
            ToSuccessor::Listeners { listeners, last } => (named(listeners), last),
            ToSuccessor::Offers { listeners, last } => (named(listeners), last),
            other => {
                return Err(Error::new(format!("the predecessor sent {other:?} in place of its listeners")));
            }
        };
        if listeners.len() != descriptors.len() {
            return Err(Error::new(format!(
                "of {} listeners of the predecessor {} arrived: the limit of open descriptors is reached; raise \
                 it (`ulimit -n`, LimitNOFILE)",
                listeners.len(),
                descriptors.len()
            )));
        }
        self.listeners.extend(listeners);
        self.descriptors.extend(descriptors);
        Ok(last)
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

    /// The parcel with this name, if it sent one.
    pub(crate) fn take_parcel(&mut self, name: &str) -> Option<Parcel> {
        self.parcels.take(name)
    }

    /// Lets the predecessor hear what this process writes to standard error from now on, if it has sent a pipe for that.
    pub(crate) fn overhear(&mut self) -> Option<Overheard> {
        self.parcels.take(STANDARD_ERROR).and_then(Overheard::begin)
    }

    /// The listeners that it offers, in its order.
    pub(crate) fn listeners(&self) -> &[PredecessorListener] {
        &self.listeners
    }

    /// A way for parcels to it.
    pub(crate) fn parcels(&self) -> PredecessorParcels {
        PredecessorParcels::new(&self.channel, self.version)
    }

    /// The version that both sides speak.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The listeners with their descriptors, to be adopted.
    pub(crate) fn take_listeners(&mut self) -> OfferedListeners {
        let offered = self.listeners.iter().zip(std::mem::take(&mut self.descriptors));
        let named = offered.map(|(listener, fd)| (listener.server.clone(), listener.endpoint.clone(), fd));
        OfferedListeners::new(named)
    }

    /// Tells the predecessor that it can stop accepting, whose connections we take, and which of its listeners we have.
    /// Waits until it has stopped, and returns how many connections it still holds. A predecessor that has died holds
    /// none, and its listeners are ours even so.
    pub(crate) async fn ready(
        &self,
        placement: &Placement,
        claimed: impl Iterator<Item = usize>,
    ) -> Vec<ServerCount> {
        let claimed = claimed.filter_map(|index| u32::try_from(index).ok()).collect();
        let reply = match self.version.moves_client_certs() {
            true => ToPredecessor::ReadyV8 {
                servers: placement.servers(),
                claimed,
                with_client_certs: placement.with_client_certs(),
            },
            false => ToPredecessor::Ready { servers: placement.servers_of_any_client(), claimed },
        };
        if self.channel.send(&reply, &[]).await.is_err() {
            return Vec::new();
        }
        // It commits at once. If it does not, it is stopped or stuck, and its listeners are ours to use. Its commit may
        // still come later.
        match tokio::time::timeout(UNRESPONSIVE_AFTER, self.channel.receive::<ToSuccessor>()).await {
            Ok(Ok(Incoming::Message(ToSuccessor::Commit { held }, _))) => held,
            _ => Vec::new(),
        }
    }

    /// Tells the predecessor that a rehearsal has come to its end, and waits until it discards this process.
    pub(crate) async fn rehearsed(&self, placement: &Placement, claimed: impl Iterator<Item = usize>) {
        let servers = placement.servers();
        let claimed = claimed.filter_map(|index| u32::try_from(index).ok()).collect();
        if self.channel.send(&ToPredecessor::Ready { servers, claimed }, &[]).await.is_err() {
            return;
        }
        loop {
            match self.channel.receive::<ToSuccessor>().await {
                // This process must not serve, whatever comes in place of the word for its end.
                Ok(Incoming::Message(ToSuccessor::Parcel { name, .. }, _)) if name != DISCARD => {}
                _ => return,
            }
        }
    }

    /// Tells the predecessor why we can't take its place. It logs the reason and kills this process, which would
    /// otherwise log the same once more.
    pub(crate) async fn fail(channel: &Channel, reason: String) {
        // If it does not receive that, it sees our exit status.
        let sent = channel.send_in_time(&ToPredecessor::Failed { reason }, &[]).await;
        if matches!(sent, Ok(true)) {
            let closed =
                async { while let Ok(Incoming::Message(..)) = channel.receive::<ToSuccessor>().await {} };
            let _ = tokio::time::timeout(KILLED_WITHIN, closed).await;
        }
    }

    /// Where the predecessor reads the marks of connections, if it has sent that. Can be taken once.
    pub(crate) fn take_ledger(&mut self) -> Option<Ledger> {
        let file = self.parcels.take(LEDGER)?.fds.pop()?;
        match Ledger::of(&file) {
            Ok(ledger) => Some(ledger),
            Err(error) => {
                crate::log::notice(format_args!(
                    "the predecessor's memory for the marks of connections can't be shared: {error}; until its standby \
                     is over, requests on connections that have moved take more CPU"
                ));
                None
            }
        }
    }

    /// The predecessor's next message. Cancel safe.
    pub(crate) async fn next(channel: &Channel) -> FromPredecessor {
        loop {
            match channel.receive::<ToSuccessor>().await {
                Ok(Incoming::Message(ToSuccessor::Connections { connections }, fds)) => {
                    return FromPredecessor::Connections(Arrivals::unnumbered(connections, fds));
                }
                Ok(Incoming::Message(ToSuccessor::Batch { number, connections }, fds)) => {
                    return FromPredecessor::Connections(Arrivals::numbered(number, connections, fds));
                }
                Ok(Incoming::Message(ToSuccessor::BatchV3 { number, connections }, fds)) => {
                    return FromPredecessor::Connections(Arrivals::numbered(number, connections, fds));
                }
                Ok(Incoming::Message(ToSuccessor::BatchV7 { number, connections }, fds)) => {
                    return FromPredecessor::Connections(Arrivals::numbered(number, connections, fds));
                }
                Ok(Incoming::Message(ToSuccessor::BatchV8 { number, connections }, fds)) => {
                    return FromPredecessor::Connections(Arrivals::numbered(number, connections, fds));
                }
                Ok(Incoming::Message(ToSuccessor::Commit { held } | ToSuccessor::Held { held }, _)) => {
                    return FromPredecessor::Held(held);
                }
                Ok(Incoming::Message(ToSuccessor::Counts { number, held, asked }, _)) => {
                    return FromPredecessor::PermitRequest { number, held, asked };
                }
                Ok(Incoming::Message(ToSuccessor::Ping { number }, _)) => {
                    return FromPredecessor::Ping(number);
                }
                Ok(Incoming::Message(ToSuccessor::StandbyOver, _)) => return FromPredecessor::StandbyOver,
                Ok(Incoming::Message(ToSuccessor::Parcel { name, data }, fds)) => {
                    return FromPredecessor::Parcel(Parcel { name, data, fds });
                }
                Ok(Incoming::Message(
                    ToSuccessor::TicketKeys { .. }
                    | ToSuccessor::Listeners { .. }
                    | ToSuccessor::Offers { .. },
                    _,
                )) => {}
                Ok(Incoming::Message(ToSuccessor::Done, _) | Incoming::Closed) => {
                    return FromPredecessor::Gone;
                }
                Err(error) if is_closed_by_peer(&error) => return FromPredecessor::Gone,
                Err(_) => return FromPredecessor::Unintelligible,
            }
        }
    }

    /// Tells the predecessor that this process has a successor itself.
    pub(crate) async fn announce_successor(channel: &Channel) {
        channel.send_best_effort(&ToPredecessor::HasSuccessor).await;
    }

    /// Tells the predecessor that this process ends by its own decision.
    pub(crate) async fn announce_exit(channel: &Channel) {
        channel.send_best_effort(&ToPredecessor::Exiting).await;
    }
}

/// The listeners of a message.
fn named<L: Into<PredecessorListener>>(listeners: Vec<L>) -> Vec<PredecessorListener> {
    listeners.into_iter().map(Into::into).collect()
}

/// Receives the predecessor's next message while it hands its listeners over.
async fn receive_in_time<M: DeserializeOwned>(channel: &Channel) -> Result<(M, Vec<OwnedFd>), Error> {
    match tokio::time::timeout(UNRESPONSIVE_AFTER, channel.receive()).await {
        Ok(Ok(Incoming::Message(message, fds))) => Ok((message, fds)),
        Ok(Ok(Incoming::Closed)) => Err(ended_early()),
        Ok(Err(error)) => Err(channel_broke(error)),
        Err(_silence) => Err(unresponsive()),
    }
}
