//! Why an endpoint could not be bound, and what the operator can do about it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::holder;
use super::offered::{Beside, OfferedListeners, Source};
use super::owner;
use super::socket_access::AccessFault;
use super::socket_file::BindFault;
use crate::error::Error;
use crate::server::Endpoint;

/// Only root may bind lower ports, unless the machine is configured otherwise.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

pub(super) fn tcp(
    server: &str,
    endpoint: &Endpoint,
    address: SocketAddr,
    error: io::Error,
    offered: &OfferedListeners,
) -> Error {
    let elsewhere = owner::elsewhere_on_tcp(server);
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => in_use(address, offered, &elsewhere),
        io::ErrorKind::PermissionDenied if address.port() < FIRST_UNPRIVILEGED_PORT => format!(
            "permission denied: ports below {FIRST_UNPRIVILEGED_PORT} take root or the capability \
             CAP_NET_BIND_SERVICE, which a process that has become another `user` lacks: stop the service and start it \
             again as root, grant the capability (AmbientCapabilities= of its unit), let a socket unit pass the socket, \
             lower `net.ipv4.ip_unprivileged_port_start`, or {elsewhere}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("no interface of this machine has the address {}; {elsewhere}", address.ip())
        }
        _ if lacks_zone(address) => format!(
            "the link-local address {} needs its zone, the interface, as in `[fe80::1%eth0]:{}`; \
             {elsewhere}",
            address.ip(),
            address.port()
        ),
        _ => format!("{error}; {elsewhere}"),
    };
    cannot_listen(server, endpoint, &reason, error)
}

fn in_use(address: SocketAddr, offered: &OfferedListeners, elsewhere: &str) -> String {
    match offered.beside(address) {
        Some(Beside::Own { server, endpoint }) => {
            return format!(
                "the predecessor listens on `{endpoint}` of {}, which it needs until this process is ready, and the \
                 kernel allows no other listener beside it on this port; a restart can't change the one into the \
                 other: keep the endpoint, or stop the service and start it again",
                owner::subject(server)
            );
        }
        Some(Beside::Passed { name, address }) => {
            return format!(
                "the socket `{name}`, which was passed to this process, is bound to {address}, and the kernel allows \
                 no other listener beside it; listen on `{name}` or on `{address}` instead"
            );
        }
        None => {}
    }
    match holder::of_tcp(address) {
        Some(holder) => format!("the port is in use by {holder}; stop that, or {elsewhere}"),
        None => format!(
            "the port is in use by another process (`ss -ltnp 'sport = :{}'` run as root shows it); stop that, or \
             {elsewhere}",
            address.port()
        ),
    }
}

/// Whether a link-local address names no interface. The addresses of a host name may lack it, too.
fn lacks_zone(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.ip().is_unicast_link_local() && address.scope_id() == 0)
}

/// No socket of this name or number was passed, or another endpoint has it.
pub(super) fn not_passed(server: &str, endpoint: &Endpoint, offered: &OfferedListeners) -> Error {
    let names = offered.names();
    let reason = match offered.source() {
        _ if offered.is_taken(endpoint) => "another endpoint has this socket already".to_owned(),
        Source::Predecessor => "the predecessor has no such socket, and a restart can't get one: sockets are passed only \
                                when the service is started; stop it and start it again"
            .to_owned(),
        Source::Starter { not_ours: Some(why) } => why.clone(),
        Source::Starter { .. } if !names.is_empty() => {
            let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            format!("it was not passed to this process; those that were are {names}")
        }
        Source::Starter { .. } => match endpoint {
            Endpoint::Fd(number) => format!("no socket was open as descriptor {number} when this process started"),
            _ => "no socket was passed to this process (LISTEN_FDS is not set): start it by its socket unit, in which \
                  `FileDescriptorName=` sets the name"
                .to_owned(),
        },
    };
    Error::new(format!("{} cannot listen on {endpoint}: {reason}", owner::subject(server)))
}

pub(super) fn resolve(server: &str, endpoint: &Endpoint, host: &str, error: io::Error) -> Error {
    if let Some((_, zone)) = host.split_once('%') {
        let reason =
            format!("no interface of this machine is `{zone}` (`ip link` shows them): correct the zone");
        return cannot_listen(server, endpoint, &reason, error);
    }
    let reason = format!(
        "the host name `{host}` was not found ({error}); correct it, or write an address, or `:PORT` for all \
         interfaces"
    );
    cannot_listen(server, endpoint, &reason, error)
}

pub(super) fn unix(server: &str, path: &Path, fault: BindFault) -> Error {
    let error = match fault {
        BindFault::Bind(error) => error,
        BindFault::Access(fault) => return access(server, path, fault),
    };
    let elsewhere = owner::elsewhere_on_disk(server);
    let directory = path.parent().unwrap_or(path).display();
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder::of_unix(path).unwrap_or_else(|| "another process".to_owned());
            format!("the socket is in use by {holder}; stop that, or {elsewhere}")
        }
        io::ErrorKind::AlreadyExists => {
            format!("a file that is not a socket is in its place; move it away, or {elsewhere}")
        }
        // /proc is such a directory.
        io::ErrorKind::NotFound if path.parent().is_some_and(Path::is_dir) => {
            format!("the directory {directory} takes no new files; {elsewhere}")
        }
        io::ErrorKind::NotFound => {
            format!("the directory {directory} does not exist; create it, or {elsewhere}")
        }
        io::ErrorKind::PermissionDenied => format!(
            "permission denied: this user may not write to the directory {directory} or to the socket; \
             grant it, or {elsewhere}"
        ),
        io::ErrorKind::InvalidInput => {
            format!("the path is longer than the 107 bytes that the kernel allows; {elsewhere}")
        }
        _ => format!("{error}; {elsewhere}"),
    };
    cannot_listen(server, &Endpoint::Unix(path.to_owned()), &reason, error)
}

/// Why the file of a Unix socket can't get its configured access.
pub(super) fn access(server: &str, path: &Path, fault: AccessFault) -> Error {
    let reason = fault.to_string();
    let error = match fault {
        AccessFault::Unknown { .. } => io::ErrorKind::NotFound.into(),
        AccessFault::Refused { error, .. } => error,
    };
    cannot_listen(server, &Endpoint::Unix(path.to_owned()), &reason, error)
}

fn cannot_listen(server: &str, endpoint: &Endpoint, reason: &str, error: io::Error) -> Error {
    Error::caused_by(format!("{} cannot listen on {endpoint}: {reason}", owner::subject(server)), error)
}
