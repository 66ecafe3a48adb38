//! The socket of `sd_notify(3)`, and the other ways of its messages.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::errno::Errno;

use crate::sys;

/// Takes the messages for a service manager.
pub(crate) trait Outlet: Send + Sync {
    /// Sends one message, with a descriptor that goes along. It never blocks.
    fn send(&self, message: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()>;

    /// Whether this very process is the main process for the service manager. Then a restart has to announce the next one.
    fn follows_restarts(&self) -> bool;
}

/// The service manager's own socket.
#[derive(Debug)]
pub(crate) struct NotifySocket(SocketAddr);

impl NotifySocket {
    /// That of `NOTIFY_SOCKET`; nothing if no service manager waits for messages.
    pub(crate) fn find() -> Option<io::Result<Self>> {
        let address = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
        Some(parse(&address).map(Self))
    }
}

/// A path, or the name of an abstract socket after `@`.
fn parse(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(address),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "it is neither a path nor an abstract name")),
    }
}

impl Outlet for NotifySocket {
    /// Connects anew each time: the service manager may have been replaced, with its socket.
    fn send(&self, message: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        // On a blocking socket, connecting would wait for room in the queue.
        socket.set_nonblocking(true)?;
        socket.connect_addr(&self.0)?;
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        sys::send(socket.as_fd(), message.as_bytes(), &descriptors)
    }

    fn follows_restarts(&self) -> bool {
        true
    }
}

impl fmt::Display for NotifySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Whether the same message can be sent later: the queue has no room at the moment, or this process or the machine has no
/// more descriptors or memory.
pub(super) fn will_pass(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(
            Errno::EAGAIN
                | Errno::EINTR
                | Errno::ENOBUFS
                | Errno::ENOMEM
                | Errno::EMFILE
                | Errno::ENFILE
                | Errno::ETOOMANYREFS
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_abstract_names_are_addresses() {
        let path = parse(OsStr::new("/run/systemd/notify")).unwrap();
        assert_eq!(path.as_pathname().unwrap().to_str(), Some("/run/systemd/notify"));
        assert_eq!(parse(OsStr::new("@/org/x")).unwrap().as_abstract_name(), Some(&b"/org/x"[..]));
        assert!(parse(OsStr::new("vsock:2:1234")).is_err());
    }

    #[test]
    fn a_message_arrives_with_its_descriptor_and_a_full_queue_does_not_block() {
        let name = format!("gracehttp-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let outlet = NotifySocket(address);
        let (end, _) = io::pipe().unwrap();
        outlet.send("READY=1\n", Some(end.as_fd())).unwrap();
        let mut buffer = [0; 64];
        let received = sys::receive(manager.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..received.len], received.fds.len()), (&b"READY=1\n"[..], 1));
        let full = (0..10_000).find_map(|_| outlet.send("STATUS=x", None).err()).unwrap();
        assert_eq!((full.kind(), will_pass(&full)), (io::ErrorKind::WouldBlock, true));
        drop(manager);
        let gone = outlet.send("READY=1\n", None).unwrap_err();
        assert_eq!((gone.kind(), will_pass(&gone)), (io::ErrorKind::ConnectionRefused, false));
    }

    #[test]
    fn a_lack_of_descriptors_passes() {
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ETOOMANYREFS] {
            assert!(will_pass(&errno.into()), "{errno}");
        }
    }
}
