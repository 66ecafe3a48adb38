//! Binding and adopting against the real kernel, on loopback.

use super::*;
use socket2::SockRef;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::listen::PassedSocket;
use crate::listen::socket_file::unlink_if_ours;
use crate::server::SocketAccess;

static ACCESS: SocketAccess = SocketAccess { mode: None, user: None, group: None };

const OPTIONS: ListenOptions<'_> = ListenOptions {
    backlog: 16,
    tcp_keepalive: Some(Duration::from_secs(60)),
    nodelay: true,
    access: &ACCESS,
};

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

fn port(listener: &Listener) -> u16 {
    match listener.local {
        Address::Tcp(address) => address.port(),
        Address::Unix(_) => panic!("a TCP listener was expected"),
    }
}

fn fault(result: Result<Vec<Listener>, Error>) -> String {
    result.unwrap_err().to_string()
}

/// A path of its own for each caller, in a directory that goes with the value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gracehttp-bind-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> (PathBuf, Endpoint) {
        let path = self.0.join("a.sock");
        (path.clone(), Endpoint::Unix(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn all_interfaces_are_one_dual_stack_socket() {
    let listeners = bind("ping", &endpoint(":0"), &OPTIONS).unwrap();
    assert_eq!(listeners.len(), 1);
    let port = port(&listeners[0]);
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    }
}

#[test]
fn a_listener_does_not_block_and_is_closed_on_exec() {
    let listener = bind("ping", &endpoint("127.0.0.1:0"), &OPTIONS).unwrap().remove(0);
    let socket = SockRef::from(&listener);
    assert!(socket.nonblocking().unwrap());
    assert!(!socket.reuse_port().unwrap());
    let flags = nix::fcntl::fcntl(&listener, nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_ne!(flags & nix::fcntl::FdFlag::FD_CLOEXEC.bits(), 0);
}

#[test]
fn accepted_connections_inherit_the_options() {
    let listener = bind("ping", &endpoint("127.0.0.1:0"), &OPTIONS).unwrap().remove(0);
    let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port(&listener))).unwrap();
    let (accepted, _) = SockRef::from(&listener).accept().unwrap();
    assert!(accepted.tcp_nodelay().unwrap());
    assert!(accepted.keepalive().unwrap());
    assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    assert_eq!(accepted.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
}

#[test]
fn all_addresses_of_a_name_get_the_same_port() {
    let listeners = bind("ping", &endpoint("localhost:0"), &OPTIONS).unwrap();
    assert!(listeners.iter().all(|listener| port(listener) == port(&listeners[0])));
}

#[test]
fn a_port_in_use_names_the_server_its_holder_and_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for text in [format!("127.0.0.1:{port}"), format!(":{port}")] {
        let message = fault(bind("my-api", &endpoint(&text), &OPTIONS));
        let start = format!("server `my-api` cannot listen on {text}: the port is in use by this process");
        assert!(message.starts_with(&start), "{message}");
        assert!(message.contains("GRACEHTTP_SERVER__MY_API__PORT"), "{message}");
    }
}

#[test]
fn a_foreign_address_and_an_unknown_name_are_told_apart() {
    let message = fault(bind("ping", &endpoint("192.0.2.1:0"), &OPTIONS));
    assert!(message.contains("no interface of this machine has the address 192.0.2.1"), "{message}");
    let message = fault(bind("ping", &endpoint("nowhere.invalid:0"), &OPTIONS));
    assert!(message.contains("the host name `nowhere.invalid` was not found"), "{message}");
}

#[test]
fn a_listener_is_adopted_with_what_is_queued_and_gets_the_options_of_today_when_it_is_used() {
    let original = bind("ping", &endpoint("127.0.0.1:0"), &OPTIONS).unwrap().remove(0);
    let wanted = endpoint(&format!("127.0.0.1:{}", port(&original)));
    let _queued = TcpStream::connect((Ipv4Addr::LOCALHOST, port(&original))).unwrap();

    let copy = original.fd.try_clone().unwrap();
    let today = ListenOptions { backlog: 32, tcp_keepalive: None, nodelay: false, access: &ACCESS };
    let adopted = adopt("ping", &wanted, Adoption { index: 0, fd: copy, passed: None }, &today).unwrap();
    assert!(SockRef::from(&adopted).keepalive().unwrap(), "it is still the predecessor's");
    assert!(SockRef::from(&adopted).tcp_nodelay().unwrap());
    drop(original);
    adopted.update_options("ping", &today);

    assert_eq!(adopted.endpoint, wanted);
    assert!(!SockRef::from(&adopted).keepalive().unwrap());
    assert!(!SockRef::from(&adopted).tcp_nodelay().unwrap());
    SockRef::from(&adopted).accept().unwrap();
}

#[test]
fn only_the_listener_of_this_endpoint_is_adopted() {
    let refuse = |wanted: &str, fd: OwnedFd, reason: &str| {
        let message = adopt("ping", &endpoint(wanted), Adoption { index: 0, fd, passed: None }, &OPTIONS)
            .unwrap_err()
            .to_string();
        assert!(message.contains(reason), "{message}");
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    refuse("127.0.0.1:1", listener.try_clone().unwrap().into(), "the socket is bound to 127.0.0.1:");
    refuse("unix:/run/a.sock", listener.into(), "the socket is bound to 127.0.0.1:");
    let forever = Some(Duration::from_secs(1_000_000));
    let options = ListenOptions { tcp_keepalive: forever, ..OPTIONS };
    let fd = TcpListener::bind("127.0.0.1:0").unwrap().into();
    adopt("ping", &endpoint("127.0.0.1:0"), Adoption { index: 0, fd, passed: None }, &options).unwrap_err();
    let unconnected = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    refuse("127.0.0.1:0", unconnected.into(), "no listening socket");
    refuse("127.0.0.1:0", std::fs::File::open("/dev/null").unwrap().into(), "not a socket");
}

#[test]
fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
    let directory = Directory::new();
    let (path, endpoint) = directory.socket();
    drop(UnixListener::bind(&path).unwrap());

    let first = bind("ping", &endpoint, &OPTIONS).unwrap().remove(0);
    UnixStream::connect(&path).unwrap();
    let message = fault(bind("ping", &endpoint, &OPTIONS));
    assert!(message.contains("the socket is in use by this process itself"), "{message}");
    UnixStream::connect(&path).unwrap();

    let copy = first.fd.try_clone().unwrap();
    let adopted = adopt("ping", &endpoint, Adoption { index: 0, fd: copy, passed: None }, &OPTIONS).unwrap();
    assert_eq!(adopted.socket_file, first.socket_file);
}

#[test]
fn a_file_that_is_not_a_socket_is_never_removed() {
    let directory = Directory::new();
    let (path, endpoint) = directory.socket();
    std::fs::write(&path, "precious").unwrap();
    let message = fault(bind("ping", &endpoint, &OPTIONS));
    assert!(message.contains("a file that is not a socket is in its place"), "{message}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_missing_directory_and_a_long_path_are_explained() {
    let directory = Directory::new();
    let message = fault(bind("ping", &Endpoint::Unix(directory.0.join("no/a.sock")), &OPTIONS));
    assert!(message.contains("no does not exist; create it"), "{message}");
    let message = fault(bind("ping", &Endpoint::Unix(Path::new("/tmp").join("x".repeat(120))), &OPTIONS));
    assert!(message.contains("107 bytes"), "{message}");
}

#[test]
fn only_our_own_socket_file_is_removed() {
    let directory = Directory::new();
    let (path, endpoint) = directory.socket();
    let ours = bind("ping", &endpoint, &OPTIONS).unwrap().remove(0).socket_file.unwrap();
    // Ours is kept under another name meanwhile, or its inode would be used again at once.
    std::fs::rename(&path, directory.0.join("old")).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    unlink_if_ours(&ours);
    assert!(path.exists());

    std::fs::rename(directory.0.join("old"), &path).unwrap();
    unlink_if_ours(&ours);
    assert!(!path.exists());
}

fn passed(fd: impl Into<OwnedFd>) -> OfferedListeners {
    let socket = PassedSocket { number: 3, name: Some("web".to_owned()), fd: fd.into() };
    OfferedListeners::passed(vec![socket], None)
}

#[test]
fn a_passed_unix_socket_keeps_its_file_whether_named_or_found_by_its_path() {
    let directory = Directory::new();
    let (path, by_path) = directory.socket();
    for endpoint in [endpoint("systemd:web"), by_path] {
        let socket = UnixListener::bind(&path).unwrap();
        let listener = open("ping", &endpoint, &OPTIONS, &mut passed(socket)).unwrap().remove(0);
        assert_eq!(listener.local, Address::Unix(path.clone()));
        assert_eq!((listener.socket_file.as_ref(), listener.spelled().as_str()), (None, "systemd:web"));
        // A later generation is told of it by that spelling, and knows whose file it is.
        let offered = [("ping".to_owned(), listener.spelled(), listener.fd)];
        let later = open("ping", &endpoint, &OPTIONS, &mut OfferedListeners::new(offered)).unwrap().remove(0);
        assert_eq!((later.socket_file, later.passed.as_deref()), (None, Some("systemd:web")));
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_passed_socket_that_gives_no_connections_is_refused_with_its_reason() {
    let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let message = fault(open("ping", &endpoint("systemd:web"), &OPTIONS, &mut passed(datagram)));
    assert!(message.contains("`systemd:web`: it is a datagram socket"), "{message}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let message = fault(open("ping", &endpoint("fd:3"), &OPTIONS, &mut passed(connection)));
    assert!(message.contains("set `Accept=no`"), "{message}");
}

#[test]
fn a_socket_that_was_not_passed_is_an_error_that_names_those_that_were() {
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let told =
        |text: &str, offered: &mut OfferedListeners| fault(open("ping", &endpoint(text), &OPTIONS, offered));
    let message = told("systemd:api", &mut passed(listener()));
    assert!(message.ends_with("those that were are `systemd:web`"), "{message}");
    let message = told("systemd:web", &mut OfferedListeners::default());
    assert!(message.contains("LISTEN_FDS is not set"), "{message}");
    let message = told("fd:7", &mut OfferedListeners::default());
    assert!(message.contains("no socket was open as descriptor 7"), "{message}");
    let another = || Some("sockets were passed, but to the process 12 (LISTEN_PID)".to_owned());
    let message = told("systemd:web", &mut OfferedListeners::passed(Vec::new(), another()));
    assert!(message.ends_with("to the process 12 (LISTEN_PID)"), "{message}");
    let message = told("systemd:web", &mut OfferedListeners::new([]));
    assert!(message.contains("sockets are passed only when the service is started"), "{message}");
    let mut offered = passed(listener());
    open("ping", &endpoint("systemd:web"), &OPTIONS, &mut offered).unwrap();
    let message = told("systemd:web", &mut offered);
    assert!(message.ends_with("another endpoint has this socket already"), "{message}");
}

#[test]
fn an_address_beside_a_passed_socket_is_refused_with_both_ways_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let message = fault(open("ping", &endpoint(&format!(":{port}")), &OPTIONS, &mut passed(listener)));
    assert!(message.contains(&format!("listen on `systemd:web` or on `127.0.0.1:{port}`")), "{message}");
}
