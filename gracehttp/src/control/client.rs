//! The other end of the control socket: the commands of the same program.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::protocol::VERSION;
use crate::error::Error;
use crate::lifecycle::show;

/// How often a command asks again while one process takes the place of another, and after which pause.
const MOST_TRIES: usize = 20;
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// A process that serves answers at once. One that was stopped, or that hangs, never does.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A process that serves, as its commands see it.
#[derive(Debug)]
pub(crate) struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// The end of what a client has waited for.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With what the process says about it.
    Done(Value),
    /// Why it has failed, with the last lines that the successor has written to standard error.
    Failed { error: String, stderr: Vec<String> },
}

impl Client {
    pub(crate) fn connect(path: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).map_err(|error| unreachable(path, error))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(|error| unreachable(path, error))?;
        Ok(Self::over(stream, path.to_owned()))
    }

    /// Speaks over a stream that is connected to this path.
    pub(super) fn over(stream: UnixStream, path: PathBuf) -> Self {
        Self { path, stream: BufReader::new(stream) }
    }

    /// Sends a command with its fields.
    pub(crate) fn ask(&mut self, command: &str, mut request: Value) -> Result<(), Error> {
        request["version"] = VERSION.into();
        request["command"] = command.into();
        let sent = self.stream.get_ref().write_all(format!("{request}\n").as_bytes());
        sent.map_err(|error| self.broken(error))
    }

    /// Asks the process that serves to do something, and returns its first reply.
    pub(crate) fn command(&mut self, command: &str, request: &Value) -> Result<Value, Error> {
        let mut tries = 0;
        loop {
            self.ask(command, request.clone())?;
            let reply = self.next()?;
            if reply["ask_again"] != true || tries == MOST_TRIES {
                return accepted(reply);
            }
            // Another process has taken its place just now.
            tries += 1;
            std::thread::sleep(ASK_AGAIN);
            *self = Self::connect(&self.path)?;
        }
    }

    /// The next reply. An error of the process is one here.
    pub(crate) fn reply(&mut self) -> Result<Value, Error> {
        accepted(self.next()?)
    }

    fn next(&mut self) -> Result<Value, Error> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => return Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            // It answers. From now on only its work takes time.
            Ok(_) => self.stream.get_ref().set_read_timeout(None).map_err(|error| self.broken(error))?,
            Err(error) => return Err(self.broken(error)),
        }
        serde_json::from_str(&line).map_err(|error| {
            Error::caused_by(
                format!("the process at {} does not speak the protocol: {error}", self.shown()),
                error,
            )
        })
    }

    /// Tells each step until the last one.
    pub(crate) fn wait(mut self, tell: &mut dyn FnMut(&str)) -> Result<Outcome, Error> {
        loop {
            let reply = self.reply()?;
            match (reply["type"].as_str(), reply["event"].as_str()) {
                (Some("done"), _) => return Ok(outcome(reply)),
                (Some("event"), event) => {
                    tell(&text_of(&reply, "text"));
                    if event == Some("passed_on") {
                        // The next process has the socket, too.
                        let generation = reply["generation"].clone();
                        self = Self::connect(&self.path)?;
                        self.ask("follow", json!({ "generation": generation }))?;
                    }
                }
                _ => {}
            }
        }
    }

    fn broken(&self, error: io::Error) -> Error {
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the process has ended before it said how that went".to_owned(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
                "no process has answered within {}: the one that serves was stopped (SIGSTOP) or hangs, or the next one \
                 still starts after a crash; it gets the command once it answers",
                show(ANSWER_WITHIN)
            ),
            _ => format!("the conversation with the process broke: {error}"),
        };
        Error::caused_by(format!("{what} (control socket {})", self.shown()), error)
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// A reply that is no error.
fn accepted(reply: Value) -> Result<Value, Error> {
    match reply["type"].as_str() {
        Some("error") => Err(Error::new(text_of(&reply, "error"))),
        _ => Ok(reply),
    }
}

fn outcome(done: Value) -> Outcome {
    if done["ok"] == true {
        return Outcome::Done(done);
    }
    let stderr = done["stderr"].as_array().into_iter().flatten();
    Outcome::Failed {
        error: text_of(&done, "error"),
        stderr: stderr.filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

/// A text of a reply; one that another release does not send is empty.
fn text_of(reply: &Value, field: &str) -> String {
    reply[field].as_str().unwrap_or_default().to_owned()
}

fn unreachable(path: &Path, error: io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket: the program does not run, or it has its socket elsewhere (`control`)"
                .to_owned()
        }
        io::ErrorKind::ConnectionRefused => "no process has it any more: the program does not run".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied: only the user that runs the process, and root, may connect".to_owned()
        }
        _ => error.to_string(),
    };
    // A relative path leads elsewhere from another directory.
    let absolute = std::path::absolute(path).ok().filter(|_| path.is_relative());
    let absolute = absolute.map_or_else(String::new, |path| format!(" (as {})", path.display()));
    Error::caused_by(
        format!("the control socket {}{absolute} can't be reached: {reason}", path.display()),
        error,
    )
}
