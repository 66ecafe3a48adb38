//! What the kernel knows of this process.

use std::fs;
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// The CPU time of this process up to now.
pub(super) fn cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let time = usage.user_time() + usage.system_time();
    let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or_default())
}

/// Numbers of this process at one moment; none if `/proc` does not say.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) resident: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) threads: Option<u64>,
    /// Since 1970, in seconds.
    pub(super) started: Option<f64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
}

impl Numbers {
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the process, in parentheses, may hold anything. Field 3 of proc(5) comes behind it.
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field = |number: usize| behind_name.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
        let size_of_page =
            sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
        Self {
            resident: field(24).zip(size_of_page).map(|(pages, size)| pages * size),
            size: field(23),
            threads: field(20),
            started: field(22).and_then(since_1970),
            // The descriptor that reads the folder is one of them.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1) as u64),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

/// A time in clock ticks since the system started.
fn since_1970(ticks: u64) -> Option<f64> {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten()?;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<f64>().ok()?;
    Some(boot + ticks as f64 / per_second as f64)
}

/// The time since 1970, in seconds.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_this_process() {
        let numbers = Numbers::now();
        assert!(numbers.resident.unwrap() > 1 << 20 && numbers.size >= numbers.resident);
        assert!(numbers.threads.unwrap() >= 1);
        assert!(numbers.open_fds.unwrap() >= 3 && numbers.max_fds > numbers.open_fds);
        let age = now() - numbers.started.unwrap();
        assert!((-2.0..600.0).contains(&age), "{age}");
        let before = cpu();
        while cpu() == before {
            std::hint::black_box((0..1000).sum::<u64>());
        }
    }
}
