//! An application whose configuration is settled: nothing is touched yet, and nothing is open any more.

use std::path::PathBuf;

use crate::app::App;
use crate::app::operators;
use crate::app::start_up_code::StartUpCode;
#[cfg(feature = "cli")]
use crate::config::ControlAddress;
use crate::config::{self, AppVariable, Provenance, Settings};
#[cfg(feature = "cli")]
use crate::control::{self, Surroundings};
use crate::error::Error;
use crate::handoff::StartCommand;
use crate::health::HealthCheck;
use crate::listen::OwnAddress;
#[cfg(feature = "cli")]
use crate::listen::OwnPurpose;
#[cfg(feature = "cli")]
use crate::server::Endpoint;
use crate::server::{Server, ServerOptions};

pub(super) struct Configured<S> {
    pub(super) servers: Vec<Server<S>>,
    pub(super) settings: Settings,
    pub(super) health_checks: Vec<HealthCheck<S>>,
    pub(super) start_up_code: StartUpCode<S>,
    /// Where the process itself listens.
    pub(super) own_addresses: Vec<OwnAddress>,
    pub(super) origins: Origins,
    /// The configuration file, if there is one: a successor has to find it again.
    pub(super) file: Option<PathBuf>,
    /// The files from which the application's secrets were read.
    pub(super) secret_files: Vec<PathBuf>,
}

/// What the process tells of its configuration when it starts.
pub(super) struct Origins {
    /// Of the values that are not the attributes'.
    pub(super) provenance: Vec<Provenance>,
    /// What the environment sets in the application's section.
    pub(super) app_variables: Vec<AppVariable>,
    /// One for each unknown key that is passed over, and for each that has no effect.
    pub(super) notices: Vec<String>,
}

impl<S: Send + 'static> Configured<S> {
    /// Whether an application can be [settled](Self::settle) without reading a file and without running the application's code.
    pub(super) fn is_at_hand(app: &App<S>, start_command: &StartCommand) -> bool {
        !app.start_up_code.takes_settings()
            && !config::names_file(start_command.environment(), app.config.as_deref())
    }

    /// Settles what is set where: the builder's values, the file's over them, the environment's over both.
    /// All faults of all three are found here, and come as one error.
    pub(super) fn settle(app: App<S>, start_command: &StartCommand) -> Result<Self, Error> {
        let App {
            mut servers,
            mut settings,
            mut faults,
            config,
            health_checks,
            start_up_code,
            has_command_line,
            is_lenient,
        } = app;
        faults.extend(servers.iter_mut().flat_map(|server| server.faults.drain(..)));
        let mut options: Vec<&mut ServerOptions> =
            servers.iter_mut().map(|server| &mut server.options).collect();
        let read_app = |section: &config::Section<'_>| start_up_code.read(section);
        let sources = config::Sources {
            environment: start_command.environment(),
            chosen: config.as_deref(),
            is_lenient,
        };
        let settled = config::settle(&sources, &mut settings, &mut options, read_app);
        match settled {
            Ok(settled) if faults.is_empty() => {
                let config::Settled {
                    app: start_up_code,
                    provenance,
                    app_variables,
                    notices,
                    file,
                    secret_files,
                } = settled;
                let file = file.map(|file| start_command.resolve(&file));
                let own_addresses = own_addresses(&settings, has_command_line, start_command);
                let origins = Origins { provenance, app_variables, notices };
                Ok(Self {
                    servers,
                    settings,
                    health_checks,
                    start_up_code,
                    own_addresses,
                    origins,
                    file,
                    secret_files,
                })
            }
            Ok(_) => Err(Error::several(faults)),
            Err(fault) => {
                faults.push(fault);
                Err(Error::several(faults))
            }
        }
    }
}

/// Where the process itself listens.
#[cfg_attr(
    not(feature = "cli"),
    expect(unused_variables, reason = "the control socket needs the feature `cli`")
)]
fn own_addresses(
    settings: &Settings,
    has_command_line: bool,
    start_command: &StartCommand,
) -> Vec<OwnAddress> {
    let mut addresses = Vec::new();
    #[cfg(feature = "cli")]
    addresses.extend(control_address(settings, has_command_line, start_command));
    addresses.extend(operators::address(settings));
    addresses
}

#[cfg(feature = "cli")]
fn control_address(
    settings: &Settings,
    has_command_line: bool,
    start_command: &StartCommand,
) -> Option<OwnAddress> {
    let is_required = matches!(settings.control, ControlAddress::At(_));
    if !is_required && !has_command_line {
        return None;
    }
    let path = control::place(&settings.control, &surroundings(settings, start_command))?;
    Some(OwnAddress::new(OwnPurpose::Control, Endpoint::Unix(path), is_required))
}

/// What says where the control socket is, if no key does.
#[cfg(feature = "cli")]
pub(super) fn surroundings<'a>(settings: &'a Settings, start_command: &'a StartCommand) -> Surroundings<'a> {
    Surroundings {
        program: start_command.program(),
        environment: start_command.environment(),
        pid_file: settings.pid_file.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "cli")]
    use crate::server::WhenFull;
    use crate::server::kinds::{LONGEST, LONGEST_KEEPALIVE};
    use std::time::{Duration, Instant};

    fn app(limit: Duration) -> App<()> {
        App::new(async || ()).drain_timeout(limit).ready_timeout(limit).standby(limit).lame_duck(limit).serve(
            Server::builder("web")
                .port(0)
                .handshake_timeout(limit)
                .header_read_timeout(limit)
                .request_timeout(limit)
                .idle_timeout(limit)
                .half_close_timeout(limit)
                .tcp_keepalive(limit)
                .handler(async || ()),
        )
    }

    fn settle(app: App<()>) -> Result<Configured<()>, Vec<String>> {
        Configured::settle(app, &StartCommand::capture())
            .map_err(|fault| fault.to_string().lines().map(String::from).collect())
    }

    #[test]
    fn no_duration_is_too_long_for_a_deadline() {
        let Configured { settings, servers, .. } = settle(app(Duration::MAX)).unwrap_or_else(|_| panic!());
        let server = &servers[0].options;
        let all = [
            settings.drain_timeout,
            settings.ready_timeout,
            settings.standby,
            settings.lame_duck,
            server.handshake_timeout,
            server.header_read_timeout,
            server.request_timeout.unwrap(),
            server.idle_timeout,
            server.half_close_timeout,
        ];
        assert_eq!(all, [LONGEST; 9]);
        assert!(Instant::now().checked_add(LONGEST).is_some());
        assert_eq!(server.tcp_keepalive, Some(LONGEST_KEEPALIVE));
    }

    #[test]
    fn all_values_out_of_range_are_reported_at_once() {
        let web = Server::builder("web").port(0);
        let web = web.max_conns(0).backlog(0).max_header_size(0).max_headers(usize::MAX);
        let web = web.max_conn_memory(65_535).listen("nonsense");
        let told =
            settle(app(Duration::ZERO).worker_threads(0).serve(web.handler(async || ()))).err().unwrap();
        let expected = [
            "ready_timeout is 0: valid is a duration above zero",
            "worker_threads is 0: valid is a whole number from 1 to 4096",
            "server `web`: handshake_timeout is 0: valid is a duration above zero",
            "server `web`: header_read_timeout is 0",
            "server `web`: request_timeout is 0",
            "server `web`: idle_timeout is 0",
            "server `web`: max_conns is 0: valid is a whole number from 1 on",
            "server `web`: backlog is 0: valid is a whole number from 1 on",
            "server `web`: max_header_size is 0: valid is a size from 1 byte on",
            "server `web`: max_headers is 18446744073709551615: valid is a whole number from 1 to 10000",
            "server `web`: max_conn_memory is 65535: valid is a size from 64 KiB on",
            "server `web`: `nonsense` is not an endpoint",
            "two servers are named `web`",
        ];
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}\n{expected}");
        }
        assert_eq!(told.len(), expected.len(), "{told:#?}");
    }

    #[cfg(feature = "cli")]
    #[test]
    fn what_the_builder_sets_is_no_default_even_where_it_equals_it() {
        let web = Server::builder("web2")
            .port(0)
            .max_conns(100_000)
            .backlog(4096)
            .http1(true)
            .max_body(2 << 20)
            .max_header_size(64 << 10)
            .max_headers(100)
            .nodelay(true)
            .when_full(WhenFull::Recycle)
            .max_conn_memory(4 << 20);
        #[cfg(feature = "tls")]
        let web = web.tls(
            crate::server::Tls::files("cert.pem", "key.pem")
                .client_ca("clients.pem")
                .client_auth(crate::server::ClientAuth::Optional),
        );
        let mut app = app(Duration::from_secs(10)).restart_on([]).stop_on([]).worker_threads(1);
        // One server for all of the keys.
        let Server { options: times, .. } = app.servers.remove(0);
        let mut web: Server<()> = web.handler(async || ());
        web.options.chosen.extend(times.chosen);
        let Configured { settings, servers, .. } = settle(app.serve(web)).unwrap_or_else(|_| panic!());
        let told = config::report::toml(&settings, &[&servers[0].options], &[]);
        // Methods of ordinary keys share one implementation, so two of those are enough.
        let by_hand =
            ["restart_on", "stop_on", "worker_threads", "listen", "max_conns", "backlog", "when_full"];
        for key in by_hand.into_iter().chain(["drain_timeout", "max_body"]) {
            let line = told.lines().find(|line| line.starts_with(&format!("{key} = ")));
            assert!(line.is_some_and(|line| line.ends_with("# attribute")), "{key}\n{told}");
        }
        #[cfg(feature = "tls")]
        for (key, origin) in [
            ("tls.cert", "# attribute"),
            ("tls.client_ca", "# attribute"),
            ("tls.client_auth", "# attribute"),
            ("tls.sni_strict", "# default"),
        ] {
            let line = told.lines().find(|line| line.starts_with(&format!("{key} = ")));
            assert!(line.is_some_and(|line| line.ends_with(origin)), "{key}\n{told}");
        }
    }
}
