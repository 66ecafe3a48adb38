//! Opens sockets and becomes another program, which inherits them: what systemd does for a socket unit.
//!
//! ```text
//! activator [plain] NAME=tcp:127.0.0.1:0 NAME=unix:PATH NAME=udp:127.0.0.1:0 … [LISTEN_PID=1] … -- PROGRAM ARGUMENT…
//! ```
//!
//! With `plain` it says nothing in the environment, as a shell that redirects descriptors. Names that are all empty are not
//! passed. A variable, such as `LISTEN_PID`, replaces the true one; an empty one is not set.
//!
//! Further kinds: `sequential:PATH`, `connection:` (as with `Accept=yes`), `file:PATH`.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let is_plain = arguments.next_if_eq("plain").is_some();
    let (mut names, mut sockets, mut variables) = (Vec::new(), Vec::new(), Vec::new());
    for argument in arguments.by_ref().take_while(|argument| argument != "--") {
        let (name, socket) = argument.split_once('=').expect("NAME=SOCKET");
        if name.starts_with("LISTEN_") {
            variables.push((name.to_owned(), socket.to_owned()));
            continue;
        }
        let socket = open(socket);
        // Nothing else is open in this process, so the numbers are 3, 4, ….
        assert_eq!(socket.as_raw_fd() as usize, 3 + sockets.len());
        fcntl_setfd(socket.as_fd(), FdFlags::empty()).expect("an open descriptor");
        names.push(name.to_owned());
        sockets.push(socket);
    }
    let mut command = Command::new(arguments.next().expect("a program"));
    command.args(arguments);
    if !is_plain {
        command.env("LISTEN_PID", std::process::id().to_string());
        command.env("LISTEN_FDS", sockets.len().to_string());
        if names.iter().any(|name| !name.is_empty()) {
            command.env("LISTEN_FDNAMES", names.join(":"));
        }
    }
    for (name, value) in variables {
        match value.as_str() {
            "" => command.env_remove(name),
            _ => command.env(name, value),
        };
    }
    panic!("{}", command.exec());
}

fn open(socket: &str) -> OwnedFd {
    match socket.split_once(':').expect("KIND:ADDRESS") {
        ("tcp", address) => TcpListener::bind(address).expect("a free address").into(),
        ("udp", address) => UdpSocket::bind(address).expect("a free address").into(),
        ("unix", path) => UnixListener::bind(path).expect("a free path").into(),
        ("sequential", path) => sequential(path).expect("a free path"),
        ("connection", _) => {
            let (connection, other) = UnixStream::pair().expect("a pair");
            // It stays open, away from the numbers of the sockets that follow.
            _ = fcntl_dupfd_cloexec(&other, 100).expect("a free number").into_raw_fd();
            connection.into()
        }
        ("file", path) => File::open(path).expect("a file").into(),
        (kind, _) => panic!("no kind of socket: {kind}"),
    }
}

fn sequential(path: &str) -> rustix::io::Result<OwnedFd> {
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, 16)?;
    Ok(socket)
}
