//! One end of the socketpair between two generations.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::errno::Errno;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};
use zeroize::{Zeroize, Zeroizing};

use crate::handoff::wire::MAX_MESSAGE;
use crate::sys::{self, Received, Watched};

/// How long to wait for room in the channel if the other process does not read.
const SEND_WITHIN: Duration = Duration::from_millis(500);

/// For how long a call is repeated that failed because the kernel lacked memory, and after which pauses.
const RETRY_FOR: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// Sends and receives whole messages with descriptors. Clones are the same end.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    end: Arc<End>,
}

/// A reference that does not keep the channel open: it closes when its owner drops it.
#[derive(Clone, Debug)]
pub(crate) struct WeakChannel {
    end: Weak<End>,
}

#[derive(Debug)]
struct End {
    socket: AsyncFd<Watched<OwnedFd>>,
    /// For the next message. One for all: messages come by the thousand.
    buffer: Mutex<Box<[u8]>>,
    /// The error with which every message fails.
    #[cfg(test)]
    fault: Mutex<Option<Errno>>,
}

impl End {
    /// Sends one message, whole or not at all: the socket keeps message boundaries.
    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        #[cfg(test)]
        if let Some(fault) = *self.fault.lock() {
            return Err(fault.into());
        }
        sys::send(self.socket.get_ref().0.as_fd(), bytes, fds)
    }

    /// Receives one message if there is one at this moment.
    fn receive<M: DeserializeOwned>(&self) -> io::Result<Incoming<M>> {
        let mut buffer = self.buffer.lock();
        let Received { len, fds } = sys::receive(self.socket.get_ref().0.as_fd(), &mut buffer)?;
        if len == 0 {
            return Ok(Incoming::Closed);
        }
        let message = postcard::from_bytes(&buffer[..len]);
        buffer[..len].zeroize();
        message
            .map(|message| Incoming::Message(message, fds))
            // postcard's words are about platforms, which would mislead; its names of errors are short.
            .map_err(|error| {
                let why = format!("a message has come that can't be read ({error:?})");
                io::Error::new(io::ErrorKind::InvalidData, why)
            })
    }
}

impl WeakChannel {
    /// The channel, while it is open.
    pub(crate) fn upgrade(&self) -> Option<Channel> {
        self.end.upgrade().map(|end| Channel { end })
    }
}

/// What was received.
#[derive(Debug)]
pub(crate) enum Incoming<M> {
    Message(M, Vec<OwnedFd>),
    /// The other end is closed: its process has closed it, or is gone.
    Closed,
}

impl Channel {
    /// Has to be called within a runtime. The socket has to be non-blocking.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = sys::watch(socket, Interest::READABLE | Interest::WRITABLE)?;
        let buffer = Mutex::new(vec![0; MAX_MESSAGE].into_boxed_slice());
        Ok(Self {
            end: Arc::new(End {
                socket,
                buffer,
                #[cfg(test)]
                fault: Mutex::default(),
            }),
        })
    }

    /// Lets every message fail with this error from now on, or none.
    #[cfg(test)]
    pub(super) fn fail(&self, fault: Option<Errno>) {
        *self.end.fault.lock() = fault;
    }

    /// Sends bytes that need not be a message.
    #[cfg(test)]
    pub(super) fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        self.end.send(bytes, &[])
    }

    /// This end of the channel, without keeping it open.
    pub(crate) fn downgrade(&self) -> WeakChannel {
        WeakChannel { end: Arc::downgrade(&self.end) }
    }

    /// Sends one message. Cancel safe.
    pub(crate) async fn send<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = encode(message)?;
        let mut shortage = Shortage::default();
        loop {
            let outcome = self.end.socket.writable().await?.try_io(|_| self.end.send(&bytes, fds));
            match outcome {
                Ok(Err(error)) if shortage.allows_retry(&error) => sleep(RETRY_AFTER).await,
                Ok(outcome) => return outcome,
                Err(_would_block) => {}
            }
        }
    }

    /// Sends one message if the receiver makes room for it in time, so that a receiver that is stopped or does not read
    /// can't block the sender. False if it was not sent.
    pub(crate) async fn send_in_time<M: Serialize>(
        &self,
        message: &M,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<bool> {
        match tokio::time::timeout(SEND_WITHIN, self.send(message, fds)).await {
            Ok(sent) => sent.map(|()| true),
            Err(_no_room) => Ok(false),
        }
    }

    /// Sends one message that the receiver can do without, if there is room for it in time.
    pub(crate) async fn send_best_effort<M: Serialize>(&self, message: &M) {
        let _ = self.send_in_time(message, &[]).await;
    }

    /// Sends one message if there is room for it at this moment. A channel that is broken takes everything.
    pub(crate) fn try_send<M: Serialize>(&self, message: &M) -> bool {
        self.send_now(message).unwrap_or(true)
    }

    /// Sends one message if there is room for it at this moment. A channel that is broken is an error. False if it was not sent.
    pub(crate) fn send_now<M: Serialize>(&self, message: &M) -> io::Result<bool> {
        match self.end.send(&encode(message)?, &[]) {
            Ok(()) => Ok(true),
            Err(error) if may_succeed_later(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How much of what was sent the other end has not read, with what the kernel needs to keep it.
    #[cfg(any(feature = "admin", feature = "cli"))]
    pub(crate) fn unread(&self) -> u64 {
        sys::Probe::of(self.end.socket.get_ref().0.as_fd()).unacknowledged()
    }

    /// Receives one message. Cancel safe.
    ///
    /// Bytes that are no message of type `M` are an error, never a panic: any program may have the other end.
    pub(crate) async fn receive<M: DeserializeOwned>(&self) -> io::Result<Incoming<M>> {
        let mut shortage = Shortage::default();
        loop {
            let outcome = self.end.socket.readable().await?.try_io(|_| self.end.receive());
            match outcome {
                // The other end closed with messages of ours unread. The kernel reports it once, before the messages
                // that the other end has sent.
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Ok(Err(error)) if shortage.allows_retry(&error) => sleep(RETRY_AFTER).await,
                Ok(outcome) => return outcome,
                Err(_would_block) => {}
            }
        }
    }
}

/// The bytes of a message, wiped after use: keys pass through here. The buffer has its size from the start, since one
/// that grows leaves its old parts behind in memory.
fn encode<M: Serialize>(message: &M) -> io::Result<Zeroizing<Vec<u8>>> {
    let size = postcard::experimental::serialized_size(message).map_err(io::Error::other)?;
    if size > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large"));
    }
    let mut bytes = Zeroizing::new(vec![0; size]);
    postcard::to_slice(message, &mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Whether the other end is closed. Messages that it has sent before can still be received.
pub(crate) fn is_closed_by_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Whether a call may succeed without any change of ours.
pub(super) fn may_succeed_later(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || is_shortage(error)
}

/// Whether the kernel lacks memory for the call at the moment, or has too many descriptors in flight between
/// processes (unix(7)). The channel still works.
fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOBUFS | Errno::ENOMEM | Errno::ETOOMANYREFS))
}

/// Bounds the retries of a call that fails because the kernel lacks memory.
#[derive(Debug, Default)]
struct Shortage {
    since: Option<Instant>,
}

impl Shortage {
    /// Whether to repeat a call that failed with this error.
    fn allows_retry(&mut self, error: &io::Error) -> bool {
        is_shortage(error) && self.since.get_or_insert_with(Instant::now).elapsed() < RETRY_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::wire::{Hello, ToPredecessor, ToSuccessor};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    fn pair() -> (Channel, Channel) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (left, right) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        (Channel::new(left).unwrap(), Channel::new(right).unwrap())
    }

    #[tokio::test]
    async fn messages_arrive_whole_and_in_order() {
        let (left, right) = pair();
        left.send(&Hello::new(4), &[]).await.unwrap();
        left.send(&ToSuccessor::Done, &[]).await.unwrap();
        let Incoming::Message(hello, _) = right.receive::<Hello>().await.unwrap() else { panic!() };
        assert_eq!(hello, Hello::new(4));
        let Incoming::Message(last, _) = right.receive::<ToSuccessor>().await.unwrap() else { panic!() };
        assert_eq!(last, ToSuccessor::Done);
        drop(left);
        assert!(matches!(right.receive::<ToSuccessor>().await.unwrap(), Incoming::Closed));
    }

    #[tokio::test]
    async fn messages_of_a_process_that_closed_without_reading_are_received() {
        let (left, right) = pair();
        left.send(&ToSuccessor::StandbyOver, &[]).await.unwrap();
        right.send(&ToPredecessor::Taken { count: 7 }, &[]).await.unwrap();
        right.send(&ToPredecessor::Exiting, &[]).await.unwrap();
        drop(right);
        for expected in [ToPredecessor::Taken { count: 7 }, ToPredecessor::Exiting] {
            let Incoming::Message(said, _) = left.receive::<ToPredecessor>().await.unwrap() else { panic!() };
            assert_eq!(said, expected);
        }
        assert!(matches!(left.receive::<ToPredecessor>().await.unwrap(), Incoming::Closed));
    }

    #[test]
    fn a_message_is_written_into_a_buffer_of_its_size() {
        for count in [0, 1, 1000] {
            let claimed = (0..count).collect();
            let message = ToPredecessor::Ready { servers: Vec::new(), claimed };
            let bytes = encode(&message).unwrap();
            assert_eq!(bytes.capacity(), bytes.len());
            assert_eq!(postcard::from_bytes::<ToPredecessor>(&bytes).unwrap(), message);
        }
        let too_large = ToPredecessor::Failed { reason: "a".repeat(MAX_MESSAGE) };
        assert_eq!(encode(&too_large).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn bytes_that_are_no_message_are_an_error() {
        let (left, right) = pair();
        left.end.send(&[0xff; 200], &[]).unwrap();
        let error = right.receive::<ToPredecessor>().await.unwrap_err();
        assert_eq!(error.to_string(), "a message has come that can't be read (DeserializeBadVarint)");
        // A length that exceeds the message.
        left.end.send(&[1, 0xff, 0xff, 0xff, 0x7f, b'x'], &[]).unwrap();
        assert!(right.receive::<ToPredecessor>().await.is_err());
    }
}
