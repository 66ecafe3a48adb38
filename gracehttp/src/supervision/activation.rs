//! Sockets that another program has opened for this one: systemd's socket activation, and descriptors of any starter.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd as _, IntoRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::SockRef;

use crate::error::Error;
use crate::listen::{OfferedListeners, PassedSocket};
use crate::sys;

/// The number of the first descriptor that systemd passes (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// The name of a descriptor that has none, as `sd_listen_fds_with_names(3)` calls it.
const NAMELESS: &str = "unknown";

/// What this process found open at its start.
#[derive(Debug, Default)]
pub(crate) struct Activation {
    /// What systemd has passed.
    sockets: Vec<PassedSocket>,
    /// The sockets under other numbers. Each is only looked at, until an endpoint names it: it may be the application's.
    others: Vec<Other>,
    /// Sockets were passed, but not to this process, for this reason.
    not_ours: Option<String>,
}

/// A socket that was open when this process started.
#[derive(Debug)]
struct Other {
    number: RawFd,
    /// `socket:[INODE]`: tells it from a socket that gets the same number later.
    identity: PathBuf,
}

/// The variables of `sd_listen_fds(3)`.
struct Variables {
    pid: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
}

impl Variables {
    /// Takes them out of the environment: neither a successor nor another child may believe that they are for it.
    fn take() -> Self {
        let [pid, count, names, _] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"]
            .map(|name| sys::take_var(name.as_ref()));
        Self { pid, count, names }
    }
}

impl Activation {
    /// Takes what was passed to this process, also out of its environment.
    ///
    /// Has to be called before the process has a second thread, and before it opens any descriptor.
    pub(crate) fn take() -> Result<Self, Error> {
        let Variables { pid, count: Some(count), names } = Variables::take() else {
            return Ok(Self { others: others(0), ..Self::default() });
        };
        if let Some(not_ours) = not_ours(pid.as_deref()) {
            return Ok(Self { others: others(0), not_ours: Some(not_ours), ..Self::default() });
        }
        let refused = |why: &str| {
            let count = count.display();
            Error::new(format!(
                "LISTEN_FDS is set to `{count}`, but {why}; only the program that passes sockets sets it"
            ))
        };
        let count: RawFd = count
            .to_str()
            .and_then(|count| count.parse().ok())
            .filter(|count| (0..=RawFd::MAX - FIRST).contains(count))
            .ok_or_else(|| refused("that is not a number of descriptors"))?;
        let names = names.map(|names| names.to_string_lossy().into_owned()).unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let sockets = (FIRST..FIRST + count).map(|number| {
            let fd = sys::own_inherited(number)
                .ok_or_else(|| refused(&format!("the descriptor {number} is not open")))?;
            fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|errno| {
                refused(&format!("{number} can't be kept from child processes ({errno})"))
            })?;
            let name = names.next().filter(|name| !name.is_empty() && name != NAMELESS);
            Ok(PassedSocket { number, name, fd })
        });
        Ok(Self { sockets: sockets.collect::<Result<_, Error>>()?, others: others(count), not_ours: None })
    }

    /// Takes nothing but the variables out of the environment.
    pub(crate) fn decline() {
        Variables::take();
    }

    /// Closes the listeners, in a process that never accepts: its duplicates would keep the queues of listeners that the
    /// service has given up.
    pub(crate) fn close(self) {
        for fd in self.others.iter().filter_map(Other::claim) {
            if !SockRef::from(&fd).is_listener().unwrap_or_default() {
                // The application's, such as that of its log.
                let _ = fd.into_raw_fd();
            }
        }
    }

    /// All that was passed, and the sockets under the other numbers that endpoints name.
    pub(crate) fn offered(self, wanted: impl IntoIterator<Item = RawFd>) -> OfferedListeners {
        let Self { mut sockets, others, not_ours } = self;
        for number in wanted {
            if let Some(fd) = others.iter().find(|other| other.number == number).and_then(Other::claim) {
                sockets.push(PassedSocket { number, name: None, fd });
            }
        }
        OfferedListeners::passed(sockets, not_ours)
    }
}

/// Why sockets that were passed to the process of this id are not for this one.
fn not_ours(pid: Option<&OsStr>) -> Option<String> {
    let own = std::process::id();
    match pid {
        Some(pid) if pid.to_str() == Some(own.to_string().as_str()) => None,
        Some(pid) => Some(format!(
            "sockets were passed, but to the process {} (LISTEN_PID), and this is {own}: start this program by `exec` where \
             a script does it",
            pid.display()
        )),
        None => Some(
            "sockets were passed (LISTEN_FDS), but to a process that LISTEN_PID does not name: set both variables".to_owned(),
        ),
    }
}

impl Other {
    /// Owns it, if it is still the same socket.
    fn claim(&self) -> Option<OwnedFd> {
        if identity(self.number).as_ref() != Some(&self.identity) {
            return None;
        }
        let fd = sys::own_inherited(self.number)?;
        // If this fails, children inherit it; nothing else is lost.
        let _ = fcntl(fd.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        Some(fd)
    }
}

/// The sockets that are open, beyond the first `passed` descriptors after the standard streams.
fn others(passed: RawFd) -> Vec<Other> {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number: &RawFd| *number >= FIRST + passed)
        .filter_map(|number| Some(Other { number, identity: identity(number)? }))
        .collect()
}

/// Which socket a descriptor is; nothing if it is none.
fn identity(number: RawFd) -> Option<PathBuf> {
    let identity = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
    identity.to_str()?.starts_with("socket:").then_some(identity)
}
