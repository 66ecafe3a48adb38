//! Names and endpoints of declared servers, in a form that the compiler can compare.

/// What the compiler knows about an entry in `servers(…)`.
#[derive(Clone, Copy, Debug)]
pub enum Listens {
    /// A server, with what its attribute says.
    Server {
        /// The path of the item with the attribute.
        item: &'static str,
        /// The name of the server.
        name: &'static str,
        /// Its endpoints, each with host and port. An empty host means all interfaces; an IPv6 address has no
        /// brackets. An endpoint of another kind is a host as it is written, `unix:PATH`, with port 0.
        at: &'static [(&'static str, u16)],
    },
    /// Not a server.
    Undeclared,
}

impl Listens {
    /// Whether the entry has no `#[server]`.
    pub const fn is_undeclared(self) -> bool {
        matches!(self, Self::Undeclared)
    }

    /// Whether both entries are the same server, even by different paths.
    pub const fn is_same_item(self, other: Self) -> bool {
        match (self, other) {
            (Self::Server { item, .. }, Self::Server { item: other, .. }) => same(item, other),
            _ => false,
        }
    }

    /// Whether both servers have the same name.
    pub const fn is_namesake(self, other: Self) -> bool {
        match (self, other) {
            (Self::Server { name, .. }, Self::Server { name: other, .. }) => same(name, other),
            _ => false,
        }
    }

    /// Whether one environment variable would mean both servers.
    pub const fn shares_variables(self, other: Self) -> bool {
        let (Self::Server { name, .. }, Self::Server { name: other, .. }) = (self, other) else {
            return false;
        };
        let (mut these, mut those) = (name.as_bytes(), other.as_bytes());
        while let ([a, more @ ..], [b, others @ ..]) = (these, those) {
            if in_variable(*a) != in_variable(*b) {
                return false;
            }
            (these, those) = (more, others);
        }
        these.is_empty() && those.is_empty()
    }

    /// Whether the servers have endpoints that exclude each other.
    pub const fn clash(self, other: Self) -> bool {
        self.first_clash(other).is_some()
    }

    /// The first two endpoints that exclude each other.
    const fn first_clash(self, other: Self) -> Option<(At, At)> {
        let (Self::Server { at: these, .. }, Self::Server { at: those, .. }) = (self, other) else {
            return None;
        };
        let mut i = 0;
        while i < these.len() {
            let mut j = 0;
            while j < those.len() {
                if clash(these[i], those[j]) {
                    return Some((these[i], those[j]));
                }
                j += 1;
            }
            i += 1;
        }
        None
    }
}

/// Host and port.
type At = (&'static str, u16);

/// The compiler's message about two servers that clash. A panic at compile time takes plain text alone, so the text
/// is built byte by byte.
#[derive(Clone, Copy, Debug)]
pub struct Clash {
    text: [u8; Self::ROOM],
    length: usize,
}

impl Clash {
    const ROOM: usize = 1024;

    /// Says where the servers of these names clash.
    pub const fn of(name: &str, listens: Listens, other_name: &str, other: Listens) -> Self {
        let empty = Self { text: [0; Self::ROOM], length: 0 };
        let Some((at, other_at)) = listens.first_clash(other) else { return empty };
        let clash = empty.with("`").with(name);
        let clash = if at.1 == other_at.1 && same(at.0, other_at.0) {
            clash.with("` and `").with(other_name).with("` both listen on `").at(at).with("`")
        } else {
            let clash = clash.with("` listens on `").at(at).with("` and `").with(other_name);
            clash.with("` on `").at(other_at).with("`, and the one includes the other")
        };
        clash.with(": move one of them")
    }

    /// The whole sentence.
    pub const fn text(&self) -> &str {
        match std::str::from_utf8(self.text.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    /// Appends a part, or leaves it out if there is no room.
    const fn with(mut self, part: &str) -> Self {
        let part = part.as_bytes();
        if self.length + part.len() <= Self::ROOM {
            let mut i = 0;
            while i < part.len() {
                self.text[self.length + i] = part[i];
                i += 1;
            }
            self.length += part.len();
        }
        self
    }

    /// Appends an endpoint as it is written.
    const fn at(self, (host, port): At) -> Self {
        if is_no_host(host) {
            return self.with(host);
        }
        let host = if is_ipv6(host) { self.with("[").with(host).with("]") } else { self.with(host) };
        host.with(":").number(port)
    }

    const fn number(self, number: u16) -> Self {
        const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let before = if number > 9 { self.number(number / 10) } else { self };
        before.with(DIGITS[(number % 10) as usize])
    }
}

/// A letter of a server's name as its environment variables spell it.
const fn in_variable(letter: u8) -> u8 {
    if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { b'_' }
}

/// Whether two endpoints exclude each other: they are the same, or one includes the other.
///
/// A name is resolved at the start, so `localhost:80` and `127.0.0.1:80` pass here.
pub(crate) const fn clash((host, port): (&str, u16), (other, other_port): (&str, u16)) -> bool {
    if port != other_port {
        return false;
    }
    match port {
        // The kernel gives each endpoint its own port.
        0 => is_no_host(host) && same(host, other),
        _ => same(host, other) || includes(host, other) || includes(other, host),
    }
}

/// Whether a host means all interfaces, or all of the other's address family.
const fn includes(host: &str, other: &str) -> bool {
    match host.as_bytes() {
        b"" => true,
        b"0.0.0.0" => is_ipv4(other),
        b"::" => is_ipv6(other),
        _ => false,
    }
}

const fn is_ipv4(host: &str) -> bool {
    let mut rest = host.as_bytes();
    while let [b'0'..=b'9' | b'.', more @ ..] = rest {
        rest = more;
    }
    rest.is_empty()
}

/// No name has a colon.
const fn is_ipv6(host: &str) -> bool {
    let mut rest = host.as_bytes();
    while let [byte, more @ ..] = rest {
        if *byte == b':' {
            return true;
        }
        rest = more;
    }
    false
}

/// Whether an endpoint is no host with a port: `unix:PATH`, `systemd:NAME` or `fd:N`. An IPv6 address can begin with
/// `fd:`, but goes on with another colon.
const fn is_no_host(text: &str) -> bool {
    match text.as_bytes() {
        [b'u', b'n', b'i', b'x', b':', ..] | [b's', b'y', b's', b't', b'e', b'm', b'd', b':', ..] => true,
        [b'f', b'd', b':', rest @ ..] => !matches!(rest, [] | [b':', ..]),
        _ => false,
    }
}

/// `==` on strings is not a `const fn`.
pub(crate) const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn server(name: &'static str, at: &'static [(&'static str, u16)]) -> Listens {
        Listens::Server { item: "app::api", name, at }
    }

    #[test]
    fn entry_without_attribute_clashes_with_nothing() {
        assert!(Listens::Undeclared.is_undeclared() && !server("api", &[]).is_undeclared());
        assert!(!Listens::Undeclared.clash(Listens::Undeclared));
        assert!(!Listens::Undeclared.is_same_item(Listens::Undeclared));
        assert!(!Listens::Undeclared.is_namesake(Listens::Undeclared));
    }

    #[test]
    fn items_are_compared_by_path_and_servers_by_name() {
        let other = Listens::Server { item: "app::v2::api", name: "api", at: &[] };
        assert!(
            server("api", &[]).is_same_item(server("api", &[])) && !server("api", &[]).is_same_item(other)
        );
        assert!(server("api", &[]).is_namesake(other) && !server("v1", &[]).is_namesake(other));
        assert!(server("my-api", &[]).shares_variables(server("My_API", &[])));
        assert!(!server("my-api", &[]).shares_variables(server("my-apis", &[])));
        assert!(!server("my-api", &[]).shares_variables(server("myapi", &[])));
    }

    #[test]
    fn d16_a_clash_names_its_endpoints() {
        let text =
            |these, those| Clash::of("a", server("a", these), "b::c", server("b", those)).text().to_owned();
        assert_eq!(
            text(&[("10.0.0.1", 1), ("", 8080)], &[("", 8080)]),
            "`a` and `b::c` both listen on `:8080`: move one of them"
        );
        assert_eq!(
            text(&[("::", 65535)], &[("::1", 65535)]),
            "`a` listens on `[::]:65535` and `b::c` on `[::1]:65535`, and the one includes the other: move one of them"
        );
        assert_eq!(
            text(&[("unix:/run/a.sock", 0)], &[("unix:/run/a.sock", 0)]),
            "`a` and `b::c` both listen on `unix:/run/a.sock`: move one of them"
        );
    }

    #[test]
    fn servers_clash_where_one_endpoint_is_or_includes_another() {
        let several = server("a", &[("10.0.0.1", 1), ("", 80)]);
        assert!(several.clash(server("b", &[("127.0.0.1", 80), ("10.0.0.2", 1)])));
        assert!(!several.clash(server("b", &[("10.0.0.2", 1)])));
        assert!(clash(("", 80), ("", 80)));
        assert!(clash(("", 80), ("127.0.0.1", 80)) && clash(("127.0.0.1", 80), ("", 80)));
        assert!(clash(("0.0.0.0", 80), ("127.0.0.1", 80)) && clash(("::1", 80), ("::", 80)));
        assert!(clash(("", 80), ("0.0.0.0", 80)) && clash(("::", 80), ("", 80)));
        assert!(!clash(("0.0.0.0", 80), ("::", 80)) && !clash(("0.0.0.0", 80), ("::1", 80)));
        assert!(!clash(("::", 80), ("127.0.0.1", 80)) && !clash(("0.0.0.0", 80), ("localhost", 80)));
        assert!(clash(("localhost", 80), ("localhost", 80)));
        assert!(clash(("unix:/run/a", 0), ("unix:/run/a", 0)));
        assert!(!clash(("unix:/run/a", 0), ("unix:/run/b", 0)));
        assert!(clash(("systemd:web", 0), ("systemd:web", 0)) && clash(("fd:3", 0), ("fd:3", 0)));
        assert!(!clash(("systemd:web", 0), ("systemd:api", 0)) && !clash(("fd::1", 0), ("fd::1", 0)));
        assert!(!clash(("127.0.0.1", 80), ("127.0.0.2", 80)));
        assert!(!clash(("", 80), ("", 81)));
        assert!(!clash(("", 0), ("", 0)), "the kernel chooses two ports");
    }
}
