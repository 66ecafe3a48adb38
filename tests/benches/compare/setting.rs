//! How the benchmark measures: what the command line says, and what is there to compare with.

use std::path::PathBuf;
use std::time::Duration;

use tests::bench::contestant::{self, Contestant, Server};
use tests::bench::foreign;
use tests::bench::nginx;
use tests::bench::options::Options;
use tests::bench::security::Security;

/// The settings of a run.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Under two minutes, with wide ranges.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// The time of one server in one round.
    pub(crate) time: Duration,
    pub(crate) threads: usize,
    /// Whether to write what was measured into the file that it is compared with.
    pub(crate) bless: bool,
    actix: Option<PathBuf>,
    nginx: Option<PathBuf>,
}

impl Setting {
    /// Builds actix-web, which is no part of the workspace, if a case needs it.
    pub(crate) fn new(options: &Options, needs_actix: bool) -> Self {
        let quick = options.has("quick");
        Self {
            quick,
            rounds: options.value("rounds", if quick { 3 } else { 10 }),
            time: Duration::from_secs_f64(options.value("seconds", if quick { 0.4 } else { 2.0 })),
            threads: contestant::threads(options),
            bless: options.has("bless"),
            actix: if needs_actix { foreign::peer("actix") } else { None },
            nginx: foreign::needed("nginx"),
        }
    }

    /// Starts a server, unless it is not there.
    pub(crate) async fn start(&self, peer: Peer, security: Security) -> Option<Contestant> {
        Some(match peer {
            Peer::Own(server) => Contestant::start(server, security, self.threads).await,
            Peer::Logged => Contestant::start_logged(security, self.threads).await,
            Peer::Actix => {
                let program = self.actix.as_deref()?;
                Contestant::start_program(program, "actix-web", security, self.threads).await
            }
            Peer::Nginx => nginx::start(self.nginx.as_deref()?, security, self.threads).await,
        })
    }
}

/// A server to compare with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    /// A server of this program.
    Own(Server),
    /// gracehttp with an access log.
    Logged,
    Actix,
    Nginx,
}
