//! The cost of a process, read from outside.

use std::fs;
use std::time::Duration;

/// The CPU time that the threads of a process have used: user and system.
pub fn cpu_time(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let nanoseconds = threads
        .flatten()
        .filter_map(|thread| {
            let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            schedstat.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum();
    Duration::from_nanos(nanoseconds)
}

/// The resident memory of a process, in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// How many descriptors a process holds: Linux reports it as the size of the directory, without a listing.
pub fn descriptors(pid: u32) -> u64 {
    fs::metadata(format!("/proc/{pid}/fd")).map_or(0, |directory| directory.len())
}

/// What the kernel uses for all sockets of the machine and for its own objects, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct KernelMemory {
    /// Buffers of TCP sockets.
    pub buffers: u64,
    /// Objects: sockets, files, entries of epoll, and whatever else.
    pub slab: u64,
}

impl KernelMemory {
    /// At this moment.
    pub fn now() -> Self {
        let number = |file: &str, line: &str, word: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let rest = text.lines().find_map(|text| text.strip_prefix(line)).unwrap_or_default();
            let mut words = rest.split_whitespace();
            match word {
                "" => words.next(),
                word => words.skip_while(|next| *next != word).nth(1),
            }
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or(0)
        };
        Self {
            buffers: number("/proc/net/sockstat", "TCP:", "mem") * rustix::param::page_size() as u64,
            slab: number("/proc/meminfo", "Slab:", "") * 1024,
        }
    }
}
