//! Whether an endpoint could be bound, without a listener that a client or the running service would notice.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::bind::{address_missing, bind_silently, resolve};
use super::offered::OfferedListeners;
use super::socket_file::{BindFault, SocketFile};
use super::{fault, holder, owner};
use crate::error::Error;
use crate::server::Endpoint;

/// Tries an endpoint. `is_service` tells whether a process belongs to the running service: an endpoint that it holds is no fault,
/// since a restart passes it on.
pub(crate) fn try_endpoint(
    server: &str,
    endpoint: &Endpoint,
    is_service: &dyn Fn(u32) -> bool,
) -> Result<Trial, Error> {
    match endpoint {
        Endpoint::Tcp { host, port } => try_tcp(server, endpoint, (host.as_deref(), *port), is_service),
        Endpoint::Unix(path) => try_unix(server, path, is_service),
        Endpoint::Systemd(_) | Endpoint::Fd(_) => Ok(Trial::Passed),
    }
}

/// What was found.
pub(crate) enum Trial {
    Free,
    /// By this process of the running service.
    Held(u32),
    Passed,
}

impl Trial {
    /// The sentence for the operator.
    pub(crate) fn told(&self, server: &str, endpoint: &Endpoint) -> String {
        let subject = owner::subject(server);
        match self {
            Self::Free => format!("{subject}: {endpoint} is free"),
            Self::Held(pid) => format!(
                "{subject}: {endpoint} is held by the running service, pid {pid}; a restart passes it on"
            ),
            Self::Passed => format!(
                "{subject}: {endpoint} can't be tried, since the program that starts the service passes it"
            ),
        }
    }
}

fn try_tcp(
    server: &str,
    endpoint: &Endpoint,
    (host, port): (Option<&str>, u16),
    is_service: &dyn Fn(u32) -> bool,
) -> Result<Trial, Error> {
    let addresses = match host {
        Some(host) => resolve(host, port).map_err(|error| fault::resolve(server, endpoint, host, error))?,
        None => vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()],
    };
    let mut trial = None;
    let mut missing = None;
    for address in addresses {
        match bind_silently(address, host.is_some()) {
            Ok(_) => trial = trial.or(Some(Trial::Free)),
            Err(error) if address_missing(&error) => missing = Some((address, error)),
            Err(error) => match held_by_service(address, &error, is_service) {
                Some(pid) => trial = Some(Trial::Held(pid)),
                None => return Err(tcp_fault(server, endpoint, address, error)),
            },
        }
        // The socket for all interfaces needs no other beside it.
        if host.is_none() && trial.is_some() {
            break;
        }
    }
    match (trial, missing) {
        (Some(trial), _) => Ok(trial),
        (None, Some((address, error))) => Err(tcp_fault(server, endpoint, address, error)),
        (None, None) => Ok(Trial::Free),
    }
}

fn tcp_fault(server: &str, endpoint: &Endpoint, address: SocketAddr, error: io::Error) -> Error {
    fault::tcp(server, endpoint, address, error, &OfferedListeners::default())
}

fn held_by_service(address: SocketAddr, error: &io::Error, is_service: &dyn Fn(u32) -> bool) -> Option<u32> {
    let is_used = error.kind() == io::ErrorKind::AddrInUse;
    is_used.then(|| first_of_service(&holder::pids_of_tcp(address), is_service)).flatten()
}

fn first_of_service(pids: &[u32], is_service: &dyn Fn(u32) -> bool) -> Option<u32> {
    pids.iter().all(|pid| is_service(*pid)).then(|| pids.first().copied()).flatten()
}

fn try_unix(server: &str, path: &Path, is_service: &dyn Fn(u32) -> bool) -> Result<Trial, Error> {
    let fault = |kind: io::ErrorKind| Err(fault::unix(server, path, BindFault::Bind(kind.into())));
    if let Some(pids) = holder::pids_of_unix(path) {
        return match first_of_service(&pids, is_service) {
            Some(pid) => Ok(Trial::Held(pid)),
            None => fault(io::ErrorKind::AddrInUse),
        };
    }
    // A socket file without a listener is stale: the start replaces it.
    if path.symlink_metadata().is_ok() && SocketFile::at(path).is_none() {
        return fault(io::ErrorKind::AlreadyExists);
    }
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return fault(io::ErrorKind::NotFound);
    }
    match access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Ok(Trial::Free),
        Err(errno) => Err(fault::unix(server, path, BindFault::Bind(errno.into()))),
    }
}
