//! Memory that several processes share: a file without a name, mapped for the rest of the process's life.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;

/// Makes a file of so many words, all zero, whose size can never change. Its pages take memory once they are written.
pub(crate) fn create_shared(name: &CStr, words: usize) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let size = i64::try_from(words * size_of::<u64>()).map_err(io::Error::other)?;
    nix::unistd::ftruncate(&file, size)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(fixed_size()))?;
    Ok(file)
}

/// Maps such a file, which may come from another process.
pub(crate) fn map_shared(file: impl AsFd) -> io::Result<&'static [AtomicU64]> {
    let file = file.as_fd();
    let seals = SealFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GET_SEALS)?);
    // A file that another process could make shorter would end this one by SIGBUS.
    if !seals.contains(fixed_size()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its size can change"));
    }
    let bytes = usize::try_from(fstat(file)?.st_size).unwrap_or_default();
    let words = bytes / size_of::<u64>();
    if words == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty"));
    }
    let (access, number) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
    // SAFETY: the kernel chooses the address, so nothing else is there.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, number, 0) };
    if start == libc::MAP_FAILED {
        return Err(Errno::last().into());
    }
    // SAFETY: the mapping begins at a page, has this size for ever, thanks to the seals, and is never removed. All
    // processes that have it use atomics alone; any bits are a valid number.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), words) })
}

fn fixed_size() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn two_mappings_show_the_same_words() {
        let file = create_shared(c"test", 1024).unwrap();
        let (one, other) = (map_shared(&file).unwrap(), map_shared(&file).unwrap());
        assert_eq!(one.len(), 1024);
        one[7].fetch_add(5, Ordering::Relaxed);
        assert_eq!(other[7].load(Ordering::Relaxed), 5);
    }

    #[test]
    fn a_file_whose_size_can_change_is_not_mapped() {
        let file = memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&file, 4096).unwrap();
        assert!(map_shared(&file).is_err());
    }
}
