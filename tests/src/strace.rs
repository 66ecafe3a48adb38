//! Makes system calls of a running process fail, or kill it.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Generation;
use crate::patience::{GLANCE, eventually};

/// How long strace may take to let the process go.
const DETACHING: Duration = Duration::from_secs(2);

/// strace on all threads that a process has now, and on none of its children. It detaches when it is dropped.
#[derive(Debug)]
pub struct Strace(Child);

impl Strace {
    /// Starts with a fault in the words of strace's `inject`: `accept4:error=ENFILE`, `sendmsg:signal=KILL:when=6`.
    pub async fn on(process: &Generation, inject: &str) -> Self {
        let calls = inject.split(':').next().expect("a system call");
        let mut command = Command::new("strace");
        command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"]);
        command.arg(format!("inject={inject}"));
        let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).expect("a process");
        let tasks: Vec<String> =
            tasks.flatten().map(|task| task.file_name().to_string_lossy().into_owned()).collect();
        for task in &tasks {
            command.args(["-p", task]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let strace = Self(command.spawn().expect("strace"));
        let traced = |task: &String| {
            let status = fs::read_to_string(format!("/proc/{}/task/{task}/status", process.pid()));
            // A thread that has ended meanwhile makes no more calls.
            status.map_or(true, |status| !status.contains("TracerPid:\t0"))
        };
        eventually("strace to attach", || tasks.iter().all(traced)).await;
        strace
    }

    /// Waits for its end, which comes with the end of the process.
    pub async fn ended(mut self) {
        eventually("the end of strace", || matches!(self.0.try_wait(), Ok(Some(_)))).await;
    }
}

/// Whether the system permits the trace of a process that is no child of the tracer.
pub(crate) fn may_attach() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        let quiet = |command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let Ok(mut traced) = quiet(Command::new("sleep").arg("60")) else { return false };
        let pid = traced.id().to_string();
        let tracer = quiet(Command::new("strace").args(["-qq", "-o", "/dev/null", "-p", &pid]));
        let attached = tracer.is_ok_and(|mut tracer| {
            let status = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let is_traced = || !status().contains("TracerPid:\t0");
            while !is_traced() && matches!(tracer.try_wait(), Ok(None)) {
                std::thread::sleep(GLANCE);
            }
            let attached = is_traced();
            _ = tracer.kill();
            _ = tracer.wait();
            attached
        });
        _ = traced.kill();
        _ = traced.wait();
        attached
    })
}

impl Drop for Strace {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        // On SIGINT it detaches in order; SIGKILL could leave a half-replaced call behind.
        _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < DETACHING {
            std::thread::sleep(GLANCE);
        }
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
