//! What a file or a pipe holds, read within limits: a pipe may never have a writer, and a device no end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long the start waits for the writer of a pipe, which may get a secret from elsewhere.
const PATIENCE: Duration = Duration::from_secs(10);

/// The text of a file with at most so many bytes, or of a pipe that another process writes, as a shell passes `<(…)`.
pub(super) fn contents(path: &Path, longest: u64) -> io::Result<String> {
    // Without the first flag, opening a pipe waits for its writer.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let kind = file.metadata()?.file_type();
    let mut bytes = Vec::new();
    if kind.is_fifo() {
        read_pipe(&file, longest, &mut bytes)?;
    } else if kind.is_file() || kind.is_dir() {
        // Reading a directory fails by itself, in words that are known.
        file.take(longest + 1).read_to_end(&mut bytes)?;
    } else {
        return Err(io::Error::other("it is neither a file nor a pipe"));
    }
    if bytes.len() as u64 > longest {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Reads until the writer closes the pipe. A pipe that had no writer yet is awaited, too.
fn read_pipe(pipe: &File, longest: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while bytes.len() as u64 <= longest {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let ready = poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout);
        if left.is_zero() || ready == Ok(0) {
            return Err(io::Error::other(format!(
                "it is a pipe that nothing has written and closed within {PATIENCE:?}: see to its writer, or name a file"
            )));
        }
        let before = bytes.len();
        match pipe.take(longest + 1 - before as u64).read_to_end(bytes) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
