//! A socket's descriptor, and who watches it.
//!
//! Epoll registrations follow the open file description, not the descriptor: one that is left behind when a descriptor
//! is closed lives on while another process holds a duplicate, and can't be removed any more. So each registration ends
//! here, before its descriptor can go anywhere.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

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

/// A registration with something else than the runtime. It ends when this is dropped.
#[derive(Debug)]
struct Standing {
    /// None if the registration stays.
    registrar: Option<Arc<dyn Registrar>>,
    key: u32,
    number: Number,
}

/// What has registrations of its own.
pub(crate) trait Registrar: fmt::Debug + Send + Sync {
    /// Ends the registration of this descriptor, which has this key.
    fn end(&self, key: u32, fd: BorrowedFd<'_>);
}

/// The number of the descriptor beside it, which stays open for as long as this.
#[derive(Debug)]
pub(crate) struct Number(RawFd);

impl Descriptor {
    /// Nothing watches it.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { watch: Watch::Nothing, fd }
    }

    /// It has a registration with this key.
    pub(crate) fn standing(fd: OwnedFd, registrar: Arc<dyn Registrar>, key: u32) -> Self {
        let number = Number(fd.as_raw_fd());
        Self { watch: Watch::Standing(Standing { registrar: Some(registrar), key, number }), fd }
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

    /// The key of its standing registration, if it has one.
    pub(crate) fn key(&self) -> Option<u32> {
        match &self.watch {
            Watch::Standing(standing) => Some(standing.key),
            Watch::Nothing | Watch::Runtime(_) => None,
        }
    }

    /// The descriptor. Its standing registration stays, if it has one.
    pub(crate) fn into_registered(self) -> OwnedFd {
        let Self { watch, fd } = self;
        if let Watch::Standing(mut standing) = watch {
            standing.registrar = None;
        }
        fd
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
        let Some(registrar) = &self.registrar else { return };
        // SAFETY: the descriptor beside this is open, and is closed or moved out after this.
        registrar.end(self.key, unsafe { BorrowedFd::borrow_raw(self.number.0) });
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
