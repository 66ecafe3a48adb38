//! What becomes of keys that this program does not have.

/// What becomes of keys, servers and variables that this program does not have.
///
/// ```no_run
/// use gracehttp::{App, Server, UnknownKeys};
///
/// App::new(async || ())
///     .serve(Server::builder("hello").port(8080).handler(async || "hello"))
///     .unknown_keys(UnknownKeys::Warn)
///     .run();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnknownKeys {
    /// The process does not start.
    #[default]
    Error,
    /// It starts without them, and logs a notice for each: an older release then starts with the file of a newer one.
    Warn,
}

impl UnknownKeys {
    pub(crate) const ALL: [Self; 2] = [Self::Error, Self::Warn];

    /// Its name in attributes, files and variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
        }
    }
}
