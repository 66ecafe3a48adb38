//! One server in a separate process.

use std::net::SocketAddr;
use std::process::ExitCode;

use crate::bench::options::Options;
use crate::bench::{bare, machine, ours};
use crate::process::{App, Launch};

/// A server that a benchmark can start: its name, and the code of its process, for a number of worker threads.
pub type Server = (&'static str, fn(usize) -> ExitCode);

/// gracehttp.
pub const OURS: Server = ("gracehttp", ours::serve);

/// hyper with nothing around it.
pub const BARE: Server = ("bare hyper", bare::serve);

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Contestant {
    /// Its name in tables.
    pub name: &'static str,
    /// Its process, and those that succeed it.
    pub app: App,
    /// The address where it listens.
    pub address: SocketAddr,
}

impl Contestant {
    /// Starts this program once more, as this server.
    pub async fn start((name, _): Server, threads: usize) -> Self {
        let program = std::env::current_exe().expect("this program's path");
        let launch = Launch::program(program).arg("serve").arg(name).arg(threads.to_string());
        let app = launch.start("ping").await;
        let address = app.address("ping").await;
        Self { name, app, address }
    }

    /// Its process, or the newest of them.
    pub fn pid(&self) -> u32 {
        self.app.pid()
    }
}

/// The main function of a benchmark's process: it measures, or serves if it was started for that.
pub fn main(servers: &[Server], measure: impl FnOnce(&Options) -> Result<(), String>) -> ExitCode {
    machine::raise_descriptor_limit();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [role, name, threads] = &words[..]
        && role == "serve"
    {
        let (_, serve) = servers.iter().find(|(known, _)| known == name).expect("a server of this benchmark");
        return serve(threads.parse().expect("a number of threads"));
    }
    match measure(&Options::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// The worker threads of each server: by default one for each core.
pub fn threads(options: &Options) -> usize {
    options.value("threads", machine::cores())
}
