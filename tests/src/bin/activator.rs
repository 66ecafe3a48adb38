//! Opens sockets and becomes another program, which inherits them: what systemd does for a socket unit.
//!
//! ```text
//! activator [plain | elsewhere] NAME=tcp:127.0.0.1:0 NAME=unix:PATH NAME=udp:127.0.0.1:0 … -- PROGRAM ARGUMENT…
//! ```
//!
//! With `plain` it says nothing in the environment, as a shell that redirects descriptors; with `elsewhere` it says that
//! the sockets are for another process. Names that are all empty are not passed.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let manner = arguments.next_if(|first| first == "plain" || first == "elsewhere");
    let (mut names, mut sockets) = (Vec::new(), Vec::new());
    for argument in arguments.by_ref().take_while(|argument| argument != "--") {
        let (name, socket) = argument.split_once('=').expect("NAME=SOCKET");
        let socket = open(socket);
        // Nothing else is open in this process, so the numbers are 3, 4, ….
        assert_eq!(socket.as_raw_fd() as usize, 3 + sockets.len());
        fcntl_setfd(socket.as_fd(), FdFlags::empty()).expect("an open descriptor");
        names.push(name.to_owned());
        sockets.push(socket);
    }
    let mut command = Command::new(arguments.next().expect("a program"));
    command.args(arguments);
    if manner.as_deref() != Some("plain") {
        let process = if manner.is_some() { 1 } else { std::process::id() };
        command.env("LISTEN_PID", process.to_string()).env("LISTEN_FDS", sockets.len().to_string());
        if names.iter().any(|name| !name.is_empty()) {
            command.env("LISTEN_FDNAMES", names.join(":"));
        }
    }
    panic!("{}", command.exec());
}

fn open(socket: &str) -> OwnedFd {
    match socket.split_once(':').expect("KIND:ADDRESS") {
        ("tcp", address) => TcpListener::bind(address).expect("a free address").into(),
        ("udp", address) => UdpSocket::bind(address).expect("a free address").into(),
        ("unix", path) => UnixListener::bind(path).expect("a free path").into(),
        (kind, _) => panic!("no kind of socket: {kind}"),
    }
}
