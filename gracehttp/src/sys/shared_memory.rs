//! Memory that several processes share: a file without a name.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;

/// Makes a file of so many words, all zero, whose size can never change. Its pages take memory once they are written.
pub(crate) fn create_shared(name: &CStr, words: usize) -> io::Result<OwnedFd> {
    let size = i64::try_from(words * size_of::<u64>()).map_err(io::Error::other)?;
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if u64::try_from(size).is_ok_and(|size| size > limit) {
        // The kernel would end the process by SIGXFSZ.
        return Err(io::Error::other(format!("its {size} bytes are over the limit of file sizes, {limit}")));
    }
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    nix::unistd::ftruncate(&file, size)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(fixed_size()))?;
    Ok(file)
}

/// Maps such a file, which may come from another process, for the rest of this process's life.
pub(crate) fn map_shared(file: impl AsFd) -> io::Result<&'static [AtomicU64]> {
    let words = ManuallyDrop::new(SharedWords::of(file)?);
    // SAFETY: as in `deref`; it is never unmapped.
    Ok(unsafe { words.0.as_ref() })
}

/// The words of such a file, mapped until they are dropped.
pub(crate) struct SharedWords(NonNull<[AtomicU64]>);

impl SharedWords {
    /// Maps a file, which may come from another process.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
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
        let size = words * size_of::<u64>();
        // SAFETY: the kernel chooses the address, so nothing else is there.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, access, libc::MAP_SHARED, number, 0) };
        if start == libc::MAP_FAILED {
            return Err(Errno::last().into());
        }
        let start = NonNull::new(start.cast::<AtomicU64>()).ok_or(Errno::EFAULT)?;
        Ok(Self(NonNull::slice_from_raw_parts(start, words)))
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping begins at a page and has this size as long as `self` lives, thanks to the seals. All
        // processes that have it use atomics alone; any bits are a valid number.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: this is what `mmap` has returned, and no borrow of it is left. Fails never.
        unsafe { libc::munmap(self.0.as_ptr().cast(), self.0.len() * size_of::<u64>()) };
    }
}

// SAFETY: it owns the mapping, which belongs to no thread, and gives access to atomics alone.
unsafe impl Send for SharedWords {}
// SAFETY: the same.
unsafe impl Sync for SharedWords {}

impl fmt::Debug for SharedWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWords").field("words", &self.len()).finish()
    }
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
    fn a_mapping_lives_as_long_as_its_owner() {
        let file = create_shared(c"test", 1024).unwrap();
        let is_mapped = || {
            let inode = fstat(&file).unwrap().st_ino.to_string();
            std::fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .any(|line| line.contains("/memfd:test") && line.split_whitespace().nth(4) == Some(&inode))
        };
        let words = SharedWords::of(&file).unwrap();
        words[1023].store(9, Ordering::Relaxed);
        assert!(is_mapped());
        drop(words);
        assert!(!is_mapped());
        assert_eq!(SharedWords::of(&file).unwrap()[1023].load(Ordering::Relaxed), 9);
    }

    #[test]
    fn a_file_whose_size_can_change_is_not_mapped() {
        let file = memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&file, 4096).unwrap();
        assert!(map_shared(&file).is_err());
    }
}
