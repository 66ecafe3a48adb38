//! A listening socket of this process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{SockRef, Socket};

use super::listen_options::ListenOptions;
use super::owner;
use super::socket_access;
use super::socket_file::SocketFile;
use crate::lifecycle::Address;
use crate::log;
use crate::server::{Endpoint, SocketAccess};
use crate::socket::ListenerNumber;

/// One listening socket: non-blocking, and closed on exec.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) endpoint: Endpoint,
    pub(crate) local: Address,
    /// Whether its connections begin with a TLS handshake.
    pub(crate) is_secure: bool,
    pub(crate) fd: OwnedFd,
    /// The file of a Unix socket, to be removed at the final stop. Dropping a listener leaves the file alone: at a
    /// restart the predecessor drops its listeners too.
    pub(crate) socket_file: Option<SocketFile>,
    /// `systemd:NAME` or `fd:N`, if another program opened the socket and has passed it. Its file is that program's.
    pub(crate) passed: Option<String>,
    /// Its index among the predecessor's listeners, if it was adopted.
    pub(crate) offer_index: Option<usize>,
    /// The number that its connections carry. It is assigned once all listeners are open.
    pub(crate) number: Option<ListenerNumber>,
}

impl Listener {
    pub(super) fn new(
        endpoint: &Endpoint,
        local: Address,
        fd: OwnedFd,
        socket_file: Option<SocketFile>,
    ) -> Self {
        Self {
            endpoint: endpoint.clone(),
            local,
            is_secure: false,
            fd,
            socket_file,
            passed: None,
            offer_index: None,
            number: None,
        }
    }

    /// The spelling by which another generation knows it. That of a socket which another program opened says so, whatever
    /// endpoint found it.
    pub(crate) fn spelled(&self) -> String {
        self.passed.clone().unwrap_or_else(|| self.endpoint.to_string())
    }

    /// Owner and mode of the file of a Unix socket.
    pub(crate) fn access(&self) -> SocketAccess {
        match &self.local {
            Address::Unix(path) => socket_access::found(path),
            Address::Tcp(_) => SocketAccess::default(),
        }
    }

    /// Sets owner and mode of the file of a Unix socket that this process has adopted. If that fails, the file keeps
    /// its former access.
    pub(crate) fn update_access(&self, server: &str, access: &SocketAccess) {
        if let (Address::Unix(path), Some(_)) = (&self.local, &self.socket_file)
            && let Err(fault) = socket_access::give(path, access)
        {
            log::error(format_args!(
                "{}: the socket file of {} keeps its former access: {fault}",
                owner::subject(server),
                self.endpoint
            ));
        }
    }

    /// Applies the options that are configured here to an adopted listener. If that fails, it keeps its former ones.
    pub(super) fn update_options(&self, server: &str, options: &ListenOptions<'_>) {
        if let Err(error) = options.reapply(&SockRef::from(self)) {
            log::error(format_args!(
                "{}: the listener of {} keeps its former options: {error}",
                owner::subject(server),
                self.endpoint
            ));
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Address {
    /// Asks the kernel.
    pub(super) fn of(socket: &Socket) -> io::Result<Self> {
        let address = socket.local_addr()?;
        if let Some(address) = address.as_socket() {
            return Ok(Self::Tcp(address));
        }
        match address.as_pathname() {
            Some(path) => Ok(Self::Unix(path.to_owned())),
            None => Err(io::Error::other("the socket is neither of TCP nor bound to a path")),
        }
    }
}
