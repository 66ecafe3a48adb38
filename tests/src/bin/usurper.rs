//! A false predecessor: it starts `app` as its successor and sends other messages than a predecessor would. Its
//! argument selects the messages; it logs how the successor ended.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    recv, sendmsg, socketpair,
};

fn main() {
    let word = std::env::args().nth(1).expect("what to say");
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).expect("a pair");
    fcntl_setfd(&ours, FdFlags::CLOEXEC).expect("our own descriptor");
    let app = std::env::current_exe().expect("a program").with_file_name("app");
    let mut successor = Command::new(app)
        .env("GRACEHTTP_HANDOFF", theirs.as_fd().as_raw_fd().to_string())
        .spawn()
        .expect("the successor");
    drop(theirs);
    match word.as_str() {
        "nothing" => drop(ours),
        "first release" => {
            hand_over_as_the_first_release(&ours);
            // The successor would run without end, and the test has seen enough.
            successor.kill().expect("our own child");
        }
        "half" => drop(say(ours, &[&hello(1, 1), &[KEYS, 0]])),
        word => {
            let words: &[&[u8]] = match word {
                "garbage" => &[&[0xFF; 4000]],
                "http" => &[b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
                "newer" => &[&hello(9, 10)],
                "older" => &[&hello(0, 0)],
                // A commit before the successor is ready.
                "commit" => &[&hello(1, 1), &[COMMIT, 0]],
                // Names of listeners without a descriptor.
                "names" => &[&hello(1, 1), &[LISTENERS, 1, 3, b'w', b'e', b'b', 2, b':', b'1', 1]],
                // It announces four thousand million keys, and sends none.
                "overlong" => &[&hello(1, 1), &[KEYS, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]],
                word => panic!("no usurper says {word:?}"),
            };
            // This end stays open: the successor has to decide by itself.
            let open = say(ours, words);
            tell(&mut successor);
            return drop(open);
        }
    }
    tell(&mut successor);
}

fn tell(successor: &mut std::process::Child) {
    let status = successor.wait().expect("our own child");
    _ = writeln!(std::io::stdout(), "the successor ended: {status}");
}

/// The first bytes of a predecessor's messages: see the product's `handoff/wire.rs`.
const KEYS: u8 = 0;
const LISTENERS: u8 = 1;
const COMMIT: u8 = 2;
const CONNECTIONS: u8 = 3;
const HELD: u8 = 4;
const STANDBY_OVER: u8 = 5;
const FAREWELL: u8 = 6;

/// The first bytes of a successor's messages.
const READY: u8 = 0;
const TAKEN: u8 = 2;
const BUSY: u8 = 3;
const IDLE: u8 = 4;

/// Hands a listener and a connection over, with exactly the messages of the first release, and asks on the connection
/// for the pid of the process.
fn hand_over_as_the_first_release(successor: &OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
    let (connection, _) = listener.accept().expect("a connection");
    connection.set_nonblocking(true).expect("a socket");
    say_with(successor, &hello(1, 1), &[]);
    say_with(successor, &[KEYS, 0], &[]);
    let endpoint = b"127.0.0.1:0";
    let names = [&[LISTENERS, 1, 3], b"web".as_slice(), &[endpoint.len() as u8], endpoint, &[1]].concat();
    say_with(successor, &names, &[listener.as_fd()]);
    // It still speaks version 1; its newest may be any.
    assert_eq!(hear(successor)[..9], *b"gracehdf\x01");
    assert_eq!(hear(successor), [&[READY, 1, 3], b"web".as_slice(), &[1, 0]].concat());
    say_with(successor, &[COMMIT, 1, 3, b'w', b'e', b'b', 1], &[]);
    // One connection, of TCP, between two requests, nothing read ahead.
    say_with(successor, &[CONNECTIONS, 1, 3, b'w', b'e', b'b', 0, 1, 0], &[connection.as_fd()]);
    assert_eq!(hear(successor), [TAKEN, 1]);
    say_with(successor, &[HELD, 1, 3, b'w', b'e', b'b', 0], &[]);
    say_with(successor, &[STANDBY_OVER], &[]);
    say_with(successor, &[FAREWELL], &[]);
    drop((listener, connection));
    client
        .write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    _ = writeln!(
        std::io::stdout(),
        "the connection is answered: {}",
        answer.lines().last().unwrap_or_default()
    );
}

fn say_with(socket: &OwnedFd, word: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    sendmsg(socket, &[IoSlice::new(word)], &mut control, SendFlags::NOSIGNAL)
        .expect("a successor that listens");
}

/// The successor's next message, without its reports on requests.
fn hear(socket: &OwnedFd) -> Vec<u8> {
    loop {
        let forever = None;
        poll(&mut [PollFd::new(socket, PollFlags::IN)], forever).expect("a socket");
        let mut buffer = vec![0; 4096];
        let (length, _) = recv(socket, &mut buffer, RecvFlags::empty()).expect("a word");
        buffer.truncate(length);
        if !matches!(buffer.as_slice(), [BUSY | IDLE, _]) {
            return buffer;
        }
    }
}

/// The frozen greeting, with these versions.
fn hello(oldest: u8, newest: u8) -> Vec<u8> {
    [b"gracehdf".as_slice(), &[oldest, newest, 1, 14]].concat()
}

fn say(socket: OwnedFd, words: &[&[u8]]) -> OwnedFd {
    for word in words {
        let mut nothing = SendAncillaryBuffer::default();
        // A successor that has given up has closed its end.
        _ = sendmsg(&socket, &[IoSlice::new(word)], &mut nothing, SendFlags::NOSIGNAL);
    }
    socket
}
