//! What a target writes to: a file that other processes append to, too, or a pipe.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::PIPE_BUF;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The permission bits of a file that is made: the log has what clients ask for.
const MODE: u32 = 0o640;

/// How long a full pipe is awaited between two looks at the writer's other duties.
const PATIENCE: u16 = 20;

/// How long another process may take to write what it has begun.
const MID_WRITE: Duration = Duration::from_millis(5);

/// Opens a log file, and makes it if there is none.
///
/// Without waiting: a FIFO may have no reader, which is `ENXIO`.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    options.custom_flags((nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY).bits()).open(path)
}

/// Whether this is the error of a FIFO that has no reader now.
pub(super) fn has_no_reader(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENXIO | Errno::EPIPE))
}

/// Whether a path is a FIFO.
pub(super) fn is_fifo(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Whether other writers can't come between the bytes of one write, however long it is.
pub(super) fn is_regular(file: BorrowedFd<'_>) -> bool {
    use nix::sys::stat::{SFlag, fstat};
    fstat(file).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG)
}

/// Opens a file of this path for a look at its end; none if it is no regular one.
pub(super) fn open_to_look(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY).bits());
    options.open(path).ok().filter(|file| is_regular(file.as_fd()))
}

/// Whether a file ends within a line, which its writer could not finish. Looks twice: another process may be writing.
pub(super) fn ends_within_line(file: &File) -> bool {
    let has_fragment = || {
        let Some(last) = file.metadata().ok().and_then(|found| found.len().checked_sub(1)) else {
            return false;
        };
        let mut byte = [0];
        file.read_exact_at(&mut byte, last).is_ok() && byte != [b'\n']
    };
    has_fragment() && {
        thread::sleep(MID_WRITE);
        has_fragment()
    }
}

/// How a write ended.
#[derive(Debug)]
pub(super) enum Written {
    All,
    /// The writer has other duties. So many bytes, whole lines, were written.
    Paused(usize),
    /// So many bytes were written. They may end within a line.
    Failed(usize, Errno),
}

/// Writes whole lines. As long as a full pipe takes none, `has_to_pause` is asked.
pub(super) fn write(
    file: impl AsFd,
    is_regular: bool,
    lines: &[u8],
    mut has_to_pause: impl FnMut() -> bool,
) -> Written {
    let file = file.as_fd();
    let mut written = 0;
    while written < lines.len() {
        let rest = &lines[written..];
        if !is_regular && !takes_more(file) {
            match has_to_pause() {
                true => return Written::Paused(written),
                false => continue,
            }
        }
        let piece = if is_regular { rest } else { atomic(rest) };
        match nix::unistd::write(file, piece) {
            Ok(count) => written += count,
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(error) => return Written::Failed(written, error),
        }
    }
    Written::All
}

/// Whether a pipe has room for a piece. A pipe without a reader has, and its write fails.
fn takes_more(file: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(file, PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::from(PATIENCE)).is_ok_and(|ready| ready > 0)
}

/// The lines that a pipe takes in one piece, with none of another writer between them.
fn atomic(lines: &[u8]) -> &[u8] {
    let most = &lines[..lines.len().min(PIPE_BUF)];
    let first = || lines.iter().position(|byte| *byte == b'\n').unwrap_or(lines.len() - 1);
    let last = most.iter().rposition(|byte| *byte == b'\n').unwrap_or_else(first);
    &lines[..=last]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gets_whole_lines_in_atomic_pieces() {
        let short = b"a\nb\n";
        assert_eq!(atomic(short), short);
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        let many = line.repeat(10);
        assert_eq!(atomic(&many).len(), 4000);
        let huge = [b"y".repeat(5000), b"\nz\n".to_vec()].concat();
        assert_eq!(atomic(&huge).len(), 5001);
    }
}
