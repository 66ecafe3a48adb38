//! The start of another program as a child of this process.
//!
//! Not through `Command`: the child has to change what no attribute of a command covers, and a closure that does that
//! costs a fork. A fork copies the page tables, which takes some 10 ms for each GB, and afterwards every thread pays a page
//! fault for each page that it writes. This child borrows the memory instead, as in `posix_spawn`, until it executes the
//! program. Only the calling thread waits for that.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use nix::unistd::Pid;

use super::processes::Program;
use super::set_disposition;

/// The stack of the child until it executes the program. The deepest of its calls needs a few hundred bytes; the C library
/// gives a child of `posix_spawn` 32 KiB.
const STACK: usize = 64 << 10;

/// What a child inherits, beside the three standard streams.
pub(crate) struct Inheritance<'a> {
    /// Stays open across exec.
    pub(crate) descriptor: BorrowedFd<'a>,
    /// Ignored until the program has installed its own handlers: their default would end it.
    pub(crate) ignored: &'a [Signal],
    /// Blocked until the program lets them through.
    pub(crate) held_back: &'a [Signal],
    /// Its soft limit of open descriptors; that of this process if there is none.
    pub(crate) descriptors: Option<rlim_t>,
}

/// A child that was started.
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    /// Becomes readable when the child ends. None before Linux 5.2.
    pub(crate) pidfd: Option<OwnedFd>,
}

/// What the child does, prepared by its parent: it allocates nothing.
struct Birth<'a> {
    path: &'a CStr,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    directory: Option<&'a CStr>,
    descriptor: RawFd,
    ignored: &'a [Signal],
    mask: SigSet,
    limits: Option<(rlim_t, rlim_t)>,
    /// Why the program does not run; 0 as long as nothing has failed.
    failure: AtomicI32,
}

/// Starts a program. Returns once it runs, or why it does not.
pub(crate) fn spawn(program: &Program, inheritance: &Inheritance<'_>) -> io::Result<Spawned> {
    let Program { path, arguments, environment, directory } = program;
    let Inheritance { descriptor, ignored, held_back, descriptors } = inheritance;
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limits = descriptors.map(|soft| (soft.min(hard), hard));
    // No handler of ours may run in the child, where it would act on the memory of this process.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let mut mask = before;
    held_back.iter().for_each(|signal| mask.add(*signal));
    let birth = Birth {
        path,
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        directory: directory.as_deref(),
        descriptor: descriptor.as_raw_fd(),
        ignored,
        mask,
        limits,
        failure: AtomicI32::new(0),
    };
    let spawned = borrow_memory(&birth);
    let _ = before.thread_set_mask();
    let spawned = spawned?;
    match birth.failure.into_inner() {
        0 => Ok(spawned),
        failure => {
            // It has ended, and is reaped here.
            let _ = nix::sys::wait::waitpid(spawned.pid, None);
            Err(io::Error::from_raw_os_error(failure))
        }
    }
}

/// The strings as C programs get them: pointers, and a null pointer at the end.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Makes a child that shares the memory of this process, and waits until it has executed its program or has ended.
fn borrow_memory(birth: &Birth<'_>) -> io::Result<Spawned> {
    extern "C" fn child(birth: *mut c_void) -> c_int {
        // SAFETY: the pointer is to the birth that the suspended thread of the parent has borrowed.
        let birth = unsafe { &*birth.cast_const().cast::<Birth<'_>>() };
        let Err(errno) = birth.exec();
        birth.failure.store(errno as i32, Ordering::Relaxed);
        127
    }
    let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
    let top = stack.as_mut_ptr_range().end.cast::<MaybeUninit<u128>>();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: RawFd = -1;
    // SAFETY: with CLONE_VFORK this thread is suspended until the child executes its program or ends, so that stack, birth
    // and all that it borrows outlive the child's use of them. Until then the child only makes system calls that
    // signal-safety(7) lists or that are bare system calls, and runs no handler: all signals are blocked until their
    // handlers are gone. It shares no descriptor table, handlers, mask or limits with this process.
    let number = unsafe {
        libc::clone(
            child,
            top.map_addr(|top| top & !15).cast(),
            flags,
            ptr::from_ref(birth).cast_mut().cast(),
            &raw mut pidfd,
        )
    };
    let pid = Pid::from_raw(Errno::result(number)?);
    // SAFETY: the kernel has just made the descriptor for us; no other code knows it.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Spawned { pid, pidfd })
}

impl Birth<'_> {
    /// Executes the program. Returns only if that fails.
    fn exec(&self) -> nix::Result<std::convert::Infallible> {
        // Descriptors that the application or a C library left open without close-on-exec would pile up over the
        // generations. The call fails before Linux 5.11: there they do.
        // SAFETY: a plain system call on numbers; no descriptor is closed, only marked, in the child.
        let _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        // Here, in the child: cleared in the parent, the flag would be missing in every other child that the
        // application starts at this moment, which would keep the descriptor open.
        // SAFETY: the parent has borrowed it, and waits.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.descriptor) };
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
        remove_handlers();
        for signal in self.ignored {
            set_disposition(*signal, SigHandler::SigIgn)?;
        }
        if let Some((soft, hard)) = self.limits {
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        }
        // If the directory was removed meanwhile, the program starts in that of this process.
        let _ = self.directory.map(nix::unistd::chdir);
        nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None)?;
        // SAFETY: path and strings end with null bytes, and the two lists with null pointers.
        unsafe { libc::execve(self.path.as_ptr(), self.arguments, self.environment) };
        Err(Errno::last())
    }
}

/// Gives all signals that have handlers their default effect, as exec does. SIGPIPE, too, which the runtime of the standard
/// library ignores: exec would keep that.
fn remove_handlers() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: all zeroes are a valid `sigaction`: the default effect, with an empty mask.
        let (mut current, default): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
        // SAFETY: the call writes the current action to the given place; for a number that is no signal it fails.
        let asked = unsafe { libc::sigaction(number, ptr::null(), &raw mut current) };
        let is_handled = ![libc::SIG_DFL, libc::SIG_IGN].contains(&current.sa_sigaction);
        if asked == 0 && (is_handled || number == libc::SIGPIPE) {
            // SAFETY: the call reads the given action, which names no function.
            let _ = unsafe { libc::sigaction(number, &raw const default, ptr::null_mut()) };
        }
    }
}

/// How a child has ended, if it has; it is reaped then.
pub(crate) fn reap(child: Pid) -> io::Result<Option<ExitStatus>> {
    let mut status = 0;
    // SAFETY: the call writes one `int` to the given place.
    let number = unsafe { libc::waitpid(child.as_raw(), &raw mut status, libc::WNOHANG) };
    Ok((Errno::result(number)? != 0).then(|| ExitStatus::from_raw(status)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    fn text(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    fn shell(script: &str) -> Program {
        Program {
            path: text("/bin/sh"),
            arguments: vec![text("sh"), text("-c"), text(script)],
            environment: vec![text("NAME=value")],
            directory: Some(text("/usr")),
        }
    }

    fn reaped(child: &Spawned) -> ExitStatus {
        loop {
            match reap(child.pid).unwrap() {
                Some(status) => return status,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// How many children have ended, but were not reaped, before they ran a program: until then they have the name of the
    /// thread that made them.
    fn dead_children_of_this_thread() -> usize {
        let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
        let is_dead_child = |stat: &String| {
            let (front, rest) = stat.rsplit_once(") ").unwrap_or_default();
            let mut rest = rest.split(' ');
            let parent = std::process::id().to_string();
            front.split_once('(').is_some_and(|(_, comm)| comm == name.trim_end())
                && rest.next() == Some("Z")
                && rest.next() == Some(&parent)
        };
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let stats = processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
        stats.filter(is_dead_child).count()
    }

    #[test]
    fn a_program_gets_its_inheritance_and_nothing_else() {
        let (mut reader, writer) = io::pipe().unwrap();
        // As a C library might leave it: without close-on-exec.
        let left_open = nix::unistd::dup(&reader).unwrap();
        let fd = writer.as_fd().as_raw_fd();
        // The masks are those of the shell once more, since `exec` makes no process.
        let script = format!(
            "exec >/proc/$$/fd/{fd}; pwd; echo $NAME; ulimit -Sn; test -e /proc/$$/fd/{} && echo open; \
             exec grep -E 'SigBlk|SigIgn' /proc/self/status",
            left_open.as_raw_fd()
        );
        let inheritance = Inheritance {
            descriptor: writer.as_fd(),
            ignored: &[Signal::SIGUSR1],
            held_back: &[Signal::SIGTERM],
            descriptors: Some(64),
        };
        let child = spawn(&shell(&script), &inheritance).unwrap();
        drop(writer);
        let mut told = String::new();
        reader.read_to_string(&mut told).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[..3], ["/usr", "value", "64"]);
        let bits = |line: &str| u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        let bit = |signal: Signal| 1_u64 << (signal as i32 - 1);
        assert_eq!(bits(lines[3]) & bit(Signal::SIGTERM), bit(Signal::SIGTERM), "{told}");
        assert_eq!(bits(lines[3]) & bit(Signal::SIGHUP), 0, "{told}");
        assert_eq!(bits(lines[4]) & bit(Signal::SIGUSR1), bit(Signal::SIGUSR1), "{told}");
        assert_eq!(bits(lines[4]) & bit(Signal::SIGPIPE), 0, "{told}");
        assert_eq!(lines.len(), 5, "{told}");
        assert!(reaped(&child).success());
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error_and_leaves_no_child() {
        let program = Program { path: text("/no/such/program"), ..shell("") };
        let (reader, _writer) = io::pipe().unwrap();
        let inheritance =
            Inheritance { descriptor: reader.as_fd(), ignored: &[], held_back: &[], descriptors: None };
        let error = spawn(&program, &inheritance).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(dead_children_of_this_thread(), 0);
    }
}
