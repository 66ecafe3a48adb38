//! What the successor does after the commit: it takes in what the predecessor sends.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::conn::{Context, Moved, Resting, settle};
use crate::handoff::Channel;
use crate::handoff::heartbeat::UNRESPONSIVE_AFTER;
use crate::handoff::predecessor::{Arrival, Arrivals, FromPredecessor, Predecessor};
use crate::handoff::routes::Routes;
use crate::handoff::token::Token;
use crate::handoff::wire::{Moving, ServerCount, ToPredecessor, Version};
use crate::lifecycle::until_time;
use crate::socket::{Family, ListenerNumber, Origin, Socket};

/// How soon something is said again for which the channel had no room.
const AGAIN: Duration = Duration::from_millis(100);

/// Takes in connections, and follows the predecessor's permits.
pub(crate) struct Adopter {
    channel: Channel,
    contexts: Vec<Arc<Context>>,
    routes: Routes,
    moved: Arc<Moved>,
    /// How many connections were sent to us, with those that found no room.
    received: u32,
    /// The last batch, not confirmed yet.
    arrived: Option<Arrived>,
    /// The confirmation of that batch, if the channel had no room for it: until the predecessor hears it, it sends
    /// nothing more.
    unheard: Option<ToPredecessor>,
    /// Permits that the predecessor asks for and has not got yet.
    asked: Option<Asked>,
    released: Arc<Notify>,
    /// When we last heard of the predecessor; none once it can take nothing back.
    heard_at: Option<Instant>,
}

struct Asked {
    number: u32,
    permits: Vec<ServerCount>,
    /// The channel had no room for some that could be granted.
    is_unheard: bool,
}

/// Connections that have arrived; the predecessor does not know it yet.
struct Arrived {
    /// The number of their batch; none from a predecessor of version 1.
    batch: Option<u32>,
    /// How many connections were sent before them.
    before: u32,
    arrivals: Vec<Arrival>,
}

impl Adopter {
    /// `contexts` are in the order of the routes.
    pub(crate) fn new(
        predecessor: &Predecessor,
        contexts: Vec<Arc<Context>>,
        routes: Routes,
        moved: Arc<Moved>,
        released: Arc<Notify>,
    ) -> Self {
        Self {
            channel: predecessor.channel().clone(),
            contexts,
            routes,
            moved,
            received: 0,
            arrived: None,
            unheard: None,
            asked: None,
            released,
            heard_at: (predecessor.version() >= Version::Two).then(Instant::now),
        }
    }

    /// Notes what earlier generations still hold of each server.
    pub(crate) fn count_foreign(&self, held: &[ServerCount]) {
        for (destination, context) in self.contexts.iter().enumerate() {
            context.permits.set_foreign(self.routes.count(destination, held));
        }
    }

    /// Runs until the predecessor is gone. On the control runtime: even if handlers block every serving thread, no
    /// connection waits between the two processes.
    pub(crate) async fn run(mut self) {
        let (channel, released) = (self.channel.clone(), self.released.clone());
        loop {
            // Made before the counts are read, so that no release between the two is missed.
            let freed = released.notified();
            self.confirm_again();
            self.grant();
            let mute_at = self.heard_at.map(|heard_at| heard_at + UNRESPONSIVE_AFTER);
            tokio::select! {
                biased;
                unheard = self.confirm(), if self.arrived.is_some() => {
                    self.unheard = unheard;
                    self.take_in();
                }
                // Also during a confirmation: if both sides only waited to be heard, neither would listen.
                said = Predecessor::next(&channel) => {
                    self.heard_at = self.heard_at.map(|_| Instant::now());
                    match said {
                        FromPredecessor::Connections(arrivals) => self.receive(arrivals),
                        FromPredecessor::Held(held) => self.count_foreign(&held),
                        FromPredecessor::Asks { number, held, asked } => {
                            self.count_foreign(&held);
                            self.hear_question(number, asked);
                        }
                        // Without room it is lost: the predecessor asks again.
                        FromPredecessor::Ping(number) => _ = channel.try_send(&ToPredecessor::Pong { number }),
                        FromPredecessor::StandbyOver => self.forget(),
                        FromPredecessor::Gone => return self.end(),
                    }
                }
                () = freed, if self.asked.is_some() => {}
                () = sleep(AGAIN), if self.is_unheard() => {}
                // A predecessor that slept takes no connection back: it has missed which are busy.
                () = until_time(mute_at) => self.forget(),
            }
        }
    }

    fn hear_question(&mut self, number: u32, permits: Vec<ServerCount>) {
        for (destination, context) in self.contexts.iter().enumerate() {
            context.permits.permit_requests().pass_on(self.routes.count(destination, &permits));
        }
        self.asked = (!permits.is_empty()).then_some(Asked { number, permits, is_unheard: false });
    }

    /// Grants what the predecessor asks for, as far as there are permits. It asks again for the rest.
    fn grant(&mut self) {
        let Some(Asked { number, permits, is_unheard }) = &mut self.asked else { return };
        *is_unheard = false;
        permits.retain(|asked| {
            let destination =
                self.routes.destination(&asked.server).and_then(|destination| self.contexts.get(destination));
            let count = destination.map_or(asked.count, |context| spare(context, asked.count));
            if count == 0 {
                return true;
            }
            let granted = ServerCount { server: asked.server.clone(), count };
            let is_sent = self.channel.try_send(&ToPredecessor::Granted { number: *number, granted });
            *is_unheard |= !is_sent;
            !is_sent
        });
        self.asked.take_if(|asked| asked.permits.is_empty());
    }

    /// Whether the channel had no room for something that has to be said.
    fn is_unheard(&self) -> bool {
        self.unheard.is_some() || self.asked.as_ref().is_some_and(|asked| asked.is_unheard)
    }

    fn confirm_again(&mut self) {
        self.unheard.take_if(|confirmation| self.channel.try_send(confirmation));
    }

    fn receive(&mut self, Arrivals { batch, arrivals, missing }: Arrivals) {
        // The last batch should be confirmed by now. If the predecessor sends more all the same, none gets lost.
        self.take_in();
        let before = self.received;
        let count = u32::try_from(arrivals.len() + missing).unwrap_or(u32::MAX);
        self.received = before.saturating_add(count);
        let (batch, is_ours) = match batch {
            None => (None, true),
            Some((number, token)) => (Some(number), token.is_some_and(Token::claim)),
        };
        // A withdrawn batch is the predecessor's: we just close our duplicates.
        let arrivals = if is_ours { arrivals } else { Vec::new() };
        self.arrived = Some(Arrived { batch, before, arrivals });
    }

    /// Confirms what has arrived before any of it can be reported as busy: the predecessor would ignore reports about
    /// connections that it does not know to be ours. Returns what could not be said. Cancel safe.
    async fn confirm(&self) -> Option<ToPredecessor> {
        let Arrived { batch, arrivals, .. } = self.arrived.as_ref()?;
        let count = u32::try_from(arrivals.len()).unwrap_or(u32::MAX);
        // If this fails, the predecessor is gone, and with it its descriptors: ours are the last.
        match batch {
            None => {
                _ = self.channel.send(&ToPredecessor::Taken { count }, &[]).await;
                None
            }
            // Or the predecessor is stopped: by the token the connections are ours all the same.
            Some(number) => {
                let confirmation = ToPredecessor::TakenOf { number: *number, count };
                let sent = self.channel.offer(&confirmation, &[]).await;
                matches!(sent, Ok(false)).then_some(confirmation)
            }
        }
    }

    /// Serves the connections that have arrived.
    fn take_in(&mut self) {
        let Some(Arrived { before, arrivals, .. }) = self.arrived.take() else { return };
        for (place, arrival) in (1..).zip(arrivals) {
            self.take_in_one(before.checked_add(place).and_then(Origin::new), arrival);
        }
    }

    fn take_in_one(&self, origin: Option<Origin>, Arrival { mover, fd }: Arrival) {
        let Moving { server, family, stage, ahead } = mover.moving;
        // Always there: the predecessor sends only connections of servers that we named.
        let Some((destination, listener)) = self.routes.of(&server, mover.listener) else { return };
        let Some(context) = self.contexts.get(destination) else { return };
        let Some(socket) = fit(fd, family.into(), origin, listener) else { return };
        let permit = context.permits.adopt();
        let (stage, ahead) = (stage.into(), Bytes::from(ahead));
        settle(context, Resting { socket, stage, ahead, permit, has_answered: false });
    }

    /// Nothing goes back any more.
    fn forget(&mut self) {
        self.heard_at = None;
        self.moved.forget();
    }

    /// The predecessor holds nothing any more. A batch whose confirmation it did not hear is ours, too.
    fn end(mut self) {
        self.forget();
        self.take_in();
        self.count_foreign(&[]);
    }
}

/// How many of the permits that the predecessor asks for it can have. If we have a successor, that has to grant them.
fn spare(context: &Context, asked: u64) -> u64 {
    let asked = usize::try_from(asked).unwrap_or(usize::MAX);
    let permit_requests = context.permits.permit_requests();
    let spare = if permit_requests.is_shared() {
        permit_requests.passed_on().min(asked)
    } else {
        context.permits.spare(asked)
    };
    spare as u64
}

/// The descriptor as a socket, if it is one that can be served.
fn fit(
    fd: OwnedFd,
    family: Family,
    origin: Option<Origin>,
    listener: Option<ListenerNumber>,
) -> Option<Socket> {
    let socket = socket2::SockRef::from(&fd);
    let connected = socket.peer_addr().is_ok() && socket.r#type().ok()? == socket2::Type::STREAM;
    // A client that is gone by now has no address any more; then there is nobody to serve.
    connected.then_some(Socket { fd, family, origin, listener })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::channel::Incoming;
    use crate::handoff::wire::{Hello, ToSuccessor};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use std::os::fd::AsFd;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(3);

    /// The adopter of a process without servers, whose channel to its predecessor is full, and the predecessor's end.
    async fn unheard_welcome() -> (Adopter, Channel) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let predecessor = Channel::new(theirs).unwrap();
        predecessor.send(&Hello::new(1), &[]).await.unwrap();
        predecessor.send(&ToSuccessor::Offers { offers: Vec::new(), last: true }, &[]).await.unwrap();
        let met = Predecessor::meet(ours).await.unwrap();
        assert!(matches!(predecessor.receive::<Hello>().await, Ok(Incoming::Message(..))));
        while met.channel().try_send(&ToPredecessor::Pong { number: 0 }) {}
        let adopter = Adopter::new(&met, Vec::new(), Routes::default(), Arc::default(), Arc::default());
        (adopter, predecessor)
    }

    /// The predecessor listens again, and says nothing.
    async fn hears(predecessor: &Channel, expected: &ToPredecessor) {
        let heard = async {
            loop {
                match predecessor.receive::<ToPredecessor>().await {
                    Ok(Incoming::Message(reply, _)) if reply == *expected => return,
                    Ok(Incoming::Message(ToPredecessor::Pong { .. }, _)) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        timeout(LIMIT, heard).await.unwrap_or_else(|_| panic!("never heard {expected:?}"));
    }

    #[tokio::test]
    async fn permits_that_find_the_channel_full_are_granted_once_there_is_room() {
        let (mut adopter, predecessor) = unheard_welcome().await;
        let asked = ServerCount { server: "gone".to_owned(), count: 3 };
        adopter.hear_question(7, vec![asked.clone()]);
        adopter.grant();
        assert!(adopter.is_unheard());
        tokio::spawn(adopter.run());
        // It tries once more in vain.
        tokio::task::yield_now().await;
        hears(&predecessor, &ToPredecessor::Granted { number: 7, granted: asked }).await;
    }

    #[tokio::test]
    async fn a_batch_whose_confirmation_finds_the_channel_full_is_confirmed_once_there_is_room() {
        let (mut adopter, predecessor) = unheard_welcome().await;
        let token = Token::new().unwrap();
        predecessor
            .send(&ToSuccessor::Batch { number: 5, moving: Vec::new() }, &[token.as_fd()])
            .await
            .unwrap();
        let FromPredecessor::Connections(arrivals) = Predecessor::next(&adopter.channel).await else {
            panic!()
        };
        adopter.receive(arrivals);
        adopter.unheard = adopter.confirm().await;
        assert!(adopter.is_unheard());
        adopter.take_in();
        tokio::spawn(adopter.run());
        tokio::task::yield_now().await;
        hears(&predecessor, &ToPredecessor::TakenOf { number: 5, count: 0 }).await;
    }
}
