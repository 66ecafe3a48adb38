//! Where the end of this process is the end of its successor, too.

use std::fs;
use std::os::unix::process::parent_id;

/// The kernel ends all processes of a PID namespace with its first.
const FIRST: u32 = 1;

/// First processes of containers that end with the one child that they start.
const INITS: [&str; 5] = ["tini", "tini-static", "docker-init", "dumb-init", "catatonit"];

/// Why no successor can outlive this process, if so.
pub(crate) fn tie() -> Option<String> {
    if std::process::id() == FIRST {
        return Some("this process is PID 1, with which its container ends".to_owned());
    }
    let init = fs::read_to_string("/proc/1/comm").ok().filter(|_| parent_id() == FIRST)?;
    let init = INITS.into_iter().find(|known| *known == init.trim_end())?;
    Some(format!("its parent `{init}`, PID 1 of the container, ends with this process"))
}
