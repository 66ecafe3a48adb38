//! From an endpoint to listening sockets: newly bound, or adopted from the predecessor or from systemd.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use super::fault;
use super::listen_options::{ListenOptions, unblock};
use super::listener::Listener;
use super::offered::{Adoption, OfferedListeners, is_same_file};
use super::owner;
use super::socket_access;
use super::socket_file::{self, SocketFile};
use crate::error::Error;
use crate::lifecycle::Address;
use crate::log;
use crate::server::Endpoint;
#[cfg(feature = "cli")]
use crate::server::SocketAccess;

/// Binds all sockets of an endpoint: a host name has one for each of its addresses.
pub(crate) fn bind(
    server: &str,
    endpoint: &Endpoint,
    options: &ListenOptions<'_>,
) -> Result<Vec<Listener>, Error> {
    open(server, endpoint, options, &mut OfferedListeners::default())
}

/// Opens all sockets of an endpoint: adopts the listeners that the predecessor has, or that were passed to this process, and
/// binds the others.
pub(crate) fn open(
    server: &str,
    endpoint: &Endpoint,
    options: &ListenOptions<'_>,
    offered: &mut OfferedListeners,
) -> Result<Vec<Listener>, Error> {
    let adopt = |adoption| adopt(server, endpoint, adoption, options);
    let spelled = offered.spelled(server, endpoint);
    if !spelled.is_empty() {
        return spelled.into_iter().map(adopt).collect();
    }
    match endpoint {
        Endpoint::Unix(path) => {
            if let Some(adoption) = offered.at_file(path) {
                return Ok(vec![adopt(adoption)?]);
            }
            let (socket, file) =
                socket_file::bind(path, options).map_err(|error| fault::unix(server, path, error))?;
            let local = Address::Unix(path.clone());
            Ok(vec![Listener::new(endpoint, local, socket.into(), Some(file))])
        }
        Endpoint::Tcp { host: None, port } => {
            let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            if let Some(adoption) = offered.bound_to(address, false) {
                return Ok(vec![adopt(adoption)?]);
            }
            bind_all_interfaces(*port, options)
                .and_then(|socket| tcp_listener(endpoint, socket))
                .map(|listener| vec![listener])
                .map_err(|error| fault::tcp(server, endpoint, address, error, offered))
        }
        Endpoint::Tcp { host: Some(host), port } => {
            open_host(server, endpoint, (host, *port), options, offered)
        }
        Endpoint::Systemd(_) | Endpoint::Fd(_) => Err(fault::not_passed(server, endpoint, offered)),
    }
}

/// Takes over a listening socket of the predecessor, or one that was passed to this process. Until the commit it is the
/// predecessor's, and keeps its options.
pub(crate) fn adopt(
    server: &str,
    endpoint: &Endpoint,
    adoption: Adoption,
    options: &ListenOptions<'_>,
) -> Result<Listener, Error> {
    let Adoption { index, fd, passed } = adoption;
    let refused = |reason: String| {
        let owner = owner::subject(server);
        Error::new(match &passed {
            Some(name) => {
                format!("{owner} cannot listen on {endpoint}: the passed socket `{name}`: {reason}")
            }
            None => format!("{owner}: cannot take over {endpoint} from the predecessor: {reason}"),
        })
    };
    let socket = Socket::from(fd);
    check_listener(&socket).map_err(refused)?;
    let local = Address::of(&socket).map_err(|error| refused(error.to_string()))?;
    let fits = match (endpoint, &local) {
        (Endpoint::Tcp { port, .. }, Address::Tcp(address)) => *port == 0 || *port == address.port(),
        // If the file is gone, its path proves nothing: it may have been bound in another spelling.
        (Endpoint::Unix(path), Address::Unix(bound)) => is_same_file(path, bound) || !bound.exists(),
        (Endpoint::Systemd(_) | Endpoint::Fd(_), _) => true,
        _ => false,
    };
    if !fits {
        return Err(refused(format!("the socket is bound to {local}")));
    }
    let prepare = || {
        socket.set_cloexec(true)?;
        unblock(&socket)?;
        options.check(socket.domain()?)
    };
    prepare().map_err(|error| refused(error.to_string()))?;

    let socket_file = match &local {
        Address::Tcp(_) => None,
        // The other program makes the file, guards it and removes it.
        Address::Unix(_) if passed.is_some() => None,
        Address::Unix(path) => {
            let file = SocketFile::at(path);
            // Its access is only set once the predecessor has stopped accepting: until then the file is the
            // predecessor's.
            socket_access::check(options.access).map_err(|fault| fault::access(server, path, fault))?;
            if file.is_none() {
                log::notice(format_args!(
                    "{}: the socket file of {endpoint} is gone, so no new client can reach it: stop the process \
                     and start it again",
                    owner::subject(server)
                ));
            }
            file
        }
    };
    let listener = Listener::new(endpoint, local, socket.into(), socket_file);
    // The endpoint's own spelling, if it names the socket: a later generation looks for that.
    let passed = passed.map(|name| if endpoint.is_passed() { endpoint.to_string() } else { name });
    Ok(Listener { offer_index: Some(index), passed, ..listener })
}

/// Whether a socket can give connections.
fn check_listener(socket: &Socket) -> Result<(), String> {
    let kind = socket.r#type().map_err(|error| format!("the descriptor is not a socket ({error})"))?;
    match kind {
        Type::STREAM => {}
        Type::DGRAM => {
            return Err("it is a datagram socket, and HTTP/1 and HTTP/2 need streams (`ListenStream=`, not \
                        `ListenDatagram=`)"
                .into());
        }
        _ => return Err("it is not a stream socket (`ListenStream=`)".into()),
    }
    match socket.is_listener() {
        Ok(true) => Ok(()),
        Ok(false) => Err("it is no listening socket (with `Accept=yes` systemd passes connections: set \
                          `Accept=no`)"
            .into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the configured users and groups of these endpoints' files exist.
#[cfg(feature = "cli")]
pub(crate) fn check_access<'e>(
    server: &str,
    endpoints: impl IntoIterator<Item = &'e Endpoint>,
    access: &SocketAccess,
) -> Result<(), Error> {
    let path = endpoints.into_iter().find_map(|endpoint| match endpoint {
        Endpoint::Unix(path) => Some(path),
        Endpoint::Tcp { .. } | Endpoint::Systemd(_) | Endpoint::Fd(_) => None,
    });
    path.map_or(Ok(()), |path| {
        socket_access::check(access).map_err(|fault| fault::access(server, path, fault))
    })
}

/// One dual-stack socket, or an IPv4 one where the kernel has no IPv6.
fn bind_all_interfaces(port: u16, options: &ListenOptions<'_>) -> io::Result<Socket> {
    let dual_stack = bind_address((Ipv6Addr::UNSPECIFIED, port).into(), false, options);
    match dual_stack {
        Err(error) if address_missing(&error) => {
            bind_address((Ipv4Addr::UNSPECIFIED, port).into(), false, options)
        }
        result => result,
    }
}

/// How often the kernel may choose a port that is free on the first address of a name and taken on the next.
const PORT_CHOICES: u32 = 8;

/// Adopts the predecessor's listeners at addresses of the host, and binds the other addresses.
fn open_host(
    server: &str,
    endpoint: &Endpoint,
    (host, port): (&str, u16),
    options: &ListenOptions<'_>,
    offered: &mut OfferedListeners,
) -> Result<Vec<Listener>, Error> {
    let mut addresses = resolve(host, port).map_err(|error| fault::resolve(server, endpoint, host, error))?;
    let mut adoptions = Vec::new();
    addresses.retain(|address| match offered.bound_to(*address, true) {
        Some(adoption) => {
            adoptions.push(adoption);
            false
        }
        None => true,
    });
    let adopted = adoptions.into_iter().map(|adoption| adopt(server, endpoint, adoption, options));
    let mut listeners = adopted.collect::<Result<Vec<_>, _>>()?;
    let mut choices = if port == 0 { PORT_CHOICES } else { 1 };
    loop {
        choices -= 1;
        match bind_each(endpoint, &addresses, options) {
            Ok(bound) => {
                listeners.extend(bound);
                return Ok(listeners);
            }
            Err((_, error)) if choices > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err((_, error)) if address_missing(&error) && !listeners.is_empty() => return Ok(listeners),
            Err((address, error)) => return Err(fault::tcp(server, endpoint, address, error, offered)),
        }
    }
}

/// All addresses of a name get the same port. An address that this machine does not have is passed over while
/// another one remains: `localhost` is often both `::1` and `127.0.0.1` where IPv6 is switched off.
fn bind_each(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
    options: &ListenOptions<'_>,
) -> Result<Vec<Listener>, (SocketAddr, io::Error)> {
    let mut listeners = Vec::new();
    let mut passed_over = None;
    let mut chosen_port = None;
    for address in addresses {
        let mut address = *address;
        address.set_port(chosen_port.unwrap_or(address.port()));
        match bind_address(address, true, options).and_then(|socket| tcp_listener(endpoint, socket)) {
            Ok(listener) => {
                if let Address::Tcp(local) = listener.local {
                    chosen_port = Some(local.port());
                }
                listeners.push(listener);
            }
            Err(error) if address_missing(&error) => passed_over = Some((address, error)),
            Err(error) => return Err((address, error)),
        }
    }
    match passed_over {
        Some(reason) if listeners.is_empty() => Err(reason),
        _ => Ok(listeners),
    }
}

pub(super) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for mut address in (host, port).to_socket_addrs()? {
        // A name can resolve to an IPv4-mapped address, to which no IPv6-only socket can be bound.
        address.set_ip(address.ip().to_canonical());
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    }
    Ok(addresses)
}

fn bind_address(address: SocketAddr, only_v6: bool, options: &ListenOptions<'_>) -> io::Result<Socket> {
    let socket = bind_silently(address, only_v6)?;
    options.listen(&socket)?;
    Ok(socket)
}

/// Binds an address without listening there: no client notices.
pub(super) fn bind_silently(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A port can be bound while connections of an earlier process are in TIME_WAIT. This does not allow two listeners,
    // as SO_REUSEPORT would: there, a listener that closes loses the clients in its queue.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn tcp_listener(endpoint: &Endpoint, socket: Socket) -> io::Result<Listener> {
    Ok(Listener::new(endpoint, Address::of(&socket)?, socket.into(), None))
}

/// The kernel lacks the whole family, or no interface has this address.
pub(super) fn address_missing(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

#[cfg(test)]
#[path = "bind_tests.rs"]
mod tests;
