//! Lists of networks: `10.0.0.0/8`, `::1`, `unix`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::proxy::Peer;

/// Addresses that have something in common, such as that their proxies are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks(Vec<Network>);

/// Some addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// All that comes over a Unix socket.
    Unix,
    /// The addresses that begin with so many bits of this one.
    V4(Ipv4Addr, u8),
    V6(Ipv6Addr, u8),
}

impl Networks {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A peer that is gone is in no network: it could have been anyone.
    pub(crate) fn contains(&self, peer: Peer) -> bool {
        match peer {
            Peer::Tcp(address) => self.contains_ip(address.ip()),
            Peer::Unix => self.0.contains(&Network::Unix),
            Peer::Gone => false,
        }
    }

    pub(crate) fn contains_ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(ip))
    }

    /// One after the other, as they are written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Network> {
        self.0.iter()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl Network {
    fn contains(self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Self::V4(network, bits), IpAddr::V4(ip)) => {
                (network.to_bits() ^ ip.to_bits()) & mask4(bits) == 0
            }
            (Self::V6(network, bits), IpAddr::V6(ip)) => {
                (network.to_bits() ^ ip.to_bits()) & mask6(bits) == 0
            }
            _ => false,
        }
    }
}

/// The first `bits` bits.
fn mask4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// An error is the second half of a sentence: it says what would be valid.
impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        if text.contains(',') {
            return Err(
                "one text is one network: several are a list, such as `[\"10.0.0.0/8\", \"::1\"]`".to_owned()
            );
        }
        let expected =
            || "valid is an address or a network, such as `10.0.0.0/8` or `::1`, or `unix`".to_owned();
        let (address, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = address.parse().map_err(|_| expected())?;
        if ip.to_canonical() != ip {
            return Err(format!("an IPv4 address is written as such, `{}`", ip.to_canonical()));
        }
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let bits = digits.parse().ok().filter(|bits| *bits <= most);
                bits.ok_or_else(|| format!("a network of this kind has 0 to {most} bits behind its `/`"))?
            }
            Some(_) => return Err(expected()),
        };
        let network = match ip {
            IpAddr::V4(ip) => Self::V4(Ipv4Addr::from_bits(ip.to_bits() & mask4(bits)), bits),
            IpAddr::V6(ip) => Self::V6(Ipv6Addr::from_bits(ip.to_bits() & mask6(bits)), bits),
        };
        match network.contains(ip) && network.begins_with(ip) {
            true => Ok(network),
            false => Err(format!("the network that contains `{address}` is `{network}`")),
        }
    }
}

impl Network {
    /// Whether this is the network's first address.
    fn begins_with(self, ip: IpAddr) -> bool {
        match self {
            Self::V4(network, _) => ip == network,
            Self::V6(network, _) => ip == network,
            Self::Unix => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::V4(ip, 32) => ip.fmt(f),
            Self::V6(ip, 128) => ip.fmt(f),
            Self::V4(ip, bits) => write!(f, "{ip}/{bits}"),
            Self::V6(ip, bits) => write!(f, "{ip}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Networks {
        list.iter().map(|text| text.parse::<Network>().unwrap()).collect()
    }

    fn tcp(ip: &str) -> Peer {
        Peer::Tcp((ip.parse::<IpAddr>().unwrap(), 1).into())
    }

    #[test]
    fn networks_contain_what_begins_like_them() {
        let some = networks(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "::1"]);
        for inside in
            ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8:7fff::1", "::1", "::ffff:10.1.2.3"]
        {
            assert!(some.contains(tcp(inside)), "{inside}");
        }
        for outside in
            ["11.0.0.0", "9.255.255.255", "192.0.2.6", "2001:db8:8000::1", "::2", "::ffff:11.0.0.1"]
        {
            assert!(!some.contains(tcp(outside)), "{outside}");
        }
        assert!(!some.contains(Peer::Unix));
        let all = networks(&["0.0.0.0/0"]);
        assert!(all.contains(tcp("203.0.113.5")) && !all.contains(tcp("::2")));
    }

    /// A TCP client that has reset its connection has no address. It must not pass for a client of a Unix socket.
    #[test]
    fn a_peer_that_is_gone_is_in_no_network() {
        let all = networks(&["unix", "0.0.0.0/0", "::/0"]);
        assert!(all.contains(Peer::Unix) && !all.contains(Peer::Gone));
        assert!(!Networks::default().contains(Peer::Unix));
    }

    #[test]
    fn networks_are_shown_as_they_are_written() {
        for text in ["10.0.0.0/8", "192.0.2.7", "::1", "2001:db8::/33", "unix", "0.0.0.0/0", "::/0"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert_eq!("192.0.2.7/32".parse::<Network>().unwrap().to_string(), "192.0.2.7");
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_way_out() {
        let refused = |text: &str| text.parse::<Network>().unwrap_err();
        for text in ["", "*", "private", "10.0.0", "10.0.0.0/+8", "example.com", "010.0.0.0/8", "fe80::1%1"] {
            assert!(refused(text).starts_with("valid is an address or a network"), "{text}");
        }
        for text in ["10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/999"] {
            assert!(refused(text).contains("bits behind its `/`"), "{text}");
        }
        assert!(refused("10.0.0.5/8").ends_with("is `10.0.0.0/8`"));
        assert!(refused("::ffff:10.0.0.0/104").ends_with("`10.0.0.0`"));
    }
}
