//! The command line of an application that asks for one: `serve`, `check`, `config`, `routes`, and
//! commands for the process that serves.

mod commands;
mod routes;
mod trial;

use std::io::{self, Write as _};

use clap::{Arg, ArgAction, Command};

use crate::access_log;
use crate::app::configured::Configured;
#[cfg(feature = "tls")]
use crate::app::prepare::tls_acceptors;
use crate::app::service_user::ServiceUser;
use crate::app::{App, life};
use crate::config::report;
use crate::error::Error;
use crate::handoff::StartCommand;
use crate::lifecycle::Events;
use crate::listen::bind;
use crate::log;
#[cfg(feature = "tls")]
use crate::server::Server;
use crate::server::{AccessLog, ServerOptions};
#[cfg(feature = "tls")]
use crate::tls::KeyRing;

const LENIENT: &str = "lenient";

/// Does what the arguments of the process ask for.
///
/// Arguments that make no sense end the process here and now, as everywhere with clap; nothing has been
/// touched yet.
pub(super) fn obey<S: Clone + Send + Sync + 'static>(mut app: App<S>, events: &Events) -> Result<(), Error> {
    let arguments = command().get_matches();
    app.is_lenient = arguments.get_flag(LENIENT);
    match arguments.subcommand() {
        Some(("check", arguments)) => check(app, arguments.get_flag("bind")),
        Some(("config", _)) => show(app),
        // They are code: no file and no variable changes them, and no fault in one keeps them from being printed.
        Some(("routes", _)) => print(&routes::table(&app.servers)),
        None | Some(("serve", _)) => life::live(app, events),
        Some((name, arguments)) => commands::run(app, name, arguments),
    }
}

fn command() -> Command {
    let command = Command::new(env!("CARGO_PKG_NAME")).subcommands([
        Command::new("serve").about("Serve, until a signal says otherwise (the default)"),
        Command::new("check").about("Check configuration and certificates, and serve nothing").arg(
            Arg::new("bind").long("bind").action(ArgAction::SetTrue).help(
                "Also try whether the endpoints could be bound, without disturbing the running service",
            ),
        ),
        Command::new("config").about("Print every value of the configuration, and where it comes from"),
        Command::new("routes").about("Print every route of every server, and the handler that answers it"),
    ]);
    let lenient = Arg::new(LENIENT)
        .long(LENIENT)
        .global(true)
        .action(ArgAction::SetTrue)
        .help("Pass over keys that this program does not have: `unknown_keys = warn`");
    command.subcommands(commands::commands()).arg(lenient)
}

/// All that can be found wrong without touching a socket, or with `tries_endpoints` without serving at one.
fn check<S: Clone + Send + Sync + 'static>(app: App<S>, tries_endpoints: bool) -> Result<(), Error> {
    let start_command = StartCommand::capture();
    let Configured { servers, settings, own_addresses, origins, file, secret_files, .. } =
        Configured::settle(app, &start_command)?;
    let user = ServiceUser::find_for_check(&settings)?;
    origins.notices.iter().for_each(|notice| log::notice_once(format_args!("{notice}")));
    #[cfg(feature = "tls")]
    check_tls(&servers)?;
    let access = servers
        .iter()
        .map(|server| &server.options)
        .map(|options| bind::check_access(&options.name, options.all_endpoints(), &options.socket));
    Error::check(access.filter_map(Result::err).collect())?;
    let free = match tries_endpoints {
        true => trial::run(&servers, &own_addresses, &settings, &start_command)?,
        false => Vec::new(),
    };
    // What follows is the user's, in a service and in each of its restarts.
    let of_user = user.map(|user| user.assume_for_check(&servers, file.as_deref(), &secret_files));
    let of_restart = of_user.is_some().then(|| trial::again(&free));
    let logs =
        servers.iter().map(|server| &server.options).filter(|options| options.access_log != AccessLog::Off);
    let logs = logs.map(|ServerOptions { name, access_log_to, .. }| {
        access_log::check(access_log_to).map_err(|fault| Error::of_server(name, fault))
    });
    Error::check(of_user.into_iter().chain(of_restart).chain(logs).filter_map(Result::err).collect())?;
    let names: Vec<&str> = servers.iter().map(|server| server.name()).collect();
    print(&format!("the configuration of {} is in order\n", names.join(", ")))
}

/// Reads what TLS needs. A revocation list that has expired is only told: a process with it would start.
#[cfg(feature = "tls")]
fn check_tls<S>(servers: &[Server<S>]) -> Result<(), Error> {
    let acceptors = tls_acceptors(servers, &KeyRing::default())?;
    for (server, acceptor) in servers.iter().zip(acceptors) {
        let expired = acceptor.iter().flat_map(|acceptor| acceptor.expired_lists(server.name()));
        expired.for_each(|list| log::notice_once(format_args!("{list}")));
    }
    Ok(())
}

fn show<S: Clone + Send + Sync + 'static>(app: App<S>) -> Result<(), Error> {
    let Configured { servers, settings, origins, .. } = Configured::settle(app, &StartCommand::capture())?;
    let servers: Vec<_> = servers.iter().map(|server| &server.options).collect();
    print(&report::toml(&settings, &servers, &origins.provenance))
}

/// Not `print!`, which panics if the reader of a pipe is gone.
fn print(text: &str) -> Result<(), Error> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Error::caused_by(format!("standard output can't be written: {error}"), error))
}
