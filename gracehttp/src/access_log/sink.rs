//! Where the lines of a target end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::access_log::file::{self, Written};
use crate::error::Error;
use crate::log;
use crate::server::AccessLogTo;

pub(super) enum Sink {
    Stdout,
    Tracing,
    File(LogFile),
}

/// A file that can be opened anew by its name.
pub(super) struct LogFile {
    path: PathBuf,
    /// None while it is a FIFO without a reader.
    file: Option<File>,
    /// The last write ended within a line.
    is_torn: bool,
    /// It could not be written, and that was logged.
    has_failed: bool,
}

/// How many lines a write has lost, and the bytes that are left if it has to pause.
pub(super) struct Sent {
    pub(super) lost: u64,
    pub(super) rest: Vec<u8>,
}

impl Sink {
    pub(super) fn open(to: &AccessLogTo) -> Result<Self, Error> {
        Ok(match to {
            AccessLogTo::Stdout => Self::Stdout,
            AccessLogTo::Tracing => Self::Tracing,
            AccessLogTo::File(path) => Self::File(LogFile::open(path)?),
        })
    }

    /// Opens a file anew by its name. If that fails, the one that is open stays.
    pub(super) fn reopen(&mut self) -> Result<(), Error> {
        if let Self::File(file) = self {
            *file = LogFile::open(&file.path)?;
        }
        Ok(())
    }

    /// Sends whole lines on their way.
    pub(super) fn send(&mut self, lines: &[u8], has_to_pause: impl FnMut() -> bool) -> Sent {
        match self {
            Self::Tracing => {
                lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(log::access);
                Sent { lost: 0, rest: Vec::new() }
            }
            Self::Stdout => {
                let stdout = io::stdout();
                send(stdout.as_fd(), lines, has_to_pause).0
            }
            Self::File(file) => file.send(lines, has_to_pause),
        }
    }
}

impl LogFile {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = match file::open(path) {
            Ok(file) => Some(file),
            Err(error) if file::is_fifo(path) && file::has_no_reader(&error) => None,
            Err(error) => {
                let path = path.display();
                return Err(Error::caused_by(
                    format!("the access log `{path}` can't be opened: {error}"),
                    error,
                ));
            }
        };
        Ok(Self { path: path.to_owned(), file, is_torn: false, has_failed: false })
    }

    fn send(&mut self, lines: &[u8], has_to_pause: impl FnMut() -> bool) -> Sent {
        if self.file.is_none() {
            self.file = file::open(&self.path).ok();
        }
        let Some(file) = &self.file else {
            self.note_failure("it is a FIFO that nothing reads");
            return Sent { lost: count(lines), rest: Vec::new() };
        };
        if self.is_torn {
            // The rest of that line is lost. The next one begins a line of its own.
            match nix::unistd::write(file, b"\n") {
                Ok(_) => self.is_torn = false,
                Err(_) => return Sent { lost: count(lines), rest: Vec::new() },
            }
        }
        let (sent, failed) = send(file.as_fd(), lines, has_to_pause);
        match failed {
            None if self.has_failed => {
                self.has_failed = false;
                log::info(format_args!("the access log `{}` is written again", self.path.display()));
            }
            None => {}
            Some((is_torn, error)) => {
                self.is_torn = is_torn;
                if error == Errno::EPIPE {
                    self.file = None;
                }
                self.note_failure(error.desc());
            }
        }
        sent
    }

    fn note_failure(&mut self, why: &str) {
        if !std::mem::replace(&mut self.has_failed, true) {
            log::error(format_args!(
                "the access log `{}` can't be written, and its lines are lost: {why}",
                self.path.display()
            ));
        }
    }
}

/// Also returns whether and why it has failed, and whether the last line that was written is not whole.
fn send(
    file: BorrowedFd<'_>,
    lines: &[u8],
    has_to_pause: impl FnMut() -> bool,
) -> (Sent, Option<(bool, Errno)>) {
    match file::write(file, file::is_regular(file), lines, has_to_pause) {
        Written::All => (Sent { lost: 0, rest: Vec::new() }, None),
        Written::Paused(written) => (Sent { lost: 0, rest: lines[written..].to_vec() }, None),
        Written::Failed(written, error) => {
            let is_torn = written > 0 && lines[written - 1] != b'\n';
            (Sent { lost: count(&lines[written..]), rest: Vec::new() }, Some((is_torn, error)))
        }
    }
}

/// How many lines these are.
pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}
