//! The keys of `#[gracehttp::main]`.

use super::OWNER;
use super::row::{Entry, Feature, Form, Key, Kind, Library};
use Form::{Ordinary, Own};
use Kind::{Address, Callback, Choice, Count, Duration, Text, Timeout};
use Library::ByHand;

/// The keys of `#[gracehttp::main]` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum MainKey {
    Servers,
    Health,
    RestartOn,
    StopOn,
    Cli,
    Crate,
}

#[rustfmt::skip]
pub(crate) const MAIN: &[Key<MainKey>] = &[
    Key {
        name: "servers", kind: Own(MainKey::Servers), example: "servers(api, admin)", default: "required",
        doc: "The servers: functions and modules with [`#[server]`](macro@crate::server).",
        ..Key::CODE
    },
    Key {
        name: "health", kind: Own(MainKey::Health), example: "health(database, cache)", default: "none",
        doc: "The [health checks](crate::guide::health): functions with [`#[health]`](macro@crate::health).",
        other_words: &["health_check", "health_checks", "checks", "readiness"],
        say: "health checks are functions with `#[gracehttp::health]`, listed as `health(database, cache)`",
        ..Key::CODE
    },
    Key {
        name: "drain_timeout", kind: Ordinary(Duration), example: r#"drain_timeout = "10s""#, default: "10s",
        doc: "How long requests in flight may take to finish after a stop or a restart. Then they are cut, and \
              reported.",
        other_words: &["shutdown_timeout", "graceful_timeout", "grace_period", "stop_timeout"],
        say: "what is in flight gets `drain_timeout = \"10s\"`",
        ..Key::ROW
    },
    Key {
        name: "ready_timeout", kind: Ordinary(Timeout), example: r#"ready_timeout = "60s""#, default: "60s",
        doc: "How long a successor may take until it is ready. Then it is killed, and this process serves on.",
        ..Key::ROW
    },
    Key {
        name: "standby", kind: Ordinary(Duration), example: r#"standby = "2s""#, default: "2s",
        doc: "How long after a restart this process can take over again if its successor dies or hangs. It lasts at \
              least until the successor has shown that it lives.",
        ..Key::ROW
    },
    Key {
        name: "lame_duck", kind: Ordinary(Duration), example: r#"lame_duck = "5s""#, default: "0s",
        doc: "How long connections are still accepted after a signal to stop. Load balancers use that time to look \
              elsewhere.",
        ..Key::ROW
    },
    Key {
        name: "restart_on", kind: Own(MainKey::RestartOn), example: "restart_on(HUP, USR1, USR2)",
        default: "`HUP`, `USR1`, `USR2`",
        doc: "The signals that restart; `restart_on()` for none.",
        library: ByHand(&[Entry::new("restart_on", "signals; none at all is a choice, too")]),
        ..Key::ROW
    },
    Key {
        name: "stop_on", kind: Own(MainKey::StopOn), example: "stop_on(INT, TERM, QUIT, TSTP)",
        default: "`INT`, `TERM`, `QUIT`, `TSTP`",
        doc: "The signals that stop.",
        library: ByHand(&[Entry::new("stop_on", "signals; none at all is a choice, too")]),
        ..Key::ROW
    },
    Key {
        name: "pid_file", kind: Ordinary(Kind::FILE), example: r#"pid_file = "/run/app/app.pid""#, default: "none",
        doc: "A [file that names the process](crate::guide::systemd#a-pid-file) to signal, for scripts that can't find it \
              otherwise. It follows restarts, and is removed at the end.",
        library: ByHand(&[Entry::new("pid_file", "the path of a file, or `off`")]),
        other_words: &["pid", "pidfile", "pid_path"],
        say: "the file that names the process is `pid_file = \"/run/app/app.pid\"`",
        ..Key::ROW
    },
    Key {
        name: "worker_threads", kind: Ordinary(Count { most: 4096 }), example: "worker_threads = 4",
        default: "one for each core",
        doc: "How many threads serve, up to 4096.",
        library: ByHand(&[Entry::new("worker_threads", "a number from 1 to 4096")]),
        other_words: &["threads", "workers", "flavor", "num_threads"],
        say: "the number of threads is `worker_threads = 4`",
        ..Key::ROW
    },
    Key {
        name: "supervise", kind: Ordinary(Choice { of: "Supervise", words: &["auto", "off", "always"] }),
        example: "supervise = always", default: "auto",
        doc: "Whether a [supervisor](crate::guide::supervision) starts and watches the processes: `auto` where the \
              process is PID 1 or the main process of a systemd service; `always`; or `off`. It is decided at the start: \
              a restart changes nothing about it.",
        library: ByHand(&[Entry::new("supervise", "`auto`, `off` or `always`")]),
        other_words: &["supervisor", "respawn", "master", "watch"],
        say: "a supervisor is `supervise = auto`, `off` or `always`",
        ..Key::ROW
    },
    Key {
        name: "hang_timeout", kind: Ordinary(Timeout), example: r#"hang_timeout = "30s""#, default: "off",
        doc: "How long the process may not answer before its [supervisor](crate::guide::supervision) ends it by SIGABRT \
              and starts a fresh one. Under a watchdog of systemd it is half of `WatchdogSec` at most.",
        ..Key::ROW
    },
    Key {
        name: "crash_limit", kind: Ordinary(Count { most: 64 }), example: "crash_limit = 5", default: "5",
        doc: "With so many crashes within `crash_window` the [supervisor](crate::guide::supervision) ends, with status 70.",
        ..Key::ROW
    },
    Key {
        name: "crash_window", kind: Ordinary(Timeout), example: r#"crash_window = "30s""#, default: "30s",
        doc: "The time in which crashes are counted.",
        ..Key::ROW
    },
    Key {
        name: "crash_backoff", kind: Ordinary(Duration), example: r#"crash_backoff = "10s""#, default: "10s",
        doc: "The longest pause before a fresh process is started after a crash. The first one starts at once, the next \
              after 100 ms, and each further one after twice the time.",
        ..Key::ROW
    },
    Key {
        name: "config", kind: Ordinary(Kind::FILE), example: r#"config = "my_app.toml""#, default: "`Gracehttp.toml`, if it exists",
        doc: "The [configuration file](crate::guide::configuration). A macro such as `concat!(…)` may make the path.",
        ..Key::CODE
    },
    Key {
        name: "user", kind: Ordinary(Text { expected: OWNER }), example: r#"user = "app""#,
        default: "that of the process",
        doc: "The user as whom the process serves: root binds the endpoints, and then \
              [gives up its rights](crate::guide::deployment#as-another-user).",
        library: ByHand(&[Entry::new("user", "a name or a number, in quotes")]),
        other_words: &["run_as", "uid", "setuid", "username"],
        say: "the user as whom the process serves is `user = \"app\"`",
        ..Key::ROW
    },
    Key {
        name: "group", kind: Ordinary(Text { expected: OWNER }), example: r#"group = "app""#,
        default: "that of `user`",
        doc: "The group in which the process serves, with `user`.",
        library: ByHand(&[Entry::new("group", "a name or a number, in quotes")]),
        other_words: &["gid", "setgid"],
        say: "the group in which the process serves is `group = \"app\"`",
        ..Key::ROW
    },
    Key {
        name: "log_format", kind: Ordinary(Choice { of: "LogFormat", words: &["text", "json"] }),
        example: "log_format = json", default: "text",
        doc: "How the log is written to standard error: lines for people, or [JSON objects](crate::guide::logging#json).",
        library: ByHand(&[Entry::new("log_format", "`text` or `json`")]),
        other_words: &["log_json", "json_logs", "log_style"],
        say: "the form of the log is `log_format = text` or `json`",
        ..Key::ROW
    },
    Key {
        name: "log", kind: Ordinary(Text { expected: "targets with levels" }),
        example: r#"log = "gracehttp=info,my_app=debug""#, default: "see [the guide](crate::guide::logging)",
        doc: "Levels of the log for some targets. `RUST_LOG` wins over it.",
        library: ByHand(&[Entry::new("log", "targets with levels, as `RUST_LOG` has them")]),
        other_words: &["log_level", "log_levels", "rust_log", "verbosity"],
        say: "levels of the log are `log = \"gracehttp=info,my_app=debug\"`",
        ..Key::ROW
    },
    Key {
        name: "unknown_keys", kind: Ordinary(Choice { of: "UnknownKeys", words: &["error", "warn"] }),
        example: "unknown_keys = warn", default: "error",
        doc: "Whether keys, servers and variables that this program does not have keep it from starting; with `warn` \
              [each is a notice](crate::guide::configuration#an-older-program-with-a-newer-file).",
        library: ByHand(&[Entry::new("unknown_keys", "`error` or `warn`")]),
        other_words: &["lenient", "strict", "deny_unknown", "ignore_unknown"],
        say: "whether unknown keys keep the process from starting is `unknown_keys = error` or `warn`",
        ..Key::ROW
    },
    Key {
        name: "cli", kind: Own(MainKey::Cli), example: "cli", default: "off",
        doc: "A [command line](crate::guide::configuration#a-command-line): `serve`, `check`, `config`, `routes`, \
              and commands for the process that serves (feature `cli`).",
        feature: Some(Feature::Cli),
        ..Key::CODE
    },
    Key {
        name: "control", kind: Ordinary(Address { only_unix: true }),
        example: r#"control = "unix:/run/app.sock""#,
        forms: &["control = off"], default: "with `cli`: in `$RUNTIME_DIRECTORY`, or next to `pid_file`",
        doc: "The [control socket](crate::guide::control), through which the commands of the same program speak with \
              the one that serves (feature `cli`).",
        feature: Some(Feature::Cli),
        library: ByHand(&[Entry::new("control", "`unix:` and the path of a socket, or `off`")]),
        other_words: &["control_socket", "socket_path", "command_socket"],
        say: "where commands reach the process is `control = \"unix:/run/app.sock\"`",
    },
    Key {
        name: "admin", kind: Ordinary(Address { only_unix: false }),
        example: r#"admin = "127.0.0.1:9099""#,
        forms: &[r#"admin = "unix:/run/app-admin.sock""#, "admin = off"], default: "off",
        doc: "The address for operators: [health](crate::guide::health), metrics, a \
              [status page](crate::guide::status_page) (feature `admin`).",
        feature: Some(Feature::Admin),
        library: ByHand(&[Entry::new("admin", "an endpoint, or `off`")]),
        other_words: &["status", "status_page", "management", "ops", "metrics"],
        say: "health, metrics and the status page are at `admin = \"127.0.0.1:9099\"`",
    },
    Key {
        name: "on_info", kind: Ordinary(Callback), example: "on_info = my_function", default: "`tracing`",
        doc: "A function of `&str` that takes the messages of this level; see [`log`](crate::log).",
        other_words: &["logger", "on_log"],
        say: "messages go to `tracing`, or to `on_info = …`, `on_notice = …`, `on_error = …`",
        ..Key::CODE
    },
    Key {
        name: "on_notice", kind: Ordinary(Callback), example: "on_notice = my_function", default: "`tracing`",
        doc: "The same for the level notice.",
        ..Key::CODE
    },
    Key {
        name: "on_error", kind: Ordinary(Callback), example: "on_error = my_function", default: "`tracing`",
        doc: "The same for the level error.",
        ..Key::CODE
    },
    Key {
        name: "crate", kind: Own(MainKey::Crate), example: "crate = my_facade::gracehttp",
        default: "`::gracehttp`",
        doc: "Where gracehttp is, for those who re-export it.",
        ..Key::CODE
    },
];
