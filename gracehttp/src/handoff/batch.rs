//! Connections that are sent together, and which process owns them until the successor has confirmed them.
//!
//! A TLS session must never be used by two processes: each would seal records under the same numbers. From the moment
//! in which its message is made, this process has nothing but a [`SentSession`]. It becomes a session again only if the
//! message was not sent, if this process has claimed the batch, or if the successor says that it has not taken the
//! connection. In all other cases it is dropped, also where a plain connection would come back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::conn::{Context, Leaving, Resting};
use crate::handoff::session::{Session, client_chain, not_taken, variable_size};
use crate::handoff::token::OwnershipToken;
use crate::handoff::version::Version;
use crate::handoff::wire::{
    ConnectionV1, ConnectionV2, ConnectionV3, ConnectionV7, ConnectionV8, ProxyHeader, ToSuccessor,
};
use crate::lifecycle::{ConnectionEnd, moved};
use crate::record::SentSession;
use crate::socket::{Socket, Stage};

/// How long a successor may take to confirm a batch. A slower one is blocked or stopped, and its clients are served here
/// meanwhile.
const CONFIRM_WITHIN: Duration = Duration::from_millis(500);

/// How many bytes of a message a batch and each of its connections take at most, beside what [`Size`] counts: numbers,
/// lengths, secrets.
const DESCRIPTION: usize = 256;

/// The size of a message that is being gathered.
#[derive(Debug)]
pub(super) struct Size {
    count: usize,
    bytes: usize,
    /// How many bytes and connections a message takes.
    limit: usize,
    most: usize,
}

impl Size {
    pub(super) fn new(version: Version) -> Self {
        Self { count: 0, bytes: DESCRIPTION, limit: version.max_message(), most: version.max_batch() }
    }

    /// Whether the message has room for one more connection.
    pub(super) fn is_full(&self) -> bool {
        self.count == self.most
    }

    /// Adds a connection; false if the message has no room for it. The first one always has room: its server does not
    /// let it leave with more bytes than a message takes.
    pub(super) fn add(&mut self, (context, resting): &Leaving) -> bool {
        let session = resting.socket.session.as_ref().map_or(0, variable_size);
        let header = resting.socket.proxy_header.read().map_or(0, |header| header.bytes().len());
        let bytes =
            self.bytes + DESCRIPTION + context.options.name.len() + resting.ahead.len() + session + header;
        if self.is_full() || (self.count > 0 && bytes > self.limit) {
            return false;
        }
        self.count += 1;
        self.bytes = bytes;
        true
    }
}

/// Connections that were sent, or are about to be.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u32,
    /// The number of its first connection.
    pub(super) first: u32,
    connections: Vec<Sent>,
    withdrawal: Withdrawal,
}

/// A connection on its way. Its TLS session, if it has one, can't be used.
#[derive(Debug)]
struct Sent {
    context: Arc<Context>,
    /// Without its session.
    resting: Resting,
    session: Option<SentSession>,
}

#[derive(Debug)]
enum Withdrawal {
    /// Impossible: a successor of version 1 does not know it.
    Unsupported,
    Possible {
        token: OwnershipToken,
        at: Instant,
    },
    /// The successor was faster: it will confirm, or die.
    TooLate,
}

/// A connection that the successor has now, with its permit.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) context: Arc<Context>,
    pub(super) has_answered: bool,
    /// When it left its task or the parking lot.
    pub(super) left_at: Option<Instant>,
    /// A TLS connection has none: only the successor may use its keys.
    pub(super) duplicate: Option<Duplicate>,
}

/// The duplicate of a connection that the successor has.
#[derive(Debug)]
pub(super) struct Duplicate {
    pub(super) socket: Socket,
    pub(super) stage: Stage,
    pub(super) ahead: Bytes,
}

/// What remains of a batch whose successor is gone.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// The connections that it has not got.
    pub(super) back: Vec<Leaving>,
    /// The plain ones that it has claimed, with their numbers. They have not been served: a successor confirms before it
    /// reads a byte. But if this process was suspended, the successor may have waited in vain, and have begun without a
    /// confirmation.
    pub(super) claimed: Vec<(u32, Leaving)>,
    /// How many TLS connections it has claimed.
    pub(super) lost: usize,
}

impl Batch {
    /// Makes the batch, and the one message that carries it. Fails, and gives the connections back, if no descriptor is
    /// left for the token.
    pub(super) fn new(
        number: u32,
        first: u32,
        connections: VecDeque<Leaving>,
        version: Version,
    ) -> Result<(Self, ToSuccessor), (VecDeque<Leaving>, io::Error)> {
        let withdrawal = match version.withdraws_batches().then(OwnershipToken::new) {
            None => Withdrawal::Unsupported,
            Some(Ok(token)) => Withdrawal::Possible { token, at: Instant::now() + CONFIRM_WITHIN },
            Some(Err(error)) => return Err((connections, error)),
        };
        let (connections, described): (Vec<Sent>, Vec<ConnectionV8>) = connections
            .into_iter()
            // Messages of earlier versions hold no session, so the successor would read the connection as plain text. Its
            // server lets no such connection leave; this makes sure.
            .filter(|(_, resting)| version.moves_sessions() || resting.socket.session.is_none())
            // Nor do they hold a PROXY header, so the successor would take the proxy for the client.
            .filter(|(context, resting)| {
                version.moves_proxy_headers() || !context.has_or_owes_header(resting)
            })
            // Nor do they hold certificates of clients, so the successor would not know who the client is.
            .filter(|(_, resting)| version.moves_client_certs() || !resting.has_client_cert())
            .map(Sent::new)
            .unzip();
        let message = if version.moves_client_certs() {
            ToSuccessor::BatchV8 { number, connections: described }
        } else if version.moves_proxy_headers() {
            ToSuccessor::BatchV7 { number, connections: seventh(described).collect() }
        } else if version.moves_sessions() {
            ToSuccessor::BatchV3 { number, connections: third(described).collect() }
        } else if version.withdraws_batches() {
            ToSuccessor::Batch { number, connections: second(described).collect() }
        } else {
            let connections = second(described).map(|described| described.connection).collect();
            ToSuccessor::Connections { connections }
        };
        Ok((Self { number, first, connections, withdrawal }, message))
    }

    /// The descriptors that go with the message.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let token = match &self.withdrawal {
            Withdrawal::Possible { token, .. } => Some(token.as_fd()),
            Withdrawal::Unsupported | Withdrawal::TooLate => None,
        };
        let sockets = self.connections.iter().map(|sent| sent.resting.socket.fd.as_fd());
        token.into_iter().chain(sockets).collect()
    }

    /// How many connections it has.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// When the time to confirm is over.
    pub(super) fn withdraw_at(&self) -> Option<Instant> {
        match self.withdrawal {
            Withdrawal::Possible { at, .. } => Some(at),
            Withdrawal::Unsupported | Withdrawal::TooLate => None,
        }
    }

    /// The connections, if the message was not sent at all.
    pub(super) fn not_sent(self) -> VecDeque<Leaving> {
        self.take_back()
    }

    /// Takes the connections back, unless the successor was faster: then the batch remains.
    pub(super) fn withdraw(mut self) -> Result<VecDeque<Leaving>, Self> {
        if self.claim() { Ok(self.take_back()) } else { Err(self) }
    }

    /// The successor has taken the first `count` connections. Returns these, and those for which it had no room.
    pub(super) fn confirm(self, count: usize) -> (Vec<Taken>, VecDeque<Leaving>) {
        let mut taken = self.connections;
        let no_room = taken.split_off(count.min(taken.len()));
        (taken.into_iter().map(Sent::taken).collect(), no_room.into_iter().map(Sent::not_taken).collect())
    }

    /// Whether the successor has owned it for a while without a confirmation: some of its reports about the connections
    /// may have come before this process could understand them.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.withdrawal, Withdrawal::TooLate)
    }

    /// What a successor that is gone, or can't be understood any more, has left without a confirmation.
    pub(super) fn end(mut self) -> Remains {
        let is_unsupported = matches!(self.withdrawal, Withdrawal::Unsupported);
        if is_unsupported || self.claim() {
            return Remains { back: self.take_back().into(), ..Remains::default() };
        }
        let mut remains = Remains::default();
        for (number, Sent { context, resting, session }) in (self.first..).zip(self.connections) {
            if session.is_some() {
                resting.permit.ends_as(ConnectionEnd::Lost);
                remains.lost += 1;
            } else {
                remains.claimed.push((number, (context, resting)));
            }
        }
        remains
    }

    fn take_back(self) -> VecDeque<Leaving> {
        self.connections.into_iter().map(Sent::not_taken).collect()
    }

    /// Claims the batch; false if the successor was faster.
    fn claim(&mut self) -> bool {
        match std::mem::replace(&mut self.withdrawal, Withdrawal::TooLate) {
            Withdrawal::Possible { token, .. } => token.claim(),
            Withdrawal::Unsupported | Withdrawal::TooLate => false,
        }
    }
}

/// As version 7 describes them.
fn seventh(connections: Vec<ConnectionV8>) -> impl Iterator<Item = ConnectionV7> {
    connections.into_iter().map(|described| described.connection)
}

/// As version 3 describes them.
fn third(connections: Vec<ConnectionV8>) -> impl Iterator<Item = ConnectionV3> {
    seventh(connections).map(|described| described.connection)
}

/// As version 2 describes them.
fn second(connections: Vec<ConnectionV8>) -> impl Iterator<Item = ConnectionV2> {
    third(connections).map(|described| described.connection)
}

impl Sent {
    fn new((context, mut resting): Leaving) -> (Self, ConnectionV8) {
        let proxy_header = match resting.socket.proxy_header.read() {
            Some(header) => ProxyHeader::Read(header.bytes().to_vec()),
            None if context.is_owed_header(&resting) => ProxyHeader::Owed,
            None => ProxyHeader::None,
        };
        let client_chain = resting.socket.session.as_ref().map(client_chain).unwrap_or_default();
        let (sent, session) = resting.socket.session.take().map(Session::of).unzip();
        let connection = ConnectionV1 {
            server: context.options.name.clone(),
            family: resting.socket.family.into(),
            stage: resting.stage.into(),
            ahead: resting.ahead.to_vec(),
        };
        let connection = ConnectionV2 { listener: resting.socket.listener, connection };
        let connection = ConnectionV3 { connection, session };
        let connection = ConnectionV7 { connection, proxy_header };
        (Self { context, resting, session: sent }, ConnectionV8 { connection, client_chain })
    }

    /// It is this process's again.
    fn not_taken(self) -> Leaving {
        let Self { context, mut resting, session } = self;
        resting.socket.session = session.map(not_taken);
        (context, resting)
    }

    /// It is the successor's, and its permit with it.
    fn taken(self) -> Taken {
        let Self { context, resting, session } = self;
        let Resting { socket, stage, ahead, permit, has_answered, left_at } = resting;
        context.permits.give(permit, moved(has_answered));
        let duplicate = session.is_none().then_some(Duplicate { socket, stage, ahead });
        Taken { context, has_answered, left_at, duplicate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::session::{Alpn, CutMessage, Direction, Secret};
    use crate::handoff::wire::{Family, Stage};
    use crate::record::ClientChain;
    use std::num::NonZeroU16;

    #[test]
    fn no_connection_is_larger_than_it_counts() {
        let (name, ahead, sni, cut) = ("n".repeat(300), vec![0; 300], "s".repeat(255), vec![0; 20_000]);
        let header = vec![0; 8 << 10];
        // Many certificates have many lengths.
        let chain = vec![vec![0; 1], vec![0; 300], Vec::new(), vec![0; 1 << 14]];
        let client = ClientChain::new(chain.iter().cloned().map(Into::into).collect()).unwrap();
        let variable = name.len() + ahead.len() + sni.len() + cut.len() + header.len() + client.size();
        let direction = || Direction { secret: Secret(vec![0xff; 48]), sequence: u64::MAX };
        let session = Session {
            suite: u16::MAX,
            client: direction(),
            server: direction(),
            owes_key_update: true,
            without_data: u8::MAX,
            warnings: u8::MAX,
            refused_renegotiation: true,
            message: CutMessage { header: vec![0xff; 4], missing: u16::MAX },
            sni: Some(sni),
            alpn: Some(Alpn::H2),
            cut,
        };
        let connection = ConnectionV1 { server: name, family: Family::Unix, stage: Stage::Idle, ahead };
        let connection = ConnectionV2 { listener: NonZeroU16::new(u16::MAX), connection };
        let connection = ConnectionV3 { connection, session: Some(session) };
        let connection = ConnectionV7 { connection, proxy_header: ProxyHeader::Read(header) };
        let connection = ConnectionV8 { connection, client_chain: chain };
        let size = postcard::experimental::serialized_size(&connection).unwrap();
        assert!(size <= DESCRIPTION + variable, "{size}");
        let connections = vec![connection];
        let message = ToSuccessor::BatchV8 { number: u32::MAX, connections };
        assert!(postcard::experimental::serialized_size(&message).unwrap() <= size + DESCRIPTION);
    }
}
