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
use crate::listen::{OwnAddress, try_endpoint};
use crate::server::Server;

/// Tries every endpoint, and prints what was found. All faults come as one.
pub(super) fn run<S>(
    servers: &[Server<S>],
    own_addresses: &[OwnAddress],
    settings: &Settings,
    start_command: &StartCommand,
) -> Result<(), Error> {
    let service = Service::found(settings, start_command);
    let is_service = |pid: u32| service.has(pid);
    let of_servers = servers.iter().map(|server| &server.options).flat_map(|options| {
        options.all_endpoints().map(|endpoint| try_endpoint(&options.name, endpoint, &is_service))
    });
    let own = own_addresses
        .iter()
        .map(|address| try_endpoint(address.purpose.name(), &address.endpoint, &is_service));
    let (mut text, mut faults) = (String::new(), Vec::new());
    for trial in of_servers.chain(own) {
        match trial {
            Ok(found) => text = text + &found + "\n",
            Err(fault) => faults.push(fault),
        }
    }
    print(&text)?;
    Error::check(faults)
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
        self.pids.contains(&pid) || self.program.is_some() && self.program == program_of(&pid.to_string())
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
