//! `check --bind`: whether the endpoints could be bound.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::print;
use crate::app::configured::surroundings;
use crate::config::Settings;
use crate::control::{self, Client};
use crate::error::Error;
use crate::handoff::StartCommand;
use crate::listen::{OwnAddress, Trial, try_endpoint};
use crate::server::{Endpoint, Server};

/// Endpoints, each with the name of its server.
pub(super) type Named = Vec<(String, Endpoint)>;

/// Tries every endpoint, and prints what was found. All faults come as one.
///
/// Returns the free endpoints if the running service has given up the rights of root: its successor has none, either, and this
/// process may have some, so it has to [try them again](again) without.
pub(super) fn run<S>(
    servers: &[Server<S>],
    own_addresses: &[OwnAddress],
    settings: &Settings,
    start_command: &StartCommand,
) -> Result<Named, Error> {
    let service = Service::found(settings, start_command);
    let is_service = |pid: u32| service.has(pid);
    let of_servers = servers
        .iter()
        .map(|server| &server.options)
        .flat_map(|options| options.all_endpoints().map(|endpoint| (options.name.as_str(), endpoint)));
    let own = own_addresses.iter().map(|address| (address.purpose.name(), &address.endpoint));
    let (mut text, mut faults) = (String::new(), Vec::new());
    let (mut free, mut holder) = (Named::new(), None);
    for (name, endpoint) in of_servers.chain(own) {
        match try_endpoint(name, endpoint, &is_service) {
            Ok(trial) => {
                text = text + &trial.told(name, endpoint) + "\n";
                match trial {
                    Trial::Free => free.push((name.to_owned(), endpoint.clone())),
                    Trial::Held(pid) => holder = Some(pid),
                    Trial::Passed => {}
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    print(&text)?;
    Error::check(faults)?;
    Ok(if holder.or_else(|| service.alive()).is_some_and(has_no_rights) { free } else { Named::new() })
}

/// Tries endpoints again, now that this process has no more rights than the successor.
pub(super) fn again(free: &Named) -> Result<(), Error> {
    let trials = free.iter().map(|(name, endpoint)| try_endpoint(name, endpoint, &|_| false));
    Error::check(trials.filter_map(Result::err).collect())
}

/// Whether a process has no capability, as one that root has made another user's.
fn has_no_rights(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.is_some_and(|set| set.trim().bytes().all(|digit| digit == b'0'))
}

/// What tells the processes of the running service from others.
struct Service {
    /// The process that serves, by its control socket or its pid file.
    pids: Vec<u32>,
    program: Option<PathBuf>,
}

impl Service {
    fn found(settings: &Settings, start_command: &StartCommand) -> Self {
        let by_control = control::place(&settings.control, &surroundings(settings, start_command))
            .and_then(|place| serving_pid(&place));
        let by_file =
            settings.pid_file.as_ref().and_then(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        let pids = [by_control, by_file].into_iter().flatten().collect();
        Self { pids, program: program_of("self") }
    }

    /// Whether this is the process that serves, or another one of the same program, such as its supervisor.
    fn has(&self, pid: u32) -> bool {
        self.pids.contains(&pid) || self.runs_program(pid)
    }

    /// The process that serves, if it holds none of the endpoints that were tried.
    fn alive(&self) -> Option<u32> {
        // A pid file may be left of a process that has ended.
        self.pids.iter().copied().find(|pid| self.runs_program(*pid))
    }

    fn runs_program(&self, pid: u32) -> bool {
        self.program.is_some() && self.program == program_of(&pid.to_string())
    }
}

fn serving_pid(control: &Path) -> Option<u32> {
    let mut client = Client::connect(control).ok()?;
    client.ask("status", json!({})).ok()?;
    u32::try_from(client.reply().ok()?["status"]["pid"].as_u64()?).ok()
}

/// The program of a process. A deployment may have replaced its file.
fn program_of(process: &str) -> Option<PathBuf> {
    let program = fs::read_link(format!("/proc/{process}/exe")).ok()?;
    let path = program.to_str()?;
    Some(path.strip_suffix(" (deleted)").unwrap_or(path).into())
}
