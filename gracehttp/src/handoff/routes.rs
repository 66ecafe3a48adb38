//! Where the connections of the predecessor's servers belong in this process.
//!
//! A connection follows the listener that accepted it: its client talks to the server that listens there now,
//! whatever that is called. If that listener is gone, the connection stays with its server: the one of the same name,
//! or the one that has another of its listeners.

use std::collections::HashMap;

use crate::handoff::wire::ServerCount;
use crate::socket::ListenerNumber;

/// A listener of the predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) server: String,
    pub(crate) endpoint: String,
    /// Whether its connections speak TLS; a predecessor of version 1 does not say.
    pub(crate) secure: Option<bool>,
}

/// A server of ours.
#[derive(Debug)]
pub(crate) struct Destination<'a> {
    pub(crate) name: &'a str,
    /// Its connections speak TLS.
    pub(crate) secure: bool,
    pub(crate) http1: bool,
    /// Its listeners, each with its place among those of the predecessor, if it comes from there.
    pub(crate) listeners: Vec<(ListenerNumber, Option<usize>)>,
}

impl Destination<'_> {
    /// Whether connections of a listener can go on here. A plain-text connection must not reach a server that relies
    /// on TLS and on client certificates.
    fn takes(&self, offer: &Offer) -> bool {
        match offer.secure {
            Some(secure) => secure == self.secure && (secure || self.http1),
            None => true,
        }
    }
}

/// The index of one of our servers, and its listener.
type Route = (usize, Option<ListenerNumber>);

#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// By the index of the predecessor's listener.
    by_listener: Vec<Option<Route>>,
    /// By the name of the predecessor's server.
    by_server: HashMap<String, usize>,
}

impl Routes {
    pub(crate) fn new(offers: &[Offer], destinations: &[Destination<'_>]) -> Self {
        let by_listener: Vec<Option<Route>> = (0..offers.len())
            .map(|place| {
                let (destination, number) =
                    destinations.iter().enumerate().find_map(|(index, destination)| {
                        let (number, _) =
                            destination.listeners.iter().find(|(_, from)| *from == Some(place))?;
                        Some((index, *number))
                    })?;
                destinations[destination].takes(&offers[place]).then_some((destination, Some(number)))
            })
            .collect();
        let mut by_server = HashMap::new();
        for (offer, route) in offers.iter().zip(&by_listener) {
            let namesake = destinations
                .iter()
                .position(|destination| destination.name == offer.server && destination.takes(offer));
            if let Some(destination) = namesake.or(route.map(|(destination, _)| destination)) {
                by_server.entry(offer.server.clone()).or_insert(destination);
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

    /// Where a connection belongs that this listener of this server of the predecessor accepted.
    pub(super) fn of(&self, server: &str, listener: Option<ListenerNumber>) -> Option<Route> {
        let place = listener.map(|number| usize::from(number.get()) - 1);
        let by_listener = place.and_then(|place| *self.by_listener.get(place)?);
        by_listener.or_else(|| self.destination(server).map(|destination| (destination, None)))
    }

    /// The index of our server that stands for this server of the predecessor.
    pub(super) fn destination(&self, server: &str) -> Option<usize> {
        self.by_server.get(server).copied()
    }

    /// How many of these connections count against the limit of our server at this place.
    pub(super) fn count(&self, destination: usize, held: &[ServerCount]) -> usize {
        let ours = held.iter().filter(|count| self.destination(&count.server) == Some(destination));
        let total = ours.fold(0_u64, |sum, count| sum.saturating_add(count.count));
        usize::try_from(total).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(server: &str, secure: bool) -> Offer {
        Offer { server: server.to_owned(), endpoint: ":1".to_owned(), secure: Some(secure) }
    }

    fn number(number: u16) -> ListenerNumber {
        ListenerNumber::new(number).unwrap()
    }

    /// With listeners numbered from `first` on, from these places.
    fn destination<'a>(name: &'a str, secure: bool, first: u16, places: &[Option<usize>]) -> Destination<'a> {
        let listeners = (first..).zip(places).map(|(listener, place)| (number(listener), *place)).collect();
        Destination { name, secure, http1: true, listeners }
    }

    fn counts(counts: &[(&str, u64)]) -> Vec<ServerCount> {
        counts
            .iter()
            .map(|(server, count)| ServerCount { server: (*server).to_owned(), count: *count })
            .collect()
    }

    #[test]
    fn a_renamed_server_is_known_by_its_listener() {
        let routes = Routes::new(&[offer("web", false)], &[destination("site", false, 1, &[Some(0)])]);
        assert_eq!(routes.servers(), ["web"]);
        assert_eq!(routes.of("web", Some(number(1))), Some((0, Some(number(1)))));
        assert_eq!(routes.of("web", None), Some((0, None)), "one that an earlier generation accepted");
        assert_eq!(routes.count(0, &counts(&[("web", 3), ("gone", 4)])), 3);
    }

    #[test]
    fn two_servers_that_change_places_change_their_connections_too() {
        let destinations = [destination("a", false, 1, &[Some(1)]), destination("b", false, 2, &[Some(0)])];
        let routes = Routes::new(&[offer("a", false), offer("b", false)], &destinations);
        assert_eq!(routes.of("a", Some(number(1))), Some((1, Some(number(2)))));
        assert_eq!(routes.of("b", Some(number(2))), Some((0, Some(number(1)))));
    }

    #[test]
    fn a_connection_of_a_removed_endpoint_stays_with_its_server() {
        let offers = [offer("web", false), offer("web", false)];
        let same_name = Routes::new(&offers, &[destination("web", false, 1, &[Some(0)])]);
        assert_eq!(same_name.of("web", Some(number(2))), Some((0, None)));
        let renamed = Routes::new(&offers, &[destination("site", false, 1, &[Some(1)])]);
        assert_eq!(renamed.of("web", Some(number(1))), Some((0, None)));
        let moved = Routes::new(&offers, &[destination("web", false, 1, &[None])]);
        assert_eq!(moved.of("web", Some(number(1))), Some((0, None)), "to another port");
    }

    #[test]
    fn a_plain_text_connection_does_not_reach_a_server_with_tls() {
        let routes = Routes::new(&[offer("web", false)], &[destination("web", true, 1, &[Some(0)])]);
        assert!(routes.servers().is_empty());
        assert_eq!(routes.of("web", Some(number(1))), None);
        let http2_only = Destination { http1: false, ..destination("web", false, 1, &[Some(0)]) };
        assert!(Routes::new(&[offer("web", false)], &[http2_only]).servers().is_empty());
        let secure = Routes::new(&[offer("web", true)], &[destination("web", true, 1, &[Some(0)])]);
        assert_eq!(secure.servers(), ["web"]);
    }

    #[test]
    fn permits_of_two_servers_that_become_one_are_added_up() {
        let offers = [offer("a", false), offer("b", false)];
        let routes = Routes::new(&offers, &[destination("all", false, 1, &[Some(0), Some(1)])]);
        assert_eq!(routes.count(0, &counts(&[("a", 3), ("b", 4)])), 7);
        assert_eq!(routes.count(0, &counts(&[("a", u64::MAX), ("b", 4)])), usize::MAX);
    }
}
