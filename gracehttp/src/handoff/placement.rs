//! Which server of this process serves a connection that comes from the predecessor.
//!
//! A connection follows the listener that accepted it: its client talks to the server that listens there now, even if
//! that server has another name. If the listener is gone, the connection stays with its server: the one of the same
//! name, or the one that has another of its listeners.

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
    pub(crate) http1: bool,
    /// Its listeners, each with its index among those that the predecessor offers, if it was adopted.
    pub(crate) listeners: Vec<(ListenerNumber, Option<usize>)>,
}

impl LocalServer<'_> {
    /// Whether connections of a listener can go on here. A plain-text connection must not reach a server that relies
    /// on TLS and on client certificates.
    fn takes(&self, listener: &PredecessorListener) -> bool {
        match listener.secure {
            Some(true) => self.secure,
            Some(false) => self.plain && self.http1,
            None => true,
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

/// The places of all connections of the predecessor.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    /// By the index of the predecessor's listener.
    by_listener: Vec<Option<Place>>,
    /// By the name of the predecessor's server.
    by_server: HashMap<String, usize>,
}

impl Placement {
    pub(crate) fn new(offered: &[PredecessorListener], servers: &[LocalServer<'_>]) -> Self {
        let by_listener: Vec<Option<Place>> = offered
            .iter()
            .enumerate()
            .map(|(index, listener)| adopted_by(servers, index, listener))
            .collect();
        let mut by_server = HashMap::new();
        for (listener, place) in offered.iter().zip(&by_listener) {
            let same_name =
                servers.iter().position(|server| server.name == listener.server && server.takes(listener));
            if let Some(server) = same_name.or(place.map(|place| place.server)) {
                by_server.entry(listener.server.clone()).or_insert(server);
            }
        }
        Self { by_listener, by_server }
    }

    /// The servers of the predecessor whose connections have a place here.
    pub(crate) fn servers(&self) -> Vec<String> {
        let mut servers: Vec<String> = self.by_server.keys().cloned().collect();
        servers.sort_unstable();
        servers
    }

    /// Where a connection belongs that the predecessor's server accepted from this listener.
    pub(super) fn of(&self, server: &str, listener: Option<ListenerNumber>) -> Option<Place> {
        let index = listener.map(|number| usize::from(number.get()) - 1);
        let by_listener = index.and_then(|index| *self.by_listener.get(index)?);
        by_listener.or_else(|| self.server(server).map(|server| Place { server, listener: None }))
    }

    /// The index of our server that corresponds to this server of the predecessor.
    pub(super) fn server(&self, name: &str) -> Option<usize> {
        self.by_server.get(name).copied()
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
    servers[server].takes(listener).then_some(Place { server, listener: Some(number) })
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
        LocalServer { name, secure, plain: !secure, http1: true, listeners }
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
        assert_eq!(placement.of("web", Some(number(1))), Some(place(0, Some(1))));
        assert_eq!(
            placement.of("web", None),
            Some(place(0, None)),
            "one that an earlier generation accepted"
        );
        assert_eq!(placement.count(0, &counts(&[("web", 3), ("gone", 4)])), 3);
    }

    #[test]
    fn two_servers_that_change_places_change_their_connections_too() {
        let servers = [server("a", false, 1, &[Some(1)]), server("b", false, 2, &[Some(0)])];
        let placement = Placement::new(&[listener("a", false), listener("b", false)], &servers);
        assert_eq!(placement.of("a", Some(number(1))), Some(place(1, Some(2))));
        assert_eq!(placement.of("b", Some(number(2))), Some(place(0, Some(1))));
    }

    #[test]
    fn a_connection_of_a_removed_endpoint_stays_with_its_server() {
        let offers = [listener("web", false), listener("web", false)];
        let same_name = Placement::new(&offers, &[server("web", false, 1, &[Some(0)])]);
        assert_eq!(same_name.of("web", Some(number(2))), Some(place(0, None)));
        let renamed = Placement::new(&offers, &[server("site", false, 1, &[Some(1)])]);
        assert_eq!(renamed.of("web", Some(number(1))), Some(place(0, None)));
        let moved = Placement::new(&offers, &[server("web", false, 1, &[None])]);
        assert_eq!(moved.of("web", Some(number(1))), Some(place(0, None)), "to another port");
    }

    #[test]
    fn a_plain_text_connection_does_not_reach_a_server_with_tls() {
        let placement = Placement::new(&[listener("web", false)], &[server("web", true, 1, &[Some(0)])]);
        assert!(placement.servers().is_empty());
        assert_eq!(placement.of("web", Some(number(1))), None);
        let http2_only = LocalServer { http1: false, ..server("web", false, 1, &[Some(0)]) };
        assert!(Placement::new(&[listener("web", false)], &[http2_only]).servers().is_empty());
        let secure = Placement::new(&[listener("web", true)], &[server("web", true, 1, &[Some(0)])]);
        assert_eq!(secure.servers(), ["web"]);
    }

    #[test]
    fn a_server_with_both_kinds_of_endpoints_takes_both_kinds_of_connections() {
        let offers = [listener("web", false), listener("old", true)];
        let both = LocalServer { plain: true, ..server("web", true, 1, &[Some(0), Some(1)]) };
        let placement = Placement::new(&offers, &[both]);
        assert_eq!(placement.servers(), ["old", "web"]);
        assert_eq!(placement.of("web", Some(number(1))), Some(place(0, Some(1))));
        assert_eq!(placement.of("old", Some(number(2))), Some(place(0, Some(2))));
    }

    #[test]
    fn permits_of_two_servers_that_become_one_are_added_up() {
        let offers = [listener("a", false), listener("b", false)];
        let placement = Placement::new(&offers, &[server("all", false, 1, &[Some(0), Some(1)])]);
        assert_eq!(placement.count(0, &counts(&[("a", 3), ("b", 4)])), 7);
        assert_eq!(placement.count(0, &counts(&[("a", u64::MAX), ("b", 4)])), usize::MAX);
    }
}
