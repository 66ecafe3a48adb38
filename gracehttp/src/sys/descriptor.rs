//! A socket's descriptor, and who watches it.
//!
//! Epoll registrations follow the open file description, not the descriptor: one that is left behind when a descriptor
//! is closed lives on while another process holds a duplicate, and can't be removed any more. So each registration ends
//! here, before its descriptor can go anywhere.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::libc;
use nix::sys::epoll::{Epoll, EpollEvent};
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};

/// An open socket that at most one epoll instance watches.
#[derive(Debug)]
pub(crate) struct Descriptor {
    /// Before the descriptor itself: it is dropped first.
    watch: Watch,
    fd: OwnedFd,
}

#[derive(Debug)]
enum Watch {
    Nothing,
    Standing(Standing),
    Runtime(AsyncFd<Number>),
}

/// A registration that reports nothing until it is armed again. It ends when this is dropped.
#[derive(Debug)]
struct Standing {
    /// None if the registration stays.
    epoll: Option<Arc<Epoll>>,
    number: Number,
}

/// The number of the descriptor beside it, which stays open for as long as this.
#[derive(Debug)]
pub(crate) struct Number(RawFd);

impl Descriptor {
    /// Nothing watches it.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { watch: Watch::Nothing, fd }
    }

    /// It has a one-shot registration with `epoll`, which has reported or will soon report its only event.
    pub(crate) fn standing(fd: OwnedFd, epoll: Arc<Epoll>) -> Self {
        let number = Number(fd.as_raw_fd());
        Self { watch: Watch::Standing(Standing { epoll: Some(epoll), number }), fd }
    }

    /// Has the runtime of the calling task watch it from now on, and nothing else. If that fails, nothing watches it.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        if matches!(self.watch, Watch::Runtime(_)) {
            return Ok(());
        }
        self.watch = Watch::Nothing;
        let (number, interest) = (Number(self.fd.as_raw_fd()), Interest::READABLE | Interest::WRITABLE);
        // SAFETY: the number stays that of an open descriptor for as long as the `AsyncFd` lives, which is dropped or
        // moved out before `fd`.
        self.watch = Watch::Runtime(unsafe { AsyncFd::register_with_interest(number, interest) }?);
        Ok(())
    }

    /// The runtime's watch, if it watches.
    pub(crate) fn runtime(&self) -> Option<&AsyncFd<Number>> {
        match &self.watch {
            Watch::Runtime(runtime) => Some(runtime),
            Watch::Nothing | Watch::Standing(_) => None,
        }
    }

    /// Whether it has a registration that can be armed again.
    pub(crate) fn is_standing(&self) -> bool {
        matches!(self.watch, Watch::Standing(_))
    }

    /// Arms its standing registration again. Without one, or if that fails, nothing watches it.
    pub(crate) fn arm(self, mut event: EpollEvent) -> Result<OwnedFd, OwnedFd> {
        let Self { watch, fd } = self;
        let Watch::Standing(mut standing) = watch else { return Err(fd) };
        let is_armed = standing.epoll.as_ref().is_some_and(|epoll| epoll.modify(&fd, &mut event).is_ok());
        if is_armed {
            standing.epoll = None;
            return Ok(fd);
        }
        Err(fd)
    }

    /// Nothing watches it any more.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Number {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let Some(epoll) = &self.epoll else { return };
        let (epoll, number) = (epoll.0.as_raw_fd(), self.number.0);
        // SAFETY: both descriptors are open: the one is owned, and the other is closed after this. The kernel reads no
        // event here. If there is no such registration, nothing is to be ended.
        let _ = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, number, std::ptr::null_mut()) };
    }
}

/// Reads what a non-blocking socket holds, as far as there is room.
pub(crate) fn read(socket: BorrowedFd<'_>, buf: &mut ReadBuf<'_>) -> io::Result<()> {
    // SAFETY: the call writes bytes, and makes none uninitialized.
    let count = SockRef::from(&socket).recv(unsafe { buf.unfilled_mut() })?;
    // SAFETY: the kernel has written so many.
    unsafe { buf.assume_init(count) };
    buf.advance(count);
    Ok(())
}
