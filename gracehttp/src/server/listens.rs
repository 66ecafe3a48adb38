//! Where declared servers listen, as far as the compiler can tell two of them apart.

/// What the compiler is told of an entry in `servers(…)`.
#[derive(Clone, Copy, Debug)]
pub enum Listens {
    /// The endpoints in the server's attribute, host and port each. No host is all interfaces; a socket's file
    /// stands as `unix:PATH`, with port 0.
    At(&'static [(&'static str, u16)]),
    /// It is not a server.
    Undeclared,
}

impl Listens {
    /// Whether there is no attribute to tell.
    pub const fn is_undeclared(self) -> bool {
        matches!(self, Self::Undeclared)
    }

    /// Whether only one of the two servers could be had.
    pub const fn clash(self, other: Self) -> bool {
        let (Self::At(these), Self::At(those)) = (self, other) else { return false };
        let mut i = 0;
        while i < these.len() {
            let mut j = 0;
            while j < those.len() {
                if clash(these[i], those[j]) {
                    return true;
                }
                j += 1;
            }
            i += 1;
        }
        false
    }
}

const fn clash((host, port): (&str, u16), (other, other_port): (&str, u16)) -> bool {
    if port != other_port {
        return false;
    }
    match port {
        // The kernel gives each its own port.
        0 => is_file(host) && same(host, other),
        _ => host.is_empty() || other.is_empty() || same(host, other),
    }
}

const fn is_file(host: &str) -> bool {
    matches!(host.as_bytes(), [b'u', b'n', b'i', b'x', b':', ..])
}

/// `==` is no `const fn`.
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

    #[test]
    fn what_is_no_server_clashes_with_none() {
        assert!(Listens::Undeclared.is_undeclared() && !Listens::At(&[]).is_undeclared());
        assert!(!Listens::Undeclared.clash(Listens::Undeclared));
    }

    #[test]
    fn servers_clash_where_one_endpoint_is_or_includes_another() {
        let several = Listens::At(&[("10.0.0.1", 1), ("", 80)]);
        assert!(several.clash(Listens::At(&[("127.0.0.1", 80), ("10.0.0.2", 1)])));
        assert!(!several.clash(Listens::At(&[("10.0.0.2", 1)])));
        assert!(clash(("", 80), ("", 80)));
        assert!(clash(("", 80), ("127.0.0.1", 80)) && clash(("127.0.0.1", 80), ("", 80)));
        assert!(clash(("localhost", 80), ("localhost", 80)));
        assert!(clash(("unix:/run/a", 0), ("unix:/run/a", 0)));
        assert!(!clash(("unix:/run/a", 0), ("unix:/run/b", 0)));
        assert!(!clash(("127.0.0.1", 80), ("127.0.0.2", 80)));
        assert!(!clash(("", 80), ("", 81)));
        assert!(!clash(("", 0), ("", 0)), "the kernel chooses two ports");
    }
}
