//! Processes: a fork of one that has a single thread, the start of another program, and who sent a signal.

use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use nix::unistd::{ForkResult, Pid};

use super::set_disposition;

/// Makes a copy of this process. Returns its pid; nothing in the copy.
///
/// Only for a process with one thread: a lock that another thread holds would stay locked in the copy.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the process has one thread, so the copy is as whole as the original, and may do all that it may.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Ends this process at once: no destructor and no exit handler runs.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(status) }
}

/// From now on orphans below this process become its children.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // SAFETY: a plain system call on numbers.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })?;
    Ok(())
}

/// Sends a signal that may have no name. A process that is gone does not need it.
pub(crate) fn send_signal(process: Pid, signal: i32) {
    // SAFETY: a plain system call on numbers.
    let _ = unsafe { libc::kill(process.as_raw(), signal) };
}

/// A program to become.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: CString,
    pub(crate) arguments: Vec<CString>,
    /// Each as `NAME=value`.
    pub(crate) environment: Vec<CString>,
    /// If it is gone, the program stays in the present one.
    pub(crate) directory: Option<CString>,
}

/// Replaces the program of this process, which has one thread. Returns only if that fails.
///
/// Beside the standard streams the new program gets `inherited`. It starts with `held_back` blocked, so that no signal
/// has its default effect before its handlers are installed. (The standard library would unblock all signals for a
/// moment, in which one of them could end the process.)
pub(crate) fn become_program(
    program: &Program,
    inherited: &[BorrowedFd<'_>],
    held_back: &SigSet,
) -> io::Error {
    // The call fails before Linux 5.11: there, descriptors without the flag pile up.
    // SAFETY: a plain system call on numbers; no descriptor is closed, only marked.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    let prepared = inherited
        .iter()
        .try_for_each(|fd| fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).map(drop))
        // The runtime of the standard library ignores it, and exec would keep that.
        .and_then(|()| set_disposition(Signal::SIGPIPE, SigHandler::SigDfl))
        .and_then(|()| nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(held_back), None));
    if let Err(errno) = prepared {
        return errno.into();
    }
    let Program { path, arguments, environment, directory } = program;
    if let Some(directory) = directory {
        let _ = nix::unistd::chdir(directory.as_c_str());
    }
    match nix::unistd::execve(path, arguments, environment) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// Calls `note` each time this process handles `signal`, with the pid of the process that sent it: 0 if it was the kernel.
///
/// The call comes from the handler: `note` may only use atomics and system calls that signal-safety(7) lists.
pub(crate) fn note_sender(signal: Signal, note: impl Fn(Pid) + Send + Sync + 'static) -> io::Result<()> {
    let note = Arc::new(note);
    let handler = move |info: &libc::siginfo_t| {
        // SAFETY: the field is valid for signals that a process sent; for others it is zero or not looked at.
        let sender = if info.si_code <= 0 { unsafe { info.si_pid() } } else { 0 };
        note(Pid::from_raw(sender));
    };
    // SAFETY: the caller's closure keeps to what a handler may do, and this one adds a comparison.
    unsafe { signal_hook_registry::register_sigaction(signal as i32, handler) }.map(drop)
}
