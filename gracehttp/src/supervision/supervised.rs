//! A worker's view of its supervisor.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{Pid, getpid, getppid};
use tokio::io::Interest;

use crate::config::SUPERVISOR_VARIABLE;
use crate::error::Error;
use crate::lifecycle::{Privileges, Signal, generation};
use crate::supervision::message::{self, Kept, MAX_FDS, MAX_MESSAGE, WAKE};
use crate::supervision::page::{Current, Page, Rules, State};
use crate::sys::{self, Received};

/// The name of the parcel with which a successor gets the supervisor of its predecessor.
pub(crate) const PARCEL: &str = "supervisor";

/// A supervisor that does not read gets this long before a message is given up.
const SEND_WITHIN: Duration = Duration::from_millis(500);
const SEND_AGAIN: Duration = Duration::from_millis(5);

/// The supervisor of this process, as a worker knows it. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Supervised {
    pid: Pid,
    page: Page,
    channel: Arc<OwnedFd>,
    /// The signals that the supervisor has forwarded to this process and that were not looked at, a bit each.
    forwarded: Arc<AtomicU64>,
}

/// What a fresh worker, started after a crash, gets from its supervisor.
#[derive(Debug)]
pub(crate) struct Legacy {
    pub(crate) supervised: Supervised,
    /// What the worker before it had the supervisor keep.
    kept: Vec<Kept>,
    /// Its own place in the chain.
    pub(crate) generation: u64,
}

impl Legacy {
    /// What was kept under this name.
    pub(crate) fn take(&mut self, name: &str) -> Vec<Kept> {
        let (wanted, others) = std::mem::take(&mut self.kept).into_iter().partition(|kept| kept.name == name);
        self.kept = others;
        wanted
    }
}

/// What the supervisor of this process has left for it, if it was started after a crash.
///
/// Has to be called before the process has a second thread.
pub(crate) fn legacy() -> Result<Option<Legacy>, Error> {
    let Some(value) = sys::take_var(OsStr::new(SUPERVISOR_VARIABLE)) else { return Ok(None) };
    let refused = |why: &str| {
        Error::new(format!(
            "{SUPERVISOR_VARIABLE} is set to `{}`, but {why}; only a supervisor sets this variable: unset it",
            value.display()
        ))
    };
    let numbers: Vec<i32> = value
        .to_str()
        .and_then(|value| value.split(',').map(|number| number.parse().ok()).collect())
        .ok_or_else(|| refused("those are no numbers of descriptors"))?;
    let [page, channel, kept] =
        numbers[..].try_into().map_err(|_| refused("those are not three descriptors"))?;
    let own = |number| -> Result<OwnedFd, Error> {
        let fd = sys::own_inherited(number).ok_or_else(|| refused("no such descriptor was inherited"))?;
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
            .map_err(|errno| refused(&format!("{number} can't be kept from child processes ({errno})")))?;
        Ok(fd)
    };
    let page = Page::of(own(page)?).map_err(|error| refused(&format!("its page can't be read: {error}")))?;
    let channel = own(channel)?;
    let kept =
        all_kept(own(kept)?.as_fd()).map_err(|error| refused(&format!("nothing was kept: {error}")))?;
    let generation = page.current().generation;
    Ok(Some(Legacy { supervised: Supervised::new(getppid(), page, channel), kept, generation }))
}

/// Everything that a supervisor has put into its end of a socketpair before it closed it.
fn all_kept(socket: BorrowedFd<'_>) -> io::Result<Vec<Kept>> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut all = Vec::new();
    loop {
        match sys::receive(socket, &mut buffer)? {
            Received { len: 0, .. } => return Ok(all),
            Received { len, fds } => all.extend(Kept::parse(&buffer[..len], fds)),
        }
    }
}

/// The value of the variable, as [`legacy`] reads it.
pub(super) fn variable_value(page: BorrowedFd<'_>, channel: BorrowedFd<'_>, kept: BorrowedFd<'_>) -> String {
    let [page, channel, kept] = [page, channel, kept].map(|fd| fd.as_raw_fd());
    format!("{page},{channel},{kept}")
}

impl Supervised {
    pub(super) fn new(pid: Pid, page: Page, channel: OwnedFd) -> Self {
        Self { pid, page, channel: Arc::new(channel), forwarded: Arc::default() }
    }

    /// The supervisor that a predecessor tells its successor of.
    pub(crate) fn received(data: &[u8], fds: Vec<OwnedFd>) -> Option<Self> {
        let pid = data.first_chunk().map(|bytes| Pid::from_raw(i32::from_le_bytes(*bytes)))?;
        let [page, channel] = <[OwnedFd; 2]>::try_from(fds).ok()?;
        Some(Self::new(pid, Page::of(page).ok()?, channel))
    }

    /// What a successor needs to know of it: later releases may add bytes and descriptors at the end.
    pub(crate) fn for_successor(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let fds = [self.page.as_fd(), self.channel.as_fd()].map(|fd| fd.try_clone_to_owned());
        Ok((self.pid.as_raw().to_le_bytes().to_vec(), fds.into_iter().collect::<io::Result<_>>()?))
    }

    /// The process id of the service.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// From now on notes the signals that this process gets, and who sent them.
    pub(crate) fn note_signals(&self, signals: impl IntoIterator<Item = Signal>) {
        let own_pid = getpid();
        for signal in signals.into_iter().map(Signal::number) {
            let Self { pid: supervisor, page, channel, forwarded } = self.clone();
            let note = move |sender: Pid| {
                if sender == supervisor {
                    forwarded.fetch_or(1 << signal as u64, Ordering::AcqRel);
                // The predecessor is the parent, and passes on signals that the service got earlier. The supervisor has not
                // got such a signal now.
                } else if page.current().pid == own_pid && sender != getppid() {
                    page.note_signal(signal);
                    // The supervisor has to look now: it takes a signal that it sees much later for another one.
                    sys::send_byte(channel.as_fd(), WAKE);
                }
            };
            // If this fails, a signal to the whole process group counts twice.
            let _ = sys::note_sender(signal, note);
        }
    }

    /// Whether the supervisor has forwarded this signal, and this process has not asked before.
    pub(crate) fn has_forwarded(&self, signal: Signal) -> bool {
        let bit = 1 << signal.number() as u64;
        self.forwarded.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Makes this process the one that counts, with its own rules. False if another process has the place: then this one
    /// must not serve.
    pub(crate) fn take_place(&self, rules: &Rules) -> bool {
        let own = Current { generation: generation(), pid: getpid(), state: State::Serving };
        loop {
            let current = self.page.current();
            let is_own = current.pid == own.pid;
            // The worker before this one has died at the last moment, and the supervisor has not seen it yet.
            let is_before =
                current.generation < own.generation && matches!(current.state, State::Serving | State::Lost);
            if !is_own && !is_before {
                return false;
            }
            // First: a crash just after that is judged by them.
            self.page.set_rules(rules);
            if current == own || self.page.change_current(current, own) {
                return true;
            }
        }
    }

    /// The successor counts from now on.
    pub(crate) fn give_place(&self, successor: Pid) {
        let own = self.page.current();
        if own.pid == getpid() {
            let successor = Current { generation: generation() + 1, pid: successor, state: State::Serving };
            self.page.change_current(own, successor);
        }
        self.wake();
    }

    /// Makes this process the one that counts again: its successor is dead, or will be at once. False if the service
    /// ends, or if another process has the place.
    pub(crate) fn take_back_place(&self, successor: Pid, rules: &Rules) -> bool {
        let own = Current { generation: generation(), pid: getpid(), state: State::Serving };
        let current = self.page.current();
        let is_successor = current.pid == successor && current.state == State::Serving;
        let is_ours = current == own || is_successor && self.page.change_current(current, own);
        if is_ours {
            self.page.set_rules(rules);
            self.wake();
        }
        is_ours
    }

    /// The service ends with this process, if this is the one that counts.
    pub(crate) fn end(&self) {
        let own = self.page.current();
        if own.pid == getpid() {
            self.page.change_current(own, Current { state: State::Ending, ..own });
        }
    }

    /// Whether this is the worker that counts, and is to serve on.
    pub(crate) fn counts(&self, worker: Pid) -> bool {
        let current = self.page.current();
        current.pid == worker && current.state == State::Serving
    }

    /// The successor, which this process can't replace any more, is dead. If it still counts, the supervisor learns that,
    /// and `how` it ended.
    pub(crate) fn report_lost(&self, successor: Pid, how: &str) {
        let current = self.page.current();
        let lost = Current { state: State::Lost, ..current };
        if self.counts(successor) && self.page.change_current(current, lost) {
            // Without it the supervisor finds the same in the page, later and without the words.
            let _ = self.send(&message::lost(how), &[]);
        }
    }

    /// Whether a hang is looked for, so that this process has to [beat](Self::beat).
    pub(crate) fn hang_timeout(&self) -> Option<Duration> {
        self.page.hang_timeout()
    }

    /// The control runtime answers; the worker threads have been silent for so long.
    pub(crate) fn beat(&self, silence: Duration) {
        if self.page.current().pid == getpid() {
            self.page.beat(silence);
        }
    }

    /// Has the supervisor keep these things under a name for the next worker, in place of what it had under that name.
    pub(crate) async fn keep(&self, name: &str, things: &[(Vec<u8>, Vec<BorrowedFd<'_>>)]) -> io::Result<()> {
        static SETS: AtomicU64 = AtomicU64::new(0);
        let own_pid = u64::from(std::process::id());
        let set = own_pid << 32 | (SETS.fetch_add(1, Ordering::Relaxed) & u64::from(u32::MAX));
        let nothing = [(Vec::new(), Vec::new())];
        let things = if things.is_empty() { &nothing } else { things };
        for (place, (data, fds)) in things.iter().enumerate() {
            debug_assert!(fds.len() <= MAX_FDS);
            let message = message::keep(set, place + 1 == things.len(), name, data);
            self.send_in_time(&message, fds).await?;
        }
        Ok(())
    }

    /// Has the supervisor send a message to the service manager, for which it is the main process.
    pub(crate) fn notify(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        self.send(&message::notify(text), &descriptors)
    }

    /// Tells the supervisor which pid file it has to remove at its end, in place of the one before.
    pub(crate) async fn have_pid_file_removed(&self, path: Option<&Path>) -> io::Result<()> {
        self.send_in_time(&message::pid_file(path), &[]).await
    }

    /// Has the supervisor give up the rights of root, too, as soon as no worker with more rights lives. A supervisor of an
    /// earlier release keeps them.
    pub(crate) async fn have_rights_dropped(&self, privileges: &Privileges) -> io::Result<()> {
        self.send_in_time(&message::rights(getpid(), privileges), &[]).await
    }

    /// Resolves once the supervisor has ended. Has to be called within a runtime.
    pub(crate) async fn gone(&self) -> io::Result<()> {
        let channel = sys::watch(self.channel.try_clone()?, Interest::READABLE)?;
        let mut buffer = vec![0; 1];
        loop {
            let mut readable = channel.readable().await?;
            match readable.try_io(|channel| sys::receive(channel.get_ref().0.as_fd(), &mut buffer)) {
                Ok(Ok(Received { len: 0, .. })) => return Ok(()),
                // A message of a later release.
                Ok(Ok(_)) => {}
                // The supervisor had not read all messages. The end comes next.
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    fn wake(&self) {
        // The supervisor looks at the page from time to time in any case.
        sys::send_byte(self.channel.as_fd(), WAKE);
    }

    fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        sys::send(self.channel.as_fd(), message, fds)
    }

    async fn send_in_time(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let sent = async {
            loop {
                match self.send(message, fds) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(SEND_AGAIN).await;
                    }
                    sent => return sent,
                }
            }
        };
        tokio::time::timeout(SEND_WITHIN, sent).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
