//! Values that contradict each other, though each of them is valid.

use super::draft::Draft;
use super::env::server_variable;
use super::{Origin, Settings};
use crate::error::Error;
use crate::server::{Endpoint, ServerOptions};

/// The keys of a server's endpoints.
const LISTENING: &[&str] = &["listen", "port", "plain_listen"];

impl Draft<'_, '_> {
    /// The contradictions between servers, within a server, and between signals.
    pub(super) fn contradictions(&self) -> Vec<Error> {
        let mut faults = Vec::new();
        if self.servers.is_empty() {
            faults
                .push(Error::new("the application has no server: name one in `servers(…)` or `App::serve`"));
        }
        for (index, server) in self.servers.iter().enumerate() {
            let earlier = &self.servers[..index];
            faults.extend(same_name(earlier, &server.name));
            faults.extend(self.lacks(server));
            faults.extend(self.clash_within(server));
            faults.extend(earlier.iter().filter_map(|other| self.clash(other, server)));
            #[cfg(feature = "admin")]
            faults.extend(self.clash_with_admin(server));
        }
        faults.extend(self.signals_that_do_both());
        faults
    }

    fn lacks(&self, server: &ServerOptions) -> Vec<Error> {
        let ServerOptions { name, endpoints, http1, chosen, .. } = server;
        let mut faults = Vec::new();
        // An endpoint that can't be read has already been reported.
        if endpoints.is_empty() && !chosen.contains(&"listen") {
            faults.push(Error::new(format!(
                "server `{name}` listens nowhere: give it a `port` or an endpoint to `listen` on"
            )));
        }
        if !http1 && !server.has_http2() {
            let origins = self.origins(Some(name), &["http1", "http2"]);
            let message = match cfg!(feature = "http2") {
                true => format!("server `{name}` speaks neither HTTP/1.1 nor HTTP/2: switch one on"),
                false => {
                    format!("server `{name}` has no HTTP/1.1, and HTTP/2 needs gracehttp's feature `http2`")
                }
            };
            faults.push(set_by(&origins, &message));
        }
        #[cfg(feature = "tls")]
        faults.extend(self.half_pair(server));
        #[cfg(feature = "tls")]
        faults.extend(self.acme(server));
        #[cfg(feature = "tls")]
        faults.extend(self.response_of_no_file(server));
        #[cfg(feature = "tls")]
        faults.extend(self.plain_beside_tls(server));
        faults
    }

    /// What is wrong with the authority that is to issue the certificate.
    #[cfg(feature = "tls")]
    fn acme(&self, server: &ServerOptions) -> Option<Error> {
        let fault = server.tls.as_ref()?.authority()?.fault()?;
        let name = &server.name;
        Some(set_by(&self.origins(Some(name), fault.keys), &format!("server `{name}`: {}", fault.message)))
    }

    /// An OCSP response for a certificate that changes without the operator, and has no file to which one could belong.
    #[cfg(feature = "tls")]
    fn response_of_no_file(&self, server: &ServerOptions) -> Option<Error> {
        let tls = server.tls.as_ref()?;
        let is_of_no_file = tls.ocsp.is_some() && (tls.is_self_signed() || tls.authority().is_some());
        let message = format!(
            "server `{}` has `tls.ocsp`, which is for a certificate in `tls.cert`, and its certificate comes from no file: \
             remove the key",
            server.name
        );
        is_of_no_file.then(|| set_by(&self.origins(Some(&server.name), &["tls.ocsp"]), &message))
    }

    /// Endpoints in plain text beside TLS that is not there, or a redirect from endpoints that are not there.
    #[cfg(feature = "tls")]
    fn plain_beside_tls(&self, server: &ServerOptions) -> Option<Error> {
        let name = &server.name;
        if !server.is_tls() && !server.plain_endpoints.is_empty() {
            let message = format!(
                "server `{name}` has `plain_listen` and no `tls`, so all of its endpoints speak plain text: list them \
                 in `listen`, or give it a certificate"
            );
            return Some(set_by(&self.origins(Some(name), &["plain_listen", "tls"]), &message));
        }
        if server.redirect_to_https.is_some() && !server.has_plain() {
            let message = format!(
                "server `{name}` has `redirect_to_https` and speaks TLS on all of its endpoints: give it one for plain \
                 text, `plain_listen = \":80\"`"
            );
            let keys = ["redirect_to_https", "plain_listen", "tls"];
            return Some(set_by(&self.origins(Some(name), &keys), &message));
        }
        None
    }

    /// A certificate without a key, or the reverse.
    #[cfg(feature = "tls")]
    fn half_pair(&self, server: &ServerOptions) -> Option<Error> {
        let tls = server.tls.as_ref()?;
        let name = &server.name;
        if matches!(&tls.source, crate::server::TlsSource::Files(all) if all.is_empty()) {
            let set: Vec<_> =
                self.provenance.iter().filter(|entry| entry.server.as_ref() == Some(name)).collect();
            let of_tls = set.iter().find(|entry| entry.key.starts_with("tls."))?;
            let message = format!(
                "server `{name}` has `{}` and no certificate: set `tls.cert` and `tls.key`",
                of_tls.key
            );
            return Some(set_by(&[&of_tls.origin], &message));
        }
        let crate::server::CertificateFiles { cert, key } = tls.files_named()?;
        let (there, missing) = match (cert.as_os_str().is_empty(), key.as_os_str().is_empty()) {
            (true, _) => ("tls.key", "tls.cert"),
            (_, true) => ("tls.cert", "tls.key"),
            _ => return None,
        };
        let origins = self.origins(Some(name), &[there]);
        Some(set_by(&origins, &format!("server `{name}` has `{there}` and no `{missing}`: set both")))
    }

    /// The first two endpoints of one server that exclude each other.
    fn clash_within(&self, server: &ServerOptions) -> Option<Error> {
        let name = &server.name;
        let clash = |(index, endpoint): (usize, &Endpoint)| {
            let earlier =
                server.all_endpoints().take(index).find(|earlier| earlier.clashes_within(endpoint))?;
            Some(if earlier == endpoint {
                format!("server `{name}` is to listen on {endpoint} twice")
            } else {
                format!(
                    "server `{name}` can't listen on both {earlier} and {endpoint}: the one includes the other"
                )
            })
        };
        let message = server.all_endpoints().enumerate().find_map(clash)?;
        Some(set_by(&self.origins(Some(name), LISTENING), &message))
    }

    /// The first endpoints of two servers that exclude each other.
    fn clash(&self, one: &ServerOptions, other: &ServerOptions) -> Option<Error> {
        let mut pairs = one.all_endpoints().flat_map(|a| other.all_endpoints().map(move |b| (a, b)));
        let (a, b) = pairs.find(|(a, b)| a.clashes(b))?;
        let (one, other) = (&one.name, &other.name);
        let what = if a == b {
            format!("servers `{one}` and `{other}` are both to listen on {a}")
        } else {
            format!("server `{one}` is to listen on {a} and `{other}` on {b}, and the one includes the other")
        };
        let variable = server_variable(other, "PORT");
        let message = format!("{what}: move one of them with `port`, `listen` or {variable}");
        let mut origins = self.origins(Some(one), LISTENING);
        origins.extend(self.origins(Some(other), LISTENING));
        Some(set_by(&origins, &message))
    }

    /// An endpoint of a server that excludes the address for operators.
    #[cfg(feature = "admin")]
    fn clash_with_admin(&self, server: &ServerOptions) -> Option<Error> {
        let admin = self.settings.admin.as_ref()?;
        let endpoint = server.all_endpoints().find(|endpoint| endpoint.clashes(admin))?;
        let mut origins = self.origins(Some(&server.name), LISTENING);
        origins.extend(self.origins(None, &["admin"]));
        let message = format!(
            "server `{}` is to listen on {endpoint}, and so is `admin` on {admin}: give `admin` an endpoint of its own",
            server.name
        );
        Some(set_by(&origins, &message))
    }

    fn signals_that_do_both(&self) -> Vec<Error> {
        let Settings { restart_on, stop_on, .. } = &*self.settings;
        let origins = self.origins(None, &["restart_on", "stop_on"]);
        let both = restart_on.iter().filter(|signal| stop_on.contains(signal));
        both.map(|signal| set_by(&origins, &format!("{signal} is to restart and to stop: choose one")))
            .collect()
    }

    /// The lines and variables that have set one of these keys.
    fn origins(&self, server: Option<&str>, keys: &[&str]) -> Vec<&Origin> {
        let entries = self.provenance.iter().filter(|entry| entry.server.as_deref() == server);
        entries.filter(|entry| keys.contains(&entry.key)).map(|entry| &entry.origin).collect()
    }
}

fn same_name(earlier: &[&mut ServerOptions], name: &str) -> Option<Error> {
    let is_taken = earlier.iter().any(|server| server.name == name);
    is_taken.then(|| Error::new(format!("two servers are named `{name}`: give one of them another `name`")))
}

/// A fault, after the lines and variables that have set the values.
fn set_by(origins: &[&Origin], message: &str) -> Error {
    match origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ").as_str() {
        "" => Error::new(message),
        origins => Error::new(format!("{origins}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::config::draft::Place;
    use crate::config::keys::{PROCESS_KEYS, SERVER_KEYS};

    fn server(name: &str, endpoints: &[&str]) -> ServerOptions {
        let mut options = ServerOptions::new(name);
        options.endpoints = endpoints.iter().map(|text| text.parse().unwrap()).collect();
        options
    }

    /// The faults of these servers, with values that lines of `a.toml` have set.
    fn faults(servers: &mut [ServerOptions], lines: &[(Option<usize>, &str, &str)]) -> Vec<String> {
        let (mut settings, mut servers) = (Settings::default(), servers.iter_mut().collect::<Vec<_>>());
        let mut draft = Draft::new(&mut settings, &mut servers);
        for (index, (server, key, text)) in lines.iter().enumerate() {
            let of_process = || PROCESS_KEYS.iter().find(|known| known.name == *key).map(Place::Process);
            let place = match server {
                Some(server) => {
                    let known = SERVER_KEYS.iter().find(|known| known.name == *key);
                    known.map(|known| Place::Server(*server, known))
                }
                None => of_process(),
            };
            draft.set(place.unwrap(), text, Origin::Line(format!("a.toml:{}", index + 1))).unwrap();
        }
        draft.contradictions().iter().map(Error::to_string).collect()
    }

    #[test]
    fn endpoints_of_two_servers_exclude_each_other() {
        let two = |a: &str, b: &str| [server("web", &[a]), server("admin", &[b])];
        let move_one = "move one of them with `port`, `listen` or GRACEHTTP_SERVER__ADMIN__PORT";
        assert_eq!(
            faults(&mut two(":80", ":80"), &[]),
            [format!("servers `web` and `admin` are both to listen on :80: {move_one}")]
        );
        assert_eq!(
            faults(&mut two(":80", "127.0.0.1:81"), &[(Some(1), "port", "80")]),
            [format!(
                "a.toml:1: server `web` is to listen on :80 and `admin` on 127.0.0.1:80, and the one includes the \
                 other: {move_one}"
            )]
        );
        let both = faults(&mut two(":80", ":81"), &[(Some(0), "port", "82"), (Some(1), "listen", "[::]:82")]);
        assert!(both[0].starts_with("a.toml:1 and a.toml:2: server `web` is to listen on :82"), "{both:?}");
        assert!(faults(&mut two("0.0.0.0:80", "[::]:80"), &[]).is_empty());
        assert!(faults(&mut two(":0", ":0"), &[]).is_empty());
    }

    #[cfg(feature = "admin")]
    #[test]
    fn the_address_for_operators_is_no_endpoint_of_a_server() {
        let lines = |port| [(None, "admin", "127.0.0.1:81"), (Some(0), "port", port)];
        assert_eq!(
            faults(&mut [server("web", &[":80"])], &lines("81")),
            [
                "a.toml:2 and a.toml:1: server `web` is to listen on :81, and so is `admin` on 127.0.0.1:81: give `admin` an \
              endpoint of its own"
            ]
        );
        assert!(faults(&mut [server("web", &[":80"])], &lines("82")).is_empty());
    }

    #[cfg(feature = "acme")]
    #[test]
    fn a_response_for_a_certificate_of_no_file_is_a_fault() {
        let lines = [
            (Some(0), "tls.acme.domains", "a.test"),
            (Some(0), "tls.acme.cache", "cache"),
            (Some(0), "tls.ocsp", "a.der"),
        ];
        let found = faults(&mut [server("web", &[":443"])], &lines);
        assert!(found[0].starts_with("a.toml:3: server `web` has `tls.ocsp`"), "{found:?}");
        assert!(faults(&mut [server("web", &[":443"])], &lines[..2]).is_empty());
    }

    #[test]
    fn endpoints_of_one_server_exclude_each_other() {
        let of = |endpoints: &[&str], port| faults(&mut [server("web", endpoints)], port);
        assert_eq!(
            of(&[":0", "127.0.0.1:0"], &[(Some(0), "port", "80")]),
            ["a.toml:1: server `web` can't listen on both :80 and 127.0.0.1:80: the one includes the other"]
        );
        assert_eq!(of(&[":80", ":80"], &[]), ["server `web` is to listen on :80 twice"]);
        assert_eq!(of(&[":0", ":0"], &[]), ["server `web` is to listen on :0 twice"]);
        assert_eq!(of(&["unix:a", "unix:a"], &[]), ["server `web` is to listen on unix:a twice"]);
    }

    #[test]
    fn faults_of_protocols_and_signals_name_the_lines_that_set_them() {
        let mut web = [server("web", &[":80"])];
        web[0].http1 = false;
        #[cfg(feature = "http2")]
        {
            let message = "server `web` speaks neither HTTP/1.1 nor HTTP/2: switch one on";
            assert_eq!(
                faults(&mut web.clone(), &[(Some(0), "http2", "false")]),
                [format!("a.toml:1: {message}")]
            );
            web[0].http2 = false;
            assert_eq!(faults(&mut web, &[]), [message]);
        }
        #[cfg(not(feature = "http2"))]
        assert_eq!(
            faults(&mut web, &[]),
            ["server `web` has no HTTP/1.1, and HTTP/2 needs gracehttp's feature `http2`"]
        );
        assert_eq!(
            faults(&mut [server("web", &[":80"])], &[(None, "stop_on", "TERM, HUP")]),
            ["a.toml:1: SIGHUP is to restart and to stop: choose one"]
        );
    }

    #[test]
    fn server_names_are_unique_and_there_is_a_server() {
        let mut twins = [server("web", &[":80"]), server("web", &[":81"])];
        assert_eq!(faults(&mut twins, &[]), ["two servers are named `web`: give one of them another `name`"]);
        let none = faults(&mut [], &[]);
        assert!(none[0].starts_with("the application has no server"), "{none:?}");
        let nowhere = faults(&mut [server("web", &[])], &[]);
        assert!(nowhere[0].starts_with("server `web` listens nowhere"), "{nowhere:?}");
    }
}
