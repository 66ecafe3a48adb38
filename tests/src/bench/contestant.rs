//! One server in a process of its own.

use std::net::SocketAddr;
use std::process::ExitCode;

use crate::bench::options::Options;
use crate::bench::{bare, machine, ours};
use crate::process::{App, Launch};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// gracehttp.
    Ours,
    /// hyper with nothing around it.
    Bare,
}

impl Kind {
    /// Both, in the order of the columns.
    pub const BOTH: [Self; 2] = [Self::Ours, Self::Bare];

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "gracehttp",
            Self::Bare => "bare-hyper",
        }
    }
}

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Contestant {
    /// Who.
    pub kind: Kind,
    /// Its process, and those that follow.
    pub app: App,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Contestant {
    /// Starts this program once more, as a server.
    pub async fn start(kind: Kind, threads: usize) -> Self {
        let program = std::env::current_exe().expect("this program's path");
        let launch = Launch::program(program).arg("serve").arg(kind.name()).arg(threads.to_string());
        let app = launch.start("ping").await;
        let address = app.address("ping").await;
        Self { kind, app, address }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.app.pid()
    }
}

/// The first call of each benchmark: in a process that was started to serve, it serves.
pub fn serve_if_asked() -> Option<ExitCode> {
    machine::raise_descriptor_limit();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ["serve", kind, threads] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return None;
    };
    let threads = threads.parse().expect("a number of threads");
    Some(match Kind::BOTH.into_iter().find(|known| known.name() == kind) {
        Some(Kind::Ours) => ours::serve(threads),
        Some(Kind::Bare) => bare::serve(threads),
        None => panic!("no contestant is called {kind}"),
    })
}

/// The worker threads of each server: as many as there are cores, if not told otherwise.
pub fn threads(options: &Options) -> usize {
    options.value("threads", machine::cores())
}
