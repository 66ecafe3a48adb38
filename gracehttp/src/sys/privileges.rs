//! Giving up the rights of root, for all threads.

use std::io;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

/// The kernel's `_LINUX_CAPABILITY_VERSION_3`, with 64 capabilities in two parts.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// No kernel has more capabilities.
const CAPABILITIES: libc::c_ulong = 64;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityPart {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up what a program that this process starts could get rights by, and keeps the rights of the process itself.
///
/// These system calls concern the calling thread alone, and each thread inherits from the one that starts it. So it has to
/// be called while the process has one thread. What the kernel refuses, as in a container with few capabilities, stays.
pub(crate) fn forgo_new_rights() {
    let _ = nix::sys::prctl::set_no_new_privs();
    for capability in 0..CAPABILITIES {
        // SAFETY: takes a number, and no memory. A number that the kernel does not know is an error.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: takes numbers alone.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut parts = [CapabilityPart::default(); 2];
    // SAFETY: header and both parts have the layout of this version of the interface, and outlive the calls.
    unsafe {
        if libc::syscall(libc::SYS_capget, &raw mut header, parts.as_mut_ptr()) == 0 {
            parts.iter_mut().for_each(|part| part.inheritable = 0);
            libc::syscall(libc::SYS_capset, &raw mut header, parts.as_ptr());
        }
    }
}

/// From now on all threads of this process are this user's. With the last step the kernel takes the capabilities that are
/// permitted, effective and ambient from each thread.
///
/// The functions of the C library change all threads, which the system calls do not.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let root = Uid::from_raw(0);
    match setresuid(root, root, root) {
        Err(Errno::EPERM) => {}
        _ => return Err(io::Error::other("the process can become root again")),
    }
    // From other processes of the user the kernel now hides what /proc says about this one, since it may have secrets of
    // root. It has none that its successors, which the user starts, do not have; and they look whose pid file it is, as the
    // commands look who has the endpoints.
    let _ = nix::sys::prctl::set_dumpable(true);
    Ok(())
}
