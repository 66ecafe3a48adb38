//! An application whose configuration is settled: nothing is touched yet, and nothing is open any more.

use std::collections::HashMap;

use crate::app::App;
use crate::config::{self, Provenance, Settings, env};
use crate::error::Error;
use crate::handoff::StartUp;
use crate::lifecycle::StartUpCode;
use crate::server::{Server, ServerOptions};

pub(super) struct Configured<S> {
    pub(super) servers: Vec<Server<S>>,
    pub(super) settings: Settings,
    pub(super) start_up_code: StartUpCode<S>,
    /// Of the values that are not the attributes'.
    pub(super) provenance: Vec<Provenance>,
}

impl<S: Send + 'static> Configured<S> {
    /// Settles what is set where: the builder's values, the file's over them, the environment's over both.
    /// Whatever is wrong with any of them is found here, and comes as one error.
    pub(super) fn settle(app: App<S>, start_up: &StartUp) -> Result<Self, Error> {
        let App { mut servers, mut settings, config, start_up_code, .. } = app;
        let mut faults: Vec<Error> = servers.iter_mut().flat_map(|server| server.faults.drain(..)).collect();
        let mut options: Vec<&mut ServerOptions> =
            servers.iter_mut().map(|server| &mut server.options).collect();
        let read_app = |section: config::Section<'_>| start_up_code.read(section);
        let settled =
            config::settle(start_up.environment(), config.as_deref(), &mut settings, &mut options, read_app);
        faults.extend(contradictions(&servers));
        faults.extend(double_signals(&settings));
        match settled {
            Ok((start_up_code, provenance)) if faults.is_empty() => {
                Ok(Self { servers, settings, start_up_code, provenance })
            }
            Ok(_) => Err(Error::several(faults)),
            Err(fault) => {
                faults.insert(0, fault);
                Err(Error::several(faults))
            }
        }
    }
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

/// Signals that are to restart and to stop at once.
fn double_signals(settings: &Settings) -> Vec<Error> {
    let both = settings.restart_on.iter().filter(|signal| settings.stop_on.contains(signal));
    both.map(|signal| Error::new(format!("{signal} is to restart and to stop: choose one"))).collect()
}
