//! The listeners that the predecessor offers, and which of them an endpoint means.
//!
//! A listener is identified by its address. The spelling is only a shortcut: `127.0.0.1:80` and `localhost:80` can be
//! one address, and links give a socket's file further paths.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use socket2::SockRef;

use super::holder;
use crate::server::Endpoint;

/// All listeners that the predecessor offers.
#[derive(Debug, Default)]
pub(crate) struct OfferedListeners(Vec<Offered>);

/// One of them.
#[derive(Debug)]
struct Offered {
    server: String,
    /// In the predecessor's spelling.
    endpoint: String,
    /// The address to which it is bound; TCP only.
    bound: Option<Bound>,
    /// None once it is adopted.
    fd: Option<OwnedFd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound {
    address: SocketAddr,
    /// It accepts IPv6 only. Known only for the address of all interfaces.
    only_v6: bool,
}

/// A listener that is to be adopted.
#[derive(Debug)]
pub(crate) struct Adoption {
    /// Its index among all that were offered.
    pub(crate) index: usize,
    pub(crate) fd: OwnedFd,
}

impl OfferedListeners {
    /// Each with its server, its endpoint in the predecessor's spelling, and its descriptor.
    pub(crate) fn new(listeners: impl IntoIterator<Item = (String, String, OwnedFd)>) -> Self {
        let offered = listeners.into_iter().map(|(server, endpoint, fd)| {
            let bound = bound(&fd);
            Offered { server, endpoint, bound, fd: Some(fd) }
        });
        Self(offered.collect())
    }

    /// The listeners whose endpoint is spelled the same: those of this server, or else those of another, since servers may
    /// be renamed. A port that the kernel chose stays with its server.
    pub(super) fn spelled(&mut self, server: &str, endpoint: &Endpoint) -> Vec<Adoption> {
        let wanted = endpoint.to_string();
        let of_server = self.take(|offered| offered.server == server && offered.endpoint == wanted);
        if !of_server.is_empty() || endpoint.is_chosen_by_kernel() {
            return of_server;
        }
        self.take(|offered| offered.endpoint == wanted)
    }

    /// The one that is bound to exactly this address.
    pub(super) fn bound_to(&mut self, address: SocketAddr, only_v6: bool) -> Option<Adoption> {
        let wanted = Bound { address, only_v6: only_v6 && is_all_of_v6(address) };
        self.take(|offered| offered.bound == Some(wanted)).pop()
    }

    /// The one with this socket file, even if its path is spelled differently.
    pub(super) fn at_file(&mut self, path: &Path) -> Option<Adoption> {
        self.take(|offered| {
            let other = offered.endpoint.strip_prefix("unix:");
            other.is_some_and(|other| is_same_file(Path::new(other), path))
        })
        .pop()
    }

    fn take(&mut self, wanted: impl Fn(&Offered) -> bool) -> Vec<Adoption> {
        let offered = self.0.iter_mut().enumerate().filter(|(_, offered)| wanted(offered));
        offered.filter_map(|(index, offered)| Some(Adoption { index, fd: offered.fd.take()? })).collect()
    }

    /// The one that keeps the kernel from binding this address.
    pub(super) fn beside(&self, address: SocketAddr) -> Option<String> {
        let clashes = |bound: Bound| holder::clash(bound.address, address);
        let offered = self.0.iter().find(|offered| offered.bound.is_some_and(clashes))?;
        Some(format!("`{}` of server `{}`", offered.endpoint, offered.server))
    }
}

fn bound(fd: &OwnedFd) -> Option<Bound> {
    let socket = SockRef::from(fd);
    let address = socket.local_addr().ok()?.as_socket()?;
    let only_v6 = is_all_of_v6(address) && socket.only_v6().unwrap_or_default();
    Some(Bound { address, only_v6 })
}

fn is_all_of_v6(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified())
}

/// Whether two paths lead to the same file; if there is none, whether they are the same path.
pub(super) fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => std::path::absolute(one).ok() == std::path::absolute(other).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn offered(listeners: &[(&str, &str)]) -> OfferedListeners {
        OfferedListeners::new(listeners.iter().map(|(server, endpoint)| {
            let fd: OwnedFd = match endpoint.strip_prefix("unix:") {
                Some(path) => UnixListener::bind(path).unwrap().into(),
                None => TcpListener::bind(endpoint.replace("localhost", "127.0.0.1")).unwrap().into(),
            };
            ((*server).to_owned(), (*endpoint).to_owned(), fd)
        }))
    }

    fn address(offered: &OfferedListeners, index: usize) -> SocketAddr {
        offered.0[index].bound.unwrap().address
    }

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn an_endpoint_of_the_same_server_is_preferred_to_that_of_another() {
        let mut offered = offered(&[("a", "127.0.0.1:0"), ("b", "127.0.0.1:0")]);
        let indices =
            |adoptions: Vec<Adoption>| adoptions.iter().map(|adoption| adoption.index).collect::<Vec<_>>();
        assert_eq!(indices(offered.spelled("b", &endpoint("127.0.0.1:0"))), [1]);
        assert!(offered.spelled("c", &endpoint("127.0.0.1:0")).is_empty(), "the kernel chose it for another");
        assert_eq!(indices(offered.spelled("a", &endpoint("127.0.0.1:0"))), [0]);
        assert!(offered.spelled("a", &endpoint("127.0.0.1:0")).is_empty(), "just once");
    }

    #[test]
    fn a_listener_is_known_by_its_address() {
        let mut offered = offered(&[("a", "localhost:0")]);
        let bound = address(&offered, 0);
        assert!(offered.bound_to("127.0.0.2:1".parse().unwrap(), true).is_none());
        assert!(offered.bound_to(SocketAddr::from(([0, 0, 0, 0], bound.port())), true).is_none());
        assert_eq!(
            offered.beside(SocketAddr::from(([0, 0, 0, 0], bound.port()))).unwrap(),
            "`localhost:0` of server `a`"
        );
        assert_eq!(offered.bound_to(bound, true).unwrap().index, 0);
    }

    #[test]
    fn all_interfaces_of_both_families_are_not_those_of_ipv6_alone() {
        let Ok(socket) = TcpListener::bind("[::]:0") else { return };
        let bound = socket.local_addr().unwrap();
        let mut offered = OfferedListeners::new([("a".to_owned(), ":0".to_owned(), socket.into())]);
        assert!(offered.bound_to(bound, true).is_none());
        assert!(offered.bound_to(bound, false).is_some());
    }

    #[test]
    fn a_socket_file_is_known_by_any_of_its_paths() {
        let directory = std::env::temp_dir().join(format!("gracehttp-offered-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("a.sock");
        let mut offered = offered(&[("a", &format!("unix:{}", path.display()))]);
        symlink(&directory, directory.join("link")).unwrap();
        assert!(offered.at_file(&directory.join("b.sock")).is_none());
        let found = offered.at_file(&directory.join("link/a.sock"));
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found.unwrap().index, 0);
    }
}
