//! One server in a separate process.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::bench::options::Options;
use crate::bench::process::{cpu_time, resident};
use crate::bench::security::{Endpoint, SERVER_SPEAKS_TLS, Security};
use crate::bench::{bare, machine, ours, routed};
use crate::process::{App, Launch};
use crate::scratch::Scratch;

/// A server that a benchmark can start: its name, and the code of its process, for a number of worker threads.
pub type Server = (&'static str, fn(usize) -> ExitCode);

/// gracehttp.
pub const OURS: Server = ("gracehttp", ours::serve);

/// gracehttp, with a module of routes in place of one handler.
pub const ROUTED: Server = ("gracehttp, routed", routed::serve_uncounted);

/// hyper with nothing around it.
pub const BARE: Server = ("bare hyper", bare::serve);

/// gracehttp with routes, and with metrics.
pub const COUNTED: Server = ("with metrics", routed::serve_counted);

/// The same without metrics.
pub const UNCOUNTED: Server = ("without metrics", routed::serve_uncounted);

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Contestant {
    /// Its name in tables.
    pub name: &'static str,
    /// Its process, and those that succeed it.
    pub app: App,
    /// The address where it listens, and what its clients speak there.
    pub endpoint: Endpoint,
    /// The body of `/ping`, if it does not name the server's pid.
    pub(super) pong: Option<String>,
    /// What it reads while it runs.
    pub(super) _files: Option<Scratch>,
}

impl Contestant {
    /// Starts this program once more, as this server.
    pub async fn start(server: Server, security: Security, threads: usize) -> Self {
        Self::start_with(server, security, threads, &[]).await
    }

    /// The same, with variables of its environment.
    pub async fn start_with(
        server: Server,
        security: Security,
        threads: usize,
        environment: &[(&str, &str)],
    ) -> Self {
        let program = std::env::current_exe().expect("this program's path");
        let launch = Launch::program(program);
        let launch = environment.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        Self::launch(launch, server.0, security, threads).await
    }

    /// Starts a server of another program, which understands the same words.
    pub async fn start_program(
        program: &Path,
        name: &'static str,
        security: Security,
        threads: usize,
    ) -> Self {
        Self::launch(Launch::program(program), name, security, threads).await
    }

    /// Starts gracehttp as it is in another build of this benchmark.
    pub async fn start_other(build: &Path, security: Security, threads: usize) -> Self {
        Self { name: "the other build", ..Self::start_program(build, OURS.0, security, threads).await }
    }

    /// Starts gracehttp with an access log: JSON, in a file.
    pub async fn start_logged(security: Security, threads: usize) -> Self {
        let files = Scratch::new();
        let program = std::env::current_exe().expect("this program's path");
        let launch = logging_to(Launch::program(program), &files.join("access.log"));
        let logged = Self::launch(launch, OURS.0, security, threads).await;
        Self { name: "gracehttp, access log", _files: Some(files), ..logged }
    }

    /// Starts this program once more, with one worker thread, under a tool that executes it.
    pub async fn start_under(tool: Launch, (name, _): Server, security: Security) -> Self {
        let program = std::env::current_exe().expect("this program's path");
        Self::launch(tool.arg(program), name, security, 1).await
    }

    /// Adds the words that make a program serve. A launch through another program is fine, too.
    pub async fn launch(launch: Launch, name: &'static str, security: Security, threads: usize) -> Self {
        let mut launch = launch.arg("serve").arg(name).arg(threads.to_string());
        if security != Security::Plain {
            launch = launch.env(SERVER_SPEAKS_TLS, "self_signed");
        }
        let app = launch.start("ping").await;
        let endpoint = security.endpoint(app.address("ping").await);
        Self { name, app, endpoint, pong: None, _files: None }
    }

    /// Its process, or the newest of them.
    pub fn pid(&self) -> u32 {
        self.app.pid()
    }

    /// The body of `/ping`.
    pub fn pong(&self) -> String {
        self.pong.clone().unwrap_or_else(|| format!("pong by pid:{}", self.pid()))
    }

    /// Its processes outside of a restart. Some servers have workers.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids = self.app.current().children();
        pids.push(self.pid());
        pids
    }

    /// The CPU time that they have used.
    pub fn cpu_time(&self) -> Duration {
        self.pids().into_iter().map(cpu_time).sum()
    }

    /// Their resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        self.pids().into_iter().map(resident).sum()
    }
}

/// A launch of [`OURS`], which writes its access log to this file.
pub fn logging_to(launch: Launch, file: &Path) -> Launch {
    let launch = launch.env("GRACEHTTP_SERVER__PING__ACCESS_LOG", "json");
    launch.env("GRACEHTTP_SERVER__PING__ACCESS_LOG_TO", file)
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

/// The program of `--other`: another build of this benchmark, such as one of an earlier commit.
pub fn other_build(options: &Options) -> Option<PathBuf> {
    let path: PathBuf = options.value("other", PathBuf::new());
    (!path.as_os_str().is_empty()).then_some(path)
}
