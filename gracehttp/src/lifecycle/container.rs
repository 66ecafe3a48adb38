//! Containers in which the end of this process ends its successor, too.

use std::fmt;
use std::fs;
use std::os::unix::process::parent_id;

/// PID 1: when it ends, the kernel kills all processes of its PID namespace.
const FIRST: u32 = 1;

/// Init programs of containers that end as soon as the child that they started ends.
const INITS: [&str; 5] = ["tini", "tini-static", "docker-init", "dumb-init", "catatonit"];

/// Why no successor can outlive this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tie {
    /// This process is PID 1.
    First,
    /// Its parent is PID 1 and ends with it: one of the [`INITS`].
    Parent(&'static str),
}

impl Tie {
    /// That of this process, if it has one.
    pub(crate) fn find() -> Option<Self> {
        if std::process::id() == FIRST {
            return Some(Self::First);
        }
        let init = fs::read_to_string("/proc/1/comm").ok().filter(|_| parent_id() == FIRST)?;
        INITS.into_iter().find(|known| *known == init.trim_end()).map(Self::Parent)
    }
}

impl fmt::Display for Tie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("this process is PID 1, and its container ends with it"),
            Self::Parent(init) => {
                write!(f, "its parent `{init}`, PID 1 of the container, ends with this process")
            }
        }
    }
}
