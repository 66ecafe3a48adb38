//! The messages between a worker and its supervisor: datagrams with descriptors.
//!
//! The supervisor may be much older than the worker. So it understands as little as possible: what it keeps are bytes
//! and descriptors with a name. A kind never changes; a supervisor ignores those that it does not know.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::sys::{self, Received};

/// The longest message. Below what a Unix socket takes by default.
pub(super) const MAX_MESSAGE: usize = 64 << 10;

/// How many descriptors one message carries.
pub(super) const MAX_FDS: usize = 64;

pub(super) const WAKE: u8 = 0;
const KEEP: u8 = 1;
const NOTIFY: u8 = 2;
const LOST: u8 = 3;
const PID_FILE: u8 = 4;

/// From a worker to its supervisor.
#[derive(Debug)]
pub(super) enum ToSupervisor {
    /// The page has changed.
    Wake,
    /// A part of what the supervisor keeps under a name. The last part of a set replaces the set before.
    Keep {
        set: u64,
        last: bool,
        kept: Kept,
    },
    /// A message for the service manager.
    Notify(String, Option<OwnedFd>),
    /// The worker that counts is dead, and how it ended.
    Lost(Vec<u8>),
    /// Where the pid file of the service is now, if it has one.
    PidFile(Option<PathBuf>),
    Unknown,
}

/// Something that the supervisor keeps for the next worker.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) data: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

pub(super) fn notify(text: &str) -> Vec<u8> {
    [&[NOTIFY], text.as_bytes()].concat()
}

pub(super) fn lost(how: &str) -> Vec<u8> {
    [&[LOST], how.as_bytes()].concat()
}

pub(super) fn pid_file(path: Option<&Path>) -> Vec<u8> {
    [&[PID_FILE][..], path.map_or(&[][..], |path| path.as_os_str().as_bytes())].concat()
}

/// A part of a set, without its descriptors.
pub(super) fn keep(set: u64, last: bool, name: &str, data: &[u8]) -> Vec<u8> {
    [&[KEEP][..], &set.to_le_bytes(), &[u8::from(last)], &named(name, data)].concat()
}

/// The name and the data of something that is kept. The supervisor gives it to the next worker in the same form.
pub(super) fn named(name: &str, data: &[u8]) -> Vec<u8> {
    // Names are short words of this program.
    let name = &name.as_bytes()[..name.len().min(usize::from(u8::MAX))];
    [&[u8::try_from(name.len()).unwrap_or(u8::MAX)][..], name, data].concat()
}

impl Kept {
    pub(super) fn parse(bytes: &[u8], fds: Vec<OwnedFd>) -> Option<Self> {
        let (len, rest) = bytes.split_first()?;
        let (name, data) = rest.split_at_checked(usize::from(*len))?;
        Some(Self { name: String::from_utf8_lossy(name).into_owned(), data: data.to_vec(), fds })
    }

    pub(super) fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd).collect()
    }
}

impl ToSupervisor {
    /// Receives the next message; nothing if the other end is closed. An error of kind `WouldBlock` says that there is none.
    pub(super) fn receive(channel: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Self>> {
        let Received { len, fds } = sys::receive(channel, buffer)?;
        if len == 0 {
            return Ok(None);
        }
        Ok(Some(Self::parse(&buffer[..len], fds).unwrap_or(Self::Unknown)))
    }

    fn parse(bytes: &[u8], fds: Vec<OwnedFd>) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            WAKE => Some(Self::Wake),
            NOTIFY => Some(Self::Notify(String::from_utf8_lossy(rest).into_owned(), fds.into_iter().next())),
            LOST => Some(Self::Lost(rest.to_vec())),
            PID_FILE => Some(Self::PidFile((!rest.is_empty()).then(|| OsStr::from_bytes(rest).into()))),
            KEEP => {
                let (set, rest) = rest.split_first_chunk()?;
                let (last, rest) = rest.split_first()?;
                let kept = Kept::parse(rest, fds)?;
                Some(Self::Keep { set: u64::from_le_bytes(*set), last: *last == 1, kept })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        let bytes = keep(7, true, "listeners", b"opaque");
        let Some(ToSupervisor::Keep { set: 7, last: true, kept }) = ToSupervisor::parse(&bytes, Vec::new())
        else {
            panic!("{bytes:?}")
        };
        assert_eq!((kept.name.as_str(), kept.data.as_slice()), ("listeners", &b"opaque"[..]));
    }

    #[test]
    fn the_path_of_the_pid_file_is_read_as_it_was_written() {
        for path in [Some(Path::new("/run/app.pid")), None] {
            let Some(ToSupervisor::PidFile(read)) = ToSupervisor::parse(&pid_file(path), Vec::new()) else {
                panic!("{path:?}")
            };
            assert_eq!(read.as_deref(), path);
        }
    }

    #[test]
    fn no_bytes_make_a_supervisor_fail() {
        for wrong in
            [&[][..], &[99], &[1], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 200, 1]]
        {
            assert!(ToSupervisor::parse(wrong, Vec::new()).is_none(), "{wrong:?}");
        }
    }
}
