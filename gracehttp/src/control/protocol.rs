//! The protocol of the control socket: one JSON document a line, in both directions.
//!
//! It is tolerant. A reader ignores what it does not know in a reply, and a process says in words which command or field
//! it does not know.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The version that this release speaks.
pub(crate) const VERSION: u64 = 1;

/// The longest request.
pub(crate) const MAX_REQUEST: usize = 4 << 10;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Status,
    Restart {
        wait: bool,
    },
    /// A successor is started up to ready, and then discarded.
    Rehearse,
    /// All certificates are read again.
    ReloadCerts,
    Stop {
        wait: bool,
    },
    /// A stop that goes on accepting for a while.
    Drain {
        wait: bool,
    },
    /// Opens the log files anew by their names.
    ReopenLogs,
    /// The messages of the last minutes; without a number all that are kept.
    Logs {
        minutes: Option<u64>,
    },
    /// The restart of this generation, whichever process tells of it.
    Follow {
        generation: u64,
    },
}

const COMMANDS: [&str; 9] =
    ["status", "restart", "rehearse", "reload-certs", "stop", "drain", "reopen-logs", "logs", "follow"];

/// All fields that a request can have.
#[derive(Deserialize)]
struct Fields {
    version: Option<u64>,
    command: Option<String>,
    wait: Option<bool>,
    minutes: Option<u64>,
    generation: Option<u64>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

impl Command {
    /// Whether only the process that serves can do it.
    pub(crate) fn changes_service(&self) -> bool {
        match self {
            Self::Restart { .. }
            | Self::Rehearse
            | Self::ReloadCerts
            | Self::Stop { .. }
            | Self::Drain { .. }
            | Self::ReopenLogs => true,
            Self::Status | Self::Logs { .. } | Self::Follow { .. } => false,
        }
    }

    /// Reads a request. An error is a sentence for the client.
    pub(crate) fn read(line: &[u8]) -> Result<Self, String> {
        let Fields { version, command, wait, minutes, generation, unknown } = serde_json::from_slice(line)
            .map_err(|error| {
                format!(
                    "the request is not understood: {error}; one is {{\"version\":1,\"command\":\"status\"}}"
                )
            })?;
        if let Some(version) = version.filter(|version| *version != VERSION) {
            return Err(format!("this process speaks version {VERSION}, not {version}"));
        }
        let command = command.ok_or_else(|| format!("the field `command` is missing: {}", known()))?;
        let given =
            [("wait", wait.is_some()), ("minutes", minutes.is_some()), ("generation", generation.is_some())];
        let fields: &[&str] = match command.as_str() {
            "restart" | "stop" | "drain" => &["wait"],
            "logs" => &["minutes"],
            "follow" => &["generation"],
            _ => &[],
        };
        let wait = wait.unwrap_or(false);
        let read = match (command.as_str(), generation) {
            ("status", _) => Self::Status,
            ("restart", _) => Self::Restart { wait },
            ("rehearse", _) => Self::Rehearse,
            ("reload-certs", _) => Self::ReloadCerts,
            ("stop", _) => Self::Stop { wait },
            ("drain", _) => Self::Drain { wait },
            ("reopen-logs", _) => Self::ReopenLogs,
            ("logs", _) => Self::Logs { minutes },
            ("follow", Some(generation)) => Self::Follow { generation },
            ("follow", None) => {
                return Err("the field `generation` is missing: follow which restart?".to_owned());
            }
            _ => return Err(format!("this process does not know the command `{command}`: {}", known())),
        };
        let given = given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name);
        let strange = given.chain(unknown.keys().map(String::as_str)).find(|name| !fields.contains(name));
        match strange {
            Some(name) => Err(format!("the command `{command}` does not take the field `{name}`")),
            None => Ok(read),
        }
    }
}

fn known() -> String {
    format!("known are {}", COMMANDS.join(", "))
}

/// A reply of this type, with these fields.
pub(crate) fn reply(kind: &str, fields: Value) -> Value {
    let mut reply = json!({ "version": VERSION, "type": kind });
    if let (Some(reply), Value::Object(fields)) = (reply.as_object_mut(), fields) {
        reply.extend(fields);
    }
    reply
}

/// The reply of a process that was replaced. Its client has connected before the successor had the socket.
pub(crate) fn replaced() -> Value {
    reply(
        "error",
        json!({ "error": "another process serves in place of this one: ask again", "ask_again": true }),
    )
}

/// What a client is told whose request can't be met.
pub(crate) fn error(reason: &str) -> Value {
    reply("error", json!({ "error": reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        Command::read(line.as_bytes())
    }

    #[test]
    fn requests_are_read() {
        assert_eq!(read(r#"{"version":1,"command":"status"}"#), Ok(Command::Status));
        assert_eq!(read(r#"{"command":"restart","wait":true}"#), Ok(Command::Restart { wait: true }));
        assert_eq!(read(r#"{"command":"logs"}"#), Ok(Command::Logs { minutes: None }));
        assert_eq!(read(r#"{"command":"follow","generation":3}"#), Ok(Command::Follow { generation: 3 }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, told) in [
            ("nonsense", "the request is not understood"),
            ("[]", "the request is not understood"),
            (r#"{"version":2,"command":"status"}"#, "this process speaks version 1, not 2"),
            (r#"{"version":1}"#, "the field `command` is missing: known are status, restart"),
            (r#"{"command":"reboot"}"#, "this process does not know the command `reboot`: known are"),
            (r#"{"command":"status","wait":true}"#, "the command `status` does not take the field `wait`"),
            (r#"{"command":"stop","when":1}"#, "the command `stop` does not take the field `when`"),
            (r#"{"command":"follow"}"#, "the field `generation` is missing"),
        ] {
            let reason = read(line).unwrap_err();
            assert!(reason.starts_with(told), "{line}: {reason}");
        }
    }
}
