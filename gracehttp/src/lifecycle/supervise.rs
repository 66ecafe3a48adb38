//! Whether a supervisor starts and watches the processes of a service.

/// Whether an application has a [supervisor](crate::guide::supervision): a small process with the pid that was started,
/// which stays through all restarts and starts the application again after a crash.
///
/// ```no_run
/// use gracehttp::{App, Server, Supervise};
///
/// App::new(async || ())
///     .serve(Server::builder("hello").port(8080).handler(async || "hello"))
///     .supervise(Supervise::Always)
///     .run();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Supervise {
    /// Where the service stands and falls with the process that was started: as PID 1 of a container, or as the main
    /// process of a systemd service. Else there is none.
    #[default]
    Auto,
    /// Never: the pid changes with each restart.
    Off,
    /// Always: also on a terminal, and under runit, s6, supervisord or foreman.
    Always,
}

impl Supervise {
    pub(crate) const ALL: [Self; 3] = [Self::Auto, Self::Off, Self::Always];

    /// Its name in attributes, files and variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Always => "always",
        }
    }
}
