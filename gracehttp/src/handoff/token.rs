//! Decides which of two processes owns a batch of connections.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::read;

/// An event counter of the kernel (eventfd(2)) that both sides hold, set to one. Reading takes the one out: the side
/// that reads first owns the batch, even if the other side is slow, stopped or unresponsive.
#[derive(Debug)]
pub(crate) struct OwnershipToken(OwnedFd);

impl OwnershipToken {
    pub(super) fn new() -> io::Result<Self> {
        let counter = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(counter.into()))
    }

    /// The token that came with a batch.
    pub(super) fn received(counter: OwnedFd) -> Self {
        Self(counter)
    }

    /// Claims the batch; false if the other side was faster.
    pub(super) fn claim(self) -> bool {
        read(&self.0, &mut [0; 8]).is_ok_and(|length| length == 8)
    }
}

impl AsFd for OwnershipToken {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_of_two_gets_the_batch() {
        for _ in 0..100 {
            let ours = OwnershipToken::new().unwrap();
            let theirs = OwnershipToken::received(ours.as_fd().try_clone_to_owned().unwrap());
            let other = std::thread::spawn(|| theirs.claim());
            assert_ne!(ours.claim(), other.join().unwrap());
        }
    }
}
