//! Two processes and a relay.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::conn::{Context, Leaving, Moved, Resting, settle};
use crate::handoff::adopter::Adopter;
use crate::handoff::channel::{Channel, Incoming};
use crate::handoff::handover::{Handover, HandoverEnd, Peer, Recovered, StandbySignals};
use crate::handoff::parcel::ParcelHandlers;
use crate::handoff::placement::{LocalServer, Placement};
use crate::handoff::predecessor::Predecessor;
use crate::handoff::version::Version;
use crate::handoff::wire::{Hello, ListenerV2, ToPredecessor, ToSuccessor};
use crate::ledger::Ledger;
use crate::lifecycle::{ConnectionEnd, Phase};
use crate::record::{
    Alpn, ClientChain, CutMessage, DirectionParts, Facts, Secret, SessionAtRest, SessionParts, Suite,
};
use crate::socket::{self, Family, ListenerNumber, ProxyHeader, Socket, Untaken};

/// The two servers of a process.
#[derive(Clone)]
pub(super) struct Servers {
    pub(super) secure: Arc<Context>,
    pub(super) plain: Arc<Context>,
}

impl Servers {
    fn new() -> Self {
        let [secure, plain] = [("secure", true), ("plain", false)]
            .map(|(name, is_secure)| Arc::new(Context::without_handlers(name, is_secure)));
        Self { secure, plain }
    }

    pub(super) fn contexts(&self) -> Vec<Arc<Context>> {
        vec![self.secure.clone(), self.plain.clone()]
    }

    /// The sockets that are parked.
    pub(super) fn parked(&self) -> Vec<Socket> {
        let contexts = [&self.secure, &self.plain];
        contexts
            .into_iter()
            .flat_map(|context| context.lot.take(usize::MAX))
            .map(|parked| parked.socket)
            .collect()
    }

    pub(super) fn moved(&self) -> u64 {
        let moved = |context: &Context| context.ends().counts().count(ConnectionEnd::Moved);
        moved(&self.secure) + moved(&self.plain)
    }
}

/// The name of a session, which travels along as its SNI.
pub(super) type Name = u32;

/// A session that no other has the keys of.
pub(super) fn session(name: Name, cut: &[u8]) -> SessionAtRest {
    session_of(None, name, cut)
}

/// The same of a client that has shown these certificates.
pub(super) fn session_of(client: Option<Arc<ClientChain>>, name: Name, cut: &[u8]) -> SessionAtRest {
    let secret = |side: u8| {
        let unique = [&name.to_be_bytes()[..], &u128::to_be_bytes(rand()), &[side; 12]].concat();
        DirectionParts { secret: Secret::new(&unique).unwrap(), sequence: u64::from(name) }
    };
    SessionAtRest::received(SessionParts {
        suite: Suite::Tls13Aes128Gcm,
        client: secret(1),
        server: secret(2),
        owes_key_update: name.is_multiple_of(2),
        without_data: 0,
        warnings: 0,
        refused_renegotiation: false,
        message: CutMessage::default(),
        facts: Facts { sni: Some(name.to_string().into()), alpn: Some(Alpn::Http11), client },
        cut: cut.into(),
    })
    .unwrap()
}

/// A number unlike any other in this process.
fn rand() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    u128::from(RandomState::new().hash_one(Instant::now())) << 64 | u128::from(RandomState::new().hash_one(0))
}

/// What was found of the sessions in the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) predecessor: BTreeSet<Name>,
    pub(super) successor: BTreeSet<Name>,
    /// How many plain connections the predecessor got back when the hand-over ended.
    pub(super) plain_back: usize,
}

/// Every one of these sessions seals a record, as if it answered.
fn use_all(sockets: Vec<Socket>) -> BTreeSet<Name> {
    let sessions = sockets.into_iter().filter_map(|socket| socket.session);
    sessions
        .map(|session| {
            let (mut session, _cut) = session.wake();
            session.seal(&[IoSlice::new(b"HTTP/1.1 200 OK")], &mut Vec::new()).unwrap();
            session.facts().sni.as_ref().unwrap().parse().unwrap()
        })
        .collect()
}

/// Predecessor, relay and successor.
pub(super) struct Stage {
    pub(super) predecessor: Servers,
    pub(super) successor: Servers,
    /// The successor's.
    pub(super) moved: Arc<Moved>,
    leaving: UnboundedSender<Leaving>,
    handover: JoinHandle<HandoverEnd>,
    adopter: JoinHandle<()>,
    /// The ends of the processes themselves.
    pub(super) predecessor_end: Channel,
    pub(super) successor_end: Channel,
    /// The relay's ends.
    pub(super) to_predecessor: Channel,
    pub(super) to_successor: Channel,
    pub(super) clients: Vec<UnixStream>,
}

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
}

impl Stage {
    pub(super) async fn begin() -> Self {
        Self::begin_with(Version::Six).await
    }

    pub(super) async fn begin_with(version: Version) -> Self {
        Self::begin_as(version, None).await
    }

    /// The predecessor has a ledger, which the successor has got.
    pub(super) async fn begin_with_ledger() -> Self {
        let (ledger, file) = Ledger::create().unwrap();
        Self::begin_as(Version::Five, Some((ledger, Ledger::of(&file).unwrap()))).await
    }

    async fn begin_as(version: Version, ledgers: Option<(Ledger, Ledger)>) -> Self {
        let (ledger, successors) = ledgers.unzip();
        let moved = Arc::new(Moved::default());
        if successors.is_some() {
            moved.watch(successors, |report| panic!("{report:?} is a message"));
        }
        let (predecessor, successor) = (Servers::new(), Servers::new());
        let ((predecessor_end, to_predecessor), (successor_end, to_successor)) = (pair(), pair());
        let [predecessor_end, to_predecessor, to_successor] =
            [predecessor_end, to_predecessor, to_successor].map(|end| Channel::new(end).unwrap());

        predecessor.contexts().iter().for_each(|context| context.drain.enter(Phase::HandingOver));
        let (leaving, left) = unbounded_channel();
        // No process has that number.
        let peer = Peer {
            channel: predecessor_end.clone(),
            version,
            pid: Pid::from_raw(i32::MAX),
            parcels: ParcelHandlers::default(),
            ledger,
        };
        let handover = Handover::with(
            peer,
            left,
            predecessor.contexts(),
            Arc::default(),
            Instant::now() + Duration::from_secs(3600),
            Arc::new(StandbySignals::default()),
        );

        to_successor.send(&Hello::new(1), &[]).await.unwrap();
        let offer =
            |name: &str, secure| ListenerV2 { server: name.to_owned(), endpoint: ":1".to_owned(), secure };
        let listeners = vec![offer("secure", true), offer("plain", false)];
        let (some, other) = pair();
        to_successor
            .send(&ToSuccessor::Offers { listeners, last: true }, &[some.as_fd(), other.as_fd()])
            .await
            .unwrap();
        let connected = Predecessor::connect(successor_end, None).await.unwrap();
        assert!(matches!(to_successor.receive::<Hello>().await, Ok(Incoming::Message(..))));
        let server = |name, secure, number| LocalServer {
            name,
            secure,
            plain: !secure,
            requires_client_cert: false,
            http1: true,
            listeners: vec![(ListenerNumber::new(number).unwrap(), Some(usize::from(number) - 1))],
        };
        let servers = [server("secure", true, 1), server("plain", false, 2)];
        let placement = Placement::new(connected.listeners(), &servers);
        let adopter = Adopter::new(
            &connected,
            successor.contexts(),
            placement,
            moved.clone(),
            Arc::default(),
            ParcelHandlers::default(),
        );
        Self {
            predecessor,
            successor,
            moved,
            leaving,
            handover: tokio::spawn(handover.run()),
            adopter: tokio::spawn(adopter.run()),
            predecessor_end,
            successor_end: connected.channel().clone(),
            to_predecessor,
            to_successor,
            clients: Vec::new(),
        }
    }

    pub(super) fn leave_with(&mut self, session: Option<SessionAtRest>, ahead: &[u8]) {
        self.leave_behind_proxy(session, ahead, socket::Stage::Idle, ProxyHeader::AsListed);
    }

    /// A connection whose PROXY header is in this state leaves for the successor.
    pub(super) fn leave_behind_proxy(
        &mut self,
        session: Option<SessionAtRest>,
        ahead: &[u8],
        stage: socket::Stage,
        proxy_header: ProxyHeader,
    ) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        self.clients.push(theirs);
        let context = if session.is_some() { &self.predecessor.secure } else { &self.predecessor.plain };
        let listener = ListenerNumber::new(if session.is_some() { 1 } else { 2 });
        let socket = Socket {
            fd: ours.into(),
            family: Family::Unix,
            origin: None,
            listener,
            session,
            proxy_header,
            untaken: Untaken::UNKNOWN,
        };
        let permit = context.permits.adopt();
        let resting = Resting {
            socket,
            stage,
            ahead: Bytes::copy_from_slice(ahead),
            permit,
            has_answered: false,
            left_at: None,
        };
        // After the end of the hand-over it stays here.
        if let Err(SendError((context, resting))) = self.leaving.send((context.clone(), resting)) {
            settle(&context, resting);
        }
    }

    /// A TLS connection leaves for the successor.
    pub(super) fn leave(&mut self, name: Name) {
        self.leave_with(Some(session(name, b"")), b"");
    }

    /// The predecessor's next batch; none if it has closed its end. The relay answers its pings.
    pub(super) async fn next_batch(&self) -> Option<(ToSuccessor, Vec<OwnedFd>)> {
        loop {
            match self.to_predecessor.receive::<ToSuccessor>().await.unwrap() {
                Incoming::Message(ToSuccessor::Ping { number }, _) => {
                    self.to_predecessor.send(&ToPredecessor::Pong { number }, &[]).await.unwrap();
                }
                Incoming::Message(
                    batch @ (ToSuccessor::BatchV8 { .. }
                    | ToSuccessor::BatchV7 { .. }
                    | ToSuccessor::BatchV3 { .. }
                    | ToSuccessor::Batch { .. }),
                    fds,
                ) => {
                    return Some((batch, fds));
                }
                Incoming::Message(..) => {}
                Incoming::Closed => return None,
            }
        }
    }

    pub(super) async fn batch(&self) -> (ToSuccessor, Vec<OwnedFd>) {
        self.next_batch().await.expect("the predecessor lives")
    }

    pub(super) async fn deliver(&self, message: &ToSuccessor, fds: &[OwnedFd]) {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.to_successor.send(message, &fds).await.unwrap();
    }

    /// The successor's next confirmation; none if it has closed its end.
    pub(super) async fn next_confirmation(&self) -> Option<ToPredecessor> {
        loop {
            match self.to_successor.receive::<ToPredecessor>().await.unwrap() {
                Incoming::Message(confirmation @ ToPredecessor::TakenOf { .. }, _) => {
                    return Some(confirmation);
                }
                Incoming::Message(..) => {}
                Incoming::Closed => return None,
            }
        }
    }

    pub(super) async fn confirmation(&self) -> ToPredecessor {
        self.next_confirmation().await.expect("the successor lives")
    }

    /// Both processes find that the other is gone. Returns what the predecessor recovers from the successor, which is dead.
    pub(super) async fn recover(self) -> Recovered {
        self.recover_from(true).await
    }

    /// The same, from a successor that is dead or not.
    pub(super) async fn recover_from(self, is_dead: bool) -> Recovered {
        drop((self.to_predecessor, self.to_successor));
        let end = timeout(Duration::from_secs(20), self.handover).await.unwrap().unwrap();
        timeout(Duration::from_secs(20), self.adopter).await.unwrap().unwrap();
        end.recover_from(is_dead)
    }

    /// The same. Every session that is left somewhere is used.
    pub(super) async fn end(self) -> (Found, Recovered) {
        let (predecessor, successor) = (self.predecessor.clone(), self.successor.clone());
        let mut end = self.recover().await;
        let back: Vec<Socket> = end.back.drain(..).map(|(_, resting)| resting.socket).collect();
        let plain_back = back.iter().filter(|socket| socket.session.is_none()).count();
        let ours = predecessor.parked().into_iter().chain(back).collect();
        let found = Found { predecessor: use_all(ours), successor: use_all(successor.parked()), plain_back };
        assert!(found.predecessor.is_disjoint(&found.successor), "both have it: {found:?}");
        (found, end)
    }
}
