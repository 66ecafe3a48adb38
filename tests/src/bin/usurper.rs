//! A predecessor that is none: it starts `app` as its successor and says something else than a predecessor would. What
//! it says is its argument; it tells how the successor ended.

use std::io::{IoSlice, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
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
        "half" => drop(say(ours, &[&hello(1, 1), &[KEYS, 0]])),
        word => {
            let words: &[&[u8]] = match word {
                "garbage" => &[&[0xFF; 4000]],
                "http" => &[b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
                "newer" => &[&hello(8, 9)],
                "older" => &[&hello(0, 0)],
                // A turn that nobody is ready for.
                "commit" => &[&hello(1, 1), &[COMMIT, 0]],
                // Names of listeners without a descriptor.
                "names" => &[&hello(1, 1), &[LISTENERS, 1, 3, b'w', b'e', b'b', 2, b':', b'1', 1]],
                // Four thousand million keys, of which none follows.
                "overlong" => &[&hello(1, 1), &[KEYS, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]],
                word => panic!("no usurper says {word:?}"),
            };
            // Our end stays open: the successor has to make up its mind by itself.
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

/// The first bytes of what a predecessor may say: see the product's `handoff/wire.rs`.
const KEYS: u8 = 0;
const LISTENERS: u8 = 1;
const COMMIT: u8 = 2;

/// The frozen greeting, with these versions.
fn hello(oldest: u8, newest: u8) -> Vec<u8> {
    [b"gracehdf".as_slice(), &[oldest, newest, 1, 14]].concat()
}

fn say(socket: OwnedFd, words: &[&[u8]]) -> OwnedFd {
    for word in words {
        let mut nothing = SendAncillaryBuffer::default();
        // A successor that has had enough has closed its end.
        _ = sendmsg(&socket, &[IoSlice::new(word)], &mut nothing, SendFlags::NOSIGNAL);
    }
    socket
}
