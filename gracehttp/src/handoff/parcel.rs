//! Parcels: what rooms beside the handoff have to tell the other process, by name.
//!
//! A name that a process does not know is ignored, and the descriptors that came with it are closed. So a room can add a
//! parcel without a new version of the protocol. It has to read shorter and longer forms of its own parcels, since the
//! other process may be of another release.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::handoff::channel::{Channel, WeakChannel};
use crate::handoff::version::Version;
use crate::handoff::wire::{ToPredecessor, ToSuccessor};

/// This successor will be discarded once it is ready: it never serves.
pub(crate) const REHEARSAL: &str = "rehearsal";

/// The rehearsal is over: its successor ends.
pub(crate) const DISCARD: &str = "discard";

/// This successor is asked for one more restart, after the commit. A signal would not do: its configuration need not be the
/// predecessor's, and a signal that it does not handle would kill it.
pub(crate) const RESTART: &str = "restart";

/// After the commit: this successor is asked to stop, since a command has asked its predecessor.
pub(crate) const STOP: &str = "stop";

/// After the commit: this successor is asked to stop, and to accept for a while before it does.
pub(crate) const DRAIN: &str = "drain";

/// After the commit, to the predecessor: log files are to be opened anew.
pub(crate) const REOPEN_LOGS: &str = "reopen_logs";

/// The ledger in which the successor marks its connections, as a descriptor, before the listeners.
pub(super) const LEDGER: &str = "ledger";

/// The receipt of an earlier restart, before the listeners; one parcel for each.
pub(crate) const RECEIPTS: &str = "receipts";

/// The receipt of this restart, when the predecessor holds no connection any more.
pub(crate) const RECEIPT: &str = "receipt";

/// What a process that drains still holds, some times a second.
#[cfg(any(feature = "admin", feature = "cli"))]
pub(crate) const STATUS: &str = "status";

/// As long as the successor has so many unread bytes, it gets no parcel that it can do without. The channel holds several
/// times as many, so other messages have room.
#[cfg(any(feature = "admin", feature = "cli"))]
const MOST_UNREAD: u64 = 32 << 10;

/// A named message with descriptors.
pub(crate) struct Parcel {
    pub(crate) name: String,
    pub(crate) data: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Parcel {
    /// A parcel without descriptors.
    pub(crate) fn new(name: &str, data: Vec<u8>) -> Self {
        Self { name: name.to_owned(), data, fds: Vec::new() }
    }
}

/// The data is not printed: it may hold a secret of the room that it belongs to.
impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, data, fds } = self;
        f.debug_struct("Parcel").field("name", name).field("bytes", &data.len()).field("fds", fds).finish()
    }
}

/// The parcels that came before the first listener, until their rooms take them.
#[derive(Debug, Default)]
pub(super) struct Parcels(Vec<Parcel>);

/// More parcels than this are ignored: any program may have the other end.
const MAX_WAITING: usize = 32;

impl Parcels {
    pub(super) fn add(&mut self, parcel: Parcel) {
        if self.0.len() < MAX_WAITING {
            self.0.push(parcel);
        }
    }

    /// The first parcel with this name.
    pub(super) fn take(&mut self, name: &str) -> Option<Parcel> {
        let place = self.0.iter().position(|parcel| parcel.name == name)?;
        Some(self.0.remove(place))
    }
}

type Handle = Arc<dyn Fn(Parcel) + Send + Sync>;

/// What to do with parcels that come after the commit. Clones are the same handlers.
#[derive(Clone, Default)]
pub(crate) struct ParcelHandlers {
    by_name: Arc<Mutex<HashMap<&'static str, Handle>>>,
}

impl ParcelHandlers {
    /// From now on parcels with this name are handled so. The handler runs on the control runtime and must not block.
    pub(crate) fn on(&self, name: &'static str, handle: impl Fn(Parcel) + Send + Sync + 'static) {
        self.by_name.lock().insert(name, Arc::new(handle));
    }

    /// Passes a parcel to its handler. Without one it is dropped.
    pub(super) fn handle(&self, parcel: Parcel) {
        // Not while the lock is held: the handler may register another one.
        let handle = self.by_name.lock().get(parcel.name.as_str()).cloned();
        if let Some(handle) = handle {
            handle(parcel);
        }
    }
}

impl fmt::Debug for ParcelHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.lock().keys()).finish()
    }
}

/// Sends parcels to the successor for as long as the channel to it is open.
#[derive(Clone, Debug)]
pub(crate) struct ParcelSender {
    channel: WeakChannel,
    version: Version,
}

impl ParcelSender {
    pub(super) fn to_successor(channel: &Channel, version: Version) -> Self {
        Self { channel: channel.downgrade(), version }
    }

    /// Whether the successor understands parcels.
    pub(crate) fn can_send(&self) -> bool {
        self.version.has_parcels()
    }

    /// Sends a parcel, unless the successor is gone, is of a release without parcels, or makes no room in time.
    /// Returns whether it was sent. After the commit only.
    pub(crate) async fn send(&self, parcel: Parcel) -> bool {
        match self.channel.upgrade() {
            Some(channel) if self.can_send() => {
                let Parcel { name, data, fds } = parcel;
                let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
                let sent = channel.send_in_time(&ToSuccessor::Parcel { name, data }, &fds).await;
                sent.unwrap_or(false)
            }
            _ => false,
        }
    }

    /// Sends a parcel without descriptors that the successor can do without. It waits for nothing: a successor that reads
    /// slowly, or does not run, does not get it. Returns whether it was sent.
    #[cfg(any(feature = "admin", feature = "cli"))]
    pub(crate) fn offer(&self, name: &str, data: Vec<u8>) -> bool {
        let Some(channel) = self.channel.upgrade().filter(|_| self.can_send()) else { return false };
        channel.unread() < MOST_UNREAD
            && channel.try_send(&ToSuccessor::Parcel { name: name.to_owned(), data })
    }
}

/// Sends parcels to the predecessor for as long as the channel to it is open.
#[derive(Clone, Debug)]
pub(crate) struct PredecessorParcels {
    channel: WeakChannel,
    version: Version,
}

impl PredecessorParcels {
    pub(super) fn new(channel: &Channel, version: Version) -> Self {
        Self { channel: channel.downgrade(), version }
    }

    /// Sends a parcel without data, unless the predecessor is gone, is of a release without parcels, or does not read.
    pub(crate) fn offer(&self, name: &str) {
        if let Some(channel) = self.channel.upgrade().filter(|_| self.version.has_parcels()) {
            channel.try_send(&ToPredecessor::Parcel { name: name.to_owned(), data: Vec::new() });
        }
    }
}

/// Sends parcels to a successor that is not ready yet. One that can't be sent as it is does not stop the restart.
pub(super) async fn send_all(channel: &Channel, parcels: Vec<Parcel>) -> io::Result<()> {
    for Parcel { name, data, fds } in parcels {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        match channel.send(&ToSuccessor::Parcel { name: name.clone(), data }, &fds).await {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                crate::log::error(format_args!("the successor does not get the parcel `{name}`: {error}"));
            }
            sent => sent?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use crate::handoff::channel::Incoming;
    use crate::handoff::predecessor::{FromPredecessor, Predecessor};
    use crate::handoff::wire::Hello;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
    }

    /// A parcel with one descriptor, and a socket that reads its end once all copies of the descriptor are closed.
    fn parcel(name: &str) -> (Parcel, UnixStream) {
        let (watch, attached) = UnixStream::pair().unwrap();
        watch.set_nonblocking(true).unwrap();
        (Parcel { fds: vec![attached.into()], ..Parcel::new(name, name.into()) }, watch)
    }

    fn is_closed(mut watch: &UnixStream) -> bool {
        matches!(watch.read(&mut [0]), Ok(0))
    }

    #[tokio::test]
    async fn a_successor_takes_the_parcels_that_it_knows_and_closes_the_others() {
        let (ours, theirs) = pair();
        let predecessor = Channel::new(theirs).unwrap();
        let (known, known_watch) = parcel("known");
        let (unknown, unknown_watch) = parcel("unknown");
        predecessor.send(&Hello::new(1), &[]).await.unwrap();
        send_all(&predecessor, vec![unknown, known, Parcel::new("empty", Vec::new())]).await.unwrap();
        predecessor.send(&ToSuccessor::Offers { listeners: Vec::new(), last: true }, &[]).await.unwrap();

        let mut connected = Predecessor::connect(ours, None).await.unwrap();
        let known = connected.take_parcel("known").unwrap();
        assert_eq!((known.data.as_slice(), known.fds.len()), (&b"known"[..], 1));
        assert!(connected.take_parcel("known").is_none(), "it is taken");
        assert!(connected.take_parcel("empty").unwrap().data.is_empty());
        assert!(connected.take_parcel("other").is_none());
        assert!(!is_closed(&known_watch) && !is_closed(&unknown_watch));
        drop(connected);
        assert!(!is_closed(&known_watch), "its room has it");
        assert!(is_closed(&unknown_watch));
    }

    #[tokio::test]
    async fn a_parcel_that_is_too_large_stays_behind_alone() {
        let (ours, theirs) = pair();
        let (sender, receiver) = (Channel::new(ours).unwrap(), Channel::new(theirs).unwrap());
        let large = Parcel::new("large", vec![0; crate::handoff::wire::MAX_MESSAGE]);
        send_all(&sender, vec![large, Parcel::new("next", Vec::new())]).await.unwrap();
        let Incoming::Message(received, _) = receiver.receive::<ToSuccessor>().await.unwrap() else {
            panic!()
        };
        assert_eq!(received, ToSuccessor::Parcel { name: "next".to_owned(), data: Vec::new() });
    }

    #[tokio::test]
    async fn a_parcel_after_the_commit_goes_to_the_handler_of_its_name() {
        let (ours, theirs) = pair();
        let (predecessor, successor) = (Channel::new(ours).unwrap(), Channel::new(theirs).unwrap());
        let handled = Arc::new(Mutex::new(Vec::new()));
        let handlers = ParcelHandlers::default();
        let seen = handled.clone();
        handlers.on("known", move |parcel| seen.lock().push(parcel.data));
        let (unknown, unknown_watch) = parcel("unknown");
        let (known, known_watch) = parcel("known");
        let sender = ParcelSender::to_successor(&predecessor, Version::Four);
        for parcel in [unknown, known] {
            assert!(sender.send(parcel).await);
            let FromPredecessor::Parcel(parcel) = Predecessor::next(&successor).await else { panic!() };
            handlers.handle(parcel);
        }
        assert_eq!(*handled.lock(), [b"known"]);
        assert!(is_closed(&unknown_watch) && is_closed(&known_watch));
    }

    #[cfg(any(feature = "admin", feature = "cli"))]
    #[tokio::test]
    async fn a_successor_that_does_not_read_leaves_room_for_what_counts() {
        let (ours, theirs) = pair();
        let (channel, other) = (Channel::new(ours).unwrap(), Channel::new(theirs).unwrap());
        let sender = ParcelSender::to_successor(&channel, Version::Four);
        let sent = (0..1000).take_while(|_| sender.offer("status", vec![0; 4096])).count();
        assert!((2..16).contains(&sent), "{sent}");
        for _ in 0..8 {
            assert!(sender.send(Parcel::new("receipt", vec![0; 4096])).await);
        }
        for _ in 0..sent + 8 {
            let received = other.receive::<ToSuccessor>().await.unwrap();
            assert!(matches!(received, Incoming::Message(ToSuccessor::Parcel { .. }, _)));
        }
        assert!(sender.offer("status", Vec::new()), "it reads again");
        drop(channel);
        assert!(!sender.offer("status", Vec::new()));
    }

    #[tokio::test]
    async fn a_release_without_parcels_gets_none() {
        let (ours, theirs) = pair();
        let (one, other) = (Channel::new(ours).unwrap(), Channel::new(theirs).unwrap());
        for version in [Version::One, Version::Two, Version::Three] {
            let sender = ParcelSender::to_successor(&one, version);
            assert!(!sender.send(Parcel::new("a", Vec::new())).await);
            #[cfg(any(feature = "admin", feature = "cli"))]
            assert!(!sender.offer("a", Vec::new()));
        }
        drop(one);
        assert!(matches!(other.receive::<ToSuccessor>().await.unwrap(), Incoming::Closed));
    }
}
