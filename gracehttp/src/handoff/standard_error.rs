//! What a successor writes to standard error before it is ready: its predecessor tells it to the operator if the restart
//! fails.
//!
//! The successor puts a pipe in the place of its standard error. A thread of its own copies what comes there to the
//! former standard error, at once and unchanged, and also to the predecessor. When the successor is ready, it puts the
//! former one back.
//!
//! The pipe comes as a parcel, so an older release never takes it. Such a release would never put the former standard
//! error back, and would block or fail once nothing reads the pipe. Parcels arrive only after the successor has greeted
//! its predecessor. So the words of the dynamic loader, and those of `main` before `gracehttp` runs, only reach standard
//! error itself.
//!
//! The copier is in the successor, not in the predecessor: neither process waits for the other, and a log that knows who
//! has written a line, such as the journal, names the right one.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::handoff::parcel::Parcel;
use crate::lifecycle::start;

/// The parcel has both ends of the successor's pipe, the writing end of a pipe to the predecessor, and the pipes to which
/// children of earlier generations still write.
pub(super) const STANDARD_ERROR: &str = "standard_error";

/// How many bytes of the last lines are kept, and how many lines are told.
const MOST_BYTES: usize = 16 << 10;
const MOST_LINES: usize = 20;

/// How long to wait for a standard error that takes the rest of a pipe slowly.
const SLOW_AFTER: Duration = Duration::from_millis(500);

/// As much as a pipe holds.
const MOST_AT_ONCE: usize = 64 << 10;

/// `eprintln!` writes a line in several pieces. The copier looks so many times for the rest of a line, with this pause
/// in between.
const LOOKS: usize = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// The pause after a write that would block, which happens only if standard error is non-blocking.
const RETRY: Duration = Duration::from_millis(20);

/// What the predecessor has of its successor's standard error.
#[derive(Debug)]
pub(super) struct Heard {
    /// The reading end of the successor's pipe. The successor reads it. If it is killed, it may leave something there.
    pipe: Option<PipeReader>,
    tail: Arc<Mutex<Tail>>,
    /// Receives the copies.
    listener: JoinHandle<()>,
}

impl Heard {
    /// Makes the parcel for a successor. None where standard error is a terminal: it stays one for the successor.
    pub(super) fn begin() -> io::Result<Option<(Self, Parcel)>> {
        if io::stderr().is_terminal() {
            return Ok(None);
        }
        let (pipe, writer) = io::pipe()?;
        let (to_us, mut copies) = pipe::pipe()?;
        let mut fds = vec![pipe.try_clone()?.into(), writer.into(), to_us.into_nonblocking_fd()?];
        fds.extend(unfinished());
        let tail = Arc::new(Mutex::new(Tail::default()));
        let heard = tail.clone();
        let listener = start(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(read @ 1..) = copies.read(&mut buffer).await {
                heard.lock().add(&buffer[..read]);
            }
        });
        let parcel = Parcel { name: STANDARD_ERROR.to_owned(), data: Vec::new(), fds };
        Ok(Some((Self { pipe: Some(pipe), tail, listener }, parcel)))
    }

    /// The last lines of a successor that has ended. All that it has written has reached standard error then, unless
    /// that is slow.
    pub(super) async fn last_lines(mut self) -> Vec<String> {
        let _ = timeout(SLOW_AFTER, &mut self.listener).await;
        if let Some(pipe) = self.pipe.take() {
            let tail = self.tail.clone();
            let _ = timeout(SLOW_AFTER, finish(pipe, move |bytes| tail.lock().add(bytes))).await;
        }
        self.tail.lock().lines()
    }

    /// The successor lives on, and reads its pipe itself.
    pub(super) fn leave(mut self) {
        self.pipe = None;
    }
}

/// Children of a successor that has ended may still write to its pipe: somebody has to read it.
impl Drop for Heard {
    fn drop(&mut self) {
        self.listener.abort();
        if let Some(pipe) = self.pipe.take() {
            drop(finish(pipe, |_| {}));
        }
    }
}

/// The last bytes that a successor has written.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    is_cut: bool,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let surplus = self.bytes.len().saturating_sub(MOST_BYTES);
        self.bytes.drain(..surplus);
        self.is_cut |= surplus > 0;
    }

    fn lines(&mut self) -> Vec<String> {
        let text = String::from_utf8_lossy(self.bytes.make_contiguous());
        let lines: Vec<&str> = text.lines().skip(usize::from(self.is_cut)).collect();
        lines[lines.len().saturating_sub(MOST_LINES)..].iter().map(ToString::to_string).collect()
    }
}

/// In a successor that starts: its standard error is a pipe. Dropping it puts the former one back.
#[derive(Debug)]
pub(crate) struct Overheard {
    /// Its other end wakes the copier once this one is dropped.
    ender: PipeWriter,
    /// The former standard error is back.
    is_over: oneshot::Receiver<()>,
}

impl Overheard {
    /// Puts the parcel's pipe in the place of standard error. If that fails, standard error stays as it is.
    pub(super) fn begin(parcel: Parcel) -> Option<Self> {
        let mut fds = parcel.fds.into_iter();
        let (pipe, writer, to_predecessor) = (fds.next()?, fds.next()?, fds.next()?);
        fds.for_each(|pipe| drop(finish(pipe.into(), |_| {})));
        let former = io::stderr().as_fd().try_clone_to_owned().ok()?;
        let (end, ender) = io::pipe().ok()?;
        let (over, is_over) = oneshot::channel();
        let copier = Copier { pipe: pipe.into(), former, to_predecessor, end, over };
        // First: a pipe without a reader must not be standard error.
        thread::Builder::new().name("gracehttp-err".to_owned()).spawn(|| copier.run()).ok()?;
        unistd::dup2_stderr(writer).ok()?;
        Some(Self { ender, is_over })
    }

    /// Puts the former standard error back. What was written before has reached it then, unless it is slow.
    pub(crate) async fn end(self) {
        drop(self.ender);
        let _ = timeout(SLOW_AFTER, self.is_over).await;
    }
}

/// The thread that copies what a successor writes.
///
/// The process may end at any moment, by `exit` or a signal, and bytes in a buffer of this thread would be lost. So bytes
/// leave the pipe only for standard error: the thread reads a copy by tee(2), then moves the bytes by splice(2). The
/// predecessor copies to standard error what a successor that has ended leaves in the pipe.
struct Copier {
    pipe: PipeReader,
    former: OwnedFd,
    to_predecessor: OwnedFd,
    end: PipeReader,
    over: oneshot::Sender<()>,
}

impl Copier {
    fn run(self) {
        loop {
            match are_ready([self.pipe.as_fd(), self.end.as_fd()], PollTimeout::NONE) {
                [_, true] => break,
                [true, false] if !self.copy() => break,
                _ => {}
            }
        }
        // The application may have redirected or closed it meanwhile, on purpose.
        if is_standard_error(&self.pipe) {
            // It can't fail: both descriptors are open.
            let _ = unistd::dup2_stderr(&self.former);
        }
        while has_bytes(&self.pipe) && self.copy() {}
        let Self { pipe, former, to_predecessor, over, .. } = self;
        drop(to_predecessor);
        // Fails if nothing in this process waits for it.
        let _ = over.send(());
        copy_to_end(pipe, &mut |bytes| write(former.as_fd(), bytes));
    }

    /// Passes on what the pipe has. False if it has no writer any more.
    fn copy(&self) -> bool {
        let Some(bytes) = self.look().filter(|bytes| !bytes.is_empty()) else { return false };
        // If the predecessor is gone, or slower than this thread, it misses something.
        let _ = unistd::write(&self.to_predecessor, &bytes);
        let mut left = bytes.len();
        while left > 0 {
            match splice(&self.pipe, None, &self.former, None, left, SpliceFFlags::empty()) {
                Ok(0) => return false,
                Ok(moved) => left -= moved,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => thread::sleep(RETRY),
                // splice can't write there, for example to a file that is open for appending. The bytes are written
                // before they are read: if the process ends in between, they are there twice, and none is lost.
                Err(_) => {
                    write(self.former.as_fd(), &bytes[bytes.len() - left..]);
                    let mut written = vec![0; left];
                    return (&self.pipe).read_exact(&mut written).is_ok();
                }
            }
        }
        true
    }

    /// A copy of what the pipe has. It waits a moment for the rest of a line.
    fn look(&self) -> Option<Vec<u8>> {
        let mut seen = Vec::new();
        for _ in 0..LOOKS {
            let (mut scratch, to_scratch) = io::pipe().ok()?;
            tee(&self.pipe, &to_scratch, MOST_AT_ONCE, SpliceFFlags::empty()).ok()?;
            drop(to_scratch);
            seen.clear();
            scratch.read_to_end(&mut seen).ok()?;
            if seen.is_empty() || seen.ends_with(b"\n") || seen.len() >= MOST_AT_ONCE {
                break;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Some(seen)
    }
}

/// Whether standard error is this pipe: all its descriptors have one number in the file system of pipes.
fn is_standard_error(pipe: &PipeReader) -> bool {
    let (Ok(current), Ok(pipe)) = (fstat(io::stderr()), fstat(pipe)) else { return false };
    (current.st_dev, current.st_ino) == (pipe.st_dev, pipe.st_ino)
}

/// The pipes to which children of successors still write. Once no process reads a pipe, its writers would get SIGPIPE.
static UNFINISHED: Mutex<Vec<Weak<PipeReader>>> = Mutex::new(Vec::new());

/// So many of them go to the next process at most.
const MOST_UNFINISHED: usize = 16;

/// Duplicates of the pipes that this process reads, for the next one.
fn unfinished() -> Vec<OwnedFd> {
    let mut pipes = UNFINISHED.lock();
    pipes.retain(|pipe| pipe.strong_count() > 0);
    let open = pipes.iter().filter_map(Weak::upgrade).take(MOST_UNFINISHED);
    open.filter_map(|pipe| pipe.as_fd().try_clone_to_owned().ok()).collect()
}

/// Copies the rest of a pipe to standard error, on a thread of its own, for as long as there is a writer. The result
/// resolves once the pipe is empty for the first time.
fn finish(pipe: PipeReader, mut also: impl FnMut(&[u8]) + Send + 'static) -> oneshot::Receiver<()> {
    let (emptied, is_empty) = oneshot::channel();
    let work = move || {
        let mut pass_on = |bytes: &[u8]| {
            write(io::stderr().as_fd(), bytes);
            also(bytes);
        };
        while has_bytes(&pipe) && copy(&pipe, &mut pass_on) {}
        // Fails if nothing in this process waits for it.
        let _ = emptied.send(());
        copy_to_end(pipe, &mut pass_on);
    };
    // Without a thread the rest is lost.
    let _ = thread::Builder::new().name("gracehttp-err".to_owned()).spawn(work);
    is_empty
}

/// Copies a pipe until it has no writer any more.
fn copy_to_end(pipe: PipeReader, pass_on: &mut impl FnMut(&[u8])) {
    while has_bytes(&pipe) {
        if !copy(&pipe, pass_on) {
            return;
        }
    }
    let pipe = Arc::new(pipe);
    UNFINISHED.lock().push(Arc::downgrade(&pipe));
    while copy(&pipe, pass_on) {}
}

/// Passes on what the pipe has, and waits for something if it is empty. False if it has no writer any more.
fn copy(pipe: &PipeReader, pass_on: &mut impl FnMut(&[u8])) -> bool {
    let mut buffer = vec![0; MOST_AT_ONCE];
    match unistd::read(pipe, &mut buffer) {
        Ok(read) => {
            pass_on(&buffer[..read]);
            read > 0
        }
        Err(errno) => errno == Errno::EINTR,
    }
}

fn has_bytes(pipe: &PipeReader) -> bool {
    are_ready([pipe.as_fd()], PollTimeout::ZERO) == [true]
}

/// Which of the descriptors can be read, or have no writer any more.
fn are_ready<const N: usize>(fds: [BorrowedFd<'_>; N], limit: PollTimeout) -> [bool; N] {
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    // Fails only for lack of memory, or with EINTR: then none is.
    let _ = poll(&mut polled, limit);
    polled.map(|fd| fd.any().unwrap_or(false))
}

/// Writes to a standard error. If it is closed, the bytes are lost.
fn write(to: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match unistd::write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => thread::sleep(RETRY),
            Err(_) => return,
        }
    }
}
