//! How the plain log is written, and which messages it takes.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// How the framework's own log is written to standard error. An application's own subscriber has a form of its own.
///
/// ```no_run
/// use gracehttp::{App, LogFormat, Server};
///
/// App::new(async || ())
///     .serve(Server::builder("hello").port(8080).handler(async || "hello"))
///     .log_format(LogFormat::Json)
///     .run();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// Each line is a JSON object.
    Json,
}

impl LogFormat {
    pub(crate) const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Its name in attributes, files and variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// What was chosen for the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogChoice {
    pub(crate) format: LogFormat,
    /// Targets with levels, over the default ones.
    pub(crate) levels: Option<String>,
}

static CHOICE: OnceLock<LogChoice> = OnceLock::new();

/// Chooses the form of the log. Only the first call counts, and it has to come before the first message.
pub(crate) fn choose(choice: LogChoice) {
    let _ = CHOICE.set(choice);
}

pub(super) fn chosen() -> LogChoice {
    CHOICE.get().cloned().unwrap_or_default()
}

/// Whether the log is made of JSON objects.
pub(crate) fn is_json() -> bool {
    CHOICE.get().is_some_and(|choice| choice.format == LogFormat::Json)
}

/// Targets and levels, such as `gracehttp=info,my_app=debug`. An error is the second half of a sentence.
pub(crate) fn levels(text: &str) -> Result<Targets, String> {
    let valid = "valid are targets with levels, such as `gracehttp=info,my_app=debug`";
    match text.trim() {
        "" => Err(valid.to_owned()),
        text => text.parse().map_err(|error| format!("{valid} ({error})")),
    }
}

/// Which messages are logged.
///
/// `RUST_LOG` says all of it, unless it is unset, empty or invalid. Otherwise it is info for the framework and the
/// application, and only errors for all other crates, since many of them warn about odd bytes from a client; `levels`
/// changes that for the targets in it.
pub(super) fn targets(rust_log: Option<&str>, levels: Option<&str>, own_crate: Option<&str>) -> Targets {
    if let Some(targets) = rust_log.and_then(|directives| self::levels(directives).ok()) {
        return targets;
    }
    let ours = ["gracehttp"].into_iter().chain(own_crate);
    let ours = ours.map(|name| (name, LevelFilter::INFO));
    let default = Targets::new().with_default(LevelFilter::ERROR).with_targets(ours);
    match levels.and_then(|levels| self::levels(levels).ok()) {
        Some(chosen) => {
            let of_others = chosen.default_level().unwrap_or(LevelFilter::ERROR);
            default.with_default(of_others).with_targets(chosen)
        }
        None => default,
    }
}

/// Whether `RUST_LOG` chooses the levels in place of the key.
pub(crate) fn is_chosen_by_rust_log() -> bool {
    std::env::var("RUST_LOG").is_ok_and(|directives| levels(&directives).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn rust_log_is_honoured_and_nonsense_means_the_default() {
        assert!(!targets(Some("gracehttp=warn"), None, None).would_enable("gracehttp", &Level::INFO));
        assert!(targets(Some("info"), None, None).would_enable("h2", &Level::INFO));
        for default in [None, Some(""), Some("a=b=c")] {
            let default = targets(default, None, Some("my_app"));
            for ours in ["gracehttp", "my_app", "my_app::users"] {
                assert!(default.would_enable(ours, &Level::INFO), "{ours}");
                assert!(!default.would_enable(ours, &Level::DEBUG), "{ours}");
            }
            assert!(!default.would_enable("h2::proto", &Level::WARN));
            assert!(default.would_enable("h2::proto", &Level::ERROR));
        }
    }

    #[test]
    fn the_key_changes_the_default_and_rust_log_replaces_it() {
        let chosen = targets(None, Some("my_app=debug,h2=warn"), Some("my_app"));
        assert!(chosen.would_enable("my_app", &Level::DEBUG) && chosen.would_enable("h2", &Level::WARN));
        assert!(
            chosen.would_enable("gracehttp", &Level::INFO) && !chosen.would_enable("hyper", &Level::WARN)
        );
        assert!(targets(None, Some("warn"), None).would_enable("hyper", &Level::WARN));
        let by_rust_log = targets(Some("error"), Some("my_app=debug"), Some("my_app"));
        assert!(!by_rust_log.would_enable("my_app", &Level::WARN));
        assert!(levels("a=b=c").is_err() && levels("").is_err() && levels("gracehttp=info").is_ok());
    }
}
