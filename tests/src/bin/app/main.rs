//! The application that most tests start. It reads its servers and its start-up code from a file at every start, so
//! each generation can differ from the one before it.
//!
//! `APP_PLAN` names the file. Its lines:
//!
//! ```text
//! server web 127.0.0.1:0
//! server both 127.0.0.1:0 plain=127.0.0.2:0 tls=self_signed redirect=443 hsts=365d,include_subdomains health=/healthz
//! server tls 127.0.0.1:0 [::1]:0 cert=FILE key=FILE max_conns=50 idle_timeout=500ms
//! server proxied 127.0.0.1:0 proxy_protocol=10.0.0.0/8,unix
//! server issued 127.0.0.1:0 acme=DOMAINS;CACHE;DIRECTORY;CA
//! forever drain_timeout ready_timeout standby lame_duck
//! task heeds | ignores | panics
//! exit quick | slow | hangs
//! start sleep 500 | panic | exit 1 | abort | hang | refuse WORDS | leave 50 | only once FILE | eat
//! start orphans 1000 | subscribe | subscribe stderr | subscribe hang | callbacks hang | block 20000 | stop 300
//! stderr says WORDS | floods LINES | sidecar FIFO | redirected FILE
//! ```
//!
//! With `APP_THREAD` it has a second thread before it runs. With `APP_HOOK` it sets its own panic hook. Without a plan it has one server, `web`.

mod handler;
mod plan;
mod start_up;
mod streams;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use gracehttp::App;

use crate::plan::Plan;
use crate::start_up::{register, start_up, use_stderr};

fn main() -> ExitCode {
    if std::env::var_os("APP_HOOK").is_some() {
        std::panic::set_hook(Box::new(|_| say("the application's own hook")));
    }
    if std::env::var_os("APP_THREAD").is_some() {
        std::thread::spawn(std::thread::park);
    }
    let plan = Plan::read();
    let Plan { servers, forever, beside, start, stderr } = plan;
    let mut app = App::try_new(move || {
        beside.into_iter().for_each(register);
        stderr.iter().for_each(|words| use_stderr(words));
        start_up(start)
    });
    for key in forever {
        app = match key.as_str() {
            "drain_timeout" => app.drain_timeout(Duration::MAX),
            "ready_timeout" => app.ready_timeout(Duration::MAX),
            "standby" => app.standby(Duration::MAX),
            "lame_duck" => app.lame_duck(Duration::MAX),
            _ => panic!("no duration {key} in the plan's grammar"),
        };
    }
    for server in servers {
        app = app.serve(server);
    }
    // A command line refuses arguments of another program.
    let has_command_line = std::env::var_os("APP_WITHOUT_COMMANDS").is_none();
    if has_command_line { app.cli().run() } else { app.run() }
}

/// Reports to the test that an action begins. A test that has ended needs no report.
pub(crate) fn say(what: &str) {
    _ = writeln!(std::io::stdout(), "{what}");
}
