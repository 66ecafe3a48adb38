//! What a successor that failed has written to standard error, as far as it can be known.
//!
//! The successor has the standard error of this process, and keeps it: a pipe in between would block or break once this
//! process has ended, also for a successor of an older release. So only what went to a file can be read again.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use crate::log;

/// At most so much is read, from the end.
const MOST_BYTES: u64 = 16 << 10;

/// At most so many lines are shown.
const MOST_LINES: usize = 20;

/// The file behind standard error, from one moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Its length at that moment; none if it is not a file.
    from: Option<u64>,
}

impl Written {
    /// What is written from now on.
    pub(crate) fn now() -> Self {
        let file = standard_error().and_then(|file| file.metadata());
        Self { from: file.ok().filter(|file| file.is_file()).map(|file| file.size()) }
    }

    /// The last lines that were written since. Without a file, none.
    pub(crate) fn last_lines(self) -> Vec<String> {
        let Some(from) = self.from else { return Vec::new() };
        let bytes = read_from(from).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // This process has written there, too.
        let own = log::history(None);
        let is_own = |line: &&str| own.iter().any(|message| line.ends_with(&message.text));
        let lines: Vec<&str> = text.lines().filter(|line| !is_own(line)).collect();
        let last = lines.len().saturating_sub(MOST_LINES);
        lines[last..].iter().map(ToString::to_string).collect()
    }
}

/// A duplicate of standard error.
fn standard_error() -> io::Result<File> {
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

fn read_from(from: u64) -> io::Result<Vec<u8>> {
    // Standard error itself is usually open for writing only.
    let file = File::open("/proc/self/fd/2")?;
    let len = file.metadata()?.size();
    let from = from.max(len.saturating_sub(MOST_BYTES));
    let mut bytes = vec![0; usize::try_from(len.saturating_sub(from)).unwrap_or(0)];
    let read = file.read_at(&mut bytes, from)?;
    bytes.truncate(read);
    Ok(bytes)
}
