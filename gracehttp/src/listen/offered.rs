//! The listeners that this process can adopt, and which of them an endpoint means. The predecessor offers them, or the
//! program that started this one has passed them.
//!
//! A listener is identified by its address. The spelling is only a shortcut: `127.0.0.1:80` and `localhost:80` can be
//! one address, and links give a socket's file further paths.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use socket2::{SockRef, Type};

use super::holder;
use crate::log;
use crate::server::Endpoint;

/// All listeners that can be adopted.
#[derive(Debug, Default)]
pub(crate) struct OfferedListeners {
    all: Vec<Offered>,
    source: Source,
}

/// Where they come from.
#[derive(Debug)]
pub(super) enum Source {
    Predecessor,
    /// The program that started this process, such as systemd. It may have passed sockets to another process, and this says
    /// so.
    Starter {
        not_ours: Option<String>,
    },
}

impl Default for Source {
    fn default() -> Self {
        Self::Starter { not_ours: None }
    }
}

/// A socket that was passed to this process when it started.
#[derive(Debug)]
pub(crate) struct PassedSocket {
    pub(crate) number: RawFd,
    /// Its name in `LISTEN_FDNAMES`.
    pub(crate) name: Option<String>,
    pub(crate) fd: OwnedFd,
}

/// One of them.
#[derive(Debug)]
struct Offered {
    /// Empty if no server has had it yet.
    server: String,
    /// In the predecessor's spelling. For a socket that another program opened it is always `systemd:NAME` or `fd:N`.
    endpoint: String,
    /// Its descriptor, if it was passed to this very process.
    number: Option<RawFd>,
    /// An endpoint has its name, so that no other finds it by its address.
    is_named: bool,
    /// The file to which it is bound; Unix sockets only.
    file: Option<PathBuf>,
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
    /// `systemd:NAME` or `fd:N`, if another program opened it.
    pub(crate) passed: Option<String>,
}

impl OfferedListeners {
    /// Each with its server, its endpoint in the predecessor's spelling, and its descriptor.
    pub(crate) fn new(listeners: impl IntoIterator<Item = (String, String, OwnedFd)>) -> Self {
        let all =
            listeners.into_iter().map(|(server, endpoint, fd)| Offered::new(server, endpoint, None, fd));
        Self { all: all.collect(), source: Source::Predecessor }
    }

    /// What was passed to this process. `not_ours` says why that is nothing, if another process was meant.
    pub(crate) fn passed(sockets: Vec<PassedSocket>, not_ours: Option<String>) -> Self {
        let all = sockets.into_iter().map(|PassedSocket { number, name, fd }| {
            let endpoint = name.map_or(Endpoint::Fd(number), Endpoint::Systemd).to_string();
            Offered::new(String::new(), endpoint, Some(number), fd)
        });
        Self { all: all.collect(), source: Source::Starter { not_ours } }
    }

    /// Keeps the sockets that these endpoints name for them: no other endpoint finds them by their address.
    pub(crate) fn keep_for<'a>(&mut self, endpoints: impl IntoIterator<Item = &'a Endpoint>) {
        for endpoint in endpoints.into_iter().filter(|endpoint| endpoint.is_passed()) {
            let named = self.all.iter_mut().filter(|offered| offered.is_named_by(endpoint));
            named.for_each(|offered| offered.is_named = true);
        }
    }

    /// Reports the sockets that were passed and that no endpoint has. Their clients wait in vain: the other program holds
    /// the socket open.
    pub(crate) fn report_unclaimed(&self) {
        for offered in self.all.iter().filter(|offered| offered.fd.is_some() && is_passed(&offered.endpoint))
        {
            let (name, place) = (&offered.endpoint, offered.place());
            if offered.can_listen() {
                log::notice(format_args!(
                    "the socket `{name}`{place} was passed to this process, and no server listens on it, so its clients get \
                     no answer: name it in `listen`, or have it passed no more"
                ));
            } else {
                log::notice(format_args!(
                    "the descriptor `{name}`{place} was passed to this process, and is closed: it is no listening stream \
                     socket, so no server can use it; have it passed no more, or take it before the service runs"
                ));
            }
        }
    }

    /// The listeners whose endpoint is spelled the same: those of this server, or else those of another, since servers may
    /// be renamed. A port that the kernel chose stays with its server.
    pub(super) fn spelled(&mut self, server: &str, endpoint: &Endpoint) -> Vec<Adoption> {
        let of_server = self.take(|offered| offered.server == server && offered.is_named_by(endpoint));
        if !of_server.is_empty() || endpoint.is_chosen_by_kernel() {
            return of_server;
        }
        self.take(|offered| offered.is_named_by(endpoint))
    }

    /// The one that is bound to exactly this address.
    pub(super) fn bound_to(&mut self, address: SocketAddr, only_v6: bool) -> Option<Adoption> {
        let wanted = Bound { address, only_v6: only_v6 && is_all_of_v6(address) };
        self.take_first(|offered| !offered.is_named && offered.bound == Some(wanted))
    }

    /// The one with this socket file, even if its path is spelled differently.
    pub(super) fn at_file(&mut self, path: &Path) -> Option<Adoption> {
        self.take_first(|offered| {
            !offered.is_named && offered.file.as_ref().is_some_and(|other| is_same_file(other, path))
        })
    }

    fn take(&mut self, wanted: impl Fn(&Offered) -> bool) -> Vec<Adoption> {
        let offered = self.all.iter_mut().enumerate().filter(|(_, offered)| wanted(offered));
        offered.filter_map(|(index, offered)| offered.adopt(index)).collect()
    }

    fn take_first(&mut self, wanted: impl Fn(&Offered) -> bool) -> Option<Adoption> {
        let mut offered = self.all.iter_mut().enumerate().filter(|(_, offered)| wanted(offered));
        offered.find_map(|(index, offered)| offered.adopt(index))
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Whether another endpoint has adopted the one that this endpoint names.
    pub(super) fn is_taken(&self, endpoint: &Endpoint) -> bool {
        self.all.iter().any(|offered| offered.fd.is_none() && offered.is_named_by(endpoint))
    }

    /// The names of all sockets that another program opened.
    pub(super) fn names(&self) -> Vec<&str> {
        self.all.iter().map(|offered| offered.endpoint.as_str()).filter(|name| is_passed(name)).collect()
    }

    /// The one that keeps the kernel from binding this address.
    pub(super) fn beside(&self, address: SocketAddr) -> Option<Beside<'_>> {
        let clashes = |bound: Bound| holder::clash(bound.address, address);
        let offered = self.all.iter().find(|offered| offered.bound.is_some_and(clashes))?;
        Some(match is_passed(&offered.endpoint) {
            true => Beside::Passed { name: &offered.endpoint, address: offered.bound?.address },
            false => Beside::Own { server: &offered.server, endpoint: &offered.endpoint },
        })
    }
}

/// A listener beside which an address can't be bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beside<'a> {
    /// The predecessor has bound it itself.
    Own { server: &'a str, endpoint: &'a str },
    /// Another program has opened it.
    Passed { name: &'a str, address: SocketAddr },
}

impl Offered {
    fn new(server: String, endpoint: String, number: Option<RawFd>, fd: OwnedFd) -> Self {
        let file = match endpoint.strip_prefix("unix:") {
            Some(path) => Some(PathBuf::from(path)),
            None if is_passed(&endpoint) => file(&fd),
            None => None,
        };
        Self { server, endpoint, number, is_named: false, file, bound: bound(&fd), fd: Some(fd) }
    }

    fn is_named_by(&self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Fd(number) if self.number == Some(*number) => true,
            _ => self.endpoint == endpoint.to_string(),
        }
    }

    fn adopt(&mut self, index: usize) -> Option<Adoption> {
        let passed = is_passed(&self.endpoint).then(|| self.endpoint.clone());
        Some(Adoption { index, fd: self.fd.take()?, passed })
    }

    /// Whether clients can connect to it.
    fn can_listen(&self) -> bool {
        let listens = |fd: &OwnedFd| {
            let socket = SockRef::from(fd);
            socket.r#type().is_ok_and(|kind| kind == Type::STREAM) && socket.is_listener().unwrap_or_default()
        };
        self.fd.as_ref().is_some_and(listens)
    }

    /// `, bound to ADDRESS`, as far as it is known.
    fn place(&self) -> String {
        match (&self.bound, &self.file) {
            (Some(Bound { address, .. }), _) => format!(", bound to {address}"),
            (None, Some(path)) => format!(", bound to {}", path.display()),
            (None, None) => String::new(),
        }
    }
}

/// Whether this spelling is that of a socket that another program opened. It need not be an endpoint: systemd allows names
/// that no endpoint can have, such as those with spaces.
fn is_passed(spelling: &str) -> bool {
    ["systemd:", "fd:"].iter().any(|kind| spelling.starts_with(kind))
}

fn file(fd: &OwnedFd) -> Option<PathBuf> {
    Some(SockRef::from(fd).local_addr().ok()?.as_pathname()?.to_owned())
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
        offered.all[index].bound.unwrap().address
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
            Beside::Own { server: "a", endpoint: "localhost:0" }
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

    fn passed(sockets: &[(RawFd, Option<&str>)]) -> OfferedListeners {
        let sockets = sockets.iter().map(|(number, name)| PassedSocket {
            number: *number,
            name: name.map(str::to_owned),
            fd: TcpListener::bind("127.0.0.1:0").unwrap().into(),
        });
        OfferedListeners::passed(sockets.collect(), None)
    }

    fn found(adoptions: &[Adoption]) -> Vec<(usize, &str)> {
        adoptions.iter().map(|adoption| (adoption.index, adoption.passed.as_deref().unwrap())).collect()
    }

    #[test]
    fn passed_sockets_are_known_by_name_number_and_address_and_each_is_adopted_once() {
        let mut offered = passed(&[(3, Some("web")), (4, Some("web")), (5, None), (6, Some("other"))]);
        let (first, other) = (address(&offered, 0), address(&offered, 3));
        assert_eq!(offered.names(), ["systemd:web", "systemd:web", "fd:5", "systemd:other"]);
        assert_eq!(found(&offered.spelled("a", &endpoint("fd:4"))), [(1, "systemd:web")]);
        assert_eq!(found(&offered.spelled("a", &endpoint("systemd:web"))), [(0, "systemd:web")]);
        assert!(offered.spelled("b", &endpoint("systemd:web")).is_empty());
        assert!(offered.bound_to(first, true).is_none());
        assert_eq!(found(&offered.spelled("a", &endpoint("fd:5"))), [(2, "fd:5")]);
        assert_eq!(found(&[offered.bound_to(other, true).unwrap()]), [(3, "systemd:other")]);
    }

    #[test]
    fn a_name_that_no_endpoint_can_have_is_still_another_programs() {
        let mut offered = passed(&[(3, Some("my web, too"))]);
        let bound = address(&offered, 0);
        assert_eq!(offered.names(), ["systemd:my web, too"]);
        assert_eq!(found(&[offered.bound_to(bound, true).unwrap()]), [(0, "systemd:my web, too")]);
    }

    #[test]
    fn a_socket_is_taken_under_each_of_its_names() {
        let mut offered = passed(&[(3, Some("web"))]);
        assert!(!offered.is_taken(&endpoint("fd:3")));
        assert_eq!(offered.spelled("a", &endpoint("systemd:web")).len(), 1);
        assert!(offered.is_taken(&endpoint("fd:3")) && offered.is_taken(&endpoint("systemd:web")));
        assert!(!offered.is_taken(&endpoint("fd:4")));
    }

    #[test]
    fn a_socket_that_an_endpoint_names_is_not_found_by_its_address() {
        let mut offered = passed(&[(3, Some("web"))]);
        let bound = address(&offered, 0);
        offered.keep_for([&endpoint(":80"), &endpoint("systemd:web")]);
        assert!(offered.bound_to(bound, true).is_none());
        assert_eq!(offered.beside(bound), Some(Beside::Passed { name: "systemd:web", address: bound }));
        assert_eq!(offered.spelled("a", &endpoint("systemd:web")).len(), 1);
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
