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
    Stdout(Line),
    /// The messages of the framework go there, too. Both are written in whole lines.
    Stderr(Line),
    Tracing,
    File(LogFile),
}

/// Whether the last line of a target is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Line {
    #[default]
    Whole,
    /// The last write ended within it.
    Torn,
}

/// A file that can be opened anew by its name.
pub(super) struct LogFile {
    path: PathBuf,
    /// None while it is a FIFO without a reader.
    file: Option<File>,
    /// The same file, if it is a regular one, for looks at its end.
    end: Option<File>,
    line: Line,
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
            AccessLogTo::Stdout => Self::Stdout(Line::Whole),
            AccessLogTo::Stderr => Self::Stderr(Line::Whole),
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
            Self::Stdout(line) => {
                let stdout = io::stdout();
                send(stdout.as_fd(), line, lines, has_to_pause).0
            }
            Self::Stderr(line) => {
                let stderr = io::stderr();
                send(stderr.as_fd(), line, lines, has_to_pause).0
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
            Err(error) => return Err(unopened(path, error)),
        };
        let end = file::open_to_look(path);
        let mut opened = Self { path: path.to_owned(), file, end, line: Line::Whole, has_failed: false };
        opened.look_at_end();
        Ok(opened)
    }

    /// Looks whether the last line is whole. Another process that writes this file may have torn it, or this one before
    /// the file was opened anew; an operator who empties the file removes a torn line.
    fn look_at_end(&mut self) {
        if let Some(end) = &self.end {
            self.line = if file::ends_within_line(end) { Line::Torn } else { Line::Whole };
        }
    }

    fn send(&mut self, lines: &[u8], has_to_pause: impl FnMut() -> bool) -> Sent {
        if self.file.is_none() {
            self.file = file::open(&self.path).ok();
        }
        if self.has_failed {
            self.look_at_end();
        }
        let Some(file) = &self.file else {
            self.note_failure("it is a FIFO that nothing reads");
            return Sent { lost: count(lines), rest: Vec::new() };
        };
        let (sent, failed) = send(file.as_fd(), &mut self.line, lines, has_to_pause);
        match failed {
            None if self.has_failed => {
                self.has_failed = false;
                log::info(format_args!("the access log `{}` is written again", self.path.display()));
            }
            None => {}
            Some(error) => {
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

/// Also returns why it has failed.
fn send(
    file: BorrowedFd<'_>,
    line: &mut Line,
    lines: &[u8],
    has_to_pause: impl FnMut() -> bool,
) -> (Sent, Option<Errno>) {
    let lost = |lines| Sent { lost: count(lines), rest: Vec::new() };
    if *line == Line::Torn {
        // The rest of that line is lost. The next one begins a line of its own.
        match nix::unistd::write(file, b"\n") {
            Ok(_) => *line = Line::Whole,
            Err(error) => return (lost(lines), Some(error)),
        }
    }
    match file::write(file, file::is_regular(file), lines, has_to_pause) {
        Written::All => (lost(&[]), None),
        Written::Paused(written) => (Sent { lost: 0, rest: lines[written..].to_vec() }, None),
        Written::Failed(written, error) => {
            if written > 0 && lines[written - 1] != b'\n' {
                *line = Line::Torn;
            }
            (lost(&lines[written..]), Some(error))
        }
    }
}

/// Why a file can't be opened, and the way out.
pub(super) fn unopened(path: &Path, error: io::Error) -> Error {
    let way_out = match error.kind() {
        io::ErrorKind::NotFound => "make its directory, or correct `access_log_to`",
        io::ErrorKind::PermissionDenied => {
            "let the user as whom this process serves write to it, and to its directory, or correct `access_log_to`"
        }
        _ => "correct `access_log_to`",
    };
    Error::caused_by(
        format!("the access log `{}` can't be opened ({error}): {way_out}", path.display()),
        error,
    )
}

/// How many lines these are.
pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}
