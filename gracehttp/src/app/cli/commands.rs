//! The commands that speak with the process that serves.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;

use super::print;
use crate::app::App;
use crate::app::configured::surroundings;
use crate::config::{self, ControlAddress};
use crate::control::{self, Client, Outcome};
use crate::error::Error;
use crate::handoff::StartCommand;
use crate::log::Recorded;
use crate::status::Report;

/// The commands, for the command line.
pub(super) fn commands() -> [Command; 7] {
    let wait = || flag("wait", "Tell each step, and end when it is over");
    [
        Command::new("status")
            .about("Print what the process that serves does")
            .arg(flag("json", "As one JSON document")),
        Command::new("restart")
            .about("Restart the process that serves")
            .arg(wait())
            .arg(flag("rehearse", "Start a successor up to ready and discard it: nothing changes")),
        Command::new("stop").about("Stop the process that serves").arg(wait()),
        Command::new("drain")
            .about("Stop it, but accept connections for a while in which it says that it is not ready")
            .arg(wait()),
        Command::new("reopen-logs")
            .about("Open the access logs anew by their names, after they were renamed"),
        Command::new("reload-certs").about("Have the process that serves read its certificates again"),
        Command::new("logs").about("Print the last messages of the process that serves").arg(
            Arg::new("minutes")
                .long("minutes")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("Only those of the last N minutes"),
        ),
    ]
    .map(|command| {
        command.arg(
            Arg::new("control")
                .long("control")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("The control socket, in place of the configured one"),
        )
    })
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// Does what a command asks for.
pub(super) fn run<S: Clone + Send + Sync + 'static>(
    app: App<S>,
    name: &str,
    arguments: &ArgMatches,
) -> Result<(), Error> {
    let path = match arguments.get_one::<PathBuf>("control") {
        Some(path) => without_scheme(path),
        None => place(app)?,
    };
    let mut client = Client::connect(&path)?;
    match name {
        "status" => status(&mut client, arguments.get_flag("json")),
        "logs" => logs(&mut client, arguments.get_one("minutes").copied()),
        "reopen-logs" => {
            client.command(name, &json!({}))?;
            match client.wait(&mut |_| ())? {
                Outcome::Done(done) => print(&format!("{}\n", done["text"].as_str().unwrap_or("done"))),
                Outcome::Failed { error, .. } => Err(Error::several(error.lines().map(Error::new).collect())),
            }
        }
        "reload-certs" => reload_certs(&mut client),
        "restart" if arguments.get_flag("rehearse") => {
            client.command("rehearse", &json!({}))?;
            wait(client)
        }
        _ => {
            let waits = arguments.get_flag("wait");
            let accepted = client.command(name, &json!({ "wait": waits }))?;
            if waits {
                return wait(client);
            }
            print(&format!("pid {} was asked to {name}\n", accepted["pid"]))
        }
    }
}

/// The path, also if it is written as the key `control` has it.
fn without_scheme(path: &Path) -> PathBuf {
    let stripped = path.as_os_str().as_bytes().strip_prefix(b"unix:");
    stripped.map_or_else(|| path.to_owned(), |path| PathBuf::from(OsStr::from_bytes(path)))
}

/// Where the process that serves has its socket.
fn place<S>(app: App<S>) -> Result<PathBuf, Error> {
    let start_command = StartCommand::capture();
    let App { mut settings, config, .. } = app;
    config::settle_socket_place(start_command.environment(), config.as_deref(), &mut settings)?;
    if settings.control == ControlAddress::Off {
        return Err(Error::new("the control socket is off: set `control`, or name one by --control PATH"));
    }
    let surroundings = surroundings(&settings, &start_command);
    control::place(&settings.control, &surroundings).or_else(|| surroundings.customary_place()).ok_or_else(|| {
        Error::new(
            "where is the control socket? Neither the key `control` nor RUNTIME_DIRECTORY says it: set \
             `control = \"unix:/run/app.sock\"` for the process that serves and for its commands, or name one by \
             --control PATH",
        )
    })
}

fn status(client: &mut Client, as_json: bool) -> Result<(), Error> {
    client.ask("status", json!({}))?;
    let reply = client.reply()?;
    if as_json {
        return print(&format!("{:#}\n", reply["status"]));
    }
    let report = serde_json::from_value::<Report>(reply["status"].clone());
    let report =
        report.map_err(|error| Error::caused_by(format!("the status is not understood: {error}"), error))?;
    print(&report.to_string())
}

fn logs(client: &mut Client, minutes: Option<u64>) -> Result<(), Error> {
    client.ask("logs", minutes.map_or_else(|| json!({}), |minutes| json!({ "minutes": minutes })))?;
    let mut text = String::new();
    loop {
        let reply = client.reply()?;
        if reply["type"] != "message" {
            return print(&text);
        }
        let message = serde_json::from_value::<Recorded>(reply).unwrap_or_default();
        _ = writeln!(text, "{message}");
    }
}

/// Prints what became of each certificate. One that can't be used is this command's error, too.
fn reload_certs(client: &mut Client) -> Result<(), Error> {
    let done = client.command("reload-certs", &json!({}))?;
    let mut faults = Vec::new();
    for certificate in done["certificates"].as_array().into_iter().flatten() {
        let text = certificate["text"].as_str().unwrap_or_default();
        match certificate["ok"] == true {
            true => print(&format!("{text}\n"))?,
            false => faults.push(Error::new(text)),
        }
    }
    Error::check(faults)
}

/// Prints each step as it comes. What has failed is this command's error, too.
fn wait(client: Client) -> Result<(), Error> {
    let begun = Instant::now();
    let mut unwritten = Ok(());
    let mut tell = |text: &str| {
        let line = format!("{:6.2} s  {text}\n", begun.elapsed().as_secs_f64());
        unwritten = std::mem::replace(&mut unwritten, Ok(())).and_then(|()| print(&line));
    };
    match client.wait(&mut tell)? {
        Outcome::Done(done) => {
            tell(done["text"].as_str().unwrap_or("done"));
            unwritten
        }
        Outcome::Failed { error, stderr } => {
            let mut lines: Vec<String> = error.lines().map(str::to_owned).collect();
            if !stderr.is_empty() {
                lines.push("the last lines of standard error:".to_owned());
                lines.extend(stderr.into_iter().map(|line| format!("  {line}")));
            }
            Err(Error::several(lines.into_iter().map(Error::new).collect()))
        }
    }
}
