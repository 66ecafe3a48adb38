//! An application is restarted under load, and no client may notice.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::process::Command;

use crate::config::env::server_variable;
use crate::server::Request;
use crate::test::application::Application;
use crate::test::client::Target;
use crate::test::get;
use crate::test::load::{Load, MakeRequest, Seen};

/// Clients of each kind.
const CLIENTS: usize = 4;

/// Requests before, between and after the restarts.
const REQUESTS: u64 = 100;

/// Faults that are shown of many.
const SHOWN: usize = 10;

/// Starts an application, restarts it while clients ask it without a pause, and asserts that none of them
/// noticed: nothing refused, nothing reset, no request without its whole answer, no status but success.
///
/// Half of the clients keep their connection, half open a new one for each request. All processes have ended
/// when the test ends, however it ends.
///
/// ```no_run
/// # macro_rules! env { ($name:literal) => { "my_app" } }
/// # mod program {
/// # mod tokio { pub use ::tokio::{main as test, runtime}; }
/// use gracehttp::test::RestartTest;
///
/// #[tokio::test]
/// async fn no_client_notices_a_restart() {
///     RestartTest::of(env!("CARGO_BIN_EXE_my_app"), "api").path("/health").run().await;
/// }
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until `run`"]
pub struct RestartTest {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    server: String,
    request: MakeRequest,
    restarts: u32,
}

/// What a [`RestartTest`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartReport {
    /// How often the application was restarted.
    pub restarts: u32,
    /// Requests that were sent, and answered as they should be.
    pub requests: u64,
    /// Connections that were opened for them.
    pub connections: u64,
}

impl RestartTest {
    /// A test of `server` of this program, usually `env!("CARGO_BIN_EXE_name")`. The server listens on a port
    /// of 127.0.0.1 that the kernel chooses. This overrides its attribute.
    pub fn of(program: impl Into<PathBuf>, server: &str) -> Self {
        let test = Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            server: server.to_owned(),
            request: Arc::new(|| get("/")),
            restarts: 3,
        };
        // The time in which a predecessor could still take over is not what is tested here.
        test.env("GRACEHTTP_STANDBY", "200ms").listen(server, "127.0.0.1:0")
    }

    /// What the clients `GET`; `/` by default. It has to be answered with a status of success.
    pub fn path(self, path: &str) -> Self {
        let path = path.to_owned();
        self.request(move || get(&path))
    }

    /// The clients send this request in place of a `GET`: `test::post("/orders", Json(order))`. It is built for each
    /// use, and has to be answered with a status of success.
    pub fn request(mut self, request: impl Fn() -> Request + Send + Sync + 'static) -> Self {
        self.request = Arc::new(request);
        self
    }

    /// How often the application is restarted; 3 times by default.
    pub fn restarts(mut self, restarts: u32) -> Self {
        self.restarts = restarts;
        self
    }

    /// Lets another of its servers listen at `endpoint`: `127.0.0.1:0`, so that tests do not meet on a port.
    pub fn listen(self, server: &str, endpoint: &str) -> Self {
        self.env(server_variable(server, "LISTEN"), endpoint)
    }

    /// The server speaks TLS with the certificate and the private key in these PEM files. This overrides its attribute.
    /// The program needs the feature `tls`.
    ///
    /// The clients do not check the certificate, so that a self-signed one will do. Relative paths count from the
    /// directory in which the test runs, which with cargo is that of the package.
    ///
    /// A program with the feature `self-signed` needs no files: `.env("GRACEHTTP_SERVER__API__TLS", "self_signed")`.
    pub fn certificate(self, cert: impl AsRef<OsStr>, key: impl AsRef<OsStr>) -> Self {
        let (cert_variable, key_variable) =
            (server_variable(&self.server, "TLS.CERT"), server_variable(&self.server, "TLS.KEY"));
        self.env(cert_variable, cert).env(key_variable, key)
    }

    /// One more argument for the program.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs the test.
    ///
    /// The application has to tell its messages of level info on its standard output or error, as it does
    /// where it sets no `on_info`: that is how its address and its successors are known.
    ///
    /// # Panics
    ///
    /// If a client noticed, if the application does not start, restart or stop as it should, with what it
    /// wrote.
    pub async fn run(self) -> RestartReport {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_remove("RUST_LOG").env("NO_COLOR", "1").envs(self.env);
        let application = Application::start(command);
        let url = application.url(&self.server).await;
        let Some(target) = Target::from_url(&url) else {
            panic!("server `{}` is at {url}, which this client can't reach\n{application}", self.server);
        };

        let load = Load::start(target, self.request, CLIENTS);
        load.requests(REQUESTS).await;
        for _ in 0..self.restarts {
            application.restart().await;
            load.requests(REQUESTS).await;
        }
        let Seen { requests, connections, faults } = load.stop().await;
        if !faults.is_empty() {
            let shown =
                faults.iter().take(SHOWN).fold(String::new(), |all, fault| format!("{all}  {fault}\n"));
            panic!(
                "{} of {requests} requests were lost in {} restarts:\n{shown}{application}",
                faults.len(),
                self.restarts
            );
        }
        application.stop().await;
        RestartReport { restarts: self.restarts, requests, connections }
    }
}

impl fmt::Debug for RestartTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestartTest")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env)
            .field("server", &self.server)
            .field("restarts", &self.restarts)
            .finish_non_exhaustive()
    }
}
