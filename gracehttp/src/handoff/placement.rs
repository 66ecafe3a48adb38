//! Which server of this process serves a connection that comes from the predecessor.
//!
//! A connection follows the listener that accepted it: its client talks to the server that listens there now, even if
//! that server has another name. If the listener is gone, the connection stays with its server: the one of the same
//! name, or the one that has another of its listeners. In either case it has to be a server for its kind: over TLS, or in
//! plain text. If a server requires client certificates, a connection over TLS moves to it only if its client has shown one, so
//! that no other client gets in this way.

use std::collections::HashMap;

use crate::handoff::wire::{ListenerV1, ListenerV2, ServerCount};
use crate::socket::ListenerNumber;

/// A listener that the predecessor offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PredecessorListener {
    pub(crate) server: String,
    pub(crate) endpoint: String,
    /// Whether its connections speak TLS; a predecessor of version 1 does not say.
    pub(crate) secure: Option<bool>,
}

impl From<ListenerV1> for PredecessorListener {
    fn from(ListenerV1 { server, endpoint }: ListenerV1) -> Self {
        Self { server, endpoint, secure: None }
    }
}

impl From<ListenerV2> for PredecessorListener {
    fn from(ListenerV2 { server, endpoint, secure }: ListenerV2) -> Self {
        Self { server, endpoint, secure: Some(secure) }
    }
}

/// A server of this process.
#[derive(Debug)]
pub(crate) struct LocalServer<'a> {
    pub(crate) name: &'a str,
    /// It serves connections over TLS.
    pub(crate) secure: bool,
    /// It serves connections in plain text.
    pub(crate) plain: bool,
    /// All its clients over TLS have to show a certificate.
    pub(crate) requires_client_cert: bool,
    pub(crate) http1: bool,
    /// Its listeners, each with its index among those that the predecessor offers, if it was adopted.
    pub(crate) listeners: Vec<(ListenerNumber, Option<usize>)>,
}

impl LocalServer<'_> {
    /// Whether connections of a kind can go on here. A plain-text connection must not reach a server that relies on TLS and
    /// on client certificates.
    fn takes(&self, is_secure: bool) -> bool {
        if is_secure { self.secure } else { self.plain && self.http1 }
    }

    /// Whether those of a listener can.
    fn takes_from(&self, listener: &PredecessorListener) -> bool {
        listener.secure.is_none_or(|is_secure| self.takes(is_secure))
    }
}

/// The kind of a connection, as far as it decides which server can take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Over TLS.
    Secure,
    /// Over TLS, by a client that has shown a certificate.
    WithClientCert,
}

impl Kind {
    pub(super) fn of(is_secure: bool, has_client_cert: bool) -> Self {
        match (is_secure, has_client_cert) {
            (false, _) => Self::Plain,
            (true, false) => Self::Secure,
            (true, true) => Self::WithClientCert,
        }
    }
}

/// Where a connection belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The index of a server of this process.
    pub(super) server: usize,
    /// The listener of this process that corresponds to the one that accepted the connection.
    pub(super) listener: Option<ListenerNumber>,
}

/// Where the connections of a server belong whose listener does not tell.
#[derive(Clone, Copy, Debug, Default)]
struct Homes {
    secure: Option<usize>,
    plain: Option<usize>,
}

impl Homes {
    fn of(&self, is_secure: bool) -> Option<usize> {
        if is_secure { self.secure } else { self.plain }
    }

    /// The server against whose limit all of them count.
    fn any(&self) -> Option<usize> {
        self.secure.or(self.plain)
    }
}

/// The places of all connections of the predecessor.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    /// By the index of the predecessor's listener, each with the kinds of connections that its server takes: one that the
    /// predecessor got from a predecessor of its own may be of another kind than its listener is now.
    by_listener: Vec<Option<(Place, Homes)>>,
    /// By the name of the predecessor's server.
    by_server: HashMap<String, Homes>,
    /// Those of these servers of which a connection over TLS comes only if its client has shown a certificate.
    with_client_certs: Vec<String>,
    /// By the index of a server of this process: whether a connection over TLS needs a client certificate to reach it.
    requires_client_cert: Vec<bool>,
}

impl Placement {
    pub(crate) fn new(offered: &[PredecessorListener], servers: &[LocalServer<'_>]) -> Self {
        let adopted: Vec<Option<Place>> = offered
            .iter()
            .enumerate()
            .map(|(index, listener)| adopted_by(servers, index, listener))
            .collect();
        let mut by_server = HashMap::new();
        let mut with_client_certs = Vec::new();
        for PredecessorListener { server, .. } in offered {
            let of_server =
                || offered.iter().zip(&adopted).filter(|(listener, _)| listener.server == *server);
            let home = |is_secure: bool| {
                let same_name =
                    servers.iter().position(|local| local.name == server && local.takes(is_secure));
                let adopting = || {
                    of_server().find_map(|(_, place)| {
                        place.map(|place| place.server).filter(|index| servers[*index].takes(is_secure))
                    })
                };
                same_name.or_else(adopting)
            };
            let homes = Homes { secure: home(true), plain: home(false) };
            // The predecessor sends all connections of a server that is named, or none. It says a proper goodbye to those
            // that stay; here one without a place could only be cut off.
            let takes_all = of_server().all(|(listener, _)| match listener.secure {
                Some(is_secure) => homes.of(is_secure).is_some(),
                None => homes.any().is_some(),
            });
            let is_closed =
                |server: Option<usize>| server.is_some_and(|index| servers[index].requires_client_cert);
            let leads_to_closed = of_server().any(|(listener, place)| {
                listener.secure != Some(false) && is_closed(place.map(|place| place.server))
            });
            if leads_to_closed || is_closed(homes.secure) {
                with_client_certs.push(server.clone());
            }
            if takes_all {
                by_server.insert(server.clone(), homes);
            }
        }
        let kinds = |place: Place| {
            let takes = |is_secure| servers[place.server].takes(is_secure).then_some(place.server);
            (place, Homes { secure: takes(true), plain: takes(false) })
        };
        Self {
            by_listener: adopted.into_iter().map(|place| place.map(kinds)).collect(),
            by_server,
            with_client_certs,
            requires_client_cert: servers.iter().map(|server| server.requires_client_cert).collect(),
        }
    }

    /// The servers of the predecessor whose connections come here.
    pub(crate) fn servers(&self) -> Vec<String> {
        let mut servers: Vec<String> = self.by_server.keys().cloned().collect();
        servers.sort_unstable();
        servers
    }

    /// Those of these servers of which a connection over TLS comes only if its client has shown a certificate.
    pub(crate) fn with_client_certs(&self) -> Vec<String> {
        self.with_client_certs.clone()
    }

    /// The servers whose connections come here whatever their clients have shown: a predecessor before version 8 can't tell
    /// them apart.
    pub(super) fn servers_of_any_client(&self) -> Vec<String> {
        let mut servers = self.servers();
        servers.retain(|server| !self.with_client_certs.contains(server));
        servers
    }

    /// Where a connection of this kind belongs that the predecessor's server accepted from this listener.
    pub(super) fn of(&self, server: &str, listener: Option<ListenerNumber>, kind: Kind) -> Option<Place> {
        let is_secure = kind != Kind::Plain;
        let index = listener.map(|number| usize::from(number.get()) - 1);
        let by_listener = index.and_then(|index| *self.by_listener.get(index)?);
        let by_listener =
            by_listener.filter(|(_, kinds)| kinds.of(is_secure).is_some()).map(|(place, _)| place);
        let place = by_listener.or_else(|| {
            let server = self.by_server.get(server)?.of(is_secure)?;
            Some(Place { server, listener: None })
        });
        place.filter(|place| kind != Kind::Secure || !self.requires_client_cert[place.server])
    }

    /// The index of our server that corresponds to this server of the predecessor.
    pub(super) fn server(&self, name: &str) -> Option<usize> {
        self.by_server.get(name)?.any()
    }

    /// How many of these connections count against the limit of our server with this index.
    pub(super) fn count(&self, server: usize, held: &[ServerCount]) -> usize {
        let ours = held.iter().filter(|count| self.server(&count.server) == Some(server));
        let total = ours.fold(0_u64, |sum, count| sum.saturating_add(count.count));
        usize::try_from(total).unwrap_or(usize::MAX)
    }
}

/// The server that has adopted the predecessor's listener with this index, if it can serve its connections.
fn adopted_by(servers: &[LocalServer<'_>], index: usize, listener: &PredecessorListener) -> Option<Place> {
    let (server, number) = servers.iter().enumerate().find_map(|(server, local)| {
        let (number, _) = local.listeners.iter().find(|(_, adopted)| *adopted == Some(index))?;
        Some((server, *number))
    })?;
    servers[server].takes_from(listener).then_some(Place { server, listener: Some(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(server: &str, secure: bool) -> PredecessorListener {
        PredecessorListener { server: server.to_owned(), endpoint: ":1".to_owned(), secure: Some(secure) }
    }

    fn number(number: u16) -> ListenerNumber {
        ListenerNumber::new(number).unwrap()
    }

    /// With listeners numbered from `first` on, which were adopted from these indices.
    fn server<'a>(name: &'a str, secure: bool, first: u16, indices: &[Option<usize>]) -> LocalServer<'a> {
        let listeners = (first..).zip(indices).map(|(listener, index)| (number(listener), *index)).collect();
        LocalServer { name, secure, plain: !secure, requires_client_cert: false, http1: true, listeners }
    }

    fn place(server: usize, listener: Option<u16>) -> Place {
        Place { server, listener: listener.map(number) }
    }

    fn counts(counts: &[(&str, u64)]) -> Vec<ServerCount> {
        counts
            .iter()
            .map(|(server, count)| ServerCount { server: (*server).to_owned(), count: *count })
            .collect()
    }

    #[test]
    fn a_renamed_server_is_known_by_its_listener() {
        let placement = Placement::new(&[listener("web", false)], &[server("site", false, 1, &[Some(0)])]);
        assert_eq!(placement.servers(), ["web"]);
        assert_eq!(placement.of("web", Some(number(1)), Kind::Plain), Some(place(0, Some(1))));
        assert_eq!(
            placement.of("web", None, Kind::Plain),
            Some(place(0, None)),
            "one that an earlier generation accepted"
        );
        assert_eq!(placement.count(0, &counts(&[("web", 3), ("gone", 4)])), 3);
    }

    #[test]
    fn two_servers_that_change_places_change_their_connections_too() {
        let servers = [server("a", false, 1, &[Some(1)]), server("b", false, 2, &[Some(0)])];
        let placement = Placement::new(&[listener("a", false), listener("b", false)], &servers);
        assert_eq!(placement.of("a", Some(number(1)), Kind::Plain), Some(place(1, Some(2))));
        assert_eq!(placement.of("b", Some(number(2)), Kind::Plain), Some(place(0, Some(1))));
    }

    #[test]
    fn a_connection_of_a_removed_endpoint_stays_with_its_server() {
        let offers = [listener("web", false), listener("web", false)];
        let same_name = Placement::new(&offers, &[server("web", false, 1, &[Some(0)])]);
        assert_eq!(same_name.of("web", Some(number(2)), Kind::Plain), Some(place(0, None)));
        let renamed = Placement::new(&offers, &[server("site", false, 1, &[Some(1)])]);
        assert_eq!(renamed.of("web", Some(number(1)), Kind::Plain), Some(place(0, None)));
        let moved = Placement::new(&offers, &[server("web", false, 1, &[None])]);
        assert_eq!(moved.of("web", Some(number(1)), Kind::Plain), Some(place(0, None)), "to another port");
    }

    #[test]
    fn a_plain_text_connection_does_not_reach_a_server_with_tls() {
        let placement = Placement::new(&[listener("web", false)], &[server("web", true, 1, &[Some(0)])]);
        assert!(placement.servers().is_empty());
        assert_eq!(placement.of("web", Some(number(1)), Kind::Plain), None);
        let http2_only = LocalServer { http1: false, ..server("web", false, 1, &[Some(0)]) };
        assert!(Placement::new(&[listener("web", false)], &[http2_only]).servers().is_empty());
        let secure = Placement::new(&[listener("web", true)], &[server("web", true, 1, &[Some(0)])]);
        assert_eq!(secure.servers(), ["web"]);
    }

    /// What came before the server required certificates has none.
    #[test]
    fn a_connection_without_a_client_certificate_does_not_reach_a_server_that_requires_one() {
        let strict = |name| LocalServer { requires_client_cert: true, ..server(name, true, 1, &[Some(0)]) };
        for name in ["web", "renamed"] {
            let placement = Placement::new(&[listener("web", true)], &[strict(name)]);
            assert_eq!(placement.servers(), ["web"]);
            assert_eq!(placement.with_client_certs(), ["web"]);
            assert!(placement.servers_of_any_client().is_empty());
            for listener in [Some(number(1)), None] {
                assert_eq!(placement.of("web", listener, Kind::Secure), None);
                assert!(placement.of("web", listener, Kind::WithClientCert).is_some());
            }
            assert_eq!(placement.count(0, &counts(&[("web", 3)])), 3, "they count as long as they stay");
        }
    }

    #[test]
    fn a_server_with_both_kinds_of_endpoints_takes_both_kinds_of_connections() {
        let offers = [listener("web", false), listener("old", true)];
        let both = LocalServer { plain: true, ..server("web", true, 1, &[Some(0), Some(1)]) };
        let placement = Placement::new(&offers, &[both]);
        assert_eq!(placement.servers(), ["old", "web"]);
        assert_eq!(placement.of("web", Some(number(1)), Kind::Plain), Some(place(0, Some(1))));
        assert_eq!(placement.of("old", Some(number(2)), Kind::Secure), Some(place(0, Some(2))));
    }

    #[test]
    fn a_server_whose_connections_have_a_place_only_in_part_keeps_all_of_them() {
        let offers = [listener("web", true), listener("web", false)];
        for secure in [true, false] {
            let one_kind = server("web", secure, 1, &[Some(0), Some(1)]);
            assert!(Placement::new(&offers, &[one_kind]).servers().is_empty());
        }
        let apart = [server("web", true, 1, &[Some(0)]), server("redirect", false, 2, &[Some(1)])];
        let placement = Placement::new(&offers, &apart);
        assert_eq!(placement.servers(), ["web"]);
        assert_eq!(placement.of("web", Some(number(2)), Kind::Plain), Some(place(1, Some(2))));
        // Of an earlier generation, in which the listener was of the other kind, or of which it is not known.
        assert_eq!(placement.of("web", Some(number(2)), Kind::Secure), Some(place(0, None)));
        assert_eq!(placement.of("web", None, Kind::Plain), Some(place(1, None)));
    }

    #[test]
    fn permits_of_two_servers_that_become_one_are_added_up() {
        let offers = [listener("a", false), listener("b", false)];
        let placement = Placement::new(&offers, &[server("all", false, 1, &[Some(0), Some(1)])]);
        assert_eq!(placement.count(0, &counts(&[("a", 3), ("b", 4)])), 7);
        assert_eq!(placement.count(0, &counts(&[("a", u64::MAX), ("b", 4)])), usize::MAX);
    }
}
