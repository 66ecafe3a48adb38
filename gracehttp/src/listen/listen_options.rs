//! The options of a listening socket, and how they are applied.

use std::io;
use std::time::Duration;

use socket2::{Domain, Socket, TcpKeepalive, Type};

use crate::server::{ServerOptions, SocketAccess};

/// After the first probe the others follow faster: a peer that is gone should not hold its permit for long.
const LONGEST_PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// The options of a listening socket. On Linux, accepted connections inherit all of them, so nothing has to be set on
/// each connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenOptions<'a> {
    pub(crate) backlog: u32,
    pub(crate) tcp_keepalive: Option<Duration>,
    pub(crate) nodelay: bool,
    /// Owner and mode of the file of a Unix socket.
    pub(crate) access: &'a SocketAccess,
}

impl<'a> ListenOptions<'a> {
    pub(crate) fn of(options: &'a ServerOptions) -> Self {
        let ServerOptions { backlog, tcp_keepalive, nodelay, socket, .. } = options;
        Self { backlog: *backlog, tcp_keepalive: *tcp_keepalive, nodelay: *nodelay, access: socket }
    }

    /// Makes a bound socket listen.
    pub(super) fn listen(&self, socket: &Socket) -> io::Result<()> {
        if socket.domain()? != Domain::UNIX {
            self.apply_tcp(socket)?;
        }
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))
    }

    /// Applies the options to a socket that already listens. There, `listen` only changes the backlog: what is queued
    /// stays queued.
    pub(super) fn reapply(&self, socket: &Socket) -> io::Result<()> {
        unblock(socket)?;
        self.listen(socket)
    }

    /// Tries the options on another socket: fails if the kernel refuses them.
    pub(super) fn check(&self, domain: Domain) -> io::Result<()> {
        if domain == Domain::UNIX {
            return Ok(());
        }
        self.apply_tcp(&Socket::new(domain, Type::STREAM, None)?)
    }

    fn apply_tcp(&self, socket: &Socket) -> io::Result<()> {
        match self.tcp_keepalive {
            Some(idle) => {
                // The kernel counts whole seconds, from one on.
                let idle = idle.max(Duration::from_secs(1));
                let interval = idle.min(LONGEST_PROBE_INTERVAL);
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval))?;
            }
            None => socket.set_keepalive(false)?,
        }
        socket.set_tcp_nodelay(self.nodelay)
    }
}

/// Makes a socket non-blocking. Other programs pass blocking ones: then `accept` would wait for the next client, and with it
/// the whole runtime.
pub(super) fn unblock(socket: &Socket) -> io::Result<()> {
    // The flag belongs to the open file description, which both processes share. It is left alone unless wrong.
    if socket.nonblocking()? { Ok(()) } else { socket.set_nonblocking(true) }
}
