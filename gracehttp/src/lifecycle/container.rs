//! Containers in which the end of this process ends its successor, too.

use std::fs;
use std::os::unix::process::parent_id;

/// PID 1: when it ends, the kernel kills all processes of its PID namespace.
const FIRST: u32 = 1;

/// Init programs of containers that end as soon as the child that they started ends.
const INITS: [&str; 5] = ["tini", "tini-static", "docker-init", "dumb-init", "catatonit"];

/// Why no successor can outlive this process; none if one can.
pub(crate) fn tie() -> Option<String> {
    if std::process::id() == FIRST {
        return Some("this process is PID 1, and its container ends with it".to_owned());
    }
    let init = fs::read_to_string("/proc/1/comm").ok().filter(|_| parent_id() == FIRST)?;
    let init = INITS.into_iter().find(|known| *known == init.trim_end())?;
    Some(format!("its parent `{init}`, PID 1 of the container, ends with this process"))
}
