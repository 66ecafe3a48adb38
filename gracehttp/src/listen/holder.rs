//! Finds the process that has an address in use, if /proc shows it.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// In the fourth column of /proc/net/tcp.
const STATE_LISTEN: &str = "0A";

/// The processes that listen on `address`, such as `pid 812 (nginx)`. `None` if they can't be found: without privileges,
/// /proc shows only the descriptors of one's own user.
pub(super) fn of_tcp(address: SocketAddr) -> Option<String> {
    named(&pids_of_tcp(address))
}

/// The processes that listen on the socket file `path`.
pub(super) fn of_unix(path: &Path) -> Option<String> {
    named(&processes_with(&inodes_of_unix(path)))
}

/// The pids of the processes that listen on `address`, as far as /proc shows them.
pub(super) fn pids_of_tcp(address: SocketAddr) -> Vec<u32> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let inodes = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let local = columns.get(1).and_then(|column| parse_address(column))?;
        let listens = columns.get(3) == Some(&STATE_LISTEN);
        (listens && clash(local, address)).then(|| columns.get(9).map(|inode| (*inode).to_owned()))?
    });
    processes_with(&inodes.collect::<Vec<_>>())
}

/// The pids of the processes that listen on this socket file; `None` if none does.
#[cfg(feature = "cli")]
pub(super) fn pids_of_unix(path: &Path) -> Option<Vec<u32>> {
    let inodes = inodes_of_unix(path);
    (!inodes.is_empty()).then(|| processes_with(&inodes))
}

fn inodes_of_unix(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let inodes = table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace().skip(6);
        let inode = columns.next()?;
        (columns.next() == path.to_str()).then(|| inode.to_owned())
    });
    inodes.collect()
}

/// `0100007F:2382`: words of an address in the machine's byte order, and the port.
fn parse_address(column: &str) -> Option<SocketAddr> {
    let (address, port) = column.split_once(':')?;
    let word = |hex: &str| u32::from_str_radix(hex, 16).map(u32::to_ne_bytes).ok();
    let ip = match address.len() {
        8 => IpAddr::from(word(address)?),
        32 => {
            let mut octets = [0; 16];
            for (i, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(address.get(i * 8..i * 8 + 8)?)?);
            }
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Whether the kernel allows only one of two listeners.
pub(super) fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn processes_with(inodes: &[String]) -> Vec<u32> {
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let holders = processes.flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let holds = descriptors.any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
        });
        holds.then_some(pid)
    });
    holders.collect()
}

/// A pre-forking server has dozens of processes; two show what it is.
fn named(pids: &[u32]) -> Option<String> {
    let shown: Vec<String> = pids.iter().take(2).map(|pid| name(*pid)).collect();
    (!shown.is_empty()).then(|| shown.join(" and "))
}

fn name(pid: u32) -> String {
    if pid == std::process::id() {
        return "this process itself, for another endpoint".to_owned();
    }
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("pid {pid} ({})", command.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let ours = |ip: [u8; 4]| format!("{:08X}:2382", u32::from_ne_bytes(ip));
        assert_eq!(parse_address(&ours([127, 0, 0, 1])), Some("127.0.0.1:9090".parse().unwrap()));
        let loopback: String = Ipv6Addr::LOCALHOST
            .octets()
            .chunks_exact(4)
            .map(|four| format!("{:08X}", u32::from_ne_bytes(four.try_into().unwrap())))
            .collect();
        assert_eq!(parse_address(&format!("{loopback}:0050")), Some("[::1]:80".parse().unwrap()));
        assert_eq!(parse_address("nonsense"), None);
    }

    #[test]
    fn a_wildcard_clashes_with_every_address_of_its_port() {
        let clash = |a: &str, b: &str| super::clash(a.parse().unwrap(), b.parse().unwrap());
        assert!(clash("0.0.0.0:80", "127.0.0.1:80"));
        assert!(clash("127.0.0.1:80", "[::]:80"));
        assert!(!clash("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!clash("0.0.0.0:80", "0.0.0.0:81"));
    }

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = of_tcp(listener.local_addr().unwrap());
        assert_eq!(found.as_deref(), Some("this process itself, for another endpoint"));
        assert_eq!(of_tcp("127.0.0.1:0".parse().unwrap()), None);
    }
}
