//! The only `unsafe` code of the crate: system calls that have no safe interface.
#![allow(unsafe_code)]

mod descriptor;
mod privileges;
mod processes;
mod shared_memory;
#[cfg(feature = "admin")]
mod sock_diag;
mod spawn;

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, UnixAddr, getpeername, sendmsg};
use parking_lot::Mutex;
use socket2::{SockAddr, SockAddrStorage};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) use descriptor::{Descriptor, Registrar, read};
pub(crate) use privileges::{become_user, forgo_new_rights};
pub(crate) use processes::{
    Program, adopt_orphans, become_program, exit_now, fork, note_sender, send_signal,
};
pub(crate) use shared_memory::{SharedWords, create_shared, map_shared};
#[cfg(feature = "admin")]
pub(crate) use sock_diag::unix_queue_length;
pub(crate) use spawn::{Inheritance, Spawned, reap, spawn};

/// How many descriptors one message carries at most: the kernel's own limit (`SCM_MAX_FD`).
pub(crate) const MAX_FDS: usize = 253;

/// Takes a variable out of the environment.
///
/// Has to be called before the process has a second thread: `setenv` and `getenv` of different threads race
/// in the C library.
pub(crate) fn take_var(name: &OsStr) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: called first thing in the life of the application, when the process has one thread.
    unsafe { std::env::remove_var(name) };
    Some(value)
}

/// Owns a descriptor that was inherited under this number.
///
/// Returns nothing if the number is no open descriptor above standard error.
pub(crate) fn own_inherited(number: RawFd) -> Option<OwnedFd> {
    if number <= 2 {
        return None;
    }
    // SAFETY: borrowed for this one call, which fails with EBADF if the number is not open.
    let open = fcntl(unsafe { BorrowedFd::borrow_raw(number) }, FcntlArg::F_GETFD).is_ok();
    // SAFETY: the descriptor is open, and the variable that named it is gone: no other code owns it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Calls `hook` when the process exits, unless a signal kills it, and before the hooks that are there already. It gets the time
/// at which the first of them was called. The hook must return, and must not panic.
pub(crate) fn at_exit(hook: fn(Instant)) {
    struct Hook {
        run: fn(Instant),
        /// The process that it is for: a child that the application has forked lacks the threads that it may wait for.
        pid: u32,
    }
    static HOOKS: Mutex<Vec<Hook>> = Mutex::new(Vec::new());
    extern "C" fn run() {
        let hooks = std::mem::take(&mut *HOOKS.lock());
        let own = hooks.iter().rev().filter(|hook| hook.pid == std::process::id());
        let begun = Instant::now();
        own.for_each(|hook| (hook.run)(begun));
    }
    let is_first = {
        let mut hooks = HOOKS.lock();
        hooks.push(Hook { run: hook, pid: std::process::id() });
        hooks.len() == 1
    };
    if is_first {
        // SAFETY: a plain registration; the function lives as long as the process. If it fails, the hook is not
        // called, and nothing else is lost.
        let _ = unsafe { libc::atexit(run) };
    }
}

/// Gives the pages of the heap that are wholly free back to the system, in the arenas of all threads. Only glibc has such a
/// call, and only its own allocator obeys it.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: any thread may call it at any time (malloc_trim(3)): it takes the lock of each arena, and touches no block
    // that is in use.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Prepares a command so that its process starts with this soft limit of open descriptors.
pub(crate) fn limit_descriptors(command: &mut Command, soft: rlim_t) {
    let prepare = move || {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?)
    };
    // SAFETY: between fork and exec the closure makes two plain system calls, and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

/// Gives a signal its default effect back.
pub(crate) fn reset_disposition(signal: Signal) -> nix::Result<()> {
    set_disposition(signal, SigHandler::SigDfl)
}

/// Makes sure that the kernel keeps the exit status of children, even if the process that started us ignored SIGCHLD:
/// an ignored signal stays ignored across exec, and then the status is lost.
pub(crate) fn keep_exit_statuses() {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with a null pointer for the new action the call only writes the current one.
    let asked = unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), current.as_mut_ptr()) };
    // SAFETY: the call has succeeded, so it has written the action.
    if asked == 0 && unsafe { current.assume_init() }.sa_sigaction == libc::SIG_IGN {
        // Fails only for invalid signal numbers.
        let _ = reset_disposition(Signal::SIGCHLD);
    }
}

fn set_disposition(signal: Signal, handler: SigHandler) -> nix::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler is one of the kernel's own, no function of ours.
    unsafe { sigaction(signal, &action) }.map(drop)
}

/// A descriptor that the runtime watches.
#[derive(Debug)]
pub(crate) struct Watched<T>(pub(crate) T);

impl<T: AsFd> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Has the runtime watch a descriptor.
pub(crate) fn watch<T: AsFd + 'static>(inner: T, interest: Interest) -> io::Result<AsyncFd<Watched<T>>> {
    // SAFETY: `inner` keeps its descriptor open for as long as it lives, and the `AsyncFd` owns it. The types
    // that are passed here each stand for one descriptor all their life.
    Ok(unsafe { AsyncFd::register_with_interest(Watched(inner), interest) }?)
}

/// Closes both directions of a connection, even if another process holds a duplicate of its socket.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) -> nix::Result<()> {
    nix::sys::socket::shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Both)
}

/// Looks at a connected socket that hyper owns, so that no reference to it is at hand.
///
/// It keeps only the number of the descriptor. Used after the socket was closed, it would look at another descriptor
/// or at none: drop it before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe(RawFd);

/// Whether the other side of a connection is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    There,
    /// It sends no more, and may still read.
    HalfClosed,
    /// It has reset the connection, or, on a Unix socket, closed it.
    Gone,
}

impl Probe {
    pub(crate) fn of(socket: BorrowedFd<'_>) -> Self {
        Self(socket.as_raw_fd())
    }

    /// How many written bytes the other side has not acknowledged; a FIN counts as one. On a Unix socket the kernel
    /// counts its buffers, which are larger than their content.
    pub(crate) fn unacknowledged(self) -> u64 {
        let mut count: libc::c_int = 0;
        // SIOCOUTQ, by the name that the same number has for terminals. SAFETY: the call writes one `int` to the
        // given place, and fails with EBADF if the descriptor is not open.
        let outcome = unsafe { libc::ioctl(self.0, libc::TIOCOUTQ, &raw mut count) };
        // If the socket does not report it, there is nothing to wait for.
        if outcome == 0 { u64::try_from(count).unwrap_or_default() } else { 0 }
    }

    /// Whether a reset has ended the TCP connection. Its unacknowledged bytes then stay counted, but will never be
    /// acknowledged.
    pub(crate) fn is_reset(self) -> bool {
        getpeername::<SockaddrStorage>(self.0) == Err(Errno::ENOTCONN)
    }

    /// Whether the client is still there. A FIN or a reset is found even behind unread bytes.
    pub(crate) fn presence(self) -> Presence {
        let mut look = libc::pollfd { fd: self.0, events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: the call reads and writes the one `pollfd` that it is given, and does not wait.
        let found = unsafe { libc::poll(&raw mut look, 1, 0) };
        match look.revents {
            _ if found <= 0 => Presence::There,
            events if events & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 => Presence::Gone,
            _ => Presence::HalfClosed,
        }
    }
}

/// Resets a TCP connection: the kernel throws its buffers away and sends a reset. Unlike a close with SO_LINGER, it
/// works even if another process holds a duplicate of the descriptor.
pub(crate) fn reset(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all zeroes are a valid `sockaddr`, which with AF_UNSPEC dissolves the connection (connect(2)).
    let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
    let len = size_of_val(&nowhere) as libc::socklen_t;
    // SAFETY: the call reads the address, whose true length it is given.
    Errno::result(unsafe { libc::connect(socket.as_raw_fd(), &raw const nowhere, len) })?;
    Ok(())
}

/// A connection that was accepted: non-blocking, and closed on exec.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) fd: OwnedFd,
    /// The address of the client; none on a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
}

/// Accepts one connection.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<Accepted> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let accept = |address: *mut SockAddrStorage, len: *mut libc::socklen_t| {
        // SAFETY: the two pointers are to an address and its true length, of which the kernel writes no more.
        let number = unsafe { libc::accept4(listener.as_raw_fd(), address.cast(), len, flags) };
        Ok(Errno::result(number)?)
    };
    // SAFETY: the kernel has written the address and its length, if the call succeeds.
    let (number, address) = unsafe { SockAddr::try_init(accept) }?;
    // SAFETY: the kernel has just made the descriptor for us; no other code knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(Accepted { fd, peer: address.as_socket() })
}

/// How many clients wait in the queue of a TCP listener.
pub(crate) fn tcp_queue_length(listener: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: all zeroes are a valid `tcp_info`: numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which is what `info` has.
    Errno::result(unsafe {
        let info = (&raw mut info).cast();
        libc::getsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info, &raw mut len)
    })?;
    // For a listener, this field is the length of its queue.
    Ok(info.tcpi_unacked as usize)
}

/// Sends one message with descriptors over a Unix socket that keeps message boundaries.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let sent = sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Sends one byte, and never waits: one for which there is no room is lost. A handler of signals may call it.
pub(crate) fn send_byte(socket: BorrowedFd<'_>, byte: u8) {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the pointer is to one live byte. send(2) is one of the calls that signal-safety(7) lists.
    let _ = unsafe { libc::send(socket.as_raw_fd(), (&raw const byte).cast(), 1, flags) };
}

/// One received message.
#[derive(Debug)]
pub(crate) struct Received {
    /// Its length; 0 when the other end is closed.
    pub(crate) len: usize,
    /// Its descriptors, closed on exec.
    pub(crate) fds: Vec<OwnedFd>,
}

/// Receives one message with its descriptors.
///
/// A message that is longer than the buffer is an error. Descriptors that the process had no room for are
/// missing at the end of the list. (nix gives no access to the others in that case, and leaks them.)
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    // Words, for the alignment that control messages need.
    let mut control = [0_u64; CONTROL_WORDS];
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes are a valid `msghdr`: null pointers with lengths of nought.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: the header points to two live buffers with their true lengths.
    let len = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) })?;

    let fds = received_fds(&header);
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(Errno::EMSGSIZE.into());
    }
    Ok(Received { len: usize::try_from(len).unwrap_or_default(), fds })
}

/// Room for [`MAX_FDS`] descriptors and the header of their control message.
const CONTROL_WORDS: usize = {
    // SAFETY: plain arithmetic.
    let bytes = unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<RawFd>()) as u32) } as usize;
    bytes.div_ceil(size_of::<u64>())
};

/// Owns the descriptors that the kernel put into a message's control buffer.
fn received_fds(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the control buffer that the header points to, and has set its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return headers inside of the control buffer, or null.
        let control = unsafe { &*next };
        if (control.cmsg_level, control.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: plain arithmetic on the header's own length.
            let data_len = control.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
            for index in 0..data_len / size_of::<RawFd>() {
                // SAFETY: `cmsg_len` says that this many descriptors follow the header, perhaps unaligned.
                let number = unsafe { libc::CMSG_DATA(next).cast::<RawFd>().add(index).read_unaligned() };
                // SAFETY: the kernel has just made the descriptor for us; no other code knows it.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    fds
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::FdFlag;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    #[test]
    fn descriptors_travel_with_their_message() {
        let (left, right) = pair();
        let (a, b) = pair();
        send(left.as_fd(), b"two", &[a.as_fd(), b.as_fd()]).unwrap();
        send(left.as_fd(), b"none", &[]).unwrap();
        let mut buffer = [0; 16];
        let two = receive(right.as_fd(), &mut buffer).unwrap();
        assert_eq!((two.len, two.fds.len()), (3, 2));
        let flags = fcntl(&two.fds[0], FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
        let none = receive(right.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..none.len], none.fds.len()), (&b"none"[..], 0));
        drop(left);
        assert_eq!(receive(right.as_fd(), &mut buffer).unwrap().len, 0);
    }

    #[test]
    fn a_message_that_does_not_fit_is_an_error() {
        let (left, right) = pair();
        send(left.as_fd(), b"too long", &[]).unwrap();
        assert!(receive(right.as_fd(), &mut [0; 4]).is_err());
    }

    #[test]
    fn a_probe_sees_unacknowledged_bytes_and_the_other_side() {
        use std::io::Write as _;
        use std::net::{Shutdown, TcpListener, TcpStream};

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let probe = Probe::of(server.as_fd());
        assert_eq!((probe.unacknowledged(), probe.presence()), (0, Presence::There));
        while server.write(&[0; 65536]).is_ok() {}
        assert!(probe.unacknowledged() > 65536);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(probe.presence(), Presence::HalfClosed);
        let _duplicate = server.try_clone().unwrap();
        reset(server.as_fd()).unwrap();
        assert!(
            client.take_error().unwrap().is_some(),
            "the client sees the reset, though there is a duplicate"
        );
        assert_eq!(Probe::of(client.as_fd()).presence(), Presence::Gone);
    }

    #[test]
    fn a_number_that_is_no_descriptor_is_not_owned() {
        assert!(own_inherited(1).is_none());
        assert!(own_inherited(-1).is_none());
        assert!(own_inherited(1_000_000).is_none());
    }
}
