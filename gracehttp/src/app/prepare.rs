//! From settled settings to something that can serve: certificates, listeners, limits.

use std::net::IpAddr;
use std::os::fd::RawFd;

use crate::access_log::AccessLog;
use crate::app::configured::Origins;
use crate::app::servers::Servers;
use crate::config::{AppVariable, Provenance};
use crate::error::Error;
use crate::lifecycle::{Event, Events, Serving, aside, generation};
use crate::listen::bind::open;
use crate::listen::descriptors::Wanted;
use crate::listen::{
    Acceptor, ListenOptions, Listener, OfferedListeners, OwnAddress, OwnListeners, Running, SocketFile,
    descriptors, unlink_if_ours,
};
use crate::log;
use crate::server::{AccessLogTo, DEFAULT_MAX_CONNS, Endpoint, Server, ServerOptions, SocketAccess};
use crate::socket::ListenerNumber;
use crate::tls::{KeyRing, TlsAcceptor};

/// The TLS side of each server that has one, in their order.
pub(super) fn tls_acceptors<S>(
    servers: &[Server<S>],
    keys: &KeyRing,
) -> Result<Vec<Option<TlsAcceptor>>, Error> {
    let mut faults = Vec::new();
    let mut tls_acceptors = Vec::new();
    for server in servers {
        match TlsAcceptor::of(&server.options, keys) {
            Ok(acceptor) => tls_acceptors.push(acceptor),
            Err(fault) => faults.push(fault),
        }
    }
    Error::check(faults)?;
    Ok(tls_acceptors)
}

/// The access log of each server that keeps one, in their order.
pub(super) fn access_logs<S>(servers: &[Server<S>]) -> Result<Vec<Option<AccessLog>>, Error> {
    let mut faults = Vec::new();
    let mut logs = Vec::new();
    for server in servers {
        match AccessLog::of(&server.options) {
            Ok(log) => logs.push(log),
            Err(fault) => faults.push(fault),
        }
    }
    Error::check(faults)?;
    Ok(logs)
}

/// The listeners of all servers, in their order, and those of the process itself.
pub(super) struct Listeners {
    pub(super) of_servers: Vec<Vec<Listener>>,
    pub(super) own: OwnListeners,
    pub(super) fresh_files: FreshFiles,
}

impl Listeners {
    /// Adopts what is offered and binds what is new: all or nothing.
    pub(super) fn open<S>(
        servers: &[Server<S>],
        own_addresses: &[OwnAddress],
        mut offered: OfferedListeners,
    ) -> Result<Self, Error> {
        offered.keep_for(endpoints(servers, own_addresses));
        let mut faults = Vec::new();
        let mut fresh_files = FreshFiles::default();
        let mut of_servers = Vec::new();
        for options in servers.iter().map(|server| &server.options) {
            let mut listeners = Vec::new();
            for (endpoint, is_secure) in options.secured_endpoints() {
                match open(&options.name, endpoint, &ListenOptions::of(options), &mut offered) {
                    Ok(opened) => {
                        opened.iter().for_each(|listener| fresh_files.note(listener));
                        let secured = opened.into_iter().map(|listener| Listener { is_secure, ..listener });
                        listeners.extend(secured);
                    }
                    Err(fault) => faults.push(fault),
                }
            }
            of_servers.push(listeners);
        }
        let mut own = OwnListeners::default();
        for address in own_addresses {
            match own.open(address, &mut offered) {
                Ok(opened) => opened.iter().for_each(|listener| fresh_files.note(listener)),
                Err(fault) if address.is_required => faults.push(fault),
                Err(fault) => log::notice(format_args!("{fault}")),
            }
        }
        Error::check(faults)?;
        offered.report_unclaimed();
        let mut listeners = Self { of_servers, own, fresh_files };
        listeners.number();
        Ok(listeners)
    }

    /// Gives each listener its number.
    fn number(&mut self) {
        for (number, listener) in (1..).zip(self.of_servers.iter_mut().flatten()) {
            listener.number = ListenerNumber::new(number);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.of_servers.iter().map(Vec::len).sum::<usize>() + self.own.count()
    }
}

/// Whether nothing can delay the opening of the endpoints: no name server, no disk, no pipe that has a certificate.
pub(super) fn open_at_once<S>(servers: &[Server<S>], own_addresses: &[OwnAddress]) -> bool {
    let at_once = |endpoint: &Endpoint| match endpoint {
        Endpoint::Tcp { host, .. } => host.as_ref().is_none_or(|host| host.parse::<IpAddr>().is_ok()),
        Endpoint::Systemd(_) | Endpoint::Fd(_) => true,
        Endpoint::Unix(_) => false,
    };
    // A log file may be on a slow disk.
    let has_log = |server: &Server<S>| matches!(server.options.access_log_to, AccessLogTo::File(_));
    !servers.iter().any(|server| server.options.is_tls() || has_log(server))
        && endpoints(servers, own_addresses).all(at_once)
}

/// Where the servers and the process itself are to listen.
fn endpoints<'e, S>(
    servers: &'e [Server<S>],
    own_addresses: &'e [OwnAddress],
) -> impl Iterator<Item = &'e Endpoint> {
    let of_servers = servers.iter().flat_map(|server| server.options.all_endpoints());
    of_servers.chain(own_addresses.iter().map(|address| &address.endpoint))
}

/// The descriptors that endpoints name, `fd:N`.
pub(super) fn descriptors_of<S>(servers: &[Server<S>], own_addresses: &[OwnAddress]) -> Vec<RawFd> {
    let numbers = endpoints(servers, own_addresses).filter_map(|endpoint| match endpoint {
        Endpoint::Fd(number) => Some(*number),
        _ => None,
    });
    numbers.collect()
}

/// The socket files that this process has made: gone again if it never comes to serve.
#[derive(Default)]
pub(super) struct FreshFiles(Vec<SocketFile>);

impl FreshFiles {
    fn note(&mut self, listener: &Listener) {
        let is_fresh = listener.offer_index.is_none();
        self.0.extend(is_fresh.then(|| listener.socket_file.clone()).flatten());
    }

    /// The process serves: from now on the listeners answer for their files.
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for FreshFiles {
    fn drop(&mut self) {
        self.0.iter().for_each(unlink_if_ours);
    }
}

/// Raises the process's limit of descriptors for its servers, and says what it is.
pub(super) fn raise_limit<S>(servers: &[Server<S>]) -> usize {
    let connections = servers.iter().map(|server| server.options.max_conns).fold(0, usize::saturating_add);
    // A host name has a listener for each address, and is not resolved yet: two is a guess.
    let listeners = servers.iter().map(|server| 2 * server.options.all_endpoints().count()).sum();
    descriptors::raise_limit(connections, listeners)
}

/// Lowers the connection limits to what the process may open.
pub(super) fn fit_limits<S>(servers: &mut [Server<S>], listeners: usize, available: usize, events: &Events) {
    let options = servers.iter().map(|server| &server.options);
    let wanted: Vec<Wanted<'_>> = options
        .map(|ServerOptions { name, max_conns, chosen, .. }| Wanted {
            server: name,
            max_conns: *max_conns,
            is_chosen: *max_conns != DEFAULT_MAX_CONNS || chosen.contains(&"max_conns"),
        })
        .collect();
    let fit = descriptors::fit(&wanted, listeners, available);
    for (server, max_conns) in servers.iter_mut().zip(fit.max_conns) {
        server.options.max_conns = max_conns;
    }
    if let Some(lowered) = fit.lowered {
        events.emit(&Event::LimitsLowered(lowered));
    }
}

/// Gives socket files that another generation has used the access that is wanted here.
///
/// Aside, since a directory service can be slow to look up a user, and the predecessor asks for signs of life meanwhile.
pub(super) async fn update_access(
    servers: &Servers,
    events: &Events,
    wanted: impl Fn(&Running, &Acceptor) -> SocketAccess,
) {
    let files = servers.acceptors().map(|(server, acceptor)| {
        (server.context.clone(), acceptor.listener.clone(), wanted(server, acceptor))
    });
    let files: Vec<_> = files.filter(|(_, _, access)| *access != SocketAccess::default()).collect();
    if files.is_empty() {
        return;
    }
    let update = move || {
        for (context, listener, access) in files {
            listener.update_access(&context.options.name, &access);
        }
    };
    if let Err(error) = aside("socket-files", "setting the access of socket files", update).await {
        events.emit(&Event::SocketAccessFailed(error));
    }
}

/// One event for each endpoint.
pub(super) fn announce(servers: &Servers, events: &Events) {
    for (server, Acceptor { listener, .. }) in servers.acceptors() {
        let options = &server.context.options;
        let ServerOptions { name, http1, max_conns, .. } = options;
        events.emit(&Event::Serving(Serving {
            server: name.clone(),
            address: listener.local.clone(),
            is_secure: listener.is_secure,
            http1: *http1,
            http2: options.has_http2(),
            max_conns: *max_conns,
            generation: generation(),
        }));
    }
}

/// One event for each value that is not the attribute's. The values of the application's section are its own affair.
pub(super) fn announce_settings(origins: Origins, events: &Events) {
    let Origins { provenance, app_variables, notices } = origins;
    notices.iter().for_each(|notice| log::notice_once(format_args!("{notice}")));
    for Provenance { server, key, value, origin } in provenance {
        events.emit(&Event::Setting { server, key, value, origin: origin.to_string() });
    }
    for AppVariable { key, variable } in app_variables {
        events.emit(&Event::AppSetting { key, variable });
    }
}
