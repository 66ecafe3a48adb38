//! What the successor does after the commit: it adopts the connections that the predecessor sends.
//!
//! It uses a TLS session only when the predecessor can't use it any more: after the confirmation of its batch was sent,
//! or when the predecessor is gone.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::conn::{Context, Moved, Resting, admit};
use crate::handoff::channel::{Channel, is_closed_by_peer};
use crate::handoff::heartbeat::UNRESPONSIVE_AFTER;
use crate::handoff::parcel::ParcelHandlers;
use crate::handoff::placement::{Kind, Placement};
use crate::handoff::predecessor::{Arrival, Arrivals, FromPredecessor, Predecessor};
use crate::handoff::session::Unusable;
use crate::handoff::token::OwnershipToken;
use crate::handoff::wire::{self, ConnectionV1, ConnectionV2, ConnectionV3, ServerCount, ToPredecessor};
use crate::lifecycle::until_time;
use crate::socket::{Origin, ProxyHeader, Socket, Untaken};
use crate::sys;

/// How soon a message is sent again for which the channel had no room.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Adopts connections, and follows the predecessor's permits.
pub(crate) struct Adopter {
    channel: Channel,
    contexts: Vec<Arc<Context>>,
    placement: Placement,
    moved: Arc<Moved>,
    /// How many connections were sent to us, with those that found no room.
    received: u32,
    /// Batches that are not confirmed yet, in their order.
    arrived: VecDeque<Arrived>,
    /// The confirmations for which the channel had no room. Without them the predecessor soon sends no more connections.
    unsent: Vec<Unsent>,
    /// Permits that the predecessor asks for and has not got yet.
    request: Option<PermitRequest>,
    released: Arc<Notify>,
    parcels: ParcelHandlers,
    /// When the predecessor's last message came; none once it can take nothing back, and if it has a ledger, which it
    /// can read even after it was suspended.
    last_message_at: Option<Instant>,
}

struct PermitRequest {
    number: u32,
    permits: Vec<ServerCount>,
    /// Some permits could be granted, but the channel had no room for the message.
    is_blocked: bool,
}

/// Connections that have arrived and are not confirmed yet.
struct Arrived {
    /// The number of their batch; none from a predecessor of version 1.
    batch: Option<u32>,
    /// How many connections were sent before them.
    before: u32,
    arrivals: Vec<Arrival>,
}

/// A confirmation for which the channel had no room.
struct Unsent {
    confirmation: ToPredecessor,
    /// The TLS connections of its batch.
    sessions: Vec<Arrival>,
}

/// What has become of a confirmation.
enum Confirmation {
    /// It was sent, or the predecessor is gone and takes nothing back any more.
    Final,
    /// The channel had no room for it.
    Unsent(ToPredecessor),
    /// It can't be sent.
    Failed,
}

impl Confirmation {
    fn new(confirmation: ToPredecessor, sent: io::Result<bool>) -> Self {
        match sent {
            Ok(true) => Self::Final,
            Ok(false) => Self::Unsent(confirmation),
            Err(error) if is_closed_by_peer(&error) => Self::Final,
            Err(_) => Self::Failed,
        }
    }
}

impl Adopter {
    /// `contexts` are in the order of the servers of `placement`.
    pub(crate) fn new(
        predecessor: &Predecessor,
        contexts: Vec<Arc<Context>>,
        placement: Placement,
        moved: Arc<Moved>,
        released: Arc<Notify>,
        parcels: ParcelHandlers,
    ) -> Self {
        let misses_reports = predecessor.version().pings() && !moved.has_ledger();
        Self {
            channel: predecessor.channel().clone(),
            contexts,
            placement,
            moved,
            received: 0,
            arrived: VecDeque::new(),
            unsent: Vec::new(),
            request: None,
            released,
            parcels,
            last_message_at: misses_reports.then(Instant::now),
        }
    }

    /// Notes how many permits of each server earlier generations still hold.
    pub(crate) fn count_foreign(&self, held: &[ServerCount]) {
        for (server, context) in self.contexts.iter().enumerate() {
            context.permits.set_foreign(self.placement.count(server, held));
        }
    }

    /// Runs until the predecessor is gone. It runs on the control runtime: even if handlers block every serving thread,
    /// no connection waits between the two processes.
    pub(crate) async fn run(mut self) {
        let (channel, released) = (self.channel.clone(), self.released.clone());
        loop {
            // Made before the counts are read, so that no release between the two is missed.
            let freed = released.notified();
            self.confirm_again();
            self.grant();
            let unresponsive_at = self.last_message_at.map(|at| at + UNRESPONSIVE_AFTER);
            tokio::select! {
                biased;
                confirmation = self.confirm(), if !self.arrived.is_empty() => self.adopt(confirmation),
                // Also during a confirmation: if both sides only waited for room to send, neither would receive.
                message = Predecessor::next(&channel) => {
                    self.last_message_at = self.last_message_at.map(|_| Instant::now());
                    match message {
                        FromPredecessor::Connections(arrivals) => self.receive(arrivals),
                        FromPredecessor::Held(held) => self.count_foreign(&held),
                        FromPredecessor::PermitRequest { number, held, asked } => {
                            self.count_foreign(&held);
                            self.note_request(number, asked);
                        }
                        // Without room the pong is lost: the predecessor pings again.
                        FromPredecessor::Ping(number) => _ = channel.try_send(&ToPredecessor::Pong { number }),
                        FromPredecessor::StandbyOver => self.end_standby(),
                        FromPredecessor::Parcel(parcel) => self.parcels.handle(parcel),
                        FromPredecessor::Gone => {
                            self.end_standby();
                            return self.end();
                        }
                        // It is about to kill this process, or it is stuck. Until then the marks have to be right.
                        FromPredecessor::Unintelligible => return self.end(),
                    }
                }
                () = freed, if self.request.is_some() => {}
                () = sleep(RETRY_AFTER), if self.is_blocked() => {}
                // A predecessor that was suspended takes no connection back: it has missed which are busy.
                () = until_time(unresponsive_at) => self.end_standby(),
            }
        }
    }

    fn note_request(&mut self, number: u32, permits: Vec<ServerCount>) {
        for (server, context) in self.contexts.iter().enumerate() {
            context.permits.permit_requests().pass_on(self.placement.count(server, &permits));
        }
        self.request = (!permits.is_empty()).then_some(PermitRequest { number, permits, is_blocked: false });
    }

    /// Grants the predecessor as many of the permits that it asks for as are free. It asks again for the rest.
    fn grant(&mut self) {
        let Some(PermitRequest { number, permits, is_blocked }) = &mut self.request else { return };
        *is_blocked = false;
        permits.retain(|asked| {
            let context = self.placement.server(&asked.server).and_then(|server| self.contexts.get(server));
            let count = context.map_or(asked.count, |context| spare_permits(context, asked.count));
            if count == 0 {
                return true;
            }
            let granted = ServerCount { server: asked.server.clone(), count };
            let is_sent = self.channel.try_send(&ToPredecessor::Granted { number: *number, granted });
            *is_blocked |= !is_sent;
            !is_sent
        });
        self.request.take_if(|request| request.permits.is_empty());
    }

    /// Whether the channel had no room for a message that has to be sent.
    fn is_blocked(&self) -> bool {
        !self.unsent.is_empty() || self.request.as_ref().is_some_and(|request| request.is_blocked)
    }

    fn confirm_again(&mut self) {
        for Unsent { confirmation, sessions } in std::mem::take(&mut self.unsent) {
            let sent = self.channel.send_now(&confirmation);
            self.adopt_sessions(sessions, Confirmation::new(confirmation, sent));
        }
    }

    fn receive(&mut self, Arrivals { batch, arrivals, missing }: Arrivals) {
        let before = self.received;
        let count = u32::try_from(arrivals.len() + missing).unwrap_or(u32::MAX);
        self.received = before.saturating_add(count);
        let (batch, is_ours) = match batch {
            None => (None, true),
            Some((number, token)) => (Some(number), token.is_some_and(OwnershipToken::claim)),
        };
        // A withdrawn batch is the predecessor's. We close our duplicates, and drop our copies of its TLS sessions, which
        // were never used.
        let arrivals = if is_ours { arrivals } else { Vec::new() };
        self.arrived.push_back(Arrived { batch, before, arrivals });
    }

    /// Confirms the first of the batches that have arrived, before any of its connections can be reported as busy: the
    /// predecessor would ignore reports about connections that it does not know to be ours. Cancel safe.
    async fn confirm(&self) -> Confirmation {
        let Some(Arrived { batch, arrivals, .. }) = self.arrived.front() else { return Confirmation::Failed };
        let count = u32::try_from(arrivals.len()).unwrap_or(u32::MAX);
        match batch {
            None => {
                let taken = ToPredecessor::Taken { count };
                // If this fails, the predecessor is gone, and with it its descriptors: ours are the last.
                let sent = self.channel.send(&taken, &[]).await.map(|()| true);
                Confirmation::new(taken, sent)
            }
            // A predecessor that is stopped does not read it, but by the token the connections are ours.
            Some(number) => {
                let taken = ToPredecessor::TakenOf { number: *number, count };
                let sent = self.channel.send_in_time(&taken, &[]).await;
                Confirmation::new(taken, sent)
            }
        }
    }

    /// Serves the connections of the first batch that has arrived.
    fn adopt(&mut self, confirmation: Confirmation) {
        let Some(Arrived { before, arrivals, .. }) = self.arrived.pop_front() else { return };
        let mut sessions = Vec::new();
        for (place, arrival) in (1..).zip(arrivals) {
            if arrival.connection.session.is_some() {
                sessions.push(arrival);
            } else {
                // Always usable: it has no session.
                let _ = self.adopt_one(before.checked_add(place).and_then(Origin::new), arrival);
            }
        }
        self.adopt_sessions(sessions, confirmation);
    }

    /// Serves TLS connections if their confirmation is final, and keeps them if it is not sent yet. Otherwise they are
    /// closed without an alert: the predecessor may still seal a record with the same number.
    fn adopt_sessions(&mut self, sessions: Vec<Arrival>, confirmation: Confirmation) {
        match confirmation {
            Confirmation::Unsent(confirmation) => {
                self.unsent.push(Unsent { confirmation, sessions });
            }
            Confirmation::Failed => {}
            Confirmation::Final => {
                // They never go back to the predecessor, so it needs no reports about them.
                let adopted = sessions.into_iter().map(|session| self.adopt_one(None, session));
                let unusable: Vec<Unusable> = adopted.filter_map(Result::err).collect();
                if let Some(why) = unusable.first() {
                    crate::log::notice(format_args!(
                        "{} HTTPS connections of the predecessor are closed: {why}; their clients connect again",
                        unusable.len()
                    ));
                }
            }
        }
    }

    fn adopt_one(&self, origin: Option<Origin>, arrival: Arrival) -> Result<(), Unusable> {
        let Arrival { connection, proxy_header: said, client_chain, fd } = arrival;
        let ConnectionV3 { connection: ConnectionV2 { listener, connection }, session } = connection;
        let ConnectionV1 { server, family, stage, ahead } = connection;
        // The handlers of a server with TLS alone may rely on it. A predecessor of version 1 does not say which of its
        // servers have it; others send only connections that have a place.
        let kind = Kind::of(session.is_some(), !client_chain.is_empty());
        let place = self.placement.of(&server, listener, kind);
        let found = place.and_then(|place| Some((place.listener, self.contexts.get(place.server)?)));
        let Some((listener, context)) = found.filter(|(_, context)| context.serves(session.is_some())) else {
            // Shut down explicitly: the predecessor may hold a duplicate, which would keep the connection open.
            let _ = sys::shut_down(fd.as_fd());
            return Ok(());
        };
        let session = session.map(|session| session.receive(client_chain)).transpose()?;
        // The client may have left. Then the parking lot wakes the connection at once, and it ends like any other.
        let proxy_header = ProxyHeader::AsListed;
        let (family, untaken) = (family.into(), Untaken::UNKNOWN);
        let socket = Socket { fd, family, origin, listener, session, proxy_header, untaken };
        let Some(proxy_header) = known(said, context, &socket) else {
            // Without it the proxy would be taken for the client.
            let _ = sys::shut_down(socket.fd.as_fd());
            return Ok(());
        };
        let socket = Socket { proxy_header, ..socket };
        let permit = context.permits.adopt();
        let (stage, ahead) = (stage.into(), Bytes::from(ahead));
        admit(context, Resting { socket, stage, ahead, permit, has_answered: false, left_at: None });
        Ok(())
    }

    /// From now on no connection goes back to the predecessor.
    fn end_standby(&mut self) {
        self.last_message_at = None;
        self.moved.forget();
    }

    /// The predecessor holds nothing any more. A batch whose confirmation it did not receive is ours, too.
    fn end(mut self) {
        while !self.arrived.is_empty() {
            self.adopt(Confirmation::Final);
        }
        for Unsent { sessions, .. } in std::mem::take(&mut self.unsent) {
            self.adopt_sessions(sessions, Confirmation::Final);
        }
        self.count_foreign(&[]);
    }
}

/// What the predecessor says of a connection's PROXY header; none if that header makes no sense.
fn known(said: Option<wire::ProxyHeader>, context: &Context, socket: &Socket) -> Option<ProxyHeader> {
    let decided = |is_owed| ProxyHeader::decided(is_owed, &context.options.proxy_protocol, || socket.peer());
    Some(match said {
        None => ProxyHeader::AsListed,
        Some(wire::ProxyHeader::None) => decided(false),
        Some(wire::ProxyHeader::Owed) => decided(true),
        Some(wire::ProxyHeader::Read(bytes)) => ProxyHeader::received(&bytes)?,
    })
}

/// How many of the requested permits can be granted to the predecessor. If this process has a successor, only that
/// successor can grant them.
fn spare_permits(context: &Context, asked: u64) -> u64 {
    let asked = usize::try_from(asked).unwrap_or(usize::MAX);
    let permit_requests = context.permits.permit_requests();
    let spare = if permit_requests.is_shared() {
        permit_requests.passed_on().min(asked)
    } else {
        context.permits.spare(asked)
    };
    spare as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::channel::Incoming;
    use crate::handoff::wire::{Hello, ToSuccessor};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(3);

    /// The adopter of a process without servers, whose channel to its predecessor is full, and the predecessor's end.
    async fn adopter_with_full_channel() -> (Adopter, Channel) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let predecessor = Channel::new(theirs).unwrap();
        predecessor.send(&Hello::new(1), &[]).await.unwrap();
        predecessor.send(&ToSuccessor::Offers { listeners: Vec::new(), last: true }, &[]).await.unwrap();
        let connected = Predecessor::connect(ours, None).await.unwrap();
        assert!(matches!(predecessor.receive::<Hello>().await, Ok(Incoming::Message(..))));
        while connected.channel().try_send(&ToPredecessor::Pong { number: 0 }) {}
        let adopter = Adopter::new(
            &connected,
            Vec::new(),
            Placement::default(),
            Arc::default(),
            Arc::default(),
            ParcelHandlers::default(),
        );
        (adopter, predecessor)
    }

    /// The predecessor reads its messages again, up to this one.
    async fn expect_message(predecessor: &Channel, expected: &ToPredecessor) {
        let received = async {
            loop {
                match predecessor.receive::<ToPredecessor>().await {
                    Ok(Incoming::Message(reply, _)) if reply == *expected => return,
                    Ok(Incoming::Message(ToPredecessor::Pong { .. }, _)) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        timeout(LIMIT, received).await.unwrap_or_else(|_| panic!("{expected:?} did not come"));
    }

    #[tokio::test]
    async fn permits_that_find_the_channel_full_are_granted_once_there_is_room() {
        let (mut adopter, predecessor) = adopter_with_full_channel().await;
        let asked = ServerCount { server: "gone".to_owned(), count: 3 };
        adopter.note_request(7, vec![asked.clone()]);
        adopter.grant();
        assert!(adopter.is_blocked());
        tokio::spawn(adopter.run());
        // It tries once more in vain.
        tokio::task::yield_now().await;
        expect_message(&predecessor, &ToPredecessor::Granted { number: 7, granted: asked }).await;
    }

    #[tokio::test]
    async fn a_batch_whose_confirmation_finds_the_channel_full_is_confirmed_once_there_is_room() {
        let (mut adopter, predecessor) = adopter_with_full_channel().await;
        let token = OwnershipToken::new().unwrap();
        predecessor
            .send(&ToSuccessor::Batch { number: 5, connections: Vec::new() }, &[token.as_fd()])
            .await
            .unwrap();
        let FromPredecessor::Connections(arrivals) = Predecessor::next(&adopter.channel).await else {
            panic!()
        };
        adopter.receive(arrivals);
        let confirmation = adopter.confirm().await;
        adopter.adopt(confirmation);
        assert!(adopter.is_blocked());
        tokio::spawn(adopter.run());
        tokio::task::yield_now().await;
        expect_message(&predecessor, &ToPredecessor::TakenOf { number: 5, count: 0 }).await;
    }
}
