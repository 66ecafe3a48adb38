//! The successor's view of its predecessor.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::unistd::getppid;
use serde::de::DeserializeOwned;

use crate::config::HANDOFF_VARIABLE;
use crate::error::Error;
use crate::handoff::Channel;
use crate::handoff::channel::{Incoming, has_hung_up};
use crate::handoff::heartbeat::UNRESPONSIVE_AFTER;
use crate::handoff::routes::Offer;
use crate::handoff::token::Token;
use crate::handoff::wire::{Hello, Mover, ServerCount, ToPredecessor, ToSuccessor, Version};
use crate::lifecycle::Signal;
use crate::listen::{OfferedListeners, TicketKey};
use crate::sys;

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
    version: Version,
    generation: u64,
    keys: Vec<TicketKey>,
    offers: Vec<Offer>,
    /// The descriptors of the offers, in their order, until they are taken.
    listeners: Vec<OwnedFd>,
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

fn mute() -> Error {
    Error::new(format!(
        "the predecessor has said nothing for {} and has not handed over its listeners: it is stopped or stuck, or the \
         machine is overloaded; restart again once it answers",
        crate::lifecycle::show(UNRESPONSIVE_AFTER)
    ))
}

/// A live connection from the predecessor.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) mover: Mover,
    pub(crate) fd: OwnedFd,
}

/// Connections that were sent together.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// The number of the batch, and the token that decides who owns it; no token if this process had no descriptor
    /// left for it. None from a predecessor of version 1: the connections are ours.
    pub(crate) batch: Option<(u32, Option<Token>)>,
    pub(crate) arrivals: Vec<Arrival>,
    /// For how many more this process had no descriptor.
    pub(crate) missing: usize,
}

impl Arrivals {
    fn new(
        batch: Option<(u32, Option<Token>)>,
        movers: Vec<Mover>,
        fds: impl ExactSizeIterator<Item = OwnedFd>,
    ) -> Self {
        let missing = movers.len().saturating_sub(fds.len());
        let arrivals = movers.into_iter().zip(fds).map(|(mover, fd)| Arrival { mover, fd }).collect();
        Self { batch, arrivals, missing }
    }
}

/// What the predecessor says after the commit.
#[derive(Debug)]
pub(crate) enum FromPredecessor {
    Connections(Arrivals),
    /// So many connections of each server still count against its limit.
    Held(Vec<ServerCount>),
    /// The same. `held` includes the permits in `asked`, for which it asks by this number.
    Asks {
        number: u32,
        held: Vec<ServerCount>,
        asked: Vec<ServerCount>,
    },
    /// It asks for a sign of life.
    Ping(u32),
    /// It can take nothing back any more.
    StandbyOver,
    /// It holds nothing any more: it has ended, one way or the other.
    Gone,
}

impl Predecessor {
    /// Meets the predecessor and receives its listeners. Has to be called within a runtime.
    pub(crate) async fn meet(socket: OwnedFd) -> Result<Self, Error> {
        let channel = Channel::new(socket).map_err(broken)?;
        let (hello, _) = soon::<Hello>(&channel).await?;
        let generation = hello.generation;
        channel.send(&Hello::new(generation.saturating_add(1)), &[]).await.map_err(broken)?;
        let refused = |reason| Error::new(format!("the predecessor can't hand over: {reason}"));
        let version = hello.agree().map_err(refused)?;

        let (keys, offers, listeners) = (Vec::new(), Vec::new(), Vec::new());
        let mut met = Self { channel, version, generation, keys, offers, listeners };
        while !met.receive_offers().await? {}
        Ok(met)
    }

    /// Receives one part of what the predecessor leaves us; true if it was the last.
    async fn receive_offers(&mut self) -> Result<bool, Error> {
        let (message, fds) = soon(&self.channel).await?;
        let (offers, last) = match message {
            ToSuccessor::TicketKeys { keys } => {
                self.keys = keys.iter().map(Into::into).collect();
                return Ok(false);
            }
            ToSuccessor::Listeners { names, last } => {
                let offers = names.into_iter();
                let offers =
                    offers.map(|name| Offer { server: name.server, endpoint: name.endpoint, secure: None });
                (offers.collect::<Vec<_>>(), last)
            }
            ToSuccessor::Offers { offers, last } => {
                let offers = offers.into_iter().map(|offer| Offer {
                    server: offer.server,
                    endpoint: offer.endpoint,
                    secure: Some(offer.secure),
                });
                (offers.collect(), last)
            }
            other => {
                return Err(Error::new(format!("the predecessor said {other:?} in place of its listeners")));
            }
        };
        if offers.len() != fds.len() {
            return Err(Error::new(format!(
                "of {} listeners of the predecessor {} arrived: the limit of open descriptors is reached; raise \
                 it (`ulimit -n`, LimitNOFILE)",
                offers.len(),
                fds.len()
            )));
        }
        self.offers.extend(offers);
        self.listeners.extend(fds);
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

    /// The listeners that it offers, in its order.
    pub(crate) fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// The version that both sides speak.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Its listeners.
    pub(crate) fn take_listeners(&mut self) -> OfferedListeners {
        let listeners = std::mem::take(&mut self.listeners);
        let named = self.offers.iter().zip(listeners);
        OfferedListeners::new(named.map(|(offer, fd)| (offer.server.clone(), offer.endpoint.clone(), fd)))
    }

    /// Tells the predecessor that it can stop accepting, of which of its servers we take the connections, and which
    /// of its listeners we have. Waits until it has stopped, and returns what it still holds. A predecessor that died
    /// meanwhile holds nothing, and its listeners are ours all the same.
    pub(crate) async fn ready(
        &self,
        servers: Vec<String>,
        claimed: impl Iterator<Item = usize>,
    ) -> Vec<ServerCount> {
        let claimed = claimed.filter_map(|place| u32::try_from(place).ok()).collect();
        let reply = ToPredecessor::Ready { servers, claimed };
        if self.channel.send(&reply, &[]).await.is_err() {
            return Vec::new();
        }
        // It commits at once. One that does not is stopped or stuck, and its listeners are ours to use; if
        // it comes round, its commit is heard then.
        match tokio::time::timeout(UNRESPONSIVE_AFTER, self.channel.receive::<ToSuccessor>()).await {
            Ok(Ok(Incoming::Message(ToSuccessor::Commit { held }, _))) => held,
            _ => Vec::new(),
        }
    }

    /// Tells the predecessor why we can't take its place.
    pub(crate) async fn fail(channel: &Channel, reason: String) {
        // If nobody hears it, our exit status says it.
        channel.tell(&ToPredecessor::Failed { reason }).await;
    }

    /// What the predecessor says next. Cancel safe.
    pub(crate) async fn next(channel: &Channel) -> FromPredecessor {
        loop {
            match channel.receive::<ToSuccessor>().await {
                Ok(Incoming::Message(ToSuccessor::Connections { moving }, fds)) => {
                    let movers = moving.into_iter().map(|moving| Mover { listener: None, moving }).collect();
                    return FromPredecessor::Connections(Arrivals::new(None, movers, fds.into_iter()));
                }
                Ok(Incoming::Message(ToSuccessor::Batch { number, moving }, fds)) => {
                    let mut fds = fds.into_iter();
                    let token = fds.next().map(Token::received);
                    return FromPredecessor::Connections(Arrivals::new(Some((number, token)), moving, fds));
                }
                Ok(Incoming::Message(ToSuccessor::Commit { held } | ToSuccessor::Held { held }, _)) => {
                    return FromPredecessor::Held(held);
                }
                Ok(Incoming::Message(ToSuccessor::Counts { number, held, asked }, _)) => {
                    return FromPredecessor::Asks { number, held, asked };
                }
                Ok(Incoming::Message(ToSuccessor::Ping { number }, _)) => {
                    return FromPredecessor::Ping(number);
                }
                Ok(Incoming::Message(ToSuccessor::StandbyOver, _)) => return FromPredecessor::StandbyOver,
                Ok(Incoming::Message(
                    ToSuccessor::TicketKeys { .. }
                    | ToSuccessor::Listeners { .. }
                    | ToSuccessor::Offers { .. },
                    _,
                )) => {}
                Ok(Incoming::Message(ToSuccessor::Done, _) | Incoming::Closed) | Err(_) => {
                    return FromPredecessor::Gone;
                }
            }
        }
    }

    /// Says that we have a successor ourselves.
    pub(crate) async fn succeeded(channel: &Channel) {
        channel.tell(&ToPredecessor::Succeeded).await;
    }

    /// Says that our end is of our own will.
    pub(crate) async fn announce_exit(channel: &Channel) {
        channel.tell(&ToPredecessor::Exiting).await;
    }
}

/// Receives the predecessor's next message while it hands its listeners over.
async fn soon<M: DeserializeOwned>(channel: &Channel) -> Result<(M, Vec<OwnedFd>), Error> {
    match tokio::time::timeout(UNRESPONSIVE_AFTER, channel.receive()).await {
        Ok(Ok(Incoming::Message(message, fds))) => Ok((message, fds)),
        Ok(Ok(Incoming::Closed)) => Err(left()),
        Ok(Err(error)) => Err(broken(error)),
        Err(_silence) => Err(mute()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::successor::handoff_of;
    use std::os::fd::AsRawFd;

    /// All releases share the form of the variable, as they share the messages.
    #[test]
    fn d18_the_variable_is_a_descriptor_and_the_signals_that_are_ignored() {
        assert_eq!(parse("5"), Some((5, Vec::new())));
        assert_eq!(parse("12,HUP,USR1"), Some((12, vec![Signal::Hup, Signal::Usr1])));
        let fd = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let said = handoff_of(&fd, &[Signal::Hup, Signal::Usr1]);
        assert_eq!(parse(&said), Some((fd.as_raw_fd(), vec![Signal::Hup, Signal::Usr1])));
        for wrong in ["", "x", "5,", "5,NONE"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
