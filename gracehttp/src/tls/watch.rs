//! The news that a file may have been replaced, from the kernel.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::tls::places::Place;

/// Watches directories for the replacement of some of their names.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Inotify,
    names: HashMap<WatchDescriptor, BTreeSet<OsString>>,
}

impl Watch {
    /// Watches these places, as far as they can be: a directory that is gone, or for which the system has no watch left,
    /// tells nothing.
    pub(crate) fn new(places: &BTreeSet<Place>) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut names = HashMap::<_, BTreeSet<_>>::new();
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        for Place { directory, name } in places {
            if let Ok(watch) = inotify.add_watch(directory, changes) {
                names.entry(watch).or_default().insert(name.clone());
            }
        }
        Ok(Self { inotify, names })
    }

    /// Whether something has happened to one of the names, or to a directory itself, since the last call.
    pub(crate) fn has_news(&self) -> bool {
        let mut has_news = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    has_news |= events.iter().any(|event| match &event.name {
                        Some(name) => self.names.get(&event.wd).is_some_and(|names| names.contains(name)),
                        None => true,
                    });
                }
                Err(Errno::EINTR) => {}
                Err(_) => return has_news,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
