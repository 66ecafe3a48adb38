//! A false successor: it inherits the handoff's socket and abuses it. The plan selects the abuse by `impostor WORD`.
//! Every impostor stays alive afterwards, unless its word says otherwise; the other side has to end it.

use std::io::{IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal, getpid, kill_process, pidfd_getfd, pidfd_open};

fn main() {
    let plan = std::fs::read_to_string(std::env::var_os("APP_PLAN").expect("a plan")).expect("readable");
    let word = plan.trim().strip_prefix("impostor ").expect("the word of an impostor");
    // The newest version of the protocol that it speaks, if it takes the place.
    let (word, newest) = match word.split_once(" in version ") {
        Some((word, newest)) => (word, newest.parse().expect("a version")),
        None => (word, 2),
    };
    let predecessor = Predecessor::inherit();
    match word {
        "silent" => (),
        "gone" => shutdown(&predecessor.0, Shutdown::Both).expect("a socket"),
        "empty" => predecessor.send(b""),
        "garbage" => predecessor.send(&[0xFF; 4000]),
        "oversize" => predecessor.send(&[0; 150_000]),
        "http" => predecessor.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "newer" => predecessor.send(&hello(9, 10)),
        "older" => predecessor.send(&hello(0, 0)),
        "descriptors" => (0..20).for_each(|_| predecessor.send_with_descriptors(&hello(1, 1), 200)),
        "flood" => {
            predecessor.send(&hello(1, 1));
            while predecessor.try_send(&[BUSY, 7]) {}
        }
        "overlong" => {
            predecessor.send(&hello(1, 1));
            // It announces four thousand million servers, and sends none.
            predecessor.send(&[READY, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
        }
        "greedy" => {
            predecessor.send(&hello(1, 1));
            // It claims listeners that the predecessor did not offer.
            predecessor.send(&[READY, 1, 3, b'w', b'e', b'b', 3, 0, 7, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
        }
        "taker" => {
            predecessor.take_the_place();
            // It takes three batches of connections, and then dies.
            for _ in 0..3 {
                let taken = predecessor.take_connections();
                predecessor.send(&[TAKEN, taken]);
            }
            _ = kill_process(getpid(), Signal::KILL);
        }
        "liar" => {
            predecessor.take_the_place();
            predecessor.take_connections();
            for _ in 0..50 {
                predecessor.send(&[TAKEN, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
                predecessor.send(&[BUSY, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]);
                predecessor.send(&[IDLE, 99]);
                predecessor.send(&[READY, 0, 0]);
            }
            _ = kill_process(getpid(), Signal::KILL);
        }
        "babbler" => {
            predecessor.take_the_place();
            predecessor.send(&[0xFF; 4000]);
        }
        // It takes the place and never reads again.
        "deaf" => predecessor.take_the_place(),
        // The same, but both sides could ask for signs of life.
        "mute" => predecessor.take_the_place_in(newest),
        // It lives, and takes no connection.
        "unconfirming" => {
            predecessor.take_the_place_in(newest);
            loop {
                predecessor.take_batch();
            }
        }
        // It claims the first batch, and does not say so.
        "claimer" => {
            predecessor.take_the_place_in(newest);
            let batch = predecessor.take_batch();
            let (claimed, count) = (batch.claim(), batch.count);
            _ = writeln!(std::io::stdout(), "the claimer has claimed its batch of {count}: {claimed}");
        }
        // It claims and confirms all batches, and serves no connection.
        "confirmer" => {
            predecessor.take_the_place_in(newest);
            let mut taken = 0;
            loop {
                let batch = predecessor.take_batch();
                assert!(batch.claim(), "in time");
                predecessor.send(&[TAKEN_OF, batch.number, batch.count]);
                taken += u32::from(batch.count);
                _ = writeln!(std::io::stdout(), "the confirmer has taken {taken} connections");
            }
        }
        // It takes the first batch after its withdrawal, and the next one in time.
        "late" => {
            predecessor.take_the_place_in(newest);
            let first = predecessor.take_batch();
            first.await_withdrawal();
            _ = writeln!(std::io::stdout(), "the late one claims its first batch: {}", first.claim());
            predecessor.send(&[TAKEN_OF, first.number, 0]);
            let next = predecessor.take_batch();
            _ = writeln!(std::io::stdout(), "the late one claims its next batch: {}", next.claim());
            predecessor.send(&[TAKEN_OF, next.number, next.count]);
        }
        // It takes three batches, and then dies. Since version 4 it sends parcels that no release knows, each with its
        // own end of the socket: the predecessor learns of the death only if it has closed all of them.
        "courier" => {
            predecessor.take_the_place_in(newest);
            let parcels = if newest >= 4 { 20 } else { 0 };
            (0..parcels).for_each(|_| predecessor.send_with_descriptors(&STRANGE_PARCEL, 1));
            for _ in 0..3 {
                let batch = predecessor.take_batch();
                assert!(batch.claim(), "in time");
                predecessor.send(&[TAKEN_OF, batch.number, batch.count]);
            }
            _ = kill_process(getpid(), Signal::KILL);
        }
        word => panic!("no impostor is {word:?}"),
    }
    _ = writeln!(std::io::stdout(), "impostor {word} is done");
    loop {
        std::thread::park();
    }
}

/// The first bytes of a successor's messages: see the product's `handoff/wire.rs`.
const READY: u8 = 0;
const TAKEN: u8 = 2;
const BUSY: u8 = 3;
const IDLE: u8 = 4;
const TAKEN_OF: u8 = 7;
const PONG: u8 = 8;
/// Of version 4: a name and its data.
const STRANGE_PARCEL: [u8; 11] = *b"\x0a\x07strange\x01x";

/// The first bytes of a predecessor's messages.
const COMMIT: u8 = 2;
const CONNECTIONS: u8 = 3;
/// The kinds from here on belong to version 2.
const OFFERS: u8 = 7;
const BATCH: u8 = 8;
const PING: u8 = 9;
/// Of version 3.
const BATCH_V3: u8 = 11;
/// The kinds from here on belong to version 4.
const PARCEL: u8 = 12;

/// The frozen greeting, with these versions.
fn hello(oldest: u8, newest: u8) -> Vec<u8> {
    [b"gracehdf".as_slice(), &[oldest, newest, 2, 14]].concat()
}

/// The socket to the predecessor.
struct Predecessor(OwnedFd);

impl Predecessor {
    /// A duplicate, since only `unsafe` code could own the descriptor itself.
    fn inherit() -> Self {
        let number = std::env::var("GRACEHTTP_HANDOFF").expect("started by a predecessor");
        let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).expect("a pidfd");
        // The signals that the predecessor ignored for this process follow.
        let number = number.split(',').next().and_then(|number| number.parse().ok()).expect("a number");
        Self(pidfd_getfd(ourselves, number, PidfdGetfdFlags::empty()).expect("our own descriptor"))
    }

    fn send(&self, bytes: &[u8]) {
        self.send_with_descriptors(bytes, 0);
    }

    fn send_with_descriptors(&self, bytes: &[u8], count: usize) {
        let fds = vec![self.0.as_fd(); count];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if count > 0 {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        // A predecessor that has given up has closed its end.
        _ = sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
    }

    /// Returns false if there is no room, or no predecessor any more.
    fn try_send(&self, bytes: &[u8]) -> bool {
        let mut control = SendAncillaryBuffer::default();
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).is_ok()
    }

    /// Exchanges the messages that make it the successor of the server `web`.
    fn take_the_place(&self) {
        self.send(&hello(1, 1));
        self.send(&[READY, 1, 3, b'w', b'e', b'b', 1, 0]);
        let _hello = self.receive();
        loop {
            match self.receive()[0] {
                COMMIT => return,
                kind => assert!(kind < OFFERS, "version 1 has no message {kind}"),
            }
        }
    }

    /// The same for the servers `web` and `plain`, in a later version.
    fn take_the_place_in(&self, newest: u8) {
        self.send(&hello(1, newest));
        let servers = [&[READY, 2, 3], b"web".as_slice(), &[5], b"plain", &[1, 0]];
        self.send(&servers.concat());
        let _hello = self.receive();
        loop {
            match self.receive()[0] {
                COMMIT => return,
                kind => assert!(kind < PARCEL || newest >= 4, "version {newest} has no message {kind}"),
            }
        }
    }

    /// How many connections came in the next batch.
    fn take_connections(&self) -> u8 {
        loop {
            let message = self.receive();
            if message[0] == CONNECTIONS {
                return message[1];
            }
        }
    }

    /// Waits for the next batch, and answers questions meanwhile.
    fn take_batch(&self) -> Batch {
        loop {
            let (message, mut fds) = self.receive_with_descriptors();
            match message[0] {
                PING => self.send(&[PONG, message[1]]),
                BATCH | BATCH_V3 => {
                    let token = fds.remove(0);
                    // It keeps the connections that it got.
                    fds.into_iter().for_each(std::mem::forget);
                    return Batch { number: message[1], count: message[2], token };
                }
                _ => (),
            }
        }
    }

    fn receive(&self) -> Vec<u8> {
        let (bytes, fds) = self.receive_with_descriptors();
        // It keeps the connections that it got.
        fds.into_iter().for_each(std::mem::forget);
        bytes
    }

    fn receive_with_descriptors(&self) -> (Vec<u8>, Vec<OwnedFd>) {
        let mut buffer = vec![0; 1 << 17];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut buffer)];
            match recvmsg(&self.0, &mut slices, &mut control, RecvFlags::empty()) {
                Ok(received) if received.bytes > 0 => {
                    let fds = control.drain().filter_map(|message| match message {
                        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                        _ => None,
                    });
                    let fds = fds.flatten().collect();
                    buffer.truncate(received.bytes);
                    return (buffer, fds);
                }
                Err(Errno::AGAIN) => {
                    let forever = None;
                    poll(&mut [PollFd::new(&self.0, PollFlags::IN)], forever).expect("a socket");
                }
                // No more messages will come.
                _ => std::thread::sleep(Duration::MAX),
            }
        }
    }
}

/// Connections, and the token that decides their owner.
struct Batch {
    number: u8,
    count: u8,
    token: OwnedFd,
}

impl Batch {
    /// Waits until the predecessor withdraws the batch: the token is readable until one side has read it.
    fn await_withdrawal(&self) {
        let is_there =
            || poll(&mut [PollFd::new(&self.token, PollFlags::IN)], Some(&Timespec::default())) == Ok(1);
        while is_there() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn claim(&self) -> bool {
        rustix::io::read(&self.token, &mut [0; 8]) == Ok(8)
    }
}
