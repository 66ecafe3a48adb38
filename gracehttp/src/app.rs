//! The application: its servers, its settings, and the life of its process.

mod ancestry;
mod announcer;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "cli")]
mod cli;
mod configured;
#[cfg(any(feature = "admin", feature = "cli"))]
mod drain_reports;
#[cfg(feature = "tls")]
mod expired_lists;
#[cfg(feature = "tls")]
mod expiry;
mod last_lines;
mod life;
mod log_fields;
mod log_subscriber;
#[cfg_attr(not(feature = "admin"), path = "app/metrics/without.rs")]
mod metrics;
mod operators;
mod parcels;
mod prepare;
mod receipts;
mod rehearsal;
mod reopener;
mod restart;
mod servers;
mod service_user;
mod standby;
mod start_up_code;
mod startup;
mod stop;
mod supervised;
mod take_over;
mod workers;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::app::log_subscriber::LogSubscriber;
use crate::app::start_up_code::UnreadStartUpCode;
#[cfg(feature = "cli")]
use crate::config::value;
use crate::config::{MOST_THREADS, Section, Settings, UnknownKeys, read_settings, refuse_settings};
use crate::error::Error;
use crate::health::{HealthCheck, IntoHealthCheck};
use crate::lifecycle::{Event, Events, Signal, Supervise};
use crate::log::{self, LogFormat};
use crate::server::kinds::{self, Kind};
use crate::server::{IntoServer, Server};

/// An application: several servers, one start-up code, one life.
///
/// `#[gracehttp::main]` expands to nothing but these calls, and all that it does can be done by hand:
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::time::Duration;
///
/// use gracehttp::{App, Server};
///
/// async fn ping() -> String {
///     format!("pong by pid:{}\n", std::process::id())
/// }
///
/// fn main() -> ExitCode {
///     App::new(async || ())
///         .serve(Server::builder("ping").port(9090).max_conns(1000).handler(ping))
///         .drain_timeout(Duration::from_secs(30))
///         .run()
/// }
/// ```
///
/// A duration that is longer than 366 days, as [`Duration::MAX`](std::time::Duration::MAX) is, becomes one of 366 days.
#[must_use = "an application does nothing until `run`"]
pub struct App<S> {
    servers: Vec<Server<S>>,
    settings: Settings,
    health_checks: Vec<HealthCheck<S>>,
    /// What was wrong in the calls that set them; reported all at once when the application starts.
    faults: Vec<Error>,
    /// The configuration file, where the application names one itself.
    config: Option<PathBuf>,
    start_up_code: UnreadStartUpCode<S>,
    /// Always false without the feature `cli`.
    has_command_line: bool,
    /// Whether the command line asks to pass over unknown keys.
    is_lenient: bool,
}

impl<S: Clone + Send + Sync + 'static> App<S> {
    /// An application whose start-up code returns its state, `()` if there is none.
    ///
    /// The code runs once, after all sockets are bound or adopted and before the first connection is
    /// accepted. Until it is done, the predecessor serves on.
    pub fn new<F, Fut>(start_up: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = S>,
    {
        Self::reading(refuse_settings, |()| start_up())
    }

    /// An application whose start-up code can fail. If it does, the process exits with status 1, and in a
    /// restart the predecessor serves on as if nothing had happened.
    ///
    /// ```no_run
    /// use gracehttp::{App, Server, State};
    ///
    /// #[derive(Clone)]
    /// struct Greeting(String);
    ///
    /// async fn greet(State(Greeting(text)): State<Greeting>) -> String {
    ///     text
    /// }
    ///
    /// let start_up = async || std::fs::read_to_string("greeting.txt").map(Greeting);
    /// App::try_new(start_up).serve(Server::builder("greet").port(8080).handler(greet)).run();
    /// ```
    pub fn try_new<F, Fut, E>(start_up: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<S, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::try_reading(refuse_settings, |()| start_up())
    }

    /// An application whose start-up code takes its settings, of any type that serde can read: they are the
    /// table `[app]` of the configuration file, or an empty table where there is none.
    ///
    /// They are read before any socket is touched. If they don't fit, the process exits with status 1, and in
    /// a restart the predecessor serves on.
    ///
    /// ```no_run
    /// use gracehttp::{App, Server, State};
    ///
    /// #[derive(Clone, serde::Deserialize)]
    /// #[serde(default, deny_unknown_fields)]
    /// struct Settings {
    ///     greeting: String,
    /// }
    ///
    /// impl Default for Settings {
    ///     fn default() -> Self {
    ///         Self { greeting: "hello".into() }
    ///     }
    /// }
    ///
    /// async fn greet(State(settings): State<Settings>) -> String {
    ///     settings.greeting
    /// }
    ///
    /// App::with_settings(async |settings: Settings| settings)
    ///     .serve(Server::builder("greet").port(8080).handler(greet))
    ///     .run();
    /// ```
    pub fn with_settings<T, F, Fut>(start_up: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        F: FnOnce(T) -> Fut + Send + 'static,
        Fut: Future<Output = S>,
    {
        Self::reading(read_settings, start_up)
    }

    /// As [`with_settings`](Self::with_settings), for start-up code that can fail.
    pub fn try_with_settings<T, F, Fut, E>(start_up: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        F: FnOnce(T) -> Fut + Send + 'static,
        Fut: Future<Output = Result<S, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::try_reading(read_settings, start_up)
    }

    /// An application whose start-up code takes settings. `read` makes them of the application's section of the configuration.
    pub(crate) fn reading<A, F, Fut>(read: fn(&Section<'_>) -> Result<A, Error>, start_up: F) -> Self
    where
        A: Send + 'static,
        F: FnOnce(A) -> Fut + Send + 'static,
        Fut: Future<Output = S>,
    {
        Self::with::<Fut>(UnreadStartUpCode::new(read, |settings| async { Ok(start_up(settings).await) }))
    }

    /// An application whose start-up code takes settings, as with [`reading`](Self::reading), and can fail.
    pub(crate) fn try_reading<A, F, Fut, E>(read: fn(&Section<'_>) -> Result<A, Error>, start_up: F) -> Self
    where
        A: Send + 'static,
        F: FnOnce(A) -> Fut + Send + 'static,
        Fut: Future<Output = Result<S, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::with::<Fut>(UnreadStartUpCode::new(read, |settings| async {
            start_up(settings).await.map_err(Into::into)
        }))
    }

    fn with<Fut>(start_up_code: UnreadStartUpCode<S>) -> Self {
        log::set_own_crate(std::any::type_name::<Fut>());
        Self {
            servers: Vec::new(),
            settings: Settings::default(),
            health_checks: Vec::new(),
            faults: Vec::new(),
            config: None,
            start_up_code,
            has_command_line: false,
            is_lenient: false,
        }
    }

    /// Adds a server: a [`Server`] that was built by hand, or `name::server()` of one that `#[server]` declares.
    ///
    /// `M` is always inferred.
    pub fn serve<M>(mut self, server: impl IntoServer<S, M>) -> Self {
        self.servers.push(server.into_server());
        self
    }

    /// Adds a health check: a [`HealthCheck`] that was built by hand, or `name::health()` of one that
    /// [`#[health]`](macro@crate::health) declares. Checks run before the application serves, and for
    /// [readiness](crate::guide::health).
    pub fn health(mut self, check: impl IntoHealthCheck<S>) -> Self {
        let mut check = check.into_health_check();
        self.faults.extend(check.fault.take());
        let name = &check.name;
        if self.health_checks.iter().any(|earlier| earlier.name == *name) {
            let fault = format!("two health checks are named `{name}`: give one of them another name");
            self.faults.push(Error::new(fault));
        }
        self.health_checks.push(check);
        self
    }

    /// The signals that restart: [`Signal::RESTART`] by default.
    pub fn restart_on(self, signals: impl IntoIterator<Item = Signal>) -> Self {
        self.set("restart_on", |settings| settings.restart_on = signals.into_iter().collect())
    }

    /// The signals that stop: [`Signal::STOP`] by default.
    pub fn stop_on(self, signals: impl IntoIterator<Item = Signal>) -> Self {
        self.set("stop_on", |settings| settings.stop_on = signals.into_iter().collect())
    }

    /// How many threads serve, up to 4096; one for each core by default.
    pub fn worker_threads(self, threads: usize) -> Self {
        let fault = format!("worker_threads is {threads}: valid is a whole number from 1 to {MOST_THREADS}");
        self.require((1..=MOST_THREADS).contains(&threads), fault)
            .set("worker_threads", |settings| settings.worker_threads = Some(threads))
    }

    /// Where the commands of the same program reach this process: `unix:` and the path of a socket, or `off`. The
    /// [guide](crate::guide::control) says where it is by default.
    ///
    /// ```no_run
    /// use gracehttp::{App, Server};
    ///
    /// App::new(async || ())
    ///     .serve(Server::builder("hello").port(8080).handler(async || "hello"))
    ///     .cli()
    ///     .control("unix:/run/hello.sock")
    ///     .run();
    /// ```
    #[cfg(feature = "cli")]
    pub fn control(self, address: impl AsRef<str>) -> Self {
        let address = address.as_ref();
        match value::control(address) {
            Ok(control) => self.set("control", |settings| settings.control = control),
            Err(reason) => self.require(false, format!("control is `{address}`: {reason}")),
        }
    }

    /// A file that names the process to signal. It is written whole or not at all, follows restarts, and is removed at the
    /// end. If it can't be written, the application serves without it, and says so.
    pub fn pid_file(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.require(!path.as_os_str().is_empty(), "pid_file is empty: valid is the path of a file")
            .set("pid_file", |settings| settings.pid_file = Some(path))
    }

    /// Whether a [supervisor](crate::guide::supervision) starts and watches the processes of this application: by
    /// default where the environment calls for one.
    pub fn supervise(self, choice: Supervise) -> Self {
        self.set("supervise", |settings| settings.supervise = choice)
    }

    /// The user as whom the process serves: root binds the endpoints, and then gives up all its rights. See
    /// [the guide](crate::guide::deployment#as-another-user).
    pub fn user(self, user: impl Into<String>) -> Self {
        let user = user.into();
        self.require(!user.is_empty(), "user is empty: valid is a name or a number")
            .set("user", |settings| settings.user = Some(user))
    }

    /// The group in which it serves, in place of the user's own.
    pub fn group(self, group: impl Into<String>) -> Self {
        let group = group.into();
        self.require(!group.is_empty(), "group is empty: valid is a name or a number")
            .set("group", |settings| settings.group = Some(group))
    }

    /// How the log is written to standard error: lines for people, which is the default, or
    /// [JSON objects](crate::guide::logging#json). An application's own subscriber has a form of its own.
    pub fn log_format(self, format: LogFormat) -> Self {
        self.set("log_format", |settings| settings.log_format = format)
    }

    /// Levels of the log for some targets, as in `gracehttp=info,my_app=debug`, over the default ones. `RUST_LOG` wins over
    /// it.
    pub fn log(self, levels: impl Into<String>) -> Self {
        let levels = levels.into();
        match log::levels(&levels) {
            Ok(_) => self.set("log", |settings| settings.log = Some(levels)),
            Err(reason) => self.require(false, format!("log is `{levels}`: {reason}")),
        }
    }

    /// Whether keys, servers and variables that this program does not have keep it from starting, which is the default.
    pub fn unknown_keys(self, choice: UnknownKeys) -> Self {
        self.set("unknown_keys", |settings| settings.unknown_keys = choice)
    }

    /// The address for operators, as in `admin("127.0.0.1:9099")` or `admin("unix:/run/app-admin.sock")`:
    /// [health](crate::guide::health), metrics and a [status page](crate::guide::status_page). `off` for none, which is the
    /// default.
    ///
    /// ```no_run
    /// use gracehttp::{App, Server};
    ///
    /// App::new(async || ())
    ///     .serve(Server::builder("hello").port(8080).handler(async || "hello"))
    ///     .admin("127.0.0.1:9099")
    ///     .run();
    /// ```
    #[cfg(feature = "admin")]
    pub fn admin(self, endpoint: impl AsRef<str>) -> Self {
        match value::endpoint_or_off(endpoint.as_ref()) {
            Ok(endpoint) => self.set("admin", |settings| settings.admin = endpoint),
            Err(reason) => self.require(false, format!("admin: {reason}")),
        }
    }

    /// Sets an ordinary key, if its kind accepts the value.
    fn accept<V>(
        mut self,
        key: &'static str,
        value: Result<V, String>,
        set: impl FnOnce(&mut Settings, V),
    ) -> Self {
        match value {
            Ok(value) => set(&mut self.settings, value),
            Err(reason) => self = self.require(false, format!("{key} is {reason}")),
        }
        self.set(key, |_| ())
    }

    fn set(mut self, key: &'static str, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self.settings.chosen.push(key);
        self
    }

    /// Notes a fault. All faults are reported together when the application starts.
    fn require(mut self, is_valid: bool, fault: impl Into<String>) -> Self {
        if !is_valid {
            self.faults.push(Error::new(fault));
        }
        self
    }

    /// The configuration file, in place of `Gracehttp.toml` in the working directory. Unlike that, it has to
    /// exist. The variable `GRACEHTTP_CONFIG` names another.
    pub fn config(mut self, file: impl Into<PathBuf>) -> Self {
        self.config = Some(file.into());
        self
    }

    /// Gives the program a command line: `serve` (the default), `check`, which says whether configuration and
    /// certificates are in order, `config`, which prints every value and where it comes from, and `routes`, which
    /// prints what every server answers, and by which handler. Further commands speak with the process that serves:
    /// `status`, `restart`, `stop`, `drain` and `logs`; see the [guide](crate::guide::control).
    ///
    /// [`run`](Self::run) and [`try_run`](Self::try_run) then read the arguments of the process. Arguments that
    /// make no sense end it with status 2.
    #[cfg(feature = "cli")]
    pub fn cli(mut self) -> Self {
        self.has_command_line = true;
        self
    }

    /// Gives the messages of level info to a callback instead of `tracing`; see [`log::set_info`].
    pub fn on_info(self, callback: impl Fn(&str) + Send + Sync + 'static) -> Self {
        log::set_info(callback);
        self
    }

    /// Gives the messages of level notice to a callback instead of `tracing`; see [`log::set_notice`].
    pub fn on_notice(self, callback: impl Fn(&str) + Send + Sync + 'static) -> Self {
        log::set_notice(callback);
        self
    }

    /// Gives the messages of level error to a callback instead of `tracing`; see [`log::set_error`].
    pub fn on_error(self, callback: impl Fn(&str) + Send + Sync + 'static) -> Self {
        log::set_error(callback);
        self
    }

    /// Serves until a signal stops the process or a successor has taken its place. An error is logged and
    /// becomes exit status 1.
    ///
    /// Call it from a `main` that is not async, before the process has other threads: it makes the runtime
    /// itself, after it has taken the handoff out of the environment.
    pub fn run(self) -> ExitCode {
        let events = subscribed();
        match self.run_with(&events) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                events.emit(&Event::Failed(error));
                ExitCode::FAILURE
            }
        }
    }

    /// As [`run`](Self::run), with the error for the caller.
    ///
    /// # Errors
    ///
    /// Everything that keeps the application from serving: an endpoint that can't be bound, a certificate that
    /// can't be read, a setting that makes no sense, start-up code that fails. Several of them come as one.
    pub fn try_run(self) -> Result<(), Error> {
        self.run_with(&subscribed())
    }

    fn run_with(self, events: &Events) -> Result<(), Error> {
        #[cfg(feature = "cli")]
        if self.has_command_line {
            return cli::obey(self, events);
        }
        life::live(self, events)
    }
}

/// Declares the methods for ordinary keys.
macro_rules! methods {
    ($($(#[doc = $doc:literal])* $name:ident($argument:ident: $type:ty), $kind:expr;)*) => {
        /// Keys of ordinary kinds.
        impl<S: Clone + Send + Sync + 'static> App<S> {
            $(
                $(#[doc = $doc])*
                pub fn $name(self, $argument: $type) -> Self {
                    self.accept(stringify!($name), $kind.accept($argument), |settings, value| settings.$name = value)
                }
            )*
        }
    };
}

gracehttp_macros::keys!(process.methods => methods);

/// The events of a process, with all their subscribers.
fn subscribed() -> Events {
    let events = Events::default();
    events.subscribe(Arc::new(LogSubscriber));
    events
}

impl<S> fmt::Debug for App<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("servers", &self.servers)
            .field("settings", &self.settings)
            .field("health_checks", &self.health_checks)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
