//! What the supervisor keeps for the next worker: duplicates of the listeners, and what other rooms ask for.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, setsockopt, socketpair, sockopt};

use crate::supervision::message::{self, Kept};
use crate::sys;

/// The most parts of one set. Further ones are dropped.
const MOST_PARTS: usize = 64;

/// Room for all that is kept, at once.
const BUFFER: usize = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct Keeping {
    kept: Vec<Kept>,
    /// A set whose last part has not come yet.
    coming: Option<(u64, Vec<Kept>)>,
}

impl Keeping {
    /// Adds a part of a set. With its last part, the set replaces the former one of the same name, whose descriptors are
    /// closed.
    pub(super) fn add(&mut self, set: u64, last: bool, part: Kept) {
        let mut parts = match self.coming.take() {
            Some((coming, parts)) if coming == set => parts,
            // The sender of the other set has died, or two senders were at work: the newer set counts.
            _ => Vec::new(),
        };
        if parts.len() < MOST_PARTS {
            parts.push(part);
        }
        if !last {
            self.coming = Some((set, parts));
            return;
        }
        if let Some(name) = parts.first().map(|part| part.name.clone()) {
            self.kept.retain(|kept| kept.name != name);
            self.kept.extend(parts);
        }
    }

    /// A socket out of which a fresh worker reads everything.
    pub(super) fn for_worker(&self) -> io::Result<OwnedFd> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        // The kernel gives as much as its limit allows.
        let _ = setsockopt(&ours, sockopt::SndBuf, &BUFFER);
        for kept in &self.kept {
            sys::send(ours.as_fd(), &message::named(&kept.name, &kept.data), &kept.borrowed())?;
        }
        // Closing is not enough: a child that was just forked may hold a duplicate.
        nix::sys::socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(&ours), Shutdown::Write)?;
        Ok(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    fn part(name: &str, fds: Vec<OwnedFd>) -> Kept {
        Kept { name: name.to_owned(), data: b"data".to_vec(), fds }
    }

    #[test]
    fn a_set_replaces_the_one_before_and_closes_what_that_had() {
        let (mut watch, attached) = UnixStream::pair().unwrap();
        watch.set_nonblocking(true).unwrap();
        let mut keeping = Keeping::default();
        keeping.add(1, true, part("listeners", vec![attached.into()]));
        keeping.add(2, true, part("other", Vec::new()));
        keeping.add(3, false, part("listeners", Vec::new()));
        assert!(watch.read(&mut [0]).is_err(), "the new set is not complete");
        keeping.add(3, true, part("listeners", Vec::new()));
        assert_eq!(watch.read(&mut [0]).unwrap(), 0, "closed");
        assert_eq!(keeping.kept.len(), 3);
    }

    #[test]
    fn a_set_that_was_never_completed_is_forgotten() {
        let mut keeping = Keeping::default();
        keeping.add(1, false, part("listeners", Vec::new()));
        keeping.add(2, true, part("listeners", Vec::new()));
        assert_eq!(keeping.kept.len(), 1);
    }

    #[test]
    fn a_fresh_worker_reads_everything_and_then_the_end() {
        let mut keeping = Keeping::default();
        let (one, other) = UnixStream::pair().unwrap();
        keeping.add(1, true, part("listeners", vec![one.into(), other.into()]));
        let socket = keeping.for_worker().unwrap();
        let mut buffer = [0; 100];
        let received = sys::receive(socket.as_fd(), &mut buffer).unwrap();
        let kept = Kept::parse(&buffer[..received.len], received.fds).unwrap();
        assert_eq!(
            (kept.name.as_str(), kept.data.as_slice(), kept.fds.len()),
            ("listeners", &b"data"[..], 2)
        );
        assert_eq!(sys::receive(socket.as_fd(), &mut buffer).unwrap().len, 0);
    }
}
