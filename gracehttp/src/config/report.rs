//! The effective configuration as a file that would set the same, each value with its origin.

use std::fmt::Write as _;

use super::keys::{Form, Key, PROCESS_KEYS, SERVER_KEYS, excludes};
use super::{Provenance, Settings};
use crate::server::ServerOptions;
#[cfg(feature = "tls")]
use crate::server::{Acme, Tls};

/// TOML, with the origin of every value in a comment.
pub(crate) fn toml(settings: &Settings, servers: &[&ServerOptions], provenance: &[Provenance]) -> String {
    let mut lines = table(PROCESS_KEYS, settings, &settings.chosen, &of_server(provenance, None));
    for server in servers {
        lines.push((format!("\n[server.{}]", bare_or_quoted(&server.name)), String::new()));
        lines.extend(table(SERVER_KEYS, server, &chosen(server), &of_server(provenance, Some(&server.name))));
    }
    aligned(&lines)
}

/// The keys that the attribute has set. It sets all those of TLS at once.
fn chosen(server: &ServerOptions) -> Vec<&'static str> {
    let chosen = server.chosen.clone();
    #[cfg(feature = "tls")]
    let chosen = match &server.tls {
        Some(tls) if chosen.contains(&"tls") => [chosen, keys_of(tls)].concat(),
        _ => chosen,
    };
    chosen
}

/// The keys of TLS whose values are not those of a server that says no more than where its certificate is.
#[cfg(feature = "tls")]
fn keys_of(tls: &Tls) -> Vec<&'static str> {
    let bare = match tls.authority() {
        Some(_) => Tls::acme(Acme::default()),
        None => Tls::files("", ""),
    };
    let with = |tls| {
        let mut server = ServerOptions::new("");
        server.tls = Some(tls);
        server
    };
    let (said, bare) = (with(tls.clone()), with(bare));
    let of_tls = SERVER_KEYS.iter().filter(|key| key.name.starts_with("tls."));
    of_tls.filter(|key| (key.get)(&said) != (key.get)(&bare)).map(|key| key.name).collect()
}

fn of_server<'p>(provenance: &'p [Provenance], server: Option<&str>) -> Vec<&'p Provenance> {
    provenance.iter().filter(|entry| entry.server.as_deref() == server).collect()
}

/// A line and its comment for each key that has a value. The attribute has set the `chosen` keys.
fn table<T>(
    keys: &[Key<T>],
    target: &T,
    chosen: &[&str],
    provenance: &[&Provenance],
) -> Vec<(String, String)> {
    let line = |key: &Key<T>| {
        let value = (key.get)(target)?;
        // A port became a part of the endpoints.
        let set = |entry: &&&Provenance| entry.key == key.name || excludes(key.name, entry.key);
        let comment = match provenance.iter().rev().find(set) {
            Some(Provenance { key: set, origin, .. }) if *set == key.name => origin.to_string(),
            Some(Provenance { key: set, origin, .. }) => format!("{set}: {origin}"),
            None if chosen.contains(&key.name) => "attribute".to_owned(),
            None => "default".to_owned(),
        };
        Some((format!("{} = {}", key.name, written(key.form, &value)), comment))
    };
    keys.iter().filter_map(line).collect()
}

fn written(form: Form, value: &str) -> String {
    match form {
        Form::Bare => value.to_owned(),
        Form::Size if value.bytes().all(|byte| byte.is_ascii_digit()) => value.to_owned(),
        Form::Size | Form::Text => quoted(value),
        Form::List => {
            let elements = value.split(", ").filter(|element| !element.is_empty()).map(quoted);
            format!("[{}]", elements.collect::<Vec<_>>().join(", "))
        }
        Form::Pairs => {
            let pairs = value.split(", ").filter_map(|pair| pair.split_once(':'));
            let pairs = pairs.map(|(one, other)| format!("[{}, {}]", quoted(one), quoted(other)));
            format!("[{}]", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { quoted(key) }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => _ = write!(quoted, "\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Aligns the comments.
fn aligned(lines: &[(String, String)]) -> String {
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (line, comment) in lines {
        match comment.as_str() {
            "" => _ = writeln!(text, "{line}"),
            comment => _ = writeln!(text, "{line:width$}  # {comment}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;
    use crate::server::Server;

    #[test]
    fn every_value_has_its_origin() {
        let settings = Settings { chosen: vec!["lame_duck", "restart_on"], ..Settings::default() };
        let ping = Server::builder("a b").listen(":80").listen("unix:/run/a\"b.sock").max_conns(100_000);
        let Server { options: ping, .. }: Server<()> = ping.handler(async || ());
        let entry = |server: Option<&str>, key, at: &str| Provenance {
            server: server.map(String::from),
            key,
            value: String::new(),
            origin: Origin::Line(at.into()),
        };
        let provenance = [entry(Some("a b"), "port", "a.toml:3"), entry(None, "standby", "a.toml:1")];
        let text = toml(&settings, &[&ping], &provenance);
        let line = |start: &str| {
            let found = text.lines().find(|line| line.starts_with(start));
            found
                .unwrap_or_else(|| panic!("no {start} in\n{text}"))
                .split("  ")
                .filter(|part| !part.is_empty())
        };
        let parts = |start: &str| line(start).map(str::trim).collect::<Vec<_>>();
        assert_eq!(parts("drain_timeout"), [r#"drain_timeout = "10s""#, "# default"]);
        assert_eq!(parts("standby"), [r#"standby = "2s""#, "# a.toml:1"]);
        assert_eq!(parts("lame_duck"), [r#"lame_duck = "0s""#, "# attribute"]);
        assert_eq!(parts("restart_on"), [r#"restart_on = ["HUP", "USR1", "USR2"]"#, "# attribute"]);
        assert_eq!(parts("[server"), [r#"[server."a b"]"#]);
        assert_eq!(parts("listen"), [r#"listen = [":80", "unix:/run/a\"b.sock"]"#, "# port: a.toml:3"]);
        assert_eq!(parts("max_conns"), ["max_conns = 100000", "# attribute"]);
        assert_eq!(parts("max_body"), [r#"max_body = "2MiB""#, "# default"]);
        assert!(!text.contains("worker_threads"), "nothing is set, and nothing says so");
        text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}
