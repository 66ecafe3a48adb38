//! The messages between a worker and its supervisor: datagrams with descriptors.
//!
//! The supervisor may be much older than the worker. So it understands as little as possible: what it keeps are bytes
//! and descriptors with a name. A kind never changes; a supervisor ignores those that it does not know.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use crate::lifecycle::Privileges;
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
const RIGHTS: u8 = 5;

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
    /// This worker runs as this user.
    Rights(Pid, Privileges),
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

/// Says as which user a worker runs: its pid, the numbers of its user and its groups, then the name of the user.
pub(super) fn rights(worker: Pid, privileges: &Privileges) -> Vec<u8> {
    let (uid, gid) = privileges.ids();
    let groups = privileges.groups();
    let count = u32::try_from(groups.len()).unwrap_or_default();
    let numbers =
        [worker.as_raw().cast_unsigned(), uid, gid, count].into_iter().chain(groups.iter().copied());
    let numbers: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
    [&[RIGHTS][..], &numbers, privileges.name().as_bytes()].concat()
}

/// None if they make no sense: no message can make a process root.
fn parse_rights(mut rest: &[u8]) -> Option<(Pid, Privileges)> {
    let mut number = || {
        let (bytes, behind) = rest.split_first_chunk()?;
        rest = behind;
        Some(u32::from_le_bytes(*bytes))
    };
    let (worker, uid, gid, count) = (number()?, number()?, number()?, number()?);
    let groups = (0..count).map(|_| number()).collect::<Option<Vec<_>>>()?;
    let privileges = Privileges::of(str::from_utf8(rest).ok()?, uid, gid, groups)?;
    Some((Pid::from_raw(worker.cast_signed()), privileges))
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
            RIGHTS => parse_rights(rest).map(|(worker, privileges)| Self::Rights(worker, privileges)),
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
    fn a_user_is_read_as_it_was_written_and_is_never_root() {
        let read = |bytes: &[u8]| match ToSupervisor::parse(bytes, Vec::new()) {
            Some(ToSupervisor::Rights(worker, privileges)) => Some((worker, privileges)),
            _ => None,
        };
        let user = Privileges::of("app", 7, 8, vec![8, 9]).unwrap();
        let bytes = rights(Pid::from_raw(71), &user);
        assert_eq!(read(&bytes), Some((Pid::from_raw(71), user)));
        assert!((1..bytes.len() - 3).all(|length| read(&bytes[..length]).is_none()));
        let root = [&bytes[..5], &[0; 4], &bytes[9..]].concat();
        assert_eq!(read(&root), None);
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
