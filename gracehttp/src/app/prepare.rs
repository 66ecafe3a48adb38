//! From a description to something that can serve: settings, listeners, certificates.

use std::collections::HashMap;

#[cfg(feature = "tls")]
use tokio_rustls::TlsAcceptor;

use crate::config::{Provenance, Settings, env};
use crate::error::Error;
use crate::handoff::{Predecessor, StartUp};
use crate::lifecycle::Signal;
#[cfg(feature = "tls")]
use crate::listen::KeyRing;
use crate::listen::bind::{ListenOptions, Listener, Local, adopt, bind};
use crate::listen::{Door, Running, SocketFile, descriptors, unlink_if_ours};
use crate::log;
use crate::server::{Server, ServerOptions};

/// Settles what is set where: the builder's values, and the environment's over them.
pub(super) fn configure<S>(
    servers: &mut [Server<S>],
    settings: &mut Settings,
    start_up: &StartUp,
) -> Result<Vec<Provenance>, Error> {
    let mut faults: Vec<Error> = servers.iter_mut().flat_map(|server| server.faults.drain(..)).collect();
    let mut options: Vec<&mut ServerOptions> = servers.iter_mut().map(|server| &mut server.options).collect();
    let environment = start_up.environment().map(|(name, value)| (name.clone(), value.clone()));
    let provenance = env::apply(environment, settings, &mut options).unwrap_or_else(|fault| {
        faults.push(fault);
        Vec::new()
    });
    faults.extend(contradictions(servers));
    Error::check(faults)?;
    Ok(provenance)
}

/// What no two servers may share, and no server may lack.
fn contradictions<S>(servers: &[Server<S>]) -> Vec<Error> {
    let mut faults = Vec::new();
    if servers.is_empty() {
        faults.push(Error::new("the application has no server: name one in `servers(…)` or `App::serve`"));
    }
    let mut names = HashMap::new();
    let mut endpoints = HashMap::new();
    for server in servers {
        let name = server.name();
        if names.insert(name, ()).is_some() {
            faults
                .push(Error::new(format!("two servers are named `{name}`: give one of them another `name`")));
        }
        if server.options.endpoints.is_empty() {
            faults.push(Error::new(format!(
                "server `{name}` listens nowhere: give it a `port` or an endpoint to `listen` on"
            )));
        }
        if !server.options.http1 && !server.options.http2 {
            faults.push(Error::new(format!(
                "server `{name}` speaks neither HTTP/1.1 nor HTTP/2: switch one on"
            )));
        }
        for endpoint in server.options.endpoints.iter().filter(|endpoint| !endpoint.is_chosen_by_kernel()) {
            if let Some(other) = endpoints.insert(endpoint, name) {
                faults.push(Error::new(if other == name {
                    format!("server `{name}` is to listen on {endpoint} twice")
                } else {
                    format!(
                        "servers `{other}` and `{name}` are both to listen on {endpoint}: move one of them with \
                         `port`, `listen` or {}",
                        env::server_variable(name, "PORT")
                    )
                }));
            }
        }
    }
    faults
}

/// Refuses signals that are to restart and to stop at once.
pub(super) fn check_signals(restart: &[Signal], stop: &[Signal]) -> Result<(), Error> {
    let both = restart.iter().filter(|signal| stop.contains(signal));
    Error::check(
        both.map(|signal| Error::new(format!("{signal} is to restart and to stop: choose one"))).collect(),
    )
}

/// The TLS side of each server that has one, in their order.
#[cfg(feature = "tls")]
pub(super) fn acceptors<S>(servers: &[Server<S>], keys: &KeyRing) -> Result<Vec<Option<TlsAcceptor>>, Error> {
    let mut faults = Vec::new();
    let mut acceptors = Vec::new();
    for ServerOptions { name, tls, http1, http2, .. } in servers.iter().map(|server| &server.options) {
        match tls.as_ref().map(|tls| tls.server_config(name, *http1, *http2, keys)).transpose() {
            Ok(config) => acceptors.push(config.map(TlsAcceptor::from)),
            Err(fault) => faults.push(fault),
        }
    }
    Error::check(faults)?;
    Ok(acceptors)
}

/// The listeners of all servers, in their order.
pub(super) struct Listeners {
    pub(super) of_servers: Vec<Vec<Listener>>,
    pub(super) fresh_files: FreshFiles,
}

impl Listeners {
    /// Adopts what the predecessor has and binds what is new: all or nothing.
    pub(super) fn open<S>(
        servers: &[Server<S>],
        predecessor: &mut Option<Predecessor>,
    ) -> Result<Self, Error> {
        let mut faults = Vec::new();
        let mut fresh_files = FreshFiles::default();
        let mut of_servers = Vec::new();
        for ServerOptions { name, endpoints, backlog, tcp_keepalive, nodelay, .. } in
            servers.iter().map(|server| &server.options)
        {
            let listen =
                ListenOptions { backlog: *backlog, tcp_keepalive: *tcp_keepalive, nodelay: *nodelay };
            let mut listeners = Vec::new();
            for endpoint in endpoints {
                let claimed = predecessor.as_mut().map(|predecessor| predecessor.claim(name, endpoint));
                let opened = match claimed.filter(|claimed| !claimed.is_empty()) {
                    Some(claimed) => {
                        claimed.into_iter().map(|fd| adopt(name, endpoint, fd, &listen)).collect()
                    }
                    None => bind(name, endpoint, &listen).inspect(|bound| fresh_files.note(bound)),
                };
                match opened {
                    Ok(opened) => listeners.extend(opened),
                    Err(fault) => faults.push(fault),
                }
            }
            of_servers.push(listeners);
        }
        Error::check(faults)?;
        Ok(Self { of_servers, fresh_files })
    }

    pub(super) fn count(&self) -> usize {
        self.of_servers.iter().map(Vec::len).sum()
    }
}

/// The socket files that this process has made: gone again if it never comes to serve.
#[derive(Default)]
pub(super) struct FreshFiles(Vec<SocketFile>);

impl FreshFiles {
    fn note(&mut self, listeners: &[Listener]) {
        self.0.extend(listeners.iter().filter_map(|listener| listener.socket_file.clone()));
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

/// Lowers the connection limits to what the process may open.
pub(super) fn fit_limits<S>(servers: &mut [Server<S>], listeners: usize) {
    let available = descriptors::raise_limit();
    let wanted: Vec<(&str, usize)> =
        servers.iter().map(|server| (server.name(), server.options.max_conns)).collect();
    let fit = descriptors::fit(&wanted, listeners, available);
    for (server, max_conns) in servers.iter_mut().zip(fit.max_conns) {
        server.options.max_conns = max_conns;
    }
    if let Some(message) = fit.message {
        message.log();
    }
}

/// One line for each endpoint, and one for each value that is not the attribute's.
pub(super) fn announce(server: &Running, generation: u64) {
    let options = &server.context.options;
    #[cfg(feature = "tls")]
    let secure = options.tls.is_some();
    #[cfg(not(feature = "tls"))]
    let secure = false;
    let protocols = match (options.http1, options.http2) {
        (true, true) => "HTTP/1.1 and HTTP/2",
        (true, false) => "HTTP/1.1",
        _ => "HTTP/2",
    };
    let transport = if secure { "over TLS" } else { "plain" };
    for Door { listener, .. } in &server.doors {
        let url = match &listener.local {
            Local::Tcp(address) if secure => format!("https://{address}"),
            Local::Tcp(address) => format!("http://{address}"),
            Local::Unix(path) => format!("unix:{}", path.display()),
        };
        log::info(format_args!(
            "serving {} on {url} ({protocols}, {transport}, max {} connections, generation {generation}, pid {})",
            options.name,
            options.max_conns,
            std::process::id()
        ));
    }
}

/// One line for each value that the environment has set.
pub(super) fn announce_overrides(overrides: &[Provenance]) {
    for Provenance { server, key, value, variable } in overrides {
        let of = server.as_deref().map_or_else(String::new, |server| format!(" of server {server}"));
        log::info(format_args!("{key}{of} is {value}, set by {variable}"));
    }
}
